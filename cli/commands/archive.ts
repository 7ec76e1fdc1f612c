import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { pino } from 'pino';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { loadConfiguration } from '../../api/configuration.ts';
import { ArchiveError } from '../../archive/errors.ts';
import { startArchive } from '../../archive/serve.ts';
import { recordRemovals } from '../../proxy/recording/ledger.ts';
import { recordKey } from '../../proxy/standalone/record-key.ts';
import { openStateFolder } from '../../proxy/standalone/state-folder.ts';
import { serveProbes } from '../../proxy/telemetry/server.ts';
import { createAnchors } from '../../record/anchors.ts';
import type { CliIo } from '../io.ts';
import { packageVersion } from '../version.ts';
import { groupExamples } from './group-examples.ts';

interface ArchiveRunOptions {
  readonly config: string;
  readonly kubeconfig?: string;
  readonly output: 'text' | 'json';
}

const DRAIN_MS = 10_000;

const EXAMPLES = [
  'sallyport archive run -c archive.yaml',
  'sallyport sessions list --state /var/lib/sallyport-archive',
];

/** Adds `archive run`. */
export function register(program: Command, io: CliIo): void {
  program
    .command('archive')
    .description('Keep the record of many gateways in one place')
    .addHelpText('afterAll', groupExamples(EXAMPLES))
    .command('run')
    .description('Take segments of gateways over mutual TLS, check that they continue what is there, keep them')
    .requiredOption('-c, --config <file>', 'SallyportConfiguration with archiveServer; its sinks follow the archive')
    .option('--kubeconfig <file>', 'with readingAddress: the cluster that says who may read (default: that of the pod)')
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json']).default('text'))
    .action((options: ArchiveRunOptions) => run(options, io));
}

async function run(options: ArchiveRunOptions, io: CliIo): Promise<void> {
  const { archiveServer, sinks, metrics } = await loadConfiguration(options.config);
  if (archiveServer === undefined) throw new ArchiveError('SPH013', []);
  const log = pino({ base: { part: 'archive' } }, { write: (line: string) => void io.stderr.write(line) });
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const folder = await openStateFolder(archiveServer.directory, io.pid);
  await using open = new AsyncDisposableStack();
  open.defer(() => folder.release());
  const archive = await startArchive({
    configuration: archiveServer,
    sinks,
    version: packageVersion(),
    enter: async (root, removed) => {
      const { directory } = archiveServer;
      const anchor = createAnchors(join(directory, 'anchors'), (error) =>
        log.error({ error: String(error) }, 'not anchored'),
      );
      await recordRemovals({ root, pid: io.pid, signer: await recordKey(directory) }, removed, anchor);
    },
    registry,
    log,
    readers: async () => (await import('./archive-readers.ts')).clusterReaders(options.kubeconfig, io, log),
  });
  open.defer(() => archive.stop(AbortSignal.timeout(DRAIN_MS)));
  const probes = await serveProbes(metrics, { metrics: () => registry.metrics(), notReady: () => undefined });
  open.defer(() => void probes.close());
  const bound = probes.address();
  const metricsPort = typeof bound === 'object' && bound !== null ? bound.port : 0;
  const { host } = archiveServer;
  if (options.output === 'json') {
    const ready = {
      event: 'ready',
      host,
      port: archive.port,
      ...(archive.readingPort === undefined ? {} : { readingPort: archive.readingPort }),
      metrics: `http://${metrics.host}:${metricsPort}/metrics`,
    };
    io.stdout.write(`${JSON.stringify(ready)}\n`);
  } else {
    io.stdout.write(`archive ${archiveServer.directory} on ${host}:${archive.port}\n`);
    const { reading } = archiveServer;
    if (reading !== undefined) io.stdout.write(`read by people on ${reading.host}:${archive.readingPort}\n`);
    io.stdout.write(`metrics http://${metrics.host}:${metricsPort}/metrics\nready\n`);
  }
  await new Promise<void>((resolve) => {
    if (io.signal.aborted) resolve();
    else io.signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
