import { randomBytes } from 'node:crypto';
import { sleep } from './backoff.ts';
import { EVENTS, type KubeEvent, type ObjectReference } from './builtin.ts';
import { isConflict, isForbidden, isInvalid, isNotFound } from './errors.ts';
import type { KubeClient, KubeObject, Log } from './types.ts';

/**
 * Events (events.k8s.io/v1): what `kubectl describe` shows below an object. They are told and forgotten: nobody waits for one, and
 * when the API server is slow or gone the oldest are dropped. What is told again within six minutes is counted in a series (KEP-383)
 * instead of written again, and one object gets a bounded number, so that a quarrel between two controllers floods nothing.
 */
export interface EventRecorder {
  /** Never blocks and never throws. */
  event(regarding: KubeObject, event: EventText): void;
  /** Sends until the signal, then for a moment what is left. Never rejects. */
  run(signal: AbortSignal): Promise<void>;
}

export interface EventText {
  readonly type: 'Normal' | 'Warning';
  /** Why, for machines: `BundleSigned`. UpperCamelCase, at most 128 characters. */
  readonly reason: string;
  /** What was done or tried: `Reconcile`. UpperCamelCase. */
  readonly action: string;
  /** For people. Cut at 1024 bytes. No secret. */
  readonly note: string;
  readonly related?: KubeObject;
}

export interface EventRecorderOptions {
  readonly client: KubeClient;
  /** `sallyport.dev/operator`. */
  readonly controller: string;
  /** The pod. */
  readonly instance: string;
  readonly log: Log;
  /** Milliseconds between two writes of one series. */
  readonly seriesWriteMs?: number;
  /** For the Events' times. */
  readonly clock?: () => Date;
  /** Milliseconds, monotonic. */
  readonly now?: () => number;
}

/** As client-go: a series ends after six minutes of silence. */
const SERIES_MS = 360_000;

const SERIES_WRITE_MS = 30_000;
/** Events about one object: so many at once, then one in five minutes, as client-go's spam filter. */
const BURST = 25;
const REFILL_MS = 300_000;
const MAX_PENDING = 1000;
const MAX_REMEMBERED = 4096;
const ATTEMPTS = 3;
const STOP_MS = 2_000;

interface Series {
  readonly event: KubeEvent;
  count: number;
  /** Whether the API server has it, so that a series may follow. */
  written: boolean;
  seenAt: number;
  patchedAt: number;
  lastObserved: Date;
  pending: boolean;
  /** Will be written with what was counted until then. */
  timer: NodeJS.Timeout | undefined;
}

interface Bucket {
  left: number;
  at: number;
}

