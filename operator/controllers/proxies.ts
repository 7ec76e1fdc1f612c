import { randomBytes } from 'node:crypto';
import { LABELS, NAMES } from '../../api/cluster.ts';
import type { AccessConnection } from '../../api/resources.ts';
import {
  CLUSTER_ROLE_BINDINGS,
  CONFIG_MAPS,
  DEPLOYMENTS,
  NETWORK_POLICIES,
  POD_DISRUPTION_BUDGETS,
  ROLE_BINDINGS,
  ROLES,
  SECRETS,
  SERVICE_ACCOUNTS,
  SERVICES,
} from '../../kube/builtin.ts';
import { type Controller, createController, type ReconcileResult } from '../../kube/controller.ts';
import { isAlreadyExists } from '../../kube/errors.ts';
import type { KubeObject, ResourceType } from '../../kube/types.ts';
import type { BundleContent } from '../bundle/document.ts';
import type { PackedBundle } from '../bundle/pack.ts';
import type { ControllerContext, Stored } from '../context.ts';
import { bundleConfigMaps } from '../desired/bundle-config-maps.ts';
import { proxyDeployment } from '../desired/deployment.ts';
import { proxyDisruptionBudget } from '../desired/disruption-budget.ts';
import { impersonatorBinding, impersonatorBindingName } from '../desired/impersonator-binding.ts';
import { ownersOf } from '../desired/owners.ts';
import { proxyConfigurationMap } from '../desired/proxy-configuration.ts';
import type { ApiServerAddress, ProxyInputs } from '../desired/proxy-inputs.ts';
import { proxyNetworkPolicy } from '../desired/proxy-network-policy.ts';
import { proxyRole } from '../desired/role.ts';
import { proxyRoleBinding } from '../desired/role-binding.ts';
import { TOKEN_KEY_BYTES, tlsSecret, tokenKeyMetadata, tokenKeySecret } from '../desired/secrets.ts';
import { proxyServiceAccount } from '../desired/service-account.ts';
import { gatewayNameFits, gatewayServices, proxyReplicasService, proxyService } from '../desired/services.ts';
import { tokenRequester } from '../desired/token-requester.ts';
import { tokenReviewerBinding, tokenReviewerName } from '../desired/token-reviewer-binding.ts';
import { OperatorError } from '../errors.ts';
import { impersonatesHere } from '../targets/api-server.ts';
import { applyAll, type Desired, desired, removeOthers } from './apply-all.ts';
import { bundleFor, presentBundle, wantedContent } from './bundle.ts';
import { certificateFor, proxyCertificate } from './certificate.ts';
import { followSpec } from './follow.ts';
import { sshHostFor } from './ssh-host.ts';

/** Types of which a namespace with connections gets objects. */
const TYPES: readonly ResourceType[] = [
  CONFIG_MAPS,
  SECRETS,
  SERVICE_ACCOUNTS,
  ROLES,
  ROLE_BINDINGS,
  SERVICES,
  NETWORK_POLICIES,
  POD_DISRUPTION_BUDGETS,
  DEPLOYMENTS,
] as unknown as readonly ResourceType[];
const MANAGER = 'sallyport-proxies';

/** Everything that a namespace with connections gets: its proxies, their rights, their policy. Key: the namespace. */
export function createProxiesController(context: ControllerContext): Controller {
  const { connections, namespaces, log, metrics } = context;
  const controller = createController({
    name: 'proxies',
    workers: 4,
    log,
    metrics,
    reconcile: (key, signal) => reconcileProxies(context, key, signal),
  });
  const all = (): Set<string> => new Set(connections.list().map(({ metadata }) => metadata.namespace));
  const concerned = (namespace: string): Iterable<string> => (namespace === context.namespace ? all() : [namespace]);
  followSpec(controller, connections, ({ metadata }) => [metadata.namespace]);
  followSpec(controller, context.policies, ({ metadata }) => concerned(metadata.namespace));
  followSpec(controller, context.maskingRules, ({ metadata }) => concerned(metadata.namespace));
  // Labels decide which namespaces a selector means; and one that was going may be there again.
  controller.follow(namespaces, ({ metadata }) => [
    metadata.name,
    ...connections
      .list()
      .filter(({ spec }) => spec.allowedNamespaces?.from === 'Selector')
      .map((connection) => connection.metadata.namespace),
  ]);
  controller.follow(context.apiServerSlices, all);
  for (const type of [...TYPES, CLUSTER_ROLE_BINDINGS as unknown as ResourceType]) {
    const copy = context.applier.copy(type);
    controller.follow(copy, ({ metadata }) => {
      const served = metadata.labels?.[LABELS.servedNamespace];
      return served === undefined ? [] : [served];
    });
  }
  context.keys.onChange(() => {
    for (const namespace of all()) controller.add(namespace);
  });
  return controller;
}

