import { NAMES } from '../../../api/cluster.ts';
import { type WebhookErrorCode, webhookMessage } from '../errors.ts';
import { isConnectorAddress } from './loopback.ts';
import { agentMounts, holdsApiToken, isApiAccess, VOLUMES } from './parts.ts';
import type { InjectionPlan } from './plan.ts';
import type { Container, Pod } from './pod.ts';

export interface Refusal {
  readonly code: WebhookErrorCode;
  readonly message: string;
}

export const PORT_SYSCTL = 'net.ipv4.ip_unprivileged_port_start';

/** NET_ADMIN redirects traffic, SYS_PTRACE reads another process, SYS_ADMIN enters its namespaces; ALL has them. */
const CAPABILITIES = new Set(['ALL', 'NET_ADMIN', 'SYS_PTRACE', 'SYS_ADMIN']);

const refuse = (code: WebhookErrorCode, fills: readonly (string | number)[] = []): Refusal => ({
  code,
  message: webhookMessage(code, fills),
});

/** Runtimes take the names with and without CAP_, in any case. */
const capability = (name: string): string => name.toUpperCase().replace(/^CAP_/, '');

/** A container that could go around the connector, or into it. */
export function containerRefusal(container: Container): Refusal | undefined {
  if (container.securityContext?.privileged === true) return refuse('SPW005', [container.name]);
  const added = container.securityContext?.capabilities?.add?.find((name) => CAPABILITIES.has(capability(name)));
  return added === undefined ? undefined : refuse('SPW004', [container.name, added]);
}

/** Why a pod cannot have a connector whatever it is told; `pod` is without what was injected before. */
export function podRefusal({ spec }: Pod): Refusal | undefined {
  if (spec.hostNetwork === true) return refuse('SPW001');
  if (spec.hostPID === true) return refuse('SPW002');
  if (spec.shareProcessNamespace === true) return refuse('SPW003');
  if (spec.os?.name === 'windows') return refuse('SPW015');
  const containers = [...(spec.initContainers ?? []), ...spec.containers];
  if (containers.some(({ name }) => name === NAMES.connector)) return refuse('SPW006', [NAMES.connector]);
  const ours: readonly string[] = Object.values(VOLUMES);
  const volume = spec.volumes?.find(({ name }) => ours.includes(name));
  if (volume !== undefined) return refuse('SPW007', [volume.name]);
  for (const container of containers) {
    const refusal = containerRefusal(container);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

const withoutSlash = (path: string): string => path.replace(/\/+$/, '');

/** What of the pod contradicts what this plan would put there. */
export function planRefusal({ spec }: Pod, plan: InjectionPlan, hasConnector: boolean): Refusal | undefined {
  const ours = agentMounts(plan, hasConnector).map(({ mountPath }) => mountPath);
  for (const container of [...(spec.initContainers ?? []), ...spec.containers]) {
    const mount = container.volumeMounts?.find(({ mountPath }) => ours.includes(withoutSlash(mountPath)));
    if (mount !== undefined) return refuse('SPW014', [mount.mountPath, container.name]);
  }
  if (plan.apiServer !== undefined) {
    const tokens = new Set(spec.volumes?.filter(holdsApiToken).map(({ name }) => name));
    for (const container of [...(spec.initContainers ?? []), ...spec.containers]) {
      // The usual place gets a token for Sallyport instead.
      const mount = container.volumeMounts?.find(({ name, mountPath }) => tokens.has(name) && !isApiAccess(mountPath));
      if (mount !== undefined) return refuse('SPW024', [mount.name, mount.mountPath, container.name]);
    }
  }
  const connectionOf = new Map<string, string>();
  for (const alias of plan.aliases) {
    const target = plan.config.targets.find(({ listen }) => listen === alias.ip);
    for (const name of alias.hostnames) connectionOf.set(name, target?.connections[0] ?? '');
  }
  for (const { ip, hostnames = [] } of spec.hostAliases ?? []) {
    const taken = hostnames.find((name) => connectionOf.has(name.toLowerCase()));
    if (taken !== undefined) return refuse('SPW011', [taken, connectionOf.get(taken.toLowerCase()) ?? '']);
    // The address of a connector under a name of one's own: harmless, but it would be taken for ours the next time.
    if (isConnectorAddress(ip)) return refuse('SPW018', [ip]);
  }
  const lowest = lowestPort(plan);
  const sysctl = spec.securityContext?.sysctls?.find(({ name }) => name === PORT_SYSCTL);
  if (sysctl !== undefined && lowest < 1024 && Number(sysctl.value) > lowest)
    return refuse('SPW012', [sysctl.value, lowest]);
  return undefined;
}

export const lowestPort = ({ config }: InjectionPlan): number =>
  Math.min(65_535, ...config.targets.map(({ port }) => port));
