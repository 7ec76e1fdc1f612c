import { EXTENSIONS_PATTERN } from '../field-syntax.ts';
import type { HeaderFields } from '../port.ts';
import { TargetFailure } from './failure.ts';
import { Framing, type KnownLines, REMEMBERED_LENGTH, readFields, readTrailers } from './fields.ts';

/**
 * Reads answers of HTTP/1.0 and HTTP/1.1 (RFC 9112) out of what a connection brings, piece by piece, strictly and with bounded memory.
 * Bodies are handed on where they lie. After a failure the connection is of no more use.
 */

/** Longest head, in bytes. */
const MAX_HEAD_BYTES = 65_536;
const MAX_TRAILER_BYTES = 16_384;
/** Of all chunks of a body together. */
const MAX_EXTENSION_BYTES = 16_384;
/** Heads of 1xx before the final one. */
const MAX_INTERIM = 32;
/** Digits of the size of a chunk, in hexadecimal. */
const MAX_SIZE_DIGITS = 12;

const IDLE = 0;
const HEAD = 1;
const BODY = 2;
const UNTIL_CLOSE = 3;
const SIZE = 4;
const EXTENSION = 5;
const SIZE_LF = 6;
const CHUNK = 7;
const CHUNK_CR = 8;
const CHUNK_LF = 9;
const TRAILERS = 10;
const DONE = 11;
const UPGRADED = 12;

/** Where in a line the bytes of a head or of trailers stand. */
const IN_LINE = 0;
const AFTER_CR = 1;
const LINE_START = 2;
const BEFORE_END = 3;

const CR = 13;
const LF = 10;
const SEMICOLON = 59;
const END_OF_HEAD = Buffer.from('\r\n\r\n');
const START = 'HTTP/1.';
const STATUS_LINE = /^HTTP\/1\.[01] [1-9]\d\d(?: [\t\x20-\x7e\x80-\xff]*)?$/;
const EXTENSIONS = new RegExp(`^${EXTENSIONS_PATTERN}$`);
const ZERO = 48;
const NONE: HeaderFields = [];

export interface AnswerSink {
  onHead(status: number, fields: HeaderFields): void;
  /** Valid during the call only. */
  onData(chunk: Buffer): void;
}

/** A class for the sake of speed: one for each connection. */
export class AnswerParser {
  /** Of an answer that is done. */
  trailers: HeaderFields = NONE;
  /** Of an answer that asked for an upgrade and was agreed to. */
  fields: HeaderFields = NONE;
  /** Something of the answer has come. */
  began = false;
  /** The final head has come. */
  headed = false;
  #state = IDLE;
  #sink: AnswerSink | undefined;
  #toHead = false;
  #upgrade = false;
  readonly #framing = new Framing();
  /** With its CRLF: the last one that was found to be right. */
  #statusLine = '';
  readonly #known: KnownLines = [];
  #lastHead = '';
  #lastFields: HeaderFields = NONE;
  #status = 0;
  #version10 = false;
  #reusable = false;
  /** Bytes of the body, or of the chunk, that are to come. */
  #left = 0;
  #digits = 0;
  #extension = 0;
  /** Of the chunk whose line is being read. */
  #extensions = '';
  #interim = 0;
  #held: Buffer | undefined;
  #heldLength = 0;
  #line = IN_LINE;

  /** @param toHead the request was HEAD: its answer has no body. @param upgrade the request asked for one */
  begin(sink: AnswerSink, toHead: boolean, upgrade: boolean): void {
    this.#sink = sink;
    this.#toHead = toHead;
    this.#upgrade = upgrade;
    this.#state = HEAD;
    this.#interim = 0;
    this.#extension = 0;
    this.began = false;
    this.headed = false;
    this.trailers = NONE;
  }

  get done(): boolean {
    return this.#state === DONE;
  }

  get upgraded(): boolean {
    return this.#state === UPGRADED;
  }

  /** Of an answer that is done: the connection may carry another request. */
  get reusable(): boolean {
    return this.#reusable;
  }

  /** How long it stays open without one, in milliseconds; -1: the target does not say. */
  get keepMs(): number {
    return this.#framing.keepMs;
  }

  /** Nothing is told any more. */
  stop(): void {
    this.#state = IDLE;
    this.#sink = undefined;
    this.#held = undefined;
    this.#heldLength = 0;
  }

