import cluster, { type Worker as ClusterWorker } from 'node:cluster';
import type { Server } from 'node:http';
import { join, resolve } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { AggregatorRegistry } from 'prom-client';
import { type Configuration, DEFAULT_CONFIGURATION, loadConfiguration, parseAddress } from '../../api/configuration.ts';
import { ApiError } from '../../api/errors.ts';
import type { Finding } from '../../api/load.ts';
import { checkRules } from '../../api/rules.ts';
import type { ServedConnection } from '../../proxy/runtime.ts';
import { anchorsFolder, recordKey } from '../../proxy/standalone/record-key.ts';
import { openStateFolder, type StateFolder } from '../../proxy/standalone/state-folder.ts';
import { ResourcesInvalid, startWorker, type Worker } from '../../proxy/standalone/worker.ts';
import { serveProbes } from '../../proxy/telemetry/server.ts';
import { createAnchors } from '../../record/anchors.ts';
import { recoverRecord } from '../../record/recover.ts';
import { CliError, errorText } from '../errors.ts';
import { findingText } from '../findings.ts';
import { type CliIo, defaultState, stateWords } from '../io.ts';
import { type Outgoing, startOutgoing } from './outgoing.ts';

interface RunOptions {
  readonly file: readonly string[];
  readonly config?: string;
  readonly state?: string;
  readonly listen: ReadonlyMap<string, { host: string; port: number }>;
  readonly workers: number;
  readonly plaintextLoopback: boolean;
  readonly output: 'text' | 'json';
}

/** How long sessions may take to finish what they do once SIGTERM has come, in milliseconds. */
const DRAIN_MS = 10_000;
const WORKER = 'SALLYPORT_WORKER';

type Message =
  | { readonly type: 'ready'; readonly connections: readonly ServedConnection[]; readonly caFile: string | undefined }
  | { readonly type: 'reload'; readonly changed: boolean; readonly hash: string; readonly findings: readonly Finding[] }
  | { readonly type: 'cancel'; readonly worker: number; readonly processId: number; readonly secret: string }
  | { readonly type: 'health'; readonly reason: string | undefined };

function parseListen(
  text: string,
  known: ReadonlyMap<string, { host: string; port: number }>,
): Map<string, { host: string; port: number }> {
  const at = text.indexOf('=');
  const name = text.slice(0, at);
  if (at < 0 || !/^[^/]+\/[^/]+$/.test(name)) throw new InvalidArgumentError('write NAMESPACE/NAME=HOST:PORT.');
  try {
    return new Map([...known, [name, parseAddress(text.slice(at + 1))]]);
  } catch (error) {
    throw error instanceof ApiError ? new InvalidArgumentError(`${error.message}. ${error.hint}`) : error;
  }
}

function parseWorkers(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > 64)
    throw new InvalidArgumentError('write a number from 1 to 64.');
  return count;
}

/** Adds `run`. */
export function register(program: Command, io: CliIo): void {
  program
    .command('run')
    .description('Serve the AccessConnections of a folder: verify, decide, mask and record every command')
    .requiredOption(
      '-f, --file <path>',
      'folder or file of resources; may be repeated',
      (value: string, all: string[] = []) => [...all, value],
    )
    .option('-c, --config <file>', 'SallyportConfiguration: issuers, addresses, limits')
    .option('--state <dir>', `where keys and the record are kept (${stateWords(io.env)})`)
    .option('--listen <address>', 'NAMESPACE/NAME=HOST:PORT, port 0 for any; may be repeated', parseListen, new Map())
    .option('--workers <n>', 'processes that share the ports', parseWorkers, 1)
    .option('--plaintext-loopback', 'let clients on this machine in without TLS', false)
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json']).default('text'))
    .addHelpText(
      'after',
      `
Examples:
  sallyport run -f policies --listen default/orders=127.0.0.1:6432
  sallyport run -f examples/standalone -c examples/standalone/sallyport.yaml --state /tmp/sallyport
  sallyport run -f policies -c sallyport.yaml --workers 2 -o json

Postgres, SSH, HTTP and Kubernetes connections are served alike. Without an address for it, a connection gets a port of 127.0.0.1, from
15432 (SSH: 10022, HTTP: 10443, Kubernetes: 16443) upwards. Credentials of a Secret are files of the state folder: secrets/NAMESPACE/NAME/KEY.`,
    )
    .action((options: RunOptions) => (cluster.isWorker ? runWorker(options, io) : runPrimary(options, io)));
}