async function reconcileProxies(
  context: ControllerContext,
  namespace: string,
  signal: AbortSignal,
): Promise<ReconcileResult | undefined> {
  const { applier, namespaces, failures } = context;
  const source = `proxies/${namespace}`;
  const home = namespaces.get(undefined, namespace);
  const present = presentObjects(context, namespace);
  const bindings = [tokenReviewerName(namespace), impersonatorBindingName(namespace)].flatMap((name) => {
    const binding = applier.current(CLUSTER_ROLE_BINDINGS, undefined, name);
    return binding === undefined ? [] : [desired(CLUSTER_ROLE_BINDINGS, binding)];
  });
  const connections = context.connections
    .list(namespace)
    .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  const going = home === undefined || home.metadata.deletionTimestamp !== undefined;
  if (going || connections.length === 0) {
    // What lies in a namespace that goes, goes with it.
    await removeOthers(applier, [...bindings, ...(going ? [] : present)], [], signal);
    failures.set(source, new Map());
    return undefined;
  }
  const content = wantedContent(context, namespace);
  const { bundle, problem } = packed(context, namespace, content);
  const inputs = inputsOf(context, namespace, connections, content);
  const certificate = certificateFor(
    context,
    { namespace, name: NAMES.proxyTls },
    proxyCertificate(namespace, connections),
  );
  const sshHost = sshHostFor(context, namespace, connections);
  const wanted: Desired[] = [
    ...(bundle === undefined
      ? []
      : bundleConfigMaps(namespace, inputs.owners, bundle).map((map) => desired(CONFIG_MAPS, map))),
    ...(inputs.configuration === undefined
      ? []
      : [desired(CONFIG_MAPS, proxyConfigurationMap(inputs, inputs.configuration))]),
    desired(SERVICE_ACCOUNTS, proxyServiceAccount(inputs)),
    desired(ROLES, proxyRole(inputs)),
    desired(ROLE_BINDINGS, proxyRoleBinding(inputs)),
    desired(CLUSTER_ROLE_BINDINGS, tokenReviewerBinding(namespace)),
    ...(connections.some(impersonatesHere) ? [desired(CLUSTER_ROLE_BINDINGS, impersonatorBinding(namespace))] : []),
    ...tokenRequester(inputs).map((object) => desired(object.kind === 'Role' ? ROLES : ROLE_BINDINGS, object)),
    desired(
      SECRETS,
      tlsSecret(
        { namespace, name: NAMES.proxyTls, component: 'proxy', served: namespace },
        inputs.owners,
        certificate.pair,
        context.keys.trust(),
        sshHost.data,
      ),
    ),
    desired(SECRETS, tokenKeyMetadata(namespace, inputs.owners)),
    desired(NETWORK_POLICIES, proxyNetworkPolicy(inputs)),
    desired(SERVICES, proxyService(inputs)),
    desired(SERVICES, proxyReplicasService(inputs)),
    ...gatewayServices(inputs).map((service) => desired(SERVICES, service)),
    desired(POD_DISRUPTION_BUDGETS, proxyDisruptionBudget(inputs)),
    desired(DEPLOYMENTS, proxyDeployment(inputs)),
  ];
  const keyless = await ensureTokenKey(context, namespace, inputs, signal);
  // Without its key the Secret is not touched: applying the rest of it would make an empty one.
  const applied = wanted.filter(({ object }) => keyless === undefined || object.metadata.name !== NAMES.tokenKey);
  const failed = [...(keyless === undefined ? [] : [keyless]), ...(await applyAll(applier, applied, MANAGER, signal))];
  // The ConfigMaps of a bundle that did not fit are those of the last one that did.
  const kept = bundle === undefined ? present.filter(({ type }) => type.plural === CONFIG_MAPS.plural) : [];
  await removeOthers(applier, [...bindings, ...present], [...wanted, ...kept], signal);
  const told = [...(problem === undefined ? [] : [problem]), ...failed];
  failures.set(source, new Map([[namespace, told.map(({ message }) => message)]]));
  const [first] = failed;
  if (first !== undefined) throw first;
  return {
    requeueAfterMs: Math.max(
      1000,
      Math.min(certificate.renewAt - context.now(), sshHost.renewAt - context.now(), MAX_WAIT_MS),
    ),
  };
}

