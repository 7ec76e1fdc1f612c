import type { IncomingMessage } from 'node:http';
import { WebSocket, WebSocketServer } from 'ws';
import { eachField, field } from '../../http/core/headers.ts';
import type { HeaderFields } from '../../http/core/port.ts';
import type { StreamExchange, StreamUpstream } from './port.ts';

/** Messages of one WebSocket, with back-pressure both ways. */
export interface MessageSocket {
  /** Resolves when more may be sent. */
  send(bytes: Buffer): Promise<void> | undefined;
  /** A sign of life that nobody answers: a peer that is not read hears of us, and one that is gone is noticed. */
  heartbeat(): void;
  /** Ends it once what was sent has gone out, however slowly it is read. */
  close(): void;
  destroy(): void;
}

export interface MessageHandlers {
  /** In order; nothing else comes until the promise resolves. */
  message(bytes: Buffer): Promise<void> | undefined;
  /** After the last message. */
  closed(error: Error | undefined): void;
}

/** Kubelets and API servers send at most 32 KiB at a time, clients as much as they like. */
const MOST_MESSAGE_BYTES = 4 * 1024 * 1024;
/** What may wait for a slow reader. */
const MOST_WAITING_BYTES = 256 * 1024;
/** From our goodbye to that of the peer. */
const CLOSE_MS = 5000;
const NORMAL = 1000;

export function openMessages(socket: WebSocket, handlers: MessageHandlers): MessageSocket {
  const queue: Buffer[] = [];
  let busy = false;
  let failure: Error | undefined;
  let ended = false;
  let told = false;
  /** Settles when all that was sent has gone out. */
  let flushed: Promise<void> = Promise.resolve();

  async function drain(): Promise<void> {
    busy = true;
    try {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        const taken = handlers.message(next);
        if (taken === undefined) continue;
        socket.pause();
        await taken;
        socket.resume();
      }
    } catch (error) {
      failure ??= error as Error;
      queue.length = 0;
      socket.terminate();
    }
    busy = false;
    tell();
  }

  function tell(): void {
    if (!ended || busy || told) return;
    told = true;
    handlers.closed(failure);
  }

  // Python's client writes text as text; API servers take either for the same bytes.
  socket.on('message', (data: Buffer) => {
    queue.push(data);
    if (!busy) void drain();
  });
  socket.on('error', (error) => {
    failure ??= error;
  });
  socket.on('close', () => {
    ended = true;
    tell();
  });

  return {
    send(bytes) {
      if (socket.readyState !== WebSocket.OPEN) return undefined;
      flushed = new Promise((resolve) => socket.send(bytes, { binary: true }, () => resolve()));
      return socket.bufferedAmount > MOST_WAITING_BYTES ? flushed : undefined;
    },
    heartbeat() {
      if (socket.readyState === WebSocket.OPEN) socket.pong();
    },
    close() {
      void flushed.then(() => {
        if (socket.readyState !== WebSocket.OPEN) return;
        socket.close(NORMAL);
        socket.resume();
        const timer = setTimeout(() => socket.terminate(), CLOSE_MS).unref();
        socket.once('close', () => clearTimeout(timer));
      });
    },
    destroy: () => socket.terminate(),
  };
}

/**
 * Upgrades a client whose request was checked by `negotiate`. The subprotocol is agreed on here and in `dialWebSocket`, not by `ws`: the
 * name of the tunnel is no token, which `ws` insists on.
 */
export function acceptWebSocket(exchange: StreamExchange, protocol: string): WebSocket {
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: MOST_MESSAGE_BYTES,
  });
  server.on('headers', (answer) => answer.push(`Sec-WebSocket-Protocol: ${protocol}`));
  const key = field(exchange.head.headers, 'sec-websocket-key');
  const headers = { upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': key };
  let accepted: WebSocket | undefined;
  const request = { method: 'GET', headers } as unknown as IncomingMessage;
  server.handleUpgrade(request, exchange.takeOver(), Buffer.alloc(0), (socket) => {
    accepted = socket;
  });
  if (accepted === undefined) throw new Error('the WebSocket of a client could not be accepted');
  return accepted;
}

/** The API server has agreed, or it has not and says why. */
export type Dialled =
  | { readonly socket: WebSocket; readonly protocol: string }
  | { readonly status: number; readonly contentType: string; readonly body: Buffer; readonly socket?: never };

/** Longest answer of an API server that refuses. */
const MOST_REFUSAL_BYTES = 64 * 1024;
const HANDSHAKE_MS = 30_000;

/**
 * Asks the API server for a WebSocket, in the identity of the stream. Nothing comes of the socket before its handlers are set in the
 * turn of the event loop in which this resolves.
 * @throws when it cannot be reached, or does not speak WebSocket; the signal's reason
 */
export async function dialWebSocket(
  { pool, headers }: StreamUpstream,
  target: string,
  protocols: readonly string[],
  signal: AbortSignal,
): Promise<Dialled> {
  const identity = record(await headers());
  const connection = await pool.dial(signal);
  const { host, port } = pool.target;
  const { promise, resolve, reject } = Promise.withResolvers<Dialled>();
  const socket = new WebSocket(`ws://${host.includes(':') ? `[${host}]` : host}:${port}${target}`, {
    // TLS is in the connection already.
    createConnection: () => connection,
    headers: { ...identity, 'sec-websocket-protocol': protocols.join(', ') },
    perMessageDeflate: false,
    maxPayload: MOST_MESSAGE_BYTES,
    handshakeTimeout: HANDSHAKE_MS,
    followRedirects: false,
  });
  const abortWith = (reason: unknown): void => {
    reject(reason);
    socket.terminate();
  };
  const abort = (): void => abortWith(signal.reason);
  socket.on('error', reject);
  let protocol: string | undefined;
  socket.once('upgrade', (response: IncomingMessage) => {
    protocol = response.headers['sec-websocket-protocol'];
    delete response.headers['sec-websocket-protocol'];
  });
  socket.once('open', () => {
    // Whoever waits for this takes over before anything is read.
    socket.pause();
    if (protocol !== undefined && protocols.includes(protocol)) resolve({ socket, protocol });
    else abortWith(new Error('the API server agreed to none of the subprotocols'));
  });
  socket.once('unexpected-response', (_request, response: IncomingMessage) => {
    refusalOf(response).then((refusal) => {
      resolve(refusal);
      socket.terminate();
    }, abortWith);
  });
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await promise;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

async function refusalOf(response: IncomingMessage): Promise<Dialled> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of response as AsyncIterable<Buffer>) {
    size += piece.length;
    if (size > MOST_REFUSAL_BYTES) break;
    pieces.push(piece);
  }
  return {
    status: response.statusCode ?? 502,
    contentType: response.headers['content-type'] ?? 'text/plain',
    body: Buffer.concat(pieces),
  };
}

function record(fields: HeaderFields): Record<string, string | string[]> {
  const headers: Record<string, string[]> = {};
  for (const [name, value] of eachField(fields)) headers[name] = [...(headers[name] ?? []), value];
  return headers;
}
