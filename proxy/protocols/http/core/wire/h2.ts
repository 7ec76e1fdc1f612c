import http2, { type Http2Session, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { RawHead } from '../head.ts';
import type { HeaderFields } from '../port.ts';
import { type Incoming, nothing } from './incoming.ts';
import { MAX_HEAD_BYTES } from './request-head.ts';

/** HTTP/2 from clients: nghttp2 in Node, with limits against floods of frames, resets and settings. */

const MAX_STREAMS = 128;
const STREAM_WINDOW = 262_144;
const SESSION_WINDOW = 1_048_576;
/** Streams that a client may reset at once, and then each second: beyond it the connection ends (CVE-2023-44487). */
const RESET_BURST = 256;
const RESETS_PER_SECOND = 32;

export interface Http2Connection {
  /** No more streams; those that are open go on. */
  drain(): void;
  destroy(): void;
}

/** Serves a connection that has agreed on h2, or began with its preface. What was read of it before was unshifted. */
export function serveHttp2(
  socket: Socket,
  encrypted: boolean,
  request: (incoming: Incoming) => void,
  closed: () => void,
): Http2Connection {
  const session: ServerHttp2Session = http2.performServerHandshake(socket, {
    maxHeaderListPairs: 140,
    maxOutstandingPings: 4,
    maxSendHeaderBlockLength: 131_072,
    maxSessionInvalidFrames: 32,
    maxSessionRejectedStreams: 64,
    maxSessionMemory: 16,
    maxSettings: 32,
    streamResetBurst: RESET_BURST,
    streamResetRate: RESETS_PER_SECOND,
    settings: {
      enablePush: false,
      maxConcurrentStreams: MAX_STREAMS,
      maxHeaderListSize: MAX_HEAD_BYTES,
      initialWindowSize: STREAM_WINDOW,
    },
  } as http2.ServerSessionOptions);
  session.on('error', nothing);
  // Before it there is nothing that has a window.
  session.once('connect', () => session.setLocalWindowSize(SESSION_WINDOW));
  session.on('close', closed);
  // Typings have the event without its fourth argument.
  const streams = session as unknown as {
    on(
      event: 'stream',
      listener: (stream: ServerHttp2Stream, headers: Pseudo, flags: number, raw: string[]) => void,
    ): void;
  };
  streams.on('stream', (stream, headers, flags, raw) => {
    request(new Http2Incoming(stream, headers, flags, raw, encrypted));
  });
  return {
    drain: () => {
      if (!session.closed && !session.destroyed) session.close();
    },
    destroy: () => (session as Http2Session).destroy(),
  };
}

type Pseudo = Readonly<Record<string, string | undefined>>;

const END_STREAM = http2.constants.NGHTTP2_FLAG_END_STREAM;

/** Answers without a body. */
const BARE: ReadonlySet<number> = new Set([204, 205, 304]);

class Http2Incoming implements Incoming {
  readonly raw: RawHead;
  readonly source: ServerHttp2Stream;
  readonly whole = undefined;
  #trailers: HeaderFields | undefined;
  onDrain: () => void = nothing;
  onClosed: (whole: boolean) => void = nothing;

  constructor(stream: ServerHttp2Stream, headers: Pseudo, flags: number, raw: string[], encrypted: boolean) {
    this.source = stream;
    const fields: string[] = [];
    for (let index = 0; index + 1 < raw.length; index += 2) {
      const name = raw[index] ?? '';
      if (!name.startsWith(':')) fields.push(name, raw[index + 1] ?? '');
    }
    this.raw = {
      method: headers[':method'] ?? '',
      version: '2',
      scheme: encrypted ? 'https' : 'http',
      target: headers[':path'] ?? '',
      authority: headers[':authority'],
      fields,
      more: (flags & END_STREAM) === 0,
    };
    stream.on('error', nothing);
    stream.on('drain', () => this.onDrain());
    stream.on('wantTrailers', () => this.#sendTrailers());
    stream.on('close', () => this.onClosed(stream.rstCode === 0 && stream.writableFinished));
  }

  get sourceEnded(): boolean {
    return !this.raw.more || this.source.readableEnded;
  }

  get begun(): boolean {
    return this.source.headersSent;
  }

  get gone(): boolean {
    const { source } = this;
    // Node ends the side of the answer to HEAD before there is one.
    return (
      source.destroyed || source.closed || (source.writableEnded && (source.headersSent || this.raw.method !== 'HEAD'))
    );
  }

  sendContinue(): void {
    if (!this.begun && !this.gone) this.source.additionalHeaders({ ':status': 100 });
  }

  writeHead(status: number, headers: HeaderFields): void {
    if (this.gone) return;
    // Names are the target's, and one of them may be that of a member of every object.
    const fields = Object.create(null) as Record<string, string | number | string[]>;
    fields[':status'] = status;
    for (let index = 0; index + 1 < headers.length; index += 2) {
      const name = headers[index] ?? '';
      const value = headers[index + 1] ?? '';
      const before = fields[name];
      if (before === undefined) fields[name] = value;
      else fields[name] = [...(Array.isArray(before) ? before : [String(before)]), value];
    }
    // What has no body has no trailers either, and waiting for them would hold its head back.
    const bare = this.raw.method === 'HEAD' || BARE.has(status);
    this.source.respond(fields, { waitForTrailers: !bare });
  }

  flushHead(): void {
    // A HEADERS frame goes out by itself.
  }

  write(chunk: Buffer): boolean {
    // Of HEAD, 204 and 304 the head has ended the stream.
    if (this.gone) return true;
    return this.source.write(Buffer.from(chunk));
  }

  end(trailers?: HeaderFields): void {
    this.#trailers = trailers;
    if (!this.source.destroyed) this.source.end();
  }

  #sendTrailers(): void {
    const trailers = this.#trailers ?? [];
    // Without any, Node ends the stream with an empty frame of data.
    const fields = Object.create(null) as Record<string, string>;
    for (let index = 0; index + 1 < trailers.length; index += 2)
      fields[trailers[index] ?? ''] = trailers[index + 1] ?? '';
    try {
      this.source.sendTrailers(fields);
    } catch {
      // Fields that HTTP/2 has not: the client sees that the answer is not whole.
      this.destroy();
    }
  }

  destroy(): void {
    this.source.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
  }

  last(): void {
    // The session is drained as a whole.
  }

  takeOver(): Duplex | undefined {
    return undefined;
  }
}
