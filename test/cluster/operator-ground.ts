/** A control plane with the project's CRDs, and operators as plain processes of this machine. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import type { ProxyReport } from '../../api/bundle-document.ts';
import { ANNOTATIONS, LABELS, MANAGED_BY } from '../../api/cluster.ts';
import { loadKubeConfig } from '../../kube/access.ts';
import type { AnyObject, Lease } from '../../kube/builtin.ts';
import { createKubeClient } from '../../kube/client.ts';
import { createReflector } from '../../kube/reflector.ts';
import type { KubeClient, KubeObject, ResourceType } from '../../kube/types.ts';
import { repositoryRoot } from '../support/sallyport.ts';
import { type ControlPlane, type ControlPlaneOptions, startControlPlane } from './control-plane.ts';

export const OPERATOR_NAMESPACE = 'sallyport-system';

export interface OperatorProcess extends AsyncDisposable {
  /** Lines of its log, JSON. */
  readonly log: readonly string[];
  readonly metrics: string;
  /** Kills it without a word, and waits until it is gone. */
  kill(): Promise<void>;
  /** SIGTERM. @returns its exit status */
  stop(): Promise<number | null>;
  /** Resolves with the exit status when it ends by itself. */
  readonly ended: Promise<number | null>;
}

export interface OperatorGround extends AsyncDisposable {
  readonly plane: ControlPlane;
  readonly client: KubeClient;
  operator(options?: {
    readonly kubeconfig?: string;
    readonly arguments?: readonly string[];
  }): Promise<OperatorProcess>;
  namespace(name: string, labels?: Readonly<Record<string, string>>): Promise<void>;
  /**
   * Waits until the objects of a type are as wanted, hearing of every change. Gives up with what there was instead.
   * @returns what the condition made of them
   */
  until<T extends KubeObject, R>(
    type: ResourceType<T>,
    selection: { readonly namespace?: string; readonly labelSelector?: string },
    condition: (objects: readonly T[]) => R | undefined | false,
  ): Promise<R>;
}

const PATIENCE_MS = 60_000;

export async function createOperatorGround(options: ControlPlaneOptions = {}): Promise<OperatorGround> {
  const plane = await startControlPlane(options);
  await plane.applyCrds();
  await plane.kubectl(['create', 'namespace', OPERATOR_NAMESPACE]);
  const access = await loadKubeConfig({ kubeconfig: plane.kubeconfig, env: {} });
  const client = createKubeClient({ access, userAgent: 'sallyport-test' });
  const running: OperatorProcess[] = [];
  return {
    plane,
    client,
    async operator({ kubeconfig = plane.kubeconfig, arguments: more = [] } = {}) {
      const started = await startOperator(kubeconfig, more);
      running.push(started);
      return started;
    },
    async namespace(name, labels = {}) {
      const metadata = { name, labels };
      await plane.apply(JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata }));
    },
    until: waitingOn(client),
    async [Symbol.asyncDispose]() {
      for (const one of running) await one.kill();
      client.close();
      await plane.stop();
    },
  };
}

/** `until` of a ground, with that client. */
export const waitingOn =
  (client: KubeClient): OperatorGround['until'] =>
  async (type, selection, condition) => {
    const stop = new AbortController();
    const reflector = createReflector({ client, type, ...selection, log: QUIET });
    const ended = reflector.run(stop.signal);
    try {
      await reflector.synced(AbortSignal.timeout(PATIENCE_MS));
      return await new Promise((resolve, reject) => {
        const look = (): void => {
          const result = condition(reflector.list());
          if (result !== undefined && result !== false) resolve(result);
        };
        const late = setTimeout(() => {
          reject(
            new Error(`not within ${PATIENCE_MS} ms; there was ${JSON.stringify(reflector.list()).slice(0, 4000)}`),
          );
        }, PATIENCE_MS);
        stop.signal.addEventListener('abort', () => clearTimeout(late));
        reflector.onChange(look);
        look();
      });
    } finally {
      stop.abort();
      await ended;
    }
  };

const QUIET = { debug() {}, info() {}, warn() {}, error() {} };

