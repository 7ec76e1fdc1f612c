import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import type { AccessConnection } from '../../../../api/resources.ts';
import { issueSshCertificate, type SshCertificateRequest } from '../../../../certificate/openssh/certificate.ts';
import { fingerprint, formatPublicKey, publicKeyOf } from '../../../../certificate/openssh/public-key.ts';
import type { Bundle, CompiledConnection } from '../../../../policy/bundle.ts';
import { compile } from '../../../../policy/compile.ts';
import { createDevelopmentVerifier, signDevelopmentToken } from '../../../identity/development.ts';
import { identityError } from '../../../identity/errors.ts';
import { createTokenVerifier } from '../../../identity/verifier.ts';
import type { BundleSource, Proof } from '../../../ports.ts';
import { createAuthenticator } from './authenticator.ts';
import type { AuthOutcome } from './port.ts';
import { createRegistrations } from './registrations.ts';

const NOW = Date.parse('2030-05-01T10:00:00Z');
const agent = generateKeyPairSync('ed25519');
const other = generateKeyPairSync('ed25519');
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const authority = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const issuer = generateKeyPairSync('ed25519');
const blob = (key: KeyObject): Buffer => publicKeyOf(key).blob;
const line = (key: KeyObject): string => formatPublicKey(publicKeyOf(key), 'a comment');

const SSH = {
  authorizedKeys: [
    { serviceAccount: { name: 'agent' }, publicKey: line(agent.publicKey) },
    {
      serviceAccount: { namespace: 'ci', name: 'runner' },
      publicKey: line(rsa.publicKey),
      expiresAt: '2030-05-01T11:00:00Z',
    },
  ],
  trustedUserCAs: [
    {
      publicKey: line(authority.publicKey),
      maxLifetime: '1h',
      subjects: [
        { principal: 'bot', serviceAccount: { name: 'bot' } },
        { principal: 'ada', user: 'okta:ada@example.com' },
      ],
    },
  ],
};

function bundleWith(ssh: unknown): Bundle {
  const connection = parse(`
apiVersion: sallyport.dev/v1alpha1
kind: AccessConnection
metadata: {name: host, namespace: shop}
spec:
  protocol: SSH
  target: {host: host.example, port: 22, hostKeys: ['${line(other.publicKey)}']}
  credential: {secretRef: {name: host}}
`) as AccessConnection;
  const spec = { ...connection.spec, ...(ssh === undefined ? {} : { ssh }) } as AccessConnection['spec'];
  const resources = { connections: [{ ...connection, spec }], policies: [], maskingRules: [] };
  return compile(resources, { guardrailNamespace: 'sallyport-system' }).bundle;
}

