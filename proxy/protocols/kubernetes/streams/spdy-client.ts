import type { CommandClient, CommandClientHandlers } from './command-port.ts';
import type { StreamExchange } from './port.ts';
import type { ProgramQuery } from './query.ts';
import type { SpdyStream, SpdyStreamHandlers } from './spdy/session.ts';
import { serveSpdy } from './spdy-connection.ts';
import { createSizeReader } from './terminal-size.ts';

type StreamType = 'error' | 'stdin' | 'stdout' | 'stderr' | 'resize';

/** How long a client may take to open the streams of its command, as kubelets wait. */
const STREAMS_MS = 30_000;

/** Streams that a client opens for what it asks (v4 of the protocol, in `remotecommand` of client-go). */
function expectedStreams({ stdin, stdout, stderr, tty }: ProgramQuery): ReadonlySet<StreamType> {
  const expected: StreamType[] = ['error'];
  if (stdin) expected.push('stdin');
  if (stdout) expected.push('stdout');
  if (stderr) expected.push('stderr');
  if (tty) expected.push('resize');
  return new Set(expected);
}

/** A client that speaks v4 of the channel protocol over SPDY, a stream for each channel. */
export function acceptSpdy(
  exchange: StreamExchange,
  protocol: string,
  asked: ProgramQuery,
  handlers: CommandClientHandlers,
): CommandClient {
  const expected = expectedStreams(asked);
  const streams = new Map<StreamType, SpdyStream>();
  const sizes = createSizeReader();
  const ready = Promise.withResolvers<void>();

  const NOTHING: SpdyStreamHandlers = { data: () => undefined, end: () => undefined, reset: () => undefined };
  const OF_TYPE: Readonly<Record<StreamType, SpdyStreamHandlers>> = {
    error: NOTHING,
    stdout: NOTHING,
    stderr: NOTHING,
    stdin: { data: handlers.stdin, end: handlers.stdinEnd, reset: handlers.stdinEnd },
    resize: {
      ...NOTHING,
      data(bytes) {
        for (const size of sizes(bytes)) handlers.resize(size);
        return undefined;
      },
    },
  };

  function opened(stream: SpdyStream): SpdyStreamHandlers | undefined {
    const type = stream.headers.get('streamtype') as StreamType | undefined;
    if (type === undefined || !expected.has(type) || streams.has(type)) return undefined;
    streams.set(type, stream);
    if (streams.size === expected.size) {
      clearTimeout(timer);
      // After the reply to the last of them.
      setImmediate(ready.resolve);
    }
    return OF_TYPE[type];
  }

  function over(error: Error | undefined): void {
    clearTimeout(timer);
    ready.resolve();
    handlers.closed(error);
    if (error !== undefined) connection.destroy();
  }

  const socket = exchange.accept(['x-stream-protocol-version', protocol]);
  const connection = serveSpdy(socket, { opened, mostStreams: expected.size }, over);
  const timer = setTimeout(() => over(new Error('it opened not all of its streams')), STREAMS_MS).unref();

  return {
    output(stream, bytes) {
      const type = stream === 'data' ? 'stdout' : 'stderr';
      if (streams.size === expected.size) return streams.get(type)?.write(bytes);
      const kept = Buffer.from(bytes);
      return ready.promise.then(() => streams.get(type)?.write(kept));
    },
    finish(status) {
      void ready.promise.then(() => {
        streams.get('error')?.write(status);
        // What is ended is read to its end; the goodbye comes after it.
        for (const type of ['stdout', 'stderr', 'error'] as const) streams.get(type)?.end();
        connection.close();
      });
    },
    heartbeat: connection.ping,
    destroy: connection.destroy,
  };
}
