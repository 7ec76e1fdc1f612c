import { promises as fs } from 'node:fs';
import { closesSegment, eventType, parseEvent } from './format.ts';
import { readLastLine } from './lines.ts';
import { isMissing, listSegments, type SegmentPath } from './segment.ts';

export interface RetentionOptions {
  /** `STATE/record`. */
  readonly root: string;
  /** `audit.retentionDays` of a connection; undefined when there is no such connection any more. */
  readonly retentionDays: (namespace: string, name: string) => number | undefined;
  /** For connections that are gone. Default 400. */
  readonly fallbackDays?: number;
  readonly now: Date;
}

const DAY_MS = 86_400_000;

/**
 * Removes whole segments whose last event is older than their connection keeps. A segment that may still grow is never
 * removed: it begins anew each day. Returns the paths removed. @throws the system's error
 */
export async function removeExpiredSegments(options: RetentionOptions): Promise<string[]> {
  const removed: string[] = [];
  for (const segment of await listSegments(options.root)) {
    const days = options.retentionDays(segment.namespace, segment.name) ?? options.fallbackDays ?? 400;
    const before = options.now.getTime() - days * DAY_MS;
    if (opened(segment) >= before || !(await isExpired(segment, before))) continue;
    if (await unlinkOnce(segment.path)) removed.push(segment.path);
  }
  return removed;
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

async function isExpired(segment: SegmentPath, before: number): Promise<boolean> {
  try {
    const { line } = await readLastLine(segment.path);
    if (!closesSegment(eventType(line))) return false;
    const last = parseEvent(line);
    // A recovery is written long after what it closes.
    const time = typeof last?.lastEvent === 'string' && last.lastEvent !== '' ? last.lastEvent : last?.t;
    return time !== undefined && Date.parse(time) < before;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}