  /**
   * @returns how much of it belongs to the answer: the rest was not looked at, and is nobody's unless the connection was upgraded
   * @throws TargetFailure
   */
  feed(chunk: Buffer): number {
    const { length } = chunk;
    if (length > 0) this.began = true;
    let at = 0;
    while (at < length) {
      switch (this.#state) {
        case HEAD:
          at = this.#head(chunk, at);
          break;
        case BODY:
        case CHUNK:
          at = this.#body(chunk, at);
          break;
        case UNTIL_CLOSE:
          this.#sink?.onData(at === 0 ? chunk : chunk.subarray(at));
          return length;
        case SIZE:
          this.#size(chunk[at++] as number);
          break;
        case EXTENSION:
          this.#extend(chunk[at++] as number);
          break;
        case SIZE_LF:
          this.#expect(chunk[at++], LF);
          if (this.#left > 0) this.#state = CHUNK;
          else {
            this.#state = TRAILERS;
            this.#line = LINE_START;
          }
          break;
        case CHUNK_CR:
          this.#expect(chunk[at++], CR);
          this.#state = CHUNK_LF;
          break;
        case CHUNK_LF:
          this.#expect(chunk[at++], LF);
          this.#nextChunk();
          break;
        case TRAILERS:
          at = this.#trailers(chunk, at);
          break;
        default:
          return at;
      }
    }
    return at;
  }

  /** The connection has ended. @returns whether the answer has, by that */
  finish(): boolean {
    if (this.#state !== UNTIL_CLOSE) return false;
    this.#reusable = false;
    this.#state = DONE;
    return true;
  }

  /** Almost always a head comes in one read. */
  #head(chunk: Buffer, at: number): number {
    if (this.#heldLength === 0) {
      const end = chunk.indexOf(END_OF_HEAD, at);
      if (end >= 0 && end + END_OF_HEAD.length - at <= MAX_HEAD_BYTES) {
        this.#readHead(chunk.toString('latin1', at, end + 2));
        return end + END_OF_HEAD.length;
      }
      this.#line = IN_LINE;
    }
    const end = this.#hold(chunk, at, MAX_HEAD_BYTES);
    const held = this.#held as Buffer;
    const begins = Math.min(this.#heldLength, START.length);
    if (held.toString('latin1', 0, begins) !== START.slice(0, begins))
      throw new TargetFailure('malformed', 'it does not begin as HTTP/1.1 does');
    if (end < 0) return chunk.length;
    const text = held.toString('latin1', 0, this.#heldLength - 2);
    this.#heldLength = 0;
    this.#held = undefined;
    this.#readHead(text);
    return end;
  }

  /**
   * Keeps lines until the empty one, which is kept too.
   * @returns where in the chunk they end; -1: not yet
   */
  #hold(chunk: Buffer, from: number, limit: number): number {
    let line = this.#line;
    let at = from;
    for (; at < chunk.length; ) {
      const byte = chunk[at++] as number;
      if (line === AFTER_CR || line === BEFORE_END) {
        if (byte !== LF) throw new TargetFailure('malformed', 'a CR without LF');
        if (line === BEFORE_END) {
          this.#keep(chunk, from, at, limit);
          return at;
        }
        line = LINE_START;
      } else if (byte === CR) line = line === LINE_START ? BEFORE_END : AFTER_CR;
      else if (byte === LF) throw new TargetFailure('malformed', 'an LF without CR');
      else line = IN_LINE;
    }
    this.#line = line;
    this.#keep(chunk, from, at, limit);
    return -1;
  }

  #keep(chunk: Buffer, from: number, to: number, limit: number): void {
    const length = this.#heldLength + to - from;
    if (length > limit) throw new TargetFailure('malformed', 'its head is too large');
    if (this.#held === undefined || this.#held.length < length) {
      const grown = Buffer.allocUnsafe(Math.min(limit, Math.max(2 * length, 1024)));
      this.#held?.copy(grown, 0, 0, this.#heldLength);
      this.#held = grown;
    }
    chunk.copy(this.#held, this.#heldLength, from, to);
    this.#heldLength = length;
  }

  /** @param text without the empty line */
  #readHead(text: string): void {
    // Who asks for the same again is told the same, with a date that changes once in a second.
    if (text !== this.#lastHead) {
      this.#lastHead = '';
      this.#lastFields = this.#readAnew(text);
      if (text.length <= REMEMBERED_LENGTH) this.#lastHead = text;
    }
    const status = this.#status;
    const fields = this.#lastFields;
    const framing = this.#framing;
    if (status < 200) this.#interimHead(status, fields);
    else {
      this.headed = true;
      this.#frame(status, framing);
      this.#sink?.onHead(status, fields);
    }
  }

  #readAnew(text: string): HeaderFields {
    if (this.#statusLine === '' || !text.startsWith(this.#statusLine)) this.#readStatus(text);
    const framing = this.#framing;
    framing.reset();
    const fields = readFields(text, this.#statusLine.length, framing, this.#known);
    if (framing.chunked && (framing.length !== -1 || this.#version10))
      throw new TargetFailure('malformed', 'its length is said in two ways');
    return fields;
  }

  /** `HTTP/1.1 200 OK`; a reason, and the space before it, may be missing. */
  #readStatus(text: string): void {
    const end = text.indexOf('\r\n');
    const line = text.slice(0, end);
    if (!STATUS_LINE.test(line)) throw new TargetFailure('malformed', 'its status line');
    this.#statusLine = text.slice(0, end + 2);
    this.#version10 = line.charCodeAt(7) === ZERO;
    this.#status = (line.charCodeAt(9) - ZERO) * 100 + (line.charCodeAt(10) - ZERO) * 10 + line.charCodeAt(11) - ZERO;
  }

  #interimHead(status: number, fields: HeaderFields): void {
    if (status === 101) {
      // A target that upgrades unasked would have its bytes taken for something else.
      if (!this.#upgrade || this.#version10) throw new TargetFailure('malformed', 'an upgrade that nobody asked for');
      this.headed = true;
      this.fields = fields;
      this.#state = UPGRADED;
      return;
    }
    // HTTP/1.0 knows none of them, and behind the last head of a connection nothing can come (RFC 9110, section 15.2).
    if (this.#version10 || this.#framing.close)
      throw new TargetFailure('malformed', 'a head before the final one that has nothing behind it');
    if (++this.#interim > MAX_INTERIM) throw new TargetFailure('malformed', 'too many heads before the final one');
    this.#sink?.onHead(status, fields);
  }

  /** How the body ends (RFC 9112, section 6.3). */
  #frame(status: number, framing: Framing): void {
    const bare = status === 204 || status === 304;
    this.#reusable = !framing.close && (!this.#version10 || framing.keep);
    if (this.#toHead || bare) {
      // A target may send a body all the same, where it must not: one that comes late would be the answer to the next request.
      if (this.#toHead || framing.chunked || framing.length > 0) this.#reusable = false;
      this.#state = DONE;
    } else if (framing.chunked) this.#nextChunk();
    else if (framing.length === 0) this.#state = DONE;
    else if (framing.length > 0) {
      this.#left = framing.length;
      this.#state = BODY;
    } else {
      this.#reusable = false;
      this.#state = UNTIL_CLOSE;
    }
  }

  #body(chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + this.#left);
    this.#left -= end - at;
    if (this.#left === 0) this.#state = this.#state === BODY ? DONE : CHUNK_CR;
    this.#sink?.onData(at === 0 && end === chunk.length ? chunk : chunk.subarray(at, end));
    return end;
  }

  #nextChunk(): void {
    this.#state = SIZE;
    this.#left = 0;
    this.#digits = 0;
  }

  #size(byte: number): void {
    const digit = hexDigit(byte);
    if (digit >= 0) {
      if (++this.#digits > MAX_SIZE_DIGITS) throw new TargetFailure('malformed', 'the size of a chunk');
      this.#left = this.#left * 16 + digit;
    } else if (this.#digits > 0 && byte === CR) this.#state = SIZE_LF;
    else if (this.#digits > 0 && byte === SEMICOLON) {
      this.#extensions = ';';
      this.#state = EXTENSION;
    } else throw new TargetFailure('malformed', 'the size of a chunk');
  }

  #extend(byte: number): void {
    if (byte !== CR) {
      if (++this.#extension > MAX_EXTENSION_BYTES) throw new TargetFailure('malformed', 'the extension of a chunk');
      this.#extensions += String.fromCharCode(byte);
      return;
    }
    if (!EXTENSIONS.test(this.#extensions)) throw new TargetFailure('malformed', 'the extension of a chunk');
    this.#state = SIZE_LF;
  }

  #expect(byte: number | undefined, expected: number): void {
    if (byte !== expected) throw new TargetFailure('malformed', 'the end of a line of a chunk');
  }

  #trailers(chunk: Buffer, at: number): number {
    const end = this.#hold(chunk, at, MAX_TRAILER_BYTES);
    if (end < 0) return chunk.length;
    const text = (this.#held as Buffer).toString('latin1', 0, this.#heldLength - 2);
    this.#heldLength = 0;
    this.#held = undefined;
    this.trailers = text === '' ? NONE : readTrailers(text);
    this.#state = DONE;
    return end;
  }
}

function hexDigit(byte: number): number {
  if (byte >= ZERO && byte <= ZERO + 9) return byte - ZERO;
  const lower = byte | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}
