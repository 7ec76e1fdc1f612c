import { describe, expect, test } from 'vitest';
import type { CompiledConnection } from '../../../../policy/bundle.ts';
import { connection } from '../../../approval/approval.fixture.ts';
import type { ClusterIdentity, CredentialSource, KubernetesCredential, VerifiedIdentity } from '../../../ports.ts';
import { passedHeaders, websocketToken } from './headers.ts';
import { createSignIns } from './sign-in.ts';

const signal = new AbortController().signal;

const base: CompiledConnection = {
  ...connection,
  protocol: 'Kubernetes',
  target: { host: 'kubernetes.default.svc', port: 443, hostKeys: [], tls: { mode: 'VerifyFull' } },
  credential: { impersonate: {} },
};

const identity = (username: string, groups: string[] = [], serviceAccount = true): VerifiedIdentity => ({
  subject: {
    username,
    groups,
    claims: {},
    ...(serviceAccount ? { serviceAccount: { namespace: 'shop', name: 'agent' } } : {}),
  },
  sessionExpiresAt: new Date(8.64e15),
  tokenId: 't',
  tokenLifetimeSeconds: 600,
});

function source(values: { credential?: KubernetesCredential; authorities?: string }): CredentialSource {
  const absent = (): never => {
    throw new Error('nobody asks for it');
  };
  return {
    ...{ postgres: absent, signingAuthority: absent, ssh: absent, sshAuthority: absent, tokenKey: absent },
    kubernetes: async () => values.credential ?? absent(),
    certificateAuthorities: async () => values.authorities,
  } as unknown as CredentialSource;
}

interface Issued {
  readonly asked: object[];
  readonly cluster: ClusterIdentity;
}

function cluster(lifetimeMs: number, now: () => number): Issued {
  const asked: object[] = [];
  return {
    asked,
    cluster: {
      signIn: async () => ({ token: 'own-token', certificateAuthorities: 'own authority' }),
      async serviceAccountToken(account, wanted) {
        asked.push({ ...account, ...wanted });
        return { token: `token-${asked.length}`, expiresAt: new Date(now() + lifetimeMs) };
      },
    },
  };
}

describe('signing in to an API server', () => {
  test("Sallyport's own token goes to a server of the own authority, whatever the connection trusts", async () => {
    const { cluster: own } = cluster(1, Date.now);
    const signIns = createSignIns({
      credentials: source({ authorities: 'of somebody else' }),
      cluster: own,
      now: Date.now,
    });
    const { target, headers } = await signIns.of(base, signal);
    expect(target.tls?.certificateAuthorities).toBe('own authority');
    expect(headers(identity('system:serviceaccount:shop:agent', ['x']), 's1')).toEqual([
      ...['authorization', 'Bearer own-token'],
      ...['impersonate-user', 'system:serviceaccount:shop:agent'],
      ...['impersonate-extra-sallyport.dev%2fsession', 's1'],
    ]);
    const plain = { ...base, target: { ...base.target, tls: { mode: 'Disable' as const } } };
    await expect(signIns.of(plain, signal)).rejects.toMatchObject({ code: 'SPL014' });
  });

  test('groups of an outside issuer go with the name', async () => {
    const credential = { impersonate: { secretRef: { name: 'x' } } };
    const signIns = createSignIns({
      credentials: source({ credential: { token: 't' } }),
      cluster: undefined,
      now: Date.now,
    });
    const { headers, impersonates } = await signIns.of({ ...base, credential }, signal);
    expect(impersonates).toBe(true);
    expect(headers(identity('okta:ådå', ['okta:dba'], false), 's1')).toEqual(
      expect.arrayContaining([
        'impersonate-user',
        Buffer.from('okta:ådå').toString('latin1'),
        'impersonate-group',
        'okta:dba',
      ]),
    );
    // It would arrive as another name.
    for (const name of ['okta:admin ', 'okta:a\nb', '']) {
      expect(() => headers(identity(name, [], false), 's1')).toThrow('cannot be sent');
    }
  });

  test('outside of a cluster there has to be a Secret', async () => {
    const signIns = createSignIns({ credentials: source({}), cluster: undefined, now: Date.now });
    await expect(signIns.of(base, signal)).rejects.toMatchObject({ code: 'SPL014' });
    const broken = createSignIns({
      credentials: source({ credential: { token: 'a\r\nx: y' } }),
      cluster: undefined,
      now: Date.now,
    });
    await expect(broken.of({ ...base, credential: { secretRef: { name: 'x' } } }, signal)).rejects.toMatchObject({
      code: 'SPL014',
    });
  });

  test('tokens of accounts are made once, renewed before they end, and made anew after a refusal', async () => {
    let now = 1_000_000;
    const issued = cluster(600_000, () => now);
    const told: string[] = [];
    const signIns = createSignIns({
      credentials: source({}),
      cluster: issued.cluster,
      now: () => now,
      unknown: (connection) => told.push(connection),
    });
    const of: CompiledConnection = {
      ...base,
      credential: { serviceAccountToken: { name: 'worker', audiences: [], ttlMs: 600_000 } },
    };
    const bearer = async (): Promise<string | undefined> =>
      (await signIns.of(of, signal)).headers(identity('a'), 's')[1];
    expect(await Promise.all([bearer(), bearer()])).toEqual(['Bearer token-1', 'Bearer token-1']);
    expect(issued.asked).toEqual([{ namespace: 'shop', name: 'worker', audiences: [], ttlSeconds: 600 }]);
    now += 500_000;
    expect(await bearer()).toBe('Bearer token-1');
    now += 20_000;
    expect(await bearer()).toBe('Bearer token-2');
    expect(told).toEqual([]);
    signIns.refused(of);
    expect(told).toEqual([`${of.namespace}/${of.name}`]);
    expect(await bearer()).toBe('Bearer token-3');
  });
});

describe('headers on their way to the API server', () => {
  test('are those of a list', () => {
    const sent = [
      'accept',
      'application/json',
      'x-anything',
      'a',
      'audit-id',
      '1',
      'cookie',
      'a=b',
      'user-agent',
      'kubectl',
    ];
    expect(passedHeaders(sent, false)).toEqual(['accept', 'application/json', 'user-agent', 'kubectl']);
  });

  test('through its proxy are all but those of identities', () => {
    const sent = [
      'x-anything',
      'a',
      'cookie',
      'b',
      'impersonate-user',
      'c',
      'x-remote-user',
      'd',
      'x-forwarded-for',
      'e',
    ];
    expect(passedHeaders(sent, true)).toEqual(['x-anything', 'a']);
    const token = `base64url.bearer.authorization.k8s.io.${Buffer.from('secret').toString('base64url')}`;
    expect(passedHeaders(['sec-websocket-protocol', `${token}, chat`], true)).toEqual([
      'sec-websocket-protocol',
      'chat',
    ]);
  });

  test('hold the token of a browser', () => {
    const token = `base64url.bearer.authorization.k8s.io.${Buffer.from('secret').toString('base64url')}`;
    const of = (protocols: string, upgrade = 'websocket') =>
      websocketToken(['upgrade', upgrade, 'sec-websocket-protocol', protocols]);
    expect(of(`${token}, v5.channel.k8s.io`)).toBe('secret');
    expect(of(`${token}, ${token}, v5.channel.k8s.io`)).toBeUndefined();
    expect(of(token)).toBeUndefined();
    expect(of(`${token}, chat`, 'spdy/3.1')).toBeUndefined();
  });
});
