import type { KeyObject } from 'node:crypto';
import { issueSshCertificate, parseCertificate, type SshCertificate } from './certificate.ts';
import { OpenSshError } from './errors.ts';
import { publicKeyOf } from './public-key.ts';
import { certificateProblem } from './verify.ts';

/** Host certificates for the key of a gateway: clients that trust the authority need not have seen the key before. */

const DAY_MS = 86_400_000;
/** Long enough for a weekend without whoever renews it. */
const LIFETIME_MS = 90 * DAY_MS;
const CLOCK_SKEW_MS = 3_600_000;

export interface HostCertificateRequest {
  readonly key: KeyObject;
  readonly authority: KeyObject;
  /** Names and addresses that clients dial. */
  readonly hosts: readonly string[];
  /** In the log of a client that looks: which gateway it is. */
  readonly keyId: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** 32 random bytes, and a random number. */
  readonly nonce: Uint8Array;
  readonly serial: bigint;
}

/** Clients compare in lower case (ssh(1)), and each name once. */
const principals = (hosts: readonly string[]): readonly string[] =>
  [...new Set(hosts.map((host) => host.toLowerCase()))].sort();

/** The certificate as a blob. @throws OpenSshError */
export function issueHostCertificate(request: HostCertificateRequest): Buffer {
  return issueSshCertificate({
    use: 'host',
    publicKey: request.key,
    nonce: request.nonce,
    serial: request.serial,
    keyId: request.keyId,
    principals: principals(request.hosts),
    validAfter: request.now - CLOCK_SKEW_MS,
    validBefore: request.now + LIFETIME_MS,
    authority: request.authority,
  });
}

/** When two thirds of its life are over, in milliseconds since the epoch. */
export function hostCertificateRenewal({ validAfter, validBefore = validAfter }: SshCertificate): number {
  return (validAfter + ((validBefore - validAfter) * 2) / 3) * 1000;
}

/** Whether a certificate, which may be anything, is still what would be issued now. */
export function isCurrentHostCertificate(
  blob: Buffer,
  { key, authority, hosts, now }: Pick<HostCertificateRequest, 'key' | 'authority' | 'hosts' | 'now'>,
): boolean {
  try {
    const certificate = parseCertificate(blob);
    return (
      certificateProblem(certificate, { use: 'host', authorities: [publicKeyOf(authority)], now }) === undefined &&
      certificate.key.blob.equals(publicKeyOf(key).blob) &&
      JSON.stringify([...certificate.principals].sort()) === JSON.stringify(principals(hosts)) &&
      hostCertificateRenewal(certificate) > now
    );
  } catch (error) {
    if (error instanceof OpenSshError) return false;
    throw error;
  }
}
