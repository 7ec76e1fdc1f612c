import type { Socket } from 'node:net';
import tls from 'node:tls';
import { streamWire, type Wire } from './wire.ts';

export interface AcceptTlsOptions {
  readonly context: tls.SecureContext;
  /** What the client has sent of its handshake already; empty behind an SSLRequest. */
  readonly received: Buffer;
  /** Direct TLS: without ALPN `postgresql` another protocol's client could be led here (manual, section "SSL Session Encryption"). */
  readonly requireAlpn: boolean;
  readonly signal: AbortSignal;
}

const ALPN = 'postgresql';

/**
 * The handshake of a server on a socket of which these bytes were read already.
 * @throws its error; the signal's reason, also of one that had fired before. The connection is gone then.
 */
export function handshake(
  raw: Socket,
  received: Buffer,
  options: Pick<tls.TLSSocketOptions, 'secureContext' | 'ALPNProtocols'>,
  signal: AbortSignal,
): Promise<tls.TLSSocket> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      raw.destroy();
      reject(signal.reason);
      return;
    }
    if (received.length > 0) raw.unshift(received);
    const socket = new tls.TLSSocket(raw, { ...options, isServer: true, requestCert: false });
    const settle = (): void => {
      signal.removeEventListener('abort', aborted);
      socket.off('error', failed);
      socket.off('close', closed);
      socket.off('secure', secured);
    };
    const failed = (error: unknown): void => {
      settle();
      giveUp(socket, raw);
      reject(error);
    };
    const aborted = (): void => failed(signal.reason);
    const closed = (): void => failed(new Error('the client closed the connection during the handshake'));
    const secured = (): void => {
      settle();
      resolve(socket);
    };
    signal.addEventListener('abort', aborted, { once: true });
    socket.on('error', failed);
    socket.on('close', closed);
    socket.on('secure', secured);
  });
}

function giveUp(socket: tls.TLSSocket, raw: Socket): void {
  // A late error of a destroyed socket has nobody to go to.
  socket.on('error', () => {});
  socket.destroy();
  raw.destroy();
}

/**
 * Takes a paused wire over into TLS, as the server.
 * @returns a paused wire; the plain one is not to be used any more
 * @throws the handshake's error; the signal's reason. The connection is gone then.
 */
export async function acceptTls(plain: Wire, options: AcceptTlsOptions): Promise<Wire> {
  const { context: secureContext, received, signal } = options;
  const raw = plain.socket;
  const socket = await handshake(raw, received, { secureContext, ALPNProtocols: [ALPN] }, signal);
  if (options.requireAlpn && socket.alpnProtocol !== ALPN) {
    giveUp(socket, raw);
    throw new Error(`the client did not ask for ALPN ${ALPN}`);
  }
  return streamWire(socket);
}
