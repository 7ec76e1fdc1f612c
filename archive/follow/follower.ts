import { mkdir, open } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { type BackoffSettings, pause, waitAfter } from '../../delivery/backoff.ts';
import { causeOf } from '../../delivery/errors.ts';
import { listSegments, type SegmentPath, streamKey } from '../../record/segment.ts';
import { type RecordWatch, watchRecord } from '../../record/watch.ts';
import { ArchiveError } from '../errors.ts';
import { type Destination, Rewound, StreamRefused } from './destination.ts';
import type { PositionStore } from './positions.ts';
import { createStreamCursor, type StreamCursor } from './stream-cursor.ts';

/** What metrics and logs are told. */
export interface FollowObserver {
  delivered(bytes: number): void;
  /** An attempt failed. Nothing is lost: it is made again after `waitMs`. */
  failed(error: unknown, waitMs: number): void;
  /** A segment went before it was delivered. */
  lost(error: ArchiveError): void;
}

export interface FollowerOptions {
  /** `STATE/record`. */
  readonly root: string;
  readonly destination: Destination;
  readonly positions: PositionStore;
  readonly observer: FollowObserver;
  readonly backoff: BackoffSettings;
  /** Milliseconds, never jumping. */
  readonly monotonic: () => number;
  /** How long to gather what is written, in milliseconds, before it is sent. Default 100. */
  readonly gatherMs?: number;
  /** Besides what the system reports, which it does not on every file system. Default 5,000. */
  readonly lookMs?: number;
}

export interface Follower {
  /** Brings every segment to the destination, and each line that is added, until `signal` is aborted. Never rejects. */
  run(signal: AbortSignal): Promise<void>;
  /**
   * Delivers what is there, as far as it can be; for the end of a gateway. A receiver that cannot be reached is asked once, or, when this
   * is the last copy, until the signal fires.
   */
  drain(signal: AbortSignal, lastCopy?: boolean): Promise<void>;
  /** Bytes that the destination lacks, and the age of the first of them in seconds. Undefined until the record was looked at. */
  lag(now: number): Promise<{ readonly bytes: number; readonly seconds: number } | undefined>;
}

/** Between attempts to save the last copy: there is not much time left. */
const LAST_COPY_MS = 2000;

interface Followed {
  readonly cursor: StreamCursor;
  failures: number;
  /** Monotonic milliseconds before which the stream is left alone. */
  notBefore: number;
}

/**
 * Follows the files of a record for one destination. It reads what the recorder has written and never speaks to it: a destination
 * that is slow or down holds no command up. Streams take turns, a batch each.
 */
