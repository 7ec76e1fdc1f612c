import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Registry } from 'prom-client';
import type { ArchiveServerConfiguration, SinkConfiguration } from '../api/configuration-outgoing.ts';
import { keepRetention } from '../record/retention.ts';
import type { RemovedSegment } from '../record/verify/removals.ts';
import { type Followers, type FollowLog, startFollowers } from './followers.ts';
import { type ArchiveMetrics, createArchiveMetrics, createReadingMetrics } from './metrics.ts';
import type { Reviews } from './reading/auditor.ts';
import { startReadingServer } from './reading/server.ts';
import { type ArchiveTls, startArchiveServer } from './server/server.ts';
import { readConfigured } from './sinks/configured.ts';
import { createFindingLog, type ReportedFinding } from './store/findings.ts';
import { type ArchiveStore, openStore } from './store/store.ts';
import { createUsedLedger, KEEP_USED_MS, type UsedLedger } from './store/used-requests.ts';

export interface ArchiveOptions {
  readonly configuration: ArchiveServerConfiguration;
  /** They follow what the archive has. */
  readonly sinks: readonly SinkConfiguration[];
  readonly version: string;
  /** Records in `root` what is about to be removed there; nothing is removed before it resolves. Given by who has the key that signs. */
  readonly enter: (root: string, removed: readonly RemovedSegment[]) => Promise<void>;
  readonly registry: Registry;
  readonly log: FollowLog;
  /** Asked for when the configuration has a `readingAddress`: who reads, and what they may, is said by a cluster. */
  readonly readers?: () => Promise<Readers>;
}

export interface Readers {
  readonly reviews: Reviews;
  /** PEM of the authorities of the cluster's client certificates; undefined: not known now, so that only tokens are taken. Never rejects. */
  readonly clientCa: () => Promise<string | undefined>;
}

export interface Archive {
  readonly port: number;
  /** Of the port for people. */
  readonly readingPort: number | undefined;
  stop(signal: AbortSignal): Promise<void>;
}

const CERTIFICATE_CHECK_MS = 10_000;
const DAY_MS = 86_400_000;

/** The log line of a finding: where, never what stands there. */
export function logFinding(log: FollowLog, finding: ReportedFinding): void {
  const { proxy, segment, offset, kind, message } = finding;
  log.error({ proxy, segment, offset, kind }, message);
}

/** Everything that an archive is: store, server, retention and sinks. @throws ArchiveError; the system's error */
export async function startArchive(options: ArchiveOptions): Promise<Archive> {
  const { configuration, log, registry } = options;
  await using starting = new AsyncDisposableStack();
  let metrics: ArchiveMetrics | undefined;
  const findings = createFindingLog(configuration.directory, Date.now, (finding) => {
    metrics?.findings.inc({ kind: finding.kind });
    logFinding(log, finding);
  });
  const store = await openStore({ folder: configuration.directory, findings, ...configuration });
  const used = createUsedLedger(join(configuration.directory, 'used'));
  metrics = createArchiveMetrics(registry, () => store.usage());
  const { received, lastReceived, refused } = metrics;
  const tls = await readTls(configuration);
  const server = await startArchiveServer({
    address: configuration,
    tls,
    store,
    used,
    proxies: configuration.proxies,
    observer: {
      received(proxy, bytes) {
        received.inc({ proxy }, bytes);
        lastReceived.set({ proxy }, Date.now() / 1000);
      },
      refused(proxy, { code, message, hint }) {
        refused.inc({ code });
        log.warn({ proxy, code, hint }, message);
      },
    },
  });
  starting.defer(() => server.close());
  const reading = await startReading(store, tls, options);
  if (reading !== undefined) starting.defer(() => reading.close());
  const renewed = (fresh: ArchiveTls): void => {
    server.renew(fresh);
    reading?.renew(fresh);
  };
  const renewing = renewTls(configuration, tls, renewed, log);
  starting.defer(() => clearInterval(renewing));
  const retaining = new AbortController();
  starting.defer(() => retaining.abort());
  void retain(store, options, retaining.signal);
  void forgetUsed(used, log, retaining.signal);
  const followers: Followers = await startFollowers({
    root: store.root,
    positions: join(configuration.directory, 'positions'),
    sinks: options.sinks,
    archive: undefined,
    store: undefined,
    version: options.version,
    registry,
    log,
  });
  const running = starting.move();
  return {
    port: server.port,
    readingPort: reading?.port,
    async stop(signal) {
      await running.disposeAsync();
      await followers.stop(signal);
    },
  };
}

