import type { Duplex } from 'node:stream';
import type { Wire } from '../../../../listener/wire.ts';
import { type HttpReport, httpError } from '../errors.ts';
import { BadChunk } from './chunks.ts';
import { Http1Body } from './h1-body.ts';
import { Http1Incoming } from './h1-incoming.ts';
import type { Incoming } from './incoming.ts';
import { CHUNKED, type FieldsBlock, MAX_HEAD_BYTES, readHead } from './request-head.ts';
import { wireStream } from './stream.ts';

/** HTTP/1.0 and HTTP/1.1 from clients, read straight from a wire: one request at a time, and what comes behind it waits. */

export interface Http1Options {
  /** From the first byte of a request to the end of its head, in milliseconds. */
  readonly headTimeoutMs: number;
  readonly request: (incoming: Incoming) => void;
  /** What cannot be read as HTTP, or did not come in time. @returns the answer, as bytes; undefined: there is none */
  readonly malformed: (report: HttpReport) => Buffer | undefined;
  readonly closed: () => void;
}

export interface Http1Transport {
  /** Closes the connection when nothing is under way, and otherwise after that. */
  drain(): void;
  /** Closes it when the client has not taken an answer for too long. @param now milliseconds since 1970 */
  sweep(now: number): void;
  destroy(): void;
}

/** What a client does not take of an answer that is whole, in milliseconds. */
const UNTAKEN_MS = 120_000;
/** Bytes behind the request under way that are taken in before the client has to wait. */
const MAX_HELD_BYTES = 49_152;
/** Requests among them: who sends more has not waited for a single answer. */
const MAX_WAITING = 64;
/** What a client may still send when its connection is over, so that it can read why; in bytes, and milliseconds. */
const MAX_LATE_BYTES = 1_048_576;
const LINGER_MS = 2000;
const LF = 0x0a;

/** Serves a paused wire of which these bytes were read already. */
export function serveHttp1(wire: Wire, first: Buffer, options: Http1Options): Http1Transport {
  const connection = new Http1Connection(wire, options);
  connection.start(first);
  return connection;
}

