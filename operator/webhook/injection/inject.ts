import { ANNOTATIONS, LABELS, NAMES } from '../../../api/cluster.ts';
import type { AccessConnection } from '../../../api/resources.ts';
import type { PatchOperation } from '../admission.ts';
import { jsonPatch } from './json-patch.ts';
import { isConnectorAddress } from './loopback.ts';
import {
  agentEnvironment,
  agentMounts,
  connectorContainer,
  ENVIRONMENT_FILES,
  holdsApiToken,
  type Injector,
  injectedVolumes,
  isApiAccess,
  knownHostsMounts,
  VOLUMES,
} from './parts.ts';
import { type InjectionPlan, planInjection } from './plan.ts';
import type { Container, EnvVar, Named, Pod, Sysctl } from './pod.ts';
import { containerRefusal, lowestPort, PORT_SYSCTL, planRefusal, podRefusal, type Refusal } from './refusals.ts';

/** What is known of the cluster: plain data, so that the same pod gets the same answer in the webhook, in a test and in `--dry-run`. */
export interface InjectionContext extends Injector {
  /** Of the pod. */
  readonly namespace: string;
  readonly namespaceLabels: (name: string) => Readonly<Record<string, string>> | undefined;
  readonly connections: readonly AccessConnection[];
}

export type Injection =
  /** Nobody asked for it. */
  | { readonly type: 'none' }
  | { readonly type: 'refusal'; readonly refusal: Refusal }
  | {
      readonly type: 'patch';
      readonly patch: readonly PatchOperation[];
      readonly pod: Pod;
      readonly plan: InjectionPlan;
    };

/** The pod's own label decides; without one that of its namespace. The kubelet's copies of its static pods cannot be changed. */
export function wantsInjection(pod: Pod, namespaceLabels: Readonly<Record<string, string>>): boolean {
  if (pod.metadata.annotations?.['kubernetes.io/config.mirror'] !== undefined) return false;
  return (pod.metadata.labels?.[LABELS.inject] ?? namespaceLabels[LABELS.inject]) === 'true';
}

/**
 * What has to be changed in a pod so that its clients go through Sallyport. Pure. A pod that was injected before, because another
 * webhook changed it since or because it was copied, gets what it would get now: the second patch after the same facts is empty.
 */
export function inject(pod: Pod, context: InjectionContext): Injection {
  if (!wantsInjection(pod, context.namespaceLabels(context.namespace) ?? {})) return { type: 'none' };
  const plan = planInjection({
    namespace: context.namespace,
    namespaceLabels: context.namespaceLabels,
    connections: context.connections,
    wanted: pod.metadata.annotations?.[ANNOTATIONS.connections],
  });
  if ('code' in plan) return { type: 'refusal', refusal: plan };
  const hasConnector = plan.gateways.length === 0 || plan.config.targets.length > 0;
  const before = injectedConnector(pod);
  const bare = before === undefined && !wasInjected(pod) ? pod : stripped(pod, plan);
  // Whose the container of that name is, and who wrote the annotations, nobody can tell: it may do no more than any other.
  const refusal =
    podRefusal(bare) ??
    (before === undefined ? undefined : containerRefusal(before)) ??
    planRefusal(bare, plan, hasConnector);
  if (refusal !== undefined) return { type: 'refusal', refusal };
  const isCurrent =
    pod.metadata.annotations?.[ANNOTATIONS.connectorHash] === plan.hash &&
    pod.metadata.annotations?.[ANNOTATIONS.injectedVersion] === context.version;
  // Another webhook may have changed our container meanwhile, such as its image to that of a mirror: that stays.
  const connector = isCurrent && before !== undefined ? before : connectorContainer(plan, context);
  const injected = composed(bare, plan, hasConnector ? connector : undefined, context.version);
  return { type: 'patch', patch: jsonPatch(pod, injected), pod: injected, plan };
}

const wasInjected = (pod: Pod): boolean => pod.metadata.annotations?.[ANNOTATIONS.injectedVersion] !== undefined;

/** The container that was injected before. One that only has the name is not it. */
function injectedConnector(pod: Pod): Container | undefined {
  if (!wasInjected(pod)) return undefined;
  return pod.spec.initContainers?.find(
    ({ name, env, restartPolicy }) =>
      name === NAMES.connector && restartPolicy === 'Always' && env?.some((one) => one.name === 'SALLYPORT_CONNECTOR'),
  );
}

