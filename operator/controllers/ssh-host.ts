import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { NAMES, SSH_HOST } from '../../api/cluster.ts';
import type { AccessConnection } from '../../api/resources.ts';
import { formatCertificate, parseCertificate } from '../../certificate/openssh/certificate.ts';
import { OpenSshError } from '../../certificate/openssh/errors.ts';
import {
  hostCertificateRenewal,
  isCurrentHostCertificate,
  issueHostCertificate,
} from '../../certificate/openssh/host-certificate.ts';
import { formatPrivateKey, parsePrivateKey } from '../../certificate/openssh/private-key.ts';
import { SECRETS, type Secret } from '../../kube/builtin.ts';
import type { ControllerContext } from '../context.ts';
import { connectionHosts } from './certificate.ts';

/** What the proxies of a namespace prove themselves with to SSH clients. */
export interface SshHost {
  /** Members for the Secret with the proxy's certificate, not yet in base64; none without SSH connections. */
  readonly data: Readonly<Record<string, string>>;
  /** When a certificate has to be made anew, in milliseconds since the epoch. */
  readonly renewAt: number;
}

/**
 * One host key for all replicas, kept for as long as it is there, and a certificate for the hosts of each SSH connection: that which is
 * there, or a new one where it nears its end or says something else.
 */
export function sshHostFor(
  context: Pick<ControllerContext, 'keys' | 'applier' | 'now'>,
  namespace: string,
  connections: readonly AccessConnection[],
): SshHost {
  const authority = context.keys.sshHostAuthority();
  const served = connections.filter(({ spec }) => spec.protocol === 'SSH');
  if (authority === undefined || served.length === 0) return { data: {}, renewAt: Number.POSITIVE_INFINITY };
  const present = context.applier.current(SECRETS, namespace, NAMES.proxyTls);
  const known = text(present, SSH_HOST.key);
  const old = keyIn(known);
  const key = old ?? generateKeyPairSync('ed25519').privateKey;
  const data: Record<string, string> = {
    [SSH_HOST.key]:
      old === undefined ? formatPrivateKey(key, `${namespace} ${NAMES.proxy}`, randomBytes(4).readUInt32BE()) : known,
  };
  let renewAt = Number.POSITIVE_INFINITY;
  for (const connection of served) {
    const { name } = connection.metadata;
    const member = SSH_HOST.certificate(name);
    const hosts = connectionHosts(connection);
    // Called by a name of Sallyport's own: nobody is led there.
    if (hosts.length === 0) continue;
    const now = context.now();
    const kept = blobOf(text(present, member));
    const blob = isCurrentHostCertificate(kept, { key, authority, hosts, now })
      ? kept
      : issueHostCertificate({
          ...{ key, authority, hosts, now },
          keyId: `${namespace}/${name} ${NAMES.proxy}`,
          nonce: randomBytes(32),
          serial: randomBytes(8).readBigUInt64BE(),
        });
    data[member] = `${formatCertificate(blob)}\n`;
    renewAt = Math.min(renewAt, hostCertificateRenewal(parseCertificate(blob)));
  }
  return { data, renewAt };
}

const text = (secret: Secret | undefined, name: string): string =>
  Buffer.from(secret?.data?.[name] ?? '', 'base64').toString('utf8');

const blobOf = (line: string): Buffer => Buffer.from(line.split(' ')[1] ?? '', 'base64');

function keyIn(value: string): KeyObject | undefined {
  try {
    const key = parsePrivateKey(value);
    return key.asymmetricKeyType === 'ed25519' ? key : undefined;
  } catch (error) {
    // Nothing, or nothing that was made here: made anew.
    if (error instanceof OpenSshError) return undefined;
    throw error;
  }
}
