import { isUtf8 } from 'node:buffer';
import { wholeCharacters } from '../stream/text-runs.ts';

/** Whether a stream is UTF-8 (RFC 3629), wherever it is cut. */
export interface Utf8Check {
  /** False once it is not. */
  push(chunk: Buffer): boolean;
  /** False when it ends inside a character. */
  end(): boolean;
}

const NOTHING = Buffer.alloc(0);

function sequenceLength(first: number): number {
  return first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
}

export function createUtf8Check(): Utf8Check {
  /** The beginning of a character that the last chunk cut. */
  let cut: Buffer = NOTHING;
  return {
    push(chunk) {
      let from = 0;
      if (cut.length > 0) {
        from = Math.min(chunk.length, sequenceLength(cut[0]!) - cut.length);
        cut = Buffer.concat([cut, chunk.subarray(0, from)]);
        if (cut.length < sequenceLength(cut[0]!)) return true;
        if (!isUtf8(cut)) return false;
        cut = NOTHING;
      }
      const to = Math.max(from, wholeCharacters(chunk, from, chunk.length));
      if (to < chunk.length) cut = Buffer.from(chunk.subarray(to));
      return isUtf8(chunk.subarray(from, to));
    },
    end: () => cut.length === 0,
  };
}