export function createEventRecorder(options: EventRecorderOptions): EventRecorder {
  const { client, log } = options;
  const clock = options.clock ?? (() => new Date());
  const now = options.now ?? (() => performance.now());
  /** By what is told, about what; the longest untouched first. */
  const series = new Map<string, Series>();
  const buckets = new Map<string, Bucket>();
  const pending: Series[] = [];
  const delayed = new Set<Series>();
  const seriesWriteMs = options.seriesWriteMs ?? SERIES_WRITE_MS;
  let wake: (() => void) | undefined;
  let dropping = false;

  const enqueue = (entry: Series): void => {
    if (entry.pending) return;
    entry.pending = true;
    pending.push(entry);
    if (pending.length > MAX_PENDING) {
      const oldest = pending.shift();
      if (oldest !== undefined) oldest.pending = false;
      if (!dropping)
        log.warn({ pending: MAX_PENDING }, 'Events are dropped: the API server does not take them fast enough');
      dropping = true;
    }
    wake?.();
  };

  /** One that waits already is written with the count that it has then. */
  const writeLater = (entry: Series): void => {
    if (entry.pending || entry.timer !== undefined) return;
    const waitMs = entry.patchedAt + seriesWriteMs - now();
    if (waitMs <= 0) {
      enqueue(entry);
      return;
    }
    delayed.add(entry);
    entry.timer = setTimeout(() => {
      delayed.delete(entry);
      entry.timer = undefined;
      enqueue(entry);
    }, waitMs).unref();
  };

  const mayWrite = (object: string): boolean => {
    const bucket = touch(buckets, object, () => ({ left: BURST, at: now() }));
    const refilled = Math.floor((now() - bucket.at) / REFILL_MS);
    if (refilled > 0) {
      bucket.left = Math.min(BURST, bucket.left + refilled);
      bucket.at += refilled * REFILL_MS;
    }
    if (bucket.left === 0) return false;
    bucket.left--;
    return true;
  };

  const record = (regarding: KubeObject, text: EventText): void => {
    const note = cut(text.note, 1024);
    const object =
      regarding.metadata.uid ?? `${regarding.kind}/${regarding.metadata.namespace}/${regarding.metadata.name}`;
    const key = JSON.stringify([object, text.type, text.reason, text.action, note, text.related?.metadata.uid]);
    const known = series.get(key);
    if (known !== undefined && now() - known.seenAt < SERIES_MS) {
      touch(series, key, () => known);
      known.count++;
      known.seenAt = now();
      known.lastObserved = clock();
      writeLater(known);
      return;
    }
    if (!mayWrite(object)) return;
    series.delete(key);
    const entry: Series = {
      event: eventOf(regarding, { ...text, note }, options, clock()),
      count: 1,
      written: false,
      seenAt: now(),
      patchedAt: Number.NEGATIVE_INFINITY,
      lastObserved: clock(),
      pending: false,
      timer: undefined,
    };
    touch(series, key, () => entry);
    enqueue(entry);
  };

  const write = async (entry: Series, signal: AbortSignal): Promise<void> => {
    const { count } = entry;
    if (!entry.written) {
      await client.create(EVENTS, count === 1 ? entry.event : { ...entry.event, series: seriesOf(entry) }, { signal });
      entry.written = true;
    } else {
      const body = { series: seriesOf(entry) };
      await client.patch(EVENTS, entry.event.metadata, { type: 'merge', body }, { signal });
    }
    entry.patchedAt = now();
  };

  const send = async (entry: Series, signal: AbortSignal): Promise<void> => {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      try {
        await write(entry, signal);
        dropping = false;
        return;
      } catch (error) {
        // There already: the answer to an attempt before this was lost.
        if (isConflict(error)) {
          entry.written = true;
          return;
        }
        const fields = { reason: entry.event.reason, regarding: entry.event.regarding, err: error };
        // The namespace goes away, or the Event has lived for its hour.
        if (isForbidden(error) || isNotFound(error) || isInvalid(error) || attempt === ATTEMPTS || signal.aborted) {
          log.debug(fields, 'an Event could not be written');
          return;
        }
        await sleep(1000 * attempt, signal);
      }
    }
  };

  return {
    event(regarding, text) {
      try {
        record(regarding, text);
      } catch (error) {
        log.error({ err: error }, 'an Event could not be made');
      }
    },
    async run(signal) {
      /** Ends what is being sent, a moment after everything else was told to stop. */
      const hard = new AbortController();
      let timer: NodeJS.Timeout | undefined;
      const stop = (): void => {
        timer = setTimeout(() => hard.abort(), STOP_MS);
        for (const entry of delayed) {
          clearTimeout(entry.timer);
          enqueue(entry);
        }
        delayed.clear();
        wake?.();
      };
      if (signal.aborted) stop();
      signal.addEventListener('abort', stop, { once: true });
      while (!hard.signal.aborted) {
        const entry = pending.shift();
        if (entry !== undefined) {
          entry.pending = false;
          await send(entry, hard.signal);
        } else if (signal.aborted) {
          break;
        } else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
      clearTimeout(timer);
    },
  };
}

/** The entry, as the last touched one; the longest untouched is forgotten when there are too many. */
function touch<V>(entries: Map<string, V>, key: string, make: () => V): V {
  const entry = entries.get(key) ?? make();
  entries.delete(key);
  entries.set(key, entry);
  const oldest = entries.keys().next();
  if (entries.size > MAX_REMEMBERED && oldest.done !== true) entries.delete(oldest.value);
  return entry;
}

function eventOf(
  regarding: KubeObject,
  text: EventText,
  { controller, instance }: EventRecorderOptions,
  time: Date,
): KubeEvent {
  // An Event about a cluster-scoped object lies in `default`; the API server insists on it.
  const namespace = regarding.metadata.namespace ?? 'default';
  return {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: { namespace, name: `${cut(regarding.metadata.name, 230)}.${randomBytes(8).toString('hex')}` },
    eventTime: microTime(time),
    reportingController: controller,
    reportingInstance: cut(instance, 128),
    type: text.type,
    reason: cut(text.reason, 128),
    action: cut(text.action, 128),
    note: text.note,
    regarding: referenceTo(regarding),
    ...(text.related === undefined ? {} : { related: referenceTo(text.related) }),
  };
}

const referenceTo = ({ apiVersion, kind, metadata }: KubeObject): ObjectReference => ({
  apiVersion,
  kind,
  name: metadata.name,
  ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
  ...(metadata.uid === undefined ? {} : { uid: metadata.uid }),
  ...(metadata.resourceVersion === undefined ? {} : { resourceVersion: metadata.resourceVersion }),
});

const seriesOf = (entry: Series) => ({ count: entry.count, lastObservedTime: microTime(entry.lastObserved) });

const microTime = (date: Date): string => date.toISOString().replace('Z', '000Z');

/** At most so many bytes of UTF-8, no character cut in two. */
function cut(text: string, bytes: number): string {
  const encoded = Buffer.from(text);
  if (encoded.length <= bytes) return text;
  return new TextDecoder().decode(encoded.subarray(0, bytes)).replace(/\uFFFD+$/, '');
}
