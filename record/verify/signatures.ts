import { checkSignature, noteOfLine } from '../checkpoint.ts';
import { closesSegment } from '../format.ts';
import type { NoteVerifier } from '../note.ts';
import type { Finding } from './finding.ts';
import type { ChainedLine } from './line.ts';
import { found } from './links.ts';

/** The notes in a stream's lines. */
export interface Signatures {
  /** Takes a line that follows the one before it. `note`: what it carries. */
  take(line: ChainedLine): { readonly note?: string; readonly finding?: Finding };
  /** Checks the last note that was taken: it vouches for everything before it. */
  last(): Finding | undefined;
  /** What is to be said of the last line of all, which no other one follows. */
  end(line: ChainedLine): Finding | undefined;
  /** What a line's own note says of it. `silent`: it has none, or one that cannot be checked. */
  selfCheck(line: ChainedLine): 'right' | 'wrong' | 'silent';
  readonly count: number;
  /** Lines behind the last note. */
  readonly unsigned: number;
}

export interface SignaturesOptions {
  readonly origin: string;
  /** None: what a note is over is checked, its signature is not. */
  readonly verifiers: readonly NoteVerifier[];
  /** Every signature is checked when it is taken, and not only those at the end of segments. */
  readonly every: boolean;
}

export function createSignatures({ origin, verifiers, every }: SignaturesOptions): Signatures {
  let lastNote: { readonly line: ChainedLine; readonly note: string } | undefined;
  let count = 0;
  let unsigned = 0;

  function last(): Finding | undefined {
    if (lastNote === undefined) return undefined;
    const { line, note } = lastNote;
    const state = checkSignature(note, verifiers);
    switch (state) {
      case 'valid':
      case 'unchecked':
        return undefined;
      case 'wrong':
        return found('signature', line);
      case 'unknown key':
        return found('unknown-key', line, note.trimEnd().split('\n').at(-1)?.split(' ')[1]);
      default:
        return state satisfies never;
    }
  }

  return {
    last,
    end(line) {
      // The name of its event was changed: the end of a stream does not look like one then, but for its note.
      const hidden =
        !carriesNote(line.event) && line.bytes.includes(`,"note":${JSON.stringify(`${origin}\n`).slice(0, -1)}`);
      return hidden ? found('altered', line, 'no event of this name is signed') : last();
    },
    take(line) {
      unsigned++;
      if (!carriesNote(line.event)) return {};
      const signed = noteOfLine(line.bytes, origin, line.n);
      if (signed === 'wrong') return { finding: found('altered', line, 'its signature is over something else') };
      if (signed === 'none') {
        if (line.event === 'recorder.checkpoint') return { finding: found('altered', line, 'its signature is gone') };
        return verifiers.length > 0 ? { finding: found('unsigned', line) } : {};
      }
      lastNote = { line, note: signed.note };
      count++;
      unsigned = 0;
      const finding = every || closesSegment(line.event) ? last() : undefined;
      return { note: signed.note, ...(finding === undefined ? {} : { finding }) };
    },
    selfCheck(line) {
      const signed = carriesNote(line.event) ? noteOfLine(line.bytes, origin, line.n) : 'none';
      if (signed === 'none') return 'silent';
      if (signed === 'wrong') return 'wrong';
      const state = checkSignature(signed.note, verifiers);
      if (state === 'wrong') return 'wrong';
      return state === 'unknown key' ? 'silent' : 'right';
    },
    get count() {
      return count;
    },
    get unsigned() {
      return unsigned;
    },
  };
}

function carriesNote(event: string): boolean {
  return event === 'recorder.checkpoint' || closesSegment(event);
}
