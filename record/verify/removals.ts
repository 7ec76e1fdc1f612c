import { linkOf, type StreamIdentity } from '../chain.ts';
import { readBlocks } from '../lines.ts';
import { isMissing, type SegmentPath, streamKey } from '../segment.ts';
import { chainedLine } from './line.ts';

/** What `segment.removed` says of a segment that retention took away. */
export interface RemovedSegment extends StreamIdentity {
  readonly file: string;
  readonly segment: number;
  /** Numbers of its first and last event; its head has the number before the first. */
  readonly first: number;
  readonly last: number;
  /** What its first line follows (its `prev`), and the hash of its last line: what the segment after it follows. */
  readonly follows: string;
  readonly hash: string;
  readonly lines: number;
  readonly bytes: number;
  /** All its lines were linked when it was removed. */
  readonly intact: boolean;
}

/** What is about to be removed, read from its bytes; undefined when it is gone already. @throws the system's error */
export async function describeSegment(segment: SegmentPath): Promise<RemovedSegment | undefined> {
  const { namespace, name, process, file, number } = segment;
  const described = { first: 0, last: 0, follows: '', hash: '', lines: 0, bytes: 0, intact: true };
  try {
    for await (const block of readBlocks(segment.path)) {
      described.bytes += block.bytes.length;
      // A torn line behind the last one is no line.
      if (!block.whole) break;
      for (let start = 0, end = 0; start < block.bytes.length; start = end) {
        end = block.bytes.indexOf(0x0a, start) + 1;
        const bytes = block.bytes.subarray(start, end);
        const line = chainedLine(file, ++described.lines, bytes);
        const first = described.lines === 1;
        if (line === undefined || (!first && line.prev !== described.hash)) described.intact = false;
        described.hash = line?.link ?? linkOf(bytes);
        described.last = line?.n ?? described.last;
        if (first) {
          described.follows = line?.prev ?? '';
          described.first = described.last + 1;
        }
      }
    }
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  return { namespace, name, process, file, segment: number, ...described };
}

/** Members of `segment.removed`. */
export function segmentRemoved(removed: RemovedSegment): string {
  return JSON.stringify(removed).slice(1, -1);
}

/** Undefined when the members are not those of `segment.removed`. */
export function parseRemoved(members: Readonly<Record<string, unknown>>): RemovedSegment | undefined {
  const { namespace, name, process, file, segment, first, last, follows, hash, lines, bytes, intact } = members;
  if (typeof namespace !== 'string' || typeof name !== 'string' || typeof process !== 'string') return undefined;
  if (typeof file !== 'string' || typeof follows !== 'string' || typeof hash !== 'string') return undefined;
  if (typeof segment !== 'number' || typeof first !== 'number' || typeof last !== 'number') return undefined;
  if (typeof lines !== 'number' || typeof bytes !== 'number' || typeof intact !== 'boolean') return undefined;
  return { namespace, name, process, file, segment, first, last, follows, hash, lines, bytes, intact };
}

/** The removals that verified streams tell of. */
export interface Removals {
  enter(removed: RemovedSegment): void;
  of(stream: StreamIdentity, segment: number): RemovedSegment | undefined;
  /** Last number that is known to have been in a stream of which segments were removed. */
  lastOf(stream: StreamIdentity): number | undefined;
  readonly count: number;
}

export function createRemovals(): Removals {
  const streams = new Map<string, Map<number, RemovedSegment>>();
  let count = 0;
  return {
    enter(removed) {
      const key = streamKey(removed);
      const segments = streams.get(key) ?? new Map<number, RemovedSegment>();
      streams.set(key, segments);
      // Said twice when a crash came between the event and the removal.
      if (!segments.has(removed.segment)) count++;
      segments.set(removed.segment, removed);
    },
    of: (stream, segment) => streams.get(streamKey(stream))?.get(segment),
    lastOf(stream) {
      const segments = streams.get(streamKey(stream));
      if (segments === undefined) return undefined;
      let last = 0;
      for (const removed of segments.values()) last = Math.max(last, removed.last);
      return last;
    },
    get count() {
      return count;
    },
  };
}
