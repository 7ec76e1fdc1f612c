import {
  isCertificateType,
  parseCertificate,
  type SshCertificate,
} from '../../../../certificate/openssh/certificate.ts';
import { OpenSshError } from '../../../../certificate/openssh/errors.ts';
import { fingerprint, parsePublicKeyBlob } from '../../../../certificate/openssh/public-key.ts';
import { certificateProblem } from '../../../../certificate/openssh/verify.ts';
import { sshReader } from '../../../../certificate/openssh/wire.ts';
import type { CompiledConnection } from '../../../../policy/bundle.ts';
import type { VerifiedIdentity } from '../../../ports.ts';
import { quoted, SshIdentityError } from './errors.ts';
import { authorityOf, keyOf, type Registrations, subjectOf } from './registrations.ts';

/** A key or certificate, as a client offers it; that it holds the private key is checked by the transport. */
export interface OfferedKey {
  /** Of the signature, such as `ssh-ed25519-cert-v01@openssh.com` or `rsa-sha2-512`. */
  readonly algorithm: string;
  readonly key: Buffer;
}

export interface KeyIdentityOptions {
  readonly registrations: Registrations;
  /** Address of the client without port. */
  readonly peer: string | undefined;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** A key has no end of its own, so its sessions get one: whoever was let in must prove again that they may be. */
export const MAX_KEY_SESSION_MS = 8 * 3_600_000;

/** RSA with SHA-1. */
const WEAK = new Set(['ssh-rsa', 'ssh-rsa-cert-v01@openssh.com']);

/**
 * Whom an offered key or certificate stands for on the connection.
 * @throws SshIdentityError SPI041 to SPI045
 */
export function identityOfKey(
  connection: CompiledConnection,
  { algorithm, key }: OfferedKey,
  options: KeyIdentityOptions,
): { readonly identity: VerifiedIdentity; readonly method: 'publickey' | 'certificate' } {
  if (WEAK.has(algorithm)) throw new SshIdentityError('SPI045', ['RSA with SHA-1 can be forged']);
  try {
    return isCertificateType(sshReader(key).text())
      ? { identity: ofCertificate(connection, parseCertificate(key), options), method: 'certificate' }
      : { identity: ofPlainKey(connection, parsePublicKeyBlob(key).blob, options), method: 'publickey' };
  } catch (error) {
    if (error instanceof OpenSshError) throw new SshIdentityError('SPI045', [error.message]);
    throw error;
  }
}

function ofPlainKey(connection: CompiledConnection, blob: Buffer, options: KeyIdentityOptions): VerifiedIdentity {
  const label = `${connection.namespace}/${connection.name}`;
  const entry = keyOf(connection, blob);
  const print = fingerprint(blob);
  if (entry === undefined) throw new SshIdentityError('SPI041', [print, label]);
  const { expiresAt, serviceAccount } = entry;
  const now = options.now();
  // Also when it is no time at all.
  if (expiresAt !== undefined && !(now < expiresAt))
    throw new SshIdentityError('SPI042', [
      print,
      label,
      Number.isNaN(expiresAt) ? 'no time' : new Date(expiresAt).toISOString(),
    ]);
  const until = Math.min(expiresAt ?? Number.POSITIVE_INFINITY, now + MAX_KEY_SESSION_MS);
  return {
    subject: subjectOf({ serviceAccount }),
    sessionExpiresAt: new Date(until),
    withdrawn: options.registrations.withdrawal({ connection, subject: { serviceAccount }, type: 'key', blob }),
    tokenId: print,
    tokenLifetimeSeconds: Math.floor((until - now) / 1000),
  };
}

function ofCertificate(
  connection: CompiledConnection,
  certificate: SshCertificate,
  options: KeyIdentityOptions,
): VerifiedIdentity {
  const label = `${connection.namespace}/${connection.name}`;
  const named = quoted(certificate.keyId);
  const { blob } = certificate.authority;
  const authority = authorityOf(connection, blob);
  const problem = certificateProblem(certificate, {
    use: 'user',
    authorities: authority === undefined ? [] : [{ blob }],
    peer: options.peer,
    now: options.now(),
    ...(authority === undefined ? {} : { maxLifetimeMs: authority.maxLifetimeMs }),
  });
  if (problem !== undefined) throw new SshIdentityError('SPI043', [named, problem]);
  const mapped = authority?.subjects.find(({ principal }) => certificate.principals.includes(principal));
  if (mapped === undefined) throw new SshIdentityError('SPI044', [named, label]);
  const { validAfter, validBefore } = certificate;
  const { principal, subject } = mapped;
  return {
    subject: subjectOf(subject),
    // One that is valid forever lives longer than any limit, and was refused.
    sessionExpiresAt: new Date((validBefore ?? 0) * 1000),
    withdrawn: options.registrations.withdrawal({ connection, subject, type: 'authority', blob, principal }),
    tokenId: `${fingerprint(certificate.key.blob)} ${certificate.serial}`,
    tokenLifetimeSeconds: (validBefore ?? 0) - validAfter,
  };
}
