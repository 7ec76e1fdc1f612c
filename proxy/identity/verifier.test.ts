import { createHmac, generateKeyPairSync, type KeyObject } from 'node:crypto';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, type JWK, type JWTPayload, SignJWT } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { LastToken } from '../ports.ts';
import { IdentityError, identityError } from './errors.ts';
import { createOidcVerifier, type OidcIssuer } from './oidc.ts';
import { createTokenVerifier } from './verifier.ts';

/** The issuer of these tests: an HTTP server whose answers each test chooses. */
let answers: (path: string) => { status: number; body: string } | undefined;
let requests: string[] = [];
const server = http.createServer((request, response) => {
  requests.push(request.url ?? '');
  const answer = answers(request.url ?? '');
  if (answer === undefined) return;
  response.writeHead(answer.status, answer.status === 302 ? { location: '/elsewhere' } : {}).end(answer.body);
});
let origin = '';
let keyPair: { publicKey: KeyObject; privateKey: KeyObject };
let jwk: JWK;
let clock = Date.parse('2026-03-01T12:00:00Z');
const now = (): number => clock;
const at = (): number => Math.floor(clock / 1000);
const signal = AbortSignal.timeout(60_000);

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  keyPair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  jwk = { ...(await exportJWK(keyPair.publicKey)), kid: 'one', alg: 'ES256', use: 'sig' };
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const serving =
  (keys: JWK[], issuer = origin): typeof answers =>
  (path) =>
    path === '/.well-known/openid-configuration'
      ? { status: 200, body: JSON.stringify({ issuer, jwks_uri: `${origin}/keys` }) }
      : path === '/keys'
        ? { status: 200, body: JSON.stringify({ keys }) }
        : { status: 404, body: '' };

beforeEach(() => {
  requests = [];
  answers = serving([jwk]);
});

const issuer = (more: Partial<OidcIssuer> = {}): OidcIssuer => ({
  alias: 'ci',
  issuer: origin,
  audience: 'sallyport',
  maxTokenLifetimeSeconds: 3600,
  sessionGraceSeconds: 60,
  claims: { groups: 'groups', onBehalfOf: 'person' },
  ...more,
});
const verifier = (more: Partial<OidcIssuer> = {}) =>
  createTokenVerifier({ issuers: [createOidcVerifier(issuer(more), now)], now });

const claims = (more: JWTPayload = {}): JWTPayload => ({
  iss: origin,
  aud: 'sallyport',
  sub: 'job-7',
  iat: at(),
  exp: at() + 600,
  ...more,
});
const sign = (
  payload: JWTPayload,
  header: Record<string, unknown> = {},
  key: KeyObject = keyPair.privateKey,
): Promise<string> => new SignJWT(payload).setProtectedHeader({ alg: 'ES256', kid: 'one', ...header }).sign(key);

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

async function refusal(promise: Promise<unknown>): Promise<IdentityError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof IdentityError) return error;
    throw error;
  }
  throw new Error('was accepted');
}

