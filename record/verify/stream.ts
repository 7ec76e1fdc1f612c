import type { AnchorFile } from '../anchors.ts';
import { firstLink, originOf, type StreamIdentity } from '../chain.ts';
import { readBlocks } from '../lines.ts';
import type { NoteVerifier } from '../note.ts';
import { isMissing } from '../segment.ts';
import type { Finding } from './finding.ts';
import { headProblem } from './head.ts';
import { createHeldAnchors } from './held-anchors.ts';
import { type ChainedLine, chainedLine, membersOf } from './line.ts';
import { createLinks, found } from './links.ts';
import { createVerifiedSessions } from './open-sessions.ts';
import { parseRemoved, type Removals, type RemovedSegment } from './removals.ts';
import { createSignatures } from './signatures.ts';
import type { TargetSegment } from './targets.ts';
import { tornProblem } from './torn.ts';

export interface StreamContext {
  /** None: links are checked, signatures are not. */
  readonly verifiers: readonly NoteVerifier[];
  readonly removals: Removals;
  readonly anchors: AnchorFile | undefined;
  /** The record is whole: a stream begins with its first segment, or with one behind those that were removed. */
  readonly whole: boolean;
  readonly signal?: AbortSignal;
  /** Called with the number of bytes read since the last call. */
  readonly onBytes: (count: number) => void;
}

export interface StreamReport extends StreamIdentity {
  /** `closed`: it ended. `open`: it may go on, or its process died and nothing has said so yet. */
  readonly state: 'closed' | 'open' | 'bad';
  readonly finding?: Finding;
  readonly segments: number;
  /** Segments of it that retention removed. */
  readonly removedSegments: number;
  readonly lines: number;
  readonly bytes: number;
  /** Number and time of the last line that was read. */
  readonly lastN: number;
  readonly lastTime: string;
  readonly checkpoints: number;
  /** Lines behind the last signature: whoever may write to the disk could have changed or cut them. */
  readonly unsignedLines: number;
  /** Checkpoints among the anchors that the stream was held to, and lines there that are of no use. */
  readonly anchors: number;
  readonly unusableAnchors: number;
  /** What is no fault and worth knowing. */
  readonly remarks: readonly string[];
  /** Removals that it tells of. */
  readonly removals: readonly RemovedSegment[];
}

/** A line longer than this is none: the writer makes them a fraction of it. */
const MAX_LINE_BYTES = 256 << 20;

/**
 * Verifies one stream. A signature vouches for all that stands before it, so that only those at the end of segments and the last one of the stream
 * have to be checked; when one of them is wrong, all are, to find the first. @throws the system's error
 */
export async function verifyStream(segments: readonly TargetSegment[], context: StreamContext): Promise<StreamReport> {
  const report = await walk(segments, context, false);
  const problem = report.finding?.problem;
  return problem === 'signature' || problem === 'unknown-key' ? walk(segments, context, true) : report;
}

