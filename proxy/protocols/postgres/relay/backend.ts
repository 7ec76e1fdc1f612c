import { writeCopy } from '../../../session/buffer-pool.ts';
import { laneError } from '../errors.ts';
import { ProtocolViolation } from '../wire/decode.ts';
import { B } from '../wire/messages.ts';
import { Carry } from './carry.ts';
import { append, sink, writeSink } from './client-sink.ts';
import { MaskDisagreement } from './masking.ts';
import { Results } from './results.ts';
import type { LaneSession } from './session-state.ts';

/** Length of a message without its type. @throws ProtocolViolation */
function lengthAt(bytes: Buffer, at: number): number {
  const length = ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
  if (length < 4 || length > 0x40000000) throw new ProtocolViolation('a message of impossible length');
  return length;
}

/**
 * From the server to the client. A header walk over whatever arrived: runs of messages that need nothing pass as they are, the
 * others are rewritten into one output buffer that all sessions of the process share.
 */
export class Backend {
  readonly #session: LaneSession;
  /** Start of a message that has not arrived whole. */
  readonly #carry = new Carry();
  /** Bytes of a streamed message that are still to come. */
  #streaming = 0;
  readonly #results: Results;

  constructor(session: LaneSession) {
    this.#session = session;
    this.#results = new Results(session);
  }

  feed(chunk: Buffer): void {
    const session = this.#session;
    if (session.ended) return;
    sink.length = 0;
    try {
      const passed = this.#walk(chunk);
      this.#write(chunk, passed);
      session.midMessage = this.#streaming > 0;
    } catch (error) {
      this.#broken(error);
    }
    if (session.replies.size === 0) session.settleEmptied();
  }

  #broken(error: unknown): void {
    const session = this.#session;
    if (error instanceof MaskDisagreement) {
      session.catalogs.invalidate();
      session.fail(laneError('SPG018', error.message));
    } else if (error instanceof Error) {
      session.fail(laneError('SPG017', error instanceof ProtocolViolation ? error.message : error.name));
    } else throw error;
  }

  /** Nothing was rewritten: the chunk goes out as it came. Otherwise what was gathered goes. */
  #write(chunk: Buffer, passed: readonly [number, number]): void {
    const { client, upstream } = this.#session;
    const [start, end] = passed;
    if (sink.length === 0) {
      if (end > start) writeCopy(client, chunk, start, end);
    } else {
      append(chunk, start, end);
      writeSink(client);
    }
    if (client.congested) upstream.pause();
  }

  /** Returns the last run of the chunk that passes unchanged and is not in the sink yet. */
  #walk(chunk: Buffer): readonly [number, number] {
    const results = this.#results;
    const n = chunk.length;
    let at = 0;
    let run = 0;
    if (this.#streaming > 0) {
      at = Math.min(this.#streaming, n);
      this.#streaming -= at;
      if (results.capturing) results.capture(chunk, 0, at);
      if (this.#streaming > 0) return [run, at];
    }
    if (this.#carry.length > 0) {
      const after = this.#finishCarried(chunk, at);
      if (after < 0) return [n, n];
      at = after;
      run = after;
    }
    while (n - at >= 5) {
      const type = chunk[at]!;
      const end = at + 1 + lengthAt(chunk, at + 1);
      const isRow = type === B.DataRow || type === B.CopyData;
      if (isRow) {
        const way = results.way(type);
        if (way === 'pass') {
          at = this.#pass(type, chunk, at);
          if (at <= n) continue;
          this.#streaming = at - n;
          return [run, n];
        }
        if (way === 'mask' && end <= n) {
          append(chunk, run, at);
          at = results.maskRun(chunk, at, n);
          run = at;
          continue;
        }
      }
      if (end > n) break;
      if (isRow) {
        append(chunk, run, at);
        results.row(type, chunk, at, end);
        run = end;
      } else if (results.message(type, chunk, at, end) === 'drop') {
        append(chunk, run, at);
        results.appendReplacement();
        run = end;
      }
      if (this.#session.ended) return [n, n];
      at = end;
    }
    if (at < n) this.#carry.keep(chunk, at, n);
    return [run, at];
  }

  /** Rows that nothing has to look at, from `start` on: counted and recorded. Returns where the last ends, which may be behind the chunk. */
  #pass(type: number, chunk: Buffer, start: number): number {
    const results = this.#results;
    const n = chunk.length;
    let at = start;
    let rows = 0;
    do {
      at += 1 + lengthAt(chunk, at + 1);
      rows++;
    } while (n - at >= 5 && chunk[at] === type);
    results.count(rows, at - start);
    if (results.capturing) results.capture(chunk, start, Math.min(at, n));
    return at;
  }

  /** Completes the message whose start was kept. Returns where the chunk goes on, or -1 when it ended before the message did. */
  #finishCarried(chunk: Buffer, from: number): number {
    const results = this.#results;
    let at = from;
    if (this.#carry.length < 5) {
      const take = Math.min(5 - this.#carry.length, chunk.length - at);
      this.#carry.keep(chunk, at, at + take);
      at += take;
      if (this.#carry.length < 5) return -1;
    }
    const head = this.#carry.bytes!;
    const type = head[0]!;
    const total = lengthAt(head, 1) + 1;
    if ((type === B.DataRow || type === B.CopyData) && results.way(type) === 'pass') {
      results.count(1, total);
      append(head, 0, this.#carry.length);
      if (results.capturing) results.capture(head, 0, this.#carry.length);
      const rest = total - this.#carry.length;
      const take = Math.min(rest, chunk.length - at);
      append(chunk, at, at + take);
      if (results.capturing) results.capture(chunk, at, at + take);
      this.#carry.drop(this.#carry.length);
      this.#streaming = rest - take;
      return this.#streaming > 0 ? -1 : at + take;
    }
    if (total > this.#session.ports.limits.maxMessageBytes) {
      this.#session.fail(laneError('SPG025', String(this.#session.ports.limits.maxMessageBytes)));
      return -1;
    }
    const take = Math.min(total - this.#carry.length, chunk.length - at);
    this.#carry.keep(chunk, at, at + take);
    at += take;
    if (this.#carry.length < total) return -1;
    const whole = this.#carry.bytes!;
    this.#carry.drop(this.#carry.length);
    if (type === B.DataRow || type === B.CopyData) results.row(type, whole, 0, total);
    else if (results.message(type, whole, 0, total) === 'pass') append(whole, 0, total);
    else results.appendReplacement();
    return this.#session.ended ? -1 : at;
  }
}
