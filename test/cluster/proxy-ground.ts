/**
 * A namespace of connections (`shop`) and one of agents (`agents`) on a real control plane, with replicas of the proxy as the processes that
 * they are. There is no node: pods are objects whose address, on loopback, stands in their status, and whose tokens the API server makes.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import tls from 'node:tls';
import { gzipSync } from 'node:zlib';
import type { BundleDocument, ProxyReport } from '../../api/bundle-document.ts';
import type { AccessConnection, AccessPolicy } from '../../api/resources.ts';
import { PROXY_RULES } from '../../operator/desired/role.ts';
import { canonicalJson, sha256 } from '../../policy/canonical.ts';
import * as encode from '../../proxy/protocols/postgres/wire/encode.ts';
import { type CertificateAuthority, createAuthority } from '../support/certificates.ts';
import { type Postgres, type PostgresOptions, startPostgres } from '../support/postgres.ts';
import { entryFile, repositoryRoot } from '../support/sallyport.ts';
import { fieldsOf, rowOf, WireClient } from '../support/wire-client.ts';
import { type ControlPlane, type ControlPlaneOptions, startControlPlane } from './control-plane.ts';

export const NAMESPACE = 'shop';
export const AGENTS = 'agents';
/** As an agent dials it; the target itself is on loopback, under this name. */
export const HOST = 'localhost';
const SERVER_NAME = `sallyport-proxy.${NAMESPACE}.svc`;

export interface Pod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** Loopback address that is the pod's. */
  readonly address: string;
}

export interface LogLine {
  readonly msg: string;
  readonly level: number;
  readonly [field: string]: unknown;
}

export interface ReplicaProcess extends AsyncDisposable {
  readonly name: string;
  readonly state: string;
  readonly tunnel: number;
  readonly metrics: number;
  readonly child: ChildProcess;
  /** The first line of its log, past or future, for which the test holds. */
  logged(matches: (line: LogLine) => boolean): Promise<LogLine>;
  readonly output: () => string;
  /** Status of a path of its operations' port. */
  probe(path: string): Promise<{ readonly status: number; readonly text: string }>;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** A listener that carries each client to a replica, as the connector does. */
export interface TestConnector extends AsyncDisposable {
  readonly port: number;
}

export interface ProxyGround extends AsyncDisposable {
  readonly cluster: ControlPlane;
  readonly server: Postgres;
  readonly authority: CertificateAuthority;
  readonly folder: string;
  /** Of the user that replicas are: the service account of the proxies, with the rights that the operator gives it. */
  readonly kubeconfig: string;
  readonly trustedKey: string;
  readonly tlsFolder: string;
  readonly credentials: string;
  readonly tokenKeyFile: string;
  /** A pod with that address, running as service account `agent` of the namespace. */
  pod(name: string, address: string, namespace?: string): Promise<Pod>;
  token(pod: Pod, options?: { readonly audience?: string; readonly seconds?: number }): Promise<string>;
  /** Writes a bundle, signed by the operator's key unless another is given. Its sequence is the next. */
  publish(
    change?: Partial<BundleDocument>,
    key?: KeyObject,
  ): Promise<{ readonly hash: string; readonly sequence: number }>;
  replica(options?: {
    readonly name?: string;
    readonly state?: string;
    readonly parameters?: readonly string[];
    /** Address that it listens on. */
    readonly listen?: string;
    readonly uid?: string;
    readonly environment?: NodeJS.ProcessEnv;
  }): Promise<ReplicaProcess>;
  connector(replica: { readonly tunnel: number }, pod: Pod, token: string | (() => string)): Promise<TestConnector>;
  /** A request on a control connection of its own. */
  control(
    replica: { readonly tunnel: number },
    pod: Pod,
    token: string,
    route: string,
    body?: unknown,
  ): Promise<{ readonly status: number; readonly text: string }>;
  report(replica: { readonly name: string }): Promise<ProxyReport | undefined>;
}

export function connection(
  port: number,
  more: Partial<AccessConnection['spec']> = {},
  name = 'orders',
): AccessConnection {
  return {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'AccessConnection',
    metadata: { name, namespace: NAMESPACE, uid: `uid-${name}` },
    spec: {
      protocol: 'Postgres',
      target: { host: HOST, port, database: 'app', tls: { mode: 'Disable' } },
      credential: { secretRef: { name: 'orders-db' } },
      ...more,
    },
  } as AccessConnection;
}

export function readPolicy(statements: readonly string[] = ['Read']): AccessPolicy {
  return {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'AccessPolicy',
    metadata: { name: 'agents', namespace: NAMESPACE },
    spec: {
      connections: { all: true },
      subjects: [{ serviceAccount: { namespace: AGENTS, name: 'agent' } }],
      rules: [{ name: 'read', effect: 'Allow', sql: { statements, relations: ['public.*'], functions: ['*'] } }],
    },
  } as AccessPolicy;
}

const RBAC = { apiVersion: 'rbac.authorization.k8s.io/v1' };
const PROXIES = [{ kind: 'ServiceAccount', name: 'sallyport-proxy', namespace: NAMESPACE }];
const bound = (kind: string, roleKind: string, name: string, namespace?: string) => ({
  ...RBAC,
  kind,
  metadata: { name, ...(namespace === undefined ? {} : { namespace }) },
  roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: roleKind, name },
  subjects: PROXIES,
});
const clusterRole = (name: string, rules: readonly object[]) => ({
  ...RBAC,
  kind: 'ClusterRole',
  metadata: { name },
  rules,
});

