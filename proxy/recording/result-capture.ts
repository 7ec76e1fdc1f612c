import { createHash, type Hash } from 'node:crypto';

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
}

const IDLE_SHORT_BUFFERS = 1024;

const idle: Buffer[] = [];
/** Of `SHORT_BYTES`: as many responses as are under way at once begin with one, and most need no other. */
const idleShort: Buffer[] = [];

function release(buffer: Buffer): void {
  if (buffer.length === SHORT_BYTES) {
    if (idleShort.length < IDLE_SHORT_BUFFERS) idleShort.push(buffer);
  } else if (idle.length < IDLE_BUFFERS) idle.push(buffer);
}

/** @param member `request` for what a client sent */
export function createResultCapture(emit: EmitChunk, member: 'result' | 'request' = 'result'): ResultCapture {
  let limit = 0;
  let encoding = '';
  let encodingMember = '';
  let reading = '';
  let buffer: Buffer | undefined;
  let filled = 0;
  /** Bytes of the response that stand in chunks emitted so far. */
  let emitted = 0;
  let total = 0;
  /** Over everything that left the buffer. Made late: most responses fit one chunk and need none. */
  let hash: Hash | undefined;

  /** A buffer of a whole chunk, or the short one as long as that holds it all. */
  function roomFor(more: number): Buffer {
    if (buffer !== undefined && (buffer.length === CHUNK_BYTES || filled + more <= buffer.length)) return buffer;
    const before = buffer;
    if (before === undefined && more <= SHORT_BYTES) {
      buffer = idleShort.pop() ?? Buffer.allocUnsafeSlow(SHORT_BYTES);
      return buffer;
    }
    const made = idle.pop() ?? Buffer.allocUnsafeSlow(CHUNK_BYTES);
    if (before !== undefined) {
      before.copy(made, 0, 0, filled);
      release(before);
    }
    buffer = made;
    return made;
  }

  function copy(bytes: Buffer, start: number, end: number, drain: () => void): void {
    const held = roomFor(end - start);
    let at = start;
    while (at < end) {
      if (filled === CHUNK_BYTES) drain();
      const count = Math.min(end - at, CHUNK_BYTES - filled);
      bytes.copy(held, filled, at, at + count);
      filled += count;
      at += count;
    }
  }

  function digest(): void {
    if (buffer === undefined || filled === 0) return;
    hash ??= createHash('sha256');
    hash.update(buffer.subarray(0, filled));
  }

  function emitChunk(rest: string): void {
    const data = buffer?.toString('base64', 0, filled) ?? '';
    const known = emitted === 0 ? reading : '';
    emit(`${encodingMember},"offset":${emitted},"data":"${data}"${known}${rest}`);
    emitted += filled;
    filled = 0;
  }

  function whole(): string {
    if (buffer === undefined || total === 0) return '';
    const data = buffer.toString('base64', 0, filled);
    return `,"${member}":{${encodingMember.slice(1)},"offset":0,"data":"${data}"${reading},"bytes":${total}}`;
  }

  function drainKept(): void {
    digest();
    emitChunk('');
  }

  function drainExcess(): void {
    digest();
    filled = 0;
  }

  function takeExcess(bytes: Buffer, start: number, end: number): void {
    if (end - start < CHUNK_BYTES / 4) {
      copy(bytes, start, end, drainExcess);
      return;
    }
    drainExcess();
    hash ??= createHash('sha256');
    hash.update(bytes.subarray(start, end));
  }

  return {
    begin(newLimit, newEncoding, newReading = '') {
      limit = newLimit;
      if (newEncoding !== encoding) encodingMember = `,"encoding":${JSON.stringify(newEncoding)}`;
      encoding = newEncoding;
      reading = newReading;
      filled = 0;
      emitted = 0;
      total = 0;
      hash = undefined;
    },
    take(bytes, start, end) {
      if (end <= start) return;
      const before = total;
      total += end - start;
      if (before > limit) {
        takeExcess(bytes, start, end);
        return;
      }
      const split = Math.min(end, start + (limit - before));
      copy(bytes, start, split, drainKept);
      if (total <= limit) return;
      if (filled > 0) drainKept();
      takeExcess(bytes, split, end);
    },
    end() {
      let short = '';
      if (total > limit) {
        drainExcess();
        const sum = hash?.digest('hex') ?? '';
        emit(`${encodingMember},"bytes":${total},"recorded":${emitted},"sha256":"${sum}"`);
      } else if (emitted === 0 && filled === total && total <= SHORT_BYTES) {
        short = whole();
      } else if (total > 0) {
        emitChunk(`,"bytes":${total}`);
      }
      if (buffer !== undefined) release(buffer);
      buffer = undefined;
      return short;
    },
  };
}
