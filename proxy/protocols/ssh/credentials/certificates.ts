import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { issueSshCertificate } from '../../../../certificate/openssh/certificate.ts';
import { OpenSshError } from '../../../../certificate/openssh/errors.ts';
import { unmapped } from '../../../../certificate/openssh/verify.ts';
import type { SshCertificate } from '../../../../policy/bundle.ts';
import type { SshOperation } from '../../../../policy/command.ts';
import type { SshCredential } from '../../../ports.ts';
import { SshCredentialError } from './errors.ts';

/** Clocks of proxy and target may differ by this much, in milliseconds. */
const CLOCK_SKEW_MS = 60_000;

/** What sshd lets a connection do only if its certificate says so (PROTOCOL.certkeys), and the operations that need it. */
const EXTENSIONS: readonly (readonly [extension: string, operations: readonly SshOperation[]])[] = [
  ['permit-X11-forwarding', ['X11Forward']],
  ['permit-agent-forwarding', ['AgentForward']],
  ['permit-port-forwarding', ['LocalForward', 'RemoteForward']],
  // A command may ask for a terminal too: whether it may is decided with it.
  ['permit-pty', ['Shell', 'Exec', 'Opaque']],
];

/** Only what some Allow rule gives: should every check of ours fail, the target itself refuses the rest. */
export function extensionsFor(operations: ReadonlySet<SshOperation>): ReadonlyMap<string, string> {
  const needed = EXTENSIONS.filter(([, any]) => any.some((operation) => operations.has(operation)));
  return new Map(needed.map(([extension]) => [extension, '']));
}

export interface UserCertificateRequest {
  /** `NAMESPACE/NAME` of the connection. */
  readonly label: string;
  readonly authority: KeyObject;
  readonly wanted: SshCertificate;
  readonly loginUser: string;
  /** Names agent and session in the target's own log. */
  readonly keyId: string;
  readonly operations: ReadonlySet<SshOperation>;
  readonly localAddress: string | undefined;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

export interface IssuedCertificate {
  readonly credential: SshCredential & { readonly type: 'certificate' };
  readonly expiresAt: Date;
}

/**
 * A certificate for a key that is made here, lasts for one sign-in and is never written.
 * @throws SshCredentialError SPK021, SPK022, SPK026
 */
export function issueUserCertificate(request: UserCertificateRequest): IssuedCertificate {
  const { label, wanted, loginUser, now } = request;
  if (!wanted.principals.includes(loginUser))
    throw new SshCredentialError('SPK021', [label, loginUser, wanted.principals.join(', ')]);
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  // A certificate has whole seconds.
  const expiresAt = new Date(Math.floor((now + wanted.ttlMs) / 1000) * 1000);
  let certificate: Buffer;
  try {
    certificate = issueSshCertificate({
      use: 'user',
      publicKey,
      nonce: randomBytes(32),
      serial: randomBytes(8).readBigUInt64BE(),
      keyId: request.keyId,
      principals: [loginUser],
      validAfter: now - CLOCK_SKEW_MS,
      validBefore: expiresAt.getTime(),
      criticalOptions: new Map([['source-address', sourceAddresses(request)]]),
      extensions: extensionsFor(request.operations),
      authority: request.authority,
    });
  } catch (error) {
    if (error instanceof OpenSshError) throw new SshCredentialError('SPK022', [label, error.message], error);
    throw error;
  }
  return { credential: { type: 'certificate', username: loginUser, privateKey, certificate }, expiresAt };
}

/** A certificate without it could be used from anywhere. */
function sourceAddresses({ label, wanted, localAddress }: UserCertificateRequest): string {
  if (wanted.sourceAddresses.length > 0) return wanted.sourceAddresses.join(',');
  if (localAddress === undefined) throw new SshCredentialError('SPK026', [label]);
  // sshd compares without the zone of a link-local address.
  return unmapped(localAddress).replace(/%.*$/, '');
}
