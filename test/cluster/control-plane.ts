/**
 * A real Kubernetes control plane for one test file, and with `node` a real node: containerd, kubelet, kube-proxy and DNS.
 *
 * Without a node everything is a plain process on loopback ports of its own: nobody needs to be root, tests reach the API server directly,
 * and it reaches their webhooks (`https://127.0.0.1:PORT`). With one, the cluster lives in a network namespace of its own; its API server
 * is reached from outside under the same address and the same kubeconfig, and `inside` runs programs in there.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { freePort } from '../support/program.ts';
import { repositoryRoot } from '../support/sallyport.ts';
import { type ApiRequest, type ApiServerHandle, startApiServer } from './api-server.ts';
import { auditLog, controllerManager, type Layout, scheduler } from './components.ts';
import { type EtcdHandle, startEtcd } from './etcd.ts';
import { createNetwork, insideOf, NODE_ADDRESS } from './network.ts';
import { startNode } from './node.ts';
import { createPki, writeKubeconfig } from './pki.ts';
import { identify, startComponent } from './processes.ts';
import { kubecore, kubectl as kubectlProgram } from './programs.ts';
import { CLUSTER_PREFIX, sweep, tearDown } from './tear-down.ts';

export { controlPlaneNeeds, nodeNeeds } from './programs.ts';

/** A user of the cluster as its client certificate says. */
export interface ClusterUser {
  readonly user: string;
  readonly groups?: readonly string[];
}

export interface KubectlOptions {
  /** Its standard input, such as manifests for `apply -f -`. */
  readonly input?: string;
  /** Who asks; default is a cluster administrator. */
  readonly as?: ClusterUser;
  readonly signal?: AbortSignal;
}

export interface ExecOptions {
  readonly input?: string;
  readonly environment?: NodeJS.ProcessEnv;
  readonly signal?: AbortSignal;
}

export interface Output {
  readonly stdout: string;
  readonly stderr: string;
}

/** What a program that failed has said. */
export class CommandError extends Error {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number | undefined;
  constructor(command: string, status: number | undefined, { stdout, stderr }: Output, cause: unknown) {
    super(`${command} failed (${status ?? 'no status'}):\n${stderr}${stdout}`, { cause });
    this.stdout = stdout;
    this.stderr = stderr;
    this.status = status;
  }
}

export interface ControlPlane {
  /** Everything of this cluster is below it, logs in `log/`. */
  readonly folder: string;
  /** Such as `https://127.0.0.1:34567`; the same in the cluster's network namespace and outside. */
  readonly server: string;
  /** File with the authority of all its certificates. */
  readonly caFile: string;
  /** Path of a cluster administrator's kubeconfig. */
  readonly kubeconfig: string;
  /** Where the node is, as pods see it: programs started inside may listen there. Undefined without a node. */
  readonly nodeAddress: string | undefined;
  /** The standard output. @throws CommandError */
  kubectl(parameters: readonly string[], options?: KubectlOptions): Promise<string>;
  /** Applies manifests (YAML or JSON) as one field manager. @throws CommandError */
  apply(manifests: string, options?: KubectlOptions): Promise<string>;
  /** An object as the API server has it. @throws CommandError also when there is none */
  get<T>(resource: string, name: string, namespace?: string): Promise<T>;
  /** One request as an administrator. Never rejects for a status. */
  readonly request: ApiRequest;
  /** Program and arguments that run the command in the cluster's network namespace; without a node unchanged. */
  inside(program: string, parameters: readonly string[]): readonly [program: string, parameters: readonly string[]];
  /** Runs a program inside to its end. @throws CommandError */
  exec(program: string, parameters: readonly string[], options?: ExecOptions): Promise<Output>;
  /** Path of a kubeconfig for this user, made once. */
  clientAs(user: string, groups?: readonly string[]): Promise<string>;
  /** Applies the project's CRDs and waits until they are served. */
  applyCrds(): Promise<void>;
  /** Imports an image archive (OCI or Docker) into the node. */
  loadImage(archive: string): Promise<void>;
  readonly apiServer: ApiServerHandle;
  readonly etcd: EtcdHandle;
  /** Lines of the audit log, when it was asked for. */
  audit(): Promise<readonly Record<string, unknown>[]>;
  /** Ends it and removes all that it left on the machine. */
  stop(): Promise<void>;
}

export interface ControlPlaneOptions {
  /** Whether there is a node for pods to run on. Default false. */
  readonly node?: boolean;
  /** Keeps an audit log of every request, with bodies where it says so. */
  readonly audit?: 'Metadata' | 'Request' | 'RequestResponse';
  /** Further flags of the API server. */
  readonly apiServerFlags?: readonly string[];
  /** It outlives this process: for people. `tearDown` of its folder ends it. */
  readonly kept?: boolean;
}

/** Runs a program to its end. */
function finished(program: string, parameters: readonly string[], options: ExecOptions = {}): Promise<Output> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      parameters,
      {
        env: { ...process.env, ...options.environment },
        maxBuffer: 256 * 1024 * 1024,
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      },
      (error, stdout, stderr) => {
        if (error === null) resolve({ stdout, stderr });
        else {
          const status = typeof error.code === 'number' ? error.code : undefined;
          reject(new CommandError([program, ...parameters].join(' '), status, { stdout, stderr }, error));
        }
      },
    );
    // A program that does not read its input closes it: what it says about that is its own result.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(options.input);
  });
}