/** A list without some elements; a list that becomes empty is gone, as if it had never been there. */
function without<T>(list: readonly T[] | undefined, isOurs: (one: T) => boolean): readonly T[] | undefined {
  const rest = list?.filter((one) => !isOurs(one));
  return rest?.length === 0 && list?.some(isOurs) ? undefined : rest;
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

function set<T extends object, K extends keyof T>(target: Writable<T>, key: K, value: T[K] | undefined): void {
  if (value === undefined) delete target[key];
  else target[key] = value;
}

/** The pod without what an earlier injection added. The sysctl stays: nobody can tell whose it was. */
function stripped(pod: Pod, plan: InjectionPlan): Pod {
  const names: readonly string[] = Object.values(VOLUMES);
  const ours = injectedConnector(pod);
  const isOurEnv = injectedEnvironment(ours);
  const isOurMount = ({ name }: Named): boolean =>
    // This one stands where another mount was, and stays in its place.
    names.includes(name) && (name !== VOLUMES.apiAccess || plan.apiServer === undefined);
  const cleaned = (container: Container): Container => {
    const copy: Writable<Container> = { ...container };
    set(copy, 'volumeMounts', without(container.volumeMounts, isOurMount));
    set(copy, 'env', without(container.env, isOurEnv(container.env)));
    return copy;
  };
  const spec: Writable<Pod['spec']> = { ...pod.spec, containers: pod.spec.containers.map(cleaned) };
  const inits = without(pod.spec.initContainers, (one) => one === ours);
  set(spec, 'initContainers', inits?.map(cleaned));
  set(
    spec,
    'volumes',
    without(pod.spec.volumes, ({ name }) => names.includes(name)),
  );
  set(
    spec,
    'hostAliases',
    without(pod.spec.hostAliases, ({ ip }) => isConnectorAddress(ip)),
  );
  return { ...pod, spec };
}

const GATEWAY_HOST = /^[-a-z0-9]+-sallyport[.][-a-z0-9]+[.]svc$/;

/** Tells variables that an earlier injection set, by what it would have set: a container's own value for the same name stays. */
function injectedEnvironment(
  connector: Container | undefined,
): (env: readonly EnvVar[] | undefined) => (one: EnvVar) => boolean {
  const targets = targetsOf(connector);
  return (env) => {
    const isGateway = env?.some(
      ({ name, value = '' }) => name === 'KUBERNETES_SERVICE_HOST' && GATEWAY_HOST.test(value),
    );
    return ({ name, value = '' }) => {
      switch (name) {
        case 'KUBERNETES_SERVICE_HOST':
          return isGateway === true || targets.some(({ host }) => host === value);
        case 'KUBERNETES_SERVICE_PORT':
        case 'KUBERNETES_SERVICE_PORT_HTTPS':
          return isGateway === true || targets.some(({ port }) => String(port) === value);
        default:
          return ENVIRONMENT_FILES.some((one) => one.name === name && one.value === value);
      }
    };
  };
}

function targetsOf(connector: Container | undefined): readonly { readonly host?: unknown; readonly port?: unknown }[] {
  const text = connector?.env?.find(({ name }) => name === 'SALLYPORT_CONNECTOR')?.value;
  try {
    const { targets } = JSON.parse(text ?? '{}') as { targets?: unknown };
    return Array.isArray(targets) ? targets.filter((one) => typeof one === 'object' && one !== null) : [];
  } catch (error) {
    if (error instanceof SyntaxError) return [];
    throw error;
  }
}

function composed(pod: Pod, plan: InjectionPlan, connector: Container | undefined, version: string): Pod {
  const hasConnector = connector !== undefined;
  const agent = (container: Container): Container => agentContainer(container, plan, hasConnector);
  const containers = pod.spec.containers.map(agent);
  const inits = [...(hasConnector ? [connector] : []), ...(pod.spec.initContainers ?? []).map(agent)];
  const volumes = [...usedVolumes(pod, [...inits, ...containers], plan), ...injectedVolumes(plan, hasConnector)];
  const aliases = [...(pod.spec.hostAliases ?? []), ...(hasConnector ? plan.aliases : [])];
  const spec: Writable<Pod['spec']> = { ...pod.spec, containers };
  if (inits.length > 0) spec.initContainers = inits;
  if (volumes.length > 0) spec.volumes = volumes;
  if (aliases.length > 0) spec.hostAliases = aliases;
  if (lowestPort(plan) < 1024) spec.securityContext = withPortSysctl(pod.spec.securityContext);
  const annotations = {
    ...pod.metadata.annotations,
    [ANNOTATIONS.injectedVersion]: version,
    [ANNOTATIONS.connectorHash]: plan.hash,
  };
  return { ...pod, metadata: { ...pod.metadata, annotations }, spec };
}

function agentContainer(container: Container, plan: InjectionPlan, hasConnector: boolean): Container {
  const set = new Set(container.env?.map(({ name }) => name));
  const env = [...(container.env ?? []), ...agentEnvironment(plan, hasConnector).filter(({ name }) => !set.has(name))];
  const mounts = (container.volumeMounts ?? []).map((mount) =>
    plan.apiServer !== undefined && isApiAccess(mount.mountPath)
      ? { name: VOLUMES.apiAccess, mountPath: mount.mountPath, readOnly: true }
      : mount,
  );
  const volumeMounts = [...mounts, ...agentMounts(plan, hasConnector), ...knownHostsMounts(plan, mounts)];
  return {
    ...container,
    ...(env.length === 0 ? {} : { env }),
    ...(volumeMounts.length === 0 ? {} : { volumeMounts }),
  };
}

/** A volume with a token for the API server, such as admission makes one, goes when nothing mounts it any more. */
function usedVolumes(pod: Pod, containers: readonly Container[], plan: InjectionPlan): readonly Named[] {
  const volumes = pod.spec.volumes ?? [];
  if (plan.apiServer === undefined) return volumes;
  const used = new Set(containers.flatMap(({ volumeMounts = [] }) => volumeMounts.map(({ name }) => name)));
  return volumes.filter(
    (volume) => used.has(volume.name) || !(volume.name.startsWith('kube-api-access-') || holdsApiToken(volume)),
  );
}

function withPortSysctl(security: Pod['spec']['securityContext']): NonNullable<Pod['spec']['securityContext']> {
  const sysctls: readonly Sysctl[] = security?.sysctls ?? [];
  if (sysctls.some(({ name }) => name === PORT_SYSCTL)) return { ...security };
  return { ...security, sysctls: [...sysctls, { name: PORT_SYSCTL, value: '0' }] };
}
