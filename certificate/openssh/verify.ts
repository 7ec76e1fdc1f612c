import { BlockList, isIP } from 'node:net';
import type { SshCertificate } from './certificate.ts';
import type { SshPublicKey } from './public-key.ts';
import { verifySsh } from './signature.ts';

/** Whether a certificate may be believed (PROTOCOL.certkeys). Everything that is not understood refuses. */

export interface CertificateExpectation {
  readonly use: 'user' | 'host';
  readonly authorities: readonly Pick<SshPublicKey, 'blob'>[];
  /** At least one of them has to be named. Undefined: the caller looks at the principals itself. */
  readonly principals?: readonly string[];
  /** Address of the peer, for `source-address`. */
  readonly peer?: string | undefined;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** Longest life in milliseconds. */
  readonly maxLifetimeMs?: number;
}

/** Undefined: it may be believed. Else why not, in words that complete "the certificate …". */
export function certificateProblem(certificate: SshCertificate, expected: CertificateExpectation): string | undefined {
  if (certificate.use !== expected.use) return `is one for a ${certificate.use}`;
  const authority = expected.authorities.find(({ blob }) => blob.equals(certificate.authority.blob));
  if (authority === undefined) return 'is signed by an authority that is not trusted here';
  if (!verifySsh(certificate.authority, certificate.signed, certificate.signature))
    return 'has a signature that is not that of its authority';
  return validityProblem(certificate, expected) ?? contentProblem(certificate, expected);
}

function validityProblem(certificate: SshCertificate, { now, maxLifetimeMs }: CertificateExpectation) {
  const { validAfter, validBefore } = certificate;
  const second = Math.floor(now / 1000);
  if (second < validAfter) return 'is not valid yet';
  if (validBefore !== undefined && second >= validBefore) return 'is not valid any more';
  if (maxLifetimeMs === undefined) return undefined;
  if (validBefore === undefined) return 'is valid forever';
  const lifetime = validBefore - validAfter;
  if (lifetime * 1000 > maxLifetimeMs)
    return `lives for ${lifetime} s, longer than the ${maxLifetimeMs / 1000} s that are accepted`;
  return undefined;
}

function contentProblem(certificate: SshCertificate, expected: CertificateExpectation): string | undefined {
  const wanted = expected.principals;
  if (certificate.principals.length === 0) return 'names no principal';
  if (wanted !== undefined && !certificate.principals.some((name) => wanted.includes(name)))
    return `is for none of ${wanted.join(', ')}`;
  for (const [name, value] of certificate.criticalOptions) {
    // force-command is for an sshd that runs the command; whoever wrote it meant that nothing else may run.
    if (expected.use !== 'user' || name !== 'source-address') return `has the critical option ${shown(name)}`;
    const problem = sourceProblem(value, expected.peer);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

const shown = (name: string): string => JSON.stringify(name.slice(0, 64));

/** `source-address`: a list of addresses and CIDR ranges, without the negation that files know. */
function sourceProblem(list: string, peer: string | undefined): string | undefined {
  const address = peer === undefined ? undefined : unmapped(peer);
  if (address === undefined || isIP(address) === 0)
    return 'is for some addresses only, and that of the client is not known';
  const allowed = new BlockList();
  for (const entry of list.split(',')) {
    const [network = '', length, ...rest] = entry.split('/');
    const family = isIP(network);
    const bits = length === undefined ? (family === 6 ? 128 : 32) : Number(length);
    const wellFormed = rest.length === 0 && (length === undefined || /^\d{1,3}$/.test(length));
    if (family === 0 || !wellFormed || bits > (family === 6 ? 128 : 32))
      return 'has a list of source addresses that cannot be read';
    allowed.addSubnet(network, bits, family === 6 ? 'ipv6' : 'ipv4');
  }
  return allowed.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4') ? undefined : `may not be used from ${address}`;
}

/** An IPv4 address that a socket for both families shows. */
export function unmapped(address: string): string {
  return /^::ffff:(\d{1,3}(?:\.\d{1,3}){3})$/i.exec(address)?.[1] ?? address;
}
