import { NAMES } from '../../../api/cluster.ts';
import {
  type AnyObject,
  CONFIG_MAPS,
  type ConfigMap,
  CUSTOM_RESOURCE_DEFINITIONS,
  DEPLOYMENTS,
  type Deployment,
  ENDPOINT_SLICES,
  MUTATING_WEBHOOK_CONFIGURATIONS,
  NAMESPACES,
  type Namespace,
  PODS,
  type Pod,
  SECRETS,
  STATEFUL_SETS,
  SUBJECT_ACCESS_REVIEWS,
} from '../../../kube/builtin.ts';
import { isNotFound } from '../../../kube/errors.ts';
import { type KubeClient, type KubeObject, resourceType } from '../../../kube/types.ts';
import { type Cluster, whereAllowed } from '../cluster.ts';
import { type NamespaceStatus, readStatus } from '../status.ts';

const VALIDATING_POLICIES = resourceType<AnyObject>(
  'admissionregistration.k8s.io',
  'v1',
  'validatingadmissionpolicies',
  'ValidatingAdmissionPolicy',
  'cluster',
);
const VALIDATING_POLICY_BINDINGS = resourceType<AnyObject>(
  'admissionregistration.k8s.io',
  'v1',
  'validatingadmissionpolicybindings',
  'ValidatingAdmissionPolicyBinding',
  'cluster',
);

/** A right that the operator cannot do without. */
export interface NeededRight {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly name?: string;
  /** Absent: in all namespaces. */
  readonly namespace?: string;
}

/** What the cluster looks like. A member is undefined where this person may not look; `null`: there is none. */
export interface Facts {
  readonly operatorNamespace: string;
  readonly pluginVersion: string;
  /** `{ major: 1, minor: 34 }` */
  readonly serverVersion: { readonly major: number; readonly minor: number };
  readonly crds: ReadonlyMap<string, AnyObject | null> | undefined;
  readonly operator: Deployment | null | undefined;
  readonly webhooks: AnyObject | null | undefined;
  readonly webhookEndpoints: readonly AnyObject[] | undefined;
  readonly fences: readonly AnyObject[] | undefined;
  readonly fenceBindings: readonly AnyObject[] | undefined;
  readonly missingRights: readonly NeededRight[] | undefined;
  /** Undefined: the resource kinds are not there, or may not be read. */
  readonly namespaces: readonly NamespaceStatus[] | undefined;
  readonly proxies: readonly Deployment[] | undefined;
  /** PEM by namespace, of those that may be read. */
  readonly proxyCertificates: ReadonlyMap<string, string>;
  readonly archive: AnyObject | null | undefined;
  readonly archiveCa: ConfigMap | null | undefined;
  readonly pods: readonly Pod[] | undefined;
  readonly namespaceObjects: readonly Namespace[] | undefined;
  /** Milliseconds since 1970: here, and at the API server at about the same time. */
  readonly clocks: { readonly here: number; readonly server: number | undefined };
}

/** @param rights the rights of the operator to ask about, for the namespaces that have connections */
export async function gatherFacts(
  cluster: Cluster,
  pluginVersion: string,
  crdNames: readonly string[],
  rights: (served: readonly NamespaceStatus[]) => readonly NeededRight[],
): Promise<Facts> {
  const { client, operatorNamespace: namespace } = cluster;
  const one = <T extends KubeObject>(read: Promise<T | undefined>): Promise<T | null | undefined> =>
    whereAllowed(async () => (await read) ?? null);
  const many = <T>(read: () => Promise<{ readonly items: readonly T[] }>): Promise<readonly T[] | undefined> =>
    whereAllowed(async () => (await read()).items);
  const [serverVersion, crds, namespaces] = await Promise.all([
    versionOf(client),
    whereAllowed(() => readCrds(client, crdNames)),
    statuses(cluster),
  ]);
  const withConnections = (namespaces ?? []).filter(({ connections }) => connections.length > 0);
  const served = withConnections.map((each) => each.namespace);
  const [
    operator,
    webhooks,
    webhookEndpoints,
    fences,
    fenceBindings,
    proxies,
    archive,
    archiveCa,
    pods,
    namespaceObjects,
  ] = await Promise.all([
    one(client.get(DEPLOYMENTS, { namespace, name: NAMES.operator })),
    one(client.get(MUTATING_WEBHOOK_CONFIGURATIONS, { name: 'sallyport' })),
    many(() =>
      client.listAll(ENDPOINT_SLICES, { namespace, labelSelector: `kubernetes.io/service-name=${NAMES.webhook}` }),
    ),
    many(() => client.listAll(VALIDATING_POLICIES)),
    many(() => client.listAll(VALIDATING_POLICY_BINDINGS)),
    many(() => client.listAll(DEPLOYMENTS, { fieldSelector: `metadata.name=${NAMES.proxy}` })),
    one(client.get(STATEFUL_SETS, { namespace, name: NAMES.archive })),
    one(client.get(CONFIG_MAPS, { namespace, name: NAMES.archive })),
    many(() => client.listAll(PODS)),
    many(() => client.listAll(NAMESPACES)),
  ]);
  return {
    ...{
      operatorNamespace: namespace,
      pluginVersion,
      serverVersion,
      crds,
      namespaces,
      operator,
      webhooks,
      webhookEndpoints,
    },
    ...{ fences, fenceBindings, proxies, archive, archiveCa, pods, namespaceObjects },
    missingRights: await whereAllowed(() => missingRights(client, namespace, rights(withConnections))),
    proxyCertificates: await certificates(client, served),
    clocks: await clocks(client),
  };
}

