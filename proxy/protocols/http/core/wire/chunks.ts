import { EXTENSIONS_PATTERN, TOKEN_PATTERN, VALUE_PATTERN } from '../field-syntax.ts';
import { MAX_HEAD_BYTES } from './request-head.ts';

/**
 * Reads a body in chunks (RFC 9112, section 7.1). Extensions and trailers are read and forgotten: no target needs them, and both have
 * been used to smuggle.
 */

/** Longest line with the size of a chunk, in bytes. */
const MAX_LINE_BYTES = 1024;
/** All extensions of one body, in bytes. */
const MAX_EXTENSIONS_BYTES = 16_384;
const MAX_TRAILERS_BYTES = MAX_HEAD_BYTES;
const LF = 0x0a;

/** A size of at most 48 bits, then extensions. */
const SIZE_LINE = new RegExp(`^([0-9A-Fa-f]{1,12})(${EXTENSIONS_PATTERN})\r\n$`);
const TRAILER = new RegExp(`^(${TOKEN_PATTERN}):${VALUE_PATTERN}\r\n$`);
/** Behind the body they would frame it anew. */
const FRAMING: ReadonlySet<string> = new Set(['content-length', 'transfer-encoding']);

/** What is not a body in chunks. */
export class BadChunk extends Error {
  override readonly name = 'BadChunk';
}

export class ChunkReader {
  /** The last chunk and its trailers have come. */
  ended = false;
  /** Bytes that are missing of the chunk, and of the line end behind it; 0: a line comes. */
  #left = 0;
  #inTrailers = false;
  #line = '';
  #extensions = 0;
  #trailers = 0;

  /**
   * @param data gets pieces of the content; they are views of `bytes`
   * @returns where it has stopped: the end of the bytes, or of the body
   * @throws BadChunk
   */
  read(bytes: Buffer, from: number, data: (piece: Buffer) => void): number {
    let at = from;
    while (at < bytes.length && !this.ended) {
      if (this.#left > 2) {
        const end = Math.min(bytes.length, at + this.#left - 2);
        data(bytes.subarray(at, end));
        this.#left -= end - at;
        at = end;
      } else if (this.#left > 0) {
        if (bytes[at] !== (this.#left === 2 ? 0x0d : LF)) throw new BadChunk('a chunk is longer than it says');
        this.#left--;
        at++;
      } else at = this.#readLine(bytes, at);
    }
    return at;
  }

  #readLine(bytes: Buffer, from: number): number {
    const found = bytes.indexOf(LF, from);
    const end = found === -1 ? bytes.length : found + 1;
    const limit = this.#inTrailers ? MAX_TRAILERS_BYTES - this.#trailers : MAX_LINE_BYTES;
    if (this.#line.length + end - from > limit) throw new BadChunk('a line between chunks is too long');
    this.#line += bytes.toString('latin1', from, end);
    if (found === -1) return end;
    const line = this.#line;
    this.#line = '';
    if (this.#inTrailers) this.#trailer(line);
    else this.#size(line);
    return end;
  }

  #size(line: string): void {
    const [, size, extensions = ''] = SIZE_LINE.exec(line) ?? [];
    if (size === undefined) throw new BadChunk('the size of a chunk');
    this.#extensions += extensions.length;
    if (this.#extensions > MAX_EXTENSIONS_BYTES) throw new BadChunk('extensions of chunks');
    const length = Number.parseInt(size, 16);
    if (length === 0) this.#inTrailers = true;
    else this.#left = length + 2;
  }

  #trailer(line: string): void {
    if (line === '\r\n') {
      this.ended = true;
      return;
    }
    this.#trailers += line.length;
    const [, name] = TRAILER.exec(line) ?? [];
    if (name === undefined || FRAMING.has(name.toLowerCase())) throw new BadChunk('a trailer');
  }
}
