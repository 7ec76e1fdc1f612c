import type { Socket } from 'node:net';
import tls from 'node:tls';
import { request } from './builtin.ts';
import { ConnectorError, reasonOf } from './errors.ts';

/** One replica of a proxy, as it is dialled. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
  /** Name in its certificate. */
  readonly serverName: string;
}

const CONNECT_MS = 5000;
/** The proxy asks the API server about a token, and may have to wait for it. */
const ANSWER_MS = 15_000;
const KEEP_ALIVE_MS = 30_000;
/** Bytes of a refusal's body that are looked at. */
const BODY_LIMIT = 4096;

/** A TLS 1.3 connection to a replica whose certificate was verified. @throws ConnectorError SPN005, SPN006 */
export function dialReplica(
  endpoint: Endpoint,
  context: tls.SecureContext,
  signal: AbortSignal,
): Promise<tls.TLSSocket> {
  const { address, port, serverName } = endpoint;
  return new Promise((resolve, reject) => {
    // Node takes it (tls.connect, allowHalfOpen), its types do not know.
    const options: tls.ConnectionOptions & { allowHalfOpen: boolean } = {
      host: address,
      port,
      servername: serverName,
      secureContext: context,
      rejectUnauthorized: true,
      allowHalfOpen: true,
      ALPNProtocols: ['http/1.1'],
    };
    const socket = tls.connect(options);
    const place = `${address}:${port}`;
    const timer = setTimeout(() => fail(new Error(`no answer within ${CONNECT_MS} ms`)), CONNECT_MS);
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      socket.removeListener('error', fail);
      socket.removeListener('close', onClose);
    };
    function fail(error: Error): void {
      done();
      // What comes after the first error is of no interest to anybody.
      socket.on('error', () => {});
      socket.destroy();
      const code = /CERT|SELF_SIGNED|UNABLE_TO|ALTNAME/.test('code' in error ? String(error.code) : '')
        ? 'SPN006'
        : 'SPN005';
      reject(new ConnectorError(code, [place, reasonOf(error)], error));
    }
    const onAbort = (): void => fail(new Error('it was given up'));
    const onClose = (): void => fail(new Error('it was closed during the handshake'));
    socket.once('error', fail);
    socket.once('close', onClose);
    socket.once('secureConnect', () => {
      done();
      socket.setNoDelay(true);
      socket.setKeepAlive(true, KEEP_ALIVE_MS);
      resolve(socket);
    });
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
}

export interface TunnelRequest {
  readonly host: string;
  readonly port: number;
  readonly token: string;
  readonly version: string;
}

/** `code` and `message` of a refusal, if the proxy said them. */
function refusalText(status: number, body: string): string {
  try {
    const document = JSON.parse(body) as unknown;
    if (typeof document === 'object' && document !== null && 'message' in document) {
      const code = 'code' in document ? `${String(document.code)}: ` : '';
      return reasonOf(new Error(`${code}${String(document.message)}`));
    }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return `HTTP ${status}`;
}

function bodyOf(socket: Socket, head: Buffer, signal: AbortSignal): Promise<string> {
  return new Promise((resolve) => {
    const chunks = [head];
    let length = head.length;
    const end = (): void => {
      signal.removeEventListener('abort', end);
      socket.destroy();
      resolve(Buffer.concat(chunks).toString('utf8').slice(0, BODY_LIMIT));
    };
    const isWhole = (): boolean => length >= BODY_LIMIT || /\}\s*$/.test(chunks.at(-1)?.toString('latin1') ?? '');
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      length += chunk.length;
      if (isWhole()) end();
    });
    socket.once('end', end);
    socket.once('error', end);
    if (signal.aborted || isWhole()) end();
    else signal.addEventListener('abort', end, { once: true });
  });
}

/**
 * Makes a tunnel of a connection to a replica (RFC 9110, section 9.3.6): from then on it carries the client's bytes, both ways.
 * @throws ConnectorError SPN009 when another replica should be asked, SPN008 when none would help, SPN005 when it broke off
 */
export function openTunnel(socket: tls.TLSSocket, wanted: TunnelRequest, signal: AbortSignal): Promise<tls.TLSSocket> {
  const place = `${wanted.host}:${wanted.port}`;
  const peer = `${socket.remoteAddress ?? '?'}:${socket.remotePort ?? 0}`;
  const patience = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
  return new Promise((resolve, reject) => {
    const asked = request({
      method: 'CONNECT',
      path: place,
      createConnection: () => socket,
      headers: { host: place, authorization: `Bearer ${wanted.token}`, 'sallyport-connector': wanted.version },
      maxHeaderSize: 16 * 1024,
      signal: patience,
    });
    const fail = (error: unknown): void => {
      socket.destroy();
      reject(error);
    };
    asked.once('error', (error) => fail(new ConnectorError('SPN005', [peer, reasonOf(error)], error)));
    // Any answer to CONNECT comes here, whatever its status.
    asked.once('connect', (response, raw, head) => {
      const status = response.statusCode ?? 0;
      if (status === 200) {
        if (head.length > 0) raw.unshift(head);
        resolve(socket);
        return;
      }
      bodyOf(raw as Socket, head, patience).then((body) => {
        const text = refusalText(status, body);
        // 5xx and 429 are of this replica and this moment; anything else would be said by all of them.
        const isPassing = status >= 500 || status === 429;
        reject(isPassing ? new ConnectorError('SPN009', [peer, text]) : new ConnectorError('SPN008', [place, text]));
      }, fail);
    });
    asked.end();
  });
}
