import type { Transport } from './negotiate.ts';
import type { StreamExchange } from './port.ts';
import { portOf } from './query.ts';
import { createSpdySession, type SpdyStream, type SpdyStreamHandlers } from './spdy/session.ts';
import { serveSpdy } from './spdy-connection.ts';
import { acceptWebSocket, openMessages } from './websocket.ts';

/** One of the two streams of a connection to a port. */
export interface ForwardStream {
  readonly type: 'data' | 'error';
  readonly port: number;
  /** Joins the two. */
  readonly requestId: string;
}

export interface ForwardClient {
  heartbeat(): void;
  close(): void;
}

export interface ForwardClientHandlers {
  /** A client opens a stream: what it sends goes to what is returned, and what comes back to `stream`. Undefined refuses it. */
  opened(asked: ForwardStream, stream: Omit<SpdyStream, 'id' | 'headers'>): SpdyStreamHandlers | undefined;
  closed(error: Error | undefined): void;
}

/** Two for each connection to a port. */
const MOST_STREAMS = 2 * 256;

/** Takes a client up, whichever way it forwards ports. @param ports of a client that speaks channels */
export function acceptForward(
  exchange: StreamExchange,
  transport: Transport,
  ports: readonly number[],
  handlers: ForwardClientHandlers,
): ForwardClient {
  switch (transport.type) {
    case 'spdy':
      return overSpdy(exchange, transport.protocol, handlers);
    case 'tunnel':
      return overTunnel(exchange, transport.protocol, handlers);
    case 'channels':
      return overChannels(exchange, transport.protocol, ports, handlers);
    default:
      return transport satisfies never;
  }
}

function spdyOptions({ opened }: ForwardClientHandlers) {
  return {
    mostStreams: MOST_STREAMS,
    opened(stream: SpdyStream): SpdyStreamHandlers | undefined {
      const asked = streamOf(stream);
      return asked === undefined ? undefined : opened(asked, stream);
    },
  };
}

/** As kubelets read them (pkg/cri/streaming/portforward); a request without number is of clients before Kubernetes 1.2. */
function streamOf({ headers }: SpdyStream): ForwardStream | undefined {
  const type = headers.get('streamtype');
  const port = portOf(headers.get('port') ?? '');
  const requestId = headers.get('requestid') ?? '';
  if ((type !== 'data' && type !== 'error') || port === undefined || !/^\d{1,10}$/.test(requestId)) return undefined;
  return { type, port, requestId };
}

function overSpdy(exchange: StreamExchange, protocol: string, handlers: ForwardClientHandlers): ForwardClient {
  const socket = exchange.accept(['x-stream-protocol-version', protocol]);
  const connection = serveSpdy(socket, spdyOptions(handlers), (error) => {
    handlers.closed(error);
    if (error !== undefined) connection.destroy();
  });
  return { heartbeat: connection.ping, close: connection.close };
}

function overTunnel(exchange: StreamExchange, protocol: string, handlers: ForwardClientHandlers): ForwardClient {
  const messages = openMessages(acceptWebSocket(exchange, protocol), {
    message: (bytes) => session.receive(bytes),
    closed(error) {
      session.close();
      handlers.closed(error);
    },
  });
  const session = createSpdySession({ role: 'server', send: messages.send, ...spdyOptions(handlers) });
  return {
    heartbeat: messages.heartbeat,
    close() {
      session.close();
      messages.close();
    },
  };
}

/**
 * Two channels for each port, data and error, each of which begins with the port in two bytes, low one first; one connection for each
 * port, whose end ends the WebSocket with the last of them.
 */
function overChannels(
  exchange: StreamExchange,
  protocol: string,
  ports: readonly number[],
  handlers: ForwardClientHandlers,
): ForwardClient {
  const inward: (SpdyStreamHandlers | undefined)[] = [];
  let open = ports.length;
  const messages = openMessages(acceptWebSocket(exchange, protocol), {
    message(bytes) {
      const [channel = 255] = bytes;
      return bytes.length > 1 ? inward[channel]?.data(bytes.subarray(1)) : undefined;
    },
    closed(error) {
      for (const stream of inward) stream?.reset();
      handlers.closed(error);
    },
  });

  function outward(channel: number): Omit<SpdyStream, 'id' | 'headers'> {
    const over = (): void => {
      // The error channel of a connection says nothing more once its data is over.
      if (channel % 2 === 0 && --open === 0) messages.close();
    };
    return {
      write: (bytes) => messages.send(Buffer.concat([Buffer.of(channel), bytes])),
      end: over,
      reset: over,
    };
  }

  for (const [index, port] of ports.entries()) {
    const [data, error] = [2 * index, 2 * index + 1];
    const requestId = String(index);
    for (const channel of [data, error]) messages.send(Buffer.of(channel, port & 0xff, port >> 8));
    // In the order in which kubectl opens them. Nothing is ever sent on the error stream.
    handlers.opened({ type: 'error', port, requestId }, outward(error))?.end();
    inward[data] = handlers.opened({ type: 'data', port, requestId }, outward(data));
  }
  return { heartbeat: messages.heartbeat, close: messages.close };
}
