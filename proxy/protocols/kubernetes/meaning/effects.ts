/** What the body of a write does beyond its verb, told from the states before and after, or from as much of them as is known. */
import type { KubernetesEffect } from '../../../../policy/kubernetes/commands.ts';
import type { RequestInfo } from '../request/request-info.ts';
import { isObject, list, member, same, text } from './json.ts';
import {
  debugArgv,
  hasUnconfinedAnnotation,
  holdsPrivileged,
  isPrivileged,
  namedServiceAccount,
  newContainers,
  podSpecPath,
} from './pods.ts';
import type { Path } from './pointer.ts';
import {
  autoscalerDirection,
  autoscalerOf,
  count,
  type Direction,
  direction,
  holdsNumbers,
  isCustom,
  replicasIn,
  replicasPath,
  scaledBy,
  unknownFieldDirection,
} from './scale.ts';

/** An object before and after; `before` undefined: there is none. */
export interface Change {
  readonly before: unknown;
  readonly after: unknown;
  /** Of a custom resource: whether it has the subresource scale. Undefined: nobody knows. */
  readonly scales?: boolean | undefined;
  /** Where its definition says that the number stands. Undefined: nobody knows. */
  readonly replicaPaths?: readonly Path[] | undefined;
}

/** The object that a request is about, as effects name it. */
export function itself(
  { apiGroup, resource, namespace, name }: RequestInfo,
  object?: unknown,
): Omit<KubernetesEffect, 'operation'> {
  return { group: apiGroup, resource, namespace, name: name || text(member(object, 'metadata', 'name')) };
}

function privileges(info: RequestInfo, object: unknown, spec: unknown): readonly KubernetesEffect[] {
  const account = namedServiceAccount(spec);
  return [
    ...(isPrivileged(spec) ? [{ ...itself(info, object), operation: 'PrivilegedPod' } as const] : []),
    ...(account === undefined
      ? []
      : [
          {
            operation: 'UseServiceAccount',
            group: '',
            resource: 'serviceaccounts',
            namespace: info.namespace,
            name: account,
          } as const,
        ]),
  ];
}

/** What pods of a template may do, where it changes: a new image in a privileged pod is a privileged pod. */
function podEffects(info: RequestInfo, path: Path, { before, after }: Change): readonly KubernetesEffect[] {
  const spec = member(after, ...path);
  const beside = [...path.slice(0, -1), 'metadata'];
  const [metadata, old] = [member(after, ...beside), member(before, ...beside)];
  // Annotations that confine a pod, as they were written before there were fields for it.
  const unconfined =
    hasUnconfinedAnnotation(metadata) && !same(member(metadata, 'annotations'), member(old, 'annotations'));
  const effects = before !== undefined && same(member(before, ...path), spec) ? [] : privileges(info, after, spec);
  if (!unconfined || effects.some(({ operation }) => operation === 'PrivilegedPod')) return effects;
  return [...effects, { ...itself(info, after), operation: 'PrivilegedPod' }];
}

/** Each container that is added to a running pod runs something in it. */
function debugEffects(info: RequestInfo, { before, after }: Change): readonly KubernetesEffect[] {
  const added = newContainers(
    member(before, 'spec', 'ephemeralContainers'),
    member(after, 'spec', 'ephemeralContainers'),
  );
  const execs = added.map(
    (container): KubernetesEffect => ({
      ...itself(info),
      operation: 'Exec',
      container: text(member(container, 'name')),
      argv: debugArgv(container, before),
    }),
  );
  return isPrivileged({ ephemeralContainers: added })
    ? [...execs, { ...itself(info), operation: 'PrivilegedPod' }]
    : execs;
}

function scaleEffects(info: RequestInfo, path: Path, { before, after }: Change): readonly KubernetesEffect[] {
  // Of a Scale none is zero: its zero is left out.
  const absent = info.subresource === 'scale' ? 0 : 1;
  const next = replicasIn(after, path, absent);
  const previous = before === undefined ? 0 : replicasIn(before, path, absent);
  // A first replica is what creating means.
  const way = before === undefined && next !== undefined && next <= 1 ? undefined : direction(previous, next);
  if (way === undefined) return [];
  return [
    {
      ...itself(info, after),
      operation: way,
      ...(next === undefined ? {} : { replicas: next }),
      ...(previous === undefined ? {} : { previousReplicas: previous }),
    },
  ];
}

