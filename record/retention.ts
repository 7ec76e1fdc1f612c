import { promises as fs } from 'node:fs';
import { removeAnchors } from './anchors.ts';
import { closesSegment, eventType, parseEvent } from './format.ts';
import { isLedger } from './ledger.ts';
import { readLastLine } from './lines.ts';
import { isMissing, listSegments, type SegmentPath, streamKey } from './segment.ts';
import { describeSegment, type RemovedSegment } from './verify/removals.ts';

export interface RetentionOptions {
  /** `STATE/record`. */
  readonly root: string;
  /** `audit.retentionDays` of a connection; undefined when there is no such connection any more. */
  readonly retentionDays: (namespace: string, name: string) => number | undefined;
  /** For connections that are gone. Default 400. */
  readonly fallbackDays?: number;
  readonly now: Date;
  /** Records what is about to be removed. Nothing is removed before it resolves: durable and signed. */
  readonly enter: (removed: readonly RemovedSegment[]) => Promise<void>;
  /** Folder of the anchors: those of a stream of which nothing is left are removed too. */
  readonly anchors?: string;
}

const DAY_MS = 86_400_000;

/**
 * Removes whole segments whose last event is older than their connection keeps, once it is recorded which they were. A segment that may still grow is
 * never removed: it begins anew each day. Returns the paths removed. @throws the system's error; RecorderError when it cannot be recorded
 */
export async function removeExpiredSegments(options: RetentionOptions): Promise<string[]> {
  const segments = (await listSegments(options.root)).filter((segment) => !isLedger(segment));
  const expired: SegmentPath[] = [];
  const kept = new Set<string>();
  for (const [index, segment] of segments.entries()) {
    const days = options.retentionDays(segment.namespace, segment.name) ?? options.fallbackDays ?? 400;
    const before = options.now.getTime() - days * DAY_MS;
    const next = segments[index + 1];
    const followed = next !== undefined && streamKey(next) === streamKey(segment);
    // In order: a stream loses its beginning, never a part out of its middle.
    const first = !kept.has(streamKey(segment));
    if (first && opened(segment) < before && (await isExpired(segment, followed, before))) expired.push(segment);
    else kept.add(streamKey(segment));
  }
  const removed: RemovedSegment[] = [];
  for (const segment of expired) {
    const description = await describeSegment(segment);
    if (description !== undefined) removed.push(description);
  }
  if (removed.length === 0) return [];
  await options.enter(removed);
  const paths: string[] = [];
  for (const segment of expired) {
    if (await unlinkOnce(segment.path)) paths.push(segment.path);
    if (options.anchors !== undefined && !kept.has(streamKey(segment))) await removeAnchors(options.anchors, segment);
  }
  return paths;
}

/** False when another worker was faster. */
async function unlinkOnce(path: string): Promise<boolean> {
  try {
    await fs.unlink(path);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

export interface RetentionSchedule extends Omit<RetentionOptions, 'now'> {
  /** Milliseconds between two rounds. Default one hour. */
  readonly intervalMs?: number;
  /** Called with what a round removed, and with what kept it from its work; the next round tries again. */
  readonly onRemoved: (paths: readonly string[]) => void;
  readonly onError: (error: unknown) => void;
}

/** Removes expired segments now and then again and again, until `signal` is aborted. Resolves then. */
export async function keepRetention(schedule: RetentionSchedule, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      const removed = await removeExpiredSegments({ ...schedule, now: new Date() });
      if (removed.length > 0) schedule.onRemoved(removed);
    } catch (error) {
      schedule.onError(error);
    }
    await pause(schedule.intervalMs ?? 3_600_000, signal);
  }
}

/** Resolves after the time, or as soon as `signal` is aborted. Keeps no process alive. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds).unref();
    signal.addEventListener('abort', done);
  });
}

/** From the name, so that what was opened lately need not be read. */
function opened(segment: SegmentPath): number {
  return Date.parse(
    segment.opened.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)\.(\d{3}).*$/, '$1-$2-$3T$4:$5:$6.$7Z'),
  );
}

/** @param followed a later segment of the stream is there: this one gets no more, even where its disk failed before it was closed */
async function isExpired(segment: SegmentPath, followed: boolean, before: number): Promise<boolean> {
  try {
    const { line } = await readLastLine(segment.path);
    if (!followed && !closesSegment(eventType(line))) return false;
    const last = parseEvent(line);
    // A recovery is written long after what it closes.
    const time = typeof last?.lastEvent === 'string' && last.lastEvent !== '' ? last.lastEvent : last?.t;
    return time !== undefined && Date.parse(time) < before;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}
