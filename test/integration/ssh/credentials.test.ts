import { generateKeyPairSync } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { DEFAULT_CONFIGURATION } from '../../../api/configuration.ts';
import { loadResources } from '../../../api/load.ts';
import { checkRules } from '../../../api/rules.ts';
import { formatCertificate, parseCertificate } from '../../../certificate/openssh/certificate.ts';
import { formatPrivateKey } from '../../../certificate/openssh/private-key.ts';
import { fingerprint, formatPublicKey, publicKeyOf } from '../../../certificate/openssh/public-key.ts';
import type { SshOperation } from '../../../policy/command.ts';
import { compile } from '../../../policy/compile.ts';
import type { CredentialLease, SshCredential } from '../../../proxy/ports.ts';
import { pinnedHostKeys } from '../../../proxy/protocols/ssh/credentials/host-keys.ts';
import { createSshLeases } from '../../../proxy/protocols/ssh/credentials/leases.ts';
import { createRecorder } from '../../../proxy/recording/writer.ts';
import { createStandaloneCredentials } from '../../../proxy/standalone/credentials.ts';
import { recordedEvents } from '../../support/recorded.ts';
import { describeWith } from '../../support/requires.ts';
import { runClient, type Sshd, sshParameters, sshServer, startSshd } from '../../support/sshd.ts';

const SUBJECT = {
  username: 'system:serviceaccount:shop:agent',
  serviceAccount: { namespace: 'shop', name: 'agent' },
  groups: [],
  claims: {},
};

