import { type Backoff, backoffMs, sleep } from './backoff.ts';
import { PAGE, watchError } from './client.ts';
import { KubeError } from './errors.ts';
import type { KubeMetrics } from './metrics.ts';
import { describeSelection } from './paths.ts';
import { createStore } from './store.ts';
import { orAborted, timeLimit } from './time-limit.ts';
import type {
  Change,
  KubeClient,
  KubeObject,
  Log,
  Reflector,
  ReflectorStatus,
  ResourceType,
  Selection,
  WatchEvent,
} from './types.ts';
import { askedMs, isOlder, judge, type Step } from './watch-end.ts';

export { isOlder };

/**
 * A store that follows the API server. One loop owns all of it: list → watch → judge why it ended → perhaps wait → again. What the end
 * of a step means is decided in one place, watch-end.ts.
 *
 * Before it watches on, it asks for the newest version: an etcd that was restored from an older snapshot counts again from there, and
 * a watch from the future says nothing until the count is reached.
 */

export interface ReflectorOptions<T extends KubeObject> extends Selection {
  readonly client: KubeClient;
  readonly type: ResourceType<T>;
  readonly log: Log;
  /** What of an object is kept: gets it before it is frozen, may change it or make another with the same metadata. */
  readonly transform?: (object: T) => T;
  readonly metrics?: KubeMetrics;
  readonly timing?: Partial<ReflectorTiming>;
  /** Milliseconds, monotonic. */
  readonly now?: () => number;
  readonly random?: () => number;
}

export interface ReflectorTiming {
  /** Objects in one page of a list. */
  readonly pageSize: number;
  /** Seconds of a watch: between this and twice as many, so that not all end at once. */
  readonly watchSeconds: number;
  /** Bookmarks come about once a minute. After so long without one the connection is not believed any more. */
  readonly silenceMs: number;
  readonly firstBackoffMs: number;
  readonly maxBackoffMs: number;
  /** Watches in a row that end without having said anything, before everything is listed. */
  readonly emptyWatches: number;
  /** Failures in a row before everything is listed. */
  readonly outageFailures: number;
}

export const REFLECTOR_TIMING: ReflectorTiming = {
  pageSize: PAGE,
  watchSeconds: 300,
  silenceMs: 90_000,
  firstBackoffMs: 500,
  maxBackoffMs: 10_000,
  emptyWatches: 3,
  outageFailures: 3,
};

/** What comes and goes is warned of once in so many milliseconds. */
const WARN_MS = 300_000;

