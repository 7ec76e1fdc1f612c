/**
 * `make scale`: the operator on a real API server with many objects, and how long a change of policy takes to be in force on a proxy.
 * Options: --namespaces 50 --connections 10 --pods 200 --changes 50 (each of a namespace, but for the last).
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { ANNOTATIONS, API_VERSION, LABELS, NAMES } from '../api/cluster.ts';
import { loadKubeConfig } from '../kube/access.ts';
import { CONFIG_MAPS, type ConfigMap, LEASES, NAMESPACES, PODS, SECRETS, SERVICE_ACCOUNTS } from '../kube/builtin.ts';
import { createKubeClient } from '../kube/client.ts';
import { createReflector } from '../kube/reflector.ts';
import { type KubeClient, type KubeObject, resourceType } from '../kube/types.ts';
import { startControlPlane } from '../test/cluster/control-plane.ts';
import { OPERATOR_NAMESPACE } from '../test/cluster/operator-ground.ts';
import { repositoryRoot } from '../test/support/sallyport.ts';
import { memoryBytes } from './process-usage.ts';

const { values } = parseArgs({
  options: {
    namespaces: { type: 'string', default: '50' },
    connections: { type: 'string', default: '10' },
    pods: { type: 'string', default: '200' },
    changes: { type: 'string', default: '50' },
  },
});
const [NAMESPACES_WANTED, CONNECTIONS, PODS_WANTED, CHANGES] = [
  Number(values.namespaces),
  Number(values.connections),
  Number(values.pods),
  Number(values.changes),
];
const AT_ONCE = 16;
const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
const ACCESS_CONNECTIONS = resourceType<KubeObject & { spec: object }>(
  'sallyport.dev',
  'v1alpha1',
  'accessconnections',
  'AccessConnection',
);
const ACCESS_POLICIES = resourceType<KubeObject & { spec: object }>(
  'sallyport.dev',
  'v1alpha1',
  'accesspolicies',
  'AccessPolicy',
);

const connection = (namespace: string, name: string) => ({
  apiVersion: API_VERSION,
  kind: 'AccessConnection',
  metadata: { namespace, name },
  spec: {
    protocol: 'Postgres',
    target: { host: `${name}.db.example`, port: 5432, database: name },
    credential: { secretRef: { name: 'db' } },
  },
});
const policy = (namespace: string, maxRowsReturned: number) => ({
  apiVersion: API_VERSION,
  kind: 'AccessPolicy',
  metadata: { namespace, name: 'agents' },
  spec: {
    connections: { all: true },
    subjects: [{ everyone: true }],
    rules: [
      {
        name: 'read',
        effect: 'Allow',
        sql: { statements: ['Read'], relations: ['public.*'] },
        limits: { maxRowsReturned },
      },
    ],
  },
});

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  const next = items.values();
  const worker = async (): Promise<void> => {
    for (const item of next) await work(item);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

/** Resolves once the condition holds for what the API server has, hearing of every change. Milliseconds of `performance.now()`. */
async function when<T extends KubeObject>(
  client: KubeClient,
  type: Parameters<typeof createReflector<T>>[0]['type'],
  selection: { readonly namespace?: string; readonly labelSelector?: string },
  holds: (objects: readonly T[]) => boolean,
): Promise<number> {
  const stop = new AbortController();
  const reflector = createReflector<T>({ client, type, ...selection, log: QUIET });
  const ended = reflector.run(stop.signal);
  try {
    await reflector.synced(AbortSignal.timeout(120_000));
    return await new Promise((resolve, reject) => {
      const late = AbortSignal.timeout(600_000);
      late.addEventListener('abort', () => reject(new Error(`not within ten minutes: ${type.plural}`)), { once: true });
      const look = (): void => {
        if (holds(reflector.list())) resolve(performance.now());
      };
      reflector.onChange(look);
      look();
    });
  } finally {
    stop.abort();
    await ended;
  }
}

interface Running extends AsyncDisposable {
  readonly pid: number;
  stop(): Promise<void>;
}

async function run(words: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Running> {
  const child = spawn(process.execPath, [path.join(repositoryRoot, 'cli', 'main.ts'), ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'] ?? '', ...env },
  });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said = `${said}${chunk.toString('utf8')}`.slice(-4000);
  });
  const ended = once(child, 'exit');
  await Promise.race([
    once(child.stdout, 'data'),
    ended.then(() => Promise.reject(new Error(`${words[0]} ended: ${said}`))),
  ]);
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    await ended;
  };
  return { pid: child.pid ?? 0, stop, [Symbol.asyncDispose]: stop };
}

const bundleHash = ({ metadata, data }: ConfigMap): string | undefined =>
  metadata.annotations?.[ANNOTATIONS.bundleHash] ?? data?.['hash'];
const isBundle = ({ metadata }: KubeObject): boolean => metadata.name === NAMES.bundle;

/** The CRD's own first condition has no generation. */
function isLookedAt(object: KubeObject): boolean {
  const { status } = object as {
    readonly status?: { readonly conditions?: readonly { readonly observedGeneration?: number }[] };
  };
  return status?.conditions?.some(({ observedGeneration }) => observedGeneration !== undefined) === true;
}

