import { createHash } from 'node:crypto';
import { parseEvent, type RecordedEvent } from '../../record/format.ts';
import type { SegmentName } from '../../record/segment.ts';

/**
 * Whether lines continue a stream: their numbers, and the hash of the line before where a line names it. Nothing that is found keeps the
 * lines out, since they are the evidence; it is reported.
 */
export interface Predecessor {
  /** Number of the segment in which it stands. */
  readonly segment: number;
  /** Without its line feed. */
  readonly line: string;
}

export type FindingKind =
  /** Numbers or segments are missing. */
  | 'gap'
  /** A number came again, or a line does not follow from the one before it. */
  | 'rewrite'
  /** Bytes that differ from those that the archive has. Not kept. */
  | 'conflict'
  /** A line that is no event. */
  | 'damaged';

export interface Finding {
  readonly kind: FindingKind;
  /** Byte of the segment. */
  readonly offset: number;
  readonly message: string;
}

/** Of one batch: a file of rubbish is said to be one, not line by line. */
const MAX_FINDINGS = 100;

const linkOf = (line: Buffer): string => createHash('sha256').update(line).digest('base64url');

/**
 * What is wrong with how the lines follow what is there.
 * @param before the line before them; undefined when the stream is new
 * @param lines whole lines, at least one @param offset where they begin in their segment
 */
export function continuityFindings(
  before: Predecessor | undefined,
  segment: SegmentName,
  lines: Buffer,
  offset: number,
): Finding[] {
  const findings: Finding[] = [];
  let n = before === undefined ? (segment.number === 1 ? 0 : undefined) : parseEvent(before.line)?.n;
  let link = before === undefined ? undefined : linkOf(Buffer.from(`${before.line}\n`, 'utf8'));
  const missing = segment.number - (before?.segment ?? 0) - 1;
  if (missing > 0) {
    const message = `${missing} segment(s) before segment ${segment.number} are missing`;
    findings.push({ kind: 'gap', offset, message });
    // What came in them is not known, so neither is what follows from them.
    link = undefined;
    n = undefined;
  }
  for (let start = 0; start < lines.length; ) {
    const stop = lines.indexOf(0x0a, start) + 1;
    const line = lines.subarray(start, stop);
    const at = offset + start;
    start = stop;
    const event = parseEvent(line.toString('utf8', 0, line.length - 1));
    if (event === undefined) findings.push({ kind: 'damaged', offset: at, message: 'a line is no event' });
    else {
      const finding = findingOf(event, n, link, at);
      if (finding !== undefined) findings.push(finding);
      n = event.n;
    }
    link = linkOf(line);
    if (findings.length >= MAX_FINDINGS) break;
  }
  return findings;
}

function findingOf(
  event: RecordedEvent,
  n: number | undefined,
  link: string | undefined,
  offset: number,
): Finding | undefined {
  // The head of a segment takes no number: it names the last one given out.
  const expected = n === undefined ? undefined : event.e === 'segment.start' ? n : n + 1;
  if (expected !== undefined && event.n > expected) {
    const missing = event.n - expected;
    return { kind: 'gap', offset, message: `${missing} event(s) before number ${event.n} are missing` };
  }
  if (expected !== undefined && event.n < expected) {
    return { kind: 'rewrite', offset, message: `number ${event.n} came after number ${n ?? 0}` };
  }
  if (typeof event['prev'] === 'string' && link !== undefined && event['prev'] !== link) {
    return { kind: 'rewrite', offset, message: `number ${event.n} does not follow from the line before it` };
  }
  return undefined;
}