export function createFollower(options: FollowerOptions): Follower {
  const { destination, observer, backoff, monotonic } = options;
  const streams = new Map<string, Followed>();
  const keys = new Map<string, string>();
  const active = new Set<string>();
  let failures = 0;
  let listed = false;

  function follow(key: string): Followed {
    const cursor = createStreamCursor(key, options.positions, {
      maxBatchBytes: destination.maxBatchBytes,
      lingerMs: destination.lingerMs,
      monotonic,
      onLost: (number) => observer.lost(new ArchiveError('SPH017', [number, key, destination.name])),
    });
    const followed = { cursor, failures: 0, notBefore: 0 };
    streams.set(key, followed);
    return followed;
  }

  async function list(): Promise<void> {
    const groups = new Map<string, SegmentPath[]>();
    keys.clear();
    for (const segment of await listSegments(options.root)) {
      const key = streamKey(segment);
      keys.set(segment.path, key);
      const group = groups.get(key);
      if (group === undefined) groups.set(key, [segment]);
      else group.push(segment);
    }
    for (const [key, segments] of groups) {
      (streams.get(key) ?? follow(key)).cursor.list(segments);
      active.add(key);
    }
    for (const [key, { cursor }] of streams) {
      if (groups.has(key)) continue;
      streams.delete(key);
      active.delete(key);
      await cursor.forget();
    }
    listed = true;
  }

  async function look(watch: RecordWatch, everything: boolean): Promise<void> {
    const { paths, structural } = watch.take();
    if (structural || everything) {
      await watch.refresh();
      await list();
    }
    for (const path of paths) {
      const key = keys.get(path);
      if (key !== undefined) active.add(key);
    }
  }

  /** One batch of one stream. Returns for how long the stream has nothing to do, in milliseconds; 0 when it may go on. */
  async function step(key: string, followed: Followed, hurry: boolean, signal: AbortSignal): Promise<number> {
    const next = await followed.cursor.next(hurry);
    if (next.state === 'idle') {
      active.delete(key);
      return Number.POSITIVE_INFINITY;
    }
    if (next.state === 'lingering') return next.forMs;
    const { batch } = next;
    try {
      await destination.deliver(batch, signal);
    } catch (error) {
      if (error instanceof Rewound) {
        // A receiver that names the same byte again and again would be asked without a pause.
        const wait = error.offset === batch.offset ? waitAfter(++followed.failures, backoff) : 0;
        await followed.cursor.rewind(batch.segment, error.offset);
        return wait;
      }
      if (!(error instanceof StreamRefused)) throw error;
      failures = 0;
      const wait = waitAfter(++followed.failures, { ...backoff, maxMs: backoff.maxMs * 5 });
      observer.failed(error.cause ?? error, wait);
      return wait;
    }
    failures = 0;
    followed.failures = 0;
    await followed.cursor.delivered(batch);
    observer.delivered(batch.bytes.length);
    return 0;
  }

  /** One batch of every stream that has something. Returns milliseconds until something is due; 0: at once. */
  async function round(signal: AbortSignal, hurry = false): Promise<number> {
    let due = Number.POSITIVE_INFINITY;
    for (const key of [...active]) {
      const followed = streams.get(key);
      if (signal.aborted || followed === undefined) continue;
      const left = followed.notBefore - monotonic();
      if (left > 0) {
        due = Math.min(due, left);
        continue;
      }
      const wait = await step(key, followed, hurry, signal);
      followed.notBefore = wait > 0 && active.has(key) ? monotonic() + wait : 0;
      due = Math.min(due, wait);
    }
    return due;
  }

  /** Returns how long to wait after an error, in milliseconds. */
  function failed(error: unknown): number {
    const asked = error instanceof Error && 'retryAfterMs' in error ? error.retryAfterMs : undefined;
    const wait = waitAfter(++failures, backoff, typeof asked === 'number' ? asked : 0);
    observer.failed(error, wait);
    return wait;
  }

  async function follow_(watch: RecordWatch, signal: AbortSignal): Promise<void> {
    let lookedAt = Number.NEGATIVE_INFINITY;
    while (!signal.aborted) {
      const everything = monotonic() - lookedAt >= (options.lookMs ?? 5000);
      if (everything) lookedAt = monotonic();
      let due: number;
      try {
        await look(watch, everything);
        due = await round(signal);
      } catch (error) {
        if (signal.aborted) return;
        await pause(failed(error), signal);
        continue;
      }
      if (due === 0) continue;
      await somethingHappens(watch, Math.min(due, options.lookMs ?? 5000), signal);
      await pause(options.gatherMs ?? 100, signal);
    }
  }

  return {
    async run(signal) {
      while (!signal.aborted) {
        const watch = watchRecord(options.root);
        const wake = (): void => watch.wake();
        signal.addEventListener('abort', wake);
        try {
          await mkdir(options.root, { recursive: true, mode: 0o700 });
          await follow_(watch, signal);
        } catch (error) {
          if (!signal.aborted) await pause(failed(error), signal);
        } finally {
          signal.removeEventListener('abort', wake);
          watch.close();
        }
      }
    },
    async drain(signal, lastCopy = false) {
      while (!signal.aborted) {
        try {
          await list();
          // A stream that the receiver refuses stays active and is not asked again here.
          while (active.size > 0 && !signal.aborted && (await round(signal, true)) === 0);
          return;
        } catch (error) {
          if (signal.aborted) return;
          const wait = failed(error);
          // A name that is not there any more is an archive that was removed, and not one that is away.
          if (!lastCopy || isGone(error)) return;
          // The one timer that keeps the process: nothing else may be left of it.
          await delay(Math.min(wait, LAST_COPY_MS), undefined, { signal }).catch(() => undefined);
        }
      }
    },
    async lag(now) {
      if (!listed) return undefined;
      let bytes = 0;
      let oldest = now;
      for (const { cursor } of [...streams.values()]) {
        const { bytes: more, first } = await cursor.lag();
        bytes += more;
        if (first !== undefined) oldest = Math.min(oldest, await timeAt(first.path, first.offset, now));
      }
      return { bytes, seconds: Math.max(0, (now - oldest) / 1000) };
    },
  };
}

/** Whether the receiver's name does not exist, as DNS says for certain. */
const isGone = (error: unknown): boolean =>
  error instanceof Error && (causeOf(error) === 'ENOTFOUND' || causeOf(error.cause) === 'ENOTFOUND');

/** Resolves when the record changes, or after the time. @throws the error that ended the watching */
async function somethingHappens(watch: RecordWatch, milliseconds: number, signal: AbortSignal): Promise<void> {
  const over = new AbortController();
  try {
    await Promise.race([watch.changed(), pause(milliseconds, signal, over.signal)]);
  } finally {
    over.abort();
  }
}

/** The time of the event that begins there, in milliseconds since 1970. */
async function timeAt(path: string, offset: number, fallback: number): Promise<number> {
  const file = await open(path, 'r').catch(() => undefined);
  if (file === undefined) return fallback;
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(128), 0, 128, offset);
    const time = Date.parse(/"t":"([^"]+)"/.exec(buffer.toString('latin1', 0, bytesRead))?.[1] ?? '');
    return Number.isNaN(time) ? fallback : time;
  } finally {
    await file.close();
  }
}
