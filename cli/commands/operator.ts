import { lookup } from 'node:dns/promises';
import { hostname } from 'node:os';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { DEFAULT_OPERATOR_NAMESPACE, PORTS } from '../../api/cluster.ts';
import type { CliIo } from '../io.ts';
import { packageVersion } from '../version.ts';
import { groupExamples } from './group-examples.ts';

interface OperatorRunOptions {
  readonly namespace?: string;
  readonly image: string;
  readonly connectorImage: string;
  readonly imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never';
  readonly proxyReplicas: number;
  readonly proxyArgument: readonly string[];
  readonly proxyConfiguration?: string;
  readonly archiveSize: string;
  readonly archiveStorageClass?: string;
  readonly archiveRetentionDays: number;
  readonly archiveQuotaBytes?: number;
  readonly requestDays: number;
  readonly signingKeyGeneration: number;
  readonly webhookPort: number;
  readonly metricsPort: number;
  readonly kubeconfig?: string;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
}

const EXAMPLES = [
  'sallyport operator --image registry.example/sallyport:0.1.0 --connector-image registry.example/sallyport-connector:0.1.0',
  'sallyport operator --namespace sallyport-system --kubeconfig ~/.kube/config --image sallyport --connector-image sallyport-connector',
];

/** As the archive's configuration has it. */
const MIN_QUOTA_BYTES = 1_048_576;

function whole(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d{1,6}$/.test(text) || value < least || value > most)
      throw new InvalidArgumentError(`Write a number from ${least} to ${most}.`);
    return value;
  };
}

function bytes(text: string): number {
  const value = Number(text);
  if (!/^\d{7,16}$/.test(text) || value < MIN_QUOTA_BYTES || !Number.isSafeInteger(value))
    throw new InvalidArgumentError(`Write a number of bytes, at least ${MIN_QUOTA_BYTES}.`);
  return value;
}

function quantity(text: string): string {
  if (!/^[1-9][0-9]{0,8}(Mi|Gi|Ti)$/.test(text)) throw new InvalidArgumentError('Write a size such as 20Gi.');
  return text;
}

/** Adds `operator`. */
export function register(program: Command, io: CliIo): void {
  program
    .command('operator')
    .description('Run the operator of a cluster: what the chart starts')
    .addHelpText('afterAll', groupExamples(EXAMPLES))
    .option('--namespace <namespace>', 'where it is installed (default: POD_NAMESPACE)')
    .requiredOption('--image <image>', 'image of proxies and archive')
    .requiredOption('--connector-image <image>', 'image of the connector that is injected')
    .addOption(
      new Option('--image-pull-policy <policy>', 'of proxies and archive')
        .choices(['Always', 'IfNotPresent', 'Never'])
        .default('IfNotPresent'),
    )
    .addOption(new Option('--proxy-replicas <n>', 'proxies of each namespace').argParser(whole(1, 32)).default(2))
    .option('--proxy-argument <argument>', 'another argument for every proxy; may be repeated', collect, [])
    .option(
      '--proxy-configuration <dir>',
      'configuration.yaml (SallyportConfiguration) and files beside it, for every proxy',
    )
    .addOption(new Option('--archive-size <size>', 'volume of the archive').argParser(quantity).default('20Gi'))
    .option('--archive-storage-class <name>', "its storage class (default: the cluster's)")
    .addOption(new Option('--archive-retention-days <n>', 'days that it keeps').argParser(whole(1, 36500)).default(400))
    .addOption(new Option('--archive-quota-bytes <n>', 'bytes of it that one namespace may fill').argParser(bytes))
    .addOption(
      new Option('--request-days <n>', 'days that ended ApprovalRequests are kept')
        .argParser(whole(1, 3650))
        .default(30),
    )
    .addOption(
      new Option(
        '--signing-key-generation <n>',
        'a larger number than before replaces the key that signs bundles and votes',
      )
        .argParser(whole(1, 999_999))
        .default(1),
    )
    .addOption(port('--webhook-port <port>', 'where admission is served', PORTS.webhook))
    .addOption(port('--metrics-port <port>', 'where metrics and health are served', PORTS.metrics))
    .option('--kubeconfig <file>', 'how to reach the API server, outside of the cluster')
    .addOption(
      new Option('--log-level <level>', 'least important lines of the log')
        .choices(['debug', 'info', 'warn', 'error'])
        .default('info'),
    )
    .action((options: OperatorRunOptions) => run(options, io));
}

const port = (flags: string, description: string, standard: number): Option =>
  new Option(flags, description).argParser(whole(0, 65535)).default(standard);

const collect = (text: string, before: readonly string[]): string[] => [...before, text];

async function run(options: OperatorRunOptions, io: CliIo): Promise<void> {
  const [
    { loadKubeConfig },
    { runOperator },
    { operatorWebhooks },
    { readProxyConfiguration },
    { serveProbes },
    { pino },
    { Registry, collectDefaultMetrics },
  ] = await Promise.all([
    import('../../kube/access.ts'),
    import('../../operator/serve.ts'),
    import('./operator-webhooks.ts'),
    import('./proxy-configuration.ts'),
    import('../../proxy/telemetry/server.ts'),
    import('pino'),
    import('prom-client'),
  ]);
  const access = await loadKubeConfig({ kubeconfig: options.kubeconfig, env: io.env });
  const log = pino(
    { level: options.logLevel, base: { part: 'operator' } },
    { write: (line: string) => void io.stderr.write(line) },
  );
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const namespace = options.namespace ?? io.env['POD_NAMESPACE'] ?? access.namespace ?? DEFAULT_OPERATOR_NAMESPACE;
  await runOperator(
    {
      access,
      namespace,
      instance: io.env['POD_NAME'] ?? hostname(),
      version: packageVersion(),
      image: options.image,
      connectorImage: options.connectorImage,
      settings: {
        imagePullPolicy: options.imagePullPolicy,
        proxyReplicas: options.proxyReplicas,
        proxyArguments: options.proxyArgument,
        proxyConfiguration:
          options.proxyConfiguration === undefined
            ? undefined
            : await readProxyConfiguration(options.proxyConfiguration),
        archiveVolumeSize: options.archiveSize,
        archiveStorageClass: options.archiveStorageClass,
        archiveRetentionDays: options.archiveRetentionDays,
        archiveQuotaBytes: options.archiveQuotaBytes,
        requestDays: options.requestDays,
        signingKeyGeneration: options.signingKeyGeneration,
      },
      lookup: addressesOf,
      registry,
      log,
      now: Date.now,
      ...operatorWebhooks(
        options.webhookPort,
        (at) => void io.stdout.write(`${JSON.stringify({ event: 'admission', port: at })}\n`),
      ),
      async serveProbes(probes) {
        const server = await serveProbes({ host: '0.0.0.0', port: options.metricsPort }, probes);
        const bound = server.address();
        const at = typeof bound === 'object' && bound !== null ? bound.port : options.metricsPort;
        io.stdout.write(
          `${JSON.stringify({ event: 'listening', namespace, metrics: `http://127.0.0.1:${at}/metrics` })}\n`,
        );
        return {
          [Symbol.asyncDispose]: () =>
            new Promise<void>((resolve) => {
              server.close(() => resolve());
              server.closeAllConnections();
            }),
        };
      },
    },
    io.signal,
  );
}

/** Addresses of a name by the system's resolver, which knows the cluster's search domains. */
async function addressesOf(host: string): Promise<readonly string[]> {
  try {
    return (await lookup(host, { all: true, verbatim: true })).map(({ address }) => address);
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOTFOUND' || error.code === 'EAI_NODATA'))
      return [];
    throw error;
  }
}