async function configurationOf(options: RunOptions): Promise<Configuration> {
  const configuration = options.config === undefined ? DEFAULT_CONFIGURATION : await loadConfiguration(options.config);
  const listen = new Map([...configuration.listen, ...options.listen]);
  if (options.plaintextLoopback) {
    for (const { host } of listen.values()) {
      if (!/^(127\.|::1$|localhost$)/.test(host)) throw new CliError('SPC004', [host]);
    }
  }
  return { ...configuration, listen };
}

/** Absolute: other commands read its paths, wherever they are started. */
function stateOf(options: RunOptions, configuration: Configuration, io: CliIo): string {
  return resolve(io.cwd, options.state ?? configuration.state ?? defaultState(io.env));
}

function workerOptions(options: RunOptions, configuration: Configuration, io: CliIo, index: number) {
  return {
    paths: options.file,
    configuration,
    configurationFile: options.config,
    state: stateOf(options, configuration, io),
    plaintextLoopback: options.plaintextLoopback,
    worker: index,
    pid: io.pid,
    environment: io.env,
    checkObject: checkRules,
    log: io.stderr,
  };
}

/** What a person or a script is told. */
function announcer(options: RunOptions, io: CliIo) {
  const json = options.output === 'json';
  const line = (value: object): void => void io.stdout.write(`${JSON.stringify(value)}\n`);
  return {
    ready(connections: readonly ServedConnection[], metrics: string, state: string, caFile: string | undefined): void {
      if (json) {
        line({ event: 'ready', connections: connections.map(({ database: _d, user: _u, ...rest }) => rest), metrics });
        return;
      }
      for (const { namespace, name, protocol, address, port, user = 'USER' } of connections) {
        const ssh = protocol === 'SSH' ? `: ssh -p ${port} ${user}@${address}` : '';
        const scheme = options.plaintextLoopback ? 'http' : 'https';
        const how =
          protocol === 'HTTP' || protocol === 'Kubernetes'
            ? `: ${scheme}://${address.includes(':') ? `[${address}]` : address}:${port}`
            : ssh;
        io.stdout.write(`serving ${namespace}/${name} on ${address}:${port}${how}\n`);
      }
      const trusted = [
        ...(caFile !== undefined && connections.some(({ protocol }) => protocol !== 'SSH') ? [caFile] : []),
        ...(connections.some(({ protocol }) => protocol === 'SSH') ? [join(state, 'ssh', 'known_hosts')] : []),
      ];
      const trust = trusted.map((file) => `trust   ${file}\n`).join('');
      io.stdout.write(`metrics ${metrics}\nstate   ${state}\n${trust}ready\n`);
    },
    reload({ changed, hash, findings }: { changed: boolean; hash: string; findings: readonly Finding[] }): void {
      if (json) line({ event: 'reload', changed, hash, findings });
      else
        io.stdout.write(
          changed ? `policy changed: ${hash}\n` : 'the edit is broken: the last good policy stays in force\n',
        );
      if (!json) for (const finding of findings) io.stderr.write(findingText(finding));
    },
    stopping(): void {
      if (json) line({ event: 'stopping' });
      else io.stdout.write('stopping\n');
    },
  };
}

const LISTEN_REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'something listens there already',
  EADDRNOTAVAIL: 'this machine does not have the address',
  EACCES: 'this user may not listen there',
  ENOTFOUND: 'the name is not known',
};

/** What the system says about an address, in words; any other error as it is. */
function startError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const {
    code = '',
    syscall,
    address,
    hostname,
    port,
  } = error as NodeJS.ErrnoException & {
    readonly address?: string;
    readonly hostname?: string;
    readonly port?: number;
  };
  if (!['listen', 'bind', 'getaddrinfo'].includes(syscall ?? '')) return error;
  const place = [address ?? hostname, port].filter((part) => part !== undefined).join(':');
  return new CliError('SPC002', [place, LISTEN_REASONS[code] ?? code], error);
}