function ground(ssh: unknown = SSH, options: { proof?: Proof; peer?: string; now?: number } = {}) {
  let bundle = bundleWith(ssh);
  const listeners = new Set<(bundle: Bundle) => void>();
  const bundles: BundleSource = {
    current: () => bundle,
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  const now = (): number => options.now ?? NOW;
  const verifier = createTokenVerifier({ issuers: [createDevelopmentVerifier(issuer.publicKey, now)], now });
  const authenticator = createAuthenticator({
    connection: (): CompiledConnection | undefined => bundles.current().connection('shop', 'host'),
    verifier,
    registrations: createRegistrations(bundles),
    peer: options.peer ?? '127.0.0.1',
    now,
    ...(options.proof === undefined ? {} : { proof: options.proof }),
  });
  const signal = AbortSignal.timeout(10_000);
  const key = (key: Buffer, algorithm = 'ssh-ed25519', verified = true): Promise<AuthOutcome> =>
    authenticator.authenticate({ username: 'deploy', method: 'publickey', key, algorithm, verified }, signal);
  return {
    authenticator,
    key,
    certificate: (change: Partial<SshCertificateRequest> = {}, verified = true) =>
      key(
        issueSshCertificate({
          use: 'user',
          publicKey: agent.publicKey,
          nonce: randomBytes(32),
          serial: 7n,
          keyId: 'ada@laptop',
          principals: ['bot'],
          validAfter: NOW - 60_000,
          validBefore: NOW + 600_000,
          authority: authority.privateKey,
          ...change,
        }),
        'ssh-ed25519-cert-v01@openssh.com',
        verified,
      ),
    attempt: (
      attempt:
        | { method: 'none' }
        | { method: 'password'; password: string }
        | { method: 'keyboard-interactive'; answers: string[] },
    ) => authenticator.authenticate({ username: 'deploy', ...attempt }, signal),
    change(next: unknown) {
      bundle = bundleWith(next);
      for (const listener of listeners) listener(bundle);
    },
  };
}

const token = (claims: Record<string, unknown> = {}): Promise<string> =>
  signDevelopmentToken(issuer.privateKey, { subject: 'okta:ada', groups: [], claims, ttlSeconds: 600 }, NOW);

test('a registered key is the service account, and the session ends with the key', async () => {
  const { key, authenticator, change } = ground();
  expect(authenticator.methods).toEqual(['publickey', 'keyboard-interactive', 'password']);
  expect(await key(blob(agent.publicKey), 'ssh-ed25519', false)).toEqual({ acceptable: true });
  const outcome = await key(blob(agent.publicKey));
  expect(outcome).toMatchObject({
    method: 'publickey',
    accepted: {
      subject: {
        username: 'system:serviceaccount:shop:agent',
        serviceAccount: { namespace: 'shop', name: 'agent' },
        groups: ['system:serviceaccounts', 'system:serviceaccounts:shop', 'system:authenticated'],
      },
      sessionExpiresAt: new Date(NOW + 8 * 3_600_000),
      tokenId: fingerprint(blob(agent.publicKey)),
    },
  });
  if (!('accepted' in outcome)) throw new Error('it was not accepted');
  const { withdrawn } = outcome.accepted;
  change({ ...SSH, trustedUserCAs: SSH.trustedUserCAs });
  expect(withdrawn?.aborted).toBe(false);
  // The same key for somebody else is another registration.
  change({ authorizedKeys: [{ serviceAccount: { name: 'intruder' }, publicKey: line(agent.publicKey) }] });
  expect(withdrawn?.reason).toMatchObject({ code: 'SPI046' });
  expect(await key(blob(agent.publicKey))).toMatchObject({
    accepted: { subject: { serviceAccount: { name: 'intruder' } } },
  });
});

test('keys that nobody registered, that have ended, or sign with SHA-1 are refused', async () => {
  const { key, change } = ground();
  expect(await key(blob(other.publicKey))).toMatchObject({ rejected: '', error: { code: 'SPI041' } });
  expect(await key(blob(rsa.publicKey), 'ssh-rsa')).toMatchObject({ error: { code: 'SPI045' } });
  expect(await key(blob(rsa.publicKey), 'rsa-sha2-512')).toMatchObject({
    accepted: {
      subject: { username: 'system:serviceaccount:ci:runner' },
      sessionExpiresAt: new Date('2030-05-01T11:00:00Z'),
    },
  });
  const ended = ground(SSH, { now: Date.parse('2030-05-01T11:00:00Z') });
  expect(await ended.key(blob(rsa.publicKey), 'rsa-sha2-256')).toMatchObject({ error: { code: 'SPI042' } });
  expect(await key(Buffer.from('nonsense'))).toMatchObject({ error: { code: 'SPI045' } });
  change(undefined);
  expect(await key(blob(agent.publicKey))).toMatchObject({ error: { code: 'SPI041' } });
  const time = ground({ authorizedKeys: [{ ...SSH.authorizedKeys[0], expiresAt: 'never' }] });
  expect(await time.key(blob(agent.publicKey))).toMatchObject({ error: { code: 'SPI042' } });
});

test('a certificate of a trusted authority is whom its first known principal stands for', async () => {
  const { certificate, change } = ground();
  const first = await certificate({ principals: ['nobody', 'ada', 'bot'] });
  expect(first).toMatchObject({
    method: 'certificate',
    accepted: {
      subject: { username: 'system:serviceaccount:shop:bot' },
      sessionExpiresAt: new Date(NOW + 600_000),
      tokenId: `${fingerprint(blob(agent.publicKey))} 7`,
    },
  });
  const person = await certificate({ principals: ['ada'] });
  expect(person).toMatchObject({
    accepted: { subject: { username: 'okta:ada@example.com', issuer: 'okta', groups: [] } },
  });
  if (!('accepted' in person)) throw new Error('it was not accepted');
  expect(await certificate({}, false)).toEqual({ acceptable: true });
  const [ca] = SSH.trustedUserCAs;
  change({ trustedUserCAs: [{ ...ca, subjects: ca?.subjects.slice(0, 1) }] });
  expect(person.accepted.withdrawn?.aborted).toBe(true);
});

test.each([
  ['of another authority', { authority: other.privateKey }, 'SPI043', 'not trusted here'],
  ['for a host', { use: 'host' }, 'SPI043', 'for a host'],
  ['that has ended', { validBefore: NOW }, 'SPI043', 'not valid any more'],
  ['that has not begun', { validAfter: NOW + 1000 }, 'SPI043', 'not valid yet'],
  ['that lives too long', { validBefore: NOW + 3_600_000 }, 'SPI043', 'longer than the 3600 s'],
  ['for no principal that is known', { principals: ['root'] }, 'SPI044', 'no principal'],
  ['for one command', { criticalOptions: new Map([['force-command', 'ls']]) }, 'SPI043', 'force-command'],
  [
    'for another address',
    { criticalOptions: new Map([['source-address', '192.0.2.0/24']]) },
    'SPI043',
    'may not be used from',
  ],
] as const)('a certificate %s is refused', async (_what, change, code, words) => {
  const outcome = await ground().certificate(change);
  expect(outcome).toMatchObject({ rejected: expect.stringContaining(words), error: { code } });
});

test('what a certificate says of itself is shown without what moves a terminal', async () => {
  const outcome = await ground().certificate({ keyId: `\u001b[2Jx\u202e${'y'.repeat(500)}`, principals: ['root'] });
  if (!('rejected' in outcome)) throw new Error('it was not rejected');
  expect(outcome.rejected).not.toMatch(/\p{Cc}|\p{Cf}/u);
  expect(outcome.rejected.length).toBeLessThan(600);
});

test('a token is the password, or the answers, in parts where the client cuts it off', async () => {
  const { attempt } = ground(undefined);
  expect(await attempt({ method: 'none' })).toMatchObject({ rejected: '', error: { code: 'SPI049' } });
  const short = await token();
  expect(await attempt({ method: 'password', password: short })).toMatchObject({
    method: 'password',
    accepted: { subject: { username: 'okta:ada' } },
  });
  expect(await attempt({ method: 'keyboard-interactive', answers: [short] })).toMatchObject({
    method: 'keyboard-interactive',
    accepted: { subject: { username: 'okta:ada' } },
  });
  const long = await token({ padding: 'x'.repeat(2000) });
  const parts = long.match(/.{1,1023}/g) ?? [];
  expect(parts.length).toBeGreaterThan(2);
  for (const [index, part] of parts.slice(0, -1).entries())
    expect(await attempt({ method: 'keyboard-interactive', answers: [part] })).toEqual({
      more: `Rest of the token, from character ${(index + 1) * 1023 + 1}: `,
    });
  expect(await attempt({ method: 'keyboard-interactive', answers: parts.slice(-1) })).toMatchObject({
    method: 'keyboard-interactive',
  });
  expect(await attempt({ method: 'password', password: parts[0] ?? '' })).toMatchObject({
    rejected: expect.stringContaining('PreferredAuthentications=keyboard-interactive'),
    error: { code: 'SPI047' },
  });
});

test('a token that is refused says which rule and what to do, once, and never itself', async () => {
  const { attempt } = ground(undefined);
  const outcome = await attempt({ method: 'password', password: 'hunter2' });
  expect(outcome).toMatchObject({
    rejected: expect.stringMatching(/^SPI003: .*passwords of the target/),
    error: { code: 'SPI003' },
  });
  expect(JSON.stringify(outcome)).not.toContain('hunter2');
  expect(await attempt({ method: 'password', password: 'hunter2' })).toMatchObject({ rejected: '' });
});

test('who came through a connector is not asked, whatever the client begins with', async () => {
  const identity = {
    subject: { username: 'a:b', groups: [], claims: {} },
    sessionExpiresAt: new Date(NOW + 1000),
    tokenId: 'x',
    tokenLifetimeSeconds: 1,
  };
  const { attempt, key } = ground(SSH, { proof: async () => identity });
  expect(await attempt({ method: 'none' })).toEqual({ accepted: identity, method: 'connector' });
  expect(await attempt({ method: 'password', password: 'x' })).toEqual({ accepted: identity, method: 'connector' });
  // Its own key is not asked who it is: the tunnel says so.
  expect(await key(blob(other.publicKey), 'ssh-ed25519', false)).toEqual({ acceptable: true });
  expect(await key(blob(agent.publicKey))).toEqual({ accepted: identity, method: 'connector' });
  const refused = ground(SSH, {
    proof: () => Promise.reject(identityError('SPI029', ['shop', 'https://10.0.0.1 is away'])),
  });
  const outcome = await refused.attempt({ method: 'none' });
  expect(outcome).toMatchObject({
    rejected: expect.stringContaining('SPI029: the token could not be verified just now'),
  });
  expect(JSON.stringify(outcome)).not.toContain('10.0.0.1');
});
