import { createHash } from 'node:crypto';
import { isIP } from 'node:net';
import { gatewayService, NAMES, PORTS } from '../../../api/cluster.ts';
import type { ConnectorConfig, ConnectorTarget } from '../../../api/connector-config.ts';
import type { AccessConnection } from '../../../api/resources.ts';
import { matchesLabels } from '../../../policy/select-connection.ts';
import { impersonatesHere } from '../../targets/api-server.ts';
import { isOwnName } from '../../targets/own-names.ts';
import { type WebhookErrorCode, webhookMessage } from '../errors.ts';
import { canonicalHost, hostNames } from './host-names.ts';
import { loopbackAddresses } from './loopback.ts';

/** What a pod is told of connections; the same for all pods of a namespace that name the same ones. */
export interface InjectionPlan {
  readonly config: ConnectorConfig;
  /** For `hostAliases`, in the order of the addresses. */
  readonly aliases: readonly { readonly ip: string; readonly hostnames: readonly string[] }[];
  /** Where clients of the pod find the API server of this cluster, when a connection to it applies. */
  readonly apiServer: { readonly host: string; readonly port: number } | undefined;
  /** `NAMESPACE/NAME` of the connections with `routing: Gateway`. */
  readonly gateways: readonly string[];
  /** An SSH connection applies: clients get the authority of host keys, so that none is trusted on first use. Absent: none does. */
  readonly ssh?: true;
  /** Told to the person who made the pod. */
  readonly warnings: readonly string[];
  /** `sha256:` and hex, over everything above but the warnings. */
  readonly hash: string;
}

export interface PlanFailure {
  readonly code: WebhookErrorCode;
  readonly message: string;
}

export interface PlanInput {
  /** The pod's. */
  readonly namespace: string;
  /** Labels of a namespace; undefined when there is none of that name. */
  readonly namespaceLabels: (name: string) => Readonly<Record<string, string>> | undefined;
  /** Of all namespaces. */
  readonly connections: readonly AccessConnection[];
  /** Value of the annotation `sallyport.dev/connections`. */
  readonly wanted: string | undefined;
}

const NAME = /^([a-z0-9]([-a-z0-9]*[a-z0-9])?\/)?[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const IN_CLUSTER_API = 'kubernetes.default.svc.cluster.local';
/** The kernel takes 128 KiB for one variable of the environment. */
const CONFIG_BYTES = 120 * 1024;

const fullName = ({ metadata }: AccessConnection): string => `${metadata.namespace}/${metadata.name}`;

/** Whether pods of the namespace may use the connection (`spec.allowedNamespaces`, as in Gateway API). */
export function allowsNamespace(
  connection: AccessConnection,
  namespace: string,
  labels: Readonly<Record<string, string>>,
): boolean {
  const { from = 'Same', selector } = connection.spec.allowedNamespaces ?? {};
  switch (from) {
    case 'Same':
      return connection.metadata.namespace === namespace;
    case 'All':
      return true;
    case 'Selector':
      return selector !== undefined && matchesLabels(selector, labels);
    default:
      return from satisfies never;
  }
}

const failure = (code: WebhookErrorCode, fills: readonly (string | number)[]): PlanFailure => ({
  code,
  message: webhookMessage(code, fills),
});

function parseWanted(text: string | undefined): readonly string[] | PlanFailure {
  const names = (text ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  const wrong = names.find((name) => name.length > 127 || !NAME.test(name));
  return wrong === undefined ? names : failure('SPW009', [wrong.slice(0, 128)]);
}

/** Those the pod names first, then its own namespace's, then the older, then by name. */
function inOrder(
  connections: readonly AccessConnection[],
  namespace: string,
  isWanted: (c: AccessConnection) => boolean,
) {
  const rank = (connection: AccessConnection): string =>
    [
      isWanted(connection) ? 0 : 1,
      connection.metadata.namespace === namespace ? 0 : 1,
      connection.metadata.creationTimestamp ?? '9',
      fullName(connection),
    ].join(' ');
  return connections
    .map((connection) => ({ connection, key: rank(connection) }))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ connection }) => connection);
}

interface Place {
  readonly host: string;
  readonly port: number;
  readonly canonical: string;
  readonly namespace: string;
  readonly members: AccessConnection[];
}

/** Why a connector cannot serve a connection that is routed through one; undefined when it can. */
function obstacle(connection: AccessConnection): PlanFailure | undefined {
  const { host, port } = connection.spec.target;
  if (isIP(host) !== 0) return failure('SPW010', [fullName(connection), host]);
  if (isOwnName(host) || host === 'localhost') return failure('SPW019', [fullName(connection), host]);
  if (port === PORTS.connectorHealth) return failure('SPW016', [port, fullName(connection)]);
  return undefined;
}