/** What the operator gives the proxies of a namespace, and the right to look at pods where agents are. */
const RIGHTS: readonly object[] = [
  { ...RBAC, kind: 'Role', metadata: { name: 'sallyport-proxy', namespace: NAMESPACE }, rules: PROXY_RULES },
  bound('RoleBinding', 'Role', 'sallyport-proxy', NAMESPACE),
  clusterRole('sallyport-token-reviewer', [
    { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
    { apiGroups: ['authorization.k8s.io'], resources: ['subjectaccessreviews'], verbs: ['create'] },
  ]),
  bound('ClusterRoleBinding', 'ClusterRole', 'sallyport-token-reviewer'),
  clusterRole('sallyport-pod-reader', [{ apiGroups: [''], resources: ['pods'], verbs: ['list', 'watch'] }]),
  bound('RoleBinding', 'ClusterRole', 'sallyport-pod-reader', AGENTS),
  bound('RoleBinding', 'ClusterRole', 'sallyport-pod-reader', 'other'),
];

const ACCOUNTS = ['shop sallyport-proxy', `${AGENTS} agent`, 'other agent']
  .map((each) => each.split(' '))
  .map(
    ([namespace, name]) =>
      `apiVersion: v1\nkind: Namespace\nmetadata: {name: ${namespace}}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: ${name}, namespace: ${namespace}}\n`,
  )
  .join('---\n');

const rawKey = (key: KeyObject): string => key.export({ format: 'der', type: 'spki' }).subarray(-32).toString('base64');

/** ConfigMaps of a document, as the operator writes them: pieces of half the text's length, so that there are two. */
export function bundleMaps(document: BundleDocument, key: KeyObject, namespace = NAMESPACE): object[] {
  const text = canonicalJson(document);
  const packed = gzipSync(text);
  const half = Math.ceil(packed.length / 2);
  const signature = sign(null, Buffer.concat([Buffer.from('sallyport.dev/bundle/v1\n'), packed]), key);
  return [packed.subarray(0, half), packed.subarray(half)].map((piece, index) => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: {
      name: index === 0 ? 'sallyport-bundle' : `sallyport-bundle-${index}`,
      namespace,
      labels: { 'app.kubernetes.io/name': 'sallyport-bundle' },
      annotations: { 'sallyport.dev/bundle-hash': sha256(text) },
    },
    binaryData: { bundle: piece.toString('base64') },
    ...(index === 0 ? { data: { pieces: '2', signature: signature.toString('base64'), hash: sha256(text) } } : {}),
  }));
}

export interface ProxyGroundOptions {
  readonly audit?: ControlPlaneOptions['audit'];
  /** `none`: an operator gives them. */
  readonly rights?: 'given' | 'none';
}

