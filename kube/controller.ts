import type { Backoff } from './backoff.ts';
import { isConflict, KubeError } from './errors.ts';
import type { KubeMetrics } from './metrics.ts';
import { timeLimit } from './time-limit.ts';
import type { Change, KubeObject, Log, Reflector } from './types.ts';
import { createWorkQueue } from './work-queue.ts';

/**
 * A controller makes the world as it should be for one key at a time. It is told that something may have changed, never what: a
 * reconcile reads the store and acts on what is there now (level-triggered), so a change that is told twice, late or together with
 * another does no harm. A reconcile that fails is tried again, waiting longer each time; the process survives any of them.
 */
export interface ControllerOptions {
  readonly name: string;
  /**
   * Must be idempotent, and give up when the signal says so. Throwing tries again after a while.
   * @returns when to look again although nothing changed
   */
  readonly reconcile: (key: string, signal: AbortSignal) => Promise<ReconcileResult | undefined> | Promise<void>;
  /** Keys at one time; a key never has two. */
  readonly workers?: number;
  /** Milliseconds for one reconcile, before its signal is aborted. */
  readonly timeoutMs?: number;
  readonly backoff?: Partial<Backoff>;
  readonly log: Log;
  readonly metrics?: KubeMetrics;
  readonly now?: () => number;
}

export interface ReconcileResult {
  readonly requeueAfterMs?: number | undefined;
}

export interface Controller {
  readonly name: string;
  /** Before `run` it waits. */
  add(key: string): void;
  addAfter(key: string, milliseconds: number): void;
  /**
   * Adds keys for each change, and for all that is in the store already. `keysOf` gets the old version of an object too: what it
   * belonged to has to be looked at as well. @returns ends it
   */
  follow<T extends KubeObject>(reflector: Reflector<T>, keysOf: (object: T) => Iterable<string>): () => void;
  /** Until the signal; then resolves when the reconciles that run have ended. Never rejects. To be called once. */
  run(signal: AbortSignal): Promise<void>;
}

const RECONCILE_MS = 120_000;

export function createController(options: ControllerOptions): Controller {
  const { name, log, metrics } = options;
  const workers = options.workers ?? 1;
  const timeoutMs = options.timeoutMs ?? RECONCILE_MS;
  const now = options.now ?? (() => performance.now());
  const label = { controller: name };
  const queue = createWorkQueue({
    name,
    now,
    ...(options.backoff === undefined ? {} : { backoff: options.backoff }),
    ...(metrics === undefined ? {} : { metrics }),
  });

  const attempt = async (key: string, signal: AbortSignal): Promise<void> => {
    const started = now();
    metrics?.activeWorkers.inc(label);
    try {
      using limit = timeLimit(signal, timeoutMs, () => new KubeError('SPB023', [`${name} ${key}`, timeoutMs]));
      const result = await (options.reconcile(key, limit.signal) as Promise<ReconcileResult | undefined>);
      queue.forget(key);
      const again = result?.requeueAfterMs;
      metrics?.reconcileTotal.inc({ ...label, result: again === undefined ? 'success' : 'requeue_after' });
      if (again !== undefined) queue.addAfter(key, again);
    } catch (error) {
      if (signal.aborted) return;
      failed(key, error);
    } finally {
      metrics?.activeWorkers.dec(label);
      metrics?.reconcileSeconds.observe(label, (now() - started) / 1000);
    }
  };

  const failed = (key: string, error: unknown): void => {
    metrics?.reconcileTotal.inc({ ...label, result: 'error' });
    metrics?.reconcileErrors.inc(label);
    const waitMs = Math.round(queue.retry(key, error instanceof KubeError ? error.retryAfterMs : undefined));
    const fields = { controller: name, key, failures: queue.failures(key), waitMs, err: error };
    if (isPanic(error)) {
      metrics?.reconcilePanics.inc(label);
      log.error(fields, 'a reconcile failed by a mistake of the program; it is tried again');
    } else if (isConflict(error) && queue.failures(key) === 1) {
      // Somebody else wrote first: that is what the compare-and-set is for.
      log.debug(fields, 'an object changed meanwhile; it is tried again');
    } else {
      log.warn(fields, `a reconcile failed: ${error instanceof Error ? error.message : String(error)}`);
    }
  };

  const work = async (signal: AbortSignal): Promise<void> => {
    for (let key = await queue.take(); key !== undefined; key = await queue.take()) {
      await attempt(key, signal);
      queue.done(key);
    }
  };

  return {
    name,
    add: queue.add,
    addAfter: queue.addAfter,
    follow<T extends KubeObject>(reflector: Reflector<T>, keysOf: (object: T) => Iterable<string>) {
      const addAll = (object: T): void => {
        for (const key of keysOf(object)) queue.add(key);
      };
      const end = reflector.onChange((change: Change<T>) => {
        if (change.type === 'updated') addAll(change.previous);
        addAll(change.object);
      });
      for (const object of reflector.list()) addAll(object);
      return end;
    },
    async run(signal) {
      const stop = (): void => queue.close();
      if (signal.aborted) {
        stop();
        return;
      }
      signal.addEventListener('abort', stop, { once: true });
      metrics?.maxConcurrentReconciles.set(label, workers);
      await Promise.all(Array.from({ length: workers }, () => work(signal)));
    },
  };
}

/** What only a mistake in a program throws. */
const isPanic = (error: unknown): boolean =>
  !(error instanceof Error) ||
  error instanceof TypeError ||
  error instanceof ReferenceError ||
  error instanceof RangeError ||
  error instanceof SyntaxError;