/** What the pod is told, or why it cannot start as it is. */
export function planInjection(input: PlanInput): InjectionPlan | PlanFailure {
  const { namespace, namespaceLabels } = input;
  const wanted = parseWanted(input.wanted);
  if ('code' in wanted) return wanted;
  const labels = namespaceLabels(namespace) ?? {};
  const isNamespace = (name: string): boolean => namespaceLabels(name) !== undefined;
  const allowed = input.connections.filter((connection) => allowsNamespace(connection, namespace, labels));
  const unknown = wanted.find(
    (name) => !allowed.some((connection) => connection.metadata.name === name || fullName(connection) === name),
  );
  if (unknown !== undefined) return failure('SPW008', [unknown, namespace]);
  const isWanted = (connection: AccessConnection): boolean =>
    wanted.includes(connection.metadata.name) || wanted.includes(fullName(connection));

  const places = new Map<string, Place>();
  const warnings: string[] = [];
  const gateways = allowed.filter((connection) => connection.spec.routing === 'Gateway');
  const routed = allowed.filter((connection) => connection.spec.routing !== 'Gateway');
  for (const connection of inOrder(routed, namespace, isWanted)) {
    const { host, port } = connection.spec.target;
    const home = connection.metadata.namespace;
    const canonical = canonicalHost(host, home, isNamespace);
    const place = places.get(`${canonical}:${port}`);
    const other =
      place !== undefined && (place.namespace !== home || place.host !== host) ? place.members[0] : undefined;
    const skipped =
      obstacle(connection) ??
      (other === undefined ? undefined : failure('SPW017', [fullName(connection), `${host}:${port}`, fullName(other)]));
    if (skipped !== undefined) {
      if (isWanted(connection)) return skipped;
      warnings.push(`sallyport: ${skipped.code}: ${skipped.message}`);
    } else if (place === undefined) {
      places.set(`${canonical}:${port}`, { host, port, canonical, namespace: home, members: [connection] });
    } else place.members.push(connection);
  }
  const plan = assemble([...places.values()], gateways, input, isNamespace);
  const bytes = Buffer.byteLength(JSON.stringify(plan.config));
  if (bytes > CONFIG_BYTES) return failure('SPW013', [namespace, bytes]);
  return { ...plan, warnings };
}

function assemble(
  places: readonly Place[],
  gateways: readonly AccessConnection[],
  { namespace }: PlanInput,
  isNamespace: (name: string) => boolean,
): Omit<InjectionPlan, 'warnings'> {
  const addresses = loopbackAddresses(places.map(({ canonical }) => canonical));
  const addressOf = (canonical: string): string => {
    const address = addresses.get(canonical);
    if (address === undefined) throw new Error(`${canonical} has no address`);
    return address;
  };
  const ordered = [...places].sort((a, b) =>
    a.canonical < b.canonical ? -1 : a.canonical > b.canonical ? 1 : a.port - b.port,
  );
  const targets = ordered.map(
    (place): ConnectorTarget => ({
      connections: place.members.map(fullName).sort(),
      host: place.host,
      port: place.port,
      listen: addressOf(place.canonical),
      proxy: `${NAMES.proxyReplicas}.${place.namespace}.svc`,
      serverName: `${NAMES.proxy}.${place.namespace}.svc`,
      onBypass: place.members.some(({ spec }) => spec.onBypass === 'Refuse') ? 'Refuse' : 'Report',
    }),
  );
  const names = new Map<string, Set<string>>();
  for (const place of ordered) {
    const ip = addressOf(place.canonical);
    const known = names.get(ip) ?? new Set();
    for (const name of hostNames(place.host, place.namespace, namespace, isNamespace)) known.add(name);
    names.set(ip, known);
  }
  const aliases = [...names].map(([ip, hostnames]) => ({ ip, hostnames: [...hostnames] }));
  const told = {
    config: { version: 1, targets } as const,
    aliases,
    apiServer: apiServerOf(ordered, gateways, isNamespace),
    gateways: gateways.map(fullName).sort(),
    // Not there rather than false: what other pods were told stays what it was.
    ...(speaksSsh(places, gateways) ? { ssh: true as const } : {}),
  };
  return { ...told, hash: `sha256:${createHash('sha256').update(JSON.stringify(told)).digest('hex')}` };
}

/**
 * Another cluster's API server is a target like any other: what a pod takes for its own cluster stays its own. This one's may be called by
 * another name than that of its Service; that proxies act there with their own account tells it.
 */
function apiServerOf(
  places: readonly Place[],
  gateways: readonly AccessConnection[],
  isNamespace: (name: string) => boolean,
): InjectionPlan['apiServer'] {
  const served = places.filter(({ members }) => members.some(({ spec }) => spec.protocol === 'Kubernetes'));
  const place =
    served.find(({ canonical }) => canonical === IN_CLUSTER_API) ??
    served.find(({ members }) => members.some(impersonatesHere));
  if (place !== undefined) return { host: place.host, port: place.port };
  const gateway = gateways.find(
    ({ metadata, spec }) =>
      spec.protocol === 'Kubernetes' &&
      canonicalHost(spec.target.host, metadata.namespace, isNamespace) === IN_CLUSTER_API,
  );
  if (gateway === undefined) return undefined;
  const { namespace, name } = gateway.metadata;
  return { host: `${gatewayService(name)}.${namespace}.svc`, port: gateway.spec.target.port };
}

function speaksSsh(places: readonly Place[], gateways: readonly AccessConnection[]): boolean {
  return [...places.flatMap(({ members }) => members), ...gateways].some(({ spec }) => spec.protocol === 'SSH');
}
