import { generateKeyPairSync } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createDevelopmentVerifier, DEVELOPMENT_ISSUER, developmentKey, signDevelopmentToken } from './development.ts';
import { createTokenVerifier } from './verifier.ts';

let state = '';
beforeEach(async () => {
  state = await mkdtemp(join(tmpdir(), 'sallyport-issuer-'));
});
afterEach(() => rm(state, { recursive: true }));

const signal = AbortSignal.timeout(60_000);
const request = {
  subject: 'system:serviceaccount:shop:reporter',
  groups: ['team:data'],
  claims: { job: 'nightly' },
  ttlSeconds: 600,
};

describe('the key', () => {
  test('is made once, for its owner alone, by however many at once', async () => {
    const keys = await Promise.all([developmentKey(state), developmentKey(state), developmentKey(state)]);
    const pem = await readFile(join(state, 'issuer', 'key.pem'), 'utf8');
    for (const key of keys) expect(key.export({ type: 'pkcs8', format: 'pem' })).toBe(pem);
    expect((await stat(join(state, 'issuer', 'key.pem'))).mode & 0o777).toBe(0o600);
    expect((await stat(join(state, 'issuer'))).mode & 0o777).toBe(0o700);
  });

  test('is refused when others may read it, when the folder is open, when it is a link or rubbish', async () => {
    await developmentKey(state);
    const path = join(state, 'issuer', 'key.pem');
    await chmod(path, 0o640);
    await expect(developmentKey(state)).rejects.toMatchObject({
      code: 'SPI018',
      message: expect.stringContaining('0640'),
    });
    await chmod(path, 0o600);
    await chmod(join(state, 'issuer'), 0o755);
    await expect(developmentKey(state)).rejects.toMatchObject({ code: 'SPI018' });
    await chmod(join(state, 'issuer'), 0o700);
    await writeFile(path, 'rubbish');
    await expect(developmentKey(state)).rejects.toMatchObject({ code: 'SPI018' });
    await rm(path);
    await mkdir(join(state, 'other'));
    await symlink(join(state, 'other'), path);
    await expect(developmentKey(state)).rejects.toMatchObject({ code: 'SPI018' });
  });
});

describe('a token', () => {
  const verify = async (token: string, peer: string | undefined, at = Date.now()) => {
    const verifier = createDevelopmentVerifier(await developmentKey(state), () => at);
    return createTokenVerifier({ issuers: [verifier], now: () => at }).verify(token, signal, peer);
  };

  test('of a service account says so, with the groups that a cluster would give', async () => {
    const token = await signDevelopmentToken(await developmentKey(state), request, Date.now());
    const { subject, tokenLifetimeSeconds } = await verify(token, '127.0.0.1');
    expect(subject).toMatchObject({
      username: 'system:serviceaccount:shop:reporter',
      serviceAccount: { namespace: 'shop', name: 'reporter' },
      groups: ['system:serviceaccounts', 'system:serviceaccounts:shop', 'system:authenticated', 'team:data'],
      claims: { job: 'nightly' },
    });
    expect(subject.issuer).toBeUndefined();
    expect(tokenLifetimeSeconds).toBe(600);
  });

  test('of an outside subject names the issuer', async () => {
    const token = await signDevelopmentToken(
      await developmentKey(state),
      { ...request, subject: 'okta:ada@example.com' },
      Date.now(),
    );
    const { subject } = await verify(token, '::1');
    expect(subject).toMatchObject({ username: 'okta:ada@example.com', issuer: 'okta', groups: ['team:data'] });
  });

  test.each(['10.0.0.7', '::2', undefined, '', '128.0.0.1', '127.evil', '::ffff:10.0.0.1'])(
    'is refused from %s',
    async (peer) => {
      const token = await signDevelopmentToken(await developmentKey(state), request, Date.now());
      await expect(verify(token, peer)).rejects.toMatchObject({ code: 'SPI017' });
    },
  );

  test('is refused from elsewhere also while it is cached', async () => {
    const verifier = createTokenVerifier({
      issuers: [createDevelopmentVerifier(await developmentKey(state), Date.now)],
      now: Date.now,
    });
    const token = await signDevelopmentToken(await developmentKey(state), request, Date.now());
    await verifier.verify(token, signal, '127.0.0.1');
    await expect(verifier.verify(token, signal, '10.0.0.7')).rejects.toMatchObject({ code: 'SPI017' });
  });

  test('is refused when expired, or signed by another key', async () => {
    const token = await signDevelopmentToken(await developmentKey(state), request, Date.now());
    await expect(verify(token, '127.0.0.1', Date.now() + 700_000)).rejects.toMatchObject({ code: 'SPI008' });
    const other = generateKeyPairSync('ed25519').privateKey;
    const forged = await signDevelopmentToken(other, request, Date.now());
    await expect(verify(forged, '127.0.0.1')).rejects.toMatchObject({ code: 'SPI006' });
  });

  test('that claims a subject or group of the cluster is refused even when it is signed', async () => {
    const key = await developmentKey(state);
    const now = Math.floor(Date.now() / 1000);
    const signed = (payload: Record<string, unknown>): Promise<string> =>
      new SignJWT({ iss: DEVELOPMENT_ISSUER, aud: 'sallyport', iat: now, exp: now + 60, ...payload })
        .setProtectedHeader({ alg: 'EdDSA' })
        .sign(key);
    await expect(verify(await signed({ sub: 'system:admin' }), '::1')).rejects.toMatchObject({ code: 'SPI019' });
    await expect(verify(await signed({ sub: 'a:b', groups: ['system:masters'] }), '::1')).rejects.toMatchObject({
      code: 'SPI021',
    });
    await expect(verify(await signed({ sub: 'a:b', groups: 'a:b' }), '::1')).rejects.toMatchObject({ code: 'SPI013' });
    await expect(verify(await signed({ sub: 'a:b', aud: ['sallyport', 'x'] }), '::1')).rejects.toMatchObject({
      code: 'SPI011',
    });
  });

  test.each([
    ['SPI019', { subject: 'reporter' }],
    ['SPI019', { subject: 'system:admin' }],
    ['SPI019', { subject: 'system:serviceaccount:shop' }],
    ['SPI019', { subject: 'a:b\u0000' }],
    ['SPI021', { groups: ['data'] }],
    ['SPI021', { groups: ['system:masters'] }],
    ['SPI022', { claims: { exp: 1 } }],
    ['SPI022', { claims: { groups: 'x' } }],
    ['SPI023', { ttlSeconds: 0 }],
    ['SPI023', { ttlSeconds: 86_401 }],
    ['SPI023', { ttlSeconds: Number.NaN }],
  ])('is not made: %s for %o', async (code, wrong) => {
    const key = await developmentKey(state);
    await expect((async () => signDevelopmentToken(key, { ...request, ...wrong }, Date.now()))()).rejects.toMatchObject(
      { code },
    );
  });
});
