import { chmod, mkdir } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { pino } from 'pino';
import { DEFAULT_OPERATOR_NAMESPACE, PORTS } from '../../api/cluster.ts';
import type { MakeReflector, Replica } from '../../proxy/cluster/replica.ts';
import type { CliIo } from '../io.ts';
import { packageVersion } from '../version.ts';

interface ProxyOptions {
  readonly trustedKey: readonly string[];
  readonly operatorNamespace: string;
  readonly archive?: string;
  readonly state: string;
  readonly credentials: string;
  readonly tls: string;
  readonly tokenKey: string;
  readonly tokenIssuer?: string;
  readonly config?: string;
  readonly kubeconfig?: string;
  readonly listen?: string;
  readonly tunnelPort: number;
  readonly metricsPort: number;
  readonly drain: number;
  readonly logLevel: string;
  readonly output: 'text' | 'json';
}

/** Everything behind it ends well before the kubelet kills it, after 300 s. */
const DRAIN_SECONDS = 240;
/** What is left of the record goes to the archive: it is tried for so long, within the grace period of the pod. */
const OUTGOING_MS = 30_000;

function parsePort(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new InvalidArgumentError('write a port.');
  return port;
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (!Number.isInteger(seconds) || seconds < 0 || seconds > 3600)
    throw new InvalidArgumentError('write a number of seconds, at most 3600.');
  return seconds;
}

const collect = (value: string, all: readonly string[] = []): readonly string[] => [...all, value];

/** Adds `proxy`. */
export function register(program: Command, io: CliIo): void {
  program
    .command('proxy')
    .description('Serve the AccessConnections of a namespace in a cluster; the operator starts it')
    .requiredOption('--trusted-key <base64>', 'Ed25519 key that signs bundles (32 bytes); may be repeated', collect)
    .option('--operator-namespace <name>', 'where the operator is installed', DEFAULT_OPERATOR_NAMESPACE)
    .option('--archive <url>', 'https address of the archive; without it the record stays on this disk')
    .option('--state <dir>', 'where keys and the record are kept', '/var/lib/sallyport')
    .option('--credentials <dir>', 'mounted secrets/NAME/KEY and configmaps/NAME/KEY', '/var/run/sallyport/credentials')
    .option('--tls <dir>', 'mounted tls.crt, tls.key and ca.crt, and the SSH host key', '/var/run/sallyport/tls')
    .option('--token-key <file>', 'key for tokens of masking rules', '/var/run/sallyport/token-key/key')
    .option('--token-issuer <url>', 'issuer of service-account tokens (default: as the API server says)')
    .option('-c, --config <file>', 'SallyportConfiguration: issuers outside of the cluster, limits')
    .option('--kubeconfig <file>', 'how to reach the API server (default: the pod’s service account)')
    .option('--listen <address>', 'address for connectors and gateways (default: all)')
    .option('--tunnel-port <port>', 'port for connectors, 0 for any', parsePort, PORTS.tunnel)
    .option('--metrics-port <port>', 'port of /metrics, /healthz and /readyz, 0 for any', parsePort, PORTS.metrics)
    .option(
      '--drain <seconds>',
      'how long running transactions may take to end after SIGTERM',
      parseSeconds,
      DRAIN_SECONDS,
    )
    .addOption(
      new Option('--log-level <level>', 'least severe that is logged')
        .choices(['debug', 'info', 'warn', 'error'])
        .default('info'),
    )
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json']).default('text'))
    .addHelpText(
      'after',
      `
Environment, set from the pod (downward API): POD_NAME, POD_NAMESPACE, POD_UID, and POD_IP, NODE_NAME.

Examples:
  sallyport proxy --trusted-key "$KEY" --archive https://sallyport-archive.sallyport-system.svc:8444
  sallyport proxy --trusted-key "$KEY" --kubeconfig admin.conf --state /tmp/replica --listen 127.0.0.1 --tunnel-port 0`,
    )
    .action((options: ProxyOptions) => serve(options, io));
}

function fromPod(io: CliIo, name: string, error: (what: string) => Error): string {
  const value = io.env[name];
  if (value === undefined || value === '') throw error(name);
  return value;
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

/** Every address of this machine: `::` takes IPv4 too, where there is IPv6 at all. */
function everyAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  return all.some(({ family }) => family === 'IPv6') ? '::' : '0.0.0.0';
}

/** The folder of this replica: the volume itself belongs to the kubelet, and may be anybody's to write. */
async function ownFolder(state: string): Promise<string> {
  const folder = join(state, 'replica');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await chmod(folder, 0o700);
  return folder;
}