/** @param settings lines of postgresql.conf */
export async function startProxyGround(
  settings: PostgresOptions['settings'] = {},
  options: ProxyGroundOptions = {},
): Promise<ProxyGround> {
  await using cleanup = new AsyncDisposableStack();
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-replica-'));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const [cluster, server, authority] = await Promise.all([
    startControlPlane(options.audit === undefined ? {} : { audit: options.audit }),
    startPostgres({ version: 18, settings, hba: ['host all all 127.0.0.1/32 trust', 'host all all ::1/128 trust'] }),
    createAuthority(folder, 'cluster'),
  ]);
  cleanup.use(cluster);
  cleanup.use(server);
  await server.sql('CREATE DATABASE app');
  await server.sql('CREATE TABLE orders (id int); INSERT INTO orders VALUES (1), (2)', undefined, 'app');
  await cluster.applyCrds();
  await cluster.apply(ACCOUNTS);
  if (options.rights !== 'none') for (const right of RIGHTS) await cluster.apply(JSON.stringify(right));
  const user = `system:serviceaccount:${NAMESPACE}:sallyport-proxy`;
  const groups = ['system:serviceaccounts', `system:serviceaccounts:${NAMESPACE}`, 'system:authenticated'];
  const kubeconfig = await cluster.clientAs(user, groups);

  const tlsFolder = path.join(folder, 'tls');
  const credentials = path.join(folder, 'credentials');
  await mkdir(tlsFolder);
  await mkdir(path.join(credentials, 'secrets', 'orders-db'), { recursive: true });
  await writeFile(path.join(credentials, 'secrets', 'orders-db', 'username'), 'postgres');
  await writeFile(path.join(credentials, 'secrets', 'orders-db', 'password'), server.password);
  await writeFile(path.join(folder, 'token-key'), Buffer.alloc(32, 7));
  const leaf = await authority.issue('sallyport-proxy', [`DNS:${SERVER_NAME}`, `DNS:${HOST}`, 'IP:127.0.0.1']);
  await writeFile(path.join(tlsFolder, 'tls.crt'), leaf.certificate);
  await writeFile(path.join(tlsFolder, 'tls.key'), leaf.key);
  await writeFile(path.join(tlsFolder, 'ca.crt'), authority.ca);

  const operator = generateKeyPairSync('ed25519');
  const trustedKey = rawKey(operator.publicKey);
  let sequence = 0;
  let replicas = 0;

  function connect(replica: { readonly tunnel: number }, pod: Pod): tls.TLSSocket {
    return tls.connect({
      host: '127.0.0.1',
      port: replica.tunnel,
      localAddress: pod.address,
      ca: authority.ca,
      servername: SERVER_NAME,
      minVersion: 'TLSv1.3',
    } as tls.ConnectionOptions);
  }

  const ground: ProxyGround = {
    cluster,
    server,
    authority,
    folder,
    kubeconfig,
    trustedKey,
    tlsFolder,
    credentials,
    tokenKeyFile: path.join(folder, 'token-key'),

    async pod(name, address, namespace = AGENTS) {
      await cluster.apply(
        JSON.stringify({
          apiVersion: 'v1',
          kind: 'Pod',
          metadata: { name, namespace },
          spec: { serviceAccountName: 'agent', containers: [{ name: 'agent', image: 'agent' }] },
        }),
      );
      const status = JSON.stringify({ status: { podIP: address, podIPs: [{ ip: address }], phase: 'Running' } });
      await cluster.kubectl([
        'patch',
        'pod',
        name,
        '-n',
        namespace,
        '--subresource=status',
        '--type=merge',
        '-p',
        status,
      ]);
      const { metadata } = await cluster.get<{ metadata: { uid: string } }>('pod', name, namespace);
      return { namespace, name, uid: metadata.uid, address };
    },

    async token(pod, { audience = 'sallyport', seconds = 600 } = {}) {
      const text = await cluster.kubectl([
        ...['create', 'token', 'agent', '-n', pod.namespace, '--audience', audience, '--duration', `${seconds}s`],
        ...['--bound-object-kind', 'Pod', '--bound-object-name', pod.name, '--bound-object-uid', pod.uid],
      ]);
      return text.trim();
    },

    async publish(change = {}, key = operator.privateKey) {
      const document: BundleDocument = {
        version: 1,
        namespace: NAMESPACE,
        guardrailNamespace: 'sallyport-system',
        sequence: ++sequence,
        resources: { connections: [connection(server.port)], policies: [readPolicy()], maskingRules: [] },
        allowedNamespaces: { orders: [AGENTS] },
        gatewayPorts: {},
        voteAuthorities: [],
        ...change,
      };
      sequence = Math.max(sequence, document.sequence);
      // The first comes last, as the operator writes them.
      for (const map of bundleMaps(document, key).reverse()) await cluster.apply(JSON.stringify(map));
      return { hash: sha256(canonicalJson(document)), sequence: document.sequence };
    },

    async replica({
      name = `proxy-${++replicas}`,
      state = path.join(folder, name),
      parameters = [],
      uid,
      listen = '127.0.0.1',
      environment = {},
    } = {}) {
      let owner = uid;
      if (owner === undefined) {
        const manifest = {
          apiVersion: 'v1',
          kind: 'Pod',
          metadata: { name, namespace: NAMESPACE },
          spec: { containers: [{ name: 'proxy', image: 'proxy' }] },
        };
        await cluster.apply(JSON.stringify(manifest));
        owner = (await cluster.get<{ metadata: { uid: string } }>('pod', name, NAMESPACE)).metadata.uid;
      }
      const child = spawn(
        process.execPath,
        [
          ...[entryFile('source'), 'proxy', '--trusted-key', trustedKey, '--state', state, '-o', 'json'],
          ...['--credentials', credentials, '--tls', tlsFolder, '--token-key', path.join(folder, 'token-key')],
          ...['--kubeconfig', kubeconfig, '--listen', listen, '--tunnel-port', '0', '--metrics-port', '0'],
          ...['--log-level', 'debug', ...parameters],
        ],
        {
          cwd: repositoryRoot,
          stdio: ['ignore', 'pipe', 'pipe'],
          env: {
            ...process.env,
            POD_NAME: name,
            POD_NAMESPACE: NAMESPACE,
            POD_UID: owner,
            POD_IP: '127.0.0.1',
            NODE_NAME: 'node-1',
            ...environment,
          },
        },
      );
      return replicaProcess(name, state, listen, child);
    },

    async connector(replica, pod, token) {
      const open = new Set<net.Socket>();
      const listener = net.createServer((client) => {
        open.add(client);
        client.on('error', () => client.destroy());
        client.once('close', () => open.delete(client));
        const socket = connect(replica, pod);
        socket.on('error', () => client.destroy());
        client.once('close', () => socket.destroy());
        const bearer = typeof token === 'string' ? token : token();
        socket.write(
          `CONNECT ${HOST}:${server.port} HTTP/1.1\r\nHost: ${HOST}:${server.port}\r\nAuthorization: Bearer ${bearer}\r\nSallyport-Connector: test\r\n\r\n`,
        );
        let head = '';
        const answer = (chunk: Buffer): void => {
          head += chunk.toString('latin1');
          const end = head.indexOf('\r\n\r\n');
          if (end < 0) return;
          socket.off('data', answer);
          if (!head.startsWith('HTTP/1.1 200')) {
            client.destroy();
            socket.destroy();
            return;
          }
          const rest = Buffer.from(head.slice(end + 4), 'latin1');
          if (rest.length > 0) client.write(rest);
          socket.pipe(client);
          client.pipe(socket);
        };
        socket.on('data', answer);
      });
      listener.listen(0, '127.0.0.1');
      await once(listener, 'listening');
      const address = listener.address();
      return {
        port: typeof address === 'object' && address !== null ? address.port : 0,
        async [Symbol.asyncDispose]() {
          for (const client of open) client.destroy();
          await new Promise((resolve) => listener.close(resolve));
        },
      };
    },

    async control(replica, pod, token, route, body) {
      const socket = connect(replica, pod);
      const [method, url] = route.split(' ');
      const text = body === undefined ? '' : JSON.stringify(body);
      socket.write(
        `${method} ${url} HTTP/1.1\r\nHost: proxy\r\nAuthorization: Bearer ${token}\r\nConnection: close\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
      );
      let answer = '';
      socket.setEncoding('utf8').on('data', (chunk: string) => {
        answer += chunk;
      });
      await once(socket, 'end');
      return { status: Number(answer.split(' ')[1]), text: answer };
    },

    async report({ name }) {
      const { metadata } = await cluster.get<{ metadata: { annotations?: Record<string, string> } }>(
        'lease',
        name,
        NAMESPACE,
      );
      const text = metadata.annotations?.['sallyport.dev/proxy-report'];
      return text === undefined ? undefined : (JSON.parse(text) as ProxyReport);
    },

    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
  const running = cleanup.move();
  return ground;
}

async function replicaProcess(
  name: string,
  state: string,
  address: string,
  child: ChildProcess,
): Promise<ReplicaProcess> {
  const closed = once(child, 'close');
  let output = '';
  const lines: LogLine[] = [];
  const waiting = new Set<(line: LogLine) => void>();
  const take = (line: string): void => {
    output += `${line}\n`;
    let parsed: LogLine;
    try {
      parsed = JSON.parse(line) as LogLine;
    } catch {
      return;
    }
    lines.push(parsed);
    for (const notify of [...waiting]) notify(parsed);
  };
  for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream! }).on('line', take);
  const logged = (matches: (line: LogLine) => boolean): Promise<LogLine> => {
    const past = lines.find(matches);
    if (past !== undefined) return Promise.resolve(past);
    return new Promise((resolve, reject) => {
      const notify = (line: LogLine): void => {
        if (!matches(line)) return;
        waiting.delete(notify);
        resolve(line);
      };
      waiting.add(notify);
      closed.then(() => reject(new Error(`the proxy ended (${child.exitCode}):\n${output}`)), reject);
    });
  };
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  void closed.then(() => process.off('exit', kill));
  const stop = async (signal: NodeJS.Signals = 'SIGTERM'): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await closed;
  };
  const { tunnel, metrics } = await logged((line) => line['event'] === 'listening');
  return {
    name,
    state: path.join(state, 'replica'),
    tunnel: Number(tunnel),
    metrics: Number(metrics),
    child,
    logged,
    output: () => output,
    async probe(route) {
      const response = await fetch(`http://${address}:${Number(metrics)}${route}`);
      return { status: response.status, text: await response.text() };
    },
    stop,
    [Symbol.asyncDispose]: () => stop('SIGKILL'),
  };
}

