import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { createSpdySession, type SpdySession, type SpdySessionOptions } from './spdy/session.ts';

/** A session of SPDY on a connection of its own. */
export interface SpdyConnection extends SpdySession {
  destroy(): void;
}

/** Resolves when the client may be sent more: it reads slowly, or not at all. */
const MOST_WAITING_BYTES = 256 * 1024;
/** From our goodbye to the end of the connection. */
const CLOSE_MS = 5000;

/**
 * Reads the connection as fast as what was read is taken: that is all of the flow control that there is.
 * @param closed after everything that was read was taken
 */
export function serveSpdy(
  socket: Duplex,
  options: Omit<SpdySessionOptions, 'send' | 'role'>,
  closed: (error: Error | undefined) => void,
): SpdyConnection {
  let gone = false;

  function send(bytes: Buffer): Promise<void> | undefined {
    if (!socket.writable) return undefined;
    socket.write(bytes);
    return socket.writableLength > MOST_WAITING_BYTES ? drained(socket) : undefined;
  }

  const session = createSpdySession({ ...options, role: 'server', send });
  // An error ends the loop below.
  socket.on('error', () => undefined);

  async function read(): Promise<void> {
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      await session.receive(chunk);
      if (session.leaving) break;
    }
  }

  /** What was sent is read first, however slowly. */
  function goodbye(): void {
    session.close();
    socket.end(() => {
      const timer = setTimeout(() => socket.destroy(), CLOSE_MS).unref();
      socket.once('close', () => clearTimeout(timer));
    });
  }

  function over(error: Error | undefined): void {
    if (gone) return;
    gone = true;
    goodbye();
    closed(error);
  }

  read().then(
    () => over(undefined),
    (error: Error) => {
      over(error);
      socket.destroy();
    },
  );

  return {
    receive: session.receive,
    open: session.open,
    ping: session.ping,
    get leaving() {
      return session.leaving;
    },
    close: goodbye,
    destroy: () => void socket.destroy(),
  };
}

async function drained(socket: Duplex): Promise<void> {
  // Whatever ends the connection ends the wait: nothing is sent on it any more.
  const waiting = new AbortController();
  const ends = ['drain', 'close', 'error'].map((event) =>
    once(socket, event, { signal: waiting.signal }).catch(() => undefined),
  );
  await Promise.race(ends);
  waiting.abort();
}
