/** How many there are of something, by whatever field says so. */
import type { RequestInfo } from '../request/request-info.ts';
import { isObject, list, member, same, text } from './json.ts';
import type { Path } from './pointer.ts';

export type Direction = 'ScaleOut' | 'ScaleIn' | 'Scale';

/** Where the number stands in objects of the resources that come with Kubernetes; absent in an object it is one. */
const REPLICAS: ReadonlyMap<string, Path> = new Map([
  ['/replicationcontrollers', ['spec', 'replicas']],
  ['apps/deployments', ['spec', 'replicas']],
  ['apps/statefulsets', ['spec', 'replicas']],
  ['apps/replicasets', ['spec', 'replicas']],
  ['extensions/deployments', ['spec', 'replicas']],
  ['extensions/replicasets', ['spec', 'replicas']],
  ['batch/jobs', ['spec', 'parallelism']],
  ['batch/cronjobs', ['spec', 'jobTemplate', 'spec', 'parallelism']],
]);

/** Groups of Kubernetes itself: what can be scaled in them stands above. */
const BUILT_IN: ReadonlySet<string> = new Set([
  '',
  'apps',
  'batch',
  'autoscaling',
  'policy',
  'extensions',
  'admissionregistration.k8s.io',
  'apiextensions.k8s.io',
  'apiregistration.k8s.io',
  'authentication.k8s.io',
  'authorization.k8s.io',
  'certificates.k8s.io',
  'coordination.k8s.io',
  'discovery.k8s.io',
  'events.k8s.io',
  'flowcontrol.apiserver.k8s.io',
  'internal.apiserver.k8s.io',
  'networking.k8s.io',
  'node.k8s.io',
  'rbac.authorization.k8s.io',
  'resource.k8s.io',
  'scheduling.k8s.io',
  'storage.k8s.io',
  'storagemigration.k8s.io',
]);

/** Whether a resource comes with a custom resource definition, or with another server behind the API server. */
export function isCustom({ apiGroup }: Pick<RequestInfo, 'apiGroup'>): boolean {
  return !BUILT_IN.has(apiGroup);
}

/** Where the number of replicas stands in an object; of a Scale it is the same place for all. Undefined: it has none. */
export function replicasPath({
  apiGroup,
  resource,
  subresource,
}: Pick<RequestInfo, 'apiGroup' | 'resource' | 'subresource'>): Path | undefined {
  if (subresource === 'scale') return ['spec', 'replicas'];
  return subresource === '' ? REPLICAS.get(`${apiGroup}/${resource}`) : undefined;
}

/** Undefined: it is no whole number. */
export function count(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) ? value : undefined;
}

/** The number in an object: absent or null it is one, but none in a Scale. Undefined: it is something else. */
export function replicasIn(object: unknown, path: Path, absent: number): number | undefined {
  const value = member(object, ...path);
  return value === undefined || value === null ? absent : count(value);
}

/** Undefined: nothing changes. */
export function direction(previous: number | undefined, next: number | undefined): Direction | undefined {
  if (previous === undefined || next === undefined) return 'Scale';
  if (previous === next) return undefined;
  return next > previous ? 'ScaleOut' : 'ScaleIn';
}

/** A resource whose objects let something else be scaled. */
export interface Autoscaler {
  readonly minimum: string;
  readonly maximum: string;
}

const AUTOSCALERS: ReadonlyMap<string, Autoscaler> = new Map([
  ['autoscaling/horizontalpodautoscalers', { minimum: 'minReplicas', maximum: 'maxReplicas' }],
  ['extensions/horizontalpodautoscalers', { minimum: 'minReplicas', maximum: 'maxReplicas' }],
  ['keda.sh/scaledobjects', { minimum: 'minReplicaCount', maximum: 'maxReplicaCount' }],
]);

export function autoscalerOf({
  apiGroup,
  resource,
  subresource,
}: Pick<RequestInfo, 'apiGroup' | 'resource' | 'subresource'>): Autoscaler | undefined {
  return subresource === '' ? AUTOSCALERS.get(`${apiGroup}/${resource}`) : undefined;
}

/** The resource of a kind, where nobody is asked: `UnsafeGuessKindToResource` of k8s.io/apimachinery/pkg/api/meta. */
function pluralOf(kind: string): string {
  const singular = kind.toLowerCase();
  if (singular.endsWith('s')) return `${singular}es`;
  return singular.endsWith('y') ? `${singular.slice(0, -1)}ies` : `${singular}s`;
}

