import { createHash, type Hash } from 'node:crypto';
import type { LineWriter } from '../../record/line-writer.ts';

/** Bytes of one `result.chunk` event before base64: bounds what a response of any size holds in memory. */
const CHUNK_BYTES = 64 * 1024;
const IDLE_BUFFERS = 16;
/** Up to this length a response goes with the outcome of its command. */
const SHORT_BYTES = 4096;

/** Takes the members of one `result.chunk` or `request.chunk`, after the session and sequence number, beginning with a comma. */
export type EmitChunk = (members: string) => void;

/**
 * What came back, after masking, for the record: up to `maxResponseBytes` of one response word for word, and once there is more,
 * the length and SHA-256 of all of it. One object per session, used for one response after another.
 */
export interface ResultCapture {
  /**
   * @param limit `audit.maxResponseBytes`. @param encoding what the bytes are, such as `postgres-messages+base64`
   * @param reading further members of the first chunk, beginning with a comma: what a reader needs to read the bytes
   */
  begin(limit: number, encoding: string, reading?: string): void;
  /** Takes bytes[start, end). They are copied or hashed before it returns. */
  take(bytes: Buffer, start: number, end: number): void;
  /**
   * Ends the response. One that is short and whole is returned, as the member `result` (or `request`) of the event that says how its command ended,
   * beginning with a comma: a line for itself would cost more than it holds. What is left of others is emitted.
   */
  end(): string;
  /** As `end`, for an event that is written in pieces: true when the response is short and whole, and is to be written by `write`. */
  finish(): boolean;
  /** Writes what `end` would have returned, right after `finish` returned true. */
  write(line: LineWriter): void;
}

const IDLE_SHORT_BUFFERS = 1024;
const NOTHING: Buffer = Buffer.alloc(0);

const idle: Buffer[] = [];
/** Of `SHORT_BYTES`: as many responses as are under way at once begin with one, and most need no other. */
const idleShort: Buffer[] = [];

function release(buffer: Buffer): void {
  if (buffer.length === SHORT_BYTES) {
    if (idleShort.length < IDLE_SHORT_BUFFERS) idleShort.push(buffer);
  } else if (idle.length < IDLE_BUFFERS) idle.push(buffer);
}

/** @param member `request` for what a client sent */
export const createResultCapture = (emit: EmitChunk, member: 'result' | 'request' = 'result'): ResultCapture =>
  new Capture(emit, member);

/** A class for the sake of speed: over HTTP there is one for each answer. */
class Capture implements ResultCapture {
  readonly #emit: EmitChunk;
  readonly #member: 'result' | 'request';
  #limit = 0;
  #encoding = '';
  #encodingMember = '';
  #shortHead: Buffer = NOTHING;
  #reading = '';
  /** In UTF-8: a command that runs again has the same. */
  #readingBytes: Buffer | undefined;
  #buffer: Buffer | undefined;
  #filled = 0;
  /** Bytes of the response that stand in chunks emitted so far. */
  #emitted = 0;
  #total = 0;
  /** Over everything that left the buffer. Made late: most responses fit one chunk and need none. */
  #hash: Hash | undefined;

  constructor(emit: EmitChunk, member: 'result' | 'request') {
    this.#emit = emit;
    this.#member = member;
  }

  begin(limit: number, encoding: string, reading = ''): void {
    this.#limit = limit;
    if (encoding !== this.#encoding) {
      this.#encoding = encoding;
      this.#encodingMember = encodingMember(encoding);
      this.#shortHead = shortHead(this.#member, encoding);
    }
    if (reading !== this.#reading) {
      this.#reading = reading;
      this.#readingBytes = undefined;
    }
    this.#filled = 0;
    this.#emitted = 0;
    this.#total = 0;
    this.#hash = undefined;
  }

