import { LABELS, PORTS } from '../../api/cluster.ts';
import type { AccessConnection } from '../../api/resources.ts';
import { CONFIG_MAPS, NETWORK_POLICIES, ROLE_BINDINGS, ROLES } from '../../kube/builtin.ts';
import { type Controller, createController } from '../../kube/controller.ts';
import type { ResourceType } from '../../kube/types.ts';
import { allowedNamespaces, gatewayPorts } from '../bundle/document.ts';
import type { AgentPod, ControllerContext, Namespace, Stored } from '../context.ts';
import type { AgentsInputs } from '../desired/agents-inputs.ts';
import { agentsNetworkPolicy } from '../desired/agents-network-policy.ts';
import { caConfigMap } from '../desired/ca-config-map.ts';
import { impersonatorRole, impersonatorRoleBinding } from '../desired/impersonator-role.ts';
import { hostRange } from '../desired/network-policy-parts.ts';
import { podReaderBinding } from '../desired/pod-reader-binding.ts';
import { impersonatesHere, isOwnApiServer } from '../targets/api-server.ts';
import { clusterNamespaceOf } from '../targets/in-cluster.ts';
import { applyAll, type Desired, desired, removeOthers } from './apply-all.ts';
import { followSpec } from './follow.ts';
import { impersonationIn } from './impersonation.ts';

const TYPES: readonly ResourceType[] = [
  CONFIG_MAPS,
  ROLES,
  ROLE_BINDINGS,
  NETWORK_POLICIES,
] as unknown as readonly ResourceType[];
const MANAGER = 'sallyport-agents';

/**
 * What a namespace of agents gets: the authority to trust, the proxies' rights to see its pods and to act as its service accounts where
 * connections say so, and the NetworkPolicy. Key: that namespace. It is swept here too, since nothing there is owned by a connection.
 */
export function createAgentsController(context: ControllerContext): Controller {
  const { connections, namespaces, pods, log, metrics } = context;
  const controller = createController({
    name: 'agents',
    workers: 4,
    log,
    metrics,
    reconcile: async (key, signal) => reconcileAgents(context, key, signal),
  });
  const all = (): string[] => namespaces.list().map(({ metadata }) => metadata.name);
  const reached = (connection: Stored<AccessConnection>): string[] => {
    const allowed = allowedNamespaces(connection, namespaces.list());
    return allowed.includes('*') ? all() : [...allowed];
  };
  followSpec(controller, connections, reached);
  // Whom proxies may act as: those whom policies name, of those that are there.
  followSpec(controller, context.policies, ({ metadata }) =>
    connections.list(metadata.namespace).filter(impersonatesHere).flatMap(reached),
  );
  controller.follow(context.serviceAccounts, ({ metadata: { namespace } }) =>
    namespace !== undefined && connections.list().some(impersonatesHere) ? [namespace] : [],
  );
  controller.follow(namespaces, ({ metadata }) => [metadata.name]);
  // A pod matters by its label alone.
  const wanting = ({ metadata }: AgentPod): string[] =>
    metadata.labels?.[LABELS.inject] === 'true' && metadata.namespace !== undefined ? [metadata.namespace] : [];
  pods.onChange((change) => {
    if (change.type === 'updated' && String(wanting(change.previous)) === String(wanting(change.object))) return;
    for (const key of wanting(change.object)) controller.add(key);
  });
  for (const type of TYPES) {
    controller.follow(context.applier.copy(type), ({ metadata }) =>
      metadata.labels?.[LABELS.component] === 'agents' && metadata.namespace !== undefined ? [metadata.namespace] : [],
    );
  }
  context.keys.onChange(() => {
    for (const namespace of all()) controller.add(namespace);
  });
  context.targets.onChange(() => {
    for (const namespace of all()) controller.add(namespace);
  });
  return controller;
}

