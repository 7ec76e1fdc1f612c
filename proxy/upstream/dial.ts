import net from 'node:net';
import tls from 'node:tls';
import type { CompiledConnection } from '../../policy/bundle.ts';
import { dialWire, streamWire, type Wire } from '../listener/wire.ts';
import { UpstreamError } from './errors.ts';

/** Opening of connections to targets, for every lane: TCP, and TLS over it, with each way to fail told apart. */

export type Target = Pick<CompiledConnection, 'namespace' | 'name' | 'target'>;

export const labelOf = (connection: Pick<Target, 'namespace' | 'name'>): string =>
  `${connection.namespace}/${connection.name}`;

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';

/** What a connection is doing, for the errors of timeouts and resets. */
export type Stage = 'connecting' | 'negotiating TLS' | 'signing in' | 'starting the session';

/**
 * Turns the error of a socket into one of ours; an UpstreamError stays as it is.
 * @param timedOut whether the deadline has fired: then whatever came of it is a timeout
 */
export function upstreamFailure(
  connection: Pick<Target, 'namespace' | 'name'>,
  stage: Stage,
  error: unknown,
  timedOut: boolean,
): unknown {
  if (error instanceof UpstreamError) return error;
  const label = labelOf(connection);
  if (timedOut) return new UpstreamError('SPU003', [label, stage], error);
  const code = codeOf(error) || codeOf(error instanceof Error ? error.cause : undefined);
  switch (code) {
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EAI_NODATA':
      return new UpstreamError('SPU001', [label], error);
    case 'ECONNREFUSED':
      return new UpstreamError('SPU002', [label], error);
    case 'ETIMEDOUT':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return new UpstreamError('SPU003', [label, stage], error);
    default:
      // A TLS alert can arrive after the handshake: TLS 1.3 refuses a client certificate then.
      if (code.startsWith('ERR_SSL_')) return new UpstreamError('SPU008', [label, wordsOf(code)], error);
      return new UpstreamError('SPU004', [label, stage], error);
  }
}

/** `ERR_SSL_TLSV1_ALERT_UNKNOWN_CA` as `tlsv1 alert unknown ca`. */
const wordsOf = (code: string): string =>
  code
    .replace(/^ERR_(SSL|TLS)_/, '')
    .toLowerCase()
    .replaceAll('_', ' ');

/** Opens a paused TCP wire. @throws UpstreamError; the signal's reason as it is */
export async function dialTarget(connection: Target, signal: AbortSignal): Promise<Wire> {
  try {
    return await dialWire(connection.target, signal);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw upstreamFailure(connection, 'connecting', error, false);
  }
}

export interface TargetTls {
  /** PEM; undefined: the system's authorities. */
  readonly certificateAuthorities: string | undefined;
  readonly clientCertificate?: { readonly certificate: string; readonly key: string };
  readonly alpn: string;
}

let systemAuthorities: string[] | undefined;

/** The machine's authorities, or those that come with Node where the machine has none (as in a minimal image). */
export function defaultAuthorities(): string[] {
  if (systemAuthorities === undefined) {
    const system = tls.getCACertificates('system');
    systemAuthorities = system.length > 0 ? system : tls.getCACertificates('bundled');
  }
  return systemAuthorities;
}

/**
 * Takes a paused wire over into TLS, as the client, and verifies the target as `target.tls` says.
 * @returns a paused wire and its socket; the plain one is not to be used any more
 * @throws UpstreamError SPU006 to SPU009; the signal's reason as it is
 */
export function startTls(
  plain: Wire,
  connection: Target,
  options: TargetTls,
  signal: AbortSignal,
): Promise<{ readonly wire: Wire; readonly socket: tls.TLSSocket }> {
  const { target } = connection;
  const label = labelOf(connection);
  const expected = target.tls.serverName ?? target.host;
  const raw = plain.socket;
  let secureContext: tls.SecureContext;
  try {
    secureContext = tls.createSecureContext({
      ca: options.certificateAuthorities ?? defaultAuthorities(),
      minVersion: 'TLSv1.2',
      ...(options.clientCertificate === undefined
        ? {}
        : { cert: options.clientCertificate.certificate, key: options.clientCertificate.key }),
    });
  } catch (error) {
    raw.destroy();
    const code = options.clientCertificate === undefined ? 'SPU006' : 'SPU009';
    return Promise.reject(new UpstreamError(code, [label, 'its authorities are not in PEM'], error));
  }
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      raw.destroy();
      reject(signal.reason);
      return;
    }
    const socket = tls.connect({
      socket: raw,
      secureContext,
      ALPNProtocols: [options.alpn],
      rejectUnauthorized: true,
      // SNI carries names only (RFC 6066, section 3).
      ...(net.isIP(expected) === 0 ? { servername: expected } : {}),
      checkServerIdentity: (_name, certificate) =>
        target.tls.mode === 'VerifyFull' ? tls.checkServerIdentity(expected, certificate) : undefined,
    });
    const settle = (): void => {
      signal.removeEventListener('abort', aborted);
      socket.off('error', failed);
      socket.off('close', closed);
      socket.off('secureConnect', secured);
    };
    const failed = (error: unknown): void => {
      settle();
      // A late error of a destroyed socket has nobody to go to.
      socket.on('error', () => {});
      socket.destroy();
      raw.destroy();
      reject(signal.aborted ? signal.reason : tlsFailure(connection, expected, error));
    };
    const aborted = (): void => failed(signal.reason);
    const closed = (): void => failed(new UpstreamError('SPU004', [label, 'negotiating TLS']));
    const secured = (): void => {
      settle();
      resolve({ wire: streamWire(socket), socket });
    };
    signal.addEventListener('abort', aborted, { once: true });
    socket.on('error', failed);
    socket.on('close', closed);
    socket.on('secureConnect', secured);
  });
}

/** As `upstreamFailure`, for errors of a handshake. @param expected the name that the certificate was to have */
export function tlsFailure(connection: Pick<Target, 'namespace' | 'name'>, expected: string, error: unknown): unknown {
  if (error instanceof UpstreamError) return error;
  const label = labelOf(connection);
  const code = codeOf(error);
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return new UpstreamError('SPU007', [label, expected], error);
  // OpenSSL's verification results, such as CERT_HAS_EXPIRED or SELF_SIGNED_CERT_IN_CHAIN.
  if (/CERT|SIGNATURE|CRL|INVALID_CA|PATH_LENGTH/.test(code) && !code.startsWith('ERR_')) {
    return new UpstreamError('SPU006', [label, wordsOf(code)], error);
  }
  if (code.startsWith('ERR_SSL_') || code.startsWith('ERR_TLS_')) {
    return new UpstreamError('SPU008', [label, wordsOf(code)], error);
  }
  return upstreamFailure(connection, 'negotiating TLS', error, false);
}