  take(bytes: Buffer, start: number, end: number): void {
    if (end <= start) return;
    const before = this.#total;
    this.#total += end - start;
    if (before > this.#limit) {
      this.#takeExcess(bytes, start, end);
      return;
    }
    const split = Math.min(end, start + (this.#limit - before));
    this.#copy(bytes, start, split, true);
    if (this.#total <= this.#limit) return;
    if (this.#filled > 0) this.#drain(true);
    this.#takeExcess(bytes, split, end);
  }

  end(): string {
    if (!this.finish()) return '';
    const short = this.#whole();
    this.#release();
    return short;
  }

  write(line: LineWriter): void {
    line.copy(this.#shortHead);
    line.base64(this.#buffer ?? NOTHING, 0, this.#filled);
    line.copy(QUOTE);
    if (this.#reading !== '') {
      this.#readingBytes ??= Buffer.from(this.#reading);
      line.copy(this.#readingBytes);
    }
    line.copy(BYTES);
    line.integer(this.#total);
    line.copy(BRACE);
    this.#release();
  }

  finish(): boolean {
    const total = this.#total;
    if (total > this.#limit) {
      this.#drain(false);
      const sum = this.#hash?.digest('hex') ?? '';
      this.#emit(`${this.#encodingMember},"bytes":${total},"recorded":${this.#emitted},"sha256":"${sum}"`);
    } else if (this.#emitted === 0 && this.#filled === total && total <= SHORT_BYTES) {
      if (total > 0) return true;
    } else if (total > 0) {
      this.#emitChunk(`,"bytes":${total}`);
    }
    this.#release();
    return false;
  }

  #release(): void {
    if (this.#buffer !== undefined) release(this.#buffer);
    this.#buffer = undefined;
  }

  /** A buffer of a whole chunk, or the short one as long as that holds it all. */
  #roomFor(more: number): Buffer {
    const before = this.#buffer;
    if (before !== undefined && (before.length === CHUNK_BYTES || this.#filled + more <= before.length)) return before;
    if (before === undefined && more <= SHORT_BYTES) {
      const short = idleShort.pop() ?? Buffer.allocUnsafeSlow(SHORT_BYTES);
      this.#buffer = short;
      return short;
    }
    const made = idle.pop() ?? Buffer.allocUnsafeSlow(CHUNK_BYTES);
    if (before !== undefined) {
      before.copy(made, 0, 0, this.#filled);
      release(before);
    }
    this.#buffer = made;
    return made;
  }

  /** @param kept in the record, and not only in the digest */
  #copy(bytes: Buffer, start: number, end: number, kept: boolean): void {
    const held = this.#roomFor(end - start);
    let at = start;
    while (at < end) {
      if (this.#filled === CHUNK_BYTES) this.#drain(kept);
      const count = Math.min(end - at, CHUNK_BYTES - this.#filled);
      bytes.copy(held, this.#filled, at, at + count);
      this.#filled += count;
      at += count;
    }
  }

  #drain(kept: boolean): void {
    if (this.#buffer !== undefined && this.#filled > 0) {
      this.#hash ??= createHash('sha256');
      this.#hash.update(this.#buffer.subarray(0, this.#filled));
    }
    if (kept) this.#emitChunk('');
    else this.#filled = 0;
  }

  #emitChunk(rest: string): void {
    const data = this.#buffer?.toString('base64', 0, this.#filled) ?? '';
    const known = this.#emitted === 0 ? this.#reading : '';
    this.#emit(`${this.#encodingMember},"offset":${this.#emitted},"data":"${data}"${known}${rest}`);
    this.#emitted += this.#filled;
    this.#filled = 0;
  }

  #whole(): string {
    const data = (this.#buffer ?? NOTHING).toString('base64', 0, this.#filled);
    const encoding = this.#encodingMember.slice(1);
    return `,"${this.#member}":{${encoding},"offset":0,"data":"${data}"${this.#reading},"bytes":${this.#total}}`;
  }

  #takeExcess(bytes: Buffer, start: number, end: number): void {
    if (end - start < CHUNK_BYTES / 4) {
      this.#copy(bytes, start, end, false);
      return;
    }
    this.#drain(false);
    this.#hash ??= createHash('sha256');
    this.#hash.update(bytes.subarray(start, end));
  }
}

const QUOTE = Buffer.from('"');
const BYTES = Buffer.from(',"bytes":');
const BRACE = Buffer.from('}');

/** Of a short response, up to its data. */
const shortHeads = new Map<string, Buffer>();

function shortHead(member: string, encoding: string): Buffer {
  const key = `${member} ${encoding}`;
  let head = shortHeads.get(key);
  if (head === undefined) {
    head = Buffer.from(`,"${member}":{${encodingMember(encoding).slice(1)},"offset":0,"data":"`);
    shortHeads.set(key, head);
  }
  return head;
}

/** There are few encodings. */
const encodingMembers = new Map<string, string>();

function encodingMember(encoding: string): string {
  const known = encodingMembers.get(encoding);
  if (known !== undefined) return known;
  const made = `,"encoding":${JSON.stringify(encoding)}`;
  encodingMembers.set(encoding, made);
  return made;
}