async function reconcileAgents(context: ControllerContext, namespace: string, signal: AbortSignal): Promise<void> {
  const { applier, namespaces, failures } = context;
  const source = `agents/${namespace}`;
  const home = namespaces.get(undefined, namespace);
  if (home === undefined || home.metadata.deletionTimestamp !== undefined) return failures.set(source, new Map());
  const present = TYPES.flatMap((type) =>
    applier
      .list(type, namespace)
      .filter(({ metadata }) => metadata.labels?.[LABELS.component] === 'agents')
      .map((object) => desired(type, object)),
  );
  const usable = connectionsFor(context, home);
  if (usable.length === 0) {
    failures.set(source, new Map());
    return removeOthers(applier, present, [], signal);
  }
  const inputs = inputsOf(context, home, usable);
  const wanted: Desired[] = [
    desired(CONFIG_MAPS, caConfigMap(inputs)),
    desired(ROLE_BINDINGS, podReaderBinding(inputs)),
    desired(NETWORK_POLICIES, agentsNetworkPolicy(inputs)),
    ...impersonation(context, namespace, usable),
  ];
  const failed = await applyAll(applier, wanted, MANAGER, signal);
  await removeOthers(applier, present, wanted, signal);
  // Told where people look: at the connections.
  const messages = failed.map(({ message }) => message);
  failures.set(source, new Map(inputs.proxies.map((proxy) => [proxy.namespace, messages])));
  const [first] = failed;
  if (first !== undefined) throw first;
}

/** Role and RoleBinding; none where proxies act as nobody of this namespace. */
function impersonation(
  { policies, serviceAccounts, namespace: guardrailNamespace }: ControllerContext,
  namespace: string,
  connections: readonly Stored<AccessConnection>[],
): Desired[] {
  const found = impersonationIn({
    namespace,
    connections,
    policies: [...new Set(connections.map(({ metadata }) => metadata.namespace))].flatMap((each) =>
      policies.list(each),
    ),
    accounts: serviceAccounts.list(namespace).map(({ metadata }) => metadata.name),
    guardrailNamespace,
  });
  if (found === undefined) return [];
  return [
    desired(ROLES, impersonatorRole(namespace, found)),
    desired(ROLE_BINDINGS, impersonatorRoleBinding(namespace, found)),
  ];
}

/** Connections that pods of this namespace may use. One that is open to all counts where somebody wants a connector. */
function connectionsFor(
  { connections, namespaces, pods }: ControllerContext,
  { metadata }: Namespace,
): Stored<AccessConnection>[] {
  const inUse =
    metadata.labels?.[LABELS.inject] === 'true' ||
    pods.list(metadata.name).some((pod) => pod.metadata.labels?.[LABELS.inject] === 'true');
  return connections
    .list()
    .filter((connection) => connection.metadata.deletionTimestamp === undefined)
    .filter((connection) => {
      const allowed = allowedNamespaces(connection, namespaces.list());
      return allowed.includes(metadata.name) || (allowed.includes('*') && inUse);
    });
}

function inputsOf(
  { connections, targets, keys }: ControllerContext,
  { metadata }: Namespace,
  usable: readonly Stored<AccessConnection>[],
): AgentsInputs {
  const ports = new Map<string, number[]>();
  const ranges = new Set<string>();
  const targetNamespaces = new Set<string>();
  for (const connection of usable) {
    const { namespace, name } = connection.metadata;
    const { host, addresses } = connection.spec.target;
    const gateway = gatewayPorts(connections.list(namespace))[name];
    const known = ports.get(namespace) ?? [PORTS.tunnel];
    ports.set(namespace, gateway === undefined ? known : [...known, gateway]);
    for (const range of addresses ?? targets.ranges(host, namespace) ?? []) ranges.add(range);
    // The API server is no pod of the namespace that its Service is in.
    const inside = isOwnApiServer(connection) ? undefined : clusterNamespaceOf(host, namespace);
    if (inside !== undefined) targetNamespaces.add(inside);
  }
  return {
    namespace: metadata.name,
    locked: metadata.labels?.[LABELS.egress] === 'locked',
    wholeNamespace: metadata.labels?.[LABELS.inject] === 'true',
    proxies: [...ports]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([namespace, list]) => ({ namespace, ports: [...list].sort((a, b) => a - b) })),
    targetRanges: [...ranges].map((range) => (range.includes('/') ? range : hostRange(range))).sort(),
    targetNamespaces: [...targetNamespaces].sort(),
    trust: keys.trust(),
    sshKnownHosts: keys.sshKnownHosts(),
  };
}
