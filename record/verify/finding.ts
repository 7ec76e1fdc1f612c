/** What `verify` finds wrong. The names are stable: scripts compare them. */
export const PROBLEMS = {
  'not-a-line': 'it is not a line of the record',
  altered: 'its bytes were changed: the line after it, or a signature, vouches for others',
  'out-of-place': 'it does not follow the line before it: lines were taken out, put in or moved',
  inserted: 'it was put in: the line after it follows the one before it',
  head: 'it is not the head of this segment',
  'segment-missing': 'the segment before it is missing, and no event says that it was removed',
  'stream-missing': 'a stream was anchored that is not in the record, and no event says that it was removed',
  'segment-replayed': 'it is a copy of another segment, or stands where another one belongs',
  signature: 'its signature is wrong',
  'unknown-key': 'it is signed by a key that was not given',
  unsigned: 'a stream ends with a signature, and this line has none',
  'behind-the-end': 'it stands behind the end of its stream',
  cut: 'the stream goes on behind it: a later checkpoint was anchored',
  rewritten: 'the stream was written anew: another line was anchored here',
  'session-without-end': 'this session has no end, and its stream has',
  'removed-damaged': 'the segment that was removed here had been damaged before',
} as const satisfies Record<string, string>;

export type Problem = keyof typeof PROBLEMS;

export interface Finding {
  readonly problem: Problem;
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** Number of the line in its stream, as far as it has one. */
  readonly n?: number;
  /** What about it in particular. */
  readonly detail?: string;
}