/** @param more arguments after those that every test needs */
export async function startOperator(kubeconfig: string, more: readonly string[]): Promise<OperatorProcess> {
  const child = spawn(
    process.execPath,
    [
      path.join(repositoryRoot, 'cli/main.ts'),
      'operator',
      '--namespace',
      OPERATOR_NAMESPACE,
      '--kubeconfig',
      kubeconfig,
      '--image=localhost/sallyport:test',
      '--connector-image=localhost/sallyport-connector:test',
      '--metrics-port=0',
      '--webhook-port=0',
      '--log-level=debug',
      ...more,
    ],
    { stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env['PATH'] ?? '' } },
  );
  const log: string[] = [];
  let rest = '';
  child.stderr.on('data', (chunk: Buffer) => {
    const lines = (rest + chunk.toString('utf8')).split('\n');
    rest = lines.pop() ?? '';
    log.push(...lines);
  });
  const ended = once(child, 'exit').then(([status]) => status as number | null);
  const first = await Promise.race([
    // Health is served first; a second line, of admission, may come along.
    once(child.stdout, 'data').then(([chunk]) => String(chunk).split('\n', 1)[0] ?? ''),
    ended.then((status) => Promise.reject(new Error(`the operator ended with ${status}: ${log.join('\n')}${rest}`))),
  ]);
  const { metrics } = JSON.parse(first) as { readonly metrics: string };
  const signalled = async (name: NodeJS.Signals): Promise<number | null> => {
    if (child.exitCode === null && child.signalCode === null) child.kill(name);
    return ended;
  };
  return {
    log,
    metrics,
    ended,
    stop: () => signalled('SIGTERM'),
    async kill() {
      await signalled('SIGKILL');
    },
    async [Symbol.asyncDispose]() {
      await signalled('SIGKILL');
    },
  };
}

/** A condition of an object, or undefined. */
export function conditionOf(
  object: KubeObject | undefined,
  type: string,
): { readonly status: string; readonly reason: string; readonly message: string } | undefined {
  const { status } = (object ?? {}) as {
    readonly status?: {
      readonly conditions?: readonly {
        readonly type: string;
        readonly status: string;
        readonly reason: string;
        readonly message: string;
      }[];
    };
  };
  return status?.conditions?.find((condition) => condition.type === type);
}

/** A Lease as a proxy's replica writes it. */
export function proxyLease(
  namespace: string,
  name: string,
  report: Partial<ProxyReport>,
  { seconds = 600, renewed = new Date() }: { readonly seconds?: number; readonly renewed?: Date } = {},
): Lease {
  const full: ProxyReport = { bundle: '', sequence: 1, sessions: {}, egress: {}, problems: {}, ...report };
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: {
      namespace,
      name,
      labels: {
        [LABELS.managedBy]: MANAGED_BY,
        [LABELS.component]: 'proxy',
        [LABELS.servedNamespace]: namespace,
      },
      annotations: { [ANNOTATIONS.bundleHash]: full.bundle, [ANNOTATIONS.proxyReport]: JSON.stringify(full) },
    },
    spec: {
      holderIdentity: name,
      leaseDurationSeconds: seconds,
      renewTime: renewed.toISOString().replace('Z', '000Z'),
    },
  };
}

/** An AccessConnection that needs nothing else. */
export function connection(namespace: string, name: string, spec: Readonly<Record<string, unknown>> = {}): AnyObject {
  return {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'AccessConnection',
    metadata: { namespace, name },
    spec: {
      protocol: 'Postgres',
      target: { host: `${name}.db.example`, port: 5432, database: name, addresses: ['10.20.0.0/16'] },
      credential: { secretRef: { name: `${name}-login` } },
      ...spec,
    },
  };
}

export function policy(namespace: string, name: string, spec: Readonly<Record<string, unknown>> = {}): AnyObject {
  return {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'AccessPolicy',
    metadata: { namespace, name },
    spec: {
      connections: { all: true },
      subjects: [{ serviceAccount: { name: 'agent' } }],
      rules: [{ name: 'read', effect: 'Allow', sql: { statements: ['Read'], relations: ['public.*'] } }],
      ...spec,
    },
  };
}