describe('a token of a configured issuer', () => {
  test('names the subject, with the alias in front of every name', async () => {
    const identity = await verifier().verify(
      await sign(claims({ groups: ['dba', 'x'], person: 'ada', jti: 'token-123' })),
      signal,
    );
    expect(identity.subject).toMatchObject({
      username: 'ci:job-7',
      issuer: 'ci',
      groups: ['ci:dba', 'ci:x'],
      onBehalfOf: 'ci:ada',
    });
    expect(identity.sessionExpiresAt).toEqual(new Date((at() + 660) * 1000));
    expect(identity.tokenId).toBe('token-123');
    expect(identity.tokenLifetimeSeconds).toBe(600);
  });

  test('without jti has a digest for an id, which is not the token', async () => {
    const token = await sign(claims());
    const { tokenId } = await verifier().verify(token, signal);
    expect(tokenId).toMatch(/^sha256:[0-9a-f]{32}$/);
    expect(token).not.toContain(tokenId);
  });

  test('may carry its audience as a list of one, and be one group as a string', async () => {
    const identity = await verifier().verify(await sign(claims({ aud: ['sallyport'], groups: 'dba' })), signal);
    expect(identity.subject.groups).toEqual(['ci:dba']);
  });

  test('is cached for ten seconds and not longer', async () => {
    const verify = verifier();
    const token = await sign(claims());
    const first = await verify.verify(token, signal);
    clock += 9_000;
    expect(await verify.verify(token, signal)).toBe(first);
    clock += 1_001;
    expect(await verify.verify(token, signal)).not.toBe(first);
  });

  test('that a client presented last is known at once, for as long, and no other is', async () => {
    const verify = verifier();
    const token = await sign(claims());
    const last: LastToken = { believed: undefined };
    expect(verify.verified(token, undefined, last)).toBeUndefined();
    const identity = await verify.verify(token, signal, undefined, last);
    expect(verify.verified(token, undefined, last)).toBe(identity);
    expect(verify.verified(await sign(claims({ sub: 'other' })), undefined, last)).toBeUndefined();
    expect(verify.verified(token, undefined, { believed: undefined })).toBeUndefined();
    clock += 10_000;
    expect(verify.verified(token, undefined, last)).toBeUndefined();
    expect(last.believed).toBeUndefined();
  });

  test('that is known at once is still asked of its issuer for this peer', async () => {
    let refuses = false;
    const identity = await verifier().verify(await sign(claims()), signal);
    const strict = createTokenVerifier({
      issuers: [
        {
          issuer: origin,
          verify: async () => identity,
          confirm(_identity, peer) {
            if (refuses || peer === '192.0.2.1') throw identityError('SPI025', ['pod', 'is ending']);
          },
        },
      ],
      now,
    });
    const token = await sign(claims());
    const last: LastToken = { believed: undefined };
    await strict.verify(token, signal, '127.0.0.1', last);
    expect(strict.verified(token, '127.0.0.1', last)).toBe(identity);
    expect(() => strict.verified(token, '192.0.2.1', last)).toThrow(IdentityError);
    refuses = true;
    expect(() => strict.verified(token, '127.0.0.1', last)).toThrow(IdentityError);
  });

  test('is not served from the cache after its exp', async () => {
    const verify = verifier();
    const token = await sign(claims({ exp: at() + 3 }));
    const first = await verify.verify(token, signal);
    clock += 4_000;
    // Within the skew it is verified anew; past it, refused.
    expect(await verify.verify(token, signal)).not.toBe(first);
    clock += 10_000;
    expect((await refusal(verify.verify(token, signal))).code).toBe('SPI008');
  });
});

