/** The most that a write may turn out to do, where what is there already is not known. */
import type { KubernetesEffect, KubernetesMeaning } from '../../../../policy/kubernetes/commands.ts';
import type { RequestInfo } from '../request/request-info.ts';
import type { RequestBody } from './body.ts';
import { effectsOf, itself } from './effects.ts';
import { isObject, isVersion, list, member } from './json.ts';
import { confines, podSpecPath } from './pods.ts';
import { changesOnly, literalAt, mayChange, type Patch, type Path } from './pointer.ts';
import { autoscalerOf, count, isCustom, replicasPath } from './scale.ts';

/** Whether what is in objects of this resource matters beyond its verb. */
function hasEffects(info: RequestInfo): boolean {
  return (
    replicasPath(info) !== undefined ||
    autoscalerOf(info) !== undefined ||
    podSpecPath(info) !== undefined ||
    isCustom(info) ||
    (info.apiGroup === '' && (info.resource === 'persistentvolumes' || info.resource === 'secrets'))
  );
}

/** Replicas that become this many, or less or more: only none is less for certain. */
function scaling(info: RequestInfo, object: unknown, next: number | undefined): KubernetesEffect {
  const known = next === undefined ? {} : { replicas: next };
  return { ...itself(info, object), operation: next === 0 ? 'ScaleIn' : 'Scale', ...known };
}

/** Of an object that takes the place of another. */
export function worstOfUpdate(info: RequestInfo, object: unknown): readonly KubernetesEffect[] {
  // As if it were made anew, but for the direction.
  const made = effectsOf(info, { before: undefined, after: object });
  const others = made.filter(({ operation }) => operation !== 'ScaleOut');
  const autoscaled = made.filter(({ operation }) => autoscalerOf(info) !== undefined && operation === 'ScaleOut');
  const path = replicasPath(info);
  const custom = isCustom(info) && info.subresource === '' && autoscalerOf(info) === undefined;
  if (path === undefined && !custom) return [...others, ...autoscaled];
  const value = member(object, ...(path ?? ['spec', 'replicas']));
  const absent = custom ? undefined : info.subresource === 'scale' ? 0 : 1;
  const next = value === undefined || value === null ? absent : count(value);
  // Of a custom resource any other number may be the one that counts.
  return [...others, scaling(info, object, custom && next === 0 ? undefined : next)];
}

/** Whether a patch may change annotations of pods that once confined them; of pods that run already none does. */
function mayUnconfine({ resource }: RequestInfo, patch: Patch, pods: Path): boolean {
  const at = [...pods.slice(0, -1), 'metadata', 'annotations'];
  if (resource === 'pods' || !mayChange(patch, at)) return false;
  const annotations = patch.type === 'json' ? undefined : member(patch.value, ...at);
  // Others, such as the one that `kubectl rollout restart` writes, are only written down.
  return !isObject(annotations) || Object.keys(annotations).some((name) => name.startsWith('$') || confines(name));
}

function unknownPatch(info: RequestInfo, patch: Patch): string | undefined {
  const pods = info.subresource === '' ? podSpecPath(info) : undefined;
  if (pods !== undefined && (mayChange(patch, pods) || mayUnconfine(info, patch, pods))) {
    return 'what the patch makes of the pods is not in the request';
  }
  if (
    autoscalerOf(info) !== undefined &&
    (mayChange(patch, ['spec']) || mayChange(patch, ['metadata', 'annotations']))
  ) {
    return 'what the autoscaler scales is not in the request';
  }
  if (info.apiGroup !== '' || info.subresource !== '') return undefined;
  if (info.resource === 'persistentvolumes' && mayChange(patch, ['spec']))
    return 'what the patch makes of the volume is not in the request';
  const account: Path = ['metadata', 'annotations', 'kubernetes.io/service-account.name'];
  const token = info.resource === 'secrets' && (mayChange(patch, account) || mayChange(patch, ['type']));
  return token ? 'what the patch makes of the Secret is not in the request' : undefined;
}

