import { ProtocolViolation } from '../wire/decode.ts';

/** Cuts a stream of bytes into protocol messages. */

export interface Piece {
  readonly type: number;
  /** The whole message with its head; of a streamed type, whatever of it has come. */
  readonly bytes: Buffer;
}

export interface Splitter {
  /** Calls `take` for each piece, in order. Views of `chunk`: valid as long as that is. @throws ProtocolViolation */
  feed(chunk: Buffer, take: (piece: Piece) => void): void;
}

const HEAD = 5;
const MAX_LENGTH = 0x40000000;

/** @param streamed types whose messages are passed on as they come, since they may be larger than is kept */
export function createSplitter(streamed: ReadonlySet<number>): Splitter {
  let carry: Buffer = Buffer.alloc(0);
  let streaming = 0;
  let streamType = 0;

  return {
    feed(chunk, take) {
      const bytes = carry.length === 0 ? chunk : Buffer.concat([carry, chunk]);
      carry = Buffer.alloc(0);
      let at = 0;
      while (at < bytes.length) {
        if (streaming > 0) {
          const end = Math.min(at + streaming, bytes.length);
          streaming -= end - at;
          take({ type: streamType, bytes: bytes.subarray(at, end) });
          at = end;
          continue;
        }
        if (bytes.length - at < HEAD) break;
        const type = bytes[at]!;
        const length = bytes.readUInt32BE(at + 1);
        if (length < 4 || length > MAX_LENGTH) throw new ProtocolViolation('a message of impossible length');
        const end = at + 1 + length;
        if (end > bytes.length) {
          if (!streamed.has(type)) break;
          streaming = end - at;
          streamType = type;
          continue;
        }
        take({ type, bytes: bytes.subarray(at, end) });
        at = end;
      }
      if (at < bytes.length) carry = Buffer.from(bytes.subarray(at));
    },
  };
}
