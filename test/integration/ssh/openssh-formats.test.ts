import { execFile } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { formatCertificate, issueSshCertificate, parseCertificate } from '../../../certificate/openssh/certificate.ts';
import { authorityLine, knownHost, parseHostKeyPin } from '../../../certificate/openssh/known-hosts.ts';
import { formatPrivateKey, parsePrivateKey } from '../../../certificate/openssh/private-key.ts';
import {
  fingerprint,
  formatPublicKey,
  parsePublicKeyBlob,
  parsePublicKeyLine,
  publicKeyOf,
} from '../../../certificate/openssh/public-key.ts';
import { signatureAlgorithms, signSsh, verifySsh } from '../../../certificate/openssh/signature.ts';
import { certificateProblem } from '../../../certificate/openssh/verify.ts';
import { describeWith, program } from '../../support/requires.ts';

const run = promisify(execFile);
const TYPES = [
  ['ed25519', []],
  ['rsa', ['-b', '2048']],
  ['ecdsa', ['-b', '256']],
  ['ecdsa', ['-b', '384']],
  ['ecdsa', ['-b', '521']],
] as const;

describeWith([program('ssh-keygen', 'openssh-client')], 'against ssh-keygen', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sallyport-openssh-'));
  });
  afterAll(() => rm(folder, { recursive: true }));
  const at = (name: string): string => join(folder, name);
  const keygen = async (...words: string[]): Promise<string> => (await run('ssh-keygen', words)).stdout;

  test.each(TYPES)('%s %j: private keys of both are the same to both', async (type, bits) => {
    const name = `${type}${bits.join('')}`;
    await keygen('-q', '-t', type, ...bits, '-N', '', '-C', 'ours', '-f', at(name));
    const line = (await readFile(at(`${name}.pub`), 'utf8')).trim();
    const text = await readFile(at(name), 'utf8');
    const key = parsePrivateKey(text);
    expect(formatPublicKey(publicKeyOf(key), 'ours')).toBe(line);
    const parsed = parsePublicKeyLine(line);
    expect(parsed.comment).toBe('ours');
    expect(await keygen('-lf', at(`${name}.pub`))).toContain(` ${fingerprint(parsed.blob)} `);

    // Written by us, read by it, and from PKCS #8 too.
    await writeFile(at(`${name}-again`), formatPrivateKey(key, 'ours', 7), { mode: 0o600 });
    expect((await keygen('-yf', at(`${name}-again`))).trim()).toBe(line);
    const pem = key.export({ type: 'pkcs8', format: 'pem' }).toString();
    expect(publicKeyOf(parsePrivateKey(pem)).blob).toEqual(parsed.blob);

    for (const algorithm of signatureAlgorithms(parsed.type)) {
      const signature = signSsh(key, Buffer.from('data'), algorithm);
      expect(verifySsh(parsed, Buffer.from('data'), signature, algorithm)).toBe(true);
      expect(verifySsh(parsed, Buffer.from('datA'), signature)).toBe(false);
    }
  });

  test('a key with a passphrase, one of two keys and a damaged one are refused in words', async () => {
    await keygen('-q', '-t', 'ed25519', '-N', 'secret', '-f', at('locked'));
    const locked = await readFile(at('locked'), 'utf8');
    expect(() => parsePrivateKey(locked)).toThrow('it has a passphrase');
    await keygen('-q', '-t', 'rsa', '-b', '2048', '-m', 'PEM', '-N', 'secret', '-f', at('locked-pem'));
    const pem = await readFile(at('locked-pem'), 'utf8');
    expect(() => parsePrivateKey(pem)).toThrow('it has a passphrase');
    await keygen('-q', '-t', 'ed25519', '-N', '', '-f', at('whole'));
    const lines = (await readFile(at('whole'), 'utf8')).split('\n');
    const bytes = Buffer.from(lines.slice(1, -2).join(''), 'base64');
    for (let index = 0; index < bytes.length; index += 3) {
      const damaged = Buffer.from(bytes);
      damaged[index]! ^= 0x40;
      const text = [lines[0], damaged.toString('base64'), ...lines.slice(-2)].join('\n');
      try {
        // What says nothing of the key, such as the comment, may differ.
        expect(publicKeyOf(parsePrivateKey(text)).blob).toEqual(publicKeyOf(parsePrivateKey(lines.join('\n'))).blob);
      } catch (error) {
        expect(error).toMatchObject({ name: expect.stringMatching(/OpenSshError|AssertionError/) });
        if ((error as Error).name === 'AssertionError') throw error;
      }
    }
    expect(() => parsePrivateKey('-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n')).toThrow(
      'it is not a private key that can be read',
    );
  });

  test.each([
    ['ed25519', 'ed25519', []],
    ['rsa', 'rsa', ['-t', 'rsa-sha2-512']],
    ['rsa', 'rsa-b2048', ['-t', 'rsa-sha2-256']],
    ['ecdsa', 'ecdsa-b256', []],
  ])('certificates that %s signs are read and believed', async (type, _name, algorithm) => {
    const ca = at(`ca-${type}${algorithm.join('')}`);
    await keygen('-q', '-t', type, ...(type === 'rsa' ? ['-b', '2048'] : []), '-N', '', '-f', ca);
    const user = at(`user-${type}${algorithm.join('')}`);
    await keygen('-q', '-t', 'ed25519', '-N', '', '-f', user);
    const options = ['-O', 'clear', '-O', 'permit-pty', '-O', 'source-address=192.0.2.0/24,2001:db8::/32'];
    const rest = ['-I', 'agent: ü', '-n', 'deploy,ops', '-z', '42', '-V', '-1m:+5m', `${user}.pub`];
    await keygen('-q', '-s', ca, ...algorithm, ...options, ...rest);
    const [, base64 = ''] = (await readFile(`${user}-cert.pub`, 'utf8')).split(' ');
    const certificate = parseCertificate(Buffer.from(base64, 'base64'));
    expect(certificate).toMatchObject({ use: 'user', keyId: 'agent: ü', serial: 42n, principals: ['deploy', 'ops'] });
    expect([...certificate.extensions.keys()]).toEqual(['permit-pty']);
    const authority = parsePublicKeyLine(await readFile(`${ca}.pub`, 'utf8'));
    const expected = {
      use: 'user',
      authorities: [authority],
      principals: ['ops'],
      peer: '::ffff:192.0.2.9',
      now: Date.now(),
      maxLifetimeMs: 600_000,
    } as const;
    expect(certificateProblem(certificate, expected)).toBeUndefined();
    const problem = (change: object): string | undefined => certificateProblem(certificate, { ...expected, ...change });
    expect(problem({ use: 'host' })).toMatch('for a user');
    expect(problem({ principals: ['root'] })).toMatch('none of root');
    expect(problem({ peer: '198.51.100.1' })).toMatch('may not be used from 198.51.100.1');
    expect(problem({ peer: '2001:db8::7' })).toBeUndefined();
    expect(problem({ peer: undefined })).toMatch('not known');
    expect(problem({ now: Date.now() + 600_000 })).toMatch('not valid any more');
    expect(problem({ now: Date.now() - 600_000 })).toMatch('not valid yet');
    expect(problem({ maxLifetimeMs: 60_000 })).toMatch('longer than the 60 s');
    expect(problem({ authorities: [] })).toMatch('not trusted');
    const forged = Buffer.from(certificate.blob);
    forged[forged.indexOf('ops')]! ^= 1;
    expect(certificateProblem(parseCertificate(forged), { ...expected, principals: ['deploy'] })).toMatch('signature');
  });

  test('force-command, options that nobody knows, and no principals are refused', async () => {
    await keygen('-q', '-t', 'ed25519', '-N', '', '-f', at('ca'));
    const authority = parsePublicKeyLine(await readFile(at('ca.pub'), 'utf8'));
    const judge = async (name: string, ...words: string[]): Promise<string | undefined> => {
      await keygen('-q', '-t', 'ed25519', '-N', '', '-f', at(name));
      await keygen('-q', '-s', at('ca'), '-I', name, '-V', '+5m', ...words, at(`${name}.pub`));
      const [, base64 = ''] = (await readFile(at(`${name}-cert.pub`), 'utf8')).split(' ');
      const certificate = parseCertificate(Buffer.from(base64, 'base64'));
      const now = Date.now();
      return certificateProblem(certificate, { use: 'user', authorities: [authority], peer: '192.0.2.1', now });
    };
    expect(await judge('forced', '-n', 'a', '-O', 'force-command=ls')).toMatch('critical option "force-command"');
    expect(await judge('unknown', '-n', 'a', '-O', 'critical:x@example.com=1')).toMatch('"x@example.com"');
    expect(await judge('nobody')).toMatch('names no principal');
    expect(await judge('fine', '-n', 'a')).toBeUndefined();
  });

  test.each(['user', 'host'] as const)('a %s certificate of ours is what ssh-keygen -L prints', async (use) => {
    const authority = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
    const { publicKey } = generateKeyPairSync('ed25519');
    const now = Date.parse('2030-01-02T03:04:05Z');
    const blob = issueSshCertificate({
      use,
      publicKey,
      nonce: randomBytes(32),
      serial: 0xffff_ffff_ffff_fff0n,
      keyId: 'system:serviceaccount:shop:agent session abc',
      principals: ['deploy', 'host.example.com'],
      validAfter: now - 60_000,
      validBefore: now + 120_000,
      ...(use === 'user'
        ? {
            criticalOptions: new Map([['source-address', '10.1.2.3/32']]),
            extensions: new Map([
              ['permit-pty', ''],
              ['permit-port-forwarding', ''],
            ]),
          }
        : {}),
      authority,
    });
    await writeFile(at(`ours-${use}-cert.pub`), `${formatCertificate(blob, 'c')}\n`);
    const { stdout } = await run('ssh-keygen', ['-Lf', at(`ours-${use}-cert.pub`)], {
      env: { ...process.env, TZ: 'UTC' },
    });
    for (const text of [
      `Type: ssh-ed25519-cert-v01@openssh.com ${use} certificate`,
      `Public key: ED25519-CERT ${fingerprint(publicKeyOf(publicKey).blob)}`,
      `Signing CA: RSA ${fingerprint(publicKeyOf(authority).blob)} (using rsa-sha2-512)`,
      'Key ID: "system:serviceaccount:shop:agent session abc"',
      'Serial: 18446744073709551600',
      'Valid: from 2030-01-02T03:03:05 to 2030-01-02T03:06:05',
      'deploy',
      'host.example.com',
      ...(use === 'user' ? ['source-address 10.1.2.3/32', 'permit-port-forwarding', 'permit-pty'] : ['(none)']),
    ])
      expect(stdout).toContain(text);
    expect(
      certificateProblem(parseCertificate(blob), {
        use,
        authorities: [publicKeyOf(authority)],
        principals: ['host.example.com'],
        peer: '10.1.2.3',
        now,
      }),
    ).toBeUndefined();
  });

  test('host keys are pinned as known_hosts has them', async () => {
    await keygen('-q', '-t', 'ed25519', '-N', '', '-f', at('host'));
    const line = (await readFile(at('host.pub'), 'utf8')).trim();
    const key = parsePublicKeyLine(line);
    expect(parseHostKeyPin(line)).toMatchObject({ type: 'key', key: { blob: key.blob } });
    expect(parseHostKeyPin(`@cert-authority ${line}`)).toMatchObject({ type: 'authority', key: { blob: key.blob } });
    expect(() => parseHostKeyPin(`@revoked ${line}`)).toThrow('@cert-authority');
    const hosts = [knownHost('a.example', 22), knownHost('b.example', 2222)];
    await writeFile(at('known_hosts'), `${authorityLine(hosts, key)}\n`);
    for (const host of hosts)
      expect(await keygen('-F', host, '-f', at('known_hosts'))).toContain(`Host ${host} found: line 1 CA`);
  });

  test('what is cut off, too long or has a type that is not understood is refused', () => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const { blob } = publicKeyOf(publicKey);
    for (let length = 0; length < blob.length; length++)
      expect(() => parsePublicKeyBlob(blob.subarray(0, length))).toThrow(/cut off|key type/);
    expect(() => parsePublicKeyBlob(Buffer.concat([blob, Buffer.from('x')]))).toThrow('left over');
    const certificate = issueSshCertificate({
      use: 'user',
      publicKey,
      nonce: randomBytes(32),
      serial: 1n,
      keyId: 'x',
      principals: ['x'],
      validAfter: 0,
      validBefore: 1000,
      authority: privateKey,
    });
    for (let length = 0; length < certificate.length; length++)
      expect(() => parseCertificate(certificate.subarray(0, length))).toThrow(/cut off|not a certificate|key type/);
    const small = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey;
    expect(() => publicKeyOf(small)).toThrow('2048 bits');
  });
});
