/**
 * A whole installation without a node: the chart, the operator under its own service account, an archive and replicas of the proxies, all as
 * processes. What a kubelet would mount into their pods is mounted here, and follows the API server as there.
 */
import { mkdir, rename, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { NAMES } from '../../api/cluster.ts';
import { CONFIG_MAPS, type ConfigMap, DEPLOYMENTS, type Deployment, SECRETS, type Secret } from '../../kube/builtin.ts';
import { createReflector } from '../../kube/reflector.ts';
import type { KubeClient, KubeObject, ResourceType } from '../../kube/types.ts';
import { freePort, type Program, startProgram } from '../support/program.ts';
import { entryFile } from '../support/sallyport.ts';
import { installChart, OPERATOR_NAMESPACE } from './chart.ts';
import type { ControlPlane } from './control-plane.ts';
import { clientOf, collectLog } from './kube-ground.ts';
import { type OperatorGround, type OperatorProcess, startOperator, waitingOn } from './operator-ground.ts';
import { AGENTS, NAMESPACE, type ProxyGround, type ReplicaProcess, startProxyGround } from './proxy-ground.ts';

export const OPERATOR = `system:serviceaccount:${OPERATOR_NAMESPACE}:${NAMES.operator}`;
export const PROXY = `system:serviceaccount:${NAMESPACE}:${NAMES.proxy}`;
export const ARCHIVE = `system:serviceaccount:${OPERATOR_NAMESPACE}:${NAMES.archive}`;

/** Names of Services lead to this machine: the DNS of this cluster. */
const NAMES_OF_SERVICES = `data:text/javascript,${encodeURIComponent(`
  import dns from 'node:dns';
  const { lookup } = dns;
  dns.lookup = (name, ...rest) => lookup(/[.]svc$/.test(name) ? '127.0.0.1' : name, ...rest);
`)}`;
const ENVIRONMENT = { NODE_OPTIONS: `--import=${NAMES_OF_SERVICES}` };

export interface Installation extends AsyncDisposable {
  readonly ground: ProxyGround;
  readonly client: KubeClient;
  readonly until: OperatorGround['until'];
  readonly folders: {
    /** Of a proxy: tls.crt, tls.key, ca.crt. */
    readonly tls: string;
    /** Of an agent's connector: ca.crt. */
    readonly agents: string;
    /** The archive's record. */
    readonly record: string;
  };
  readonly operator: () => OperatorProcess;
  startOperator(): Promise<void>;
  readonly archive: () => Program;
  startArchive(): Promise<void>;
  /** Port where people read. */
  readonly readingPort: number;
  /** With the arguments of the operator's Deployment, as far as they are not paths. */
  replica(options?: Parameters<ProxyGround['replica']>[0]): Promise<ReplicaProcess>;
}

export interface InstallationOptions {
  /** Applied before the operator starts. */
  readonly resources: (ground: ProxyGround) => readonly object[];
  /** `data` of the Secret with the operator's keys. */
  readonly keys?: Readonly<Record<string, string>>;
  readonly operatorArguments?: (ground: ProxyGround) => Promise<readonly string[]>;
}

/** Puts files in place as the kubelet does: all at once, by a link that is switched. */
async function project(folder: string, files: Readonly<Record<string, Buffer>>, generation: number): Promise<void> {
  const made = path.join(folder, `..${generation}`);
  await mkdir(made, { recursive: true });
  for (const [name, content] of Object.entries(files)) await writeFile(path.join(made, name), content);
  await symlink(made, path.join(folder, '..new'));
  await rename(path.join(folder, '..new'), path.join(folder, '..data'));
  if (generation === 0)
    for (const name of Object.keys(files)) await symlink(path.join('..data', name), path.join(folder, name));
}

/** Mounts an object into a folder until the signal. Resolves once it is there. */
async function mounted<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType<T>,
  ref: { readonly namespace: string; readonly name: string },
  folder: string,
  filesOf: (object: T) => Readonly<Record<string, Buffer>>,
  signal: AbortSignal,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  const fieldSelector = `metadata.name=${ref.name}`;
  const reflector = createReflector<T>({
    ...{ client, type, namespace: ref.namespace, fieldSelector, log: collectLog() },
  });
  const there = Promise.withResolvers<void>();
  let generation = 0;
  let writing = Promise.resolve();
  reflector.onChange((change) => {
    if (change.type === 'deleted') return;
    const files = filesOf(change.object);
    writing = writing.then(() => project(folder, files, generation++));
    writing.then(there.resolve, there.reject);
  });
  void reflector.run(signal);
  await there.promise;
}

const ofSecret = ({ data = {} }: Secret): Record<string, Buffer> =>
  Object.fromEntries(Object.entries(data).map(([name, value]) => [name, Buffer.from(value, 'base64')]));
const ofConfigMap = ({ data = {} }: ConfigMap): Record<string, Buffer> =>
  Object.fromEntries(Object.entries(data).map(([name, value]) => [name, Buffer.from(value)]));

/** The chart's webhooks lead to the operator's process. */
async function pointWebhooks(cluster: ControlPlane, port: number): Promise<void> {
  for (const kind of ['mutatingwebhookconfiguration', 'validatingwebhookconfiguration']) {
    const { webhooks } = await cluster.get<{ webhooks: { clientConfig: { service: { path: string } } }[] }>(
      kind,
      'sallyport',
    );
    const patch = webhooks.flatMap(({ clientConfig }, index) => [
      { op: 'remove', path: `/webhooks/${index}/clientConfig/service` },
      {
        op: 'add',
        path: `/webhooks/${index}/clientConfig/url`,
        value: `https://127.0.0.1:${port}${clientConfig.service.path}`,
      },
    ]);
    await cluster.kubectl(['patch', kind, 'sallyport', '--type=json', '-p', JSON.stringify(patch)]);
  }
}

