import { hash } from 'node:crypto';
import { LINK_FROM_END, linkedLine } from './format.ts';
import { type NoteSigner, signNote } from './note.ts';

/**
 * Every line holds the hash of the line before it, so that no line can be changed, taken out or put in without all that follow
 * showing it. A few lines also hold a signed note over themselves: see docs/record.md.
 */

export interface StreamIdentity {
  readonly namespace: string;
  readonly name: string;
  /** Random, one per process. */
  readonly process: string;
}

/** What a stream is called in its notes, and what its first line follows. */
export function originOf({ namespace, name, process }: StreamIdentity): string {
  return `sallyport.dev/record/${namespace}/${name}/${process}`;
}

/** SHA-256 in base64url, 43 characters. @param line with its line feed */
export function linkOf(line: string | Uint8Array): string {
  return hash('sha256', line, 'base64url');
}

/** `prev` of a stream's first line. */
export function firstLink(origin: string): string {
  return linkOf(`${origin}\n`);
}

/** The text that a note signs: the three lines of a checkpoint (https://c2sp.org/tlog-checkpoint), with `n` for the size. */
export function checkpointText(origin: string, n: number, link: string): string {
  return `${origin}\n${n}\n${Buffer.from(link, 'base64url').toString('base64')}\n`;
}

/** A line that waits for its link: its body, or with its number when it is to be signed. */
export type PendingLine = string | { readonly n: number; readonly time: string; readonly body: string };

export interface WrittenCheckpoint {
  readonly n: number;
  readonly time: string;
  readonly note: string;
}

export interface Chain {
  /**
   * The lines as they will stand behind the last one written, in UTF-8. Asked for again before `written`, they are made anew.
   * @param into what is returned is a part of it where they fit
   */
  link(lines: readonly PendingLine[], into?: Buffer): Buffer;
  /**
   * The same for lines that stand in `bytes` already, one after another up to `end`, with room for their links, which are filled in.
   * @param starts where each of them begins; of them the first `count`
   */
  linkInPlace(bytes: Buffer, starts: readonly number[], count: number, end: number): void;
  /**
   * The first `count` of the lines linked last are in the file now, and `last` is the bytes of the last of them where these are not all.
   * Returns the checkpoints among them.
   */
  written(count: number, last?: Uint8Array): readonly WrittenCheckpoint[];
}

const NO_ROOM = Buffer.alloc(0);
/** Bytes that one UTF-16 unit takes at most in UTF-8. */
const MOST_OF_A_UNIT = 3;

function roomier(bytes: Buffer, filled: number, needed: number): Buffer {
  const made = Buffer.allocUnsafe(Math.max(needed, 2 * bytes.length));
  bytes.copy(made, 0, 0, filled);
  return made;
}

/** @param signer without it lines are linked and nothing is signed. @param last link of the last line that is in the file */
export function createChain(origin: string, signer: NoteSigner | undefined, last = firstLink(origin)): Chain {
  let linked = last;
  let next = last;
  let signed: { readonly index: number; readonly checkpoint: WrittenCheckpoint }[] = [];

  function signedLine(line: Exclude<PendingLine, string>, prev: string, index: number): string {
    if (signer === undefined) return linkedLine(line.body, prev);
    // The note is over this very line as it would stand without the note: it vouches for the line and for all before it.
    const note = signNote(checkpointText(origin, line.n, linkOf(linkedLine(line.body, prev))), signer);
    signed.push({ index, checkpoint: { n: line.n, time: line.time, note } });
    return linkedLine(`${line.body},"note":${JSON.stringify(note)}`, prev);
  }

  return {
    link(lines, into = NO_ROOM) {
      next = linked;
      if (signed.length > 0) signed = [];
      let bytes = into;
      let end = 0;
      for (let index = 0; index < lines.length; index++) {
        const line = lines[index] ?? '';
        const whole = typeof line === 'string' ? linkedLine(line, next) : signedLine(line, next, index);
        const most = end + whole.length * MOST_OF_A_UNIT;
        if (most > bytes.length) bytes = roomier(bytes, end, most);
        const start = end;
        // Encoded once: a digest of the text would encode it again.
        end += bytes.write(whole, start, 'utf8');
        next = linkOf(bytes.subarray(start, end));
      }
      return bytes.subarray(0, end);
    },
    linkInPlace(bytes, starts, count, end) {
      next = linked;
      if (signed.length > 0) signed = [];
      for (let index = 0; index < count; index++) {
        const start = starts[index]!;
        const stop = index + 1 < count ? starts[index + 1]! : end;
        bytes.write(next, stop - LINK_FROM_END, 'utf8');
        next = linkOf(bytes.subarray(start, stop));
      }
    },
    written(count, lastLine) {
      if (lastLine === undefined) linked = next;
      else if (count > 0) linked = linkOf(lastLine);
      if (signed.length === 0) return [];
      const written = signed.filter(({ index }) => index < count).map(({ checkpoint }) => checkpoint);
      signed = [];
      return written;
    },
  };
}
