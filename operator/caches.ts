import { ANNOTATIONS, LABELS, NAMES } from '../api/cluster.ts';
import {
  CLUSTER_ROLE_BINDINGS,
  CONFIG_MAPS,
  DEPLOYMENTS,
  ENDPOINT_SLICES,
  LEASES,
  NAMESPACES,
  NETWORK_POLICIES,
  POD_DISRUPTION_BUDGETS,
  PODS,
  type Pod,
  ROLE_BINDINGS,
  ROLES,
  SECRETS,
  SERVICE_ACCOUNTS,
  SERVICES,
  type Secret,
  STATEFUL_SETS,
} from '../kube/builtin.ts';
import type { KubeMetrics } from '../kube/metrics.ts';
import { createReflector, type ReflectorOptions } from '../kube/reflector.ts';
import type { KubeClient, KubeObject, Log, ObjectMeta, Reflector, ResourceType } from '../kube/types.ts';
import { unionOf } from './apply/union.ts';
import type { AgentPod, EndpointSlice } from './context.ts';
import { OURS } from './desired/labels.ts';
import { ACCESS_CONNECTIONS, ACCESS_POLICIES, MASKING_RULES } from './resources.ts';

/** Kinds of which a copy of the operator's own objects is kept. */
const OWN = [
  CONFIG_MAPS,
  SERVICE_ACCOUNTS,
  ROLES,
  ROLE_BINDINGS,
  CLUSTER_ROLE_BINDINGS,
  SERVICES,
  NETWORK_POLICIES,
  POD_DISRUPTION_BUDGETS,
  DEPLOYMENTS,
  STATEFUL_SETS,
] as unknown as readonly ResourceType[];

/** Every copy that the operator keeps of what the API server has. */
export function createCaches(
  client: KubeClient,
  namespace: string,
  { log, metrics }: { readonly log: Log; readonly metrics: KubeMetrics },
) {
  const all: Reflector<KubeObject>[] = [];
  function copy<T extends KubeObject>(
    type: ResourceType<T>,
    selection: Pick<ReflectorOptions<T>, 'namespace' | 'labelSelector' | 'fieldSelector' | 'transform'> = {},
  ): Reflector<T> {
    const reflector = createReflector<T>({ client, type, log, metrics, ...selection });
    all.push(reflector as unknown as Reflector<KubeObject>);
    return reflector;
  }
  // Secrets by name: the rights of the operator name them too, and nobody else's are ever read.
  const named = (name: string, where?: string, transform?: (secret: Secret) => Secret): Reflector<Secret> =>
    copy(SECRETS, {
      fieldSelector: `metadata.name=${name}`,
      ...(where === undefined ? {} : { namespace: where }),
      ...(transform === undefined ? {} : { transform }),
    });
  const secrets = unionOf(
    named(NAMES.proxyTls),
    named(NAMES.tokenKey, undefined, withoutValues),
    named(NAMES.archiveTls, namespace),
  );
  const own = OWN.map((type) => copy(type, { labelSelector: OURS }));
  return {
    all,
    connections: copy(ACCESS_CONNECTIONS),
    policies: copy(ACCESS_POLICIES),
    maskingRules: copy(MASKING_RULES),
    namespaces: copy(NAMESPACES),
    serviceAccounts: copy(SERVICE_ACCOUNTS as unknown as ResourceType<KubeObject>, { transform: nameAlone }),
    pods: copy(PODS as unknown as ResourceType<AgentPod>, { transform: essentialPod }),
    leases: copy(LEASES, { labelSelector: `${OURS},${LABELS.component}=proxy` }),
    apiServerSlices: copy(ENDPOINT_SLICES as unknown as ResourceType<EndpointSlice>, {
      namespace: 'default',
      labelSelector: 'kubernetes.io/service-name=kubernetes',
    }),
    keySecret: named(NAMES.keys, namespace),
    own: [...own, secrets as unknown as Reflector<KubeObject>],
  };
}

export type Caches = ReturnType<typeof createCaches>;

/** That it has a key counts, not which. */
function withoutValues(secret: Secret): Secret {
  return { ...secret, data: Object.fromEntries(Object.keys(secret.data ?? {}).map((name) => [name, ''])) };
}

const nameAlone = ({ apiVersion, kind, metadata }: KubeObject): KubeObject => {
  const { name, namespace, uid, resourceVersion } = metadata;
  const kept: ObjectMeta = {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    ...(uid === undefined ? {} : { uid }),
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
  };
  return { apiVersion, kind, metadata: kept };
};

const KEPT_LABELS = [LABELS.inject, LABELS.quarantine];
const KEPT_ANNOTATIONS = [ANNOTATIONS.injectedVersion, ANNOTATIONS.connectorHash, ANNOTATIONS.connections];

/** A cluster has many pods, and they are large: kept is whether one wants a connector, and which it has. */
export function essentialPod(pod: AgentPod): AgentPod {
  const { apiVersion, kind, metadata } = pod;
  const { status } = pod as Pod;
  const only = (
    from: Readonly<Record<string, string>> | undefined,
    names: readonly string[],
  ): Record<string, string> | undefined => {
    const kept = names.flatMap((name) => (from?.[name] === undefined ? [] : [[name, from[name]] as const]));
    return kept.length === 0 ? undefined : Object.fromEntries(kept);
  };
  const labels = only(metadata.labels, KEPT_LABELS);
  const annotations = only(metadata.annotations, KEPT_ANNOTATIONS);
  const finished =
    metadata.deletionTimestamp !== undefined || status?.phase === 'Succeeded' || status?.phase === 'Failed';
  const essential: ObjectMeta = {
    name: metadata.name,
    ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
    ...(metadata.uid === undefined ? {} : { uid: metadata.uid }),
    ...(metadata.resourceVersion === undefined ? {} : { resourceVersion: metadata.resourceVersion }),
    ...(labels === undefined ? {} : { labels }),
    ...(annotations === undefined ? {} : { annotations }),
  };
  return { apiVersion, kind, metadata: essential, ...(finished ? { finished } : {}) };
}
