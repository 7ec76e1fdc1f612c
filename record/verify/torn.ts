import type { Finding } from './finding.ts';
import { chainedLine } from './line.ts';

const BEGINNING = Buffer.from('{"v":1,"n":');
const LINE_FEED = Buffer.from('\n');

/**
 * What stands behind the last line feed of a file: the beginning of a line that is being written or was torn, or the zeros of a power cut. Anything
 * else was put there.
 */
export function tornProblem(file: string, line: number, bytes: Buffer): Finding | undefined {
  const length = Math.min(bytes.length, BEGINNING.length);
  const begins = bytes.subarray(0, length).equals(BEGINNING.subarray(0, length));
  if (!begins && bytes.some((byte) => byte !== 0)) return { problem: 'not-a-line', file, line };
  // A whole line and one byte more: its line feed was changed.
  const feedless = Buffer.concat([bytes.subarray(0, -1), LINE_FEED]);
  return chainedLine(file, line, feedless) === undefined ? undefined : { problem: 'altered', file, line };
}
