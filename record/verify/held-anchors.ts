import { type Anchor, type AnchorFile, readAnchors } from '../anchors.ts';
import { checkSignature } from '../checkpoint.ts';
import type { NoteVerifier } from '../note.ts';
import type { Finding } from './finding.ts';
import type { ChainedLine } from './line.ts';
import { found } from './links.ts';

/** More than one block of the record can hold lines: filled before each block, the anchors never run dry within one. */
const AHEAD = 8192;

/** Holds a stream to what was anchored of it, while its lines are read. A few thousand anchors are in memory. */
export interface HeldAnchors {
  /** To be called before each block. Anchors up to number `floor` are of lines that are not there to be held to them. */
  fill(floor: number): Promise<void>;
  /** A line with `note`, if it has one. */
  hold(line: ChainedLine, note: string | undefined): Finding | undefined;
  /** There are no more lines: the first anchor that none of them met. */
  rest(floor: number): Promise<Anchor | undefined>;
  close(): Promise<void>;
  /** Anchors that a line of the stream met. */
  readonly met: number;
  /** Lines among the anchors that are none, and anchors that contradict the record and are signed by nobody who was given. */
  readonly unusable: number;
}

export function createHeldAnchors(file: AnchorFile | undefined, verifiers: readonly NoteVerifier[]): HeldAnchors {
  let met = 0;
  let unusable = 0;
  let waiting: Anchor[] = [];
  let at = 0;
  const source =
    file === undefined
      ? undefined
      : readAnchors(file, () => {
          unusable++;
        });
  let ended = source === undefined;

  async function fill(floor: number): Promise<void> {
    while ((waiting[at]?.n ?? Number.POSITIVE_INFINITY) <= floor) at++;
    if (ended || waiting.length - at >= AHEAD) return;
    waiting = waiting.slice(at);
    at = 0;
    while (source !== undefined && waiting.length < 2 * AHEAD) {
      const { value, done } = await source.next();
      if (done === true) {
        ended = true;
        return;
      }
      if (value.n > floor) waiting.push(value);
    }
  }

  /** Signatures are checked only here: an anchor that agrees with the record needs none of its own. */
  function isTrusted({ note }: Anchor): boolean {
    const state = checkSignature(note, verifiers);
    if (state === 'valid' || state === 'unchecked') return true;
    unusable++;
    return false;
  }

  return {
    fill,
    hold(line, note) {
      // The head of a segment has the number of the line before it.
      if (line.event === 'segment.start') return undefined;
      for (let anchor = waiting[at]; anchor !== undefined && anchor.n <= line.n; anchor = waiting[at]) {
        at++;
        if (anchor.n === line.n && note !== undefined && textOf(note) === textOf(anchor.note)) met++;
        else if (isTrusted(anchor)) return found('rewritten', line, `n=${anchor.n} was anchored otherwise`);
      }
      return undefined;
    },
    async rest(floor) {
      for (;;) {
        await fill(floor);
        const anchor = waiting[at++];
        if (anchor === undefined || isTrusted(anchor)) return anchor;
      }
    },
    async close() {
      await source?.return(undefined);
    },
    get met() {
      return met;
    },
    get unusable() {
      return unusable;
    },
  };
}

/** What is signed. */
function textOf(note: string): string {
  return note.slice(0, note.lastIndexOf('\n\n'));
}
