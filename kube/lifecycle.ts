import { sleep } from './backoff.ts';
import { KubeError } from './errors.ts';
import { orAborted } from './time-limit.ts';
import type { Log } from './types.ts';

/** A part of a process that runs until it is told to stop. */
export interface Component {
  readonly name: string;
  /** Resolves after the signal, when everything is put away. Rejects, or resolves sooner, when it cannot go on. */
  run(signal: AbortSignal): Promise<void>;
  /** Resolves when those that need it may start; absent: at once. Called after `run`. */
  ready?(signal: AbortSignal): Promise<unknown>;
}

export interface LifecycleOptions {
  readonly log: Log;
  /** Milliseconds that one component may take to stop. */
  readonly stopMs?: number;
}

const STOP_MS = 15_000;

/**
 * Starts the components one after the other, each when the one before it is ready, and stops them in reverse: for an operator health,
 * webhooks, caches, election, reconcilers. So nothing is reconciled before all was read, and the Lease is given back only when nobody
 * reconciles any more.
 *
 * Resolves when all have stopped after the signal. When one fails or ends by itself, the others are stopped, and it rejects with
 * that one's error (SPB020 when it gave none); a component that does not stop in time is left behind (SPB021).
 */
export async function runInOrder(
  components: readonly Component[],
  signal: AbortSignal,
  { log, stopMs = STOP_MS }: LifecycleOptions,
): Promise<void> {
  const started: { readonly component: Component; readonly stop: AbortController; readonly ended: Promise<void> }[] =
    [];
  /** Aborted by the signal from outside, or by the first failure. */
  const halt = new AbortController();
  const failures: unknown[] = [];
  const fail = (error: unknown): void => {
    failures.push(error);
    halt.abort();
  };
  const stopAll = (): void => halt.abort();
  if (signal.aborted) stopAll();
  signal.addEventListener('abort', stopAll, { once: true });

  const start = async (component: Component): Promise<void> => {
    const stop = new AbortController();
    const ended = invoke(() => component.run(stop.signal)).then(
      () => {
        if (!stop.signal.aborted) fail(new KubeError('SPB020', [component.name]));
      },
      (error: unknown) => fail(error),
    );
    started.push({ component, stop, ended });
    try {
      if (component.ready !== undefined)
        await orAborted(
          invoke(() => component.ready?.(halt.signal)),
          halt.signal,
        );
    } catch (error) {
      if (!halt.signal.aborted) fail(error);
    }
    if (!halt.signal.aborted) log.debug({ component: component.name }, 'started');
  };

  for (const component of components) {
    if (halt.signal.aborted) break;
    await start(component);
  }
  if (!halt.signal.aborted) {
    await new Promise<void>((resolve) => halt.signal.addEventListener('abort', () => resolve(), { once: true }));
  }
  for (const { component, stop, ended } of started.reverse()) {
    stop.abort();
    const timer = new AbortController();
    const late = sleep(stopMs, timer.signal).then(() => 'late' as const);
    const how = await Promise.race([ended, late]);
    timer.abort();
    if (how === 'late') fail(new KubeError('SPB021', [component.name, stopMs]));
    log.debug({ component: component.name }, how === 'late' ? 'left behind' : 'stopped');
  }
  signal.removeEventListener('abort', stopAll);
  for (const error of failures.slice(1)) log.error({ err: error }, 'failed while stopping');
  if (failures.length > 0) throw failures[0];
}

/** What a function throws before it returns its promise is a rejection too. */
async function invoke<R>(call: () => Promise<R> | undefined): Promise<R | undefined> {
  return await call();
}