function groupsOf(user: string): string[] {
  const [, , namespace = ''] = user.split(':');
  return ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'];
}

/** Values of a flag of the Deployment's container. */
function flagOf({ spec }: Deployment, flag: string): string[] {
  const containers = (spec as { template: { spec: { containers: { args: string[] }[] } } }).template.spec.containers;
  const args = containers[0]?.args ?? [];
  return args.filter((_value, index) => args[index - 1] === flag);
}

export async function startInstallation(options: InstallationOptions): Promise<Installation> {
  await using starting = new AsyncDisposableStack();
  const ground = starting.use(await startProxyGround({}, { audit: 'Metadata', rights: 'none' }));
  const { cluster, folder } = ground;
  const ending = new AbortController();
  starting.defer(() => ending.abort());
  await installChart(cluster, ['crds.install=false', 'operator.replicas=1', 'fences.exemptGroups=["system:masters"]']);
  const webhookPort = await freePort();
  await pointWebhooks(cluster, webhookPort);
  await cluster.kubectl(['label', 'namespace', AGENTS, 'agents=yes']);
  const client = await clientOf(cluster.kubeconfig);
  starting.defer(() => client.close());
  const until = waitingOn(client);
  for (const resource of options.resources(ground)) await cluster.apply(JSON.stringify(resource));
  if (options.keys !== undefined) {
    const data = Object.entries(options.keys).map(([name, value]) => [name, Buffer.from(value).toString('base64')]);
    await client.create(SECRETS, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { namespace: OPERATOR_NAMESPACE, name: NAMES.keys },
      data: Object.fromEntries(data) as Record<string, string>,
    });
  }
  const owned = starting.use(new AsyncDisposableStack());
  const operatorConfig = await cluster.clientAs(OPERATOR, groupsOf(OPERATOR));
  const operatorArguments = (await options.operatorArguments?.(ground)) ?? [];
  let operator!: OperatorProcess;
  const beginOperator = async (): Promise<void> => {
    operator = await startOperator(operatorConfig, [`--webhook-port=${webhookPort}`, ...operatorArguments]);
    owned.use(operator);
  };
  await beginOperator();

  const folders = {
    tls: path.join(folder, 'mounted-tls'),
    agents: path.join(folder, 'mounted-agents'),
    record: path.join(folder, 'archive-record'),
  };
  const archiveTls = path.join(folder, 'mounted-archive');
  const { signal } = ending;
  await Promise.all([
    mounted(client, SECRETS, { namespace: NAMESPACE, name: NAMES.proxyTls }, folders.tls, ofSecret, signal),
    mounted(client, CONFIG_MAPS, { namespace: AGENTS, name: NAMES.ca }, folders.agents, ofConfigMap, signal),
    mounted(client, SECRETS, { namespace: OPERATOR_NAMESPACE, name: NAMES.archiveTls }, archiveTls, ofSecret, signal),
  ]);

  const archiveConfig = await cluster.clientAs(ARCHIVE, groupsOf(ARCHIVE));
  const ports = { archive: await freePort(), reading: await freePort() };
  const map = await client.get(CONFIG_MAPS, { namespace: OPERATOR_NAMESPACE, name: NAMES.archive });
  const configuration = JSON.parse(map?.data?.['archive.yaml'] ?? '{}') as { archiveServer: Record<string, unknown> };
  const archiveFile = path.join(folder, 'archive.yaml');
  await mkdir(folders.record, { recursive: true, mode: 0o700 });
  await writeFile(
    archiveFile,
    JSON.stringify({
      ...configuration,
      metrics: { address: '127.0.0.1:0' },
      archiveServer: {
        ...configuration.archiveServer,
        address: `127.0.0.1:${ports.archive}`,
        readingAddress: `127.0.0.1:${ports.reading}`,
        directory: folders.record,
        certificateFile: path.join(archiveTls, 'tls.crt'),
        keyFile: path.join(archiveTls, 'tls.key'),
        clientCaFile: path.join(archiveTls, 'ca.crt'),
        minFreeBytes: 0,
      },
    }),
  );
  let archive!: Program;
  const beginArchive = async (): Promise<void> => {
    const parameters = ['archive', 'run', '-c', archiveFile, '--kubeconfig', archiveConfig];
    archive = startProgram(process.execPath, [entryFile('source'), ...parameters]);
    owned.use(archive);
    await archive.printed('ready\n');
  };
  await beginArchive();

  const deployment = await until(DEPLOYMENTS, { namespace: NAMESPACE }, ([first]) => first);
  const trusted = flagOf(deployment, '--trusted-key').flatMap((key) => ['--trusted-key', key]);
  const archiveUrl = flagOf(deployment, '--archive').map((url) => url.replace(/:\d+$/, `:${ports.archive}`));
  const running = starting.move();
  return {
    ground,
    client,
    until,
    folders,
    operator: () => operator,
    startOperator: beginOperator,
    archive: () => archive,
    startArchive: beginArchive,
    readingPort: ports.reading,
    replica: ({ parameters = [], ...rest } = {}) =>
      ground.replica({
        ...rest,
        environment: ENVIRONMENT,
        parameters: [...trusted, '--tls', folders.tls, '--archive', ...archiveUrl, ...parameters],
      }),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