export function createReflector<T extends KubeObject>(options: ReflectorOptions<T>): Reflector<T> {
  const { client, type, log, metrics, namespace } = options;
  const timing = { ...REFLECTOR_TIMING, ...options.timing };
  const now = options.now ?? (() => performance.now());
  const random = options.random ?? Math.random;
  const backoff: Backoff = { firstMs: timing.firstBackoffMs, maxMs: timing.maxBackoffMs, random };
  const label = { type: type.plural };
  const what = describeSelection('watch', type, options);
  const selection: Selection = {
    namespace,
    labelSelector: options.labelSelector,
    fieldSelector: options.fieldSelector,
  };

  const store = createStore<T>();
  const listeners = new Set<(change: Change<T>) => void>();
  let version = '';
  let started = false;
  let status: ReflectorStatus = { heardAt: undefined, phase: 'stopped', problem: undefined };
  const filled = Promise.withResolvers<void>();
  let hasSynced = false;
  /** Watches in a row that ended as they should, and had said nothing. */
  let emptyWatches = 0;
  let said = false;
  let announced = '';
  const warnedAt = new Map<string, number>();
  let failures = 0;

  const keep = (object: T): T => {
    // Which manager set which field: half of many an object, and nobody reads it here.
    delete (object.metadata as { managedFields?: unknown }).managedFields;
    return deepFreeze(options.transform === undefined ? object : options.transform(object));
  };

  const tell = (changes: readonly Change<T>[]): void => {
    for (const change of changes) {
      for (const listener of [...listeners]) {
        try {
          listener(change);
        } catch (error) {
          metrics?.listenerErrors.inc(label);
          log.error({ err: error, type: type.plural }, 'a listener to changes threw');
        }
      }
    }
    metrics?.storedObjects.set(label, store.size);
  };

  const heard = (): void => {
    status = { heardAt: now(), phase: status.phase, problem: undefined };
    if (announced === '') return;
    announced = '';
    log.info({ type: type.plural, namespace }, 'the API server answers again');
  };

  /** Makes the store equal to what is there now. */
  const list = async (signal: AbortSignal): Promise<Step> => {
    const { items, resourceVersion } = await client.listAll(type, { ...selection, limit: timing.pageSize, signal });
    heard();
    metrics?.lists.inc({ ...label, result: 'success' });
    version = resourceVersion;
    emptyWatches = 0;
    tell(store.replace(items.map(keep)));
    if (!hasSynced) {
      hasSynced = true;
      filled.resolve();
    }
    return { next: 'watch', end: 'listed' };
  };

  const take = (event: Exclude<WatchEvent<T>, { type: 'ERROR' }>): void => {
    metrics?.watchEvents.inc({ ...label, event: event.type });
    heard();
    const next = event.type === 'BOOKMARK' ? event.resourceVersion : (event.object.metadata.resourceVersion ?? version);
    // Told again, or a history that went back: which of the two cannot be seen from here.
    if (isOlder(next, version)) {
      throw new KubeError('SPB013', ['an event is older than one before it', what], { object: what });
    }
    if (event.type === 'BOOKMARK') {
      version = next;
      return;
    }
    // The store first: only what has been taken in is not asked for again.
    const changes = event.type === 'DELETED' ? store.remove(keep(event.object)) : store.put(keep(event.object));
    version = next;
    tell(changes);
  };

  const watch = async (signal: AbortSignal): Promise<Step> => {
    using guard = timeLimit(
      signal,
      timing.silenceMs,
      () => new KubeError('SPB019', [timing.silenceMs, what], { object: what }),
    );
    const timeoutSeconds = Math.ceil(timing.watchSeconds * (1 + random()));
    for await (const event of client.watch(type, {
      ...selection,
      resourceVersion: version,
      timeoutSeconds,
      signal: guard.signal,
      onBytes: guard.restart,
    })) {
      if (event.type === 'ERROR') throw watchError(event.status, what);
      take(event);
      said = true;
    }
    return { next: 'watch', end: said ? 'closed' : 'empty' };
  };

  /** Whether the API server still counts from where we are. Fails like every call. */
  const isBehind = async (signal: AbortSignal): Promise<boolean> => {
    const newest = await client.list(type, { ...selection, limit: 1, signal });
    heard();
    return isOlder(newest.resourceVersion, version);
  };

  /** One step, whatever comes of it. A watch becomes a list where the API server counts from an older version. */
  const advance = async (planned: 'list' | 'watch', fromList: boolean, signal: AbortSignal): Promise<Step> => {
    let doing = planned;
    let step: Step;
    const startedAt = now();
    said = false;
    try {
      if (doing === 'watch' && !fromList && (await isBehind(signal))) {
        log.warn({ type: type.plural, namespace }, 'the API server counts from an older version: everything is listed');
        doing = 'list';
      }
      status = { ...status, phase: doing === 'list' ? 'listing' : 'watching' };
      step = doing === 'list' ? await list(signal) : await watch(signal);
    } catch (error) {
      step = judge(error, doing, signal);
    }
    if (doing === 'list') {
      if (step.problem !== undefined) metrics?.lists.inc({ ...label, result: 'error' });
      return step;
    }
    metrics?.watches.inc({ ...label, end: step.end });
    // A list that succeeds between two watches that fail at once ends no row of failures.
    if (said || step.problem === undefined || now() - startedAt > timing.maxBackoffMs) failures = 0;
    if (step.problem !== undefined) return step;
    emptyWatches = said ? 0 : emptyWatches + 1;
    return emptyWatches >= timing.emptyWatches ? { ...step, next: 'list' } : step;
  };

  /** Before the next step: not at all, or for as long as the failures in a row ask for. @returns the next step */
  const rest = async (step: Step, signal: AbortSignal): Promise<'list' | 'watch'> => {
    const { problem } = step;
    if (problem === undefined) {
      if (step.end === 'silent') log.debug({ code: 'SPB019', type: type.plural, namespace }, 'nothing was heard');
      // A server that ends each watch at once would be asked without a pause.
      if (step.end === 'empty') await sleep(backoffMs(emptyWatches + 1, backoff), signal);
      return step.next;
    }
    failures++;
    const waitMs = step.end === 'expired' && failures === 1 ? 0 : backoffMs(failures, backoff, askedMs(problem));
    status = { heardAt: status.heardAt, phase: 'waiting', problem };
    announce(problem, waitMs);
    await sleep(waitMs, signal);
    // Who was away for that long may have come back with another history.
    return failures >= timing.outageFailures ? 'list' : step.next;
  };

  const run = async (signal: AbortSignal): Promise<void> => {
    if (started) throw new Error(`the reflector of ${type.plural} was started before`);
    started = true;
    let next: 'list' | 'watch' = 'list';
    let fromList = false;
    while (!signal.aborted) {
      const step = await advance(next, fromList, signal);
      if (step.end === 'stopped') break;
      fromList = step.end === 'listed';
      next = await rest(step, signal);
    }
    status = { ...status, phase: 'stopped' };
  };

  /** One line for each kind of trouble, not one for each attempt; a history that is gone is nobody's trouble. */
  const announce = (problem: Error, waitMs: number): void => {
    const code = problem instanceof KubeError ? problem.code : problem.name;
    const fields = { code, type: type.plural, namespace, waitMs, err: problem };
    const warned = warnedAt.get(code) ?? Number.NEGATIVE_INFINITY;
    if (code === announced || code === 'SPB008' || now() - warned < WARN_MS) {
      log.debug(fields, problem.message);
      return;
    }
    announced = code;
    warnedAt.set(code, now());
    if (problem instanceof KubeError) log.warn(fields, `${problem.message}. ${problem.hint}`);
    else log.error(fields, 'a mistake in following the API server');
  };

  return {
    type,
    get: (space, name) => store.get(space, name),
    list: (space) => store.list(space),
    get size() {
      return store.size;
    },
    onChange(listener) {
      // A function of its own: the same one may listen twice.
      const own = (change: Change<T>): void => listener(change);
      listeners.add(own);
      return () => void listeners.delete(own);
    },
    get hasSynced() {
      return hasSynced;
    },
    synced: (signal) => orAborted(filled.promise, signal),
    status: () => status,
    run,
  };
}

/** What several read must not be changed by one of them. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const part of Object.values(value)) deepFreeze(part);
  return Object.freeze(value);
}
