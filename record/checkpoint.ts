import { checkpointText, linkOf } from './chain.ts';
import { type NoteVerifier, openNote } from './note.ts';

/** What a note in the record or among the anchors says: `n` and hash of a line of one stream. */
export interface CheckpointClaim {
  readonly origin: string;
  readonly n: number;
  /** Hash of the line without its note, base64url. */
  readonly link: string;
}

/** Undefined when the note is no checkpoint. Says nothing about the signature. */
export function claimOf(note: string): CheckpointClaim | undefined {
  const [, origin = '', n = '', hash = ''] =
    /^([^\n]+)\n(0|[1-9]\d{0,15})\n([A-Za-z0-9+/]{43}=)\n\n— /.exec(note) ?? [];
  if (origin === '') return undefined;
  return { origin, n: Number(n), link: Buffer.from(hash, 'base64').toString('base64url') };
}

export type CheckpointState = 'valid' | 'unknown key' | 'wrong' | 'unchecked';

/** @param verifiers none: `unchecked`, for whoever has no key */
export function checkSignature(note: string, verifiers: readonly NoteVerifier[]): CheckpointState {
  if (verifiers.length === 0) return 'unchecked';
  const { result } = openNote(note, verifiers);
  switch (result) {
    case 'valid':
      return 'valid';
    case 'unknown key':
      return 'unknown key';
    case 'wrong signature':
    case 'malformed':
      return 'wrong';
    default:
      return result satisfies never;
  }
}

/** `,"prev":"` and what is behind it to the end of the line, in bytes. */
const TAIL_BYTES = ',"prev":""}\n'.length + 43;
const MEMBER = ',"note":"';

/**
 * The note of a line whose text, from `,"note":"` on, is exactly what the writer makes of it, and whose note is over this very line: `origin`,
 * `n` and hash are right. `none`: no note. `wrong`: there is one, and it is over something else.
 * @param line with its line feed
 */
export function noteOfLine(line: Buffer, origin: string, n: number): { readonly note: string } | 'none' | 'wrong' {
  const text = line.toString('utf8');
  const start = text.lastIndexOf(MEMBER);
  if (start === -1) return 'none';
  const end = text.length - TAIL_BYTES;
  const raw = text.slice(start + MEMBER.length - 1, end);
  let note: unknown;
  try {
    note = JSON.parse(raw);
  } catch {
    return 'wrong';
  }
  if (typeof note !== 'string' || JSON.stringify(note) !== raw) return 'wrong';
  const expected = checkpointText(origin, n, linkOf(text.slice(0, start) + text.slice(end)));
  return note.startsWith(`${expected}\n— `) ? { note } : 'wrong';
}