function quantile(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(part * sorted.length) - 1)] ?? 0;
}

async function main(): Promise<void> {
  await using cleanup = new AsyncDisposableStack();
  const folder = await mkdtemp(path.join(os.tmpdir(), 'scale-'));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const plane = cleanup.use(await startControlPlane({ audit: 'Metadata' }));
  await plane.applyCrds();
  const access = await loadKubeConfig({ kubeconfig: plane.kubeconfig, env: {} });
  const client = createKubeClient({ access, userAgent: 'scale' });
  cleanup.defer(() => client.close());
  await client.create(NAMESPACES, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: OPERATOR_NAMESPACE } });

  const names = Array.from({ length: NAMESPACES_WANTED }, (_, index) => `ns-${index}`);
  const began = performance.now();
  await inParallel(names, async (name) => {
    await client.create(NAMESPACES, { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
    await client.create(ACCESS_POLICIES, policy(name, 1000));
    for (let index = 0; index < CONNECTIONS; index++)
      await client.create(ACCESS_CONNECTIONS, connection(name, `c-${index}`));
    await client.apply(
      SERVICE_ACCOUNTS,
      { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { namespace: name, name: 'default' } },
      { fieldManager: 'scale', force: true },
    );
  });
  const pods = names.flatMap((namespace) =>
    Array.from({ length: PODS_WANTED }, (_, index) => ({ namespace, name: `pod-${index}` })),
  );
  await inParallel(pods, (metadata) =>
    client.create(PODS, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata,
      spec: { containers: [{ name: 'agent', image: 'agent' }] },
    }),
  );
  say(
    `made ${names.length * CONNECTIONS} AccessConnections in ${names.length} namespaces and ${pods.length} pods in ${((performance.now() - began) / 1000).toFixed(0)} s`,
  );

  const operator = (): Promise<Running> =>
    run([
      ...['operator', '--namespace', OPERATOR_NAMESPACE, '--kubeconfig', plane.kubeconfig, '--log-level', 'warn'],
      ...[
        '--image',
        'sallyport',
        '--connector-image',
        'sallyport-connector',
        '--metrics-port',
        '0',
        '--webhook-port',
        '0',
      ],
    ]);
  const allThere = (maps: readonly ConfigMap[]): boolean => maps.filter(isBundle).length === names.length;

  let started = performance.now();
  let running = await operator();
  let done = await when(client, CONFIG_MAPS, { labelSelector: `${LABELS.name}=${NAMES.bundle}` }, allThere);
  say(`first run, all objects made: ${((done - started) / 1000).toFixed(1)} s`);
  await running.stop();
  await inParallel(names, (namespace) => client.delete(CONFIG_MAPS, { namespace, name: NAMES.bundle }));
  started = performance.now();
  running = await operator();
  const ready = performance.now();
  done = await when(client, CONFIG_MAPS, { labelSelector: `${LABELS.name}=${NAMES.bundle}` }, allThere);
  say(
    `full resync after a restart, every bundle written anew: ${((done - started) / 1000).toFixed(1)} s from the start of the process, of which ${((ready - started) / 1000).toFixed(1)} s until it is up`,
  );
  cleanup.defer(() => running.stop());
  const settled = await when(client, ACCESS_CONNECTIONS, {}, (all) => all.every(isLookedAt));
  say(
    `conditions of every connection written: ${((settled - started) / 1000).toFixed(1)} s from the start of the process`,
  );

  const namespace = names[0] ?? '';
  await using proxy = await startProxy(client, plane.kubeconfig, folder, namespace);
  const changes = await changeTimes(client, namespace);
  say(
    `policy change → in force on a proxy, ${changes.length} changes: median ${quantile(changes, 0.5).toFixed(0)} ms, 99th percentile ${quantile(changes, 0.99).toFixed(0)} ms`,
  );
  say(
    `operator: ${(memoryBytes(running.pid) / 1e6).toFixed(0)} MB (proportional set size), at most ${(await peak(running.pid)).toFixed(0)} MB resident`,
  );
  say(`proxy without sessions: ${(memoryBytes(proxy.pid) / 1e6).toFixed(0)} MB`);
  await requests(await plane.audit(), CHANGES);
}

async function peak(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8');
  return (Number(/^VmHWM:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) * 1024) / 1e6;
}