/** What an autoscaler scales, as a resource; undefined: it does not say. */
export function scaledBy(
  autoscaler: unknown,
): { readonly group: string; readonly resource: string; readonly name: string } | undefined {
  const reference = member(autoscaler, 'spec', 'scaleTargetRef');
  const kind = text(member(reference, 'kind')) || 'Deployment';
  const version = text(member(reference, 'apiVersion'));
  const name = text(member(reference, 'name'));
  if (name === '') return undefined;
  const core = kind === 'ReplicationController' && !version.includes('/');
  // The controller finds the group of one that names none, as older clients do, by the kind.
  const named = version.includes('/') ? (version.split('/', 1)[0] ?? '') : '';
  return { group: core ? '' : named || 'apps', resource: pluralOf(kind), name };
}

/** What an autoscaler says, without what it was seen to do. In the first version part of it stands in annotations. */
function instructions(autoscaler: unknown): unknown {
  const annotations = member(autoscaler, 'metadata', 'annotations');
  const ours = Object.entries(isObject(annotations) ? annotations : {}).filter(
    ([name]) =>
      (name.startsWith('autoscaling.alpha.kubernetes.io/') && !/(current-metrics|conditions)$/.test(name)) ||
      name.startsWith('autoscaling.keda.sh/'),
  );
  return { spec: member(autoscaler, 'spec'), annotations: Object.fromEntries(ours) };
}

/** Undefined: nothing that it says changes. Only lower bounds are known to be less; all else that changes may be more. */
export function autoscalerDirection(kind: Autoscaler, before: unknown, after: unknown): Direction | undefined {
  const [old, next] = [instructions(before), instructions(after)];
  if (same(old, next)) return undefined;
  const bound = (name: string, absent: number) => [
    replicasIn(before, ['spec', name], absent) ?? Number.NaN,
    replicasIn(after, ['spec', name], absent) ?? Number.NaN,
  ];
  const [[oldMinimum = 0, minimum = 1], [oldMaximum = 0, maximum = 1]] = [
    bound(kind.minimum, 1),
    bound(kind.maximum, 100),
  ];
  const spec = member(old, 'spec');
  const bounds = {
    [kind.minimum]: member(next, 'spec', kind.minimum),
    [kind.maximum]: member(next, 'spec', kind.maximum),
  };
  const lowered = { ...(isObject(old) ? old : {}), spec: { ...(isObject(spec) ? spec : {}), ...bounds } };
  return same(withoutUndefined(lowered), next) && minimum <= oldMinimum && maximum <= oldMaximum
    ? 'ScaleIn'
    : 'ScaleOut';
}

/** As JSON has it. */
function withoutUndefined(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}

/** Every whole number in a value, with where it stands. */
function numbers(value: unknown, at = '', found = new Map<string, number>()): ReadonlyMap<string, number> {
  const whole = count(value);
  if (whole !== undefined) found.set(at, whole);
  else if (Array.isArray(value))
    for (const [index, inner] of list(value).entries()) numbers(inner, `${at}/${index}`, found);
  else if (isObject(value)) for (const [name, inner] of Object.entries(value)) numbers(inner, `${at}/${name}`, found);
  return found;
}

/** Whether the spec of an object holds a whole number above one: nothing else in it can be a number of replicas that is more than the first. */
export function holdsNumbers(object: unknown): boolean {
  return [...numbers(member(object, 'spec')).values()].some((number) => number > 1);
}

/**
 * The direction of a change to an object of which it is only known that it can be scaled, not by which field of its spec: less where all
 * whole numbers that change become less, else more.
 */
export function unknownFieldDirection(before: unknown, after: unknown): Direction | undefined {
  const [old, next] = [numbers(member(before, 'spec')), numbers(member(after, 'spec'))];
  const changed = [...new Set([...old.keys(), ...next.keys()])].filter((place) => old.get(place) !== next.get(place));
  if (changed.length === 0) return undefined;
  const less = changed.every((place) => (next.get(place) ?? Number.NaN) < (old.get(place) ?? Number.NaN));
  return less ? 'ScaleIn' : 'ScaleOut';
}
