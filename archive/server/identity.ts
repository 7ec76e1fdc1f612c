import type { TLSSocket } from 'node:tls';
import { ArchiveError } from '../errors.ts';

/** Names that fit into a file, a log and a metric as they are. */
const IDENTITY = /^[A-Za-z0-9][A-Za-z0-9._:@/-]{0,200}$/;

/**
 * Who is at the other end: the one common name of a certificate that TLS has verified. @throws ArchiveError SPH010
 */
export function proxyIdentity(socket: TLSSocket): string {
  if (!socket.authorized) throw new ArchiveError('SPH010', ['not verified']);
  const subject = socket.getPeerCertificate().subject;
  const name: unknown = subject?.CN;
  if (typeof name !== 'string') throw new ArchiveError('SPH010', ['no common name, or several']);
  if (!IDENTITY.test(name)) throw new ArchiveError('SPH010', ['a common name of other characters']);
  return name;
}