/** A class for the sake of speed: reads find their state without closures. */
class Http1Connection implements Http1Transport {
  readonly wire: Wire;
  readonly #options: Http1Options;
  #current: Http1Incoming | undefined;
  /** Of the request before. */
  #block: FieldsBlock | undefined;
  /** A part of a head, or what came behind the request under way. */
  #held: Buffer | undefined;
  #paused = true;
  /** The answer has ended, but not all of it is with the kernel. */
  #flushing = false;
  /** Since when. */
  #flushingSince = 0;
  #closing = false;
  #late = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(wire: Wire, options: Http1Options) {
    this.wire = wire;
    this.#options = options;
  }

  start(first: Buffer): void {
    const { wire } = this;
    wire.onBytes = (chunk) => this.#read(chunk);
    wire.onEnd = () => this.#left();
    wire.onDrain = () => this.#drained();
    wire.socket.once('close', () => this.#closed());
    this.#paused = false;
    if (first.length > 0) this.#read(first);
    // What came first may have been enough to stop reading.
    if (!this.#paused) wire.resume();
  }

  #read(chunk: Buffer): void {
    if (this.#closing) {
      this.#late += chunk.length;
      if (this.#late > MAX_LATE_BYTES) this.wire.destroy();
      return;
    }
    const body = this.#current?.body;
    if (this.#current === undefined) this.#readHead(chunk);
    else if (body === undefined || body.received) this.#hold(chunk, 0);
    else this.#readBody(body, chunk);
  }

  #readHead(chunk: Buffer): void {
    if (this.#held === undefined) {
      this.#parse(chunk);
      return;
    }
    const bytes = Buffer.concat([this.#held, chunk]);
    this.#held = bytes;
    // Nothing is known of a line before it has ended.
    if (bytes.length < MAX_HEAD_BYTES && !chunk.includes(LF)) return;
    this.#parse(bytes);
  }

  /** @param bytes from the beginning of a request; `#held`, or of a read */
  #parse(bytes: Buffer): void {
    const owned = this.#held === bytes;
    const head = readHead(bytes, 0, this.#block);
    if (head === undefined) {
      if (!owned) this.#held = Buffer.from(bytes);
      this.#timer ??= setTimeout(() => this.#slow(), this.#options.headTimeoutMs).unref();
      return;
    }
    this.#held = undefined;
    this.#clearTimer();
    if ('code' in head) {
      this.#refuse(head);
      return;
    }
    const { block } = head;
    this.#block = block;
    const body = block.bodyLength === 0 ? undefined : new Http1Body(block.bodyLength, this);
    let end = head.end;
    try {
      if (body !== undefined) end = body.take(bytes, end);
    } catch (error) {
      if (!(error instanceof BadChunk)) throw error;
      this.#refuse(httpError('SPE001', error.message));
      return;
    }
    const incoming = new Http1Incoming(this, head, body);
    this.#current = incoming;
    if (end < bytes.length && !this.#hold(bytes, end, owned)) return;
    // Nothing of a body is read ahead of who wants it.
    if (body?.received === false) this.pause();
    this.#options.request(incoming);
  }

  #slow(): void {
    this.#timer = undefined;
    this.#refuse(httpError('SPE005', this.#options.headTimeoutMs / 1000));
  }

  #readBody(body: Http1Body, chunk: Buffer): void {
    let end: number;
    try {
      end = body.take(chunk, 0);
    } catch (error) {
      if (!(error instanceof BadChunk)) throw error;
      // Whoever has begun with the request hears that it broke off.
      this.wire.destroy();
      return;
    }
    if (end < chunk.length && !this.#hold(chunk, end)) return;
    if (body.received) this.#next();
  }

  /** Keeps what came behind the request under way. False: it is too much, and the connection is closed. */
  #hold(bytes: Buffer, from: number, owned = false): boolean {
    const rest = bytes.subarray(from);
    if (this.#held !== undefined) this.#held = Buffer.concat([this.#held, rest]);
    else this.#held = owned ? rest : Buffer.from(rest);
    if (this.#held.length <= MAX_HELD_BYTES) return true;
    this.pause();
    if (waitingIn(this.#held) <= MAX_WAITING) return true;
    this.wire.destroy();
    return false;
  }

  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.wire.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.wire.resume();
  }

  /** Called within `end` of an answer. */
  answered(): void {
    this.#flushing = this.wire.congested;
    if (this.#flushing) this.#flushingSince = Date.now();
    else this.#finish();
  }

  #drained(): void {
    if (!this.#flushing) {
      this.#current?.onDrain();
      return;
    }
    this.#flushing = false;
    this.#finish();
  }

  #finish(): void {
    // A write that has failed closes the connection, which tells of it.
    if (this.wire.socket.destroyed) return;
    this.#current?.closed(true);
    this.#next();
  }

  /** Once answer and body are over, the next request has its turn. */
  #next(): void {
    const current = this.#current;
    if (current === undefined || !current.ended || this.#flushing) {
      if (current !== undefined) this.#readOn();
      return;
    }
    if (!current.keepAlive) this.#close();
    else if (current.body === undefined || current.body.received) {
      this.#current = undefined;
      if (this.#held === undefined) this.resume();
      else process.nextTick(() => this.#following());
    }
  }

  #following(): void {
    const bytes = this.#held;
    if (bytes === undefined || this.#current !== undefined || this.#closing || this.wire.closed) return;
    this.#parse(bytes);
    this.#readOn();
  }

  /** Reads, so that the end of a client is heard of, unless its body or what waits behind it says when. */
  #readOn(): void {
    const bodyComes = this.#current?.body?.received === false;
    if (!bodyComes && (this.#held?.length ?? 0) <= MAX_HELD_BYTES) this.resume();
  }

  #refuse(report: HttpReport): void {
    this.#current = undefined;
    this.#held = undefined;
    const answer = this.#options.malformed(report);
    if (answer === undefined) {
      this.wire.destroy();
      return;
    }
    this.wire.write(answer);
    this.#close();
  }

  /** Nothing is read as a request any more; what was written goes out. */
  #close(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#held = undefined;
    this.#clearTimer();
    this.wire.end();
    this.resume();
    this.#timer = setTimeout(() => this.wire.destroy(), LINGER_MS).unref();
  }

  #clearTimer(): void {
    if (this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** The client has finished sending: one that waits for its answer has left, as nothing else tells of it. */
  #left(): void {
    if (this.#closing || this.#flushing) return;
    if (this.#current !== undefined) this.wire.destroy();
    else if (this.#held !== undefined) this.#refuse(httpError('SPE001', 'it ends before its head does'));
    else this.#close();
  }

  #closed(): void {
    this.#clearTimer();
    this.#options.closed();
    this.#current?.body?.fail(new Error('the client closed the connection'));
    this.#current?.closed(false);
  }

  takeOver(): Duplex {
    const held = this.#held;
    this.#held = undefined;
    const stream = wireStream(this.wire);
    if (held !== undefined) stream.unshift(held);
    return stream;
  }

  drain(): void {
    if (this.#current === undefined) this.#close();
    else this.#current.last();
  }

  sweep(now: number): void {
    if (!this.#flushing || now - this.#flushingSince <= UNTAKEN_MS) return;
    // What it does not take would stay with the kernel.
    if (this.wire.encrypted) this.wire.destroy();
    else this.wire.socket.resetAndDestroy();
  }

  destroy(): void {
    this.wire.destroy();
  }
}

/** How many requests stand in these bytes, at least; no more are counted than matter. */
function waitingIn(bytes: Buffer): number {
  let count = 0;
  let at = 0;
  let known: FieldsBlock | undefined;
  while (at < bytes.length && count <= MAX_WAITING) {
    const head = readHead(bytes, at, known);
    if (head === undefined || 'code' in head) return count;
    count++;
    known = head.block;
    if (known.bodyLength === CHUNKED || known.upgrade) return count;
    at = head.end + known.bodyLength;
  }
  return count;
}