function autoscalerEffects(info: RequestInfo, change: Change): readonly KubernetesEffect[] {
  const kind = autoscalerOf(info);
  if (kind === undefined) return [];
  const { before, after } = change;
  const way = before === undefined ? 'ScaleOut' : autoscalerDirection(kind, before, after);
  if (way === undefined) return [];
  const scaled = scaledBy(after);
  const target = scaled === undefined ? itself(info, after) : { ...scaled, namespace: info.namespace };
  const next = replicasIn(after, ['spec', kind.maximum], 100);
  const previous = before === undefined ? undefined : replicasIn(before, ['spec', kind.maximum], 100);
  return [
    {
      ...target,
      operation: way,
      ...(next === undefined ? {} : { replicas: next }),
      ...(previous === undefined ? {} : { previousReplicas: previous }),
    },
  ];
}

/** Whether an object that is made begins with more than one of what it stands for. A first replica is what creating means. */
function isMadeScaled({ after, scales, replicaPaths = [] }: Change): boolean {
  const unknown = scales !== false && replicaPaths.length === 0;
  if (unknown) return holdsNumbers(after);
  const paths: readonly Path[] = [['spec', 'replicas'], ...replicaPaths];
  return paths.some((path) => (count(member(after, ...path)) ?? 0) > 1);
}

/** How many more or less a controller that is not known here may make of its object. */
function customDirection(change: Change): Direction | undefined {
  const { before, after, scales } = change;
  if (before === undefined) return isMadeScaled(change) ? 'ScaleOut' : undefined;
  const [previous, next] = [before, after].map((object) => member(object, 'spec', 'replicas'));
  // Which field it is that its Scale stands for is written in a definition that callers may not read.
  if (scales !== false) return unknownFieldDirection(before, after);
  if (previous === undefined && next === undefined) return undefined;
  return direction(count(previous ?? 1), count(next ?? 1));
}

/** What a controller that is not known here may make of its object. */
function customEffects(info: RequestInfo, change: Change): readonly KubernetesEffect[] {
  const { before, after } = change;
  const spec = member(after, 'spec');
  if (info.subresource !== '' || same(member(before, 'spec'), spec)) return [];
  const way = customDirection(change);
  const replicas = count(member(spec, 'replicas'));
  const scaling = { ...itself(info, after), ...(replicas === undefined ? {} : { replicas }) };
  return [
    ...(way === undefined ? [] : [{ ...scaling, operation: way }]),
    ...(holdsPrivileged(spec) ? [{ ...itself(info, after), operation: 'PrivilegedPod' } as const] : []),
  ];
}

/** What opens a door of another kind: a volume on the host's disk, a Secret that becomes the token of a service account. */
function otherEffects(info: RequestInfo, { before, after }: Change): readonly KubernetesEffect[] {
  if (info.apiGroup !== '' || info.subresource !== '') return [];
  const spec = member(after, 'spec');
  if (info.resource === 'persistentvolumes' && !same(member(before, 'spec'), spec)) {
    const onHost = isObject(member(spec, 'hostPath')) || isObject(member(spec, 'local'));
    return onHost ? [{ ...itself(info, after), operation: 'PrivilegedPod' }] : [];
  }
  if (info.resource === 'secrets' && member(after, 'type') === 'kubernetes.io/service-account-token') {
    const account = (object: unknown): string =>
      text(member(object, 'metadata', 'annotations', 'kubernetes.io/service-account.name'));
    if (before !== undefined && account(before) === account(after)) return [];
    const target = { group: '', resource: 'serviceaccounts', namespace: info.namespace, name: account(after) };
    return [{ ...target, operation: 'Impersonate' }];
  }
  return [];
}

/** What a write does beyond its verb. */
export function effectsOf(info: RequestInfo, change: Change): readonly KubernetesEffect[] {
  const isPod = info.apiGroup === '' && info.resource === 'pods';
  if (isPod && info.subresource === 'ephemeralcontainers') return debugEffects(info, change);
  const replicas = replicasPath(info);
  const scaling = replicas === undefined ? autoscalerEffects(info, change) : scaleEffects(info, replicas, change);
  const path = info.subresource === '' ? podSpecPath(info) : undefined;
  const pods = path === undefined ? [] : podEffects(info, path, change);
  const custom = isCustom(info) && autoscalerOf(info) === undefined ? customEffects(info, change) : [];
  return [...scaling, ...pods, ...custom, ...otherEffects(info, change)];
}

/** Owners that an object did not have: the garbage collector deletes it when they are not there. */
export function gainsOwner({ before, after }: Change): boolean {
  const owners = (object: unknown): readonly unknown[] => list(member(object, 'metadata', 'ownerReferences'));
  const key = (owner: unknown): string =>
    JSON.stringify(['apiVersion', 'kind', 'name', 'uid'].map((name) => text(member(owner, name))));
  const known = new Set(owners(before).map(key));
  return owners(after).some((owner) => !known.has(key(owner)));
}
