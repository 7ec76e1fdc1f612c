/**
 * A real API server, Sallyport before it as a process, and stock clients that know nothing of either: the ground of the Kubernetes
 * lane's tests. A kubeconfig of it has Sallyport as its server and a token of Sallyport's as its user.
 */
import { execFile, spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type { ApprovalRequest } from '../../api/resources.ts';
import { signVote } from '../../approval/vote.ts';
import { type Person, person } from '../../proxy/approval/approval.fixture.ts';
import { createRequestFiles } from '../../proxy/approval/files.ts';
import { createHolder } from '../../proxy/approval/folders.ts';
import type { RecordedEvent } from '../../record/format.ts';
import { stateOf } from '../support/approval-ground.ts';
import { recordedEvents } from '../support/recorded.ts';
import { createToken, type Gateway, type GatewayOptions, startSallyport } from '../support/sallyport.ts';
import { eventually, type RunningClient, running } from '../support/ssh-ground.ts';
import { type ControlPlane, type ControlPlaneOptions, startControlPlane } from './control-plane.ts';
import { kubectl as kubectlProgram } from './programs.ts';

export interface KubeLaneOptions {
  readonly controlPlane?: ControlPlaneOptions;
  /** One that runs already; it is left running. */
  readonly plane?: ControlPlane;
  /** Manifests that are applied to the cluster before the gateway starts. */
  readonly manifests?: string;
  /** YAML of AccessPolicies, MaskingRules and whatever else lies in the resource folder besides the connections, by file. */
  readonly resources?: Readonly<Record<string, string>>;
  /** Connections to the API server, by name: YAML that stands in their spec, such as `mode: Observe`. Default: `cluster`. */
  readonly connections?: Readonly<Record<string, string>>;
  /** In place of impersonation of whoever calls. */
  readonly credential?: string;
  /**
   * What the API server's own RBAC gives the service accounts `default/NAME`, by name: a ClusterRole. Default: `agent` is
   * `cluster-admin`, so that whatever is refused was refused by Sallyport.
   */
  readonly accounts?: Readonly<Record<string, string>>;
  readonly gateway?: Partial<GatewayOptions>;
  /** For the configuration, besides approvers. */
  readonly configuration?: object;
}

export interface KubectlResult {
  readonly status: number | NodeJS.Signals;
  readonly stdout: string;
  readonly stderr: string;
}

export interface KubeRunOptions {
  /** The service account `default/NAME` that asks. Default `agent`. */
  readonly account?: string;
  readonly connection?: string;
  readonly input?: string;
  /** Path of another kubectl, or of any program that reads KUBECONFIG. */
  readonly program?: string;
  readonly environment?: NodeJS.ProcessEnv;
}

export interface KubeLaneGround extends AsyncDisposable {
  readonly plane: ControlPlane;
  readonly folder: string;
  readonly state: string;
  readonly resources: string;
  /** The authority of Sallyport's own certificate: PEM file. */
  readonly caFile: string;
  readonly ada: Person;
  readonly ben: Person;
  gateway: Gateway & AsyncDisposable;
  port(connection?: string): number;
  /** Such as `https://127.0.0.1:45678`. */
  server(connection?: string): string;
  /** Sallyport's token of the service account `default/NAME`. */
  token(name?: string, ttl?: string): Promise<string>;
  /** Path of a kubeconfig whose server is Sallyport. */
  kubeconfig(account?: string, connection?: string): Promise<string>;
  /** Runs kubectl through Sallyport to its end; never rejects for an exit status. */
  kubectl(parameters: readonly string[], options?: KubeRunOptions): Promise<KubectlResult>;
  /** The same, still running. */
  start(parameters: readonly string[], options?: KubeRunOptions): Promise<RunningClient>;
  /** One request with the account's token, and whatever headers a hostile client adds. */
  request(
    method: string,
    target: string,
    options?: {
      readonly account?: string;
      readonly connection?: string;
      /** In place of the connection's. */
      readonly server?: string;
      readonly body?: unknown;
      readonly contentType?: string;
      readonly headers?: Readonly<Record<string, string>>;
    },
  ): Promise<{ readonly status: number; readonly headers: Headers; readonly text: string; readonly json: unknown }>;
  /** Writes a file of the resource folder and waits until the gateway has said what it makes of it. */
  edit(file: string, yaml: string): Promise<void>;
  /** What the record says, once an event is in it for which the test holds. */
  recorded(matches?: (event: RecordedEvent) => boolean): Promise<RecordedEvent[]>;
  requestFor(matches: (request: ApprovalRequest) => boolean): Promise<ApprovalRequest>;
  pending(): Promise<ApprovalRequest>;
  requests(): Promise<readonly ApprovalRequest[]>;
  vote(request: ApprovalRequest, who?: Person, verdict?: 'Approve' | 'Deny'): Promise<void>;
  restart(options?: Partial<GatewayOptions>): Promise<void>;
}

/** The proxy's own account at the target, as an installation would limit it; tests let it be whoever asks. */
const OWN_ACCOUNT = `
apiVersion: v1
kind: Namespace
metadata: {name: sallyport}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: proxy, namespace: sallyport}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: sallyport-impersonator}
rules:
  - {apiGroups: [""], resources: [users, groups, serviceaccounts], verbs: [impersonate]}
  - {apiGroups: [authentication.k8s.io], resources: [uids, userextras/sallyport.dev/session], verbs: [impersonate]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: sallyport-impersonator}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: sallyport-impersonator}
subjects: [{kind: ServiceAccount, name: proxy, namespace: sallyport}]
`;

const accountManifests = (name: string, role: string): string => `---
apiVersion: v1
kind: ServiceAccount
metadata: {name: ${name}, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: test-${name}}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: ${role}}
subjects: [{kind: ServiceAccount, name: ${name}, namespace: default}]
`;

const indented = (yaml: string): string =>
  yaml === ''
    ? ''
    : `${yaml
        .split('\n')
        .map((line) => `  ${line}`)
        .join('\n')}\n`;

const connectionYaml = (name: string, more: string, server: URL, credential: string): string => `
apiVersion: sallyport.dev/v1alpha1
kind: AccessConnection
metadata: {name: ${name}, namespace: default, labels: {name: ${name}}}
spec:
  protocol: Kubernetes
  target:
    host: ${server.hostname}
    port: ${server.port}
    tls: {caRef: {name: cluster-ca}}
  credential: ${credential}
${indented(more)}`;

const IMPERSONATE = '{impersonate: {secretRef: {name: cluster-token}}}';

/** An AccessPolicy that lets `default/agent` do everything that can be said in rules: tests narrow it. */
export const ALLOW_ALL = `
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: everything, namespace: default}
spec:
  connections: {all: true}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
    - name: all
      effect: Allow
      kubernetes: {verbs: ["*"], apiGroups: ["*"], resources: ["*"], namespaces: ["*"]}
`;

function runToEnd(program: string, parameters: readonly string[], options: KubeRunOptions): Promise<KubectlResult> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      parameters,
      { env: { ...process.env, ...options.environment }, maxBuffer: 256 * 1024 * 1024 },
      (error, stdout, stderr) => {
        if (error === null) resolve({ status: 0, stdout, stderr });
        else if (typeof error.code === 'number') resolve({ status: error.code, stdout, stderr });
        else if (error.signal) resolve({ status: error.signal, stdout, stderr });
        else reject(error);
      },
    );
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(options.input ?? '');
  });
}

