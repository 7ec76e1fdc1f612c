import { join } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { pino } from 'pino';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { PORTS } from '../../api/cluster.ts';
import { DEFAULT_CONFIGURATION, loadConfiguration, parseAddress } from '../../api/configuration.ts';
import { ArchiveError } from '../../archive/errors.ts';
import { startArchive } from '../../archive/serve.ts';
import { recordRemovals } from '../../proxy/recording/ledger.ts';
import { recordKey } from '../../proxy/standalone/record-key.ts';
import { openStateFolder } from '../../proxy/standalone/state-folder.ts';
import { serveProbes } from '../../proxy/telemetry/server.ts';
import { createAnchors } from '../../record/anchors.ts';
import type { CliIo } from '../io.ts';
import { packageVersion } from '../version.ts';
import { type ClusterArchiveOptions, clusterArchive, clusterConfiguration } from './archive-cluster.ts';
import { groupExamples } from './group-examples.ts';

interface ArchiveRunOptions extends ClusterArchiveOptions {
  readonly config?: string;
  readonly cluster: boolean;
  readonly metricsAddress?: string;
  readonly output: 'text' | 'json';
}

const DRAIN_MS = 10_000;

const EXAMPLES = [
  'sallyport archive run -c archive.yaml',
  'sallyport archive run --cluster --kubeconfig ~/.kube/config --tls tls --directory /srv/record',
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
    .option('-c, --config <file>', 'SallyportConfiguration with archiveServer; its sinks follow the archive')
    .option(
      '--cluster',
      'in a cluster: certificates say which namespace a proxy writes, and people read over a port of their own',
      false,
    )
    .option('--directory <dir>', 'with --cluster: where the record is kept', '/var/lib/sallyport')
    .option('--tls <dir>', 'with --cluster: tls.crt, tls.key, and ca.crt of the proxies', '/var/run/sallyport/tls')
    .option('--address <host:port>', 'with --cluster: for proxies', `0.0.0.0:${PORTS.archive}`)
    .option('--reading-address <host:port>', 'with --cluster: for people', `0.0.0.0:${PORTS.archiveReading}`)
    .option('--metrics-address <host:port>', `with --cluster: metrics and health (default: 0.0.0.0:${PORTS.metrics})`)
    .addOption(
      new Option('--retention-days <days>', 'with --cluster: how long the record is kept')
        .argParser(parseDays)
        .default(400),
    )
    .option('--kubeconfig <file>', 'with --cluster: how to reach the API server (default: as a pod does)')
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json']).default('text'))
    .action((options: ArchiveRunOptions) => run(options, io));
}

function parseDays(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new InvalidArgumentError('Write a whole number of days.');
  return Number(text);
}

async function run(options: ArchiveRunOptions, io: CliIo): Promise<void> {
  const loaded = options.config === undefined ? DEFAULT_CONFIGURATION : await loadConfiguration(options.config);
  const { sinks } = loaded;
  const archiveServer = options.cluster ? clusterConfiguration(options) : loaded.archiveServer;
  if (archiveServer === undefined) throw new ArchiveError('SPH013', []);
  const metrics = options.cluster ? parseAddress(options.metricsAddress ?? `0.0.0.0:${PORTS.metrics}`) : loaded.metrics;
  const log = pino({ base: { part: 'archive' } }, { write: (line: string) => void io.stderr.write(line) });
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const folder = await openStateFolder(archiveServer.directory, io.pid);
  await using open = new AsyncDisposableStack();
  open.defer(() => folder.release());
  const cluster = options.cluster ? await clusterArchive(options, io, log) : undefined;
  const archive = await startArchive({
    configuration: archiveServer,
    ...(cluster === undefined ? {} : { cluster }),
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
    if (archive.readingPort !== undefined) io.stdout.write(`for people on ${options.readingAddress}\n`);
    io.stdout.write(`metrics http://${metrics.host}:${metricsPort}/metrics\nready\n`);
  }
  await new Promise<void>((resolve) => {
    if (io.signal.aborted) resolve();
    else io.signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