async function serve(options: ProxyOptions, io: CliIo): Promise<void> {
  const [
    { DEFAULT_CONFIGURATION, loadConfiguration },
    { createKubeClient },
    { loadKubeConfig },
    { createReflector },
    { createKubeMetrics },
    { ClusterError },
    { proxyApprovals },
    { createClusterIdentity },
    { startReplica },
    { recordKey },
    { openStateFolder },
    { serveProbes },
    { createAnchors },
    { recoverRecord },
    { errorText },
    { startOutgoing },
    { Registry },
  ] = await Promise.all([
    import('../../api/configuration.ts'),
    import('../../kube/client.ts'),
    import('../../kube/access.ts'),
    import('../../kube/reflector.ts'),
    import('../../kube/metrics.ts'),
    import('../../proxy/cluster/errors.ts'),
    import('./proxy-approvals.ts'),
    import('../../proxy/cluster/own-identity.ts'),
    import('../../proxy/cluster/replica.ts'),
    import('../../proxy/standalone/record-key.ts'),
    import('../../proxy/standalone/state-folder.ts'),
    import('../../proxy/telemetry/server.ts'),
    import('../../record/anchors.ts'),
    import('../../record/recover.ts'),
    import('../errors.ts'),
    import('./outgoing.ts'),
    import('prom-client'),
  ]);
  const missing = (what: string): Error => new ClusterError('SPX020', [what]);
  const pod = {
    name: fromPod(io, 'POD_NAME', missing),
    namespace: fromPod(io, 'POD_NAMESPACE', missing),
    uid: fromPod(io, 'POD_UID', missing),
  };
  const configuration = options.config === undefined ? DEFAULT_CONFIGURATION : await loadConfiguration(options.config);
  const log = pino(
    { level: options.logLevel, base: { pod: pod.name } },
    { write: (line: string) => void io.stderr.write(line) },
  );
  const access = await loadKubeConfig({ kubeconfig: options.kubeconfig, env: io.env });
  const registry = new Registry();
  const kubeMetrics = createKubeMetrics(registry, access.server.host);
  const client = createKubeClient({
    access,
    observe: kubeMetrics.request,
    userAgent: `sallyport-proxy/${packageVersion()}`,
  });

  await using open = new AsyncDisposableStack();
  open.defer(() => client.close());
  const folder = await openStateFolder(await ownFolder(options.state), io.pid);
  open.defer(() => folder.release());
  // What a process of this pod left open that was killed, before anything new is written.
  const told = (error: unknown): void =>
    void io.stderr.write(errorText(error instanceof Error ? error : new Error(String(error))));
  const { failures } = await recoverRecord({
    root: folder.record,
    signer: await recordKey(folder.path),
    onCheckpoint: createAnchors(join(folder.path, 'anchors'), told),
  });
  for (const failure of failures) told(failure);
  const tlsFile = (name: string): string => join(options.tls, name);
  const outgoing = await startOutgoing(
    {
      ...configuration,
      archive:
        options.archive === undefined
          ? undefined
          : {
              type: 'remote',
              url: options.archive,
              caFile: tlsFile('ca.crt'),
              certificateFile: tlsFile('tls.crt'),
              keyFile: tlsFile('tls.key'),
            },
    },
    folder,
    io,
  );
  // After the replica: what it wrote last goes out too. The volume of a pod that is deleted goes with it.
  open.defer(() => outgoing.stop(AbortSignal.timeout(OUTGOING_MS), true));

  const host = options.listen ?? everyAddress();
  const monotonic = (): number => performance.now();
  let replica: Replica | undefined;
  const probes = await serveProbes(
    { host, port: options.metricsPort },
    {
      metrics: async () =>
        [await replica?.metrics.registry.metrics(), await registry.metrics(), await outgoing.metrics()]
          .map((text) => (text ?? '').trimEnd())
          .join('\n'),
      notReady: () => (replica === undefined ? 'the proxy is starting' : replica.notReady()),
    },
  );
  // Until the end, so that a proxy that drains is alive, and not ready.
  open.defer(() => void probes.close());
  const follow: MakeReflector = (type, selection) =>
    createReflector({ client, type, log, metrics: kubeMetrics, now: monotonic, ...selection });
  const started = await startReplica({
    client,
    reflector: follow,
    pod,
    trustedKeys: options.trustedKey,
    state: folder.path,
    credentials: options.credentials,
    tokenKeyFile: options.tokenKey,
    tls: options.tls,
    tokenIssuer: options.tokenIssuer,
    issuers: configuration.issuers,
    host,
    tunnelPort: options.tunnelPort,
    limits: configuration.limits,
    syncReads: configuration.record.syncReads,
    cluster: createClusterIdentity({ access, client }),
    approvals: proxyApprovals({
      client,
      reflector: follow,
      pod,
      archive: options.archive,
      tls: options.tls,
      configuration,
      state: folder.path,
      log,
      now: Date.now,
      monotonic,
    }),
    pid: io.pid,
    log,
    now: Date.now,
    monotonic,
  });
  replica = started;
  open.defer(() => started.stop(AbortSignal.timeout(options.drain * 1000)));
  const bound = probes.address();
  const metrics = typeof bound === 'object' && bound !== null ? bound.port : options.metricsPort;
  const { port: tunnel } = started.tunnel;
  const words = (value: object, text: string): void =>
    void io.stdout.write(options.output === 'json' ? `${JSON.stringify(value)}\n` : text);
  words({ event: 'listening', tunnel, metrics }, `tunnel  ${tunnel}\nmetrics ${metrics}\nlistening\n`);
  await aborted(io.signal);
  words({ event: 'stopping' }, 'stopping\n');
  started.drain();
}
