import { createInflate } from 'node:zlib';
import { HEADER_DICTIONARY } from './dictionary.ts';
import { SpdyError } from './frames.ts';

/** Header fields of a stream, names in lower case. */
export type SpdyHeaders = ReadonlyMap<string, string>;

/** What one header block may hold, whatever it is compressed to. */
const MOST_BYTES = 16 * 1024;
const MOST_FIELDS = 32;

/** Name and value pairs, each after its length in four bytes (SPDY/3, section 2.6.10). @throws SpdyError */
export function parseHeaders(block: Buffer): SpdyHeaders {
  let at = 0;
  const number = (): number => {
    if (at + 4 > block.length) throw new SpdyError('a header block that is cut short');
    const value = block.readUInt32BE(at);
    at += 4;
    return value;
  };
  const text = (): string => {
    const length = number();
    if (at + length > block.length) throw new SpdyError('a header block that is cut short');
    const value = block.toString('latin1', at, at + length);
    at += length;
    return value;
  };
  const count = number();
  if (count > MOST_FIELDS) throw new SpdyError(`${count} header fields`);
  const headers = new Map<string, string>();
  for (let index = 0; index < count; index++) {
    const name = text();
    if (name === '' || name !== name.toLowerCase()) throw new SpdyError('a header name that is not in lower case');
    if (headers.has(name)) throw new SpdyError(`the header ${name} twice`);
    headers.set(name, text());
  }
  if (at !== block.length) throw new SpdyError('a header block that goes on after its end');
  return headers;
}

function plainBlock(headers: SpdyHeaders): Buffer {
  const sized = (text: string): Buffer[] => {
    const bytes = Buffer.from(text, 'latin1');
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    return [length, bytes];
  };
  const count = Buffer.alloc(4);
  count.writeUInt32BE(headers.size);
  return Buffer.concat([count, ...[...headers].flatMap(([name, value]) => [...sized(name), ...sized(value)])]);
}

export interface HeaderReader {
  /** The next block, in the order of the connection. @throws SpdyError */
  read(block: Buffer): Promise<SpdyHeaders>;
  close(): void;
}

/** All header blocks of one direction are one zlib stream, with a flush after each. */
export function createHeaderReader(): HeaderReader {
  const inflate = createInflate({ dictionary: HEADER_DICTIONARY });
  let pieces: Buffer[] = [];
  let size = 0;
  let failure: Error | undefined;
  inflate.on('data', (piece: Buffer) => {
    size += piece.length;
    if (size > MOST_BYTES) inflate.destroy(new SpdyError('a header block that is too large'));
    else pieces.push(piece);
  });
  inflate.on('error', (error) => {
    failure ??=
      error instanceof SpdyError ? error : new SpdyError('header block that is not compressed as it should be');
  });
  return {
    async read(block) {
      await new Promise<void>((resolve) => {
        inflate.once('close', resolve);
        inflate.write(block, () => {
          inflate.off('close', resolve);
          resolve();
        });
      });
      if (failure !== undefined) throw failure;
      const plain = Buffer.concat(pieces);
      pieces = [];
      size = 0;
      return parseHeaders(plain);
    },
    close: () => void inflate.destroy(),
  };
}

/** CMF for deflate with a window of 32 KiB; FLG says that a dictionary was set (RFC 1950, section 2.2). */
const ZLIB_HEAD = Buffer.from([0x78, 0xbb]);
/** An empty stored block: what came before it can be read now (RFC 1951, section 3.2.4). */
const FLUSH = Buffer.from([0, 0, 0, 0xff, 0xff]);

/** RFC 1950, section 8.2. */
function adler32(bytes: Uint8Array): Buffer {
  let a = 1;
  let b = 0;
  for (const byte of bytes) {
    a = (a + byte) % 65_521;
    b = (b + a) % 65_521;
  }
  const sum = Buffer.alloc(4);
  sum.writeUInt16BE(b, 0);
  sum.writeUInt16BE(a, 2);
  return sum;
}

const DICTIONARY_ID = adler32(HEADER_DICTIONARY);

/** Writes header blocks as zlib streams that compress nothing: a handful of short fields is not worth a state and a wait. */
export function createHeaderWriter(): (headers: SpdyHeaders) => Buffer {
  let begun = false;
  return (headers) => {
    const plain = plainBlock(headers);
    const head = Buffer.alloc(5);
    head.writeUInt16LE(plain.length, 1);
    head.writeUInt16LE(0xffff ^ plain.length, 3);
    const start = begun ? [] : [ZLIB_HEAD, DICTIONARY_ID];
    begun = true;
    return Buffer.concat([...start, head, plain, FLUSH]);
  };
}