async function walk(
  segments: readonly TargetSegment[],
  context: StreamContext,
  everySignature: boolean,
): Promise<StreamReport> {
  const { verifiers, removals } = context;
  const [{ namespace, name, process } = { namespace: '', name: '', process: '' }] = segments;
  const identity: StreamIdentity = { namespace, name, process };
  const origin = originOf(identity);
  const signatures = createSignatures({ origin, verifiers, every: everySignature });
  const links = createLinks({ firstPrev: firstLink(origin), selfCheck: signatures.selfCheck });
  const anchors = createHeldAnchors(context.anchors, verifiers);
  const sessions = createVerifiedSessions();
  const remarks: string[] = [];
  const told: RemovedSegment[] = [];
  let [seen, removed, lines, bytes] = [0, 0, 0, 0];
  let last: ChainedLine | undefined;
  let ended = false;
  /** Number of the segment that was read or passed over last. */
  let number = 0;
  /** Lines up to this number are not there. */
  let floor = 0;

  /** A line that follows the one before it: what is to be said of it besides. */
  function take(line: ChainedLine): Finding | undefined {
    if (ended) return found('behind-the-end', line);
    lines++;
    last = line;
    const { note, finding } = signatures.take(line);
    const problem = finding ?? anchors.hold(line, note);
    if (problem !== undefined) return problem;
    if (DECODED.has(line.event)) {
      const members = membersOf(line);
      if (members === undefined) return found('altered', line);
      sessions.enter(line, members);
      const removal = line.event === 'segment.removed' ? parseRemoved(members) : undefined;
      if (removal?.intact === false) return found('removed-damaged', line, removal.file);
      if (removal !== undefined) told.push(removal);
    }
    ended = line.event === 'recorder.stop' || line.event === 'recorder.recovered';
    return ended ? sessions.left() : undefined;
  }

  /** Goes over segments that retention removed, each linked to the one before it. False: one of them was not. */
  function passRemoved(next: number): boolean {
    for (let prev = last?.link ?? firstLink(origin); number + 1 < next; number++) {
      const removal = removals.of(identity, number + 1);
      if (removal?.follows !== prev) return false;
      prev = removal.hash;
      floor = removal.last;
      removed++;
      links.continueAt(removal.last, removal.hash);
    }
    return true;
  }

  /** The first line of a segment: whether it is the one that comes next. */
  function begin(line: ChainedLine, segment: TargetSegment): Finding | undefined {
    if (segment.number === number) return found('segment-replayed', line, `segment ${number} is there twice`);
    if (removals.of(identity, segment.number) !== undefined) {
      remarks.push(`${segment.file} is still there, although an event says that it was removed`);
    }
    if (segment.number > number + 1) {
      if (!passRemoved(segment.number)) {
        if (context.whole || seen > 0) return found('segment-missing', line, `segment ${number + 1}`);
        remarks.push(`begins with segment ${segment.number}: what was before it was not given`);
        links.continueAt(undefined, undefined);
      }
      sessions.startAt(line);
    }
    number = segment.number;
    return undefined;
  }

  function follow(line: ChainedLine, segment: TargetSegment): Finding | undefined {
    const problem = headProblem(line, segment) ?? (line.line === 1 ? begin(line, segment) : undefined);
    if (problem !== undefined) return links.verdict(true) ?? problem;
    return links.follow(line) ? take(line) : links.verdict(false);
  }

  async function readSegment(segment: TargetSegment): Promise<Finding | undefined> {
    let lineNumber = 0;
    for await (const block of readBlocks(segment.path, options)) {
      if (lineNumber === 0 && segment.number > number + 1) {
        const head = chainedLine(segment.path, 1, block.bytes.subarray(0, block.bytes.indexOf(0x0a) + 1));
        floor = head?.n ?? floor;
      }
      await anchors.fill(floor);
      bytes += block.bytes.length;
      context.onBytes(block.bytes.length);
      if (!block.whole) return behindLastLine(segment, lineNumber + 1, block.bytes);
      for (let start = 0, end = 0; start < block.bytes.length; start = end) {
        end = block.bytes.indexOf(0x0a, start) + 1;
        const line = chainedLine(segment.path, ++lineNumber, block.bytes.subarray(start, end));
        const problem =
          line === undefined
            ? (links.verdict(true) ?? { problem: 'not-a-line', file: segment.path, line: lineNumber })
            : follow(line, segment);
        if (problem !== undefined) return problem;
      }
    }
    if (lineNumber > 0) seen++;
    return undefined;
  }

  /** Bytes behind the last line feed. A segment that was given up, its disk being broken, may end with a torn line; one that was closed may not. */
  function behindLastLine(segment: TargetSegment, line: number, torn: Buffer): Finding | undefined {
    seen++;
    const closed = ended || (last?.event === 'segment.end' && last.file === segment.path);
    if (closed) return { problem: 'behind-the-end', file: segment.path, line };
    const problem = links.verdict(true) ?? tornProblem(segment.path, line, torn);
    if (problem === undefined)
      remarks.push(`${segment.file} ends with ${torn.length} bytes of a line that is not whole`);
    return problem;
  }

  async function readAll(): Promise<Finding | undefined> {
    for (const segment of segments) {
      try {
        const problem = await readSegment(segment);
        if (problem !== undefined) return problem;
      } catch (error) {
        // Retention removed it since it was listed: the caller reads what says so, and asks again.
        if (!isMissing(error)) throw error;
        return { problem: 'segment-missing', file: segment.path, line: 1 };
      }
    }
    const problem = links.verdict(true) ?? (last === undefined ? undefined : signatures.end(last));
    if (problem !== undefined) return problem;
    // What retention took away behind the last segment that is there.
    let next = number + 1;
    while (removals.of(identity, next) !== undefined) next++;
    passRemoved(next);
    const anchor = await anchors.rest(floor);
    if (anchor === undefined) return undefined;
    const detail = `n=${anchor.n} was anchored`;
    return last === undefined
      ? { problem: 'cut', file: segments[0]?.path ?? '', line: 1, detail }
      : found('cut', last, detail);
  }

  const options = { maxLineBytes: MAX_LINE_BYTES, ...(context.signal === undefined ? {} : { signal: context.signal }) };
  let finding: Finding | undefined;
  try {
    finding = await readAll();
  } finally {
    await anchors.close();
  }
  return {
    ...identity,
    state: finding !== undefined ? 'bad' : ended ? 'closed' : 'open',
    ...(finding === undefined ? {} : { finding }),
    ...{ segments: seen, removedSegments: removed, lines, bytes },
    lastN: last?.n ?? 0,
    lastTime: last?.time ?? '',
    checkpoints: signatures.count,
    unsignedLines: signatures.unsigned,
    anchors: anchors.met,
    unusableAnchors: anchors.unusable,
    remarks,
    removals: told,
  };
}

/** Events whose members are looked at. */
const DECODED = new Set([
  'session.start',
  'session.end',
  'session.refused',
  'session.interrupted',
  'recorder.resumed',
  'segment.removed',
]);
