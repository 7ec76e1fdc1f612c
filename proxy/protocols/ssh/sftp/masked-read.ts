import type { TextMasker } from '../../../masking/stream/port.ts';
import { dataOf, type StatusAnswer, statusOf } from './answers.ts';
import * as n from './constants.ts';

/** Contents as they are shown, or why there are none. */
export type MaskedPart = { readonly data: Buffer } | { readonly status: StatusAnswer };

/**
 * A file whose contents are searched and masked while they are read. The server is read from the start and in order, whatever the client
 * asks for: so no value can be cut apart by asking for its pieces, and the n-th byte is the same byte for everybody at any time.
 */
export interface MaskedRead {
  /** @throws the reason of a session that is over */
  read(offset: bigint, length: number): Promise<MaskedPart>;
}

/** Most of one answer that is asked of the server: what every server gives. */
const STEP = 32 * 1024;
/** Steps that are asked for at once. */
const AHEAD = 4;
/** What was shown already and is kept, for clients that ask for a part again. */
const KEPT = 512 * 1024;
/** Beginning anew for a client that goes back further; a file is not read over and over for one that reads it backwards. */
const MAX_REWINDS = 8;

export interface MaskedSource {
  /** The server's answer to a READ. */
  fetch(offset: bigint, length: number): Promise<Buffer>;
  masker(): TextMasker;
  readonly kept?: number;
}

export function createMaskedRead({ fetch, masker: create, kept = KEPT }: MaskedSource): MaskedRead {
  let masker = create();
  let rewinds = 0;
  let source = 0n;
  let ended: StatusAnswer | undefined;
  /** What is shown from `start` on, in pieces. */
  let pieces: Buffer[] = [];
  let start = 0n;
  let end = 0n;

  function rewind(): void {
    rewinds++;
    masker = create();
    source = 0n;
    ended = undefined;
    pieces = [];
    start = 0n;
    end = 0n;
  }

  function show(shown: readonly Buffer[]): void {
    for (const piece of shown) {
      if (piece.length === 0) continue;
      pieces.push(piece);
      end += BigInt(piece.length);
    }
  }

  /** Forgets what lies further back than anybody reads. */
  function trim(offset: bigint): void {
    const least = (offset < end ? offset : end) - BigInt(kept);
    let drop = 0;
    for (const piece of pieces) {
      if (start + BigInt(piece.length) > least) break;
      start += BigInt(piece.length);
      drop++;
    }
    if (drop > 0) pieces = pieces.slice(drop);
  }

  /** The masker shows nothing of what follows: what it says is for the client. */
  function refused(): boolean {
    if (masker.failure === undefined) return false;
    ended = { code: n.FX_FAILURE, message: masker.failure.message };
    return true;
  }

  async function advance(): Promise<void> {
    const asked = Array.from({ length: AHEAD }, (_, i) => fetch(source + BigInt(i * STEP), STEP));
    for (const answer of await Promise.all(asked)) {
      if (answer[4] === n.STATUS) {
        ended = statusOf(answer);
        // Only at the end of the file is what was kept back known to be whole; of one that cannot be read on it is not shown.
        if (ended.code === n.FX_EOF) show(masker.end());
        refused();
        return;
      }
      const data = dataOf(answer);
      show(masker.push(data));
      if (refused()) return;
      source += BigInt(data.length);
      // What was asked for beyond a short answer does not join it.
      if (data.length < STEP) return;
    }
  }

  function part(offset: bigint, length: number): Buffer {
    let at = start;
    let wanted = length;
    const parts: Buffer[] = [];
    for (const piece of pieces) {
      const next = at + BigInt(piece.length);
      if (next > offset && wanted > 0) {
        const from = at < offset ? Number(offset - at) : 0;
        const taken = piece.subarray(from, from + wanted);
        parts.push(taken);
        wanted -= taken.length;
      }
      at = next;
    }
    return Buffer.concat(parts);
  }

  return {
    async read(offset, length) {
      if (offset < start) {
        if (rewinds >= MAX_REWINDS)
          return {
            status: {
              code: n.FX_FAILURE,
              message: 'a file whose contents are masked is read from its start to its end',
            },
          };
        rewind();
      }
      while (ended === undefined && end < offset + BigInt(length)) {
        await advance();
        trim(offset);
      }
      const data = part(offset, length);
      if (data.length > 0) return { data };
      return { status: ended ?? { code: n.FX_EOF, message: 'End of file' } };
    },
  };
}