/** Timers of Node hold 24 days at most; a day is often enough to look. */
const MAX_WAIT_MS = 86_400_000;

function packed(
  context: ControllerContext,
  namespace: string,
  content: BundleContent,
): { readonly bundle?: PackedBundle; readonly problem?: OperatorError } {
  try {
    return { bundle: bundleFor(context, namespace, content) };
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    const last = presentBundle(context, namespace);
    return { ...(last === undefined ? {} : { bundle: last }), problem: error };
  }
}

function inputsOf(
  context: ControllerContext,
  namespace: string,
  connections: readonly Stored<AccessConnection>[],
  content: BundleContent,
): ProxyInputs {
  const { settings } = context;
  return {
    namespace,
    owners: ownersOf(connections),
    connections: connections.filter(
      ({ metadata, spec }) => spec.routing !== 'Gateway' || gatewayNameFits(metadata.name),
    ),
    maskingRules: content.resources.maskingRules,
    allowedNamespaces: content.allowedNamespaces,
    gatewayPorts: content.gatewayPorts,
    operatorNamespace: context.namespace,
    image: context.image,
    imagePullPolicy: settings.imagePullPolicy,
    replicas: settings.proxyReplicas,
    trustedKeys: context.keys.publicKeys(),
    apiServer: apiServerAddresses(context),
    configuration: settings.proxyConfiguration,
    extraArguments: settings.proxyArguments,
  };
}

function apiServerAddresses({ apiServerSlices }: ControllerContext): ApiServerAddress[] {
  const found = apiServerSlices
    .list()
    .flatMap(({ endpoints = [], ports = [] }) =>
      endpoints.flatMap(({ addresses }) =>
        addresses.flatMap((address) => ports.flatMap(({ port }) => (port === undefined ? [] : [{ address, port }]))),
      ),
    );
  return found.sort((a, b) => (`${a.address}:${a.port}` < `${b.address}:${b.port}` ? -1 : 1));
}

/**
 * Created, never applied: a second operator, or this one after a crash, must not put another key in its place.
 * @returns why there is none
 */
async function ensureTokenKey(
  { client, applier }: ControllerContext,
  namespace: string,
  { owners }: ProxyInputs,
  signal: AbortSignal,
): Promise<OperatorError | undefined> {
  const present = applier.current(SECRETS, namespace, NAMES.tokenKey);
  if (present?.data?.['key'] !== undefined) return undefined;
  const key = Buffer.from(randomBytes(TOKEN_KEY_BYTES).toString('base64'));
  try {
    if (present !== undefined) await applier.remove(SECRETS, present, signal);
    await client.create(SECRETS, tokenKeySecret(namespace, owners, key), { signal });
    return undefined;
  } catch (error) {
    if (signal.aborted) throw error;
    if (isAlreadyExists(error)) return undefined;
    const { message } = error as Error;
    return new OperatorError('SPO004', [`Secret ${namespace}/${NAMES.tokenKey}`, message], error);
  }
}

/** Everything of ours that is there for the connections of this namespace, in it. */
function presentObjects({ applier }: ControllerContext, namespace: string): Desired[] {
  return TYPES.flatMap((type) =>
    applier
      .list(type, namespace)
      .filter((object: KubeObject) => object.metadata.labels?.[LABELS.servedNamespace] === namespace)
      .map((object) => desired(type, object)),
  );
}
