import { RecorderError } from '../../record/errors.ts';
import type { SegmentFile } from './segment-file.ts';

/**
 * Group commit: one fdatasync at a time, and everybody who asks while it runs shares the next one. Positions are bytes over
 * all segments of a stream.
 */
export interface SyncQueue {
  /** Resolves once everything up to `position` is on disk. @throws RecorderError */
  wait(position: number, current: CurrentFile): Promise<void>;
  /** Makes everything up to `position` durable when it is not yet; nobody waits. Failures go to `onFailure` only. */
  start(position: number, current: CurrentFile): void;
  /** Takes over a file that gets no more events: synced once more, then closed. With `failure`, closed, and whoever waits is told. */
  retire(file: SegmentFile, failure?: RecorderError): void;
  /** Resolves once no fdatasync runs and all retired files are closed. */
  idle(): Promise<void>;
}

/** The file in use now: asked when an fdatasync starts, which may be after a rotation. */
export type CurrentFile = () => SegmentFile | undefined;

interface Waiter {
  readonly position: number;
  readonly resolve: () => void;
  readonly reject: (error: RecorderError) => void;
}

/** @param onFailure takes the file in use out of service and says what to tell those who wait. */
export function createSyncQueue(onFailure: (error: unknown) => RecorderError): SyncQueue {
  let durable = 0;
  let wanted = 0;
  let busy = false;
  let running: Promise<void> = Promise.resolve();
  let waiters: Waiter[] = [];
  let retired: { readonly file: SegmentFile; readonly failure: RecorderError | undefined }[] = [];

  async function commit(current: CurrentFile): Promise<void> {
    const position = wanted;
    const leaving = retired;
    retired = [];
    const file = current();
    const syncs = leaving.filter((entry) => entry.failure === undefined).map((entry) => entry.file.sync());
    if (file !== undefined) syncs.push(file.sync());
    const results = await Promise.allSettled(syncs);
    const failures = results.filter((result) => result.status === 'rejected').map((result): unknown => result.reason);
    for (const entry of leaving) failures.push(...closing(entry.file));
    const known = leaving.find((entry) => entry.failure !== undefined)?.failure;
    if (failures.length === 0 && known === undefined) {
      durable = position;
      const served = waiters.filter((waiter) => waiter.position <= position);
      waiters = waiters.filter((waiter) => waiter.position > position);
      for (const waiter of served) waiter.resolve();
      return;
    }
    // The bytes of all who wait may be in the file that failed, and no later fdatasync can bring them back: nobody is told yes.
    durable = wanted;
    const refused = waiters;
    waiters = [];
    const error = failures.length === 0 ? known : onFailure(failures[0]);
    for (const waiter of refused) waiter.reject(error ?? new RecorderError('SPR003'));
  }

  /** Ends busy in the same step that finds nothing left to do: whoever asks right after it must start the next run. */
  async function run(current: CurrentFile): Promise<void> {
    busy = true;
    try {
      while (wanted > durable || retired.length > 0) await commit(current);
    } finally {
      busy = false;
    }
  }

  function kick(current: CurrentFile): void {
    if (!busy) running = run(current);
  }

  return {
    wait(position, current) {
      if (position <= durable) return Promise.resolve();
      wanted = Math.max(wanted, position);
      return new Promise((resolve, reject) => {
        waiters.push({ position, resolve, reject });
        kick(current);
      });
    },
    start(position, current) {
      if (position <= durable && retired.length === 0) return;
      wanted = Math.max(wanted, position);
      kick(current);
    },
    retire(file, failure) {
      retired.push({ file, failure });
    },
    async idle() {
      while (busy) await running;
      const failures = retired.flatMap(({ file }) => closing(file));
      retired = [];
      if (failures.length > 0) throw onFailure(failures[0]);
    },
  };
}

/** Closes a file; what the system had against it. Network file systems report failed writes here. */
function closing(file: SegmentFile): unknown[] {
  try {
    file.close();
    return [];
  } catch (error) {
    return [error];
  }
}
