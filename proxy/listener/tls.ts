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
 * Takes a paused wire over into TLS, as the server.
 * @returns a paused wire; the plain one is not to be used any more
 * @throws the handshake's error; the signal's reason. The connection is gone then.
 */
export function acceptTls(plain: Wire, options: AcceptTlsOptions): Promise<Wire> {
  const { signal } = options;
  return new Promise((resolve, reject) => {
    const raw = plain.socket;
    if (signal.aborted) {
      raw.destroy();
      reject(signal.reason);
      return;
    }
    if (options.received.length > 0) raw.unshift(options.received);
    const socket = new tls.TLSSocket(raw, {
      isServer: true,
      secureContext: options.context,
      ALPNProtocols: [ALPN],
      requestCert: false,
    });
    const settle = (): void => {
      signal.removeEventListener('abort', aborted);
      socket.off('error', failed);
      socket.off('close', closed);
      socket.off('secure', secured);
    };
    const failed = (error: unknown): void => {
      settle();
      // A late error of a destroyed socket has nobody to go to.
      socket.on('error', () => {});
      socket.destroy();
      raw.destroy();
      reject(error);
    };
    const aborted = (): void => failed(signal.reason);
    const closed = (): void => failed(new Error('the client closed the connection during the handshake'));
    const secured = (): void => {
      if (options.requireAlpn && socket.alpnProtocol !== ALPN) {
        failed(new Error(`the client did not ask for ALPN ${ALPN}`));
        return;
      }
      settle();
      resolve(streamWire(socket));
    };
    signal.addEventListener('abort', aborted, { once: true });
    socket.on('error', failed);
    socket.on('close', closed);
    socket.on('secure', secured);
  });
}