async function versionOf(client: KubeClient): Promise<Facts['serverVersion']> {
  const told: unknown = JSON.parse((await client.request('GET', '/version')).body.toString('utf8'));
  const number = (name: 'major' | 'minor'): number =>
    typeof told === 'object' && told !== null && name in told
      ? Number.parseInt(String((told as Readonly<Record<string, unknown>>)[name]), 10)
      : 0;
  return { major: number('major'), minor: number('minor') };
}

async function readCrds(client: KubeClient, names: readonly string[]): Promise<Map<string, AnyObject | null>> {
  const read = async (name: string) =>
    [name, (await client.get(CUSTOM_RESOURCE_DEFINITIONS, { name })) ?? null] as const;
  return new Map(await Promise.all(names.map(read)));
}

async function statuses(cluster: Cluster): Promise<readonly NamespaceStatus[] | undefined> {
  try {
    return await whereAllowed(() => readStatus({ ...cluster, namespace: undefined }, Date.now()));
  } catch (error) {
    // Without the resource kinds: the check of the CRDs says so.
    if (isNotFound(error) || (error instanceof Error && 'code' in error && error.code === 'SPC065')) return undefined;
    throw error;
  }
}

async function missingRights(
  client: KubeClient,
  operatorNamespace: string,
  rights: readonly NeededRight[],
): Promise<NeededRight[]> {
  const missing: NeededRight[] = [];
  for (const right of rights) {
    const review = await client.create(SUBJECT_ACCESS_REVIEWS, {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      metadata: { name: '' },
      spec: {
        user: `system:serviceaccount:${operatorNamespace}:${NAMES.operator}`,
        groups: ['system:serviceaccounts', `system:serviceaccounts:${operatorNamespace}`, 'system:authenticated'],
        resourceAttributes: { ...right, version: '*' },
      },
    });
    if (review.status?.allowed !== true) missing.push(right);
  }
  return missing;
}

async function certificates(client: KubeClient, namespaces: readonly string[]): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const namespace of namespaces) {
    const secret = await whereAllowed(() => client.get(SECRETS, { namespace, name: NAMES.proxyTls }));
    const certificate = secret?.data?.['tls.crt'];
    if (certificate !== undefined) found.set(namespace, Buffer.from(certificate, 'base64').toString('utf8'));
  }
  return found;
}

const SELF_SUBJECT_REVIEWS = resourceType<KubeObject>(
  'authentication.k8s.io',
  'v1',
  'selfsubjectreviews',
  'SelfSubjectReview',
  'cluster',
);

/** Everybody may ask who they are, and the answer has the time. */
async function clocks(client: KubeClient): Promise<Facts['clocks']> {
  const review: KubeObject = {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'SelfSubjectReview',
    metadata: { name: '' },
  };
  const { metadata } = await client.create(SELF_SUBJECT_REVIEWS, review);
  const server = Date.parse(metadata.creationTimestamp ?? '');
  return { here: Date.now(), server: Number.isNaN(server) ? undefined : server };
}