describe('refused', () => {
  const cases: [string, string, () => Promise<string>, Partial<OidcIssuer>?][] = [
    ['no token', 'SPI001', async () => ''],
    ['over-long', 'SPI002', async () => 'a'.repeat(16_385)],
    ['a password', 'SPI003', async () => 'hunter2'],
    ['three parts of rubbish', 'SPI003', async () => 'a.b.c'],
    ['encrypted (five parts)', 'SPI003', async () => 'a.b.c.d.e'],
    ['another issuer', 'SPI004', () => sign(claims({ iss: 'https://evil.example' }))],
    ['an issuer that differs by a slash', 'SPI004', () => sign(claims({ iss: `${origin}/` }))],
    ['no issuer', 'SPI004', () => sign({ aud: 'sallyport', sub: 'x', iat: at(), exp: at() + 1 })],
    ['alg none', 'SPI005', async () => `${part({ alg: 'none' })}.${part(claims())}.`],
    ['alg None', 'SPI005', async () => `${part({ alg: 'None' })}.${part(claims())}.`],
    [
      'HMAC with the public key as secret',
      'SPI005',
      async () => {
        const input = `${part({ alg: 'HS256', kid: 'one' })}.${part(claims())}`;
        const secret = keyPair.publicKey.export({ type: 'spki', format: 'pem' });
        return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
      },
    ],
    [
      'an algorithm that is a very deep list',
      'SPI005',
      async () =>
        `${Buffer.from(`{"alg":${'['.repeat(5_000)}${']'.repeat(5_000)}}`).toString('base64url')}.${part(claims())}.x`,
    ],
    ['an algorithm that is not pinned', 'SPI005', () => sign(claims()), { algorithms: ['RS256'] }],
    [
      'its own key embedded (jwk)',
      'SPI006',
      async () => {
        const evil = generateKeyPairSync('ec', { namedCurve: 'P-256' });
        return sign(claims(), { jwk: await exportJWK(evil.publicKey) }, evil.privateKey);
      },
    ],
    [
      'its own key by reference (jku, x5u)',
      'SPI006',
      async () => {
        const evil = generateKeyPairSync('ec', { namedCurve: 'P-256' });
        return sign(claims(), { jku: `${origin}/evil`, x5u: `${origin}/evil` }, evil.privateKey);
      },
    ],
    [
      'a changed payload',
      'SPI006',
      async () => (await sign(claims())).replace(/\.[^.]+\./, `.${part(claims({ sub: 'root' }))}.`),
    ],
    ['an unknown key', 'SPI007', () => sign(claims(), { kid: 'two' })],
    ['expired', 'SPI008', () => sign(claims({ exp: at() - 11 }))],
    ['not yet valid', 'SPI009', () => sign(claims({ nbf: at() + 60 }))],
    ['issued in the future', 'SPI010', () => sign(claims({ iat: at() + 60, exp: at() + 600 }))],
    ['a foreign audience', 'SPI011', () => sign(claims({ aud: 'other' }))],
    ['several audiences', 'SPI011', () => sign(claims({ aud: ['sallyport', 'other'] }))],
    ['no audience', 'SPI013', () => sign({ iss: origin, sub: 'x', iat: at(), exp: at() + 1 })],
    ['too long a life', 'SPI012', () => sign(claims({ exp: at() + 3601 }))],
    ['no exp', 'SPI013', () => sign({ iss: origin, aud: 'sallyport', sub: 'x', iat: at() })],
    ['no iat', 'SPI013', () => sign({ iss: origin, aud: 'sallyport', sub: 'x', exp: at() + 1 })],
    ['exp as text', 'SPI013', () => sign(claims({ exp: '9999999999' as unknown as number }))],
    ['no subject', 'SPI013', () => sign({ iss: origin, aud: 'sallyport', iat: at(), exp: at() + 1 })],
    ['a subject with a control character', 'SPI013', () => sign(claims({ sub: 'a\u202eb' }))],
    ['groups that are no names', 'SPI013', () => sign(claims({ groups: [{ a: 1 }] }))],
    ['a system: subject', 'SPI014', () => sign(claims({ sub: 'system:serviceaccount:shop:reporter' }))],
    ['a SYSTEM: subject', 'SPI014', () => sign(claims({ sub: 'SYSTEM:admin' }))],
    ['a system: group', 'SPI014', () => sign(claims({ groups: ['system:masters'] }))],
    ['a system: person', 'SPI014', () => sign(claims({ person: 'system:admin' }))],
    ['a logout token', 'SPI020', () => sign(claims(), { typ: 'logout+jwt' })],
    ['a token bound to a key', 'SPI020', () => sign(claims({ cnf: { jkt: 'x' } }))],
  ];
  test.each(cases)('%s: %s', async (_name, code, make, more) => {
    const token = await make();
    const error = await refusal(verifier(more).verify(token, signal));
    expect(error.code).toBe(code);
    expect(error.hint).not.toBe('');
    if (token.length > 20) expect(`${error.message}${error.stack}`).not.toContain(token.slice(0, 100));
    expect(requests).not.toContain('/evil');
  });

  test('a wrong algorithm or issuer before anything is fetched', async () => {
    await refusal(verifier().verify(`${part({ alg: 'none' })}.${part(claims())}.`, signal));
    await refusal(verifier().verify(await sign(claims({ iss: 'https://evil.example' })), signal));
    expect(requests).toEqual([]);
  });

  test.each([
    ['system', {}],
    ['Bad Alias', {}],
    ['ci', { sessionGraceSeconds: 3601 }],
    ['ci', { algorithms: ['HS256'] }],
    ['ci', { algorithms: [] }],
    ['ci', { audience: '' }],
    ['ci', { maxTokenLifetimeSeconds: Number.NaN }],
  ])('a configuration with alias %s and %o', (alias, more) => {
    expect(() => createOidcVerifier(issuer({ alias, ...more }), now)).toThrow(IdentityError);
  });
});

