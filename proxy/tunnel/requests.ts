import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { TunnelError } from './errors.ts';

/** What one control request may carry, in bytes. */
const MAX_BODY = 4096;
/** A DNS name or an IPv4 address, or an IPv6 address in brackets. */
const AUTHORITY = /^(?:\[([0-9a-fA-F:.]{2,45})\]|([a-zA-Z0-9_]([-a-zA-Z0-9_.]{0,251}[a-zA-Z0-9_])?)):([1-9]\d{0,4})$/;

export interface Dialled {
  readonly host: string;
  readonly port: number;
}

/** `HOST:PORT` of CONNECT (RFC 9110, section 9.3.6). @throws TunnelError SPT005 */
export function dialledBy(authority: string | undefined): Dialled {
  const parts = AUTHORITY.exec(authority ?? '');
  const port = Number(parts?.[4]);
  const host = parts?.[1] ?? parts?.[2];
  if (host === undefined || port > 65_535) throw new TunnelError('SPT005');
  return { host, port };
}

/** The token of `Authorization: Bearer TOKEN` (RFC 6750, section 2.1). @throws TunnelError SPT004 */
export function bearerOf({ authorization }: IncomingHttpHeaders): string {
  const token = /^Bearer ([A-Za-z0-9._~+/=-]+)$/i.exec(authorization ?? '')?.[1];
  if (token === undefined) throw new TunnelError('SPT004');
  return token;
}

/** What a connector found when it dialled a target past Sallyport. */
export interface Probe extends Dialled {
  readonly reachable: boolean;
}

/** @throws TunnelError SPT006 */
export function probeOf(body: Buffer): Probe {
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw new TunnelError('SPT006', 'it is no JSON', { cause: error });
  }
  const { host, port, reachable } = (value ?? {}) as Partial<Probe>;
  if (typeof host !== 'string' || host === '' || host.length > 253) throw new TunnelError('SPT006', 'host');
  if (!Number.isInteger(port) || port === undefined || port < 1 || port > 65_535)
    throw new TunnelError('SPT006', 'port');
  if (typeof reachable !== 'boolean') throw new TunnelError('SPT006', 'reachable');
  return { host, port, reachable };
}

/** The whole body, which is small. @throws TunnelError SPT007; the connection's error */
export async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY) throw new TunnelError('SPT007', MAX_BODY);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