/** Of a debug container: what runs in it is known once its pod is. */
function worstOfDebug(info: RequestInfo, patch: Patch): KubernetesMeaning {
  // Directives there order the list; none of them takes away what is said of a container.
  const containers = patch.type === 'json' ? undefined : member(patch.value, 'spec', 'ephemeralContainers');
  const plain =
    patch.type !== 'json' && Object.keys(patch.value).every((name) => name === 'spec' || name === 'metadata');
  if (!Array.isArray(containers) || !plain)
    return { effects: [], unknown: 'what the debug container is is not in the request' };
  const added = { spec: { ephemeralContainers: containers } };
  return { effects: effectsOf(info, { before: undefined, after: added }) };
}

function worstOfPatch(info: RequestInfo, patch: Patch): KubernetesMeaning {
  if (info.subresource === 'ephemeralcontainers') return worstOfDebug(info, patch);
  const path = replicasPath(info);
  const effects: KubernetesEffect[] = [];
  if (path !== undefined && mayChange(patch, path))
    effects.push(scaling(info, undefined, count(literalAt(patch, path))));
  if (isCustom(info) && info.subresource === '' && mayChange(patch, ['spec']) && autoscalerOf(info) === undefined) {
    effects.push(scaling(info, undefined, undefined), { ...itself(info), operation: 'PrivilegedPod' });
  }
  const unknown = unknownPatch(info, patch);
  return {
    effects,
    ...(path !== undefined && info.subresource === '' && changesOnly(patch, path) ? { only: true } : {}),
    ...(unknown === undefined ? {} : { unknown }),
  };
}

const OWNERS: Path = ['metadata', 'ownerReferences'];

/** Verbs that a write may turn out to be besides its own. */
function alsoOf(info: RequestInfo, body: RequestBody): readonly string[] {
  const verbs: string[] = [];
  if (body.type === 'none' || info.verb === 'create') return verbs;
  if (info.subresource === '' && mayCreate(body)) verbs.push('create');
  if (info.subresource === '' && mayGainOwner(body)) verbs.push('delete');
  return verbs;
}

/** What is replaced or applied and is not there is made; what names the version that it is of has to be there. */
function mayCreate(body: Exclude<RequestBody, { type: 'none' }>): boolean {
  switch (body.type) {
    case 'protobuf':
      return !isVersion(body.object.resourceVersion);
    case 'object':
      return !isVersion(member(body.value, 'metadata', 'resourceVersion'));
    case 'patch':
      return body.patch.type === 'apply';
    default: {
      const never: never = body;
      throw new Error(`body of unknown type ${JSON.stringify(never)}`);
    }
  }
}

/** An object with an owner that is not there is deleted by the garbage collector: a delete by another route. */
function mayGainOwner(body: Exclude<RequestBody, { type: 'none' }>): boolean {
  if (body.type === 'protobuf') return body.object.hasOwners;
  if (body.type === 'object') return list(member(body.value, ...OWNERS)).length > 0;
  const { patch } = body;
  if (patch.type === 'apply') return list(member(patch.value, ...OWNERS)).length > 0;
  if (!mayChange(patch, OWNERS)) return false;
  const literal = literalAt(patch, OWNERS);
  return !(Array.isArray(literal) && literal.length === 0);
}

/** What a body means at worst. A policy that allows it so allows it whatever it does. */
export function worstMeaning(info: RequestInfo, body: RequestBody): KubernetesMeaning {
  const also = alsoOf(info, body);
  const more = also.length === 0 ? {} : { also };
  switch (body.type) {
    case 'none':
      return { effects: [] };
    case 'protobuf':
      return { effects: [], ...more, ...(hasEffects(info) ? { unknown: 'the body is protobuf' } : {}) };
    case 'object': {
      const effects =
        info.verb === 'create'
          ? effectsOf(info, { before: undefined, after: body.value })
          : worstOfUpdate(info, body.value);
      return { effects, ...more, object: body.value };
    }
    case 'patch':
      return { ...worstOfPatch(info, body.patch), ...more };
    default: {
      const never: never = body;
      throw new Error(`body of unknown type ${JSON.stringify(never)}`);
    }
  }
}