describeWith(sshServer, 'what SSH connections sign in with', () => {
  const authority = generateKeyPairSync('ed25519').privateKey;
  const login = generateKeyPairSync('ed25519').privateKey;
  let sshd: Sshd & AsyncDisposable;
  let folder = '';
  beforeAll(async () => {
    sshd = await startSshd({
      trustedUserCas: [formatPublicKey(publicKeyOf(authority))],
      authorizedKeys: [formatPublicKey(publicKeyOf(login))],
      settings: ['StreamLocalBindUnlink yes'],
    });
  });
  afterAll(() => sshd[Symbol.asyncDispose]());
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sallyport-ssh-leases-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  async function secret(name: string, values: Record<string, string>): Promise<void> {
    const path = join(folder, 'state', 'secrets', 'shop', name);
    await mkdir(path, { recursive: true });
    for (const [key, value] of Object.entries(values)) await writeFile(join(path, key), value);
  }

  const pem = (key: typeof authority): string => formatPrivateKey(key, '', 1);

  async function ground(credential: string, now: () => number = Date.now) {
    await writeFile(
      join(folder, 'connection.yaml'),
      `apiVersion: sallyport.dev/v1alpha1
kind: AccessConnection
metadata: {name: host, namespace: shop}
spec:
  protocol: SSH
  target: {host: 127.0.0.1, port: ${sshd.port}, hostKeys: ['${sshd.hostKeys[0]?.publicKey}']}
  credential: ${credential}
`,
    );
    const loaded = await loadResources([join(folder, 'connection.yaml')], checkRules);
    expect(loaded.findings).toEqual([]);
    const { bundle } = compile(loaded.resources, { guardrailNamespace: 'sallyport-system' });
    const [connection] = bundle.connections;
    if (connection === undefined) throw new Error('there is no connection');
    const credentials = createStandaloneCredentials({
      loaded: () => loaded,
      configuration: DEFAULT_CONFIGURATION,
      state: join(folder, 'state'),
      environment: {},
    });
    const recorder = createRecorder({ root: join(folder, 'record'), pid: process.pid, onHealth: () => {} });
    const warnings: string[] = [];
    const leases = createSshLeases({
      credentials,
      observer: { ended: () => {}, swept: () => {}, warn: (_detail, message) => void warnings.push(message) },
      now,
    });
    const lease = (
      loginUser: string,
      operations: readonly SshOperation[] = [],
      localAddress = '127.0.0.1',
    ): Promise<CredentialLease<SshCredential>> =>
      leases.lease(connection, {
        session: 'session-1',
        subject: SUBJECT,
        scope: { ...bundle.scope(SUBJECT, connection), operations: () => new Set(operations) },
        stream: recorder.stream('shop', 'host'),
        signal: AbortSignal.timeout(30_000),
        loginUser,
        localAddress,
      });
    const events = async () => {
      await recorder.close();
      return (await recordedEvents(folder)).filter(({ e }) => e.startsWith('credential.'));
    };
    return { lease, connection, warnings, events };
  }

  /** Signs in with stock ssh. */
  async function signIn(
    { credential }: Pick<CredentialLease<SshCredential>, 'credential'>,
    words: readonly string[],
    options: string[] = [],
  ) {
    if (credential.type === 'password') throw new Error('not a key');
    const identity = join(folder, `id-${fingerprint(publicKeyOf(credential.privateKey).blob).replaceAll(/\W/g, '')}`);
    await writeFile(identity, pem(credential.privateKey), { mode: 0o600 });
    if (credential.type === 'certificate')
      await writeFile(`${identity}-cert.pub`, `${formatCertificate(credential.certificate)}\n`);
    const { port, knownHostsPath } = sshd;
    const client = { port, knownHostsPath, user: credential.username, identity, options };
    return runClient('ssh', [...sshParameters(client), '127.0.0.1', ...words]);
  }

  const CERTIFICATE = '{sshCertificate: {caSecretRef: {name: ca}, principals: [deploy, root]}}';

  test('a certificate signs in once policy has said what for, and the log of the target names the agent', async () => {
    await secret('ca', { 'ssh-privatekey': pem(authority) });
    const { lease, events } = await ground(CERTIFICATE);
    const leased = await lease('deploy', ['Exec', 'LocalForward']);
    expect(leased.perCommand).toBe(false);
    expect((await signIn(leased, ['echo $USER'])).stdout.toString()).toBe('deploy\n');
    await sshd.logged('ID system:serviceaccount:shop:agent session session-1 (serial ');
    const { credential } = leased;
    if (credential.type !== 'certificate') throw new Error('not a certificate');
    const certificate = parseCertificate(credential.certificate);
    expect([...certificate.extensions.keys()]).toEqual(['permit-port-forwarding']);
    expect([...certificate.criticalOptions]).toEqual([['source-address', '127.0.0.1']]);
    expect(certificate.principals).toEqual(['deploy']);
    const now = Date.now() / 1000;
    expect((certificate.validBefore ?? 0) - now).toBeGreaterThan(60);
    expect((certificate.validBefore ?? 0) - now).toBeLessThanOrEqual(120);
    expect(now - certificate.validAfter).toBeGreaterThanOrEqual(60);
    // What the certificate does not name the server refuses by itself.
    const pty = await signIn(leased, ['tty'], ['RequestTTY=force']);
    expect(pty).toMatchObject({ status: 255, stderr: expect.stringContaining('PTY allocation request failed') });

    await leased.release();
    await leased.release();
    expect(() => leased.credential).toThrow('given back');
    expect(await events()).toMatchObject([
      { e: 'credential.issued', type: 'ssh certificate', username: 'deploy', expires: leased.expiresAt?.toISOString() },
      { e: 'credential.used', reference: 'AccessConnection shop/host', session: 'session-1' },
      { e: 'credential.revoked', reason: 'its key was discarded' },
    ]);
  });

  test('it is of no use from elsewhere, to another user, or later', async () => {
    await secret('ca', { 'ssh-privatekey': pem(authority) });
    const { lease } = await ground(CERTIFICATE);
    const elsewhere = await lease('deploy', ['Exec'], '::ffff:192.0.2.1');
    expect((await signIn(elsewhere, ['id'])).status).toBe(255);
    await sshd.logged(/not from a permitted source address/i);
    const leased = await lease('deploy', ['Exec']);
    expect((await signIn({ credential: { ...leased.credential, username: 'root' } }, ['id'])).status).toBe(255);
    const { lease: earlier } = await ground(CERTIFICATE, () => Date.now() - 121_000);
    expect((await signIn(await earlier('deploy', ['Exec']), ['id'])).status).toBe(255);
    await expect(lease('admin')).rejects.toMatchObject({
      code: 'SPK021',
      message: expect.stringContaining('deploy, root'),
    });
  });

  test('scope, source addresses and lifetime are as written', async () => {
    await secret('ca', { 'ssh-privatekey': pem(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey) });
    const { lease, connection } = await ground(
      '{sshCertificate: {caSecretRef: {name: ca}, principals: [deploy], scope: Command, sourceAddresses: [192.0.2.0/24, "2001:db8::1"], ttl: 30s}}',
    );
    const leased = await lease('deploy', ['Shell', 'AgentForward', 'X11Forward', 'RemoteForward']);
    expect(leased.perCommand).toBe(true);
    if (leased.credential.type !== 'certificate') throw new Error('not a certificate');
    const certificate = parseCertificate(leased.credential.certificate);
    expect(certificate.criticalOptions.get('source-address')).toBe('192.0.2.0/24,2001:db8::1');
    expect([...certificate.extensions.keys()]).toEqual([
      'permit-X11-forwarding',
      'permit-agent-forwarding',
      'permit-port-forwarding',
      'permit-pty',
    ]);
    expect((certificate.validBefore ?? 0) - certificate.validAfter).toBeLessThanOrEqual(91);
    const moved = { ...connection, credential: { secretRef: { name: 'other' } } };
    const scope = {} as Parameters<typeof leased.follow>[1];
    await expect(leased.follow(moved, scope)).rejects.toMatchObject({ code: 'SPK024' });
    await leased.follow(connection, scope);
  });

  test('an authority that is missing or locked, and host keys that cannot be read, refuse', async () => {
    const { lease, connection } = await ground(CERTIFICATE);
    await expect(lease('deploy')).rejects.toMatchObject({
      code: 'SPA007',
      message: expect.stringContaining('ssh-privatekey'),
    });
    await secret('ca', { 'ssh-privatekey': 'something-secret' });
    const error: Error = await lease('deploy').then(
      () => new Error('it was leased'),
      (reason: Error) => reason,
    );
    expect(error).toMatchObject({ code: 'SPA021' });
    expect(error.message).not.toContain('something-secret');
    expect(pinnedHostKeys(connection)).toEqual([{ type: 'key', key: sshd.hostKeys[0]?.blob }]);
    const wrong = { ...connection.target, hostKeys: [...connection.target.hostKeys, 'ssh-ed25519 AAAA'] };
    expect(() => pinnedHostKeys({ ...connection, target: wrong })).toThrow(/target.hostKeys of shop\/host/);
  });

  test('a private key and a password of a Secret are leased, for their user alone', async () => {
    await secret('key', { username: 'deploy\n', 'ssh-privatekey': pem(login) });
    const { lease, events } = await ground('{secretRef: {name: key}}');
    const leased = await lease('deploy');
    expect((await signIn(leased, ['echo in'])).stdout.toString()).toBe('in\n');
    await expect(lease('root')).rejects.toMatchObject({ code: 'SPK023' });
    expect(leased.expiresAt).toBeUndefined();
    await leased.release();
    expect(await events()).toMatchObject([{ e: 'credential.used', type: 'ssh key', username: 'deploy' }]);
    await secret('word', { password: 'hunter2\n' });
    const { lease: word } = await ground('{secretRef: {name: word}}');
    expect((await word('anybody')).credential).toEqual({ type: 'password', username: 'anybody', password: 'hunter2' });
  });
});
