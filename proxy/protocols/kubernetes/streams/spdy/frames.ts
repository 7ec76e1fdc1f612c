/**
 * Frames of SPDY/3.1 on the wire, as Kubernetes' clients and kubelets speak it:
 * https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/, section 2.2 and 2.6. Pure: bytes in, frames out.
 */

/** A control frame; `block` is what its headers are compressed to. */
export type SpdyFrame =
  | { readonly type: 'SYN_STREAM'; readonly id: number; readonly fin: boolean; readonly block: Buffer }
  | { readonly type: 'SYN_REPLY'; readonly id: number; readonly fin: boolean; readonly block: Buffer }
  | { readonly type: 'HEADERS'; readonly id: number; readonly fin: boolean; readonly block: Buffer }
  | { readonly type: 'RST_STREAM'; readonly id: number; readonly status: number }
  | { readonly type: 'PING'; readonly id: number }
  | { readonly type: 'GOAWAY'; readonly last: number; readonly status: number }
  /** Of flow control, which none of the peers has: they stop reading instead. */
  | { readonly type: 'IGNORED' }
  /** A part of a DATA frame, as it came; `fin` with the last one. Valid until the reader is given more. */
  | { readonly type: 'DATA'; readonly id: number; readonly fin: boolean; readonly bytes: Buffer };

export class SpdyError extends Error {
  override readonly name = 'SpdyError';
}

const VERSION = 3;
const HEADER = 8;
const FIN = 1;
/** Streams here have three header fields; a process's arguments are in none of them. */
export const MOST_CONTROL_BYTES = 16 * 1024;
const STREAM_ID = 0x7fff_ffff;

const SYN_STREAM = 1;
const SYN_REPLY = 2;
const RST_STREAM = 3;
const SETTINGS = 4;
const PING = 6;
const GOAWAY = 7;
const HEADERS = 8;
const WINDOW_UPDATE = 9;

/** Least and most bytes of a control frame after its head. */
const LENGTHS: Readonly<Record<number, readonly [least: number, most: number]>> = {
  [SYN_STREAM]: [10, MOST_CONTROL_BYTES],
  [SYN_REPLY]: [4, MOST_CONTROL_BYTES],
  [RST_STREAM]: [8, 8],
  [SETTINGS]: [4, MOST_CONTROL_BYTES],
  [PING]: [4, 4],
  [GOAWAY]: [8, 8],
  [HEADERS]: [4, MOST_CONTROL_BYTES],
  [WINDOW_UPDATE]: [8, 8],
};

export interface SpdyReader {
  /** Frames that are whole now, and what is here of a DATA frame. @throws SpdyError */
  push(chunk: Buffer): Generator<SpdyFrame, void, undefined>;
}

/** Keeps at most one control frame in memory; DATA passes in the pieces in which it comes. */
export function createSpdyReader(): SpdyReader {
  let kept: Buffer = Buffer.alloc(0);
  /** The DATA frame of which `left` bytes are still to come. */
  let data: { readonly id: number; readonly fin: boolean; left: number } | undefined;

  return {
    *push(chunk) {
      let bytes = kept.length === 0 ? chunk : Buffer.concat([kept, chunk]);
      kept = Buffer.alloc(0);
      while (bytes.length > 0) {
        if (data !== undefined) {
          const piece = bytes.subarray(0, data.left);
          bytes = bytes.subarray(piece.length);
          data.left -= piece.length;
          const { id, fin, left } = data;
          if (left === 0) data = undefined;
          yield { type: 'DATA', id, fin: fin && left === 0, bytes: piece };
          continue;
        }
        if (bytes.length < HEADER) break;
        const flags = bytes.readUInt8(4);
        const length = bytes.readUIntBE(5, 3);
        if ((bytes.readUInt8(0) & 0x80) === 0) {
          const id = bytes.readUInt32BE(0);
          if (id === 0) throw new SpdyError('data of stream 0');
          bytes = bytes.subarray(HEADER);
          const fin = (flags & FIN) !== 0;
          if (length === 0) yield { type: 'DATA', id, fin, bytes: bytes.subarray(0, 0) };
          else data = { id, fin, left: length };
          continue;
        }
        const type = bytes.readUInt16BE(2);
        checkControl(bytes.readUInt16BE(0) & 0x7fff, type, length);
        if (bytes.length < HEADER + length) break;
        const body = bytes.subarray(HEADER, HEADER + length);
        bytes = bytes.subarray(HEADER + length);
        yield controlFrame(type, flags, body);
      }
      // A copy: the chunk may be used again.
      kept = Buffer.from(bytes);
    },
  };
}