/** As the operator's Deployment would run it, with what that mounts. */
async function startProxy(client: KubeClient, kubeconfig: string, folder: string, namespace: string): Promise<Running> {
  const keys = await client.get(SECRETS, { namespace: OPERATOR_NAMESPACE, name: NAMES.keys });
  const tls = await client.get(SECRETS, { namespace, name: NAMES.proxyTls });
  const deployment = resourceType<KubeObject>('apps', 'v1', 'deployments', 'Deployment');
  const made = JSON.stringify(await client.get(deployment, { namespace, name: NAMES.proxy }));
  const trusted = /"--trusted-key","([^"]+)"/.exec(made)?.[1] ?? /"--trusted-key=([^"]+)"/.exec(made)?.[1];
  if (keys === undefined || tls?.data === undefined || trusted === undefined)
    throw new Error('the operator made no proxy');
  const files = path.join(folder, 'tls');
  await mkdir(files);
  for (const [name, text] of Object.entries(tls.data))
    await writeFile(path.join(files, name), Buffer.from(text, 'base64'));
  const credentials = path.join(folder, 'credentials', 'secrets', 'db');
  await mkdir(credentials, { recursive: true });
  for (const name of ['username', 'password']) await writeFile(path.join(credentials, name), 'x');
  await writeFile(path.join(folder, 'token-key'), Buffer.alloc(32, 7));
  const pod = await client.create(PODS, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace, name: 'proxy-0' },
    spec: { containers: [{ name: 'proxy', image: 'proxy' }] },
  });
  return run(
    [
      ...['proxy', '--trusted-key', trusted, '--operator-namespace', OPERATOR_NAMESPACE, '--kubeconfig', kubeconfig],
      ...['--state', path.join(folder, 'state'), '--credentials', path.join(folder, 'credentials'), '--tls', files],
      ...[
        '--token-key',
        path.join(folder, 'token-key'),
        '--listen',
        '127.0.0.1',
        '--tunnel-port',
        '0',
        '--metrics-port',
        '0',
      ],
      ...['--log-level', 'warn', '-o', 'json'],
    ],
    {
      POD_NAME: 'proxy-0',
      POD_NAMESPACE: namespace,
      POD_UID: pod.metadata.uid ?? '',
      POD_IP: '127.0.0.1',
      NODE_NAME: 'none',
    },
  );
}

/** Until the replica's Lease names the bundle that the operator made of the change: an upper bound of when it is in force. */
async function changeTimes(client: KubeClient, namespace: string): Promise<number[]> {
  const stop = new AbortController();
  const leases = createReflector({ client, type: LEASES, namespace, log: QUIET });
  const maps = createReflector({ client, type: CONFIG_MAPS, namespace, log: QUIET });
  const ended = Promise.all([leases.run(stop.signal), maps.run(stop.signal)]);
  await Promise.all([leases.synced(AbortSignal.timeout(60_000)), maps.synced(AbortSignal.timeout(60_000))]);
  const enforced = (): string | undefined =>
    leases.list().find(({ metadata }) => metadata.annotations?.[ANNOTATIONS.bundleHash] !== undefined)?.metadata
      .annotations?.[ANNOTATIONS.bundleHash];
  const written = (): string | undefined => maps.list().filter(isBundle).map(bundleHash)[0];
  const until = (holds: () => boolean): Promise<void> =>
    new Promise((resolve, reject) => {
      const late = setTimeout(
        () => reject(new Error(`not in force within five minutes: written ${written()}, enforced ${enforced()}`)),
        300_000,
      );
      const look = (): void => {
        if (!holds()) return;
        clearTimeout(late);
        offs.forEach((off) => void off());
        resolve();
      };
      const offs = [leases.onChange(look), maps.onChange(look)];
      look();
    });
  await until(() => enforced() !== undefined && enforced() === written());
  const times: number[] = [];
  for (let change = 0; change < CHANGES; change++) {
    const before = written();
    const began = performance.now();
    const body = { spec: policy(namespace, 2000 + change).spec };
    await client.patch(ACCESS_POLICIES, { namespace, name: 'agents' }, { type: 'merge', body });
    await until(() => written() !== before && enforced() === written());
    times.push(performance.now() - began);
  }
  stop.abort();
  await ended;
  return times.sort((a, b) => a - b);
}

/** Requests of operator and proxy between the first and the last change, from the audit log of the API server. */
async function requests(lines: readonly Record<string, unknown>[], changes: number): Promise<void> {
  const told = lines.filter(({ stage }) => stage === 'ResponseComplete');
  const time = (line: Record<string, unknown>): number => Date.parse(String(line['requestReceivedTimestamp']));
  const ours = told.filter(
    ({ verb, userAgent, requestURI }) =>
      verb === 'patch' && userAgent === 'scale' && String(requestURI).includes('/accesspolicies/'),
  );
  const [from, to] = [Math.min(...ours.map(time)), Math.max(...ours.map(time))];
  const counts = new Map<string, number>();
  for (const line of told) {
    const agent = String(line['userAgent']).split('/')[0] ?? '';
    if (!agent.startsWith('sallyport') || time(line) < from || time(line) > to || line['verb'] === 'watch') continue;
    const resource = (line['objectRef'] as { readonly resource?: string } | undefined)?.resource ?? '';
    const key = `${agent} ${String(line['verb'])} ${resource}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const all = [...counts].sort(([, a], [, b]) => b - a);
  const sum = all.reduce((total, [, count]) => total + count, 0);
  say(`requests to the API server: ${(sum / Math.max(1, changes - 1)).toFixed(1)} for each change`);
  for (const [key, count] of all.slice(0, 8)) say(`  ${(count / Math.max(1, changes - 1)).toFixed(2)} ${key}`);
}

await main();
