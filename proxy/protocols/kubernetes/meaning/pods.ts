/**
 * Pods, alone and in templates, and what in them gives more than a container: the controls of the Baseline Pod Security Standard,
 * https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline, and the service account.
 */
import type { RequestInfo } from '../request/request-info.ts';
import { isObject, list, member, same, text } from './json.ts';
import type { Path } from './pointer.ts';

const TEMPLATES: ReadonlyMap<string, Path> = new Map([
  ['/pods', ['spec']],
  ['/podtemplates', ['template', 'spec']],
  ['/replicationcontrollers', ['spec', 'template', 'spec']],
  ['apps/deployments', ['spec', 'template', 'spec']],
  ['apps/statefulsets', ['spec', 'template', 'spec']],
  ['apps/daemonsets', ['spec', 'template', 'spec']],
  ['apps/replicasets', ['spec', 'template', 'spec']],
  ['extensions/deployments', ['spec', 'template', 'spec']],
  ['extensions/daemonsets', ['spec', 'template', 'spec']],
  ['extensions/replicasets', ['spec', 'template', 'spec']],
  ['batch/jobs', ['spec', 'template', 'spec']],
  ['batch/cronjobs', ['spec', 'jobTemplate', 'spec', 'template', 'spec']],
]);

/** Where the spec of pods stands in objects of this resource; undefined: it has none. */
export function podSpecPath({ apiGroup, resource }: Pick<RequestInfo, 'apiGroup' | 'resource'>): Path | undefined {
  return TEMPLATES.get(`${apiGroup}/${resource}`);
}

const HARMLESS_CAPABILITIES: ReadonlySet<string> = new Set([
  'AUDIT_WRITE',
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'MKNOD',
  'NET_BIND_SERVICE',
  'SETFCAP',
  'SETGID',
  'SETPCAP',
  'SETUID',
  'SYS_CHROOT',
]);
const HARMLESS_SELINUX_TYPES: ReadonlySet<string> = new Set([
  '',
  'container_t',
  'container_init_t',
  'container_kvm_t',
  'container_engine_t',
]);
const HARMLESS_SYSCTLS: ReadonlySet<string> = new Set([
  'kernel.shm_rmid_forced',
  'net.ipv4.ip_local_port_range',
  'net.ipv4.ip_unprivileged_port_start',
  'net.ipv4.tcp_syncookies',
  'net.ipv4.ping_group_range',
  'net.ipv4.ip_local_reserved_ports',
  'net.ipv4.tcp_keepalive_time',
  'net.ipv4.tcp_fin_timeout',
  'net.ipv4.tcp_keepalive_intvl',
  'net.ipv4.tcp_keepalive_probes',
]);

/** A security context of a pod or of a container. */
function contextEscalates(context: unknown): boolean {
  const selinux = member(context, 'seLinuxOptions');
  return (
    member(context, 'privileged') === true ||
    member(context, 'windowsOptions', 'hostProcess') === true ||
    list(member(context, 'capabilities', 'add')).some((name) => !HARMLESS_CAPABILITIES.has(text(name))) ||
    !['', 'Default'].includes(text(member(context, 'procMount'))) ||
    text(member(context, 'seccompProfile', 'type')) === 'Unconfined' ||
    text(member(context, 'appArmorProfile', 'type')) === 'Unconfined' ||
    !HARMLESS_SELINUX_TYPES.has(text(member(selinux, 'type'))) ||
    text(member(selinux, 'user')) !== '' ||
    text(member(selinux, 'role')) !== '' ||
    list(member(context, 'sysctls')).some((sysctl) => !HARMLESS_SYSCTLS.has(text(member(sysctl, 'name'))))
  );
}

function containerEscalates(container: unknown): boolean {
  return (
    contextEscalates(member(container, 'securityContext')) ||
    list(member(container, 'ports')).some(
      (port) => ![undefined, null, 0].includes(member(port, 'hostPort') as undefined),
    )
  );
}

const CONTAINERS = ['containers', 'initContainers', 'ephemeralContainers'] as const;

/** All containers of a pod's spec. */
export function containersOf(spec: unknown): readonly unknown[] {
  return CONTAINERS.flatMap((name) => list(member(spec, name)));
}

/** Whether pods of this spec reach beyond their own containers, by Baseline. */
export function isPrivileged(spec: unknown): boolean {
  return (
    member(spec, 'hostNetwork') === true ||
    member(spec, 'hostPID') === true ||
    member(spec, 'hostIPC') === true ||
    contextEscalates(member(spec, 'securityContext')) ||
    list(member(spec, 'volumes')).some((volume) => isObject(member(volume, 'hostPath'))) ||
    containersOf(spec).some(containerEscalates)
  );
}

/** The service account that pods of this spec run as, unless it is the one that every pod of its namespace has. */
export function namedServiceAccount(spec: unknown): string | undefined {
  // `serviceAccount` is the old name; where both are there, the new one counts.
  const name = text(member(spec, 'serviceAccountName')) || text(member(spec, 'serviceAccount'));
  return name === '' || name === 'default' ? undefined : name;
}

/** Whether an annotation of a pod names a profile of AppArmor or seccomp: how it was done before there were fields for it. */
export function confines(annotation: string): boolean {
  return /^(container\.apparmor\.security\.beta|(container\.)?seccomp\.security\.alpha)\.kubernetes\.io(\/|$)/.test(
    annotation,
  );
}

export function hasUnconfinedAnnotation(metadata: unknown): boolean {
  const annotations = member(metadata, 'annotations');
  if (!isObject(annotations)) return false;
  return Object.entries(annotations).some(([name, value]) => confines(name) && text(value) === 'unconfined');
}

/**
 * Whether an object of a kind that is not known here holds a pod that reaches beyond its containers: its controller would make one of
 * it. Looks at all objects in it for what only pods have.
 */
export function holdsPrivileged(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(holdsPrivileged);
  if (!isObject(value)) return false;
  const isPod = Array.isArray(value['containers']) || Array.isArray(value['volumes']);
  return (isPod && isPrivileged(value)) || contextEscalates(value) || Object.values(value).some(holdsPrivileged);
}

/** Containers in the list `after` that `before` does not have in the same way. */
export function newContainers(before: unknown, after: unknown): readonly unknown[] {
  return list(after).filter((container) => !list(before).some((known) => same(known, container)));
}

/**
 * The words that a debug container runs, where they tell what happens: its image is one that the pod runs already, and nothing in it
 * (environment, mounts, hooks) could make them mean something else. Empty: nobody knows.
 */
export function debugArgv(container: unknown, pod: unknown): readonly string[] {
  if (!isObject(container)) return [];
  const told = new Set([
    'name',
    'image',
    'command',
    'args',
    'stdin',
    'stdinOnce',
    'tty',
    'targetContainerName',
    'imagePullPolicy',
    'terminationMessagePath',
    'terminationMessagePolicy',
    'resources',
  ]); // prettier-ignore
  const plain = Object.keys(container).every((name) => told.has(name));
  const spec = member(pod, 'spec');
  const known = ['containers', 'initContainers'].flatMap((name) => list(member(spec, name)));
  const own = known.some((other) => text(member(other, 'image')) === text(container['image']));
  const command = list(container['command']).map(text);
  return plain && own && command.length > 0 ? [...command, ...list(container['args']).map(text)] : [];
}