/** Until what is asked holds; for what nothing tells of. */
export async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await delay(50);
}

/** In force: what it decides is from that bundle on. */
export function inForce(replica: ReplicaProcess, { hash }: { readonly hash: string }): Promise<LogLine> {
  return replica.logged((line) => line.msg === 'bundle in force' && line['hash'] === hash);
}

export const signIn = (connector: { readonly port: number }, more: { readonly database?: string } = {}) =>
  WireClient.connect({ port: connector.port, database: 'app', user: 'whoever', ...more });

export type Fields = Partial<Record<string, string>>;

export async function rows(client: WireClient, sql: string): Promise<(string | null)[][]> {
  client.send(encode.query(sql));
  const messages = await client.until('Z');
  return messages.filter(({ type }) => type === 'D').map(rowOf);
}

/** The fields of the error with which the other side ends the session. */
export async function farewell(client: WireClient): Promise<Fields> {
  let last: Fields = {};
  for (;;) {
    const message = await client.next();
    if (message === undefined) return last;
    if (message.type === 'E') last = fieldsOf(message);
  }
}

/** The error of a client that is not let in. */
export async function refusal(connector: { readonly port: number }): Promise<Fields> {
  const refused: unknown = await signIn(connector).then(
    (client) => {
      client.socket.destroy();
      throw new Error('it was let in');
    },
    (error: unknown) => error,
  );
  if (refused instanceof Error && 'fields' in refused) return refused.fields as Fields;
  throw refused;
}

/** The error of a command that is not run. */
export async function denial(client: WireClient, sql: string): Promise<Fields> {
  client.send(encode.query(sql));
  const error = (await client.until('Z')).find(({ type }) => type === 'E');
  if (error === undefined) throw new Error(`it was run: ${sql}`);
  return fieldsOf(error);
}
