import { join } from 'node:path';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import type { Configuration } from '../../api/configuration.ts';
import { type Followers, startFollowers } from '../../archive/followers.ts';
import { logFinding } from '../../archive/serve.ts';
import { createFindingLog } from '../../archive/store/findings.ts';
import { openStore } from '../../archive/store/store.ts';
import { createNotificationMetrics } from '../../proxy/notifications/metrics.ts';
import { deliverNotifications } from '../../proxy/notifications/notifier.ts';
import { openStateFolder, type StateFolder } from '../../proxy/standalone/state-folder.ts';
import type { CliIo } from '../io.ts';
import { packageVersion } from '../version.ts';

/** What leaves a gateway besides its answers: the record to archive and sinks, notifications to their receivers. */
export interface Outgoing {
  metrics(): Promise<string>;
  /** @param lastCopy the state folder goes with this process: the archive is tried until the signal fires */
  stop(signal: AbortSignal, lastCopy?: boolean): Promise<void>;
}

/**
 * One for the whole gateway, in the process that has the state folder; the workers write files, and this reads them. So whatever is slow or
 * down out there holds no command up. @throws ArchiveError, DeliveryError, ApiError: what is configured wrongly
 */
export async function startOutgoing(configuration: Configuration, state: StateFolder, io: CliIo): Promise<Outgoing> {
  const log = pino({ base: { part: 'outgoing' } }, { write: (line: string) => void io.stderr.write(line) });
  const registry = new Registry();
  const stopping = new AbortController();
  await using starting = new AsyncDisposableStack();
  const { archive, sinks, notifications } = configuration;
  const folder = archive?.type === 'directory' ? await openStateFolder(archive.directory, io.pid) : undefined;
  if (folder !== undefined) starting.defer(() => folder.release());
  const store =
    folder === undefined
      ? undefined
      : await openStore({
          folder: folder.path,
          findings: createFindingLog(folder.path, Date.now, (finding) => logFinding(log, finding)),
          quotaBytes: undefined,
          minFreeBytes: 0,
        });
  const followers: Followers = await startFollowers({
    root: state.record,
    positions: join(state.path, 'positions'),
    sinks,
    archive,
    store,
    version: packageVersion(),
    registry,
    log,
  });
  const delivering =
    notifications.webhooks.length === 0
      ? Promise.resolve()
      : deliverNotifications(
          {
            webhooks: notifications.webhooks,
            state: state.path,
            now: Date.now,
            log,
            metrics: createNotificationMetrics(registry),
          },
          stopping.signal,
        );
  const running = starting.move();
  return {
    metrics: () => registry.metrics(),
    async stop(signal, lastCopy = false) {
      stopping.abort();
      await Promise.all([delivering, followers.stop(signal, lastCopy)]);
      await running.disposeAsync();
    },
  };
}