function checkControl(version: number, type: number, length: number): void {
  if (version !== VERSION) throw new SpdyError(`version ${version}`);
  const [least, most] = LENGTHS[type] ?? [0, -1];
  if (most < 0) throw new SpdyError(`a control frame of type ${type}`);
  if (length < least || length > most) throw new SpdyError(`a control frame of type ${type} with ${length} bytes`);
}

function controlFrame(type: number, flags: number, body: Buffer): SpdyFrame {
  const first = body.readUInt32BE(0);
  const id = first & STREAM_ID;
  const fin = (flags & FIN) !== 0;
  const ofStream = (): number => {
    if (id === 0) throw new SpdyError(`a control frame of type ${type} for stream 0`);
    return id;
  };
  switch (type) {
    case SYN_STREAM:
      // Stream that it belongs to (4), priority (1), slot of a certificate (1): used by nobody here.
      return { type: 'SYN_STREAM', id: ofStream(), fin, block: Buffer.from(body.subarray(10)) };
    case SYN_REPLY:
      return { type: 'SYN_REPLY', id: ofStream(), fin, block: Buffer.from(body.subarray(4)) };
    case HEADERS:
      return { type: 'HEADERS', id: ofStream(), fin, block: Buffer.from(body.subarray(4)) };
    case RST_STREAM:
      return { type: 'RST_STREAM', id: ofStream(), status: body.readUInt32BE(4) };
    case PING:
      return { type: 'PING', id: first };
    case GOAWAY:
      return { type: 'GOAWAY', last: id, status: body.readUInt32BE(4) };
    default:
      return { type: 'IGNORED' };
  }
}

/** Status of RST_STREAM, section 2.6.3. */
export const RST_REFUSED_STREAM = 3;
export const RST_CANCEL = 5;

function control(type: number, flags: number, body: Buffer): Buffer {
  const head = Buffer.alloc(HEADER);
  head.writeUInt16BE(0x8000 | VERSION, 0);
  head.writeUInt16BE(type, 2);
  head.writeUInt8(flags, 4);
  head.writeUIntBE(body.length, 5, 3);
  return Buffer.concat([head, body]);
}

function words(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => {
    bytes.writeUInt32BE(value, 4 * index);
  });
  return bytes;
}

export function synStream(id: number, block: Buffer): Buffer {
  return control(SYN_STREAM, 0, Buffer.concat([words(id, 0), Buffer.alloc(2), block]));
}

export function synReply(id: number, block: Buffer): Buffer {
  return control(SYN_REPLY, 0, Buffer.concat([words(id), block]));
}

export const rstStream = (id: number, status: number): Buffer => control(RST_STREAM, 0, words(id, status));
export const ping = (id: number): Buffer => control(PING, 0, words(id));
/** @param last the last stream of the peer that was served */
export const goAway = (last: number): Buffer => control(GOAWAY, 0, words(last, 0));

/** At most 16 MiB at a time (section 2.2.2). */
export function dataFrame(id: number, bytes: Uint8Array, fin: boolean): Buffer {
  const head = Buffer.alloc(HEADER);
  head.writeUInt32BE(id, 0);
  head.writeUInt8(fin ? FIN : 0, 4);
  head.writeUIntBE(bytes.length, 5, 3);
  return Buffer.concat([head, bytes]);
}