export async function startKubeLaneGround(options: KubeLaneOptions = {}): Promise<KubeLaneGround> {
  await using cleanup = new AsyncDisposableStack();
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-kube-lane-'));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const kubectlFile = await kubectlProgram();
  const plane = options.plane ?? cleanup.use(await startControlPlane(options.controlPlane));
  const accounts = options.accounts ?? { agent: 'cluster-admin' };
  const manifests = Object.entries(accounts).map(([name, role]) => accountManifests(name, role));
  await plane.apply([OWN_ACCOUNT, ...manifests, options.manifests ?? ''].join('\n---\n'));

  const state = options.gateway?.state ?? path.join(folder, 'state');
  const [resources, store] = [path.join(folder, 'resources'), path.join(folder, 'store')];
  await mkdir(resources, { mode: 0o700 });
  const secrets = path.join(state, 'secrets', 'default');
  await mkdir(path.join(secrets, 'cluster-token'), { recursive: true, mode: 0o700 });
  await mkdir(path.join(secrets, 'cluster-ca'), { recursive: true, mode: 0o700 });
  await chmod(state, 0o700);
  const own = await plane.kubectl(['create', 'token', 'proxy', '-n', 'sallyport', '--duration=2h']);
  await writeFile(path.join(secrets, 'cluster-token', 'token'), own.trim(), { mode: 0o600 });
  await writeFile(path.join(secrets, 'cluster-ca', 'ca.crt'), await readFile(plane.caFile), { mode: 0o600 });
  const connections = options.connections ?? { cluster: '' };
  const credential = options.credential ?? IMPERSONATE;
  const target = new URL(plane.server);
  for (const [name, more] of Object.entries(connections)) {
    await writeFile(
      path.join(resources, `connection-${name}.yaml`),
      connectionYaml(name, more, target, /^credential:/m.test(more) ? '' : credential).replace(
        /^ {2}credential: \n/m,
        '',
      ),
    );
  }
  const files = options.resources ?? { 'everything.yaml': ALLOW_ALL };
  for (const [file, yaml] of Object.entries(files)) await writeFile(path.join(resources, file), yaml);

  const ada = person('ada', { groups: ['on-call'] });
  const ben = person('ben', { groups: ['on-call'] });
  const configuration = path.join(folder, 'sallyport.yaml');
  const content = {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'SallyportConfiguration',
    approvals: { store },
    approvers: [ada.entry, ben.entry],
    ...options.configuration,
  };
  await writeFile(configuration, JSON.stringify(content));
  const start = (more: Partial<GatewayOptions> = {}): Promise<Gateway & AsyncDisposable> =>
    startSallyport({
      resources: [resources],
      state,
      listen: Object.keys(connections).map((name) => `default/${name}=127.0.0.1:0`),
      parameters: ['-c', configuration],
      // Kubernetes clients send no token over plaintext.
      plaintextLoopback: false,
      ...options.gateway,
      ...more,
    });

  const [firstConnection = 'cluster'] = Object.keys(connections);
  const tokens = new Map<string, Promise<string>>();
  const requestFiles = createRequestFiles(store, createHolder(process.pid));
  const gateway = await start();
  const endpoints = JSON.parse(await readFile(path.join(state, 'run', 'endpoints.json'), 'utf8')) as {
    readonly tls: { readonly caFile: string };
  };
  const { caFile } = endpoints.tls;
  const ca = await readFile(caFile);

  const ground: KubeLaneGround = {
    ...{ plane, folder, state, resources, caFile, ada, ben, gateway },
    port: (connection = firstConnection) => ground.gateway.connection(connection).port,
    server: (connection) => `https://127.0.0.1:${ground.port(connection)}`,
    token(name = 'agent', ttl = '1h') {
      const key = `${name} ${ttl}`;
      let token = tokens.get(key);
      if (token === undefined) {
        token = createToken(state, { subject: `system:serviceaccount:default:${name}`, ttl });
        tokens.set(key, token);
      }
      return token;
    },
    async kubeconfig(account = 'agent', connection = firstConnection) {
      const file = path.join(folder, `${account}-${connection}-${ground.port(connection)}.kubeconfig`);
      const config = {
        apiVersion: 'v1',
        kind: 'Config',
        clusters: [
          {
            name: 'sallyport',
            cluster: { server: ground.server(connection), 'certificate-authority-data': ca.toString('base64') },
          },
        ],
        users: [{ name: account, user: { token: await ground.token(account) } }],
        contexts: [{ name: 'sallyport', context: { cluster: 'sallyport', user: account } }],
        'current-context': 'sallyport',
      };
      await writeFile(file, JSON.stringify(config), { mode: 0o600 });
      return file;
    },
    async kubectl(parameters, run = {}) {
      const config = await ground.kubeconfig(run.account, run.connection);
      const environment = { KUBECONFIG: config, KUBECACHEDIR: path.join(folder, 'kubectl-cache'), ...run.environment };
      return runToEnd(run.program ?? kubectlFile, parameters, { ...run, environment });
    },
    async start(parameters, run = {}) {
      const config = await ground.kubeconfig(run.account, run.connection);
      const environment = { KUBECONFIG: config, KUBECACHEDIR: path.join(folder, 'kubectl-cache'), ...run.environment };
      const child = spawn(run.program ?? kubectlFile, parameters, {
        stdio: 'pipe',
        env: { ...process.env, ...environment },
      });
      cleanupChildren.push(child);
      return running(child);
    },
    async request(method, target, more = {}) {
      const { Agent, request } = await import('undici');
      await using dispatcher = asyncDisposable(new Agent({ connect: { ca } }));
      const token = await ground.token(more.account);
      const body = more.body === undefined || typeof more.body === 'string' ? more.body : JSON.stringify(more.body);
      const answer = await request(`${more.server ?? ground.server(more.connection)}${target}`, {
        method: method as 'GET',
        dispatcher: dispatcher.value,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body === undefined ? {} : { 'content-type': more.contentType ?? 'application/json' }),
          ...more.headers,
        },
        ...(body === undefined ? {} : { body }),
      });
      const text = await answer.body.text();
      const headers = new Headers();
      for (const [name, value] of Object.entries(answer.headers)) {
        for (const each of [value ?? []].flat()) headers.append(name, each);
      }
      return { status: answer.statusCode, headers, text, json: parsed(text) };
    },
    async edit(file, yaml) {
      const before = ground.gateway.output().split('"event":"reload"').length - 1;
      await writeFile(path.join(resources, file), yaml);
      let count = 0;
      await ground.gateway.event((found) => found.event === 'reload' && ++count > before);
    },
    recorded: (matches = () => true) =>
      eventually(
        async () => {
          const events = await recordedEvents(state);
          return events.some(matches) ? events : undefined;
        },
        () => 'no such event was recorded',
      ),
    async requests() {
      const names = await requestFiles.names('default');
      const found = await Promise.all(names.map((name) => requestFiles.read({ namespace: 'default', name })));
      return found.flatMap((stored) => (stored === undefined ? [] : [stored.request]));
    },
    requestFor: (matches) =>
      eventually(
        async () => (await ground.requests()).find(matches),
        () => 'there is no such request',
      ),
    pending: () => ground.requestFor((request) => stateOf(request) === 'Pending'),
    async vote(request, who = ada, verdict = 'Approve') {
      const { name } = request.metadata;
      await requestFiles.update({ namespace: 'default', name }, (found) => {
        const decision = signVote(found, { verdict, voter: who.entry.name, via: 'test', now: Date.now() }, who.key);
        return { ...found, spec: { ...found.spec, decisions: [...(found.spec.decisions ?? []), decision] } };
      });
    },
    async restart(more) {
      await ground.gateway.stop('SIGKILL');
      ground.gateway = await start(more);
    },
    async [Symbol.asyncDispose]() {
      for (const child of cleanupChildren) child.kill('SIGKILL');
      await ground.gateway[Symbol.asyncDispose]();
      await owned.disposeAsync();
    },
  };
  const cleanupChildren: ReturnType<typeof spawn>[] = [];
  const owned = cleanup.move();
  return ground;
}

function asyncDisposable<T extends { close(): Promise<void> }>(value: T): AsyncDisposable & { readonly value: T } {
  return { value, [Symbol.asyncDispose]: () => value.close() };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
