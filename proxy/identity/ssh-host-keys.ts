import { generateKeyPairSync, type KeyObject, randomBytes, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SSH_HOST } from '../../api/cluster.ts';
import { isCertificateType, parseCertificate } from '../../certificate/openssh/certificate.ts';
import { OpenSshError } from '../../certificate/openssh/errors.ts';
import { isCurrentHostCertificate, issueHostCertificate } from '../../certificate/openssh/host-certificate.ts';
import { authorityLine } from '../../certificate/openssh/known-hosts.ts';
import { formatPrivateKey, parsePrivateKey } from '../../certificate/openssh/private-key.ts';
import { formatPublicKey, publicKeyOf } from '../../certificate/openssh/public-key.ts';
import type { SshHostKeys } from '../ports.ts';
import { identityError } from './errors.ts';
import { createPrivate, privateFolder, readPrivate, replacePrivate } from './state-files.ts';

/** Where everybody listens who listens on this machine alone. */
const OWN_NAMES = ['localhost', '127.0.0.1', '::1'];

function asRefusal(folder: string, error: unknown): Error {
  return identityError('SPI034', [folder, error instanceof Error ? error.message : String(error)], error);
}

/** A line as in a file that ends with -cert.pub, as a blob. @throws OpenSshError */
function certificateBlob(line: string): Buffer {
  const [type = '', base64 = ''] = line.split(' ');
  if (!isCertificateType(type)) throw new OpenSshError('it is not a certificate');
  return Buffer.from(base64, 'base64');
}

/**
 * Keys in a mounted Secret, the same for all replicas: `SSH_HOST.key`, and a certificate for each connection.
 * @throws IdentityError SPI034 when there is no key, no certificate, or they do not belong together
 */
export function mountedHostKeys(folder: string): SshHostKeys {
  return async ({ name }) => {
    try {
      const [key, line] = await Promise.all(
        [SSH_HOST.key, SSH_HOST.certificate(name)].map((file) => readFile(join(folder, file), 'utf8')),
      );
      const privateKey = parsePrivateKey(key ?? '');
      const certificate = certificateBlob(line ?? '');
      if (!parseCertificate(certificate).key.blob.equals(publicKeyOf(privateKey).blob))
        throw new OpenSshError('the certificate is not one of the key');
      return [{ privateKey, certificate }];
    } catch (error) {
      throw asRefusal(folder, error);
    }
  };
}

export interface SelfMadeHostKeys {
  readonly of: SshHostKeys;
  /** For clients' UserKnownHostsFile. */
  readonly knownHostsFile: string;
}

/**
 * Keys made for this state folder, in STATE/ssh: `SSH_HOST.key`, its `.pub`, and `host_ca` that signs a certificate for the hosts of each
 * connection; `known_hosts` for clients. Processes of one gateway that start together end up with the same.
 * @throws IdentityError SPI034
 */
export async function selfMadeHostKeys(
  state: string,
  hostsOf: (connection: { readonly namespace: string; readonly name: string }) => readonly string[],
  now: () => number,
): Promise<SelfMadeHostKeys> {
  const folder = join(state, 'ssh');
  const knownHostsFile = join(folder, 'known_hosts');
  const made = new Map<string, Buffer>();

  async function kept(name: string): Promise<KeyObject> {
    const path = join(folder, name);
    if ((await readPrivate(path)) === undefined) {
      const { privateKey } = generateKeyPairSync('ed25519');
      await createPrivate(
        path,
        formatPrivateKey(privateKey, `sallyport ${name}`, randomBytes(4).readUInt32BE()),
        randomUUID(),
      );
    }
    return parsePrivateKey((await readPrivate(path)) ?? '');
  }

  try {
    await privateFolder(folder);
    const key = await kept(SSH_HOST.key);
    const authority = await kept('host_ca');
    await written(knownHostsFile, `${authorityLine(['*'], publicKeyOf(authority))}\n`);
    await written(join(folder, `${SSH_HOST.key}.pub`), `${formatPublicKey(publicKeyOf(key))}\n`);
    return {
      knownHostsFile,
      async of(connection) {
        const label = `${connection.namespace}/${connection.name}`;
        const hosts = [...OWN_NAMES, ...hostsOf(connection)];
        const last = made.get(label);
        if (last !== undefined && isCurrentHostCertificate(last, { key, authority, hosts, now: now() }))
          return [{ privateKey: key, certificate: last }];
        const certificate = issueHostCertificate({
          key,
          authority,
          hosts,
          keyId: `sallyport ${label}`,
          now: now(),
          nonce: randomBytes(32),
          serial: randomBytes(8).readBigUInt64BE(),
        });
        made.set(label, certificate);
        return [{ privateKey: key, certificate }];
      },
    };
  } catch (error) {
    throw asRefusal(folder, error);
  }
}

async function written(path: string, text: string): Promise<void> {
  if ((await readPrivate(path)) !== text) await replacePrivate(path, text, randomUUID());
}

/** The line for known_hosts, made with the authority at first use. @throws IdentityError SPI034 */
export async function knownHostsLine(state: string, now: () => number): Promise<string> {
  const { knownHostsFile } = await selfMadeHostKeys(state, () => [], now);
  return (await readPrivate(knownHostsFile)) ?? '';
}