function reportInvalid(error: unknown, io: CliIo): never {
  if (!(error instanceof ResourcesInvalid)) throw startError(error);
  for (const finding of error.findings) io.stderr.write(findingText(finding));
  const errors = error.findings.filter(({ severity }) => severity === 'error').length;
  throw new CliError('SPC001', [String(errors)], error);
}

function endpoints(connections: readonly ServedConnection[], caFile: string | undefined, plaintext: boolean): string {
  return `${JSON.stringify({ connections, tls: { caFile }, plaintext })}\n`;
}

async function runPrimary(options: RunOptions, io: CliIo): Promise<void> {
  const configuration = await configurationOf(options);
  const state = stateOf(options, configuration, io);
  const folder = await openStateFolder(state, io.pid);
  try {
    // What processes left open that are gone, before anything new is written.
    const told = (error: unknown): void =>
      void io.stderr.write(errorText(error instanceof Error ? error : new Error(String(error))));
    const anchor = createAnchors(anchorsFolder(state, configuration), told);
    const signer = await recordKey(state);
    const { failures } = await recoverRecord({ root: folder.record, signer, onCheckpoint: anchor });
    for (const failure of failures) io.stderr.write(errorText(failure));
    const outgoing = await startOutgoing(configuration, folder, io);
    try {
      await (options.workers === 1
        ? runAlone(options, configuration, folder, outgoing, io)
        : runCluster(options, configuration, folder, outgoing, io));
    } finally {
      // After the workers: what they wrote last goes out too.
      await outgoing.stop(AbortSignal.timeout(DRAIN_MS));
    }
  } finally {
    await folder.release();
  }
}

async function runAlone(
  options: RunOptions,
  configuration: Configuration,
  folder: StateFolder,
  outgoing: Outgoing,
  io: CliIo,
): Promise<void> {
  const announce = announcer(options, io);
  const worker = await startWorker({
    ...workerOptions(options, configuration, io, 0),
    onReload: (result) => announce.reload(result),
    cancelElsewhere: () => {},
  }).catch((error: unknown) => reportInvalid(error, io));
  let server: Server | undefined;
  try {
    checkListen(configuration, worker.bundles.current().connections);
    const { host, port } = configuration.metrics;
    const probes = {
      metrics: () => allMetrics(worker.metrics.registry.metrics(), outgoing),
      notReady: worker.notReady,
    };
    server = await openProbes({ host, port }, probes);
    io.onHangup(() => void worker.bundles.reload());
    const { served } = worker.runtime;
    await folder.announce('endpoints.json', endpoints(served, worker.certificate.caFile, options.plaintextLoopback));
    announce.ready(served, urlOf(server, host), folder.path, worker.certificate.caFile);
    await aborted(io.signal);
    announce.stopping();
  } finally {
    // Also when it could not be announced: what listens keeps the process from ending.
    await worker.stop(AbortSignal.timeout(DRAIN_MS));
    server?.close();
  }
}

async function allMetrics(lanes: Promise<string>, outgoing: Outgoing): Promise<string> {
  return `${(await lanes).trimEnd()}\n${await outgoing.metrics()}`;
}

function openProbes(...given: Parameters<typeof serveProbes>): Promise<Server> {
  return serveProbes(...given).catch((error: unknown) => {
    throw startError(error);
  });
}

function checkListen(configuration: Configuration, connections: readonly { namespace: string; name: string }[]): void {
  const known = new Set(connections.map(({ namespace, name }) => `${namespace}/${name}`));
  for (const name of configuration.listen.keys()) if (!known.has(name)) throw new CliError('SPC003', [name]);
}

