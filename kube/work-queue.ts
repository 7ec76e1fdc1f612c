import { type Backoff, backoffMs } from './backoff.ts';
import type { KubeMetrics } from './metrics.ts';

/**
 * Keys that something is to be done about; as client-go's workqueue. A key that is added while it waits is there once; one that is
 * added while it is worked on waits again afterwards, so nothing is missed and no key has two workers.
 */
export interface WorkQueue {
  add(key: string): void;
  /** After so many milliseconds. Of several the earliest counts. */
  addAfter(key: string, milliseconds: number): void;
  /** After a failure: each in a row waits longer. @returns the milliseconds */
  retry(key: string, askedMs?: number): number;
  /** Ends the row of failures. */
  forget(key: string): void;
  failures(key: string): number;
  /** The next key, which is being worked on until `done`. Resolves with undefined once the queue is closed. */
  take(): Promise<string | undefined>;
  done(key: string): void;
  /** Keys that wait, without the delayed ones. */
  readonly length: number;
  /** Nothing is given out any more; delayed keys are dropped. */
  close(): void;
}

export interface WorkQueueOptions {
  /** Of the controller, for metrics. */
  readonly name: string;
  readonly backoff?: Partial<Backoff>;
  readonly metrics?: KubeMetrics;
  /** Milliseconds, monotonic. */
  readonly now?: () => number;
}

export const QUEUE_BACKOFF: Backoff = { firstMs: 200, maxMs: 300_000, random: Math.random };

export function createWorkQueue(options: WorkQueueOptions): WorkQueue {
  const backoff = { ...QUEUE_BACKOFF, ...options.backoff };
  const now = options.now ?? (() => performance.now());
  const { metrics } = options;
  const label = { name: options.name, controller: options.name };
  /** In the order of their arrival, with its time. */
  const waiting = new Map<string, number>();
  /** With the time when work began. */
  const working = new Map<string, number>();
  /** Added while being worked on. */
  const again = new Set<string>();
  const delayed = new Map<string, { readonly at: number; readonly timer: NodeJS.Timeout }>();
  const failed = new Map<string, number>();
  const takers: ((key: string | undefined) => void)[] = [];
  let closed = false;

  const setDepth = (): void => metrics?.queueDepth.set(label, waiting.size);

  const begin = (): string | undefined => {
    const first = waiting.entries().next();
    if (first.done === true) return undefined;
    const [key, since] = first.value;
    waiting.delete(key);
    working.set(key, now());
    metrics?.queueSeconds.observe(label, (now() - since) / 1000);
    setDepth();
    return key;
  };

  const put = (key: string): void => {
    waiting.set(key, now());
    setDepth();
    const taker = takers.shift();
    if (taker !== undefined) taker(begin());
  };

  const add = (key: string): void => {
    if (closed || waiting.has(key) || again.has(key)) return;
    metrics?.queueAdds.inc(label);
    if (working.has(key)) again.add(key);
    else put(key);
  };

  const addAfter = (key: string, milliseconds: number): void => {
    if (closed) return;
    if (milliseconds <= 0) {
      add(key);
      return;
    }
    const at = now() + milliseconds;
    const planned = delayed.get(key);
    if (planned !== undefined && planned.at <= at) return;
    clearTimeout(planned?.timer);
    const timer = setTimeout(
      () => {
        delayed.delete(key);
        add(key);
      },
      Math.min(milliseconds, 2 ** 31 - 1),
    );
    // What has been asked to come back later keeps no process alive.
    timer.unref();
    delayed.set(key, { at, timer });
  };

  /** Read when somebody scrapes. */
  const observeWork = (): void => {
    const ages = [...working.values()].map((since) => (now() - since) / 1000);
    metrics?.unfinishedWorkSeconds.set(
      label,
      ages.reduce((sum, age) => sum + age, 0),
    );
    metrics?.longestRunningSeconds.set(label, Math.max(0, ...ages));
  };
  metrics?.onScrape(observeWork);

  return {
    add,
    addAfter,
    retry(key, askedMs = 0) {
      const failures = (failed.get(key) ?? 0) + 1;
      failed.set(key, failures);
      metrics?.queueRetries.inc(label);
      const waitMs = backoffMs(failures, backoff, askedMs);
      addAfter(key, waitMs);
      return waitMs;
    },
    forget: (key) => void failed.delete(key),
    failures: (key) => failed.get(key) ?? 0,
    take() {
      if (closed) return Promise.resolve(undefined);
      const key = begin();
      return key === undefined ? new Promise((resolve) => takers.push(resolve)) : Promise.resolve(key);
    },
    done(key) {
      const since = working.get(key);
      if (since === undefined) return;
      working.delete(key);
      metrics?.workSeconds.observe(label, (now() - since) / 1000);
      if (again.delete(key) && !closed) put(key);
    },
    get length() {
      return waiting.size;
    },
    close() {
      closed = true;
      for (const { timer } of delayed.values()) clearTimeout(timer);
      delayed.clear();
      waiting.clear();
      again.clear();
      failed.clear();
      setDepth();
      for (const taker of takers.splice(0)) taker(undefined);
    },
  };
}