async function createFolder(kept: boolean): Promise<string> {
  const folder = await mkdtemp(path.join(os.tmpdir(), CLUSTER_PREFIX));
  await writeFile(path.join(folder, 'owner'), kept ? 'kept' : JSON.stringify(await identify(process.pid)));
  for (const name of ['log', 'pid', 'pki']) await mkdir(path.join(folder, name));
  return folder;
}

async function writeAuditPolicy(folder: string, level: ControlPlaneOptions['audit']): Promise<string | undefined> {
  if (level === undefined) return undefined;
  const file = path.join(folder, 'audit-policy.json');
  const policy = { apiVersion: 'audit.k8s.io/v1', kind: 'Policy', omitStages: ['RequestReceived'], rules: [{ level }] };
  await writeFile(file, JSON.stringify(policy));
  return file;
}

/** Starts a cluster. Several at once do not meet. @throws with the log of the part that did not start */
export async function startControlPlane(options: ControlPlaneOptions = {}): Promise<ControlPlane & AsyncDisposable> {
  const { node = false, kept = false } = options;
  await sweep();
  const [program, kubectlFile] = await Promise.all([kubecore(), kubectlProgram()]);
  const folder = await createFolder(kept);
  try {
    return await startIn(folder, program, kubectlFile, { ...options, node, kept });
  } catch (error) {
    await tearDown(folder);
    throw error;
  }
}

async function startIn(
  folder: string,
  program: string,
  kubectlFile: string,
  { node = false, kept = false, audit, apiServerFlags = [] }: ControlPlaneOptions,
): Promise<ControlPlane & AsyncDisposable> {
  const surroundings = { folder, kept };
  const pki = await createPki(path.join(folder, 'pki'));
  const network = node ? await createNetwork(folder) : undefined;
  const [etcdPort, etcdPeerPort, apiPort] = await Promise.all([freePort(), freePort(), freePort()]);
  const address = node ? NODE_ADDRESS : undefined;
  const layout: Layout = { folder, kubecore: program, pki, etcdPort, etcdPeerPort, apiPort, address };
  const server = `https://127.0.0.1:${apiPort}`;
  const inside = insideOf(network);
  const start = (plan: { readonly name: string; readonly command: readonly string[] }) => {
    const [command = '', ...parameters] = plan.command;
    const [entered, rest] = inside(command, parameters);
    return startComponent({ name: plan.name, command: [entered, ...rest] }, surroundings);
  };

  const users = new Map<string, Promise<string>>();
  const clientAs = (user: string, groups: readonly string[] = []): Promise<string> => {
    const key = JSON.stringify([user, groups]);
    const made = users.get(key) ?? makeClient(user, groups);
    users.set(key, made);
    return made;
  };
  const makeClient = async (user: string, groups: readonly string[]): Promise<string> => {
    const name = `user-${users.size}`;
    const pair = await pki.issue(name, { name: user, groups });
    return writeKubeconfig(path.join(folder, `${name}.kubeconfig`), server, pki.ca.certificate, pair);
  };

  const etcd = await startEtcd(layout, start);
  const kubeconfig = await clientAs('admin', ['system:masters']);
  const { apiServer, request } = await startApiServer(layout, start, {
    auditPolicy: await writeAuditPolicy(folder, audit),
    flags: apiServerFlags,
    relayInto: network === undefined ? undefined : { namespace: network.file, surroundings },
  });
  etcd.restartsWith(apiServer);
  await start(controllerManager(layout, await clientAs('system:kube-controller-manager')));
  if (node) await start(scheduler(layout, await clientAs('system:kube-scheduler')));

  const kubectl = async (
    parameters: readonly string[],
    { as, input, signal }: KubectlOptions = {},
  ): Promise<string> => {
    const config = as === undefined ? kubeconfig : await clientAs(as.user, as.groups);
    const { stdout } = await finished(kubectlFile, ['--kubeconfig', config, ...parameters], {
      ...(input === undefined ? {} : { input }),
      ...(signal === undefined ? {} : { signal }),
    });
    return stdout;
  };
  const exec: ControlPlane['exec'] = (command, parameters, execOptions) => {
    const [entered, rest] = inside(command, parameters);
    return finished(entered, rest, execOptions);
  };
  // Pods need both, and nothing runs in a cluster before them.
  for (const made of ['serviceaccount/default', 'configmap/kube-root-ca.crt']) {
    await kubectl(['wait', '--for=create', '--timeout=60s', made]);
  }
  const running =
    network === undefined ? undefined : await startNode({ layout, network, start, clientAs, kubectl, exec });

  let stopped: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    stopped ??= tearDown(folder);
    return stopped;
  };
  return {
    folder,
    server,
    caFile: pki.ca.certificate,
    kubeconfig,
    nodeAddress: address,
    kubectl,
    apply: (manifests, applyOptions) =>
      kubectl(['apply', '--server-side', '-f', '-'], { ...applyOptions, input: manifests }),
    async get<T>(resource: string, name: string, namespace?: string): Promise<T> {
      const where = namespace === undefined ? [] : ['-n', namespace];
      return JSON.parse(await kubectl(['get', resource, name, ...where, '-o', 'json'])) as T;
    },
    request,
    inside,
    exec,
    clientAs,
    async applyCrds() {
      await kubectl(['apply', '--server-side', '-f', path.join(repositoryRoot, 'crds')]);
      await kubectl(['wait', '--for=condition=Established', '--timeout=60s', '-f', path.join(repositoryRoot, 'crds')]);
    },
    async loadImage(archive) {
      if (running === undefined) throw new Error('there is no node to load images into');
      await running.loadImage(archive);
    },
    apiServer,
    etcd,
    async audit() {
      const lines = (await readFile(auditLog(folder), 'utf8')).split('\n').filter((line) => line !== '');
      return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
