import { join } from 'node:path';
import type { Registry } from 'prom-client';
import type { ArchiveConfiguration, SinkConfiguration } from '../api/configuration-outgoing.ts';
import { type BackoffSettings, DEFAULT_BACKOFF } from '../delivery/backoff.ts';
import { causeOf } from '../delivery/errors.ts';
import type { ClientTls } from '../delivery/http.ts';
import { ARCHIVE_DESTINATION, type Destination } from './follow/destination.ts';
import { createFollower, type Follower, type FollowObserver } from './follow/follower.ts';
import { createPositionStore } from './follow/positions.ts';
import { localArchive } from './local.ts';
import { createFollowMetrics, type FollowMetrics } from './metrics.ts';
import { remoteArchive } from './remote.ts';
import { configuredSink, readConfigured } from './sinks/configured.ts';
import type { ArchiveStore } from './store/store.ts';

export interface FollowLog {
  info(facts: Readonly<Record<string, unknown>>, message: string): void;
  warn(facts: Readonly<Record<string, unknown>>, message: string): void;
  error(facts: Readonly<Record<string, unknown>>, message: string): void;
}

export interface FollowersOptions {
  /** Folder of the record that is followed. */
  readonly root: string;
  /** Where it is remembered how far each destination has come. */
  readonly positions: string;
  readonly sinks: readonly SinkConfiguration[];
  readonly archive: ArchiveConfiguration | undefined;
  /** The store of `archive.directory`. */
  readonly store: ArchiveStore | undefined;
  readonly version: string;
  readonly registry: Registry;
  readonly log: FollowLog;
  readonly backoff?: BackoffSettings;
}

export interface Followers {
  /** Stops following, then delivers what is left as far as it can be before `signal` is aborted. */
  /** @param lastCopy what the archive does not have is lost with this process: it is tried until the signal fires */
  stop(signal: AbortSignal, lastCopy?: boolean): Promise<void>;
}

/** Begins to bring the record to its archive and sinks, each on its own. @throws ArchiveError, DeliveryError: what is configured wrongly */
export async function startFollowers(options: FollowersOptions): Promise<Followers> {
  const lags = new Map<string, () => ReturnType<Follower['lag']>>();
  const metrics = createFollowMetrics(options.registry, lags);
  const destinations = await destinationsOf(options, metrics);
  const stopping = new AbortController();
  const followers = destinations.map((destination) => {
    const follower = createFollower({
      root: options.root,
      destination,
      positions: createPositionStore(join(options.positions, destination.name)),
      observer: observe(destination.name, metrics, options.log),
      backoff: options.backoff ?? DEFAULT_BACKOFF,
      monotonic: () => performance.now(),
    });
    lags.set(destination.name, () => follower.lag(Date.now()));
    return { destination, follower, running: follower.run(stopping.signal) };
  });
  return {
    async stop(signal, lastCopy = false) {
      stopping.abort();
      await Promise.all(
        followers.map(async ({ destination, follower, running }) => {
          await running;
          await follower.drain(signal, lastCopy && destination.name === ARCHIVE_DESTINATION);
          destination.close();
        }),
      );
    },
  };
}

async function destinationsOf(options: FollowersOptions, metrics: FollowMetrics): Promise<Destination[]> {
  const { archive, store } = options;
  const sinks = options.sinks.map((sink) =>
    configuredSink(sink, options.version, {
      rejected: (records) => metrics.rejected.inc({ sink: sink.name }, records),
    }),
  );
  const destinations = await Promise.all(sinks);
  if (archive?.type === 'remote') {
    const tls = () => clientTls(archive);
    await tls();
    destinations.push(remoteArchive({ url: new URL(archive.url), tls }));
  } else if (store !== undefined) destinations.push(localArchive(store));
  return destinations;
}

async function clientTls(archive: Extract<ArchiveConfiguration, { type: 'remote' }>): Promise<ClientTls> {
  const [ca, certificate, key] = await Promise.all([
    readConfigured(archive.caFile),
    readConfigured(archive.certificateFile),
    readConfigured(archive.keyFile),
  ]);
  return { ca, certificate, key };
}

function observe(sink: string, metrics: FollowMetrics, log: FollowLog): FollowObserver {
  let failing = false;
  return {
    delivered(bytes) {
      metrics.deliveredBytes.inc({ sink }, bytes);
      metrics.lastSuccess.set({ sink }, Date.now() / 1000);
      if (failing) log.info({ sink }, 'the sink takes the record again');
      failing = false;
    },
    failed(error, waitMs) {
      metrics.failures.inc({ sink });
      failing = true;
      const facts =
        error instanceof Error && 'hint' in error
          ? { hint: error.hint, error: error.message }
          : { error: causeOf(error) };
      const code = causeOf(error);
      log.warn({ sink, code, ...facts, waitMs: Math.round(waitMs) }, 'a sink does not take the record');
    },
    lost(error) {
      metrics.lostSegments.inc({ sink });
      log.error({ sink, code: error.code, hint: error.hint }, error.message);
    },
  };
}
