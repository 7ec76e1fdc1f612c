import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JWK } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createConfiguredVerifier } from '../../proxy/identity/configured.ts';
import { IdentityError } from '../../proxy/identity/errors.ts';
import type { OidcIssuer } from '../../proxy/identity/oidc.ts';
import { selfMadeCertificate } from '../../proxy/identity/server-certificate.ts';
import type { TokenVerifier } from '../../proxy/ports.ts';
import { type Issuer, signingKey, startIssuer } from '../support/oidc-issuer.ts';

const signal = AbortSignal.timeout(120_000);
let folder: string;
let ca: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sallyport-oidc-'));
  const certificate = await selfMadeCertificate(folder, () => [], Date.now);
  ca = certificate.caFile ?? '';
});
afterAll(() => rm(folder, { recursive: true }));

const started: Issuer[] = [];
async function start(keys: readonly JWK[], tokenSeconds = 300, secure = false): Promise<Issuer> {
  const pem = secure ? await readFile(join(folder, 'tls', 'server.pem'), 'utf8') : '';
  const tls = secure ? { tls: { pem, ca: await readFile(ca, 'utf8') } } : {};
  const claims = { groups: ['dba'], person: 'ada@example.com' };
  const issuer = await startIssuer(keys, { tokenSeconds, claims, ...tls });
  started.push(issuer);
  return issuer;
}
afterEach(async () => {
  for (const issuer of started.splice(0)) await issuer.stop();
});

const verifierFor = (issuer: Issuer, more: Partial<OidcIssuer> = {}, now: () => number = Date.now): TokenVerifier =>
  createConfiguredVerifier({
    issuers: [
      {
        alias: 'ci',
        issuer: issuer.issuer,
        audience: 'sallyport',
        maxTokenLifetimeSeconds: 600,
        sessionGraceSeconds: 0,
        claims: { groups: 'groups', onBehalfOf: 'person' },
        ...more,
      },
    ],
    developmentKey: undefined,
    now,
  });

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'accepted';
  } catch (error) {
    if (error instanceof IdentityError) return error.code;
    throw error;
  }
}

describe('tokens of oidc-provider', () => {
  test.each(['ES256', 'RS256', 'EdDSA'] as const)('signed with %s are accepted', async (algorithm) => {
    const issuer = await start([await signingKey(algorithm)]);
    const { subject, tokenLifetimeSeconds } = await verifierFor(issuer).verify(await issuer.token(), signal);
    expect(subject).toMatchObject({ username: 'ci:nightly-job', groups: ['ci:dba'], onBehalfOf: 'ci:ada@example.com' });
    expect(tokenLifetimeSeconds).toBe(300);
  });

  test('are accepted over TLS with a given authority, and not without it', async () => {
    const issuer = await start([await signingKey('ES256')], 300, true);
    const token = await issuer.token();
    expect(await codeOf(verifierFor(issuer, { caFile: ca }).verify(token, signal))).toBe('accepted');
    expect(await codeOf(verifierFor(issuer).verify(token, signal))).toBe('SPI015');
  });

  test('for another audience, or with too long a life, are refused', async () => {
    const issuer = await start([await signingKey('ES256')], 900);
    expect(await codeOf(verifierFor(issuer).verify(await issuer.token('other'), signal))).toBe('SPI011');
    expect(await codeOf(verifierFor(issuer).verify(await issuer.token(), signal))).toBe('SPI012');
  });

  test('expire, and a session may go on for the grace but no new one begins', async () => {
    const issuer = await start([await signingKey('ES256')]);
    let now = Date.now();
    const verifier = verifierFor(issuer, { sessionGraceSeconds: 3600 }, () => now);
    const token = await issuer.token();
    const { sessionExpiresAt } = await verifier.verify(token, signal);
    expect(sessionExpiresAt.getTime()).toBeGreaterThan(now + 3_800_000);
    now += 400_000;
    expect(await codeOf(verifier.verify(token, signal))).toBe('SPI008');
  });

  test('of another issuer with the same keys are refused', async () => {
    const key = await signingKey('ES256');
    const [one, two] = [await start([key]), await start([key])];
    expect(await codeOf(verifierFor(one).verify(await two.token(), signal))).toBe('SPI004');
  });
});

describe('an issuer', () => {
  test('rotates its keys: both work while both are published, and the old one ends with its withdrawal', async () => {
    const [first, second] = [await signingKey('ES256'), await signingKey('ES256')];
    const issuer = await start([first]);
    let now = Date.now();
    const verifier = verifierFor(issuer, {}, () => now);
    const old = await issuer.token();
    await verifier.verify(old, signal);
    issuer.use([second, first]);
    now += 20_000;
    const fresh = await issuer.token();
    await verifier.verify(fresh, signal);
    await verifier.verify(old, signal);
    // The next key that is not known yet brings the whole new set, and with it the end of the withdrawn ones.
    now += 20_000;
    issuer.use([await signingKey('ES256')]);
    await verifier.verify(await issuer.token(), signal);
    now += 11_000;
    expect(await codeOf(verifier.verify(old, signal))).toBe('SPI007');
  });

  test('is down: known keys go on to work, unknown ones do not, and it is asked again later', async () => {
    const issuer = await start([await signingKey('ES256')]);
    const token = await issuer.token();
    let now = Date.now();
    const [knows, knowsNot] = [verifierFor(issuer, {}, () => now), verifierFor(issuer, {}, () => now)];
    await knows.verify(token, signal);
    await issuer.stop();
    started.pop();
    now += 20_000;
    expect(await codeOf(knows.verify(token, signal))).toBe('accepted');
    expect(await codeOf(knowsNot.verify(token, signal))).toBe('SPI015');
  });

  test('is slow: a caller waits no longer than its own deadline', async () => {
    const issuer = await start([await signingKey('ES256')]);
    const token = await issuer.token();
    await issuer.stop();
    started.pop();
    const silent = net.createServer((socket) => socket.on('error', () => socket.destroy()));
    silent.listen(issuer.port, '127.0.0.1');
    await once(silent, 'listening');
    const deadline = new AbortController();
    const verifying = verifierFor(issuer).verify(token, deadline.signal);
    const [socket] = (await once(silent, 'connection')) as [net.Socket];
    deadline.abort(new Error('the caller has waited long enough'));
    await expect(verifying).rejects.toThrow('the caller has waited long enough');
    socket.destroy();
    silent.close();
  });
});