function urlOf(server: { address(): unknown }, host: string): string {
  const address = server.address();
  const port = typeof address === 'object' && address !== null && 'port' in address ? address.port : 0;
  return `http://${host.includes(':') ? `[${host}]` : host}:${String(port)}/metrics`;
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

// ---- several processes

async function runCluster(
  options: RunOptions,
  configuration: Configuration,
  folder: StateFolder,
  outgoing: Outgoing,
  io: CliIo,
): Promise<void> {
  const announce = announcer(options, io);
  const aggregator = new AggregatorRegistry();
  const health = new Map<number, string>();
  const workers: ClusterWorker[] = [];
  let stopping = false;
  const failed = new AbortController();
  const fork = (index: number): Promise<Extract<Message, { type: 'ready' }>> => {
    const child = cluster.fork({ [WORKER]: String(index) });
    workers.push(child);
    return new Promise((resolve, reject) => {
      child.on('message', (message: Message) => {
        if (message.type === 'ready') resolve(message);
        else if (message.type === 'cancel') workers[message.worker]?.send(message);
        else if (message.type === 'health')
          message.reason === undefined ? health.delete(index) : health.set(index, message.reason);
        else if (message.type === 'reload' && index === 0) announce.reload(message);
      });
      child.on('exit', (code, signal) => {
        const error = new CliError('SPC005', [String(index), signal ?? `status ${code}`]);
        // A worker that is gone takes its share of the service with it: the whole stops, and whoever supervises it starts it again.
        if (!stopping) failed.abort(error);
        reject(error);
      });
    });
  };
  let server: Server | undefined;
  try {
    // The first alone: what is wrong with the start is said once, not by each.
    const first = await fork(0);
    await Promise.all(Array.from({ length: options.workers - 1 }, (_, index) => fork(index + 1)));
    const { host, port } = configuration.metrics;
    const metrics = (): Promise<string> => allMetrics(aggregator.clusterMetrics(), outgoing);
    const probes = { metrics, notReady: () => health.values().next().value };
    server = await openProbes({ host, port }, probes);
    await folder.announce('endpoints.json', endpoints(first.connections, first.caFile, options.plaintextLoopback));
    announce.ready(first.connections, urlOf(server, host), folder.path, first.caFile);
    await aborted(AbortSignal.any([io.signal, failed.signal]));
    announce.stopping();
  } finally {
    stopping = true;
    const exits = workers
      .filter((child) => !child.isDead())
      .map((child) => new Promise((resolve) => child.once('exit', resolve)));
    for (const child of workers) child.kill('SIGTERM');
    await Promise.all(exits);
    server?.close();
  }
  if (failed.signal.aborted) throw failed.signal.reason;
}

async function runWorker(options: RunOptions, io: CliIo): Promise<void> {
  try {
    await serveAsWorker(options, io);
  } finally {
    // The channel to the primary would keep a process alive that could not start.
    cluster.worker?.disconnect();
  }
}

async function serveAsWorker(options: RunOptions, io: CliIo): Promise<void> {
  const index = Number(io.env[WORKER] ?? 0);
  const configuration = await configurationOf(options);
  const send = (message: Message): void => void cluster.worker?.send(message);
  let worker: Worker | undefined;
  worker = await startWorker({
    ...workerOptions(options, configuration, io, index),
    onReload: (result) => send({ type: 'reload', ...result }),
    cancelElsewhere: (target, processId, secret) => {
      if (target !== index) send({ type: 'cancel', worker: target, processId, secret: secret.toString('hex') });
    },
  }).catch((error: unknown) => reportInvalid(error, io));
  // The aggregator in the primary asks each worker for what this registry holds.
  AggregatorRegistry.setRegistries(worker.metrics.registry);
  new AggregatorRegistry();
  cluster.worker?.on('message', (message: Message) => {
    if (message.type === 'cancel') worker?.runtime.cancel(message.processId, Buffer.from(message.secret, 'hex'));
  });
  try {
    checkListen(configuration, worker.bundles.current().connections);
  } catch (error) {
    await worker.stop(AbortSignal.timeout(DRAIN_MS));
    throw error;
  }
  send({ type: 'ready', connections: worker.runtime.served, caFile: worker.certificate.caFile });
  let told: string | undefined;
  const health = setInterval(() => {
    const reason = worker?.notReady();
    if (reason !== told) send({ type: 'health', reason });
    told = reason;
  }, 1000);
  await aborted(io.signal);
  clearInterval(health);
  await worker.stop(AbortSignal.timeout(DRAIN_MS));
}
