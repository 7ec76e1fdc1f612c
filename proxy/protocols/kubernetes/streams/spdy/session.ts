import {
  createSpdyReader,
  dataFrame,
  goAway,
  ping,
  RST_CANCEL,
  RST_REFUSED_STREAM,
  rstStream,
  SpdyError,
  type SpdyFrame,
  synReply,
  synStream,
} from './frames.ts';
import { createHeaderReader, createHeaderWriter, type SpdyHeaders } from './headers.ts';

/** One stream of a SPDY connection; each side ends its own half. */
export interface SpdyStream {
  readonly id: number;
  readonly headers: SpdyHeaders;
  /** Resolves when the peer may be sent more. Nothing is sent on a half that has ended. */
  write(bytes: Uint8Array): Promise<void> | undefined;
  end(): void;
  /** Both halves end at once. */
  reset(): void;
}

export interface SpdyStreamHandlers {
  /** The bytes are valid during the call, and until its promise resolves: nothing else is read meanwhile. */
  data(bytes: Buffer): Promise<void> | undefined;
  /** The peer sends no more on it. */
  end(): void;
  /** The peer, or the end of the connection, has reset it. */
  reset(): void;
}

export interface SpdySessionOptions {
  readonly role: 'client' | 'server';
  /** Resolves when more may be sent. */
  send(bytes: Buffer): Promise<void> | undefined;
  /** The peer has opened a stream: what becomes of it, or undefined to refuse it. It is replied to after this. */
  opened?(stream: SpdyStream): SpdyStreamHandlers | undefined;
  /** Streams at a time that the peer may open. */
  readonly mostStreams: number;
}

export interface SpdySession {
  /** What came over the connection, in order: not called again before it has resolved. @throws SpdyError */
  receive(chunk: Buffer): Promise<void>;
  open(headers: SpdyHeaders, handlers: SpdyStreamHandlers): SpdyStream;
  /** A sign of life, which has a peer that is gone noticed. */
  ping(): void;
  /** Says goodbye and resets what is left. */
  close(): void;
  /** The peer has said that it goes. */
  readonly leaving: boolean;
}

interface Entry {
  readonly stream: SpdyStream;
  handlers: SpdyStreamHandlers;
  /** Halves that have ended. */
  local: boolean;
  remote: boolean;
}

/** At least this much of a DATA frame is sent at a time. */
const MOST_DATA = 64 * 1024;

/** Both sides of SPDY/3.1 without flow control of its own: as in spdystream, whoever has enough stops reading the connection. */
export function createSpdySession({ role, send, opened, mostStreams }: SpdySessionOptions): SpdySession {
  const reader = createSpdyReader();
  const headerReader = createHeaderReader();
  const headerBlock = createHeaderWriter();
  const streams = new Map<number, Entry>();
  const parity = role === 'server' ? 1 : 0;
  let nextId = role === 'server' ? 2 : 1;
  let pingId = nextId;
  let lastReceived = 0;
  let leaving = false;
  let closed = false;

  function forget({ stream, local, remote }: Entry): void {
    if (local && remote) streams.delete(stream.id);
  }

  function newEntry(id: number, headers: SpdyHeaders): Entry {
    const entry: Entry = {
      local: false,
      remote: false,
      handlers: { data: () => undefined, end: () => undefined, reset: () => undefined },
      stream: {
        id,
        headers,
        write(bytes) {
          if (entry.local || closed) return undefined;
          let last: Promise<void> | undefined;
          for (let at = 0; at < bytes.length; at += MOST_DATA)
            last = send(dataFrame(id, bytes.subarray(at, at + MOST_DATA), false));
          return last;
        },
        end() {
          if (entry.local || closed) return;
          entry.local = true;
          send(dataFrame(id, new Uint8Array(), true));
          forget(entry);
        },
        reset() {
          if (closed || !streams.delete(id)) return;
          entry.local = true;
          send(rstStream(id, RST_CANCEL));
        },
      },
    };
    streams.set(id, entry);
    return entry;
  }

  async function synReceived(frame: SpdyFrame & { readonly type: 'SYN_STREAM' }): Promise<void> {
    const headers = await headerReader.read(frame.block);
    const { id } = frame;
    if (id % 2 !== parity || id <= lastReceived) throw new SpdyError(`stream ${id} out of order`);
    lastReceived = id;
    if (opened === undefined || leaving || openByPeer() >= mostStreams) {
      await send(rstStream(id, RST_REFUSED_STREAM));
      return;
    }
    const entry = newEntry(id, headers);
    const handlers = opened(entry.stream);
    if (handlers === undefined) {
      streams.delete(id);
      entry.local = true;
      await send(rstStream(id, RST_REFUSED_STREAM));
      return;
    }
    entry.handlers = handlers;
    await send(synReply(id, headerBlock(new Map())));
    if (frame.fin) endOf(entry);
  }

  function openByPeer(): number {
    let count = 0;
    for (const id of streams.keys()) if (id % 2 === parity) count++;
    return count;
  }

  function endOf(entry: Entry): void {
    if (entry.remote) return;
    entry.remote = true;
    forget(entry);
    entry.handlers.end();
  }

  async function dataReceived(id: number, bytes: Buffer, fin: boolean): Promise<void> {
    const entry = streams.get(id);
    // What was on its way when the stream was reset.
    if (entry === undefined) return;
    if (entry.remote) {
      entry.stream.reset();
      entry.handlers.reset();
      return;
    }
    if (bytes.length > 0) await entry.handlers.data(bytes);
    if (fin) endOf(entry);
  }

  async function frameReceived(frame: SpdyFrame): Promise<void> {
    switch (frame.type) {
      case 'DATA':
        return dataReceived(frame.id, frame.bytes, frame.fin);
      case 'SYN_STREAM':
        return synReceived(frame);
      case 'SYN_REPLY':
      case 'HEADERS': {
        // Every block is read, whoever wants it: the next one is compressed after it.
        await headerReader.read(frame.block);
        const entry = streams.get(frame.id);
        if (entry !== undefined && frame.fin) endOf(entry);
        return;
      }
      case 'RST_STREAM': {
        const entry = streams.get(frame.id);
        if (entry === undefined) return;
        streams.delete(frame.id);
        entry.local = true;
        entry.remote = true;
        entry.handlers.reset();
        return;
      }
      case 'PING':
        // Answers to ours have our parity.
        if (frame.id % 2 === parity) await send(ping(frame.id));
        return;
      case 'GOAWAY':
        leaving = true;
        return;
      case 'IGNORED':
        return;
      default:
        frame satisfies never;
    }
  }

  return {
    get leaving() {
      return leaving;
    },
    async receive(chunk) {
      for (const frame of reader.push(chunk)) {
        if (closed) return;
        await frameReceived(frame);
      }
    },
    open(headers, handlers) {
      const entry = newEntry(nextId, headers);
      nextId += 2;
      entry.handlers = handlers;
      send(synStream(entry.stream.id, headerBlock(headers)));
      return entry.stream;
    },
    ping() {
      if (closed) return;
      send(ping(pingId));
      pingId = (pingId + 2) % 0x7fff_fffe;
    },
    close() {
      if (closed) return;
      for (const [id, { local, remote }] of streams) if (!local || !remote) send(rstStream(id, RST_CANCEL));
      send(goAway(lastReceived));
      closed = true;
      headerReader.close();
      const left = [...streams.values()];
      streams.clear();
      for (const entry of left) {
        entry.local = true;
        entry.handlers.reset();
      }
    },
  };
}
