import { type Backoff, backoffMs, sleep } from './backoff.ts';
import { PAGE, watchError } from './client.ts';
import { isExpired, isForbidden, isNotFound, KubeError } from './errors.ts';
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

/**
 * A store that follows the API server. One loop owns all of it: list → watch → judge why it ended → perhaps wait → again. What comes
 * next is decided in one place (`judge`), from how the last step ended:
 *
 * | what happened | next |
 * |---|---|
 * | the watch ended as it should (`timeoutSeconds`, a server that stops) | watch on from the last version |
 * | three such ends in a row without one event or bookmark | list |
 * | 410, as a status or as an event: history is gone | list |
 * | an event that cannot be understood, a part of one, or one older than the one before it | list: it may have been the one that mattered |
 * | network, 5xx, 429, silence | wait, then watch on; silence and "not yet there" (504) list |
 * | 401 | the client has read the token again already; wait, then watch on |
 * | 403, 404 | wait, then list; said once. The store keeps what it has: rights that are gone for a moment delete nothing |
 *
 * Before it watches on, it asks for the newest version: an etcd that was restored from an older
 * snapshot counts again from there, and a watch from the future would be silent until the count is reached.
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
  /** Watches in a row that end without having said anything. */
  readonly emptyWatches: number;
}

export const REFLECTOR_TIMING: ReflectorTiming = {
  pageSize: PAGE,
  watchSeconds: 300,
  silenceMs: 90_000,
  firstBackoffMs: 500,
  maxBackoffMs: 10_000,
  emptyWatches: 3,
};

/** How a step ended, with what is done next. */
interface Step {
  readonly next: 'list' | 'watch';
  /** For the metric. */
  readonly end: 'closed' | 'empty' | 'expired' | 'silent' | 'garbled' | 'refused' | 'broken' | 'stopped';
  readonly problem?: Error;
}

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
  let emptyWatches = 0;
  let announced = '';

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

  /** @returns undefined when the store is filled */
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
    return { next: 'watch', end: 'closed' };
  };

  const take = (event: Exclude<WatchEvent<T>, { type: 'ERROR' }>): void => {
    metrics?.watchEvents.inc({ ...label, event: event.type });
    heard();
    if (event.type === 'BOOKMARK') {
      version = event.resourceVersion;
      return;
    }
    const { resourceVersion = '' } = event.object.metadata;
    // Told again, or a history that went back: which of the two cannot be seen from here.
    if (isOlder(resourceVersion, version)) {
      throw new KubeError('SPB013', ['an event is older than one before it', what], { object: what });
    }
    // The store first: only what has been taken in is not asked for again.
    const changes = event.type === 'DELETED' ? store.remove(keep(event.object)) : store.put(keep(event.object));
    version = resourceVersion;
    tell(changes);
  };

  const watch = async (signal: AbortSignal): Promise<Step> => {
    using guard = timeLimit(
      signal,
      timing.silenceMs,
      () => new KubeError('SPB019', [timing.silenceMs, what], { object: what }),
    );
    const timeoutSeconds = Math.ceil(timing.watchSeconds * (1 + random()));
    let said = false;
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
    emptyWatches = said ? 0 : emptyWatches + 1;
    if (emptyWatches < timing.emptyWatches) return { next: 'watch', end: said ? 'closed' : 'empty' };
    emptyWatches = 0;
    return { next: 'list', end: 'empty' };
  };

  /** Whether the API server still counts from where we are. Fails like every call. */
  const isBehind = async (signal: AbortSignal): Promise<boolean> => {
    const newest = await client.list(type, { ...selection, limit: 1, signal });
    return isOlder(newest.resourceVersion, version);
  };

  const run = async (signal: AbortSignal): Promise<void> => {
    if (started) throw new Error(`the reflector of ${type.plural} was started before`);
    started = true;
    let next: 'list' | 'watch' = 'list';
    let failures = 0;
    let rewatch = false;
    while (!signal.aborted) {
      status = { ...status, phase: next === 'list' ? 'listing' : 'watching' };
      let step: Step;
      const heardBefore = status.heardAt;
      const before: 'list' | 'watch' = next;
      try {
        if (next === 'watch' && rewatch && (await isBehind(signal))) {
          log.warn(
            { type: type.plural, namespace },
            'the API server counts from an older version: everything is listed',
          );
          next = 'list';
        }
        step = next === 'list' ? await list(signal) : await watch(signal);
      } catch (error) {
        step = judge(error, next, signal);
        if (next === 'list' && step.end !== 'stopped') metrics?.lists.inc({ ...label, result: 'error' });
      }
      if (before === 'watch') metrics?.watches.inc({ ...label, end: step.end });
      next = step.next;
      rewatch = before === 'watch' || step.problem !== undefined;
      if (step.end === 'stopped') break;
      // What was heard in between ends a row of failures; what only ever fails at once waits longer each time.
      if (step.problem === undefined || status.heardAt !== heardBefore) failures = 0;
      const { problem } = step;
      if (problem !== undefined) {
        failures++;
        const waitMs = step.end === 'expired' && failures === 1 ? 0 : backoffMs(failures, backoff, askedMs(problem));
        status = { heardAt: status.heardAt, phase: 'waiting', problem };
        announce(problem, waitMs);
        await sleep(waitMs, signal);
      } else if (step.end === 'empty') {
        // A server that ends each watch at once would be asked without a pause.
        await sleep(backoffMs(emptyWatches + 1, backoff), signal);
      }
    }
    status = { ...status, phase: 'stopped' };
  };

  /** One line for each kind of trouble, not one for each attempt; a history that is gone is nobody's trouble. */
  const announce = (problem: Error, waitMs: number): void => {
    const code = problem instanceof KubeError ? problem.code : problem.name;
    const fields = { code, type: type.plural, namespace, waitMs, err: problem };
    if (code === announced || code === 'SPB008') {
      log.debug(fields, problem.message);
      return;
    }
    announced = code;
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

/** What the end of a step by an error means for the next. */
function judge(error: unknown, step: 'list' | 'watch', signal: AbortSignal): Step {
  if (signal.aborted) return { next: step, end: 'stopped' };
  const problem = error instanceof Error ? error : new Error(String(error));
  if (isExpired(error)) return { next: 'list', end: 'expired', problem };
  if (isForbidden(error) || isNotFound(error)) return { next: 'list', end: 'refused', problem };
  if (!(error instanceof KubeError)) return { next: 'list', end: 'garbled', problem };
  switch (error.code) {
    case 'SPB012':
    case 'SPB013':
    case 'SPB007':
    case 'SPB011':
      return { next: 'list', end: 'garbled', problem };
    case 'SPB019':
      return { next: 'list', end: 'silent', problem };
    case 'SPB010':
      // A version that this server has not seen yet: of another server that was ahead, or of a history that is no more.
      return { next: error.reason === 'Timeout' ? 'list' : step, end: 'broken', problem };
    default:
      return { next: step, end: 'broken', problem };
  }
}

const askedMs = (problem: Error): number => (problem instanceof KubeError ? (problem.retryAfterMs ?? 0) : 0);

/**
 * Versions of one type count upwards (KEP-5504; so they did before it was promised). Where they are no numbers, nothing is said.
 * @returns whether `a` is from before `b`
 */
export function isOlder(a: string, b: string): boolean {
  if (!/^\d{1,20}$/.test(a) || !/^\d{1,20}$/.test(b)) return false;
  return BigInt(a) < BigInt(b);
}

/** What several read must not be changed by one of them. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const part of Object.values(value)) deepFreeze(part);
  return Object.freeze(value);
}
