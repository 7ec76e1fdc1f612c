import { MAX_PACKET } from './constants.ts';
import { type FileErrorCode, FileProtocolError } from './errors.ts';

/** A length, and the byte that says what it is. */
const LEAST_PACKET = 5;

export interface FrameReader {
  /**
   * The packets that these bytes complete, each with its length field. They are views of `bytes` where they lie in it whole.
   * @throws FileProtocolError for a length that no packet may have, as soon as it is seen
   */
  push(bytes: Buffer): readonly Buffer[];
  /** Bytes of a packet whose rest has not come. */
  readonly waiting: number;
}

/** Cuts one direction of an SFTP stream into packets; keeps at most one packet. `code` names the side in errors. */
export function createFrameReader(code: FileErrorCode): FrameReader {
  /** A packet that has begun: first room for its length, then for all of it, so that small pieces take no more memory than large ones. */
  let begun: Buffer = Buffer.alloc(4);
  let held = 0;
  /** Length of the packet begun, with its length field; 0 while that is not known. */
  let wanted = 0;

  function lengthOf(bytes: Buffer, at: number): number {
    const length = bytes.readUInt32BE(at);
    if (length > MAX_PACKET) throw new FileProtocolError(code, `a packet of ${length} bytes`);
    if (length < LEAST_PACKET) throw new FileProtocolError(code, `a packet of ${length} bytes is too short`);
    return length + 4;
  }

  return {
    get waiting() {
      return held;
    },
    push(bytes) {
      const frames: Buffer[] = [];
      let at = 0;
      while (at < bytes.length) {
        if (held === 0) {
          // The common case: no copy.
          const room = bytes.length - at;
          if (room >= 4) {
            const length = lengthOf(bytes, at);
            if (room >= length) {
              frames.push(bytes.subarray(at, at + length));
              at += length;
              continue;
            }
            wanted = length;
          }
          begun = Buffer.allocUnsafeSlow(wanted === 0 ? 4 : wanted);
        }
        const count = bytes.copy(begun, held, at);
        held += count;
        at += count;
        if (held < begun.length) break;
        if (wanted === 0) {
          wanted = lengthOf(begun, 0);
          const length = begun;
          begun = Buffer.allocUnsafeSlow(wanted);
          length.copy(begun);
          continue;
        }
        frames.push(begun);
        held = 0;
        wanted = 0;
      }
      return frames;
    },
  };
}