interface Reading {
  readonly port: number;
  renew(tls: ArchiveTls): void;
  close(): Promise<void>;
}

async function startReading(
  store: ArchiveStore,
  tls: ArchiveTls,
  { configuration, readers, log, registry }: ArchiveOptions,
): Promise<Reading | undefined> {
  if (configuration.reading === undefined || readers === undefined) return undefined;
  const { reviews, clientCa } = await readers();
  let current = tls;
  let authorities = await clientCa();
  const { read, refused } = createReadingMetrics(registry);
  const server = await startReadingServer({
    address: configuration.reading,
    tls: { ...tls, clientCa: authorities },
    root: store.root,
    reviews,
    now: () => performance.now(),
    observer: {
      read({ username }, path) {
        read.inc();
        log.info({ username, path }, 'the record was read');
      },
      refused(username, { code, message, hint }) {
        refused.inc({ code });
        log.warn({ username, code, hint }, message);
      },
    },
  });
  const renew = (): void => server.renew({ ...current, clientCa: authorities });
  const look = async (): Promise<void> => {
    const read = (await clientCa()) ?? authorities;
    if (read === authorities) return;
    authorities = read;
    renew();
  };
  const looking = setInterval(() => void look(), CERTIFICATE_CHECK_MS);
  looking.unref();
  return {
    port: server.port,
    renew(fresh) {
      current = fresh;
      renew();
    },
    close() {
      clearInterval(looking);
      return server.close();
    },
  };
}

async function readTls(files: ArchiveServerConfiguration): Promise<ArchiveTls> {
  const [certificate, key, clientCa] = await Promise.all([
    readConfigured(files.certificateFile),
    readConfigured(files.keyFile),
    readConfigured(files.clientCaFile),
  ]);
  return { certificate, key, clientCa };
}

/** Certificates that somebody else renews, such as cert-manager, are taken without a restart. */
function renewTls(
  files: ArchiveServerConfiguration,
  first: ArchiveTls,
  renew: (tls: ArchiveTls) => void,
  log: FollowLog,
): NodeJS.Timeout {
  let current = JSON.stringify(first);
  const check = async (): Promise<void> => {
    const tls = await readTls(files);
    const read = JSON.stringify(tls);
    if (read === current) return;
    renew(tls);
    current = read;
    log.info({}, 'the certificate was renewed');
  };
  const timer = setInterval(() => {
    // Between two writes certificate and key may not belong together: the next look sees both.
    check().catch((error: Error) => log.error({ error: error.name }, 'the new certificate cannot be used'));
  }, CERTIFICATE_CHECK_MS);
  timer.unref();
  return timer;
}

/** Once a day: approvals that were used so long ago that no vote on them can count any more. */
async function forgetUsed(used: UsedLedger, log: FollowLog, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await used
      .removeBefore(Date.now() - KEEP_USED_MS)
      .catch((error: Error) => log.error({ error: error.name }, 'old notes of used approvals could not be removed'));
    await delay(DAY_MS, undefined, { signal, ref: false }).catch(() => undefined);
  }
}

function retain(
  store: ArchiveStore,
  { configuration, enter, log }: ArchiveOptions,
  signal: AbortSignal,
): Promise<void> {
  return keepRetention(
    {
      root: store.root,
      retentionDays: () => configuration.retentionDays,
      enter: (removed) => enter(store.root, removed),
      onRemoved(paths) {
        log.info({ paths }, 'segments past their retention were removed');
        store.recount().catch((error: Error) => log.error({ error: error.name }, 'the archive cannot be counted'));
      },
      onError: (error) => log.error({ error: String(error) }, 'old segments could not be removed'),
    },
    signal,
  );
}