describe('keys of the issuer', () => {
  test('a new key is found by one fetch, and made-up ids cause no flood', async () => {
    const verify = verifier();
    await verify.verify(await sign(claims()), signal);
    const fetches = (): number => requests.filter((path) => path === '/keys').length;
    expect(fetches()).toBe(1);
    const next = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    answers = serving([jwk, { ...(await exportJWK(next.publicKey)), kid: 'two', alg: 'ES256' }]);
    clock += 6_000;
    const rotated = await sign(claims(), { kid: 'two' }, next.privateKey);
    await Promise.all([verify.verify(rotated, signal), verify.verify(rotated, signal), verify.verify(rotated, signal)]);
    expect(fetches()).toBe(2);
    for (let i = 0; i < 20; i++) {
      expect((await refusal(verify.verify(await sign(claims(), { kid: `made-up-${i}` }), signal))).code).toBe('SPI007');
    }
    expect(fetches()).toBe(2);
  });

  test('a withdrawn key stops working, at the latest after an hour without the issuer', async () => {
    const verify = verifier();
    await verify.verify(await sign(claims()), signal);
    answers = () => ({ status: 503, body: '' });
    clock += 30 * 60_000;
    await verify.verify(await sign(claims()), signal);
    clock += 31 * 60_000;
    expect((await refusal(verify.verify(await sign(claims()), signal))).code).toBe('SPI015');
  });

  test.each<[string, string, typeof answers]>([
    ['down', 'SPI015', () => ({ status: 503, body: '' })],
    ['redirecting', 'SPI015', () => ({ status: 302, body: '' })],
    ['not JSON', 'SPI015', () => ({ status: 200, body: '<html>' })],
    ['endless', 'SPI015', () => ({ status: 200, body: ' '.repeat(300_000) })],
    ['calling itself otherwise', 'SPI016', (path) => serving([], 'https://other.example')(path)],
    ['no key set', 'SPI016', (path) => (path === '/keys' ? { status: 200, body: '{"keys":7}' } : serving([])(path))],
    [
      'pointing at plain HTTP elsewhere',
      'SPI016',
      () => ({ status: 200, body: JSON.stringify({ issuer: origin, jwks_uri: 'http://192.0.2.1/keys' }) }),
    ],
  ])('an issuer that is %s: %s', async (_name, code, wrong) => {
    answers = wrong;
    const error = await refusal(verifier().verify(await sign(claims()), signal));
    expect(error.code).toBe(code);
  });

  test('a slow issuer holds nobody longer than their own deadline', async () => {
    answers = () => undefined;
    const deadline = new AbortController();
    const verifying = verifier().verify(await sign(claims()), deadline.signal);
    server.once('request', () => deadline.abort(new Error('deadline')));
    await expect(verifying).rejects.toThrow('deadline');
  });

  test('a symmetric key in the set is never used', async () => {
    const secret = 'c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA';
    answers = serving([{ kty: 'oct', k: secret, kid: 'one', alg: 'HS256' }]);
    const input = `${part({ alg: 'HS256', kid: 'one' })}.${part(claims())}`;
    const token = `${input}.${createHmac('sha256', Buffer.from(secret, 'base64url')).update(input).digest('base64url')}`;
    expect((await refusal(verifier().verify(token, signal))).code).toBe('SPI005');
  });
});
