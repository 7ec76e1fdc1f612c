import { compileGlob } from '../glob.ts';
import { explicitReason } from './explicit.ts';
import type { KubernetesMatcher, KubernetesSpec } from './match.ts';
import { isClusterScoped } from './namespaces.ts';
import { isScale, operationOf } from './operations.ts';
import { compileResource, concernsResource } from './resource-pattern.ts';
import { groupOf, isBuiltInGroup, pluralOf } from './resources.ts';

/** An entry of one of the lists that nothing can ever match. */
export interface DeadKubernetesEntry {
  readonly list: 'operations' | 'verbs' | 'resources';
  readonly index: number;
  readonly entry: string;
  readonly reason: string;
}

type Operation = NonNullable<KubernetesSpec['operations']>[number];

/** What each operation is done to; absent: whatever can be scaled, or anything. */
const DONE_TO: { readonly [O in Operation]?: readonly string[] } = {
  Exec: ['pods'],
  PortForward: ['pods'],
  Evict: ['pods'],
  ReadSecret: ['secrets'],
  Impersonate: ['serviceaccounts'],
  UseServiceAccount: ['serviceaccounts'],
  ChangeRBAC: ['roles', 'rolebindings', 'clusterroles', 'clusterrolebindings'],
};

/** Entries that no request could be matched by. `grants`: of an Allow rule, which reads wildcards more narrowly. */
export function deadKubernetesEntries(spec: KubernetesSpec, grants: boolean): readonly DeadKubernetesEntry[] {
  return [...deadOperations(spec), ...deadResources(spec, grants), ...(grants ? deadVerbs(spec) : [])];
}

function deadOperations({ operations = [], resources }: KubernetesSpec): DeadKubernetesEntry[] {
  const patterns = resources?.map(compileResource);
  return [...operations.entries()].flatMap(([index, entry]) => {
    const targets = DONE_TO[entry];
    if (targets === undefined || patterns === undefined) return [];
    const meets = patterns.some(
      ({ resource, ...rest }) =>
        resource === '*' || targets.some((one) => one === resource && rest.subresource !== 'log'),
    );
    if (meets) return [];
    return [
      {
        list: 'operations' as const,
        index,
        entry,
        reason: `it is done to ${targets.join(', ')}, which resources leaves out`,
      },
    ];
  });
}

function deadResources(spec: KubernetesSpec, grants: boolean): DeadKubernetesEntry[] {
  return [...(spec.resources ?? []).entries()].flatMap(([index, entry]) => {
    const reason = deadResource(entry, spec) ?? (grants ? neverGranted(entry, spec) : undefined);
    return reason === undefined ? [] : [{ list: 'resources' as const, index, entry, reason }];
  });
}

function deadResource(entry: string, { apiGroups, namespaces }: KubernetesSpec): string | undefined {
  const { resource, subresource } = compileResource(entry);
  const plural = pluralOf(resource);
  if (plural !== undefined) {
    return `resources are plurals, and it is called ${plural}${subresource === undefined ? '' : `/${subresource}`}`;
  }
  const group = groupOf(resource);
  if (group === undefined) return undefined;
  if (apiGroups !== undefined && !apiGroups.includes(group) && apiGroups.every(isBuiltInGroup)) {
    return `it is of the API group ${group === '' ? '"" (core)' : group}, which apiGroups leaves out`;
  }
  const everywhere = namespaces?.some((one) => compileGlob(one).matches('')) !== false;
  // A Namespace is in itself, as the API server has it.
  if (!everywhere && resource !== 'namespaces' && isClusterScoped({ group, resource })) {
    return 'it stands in no namespace, which only the namespace * is about';
  }
  return undefined;
}

/** What an Allow rule names among its resources and its verbs do not give. */
function neverGranted(entry: string, { operations = [], verbs }: KubernetesSpec): string | undefined {
  const pattern = compileResource(entry);
  const { resource, subresource = '' } = pattern;
  if (verbs === undefined || resource === '*' || subresource === '*') return undefined;
  if (operations.some((one) => concernedBy(one, entry))) return undefined;
  const target = { group: groupOf(resource) ?? '', resource, subresource, namespace: '', name: '' };
  // Not a verb of the rule is let through by its name alone.
  const named = verbs.filter((verb) => verb !== '*');
  const given = named.filter((verb) => operationOf(verb, target)?.also !== false);
  if (given.length > 0) return undefined;
  if (named.length === 0) {
    const explicit = ['get', 'create', 'update', 'delete'].every((verb) => explicitReason(verb, target) !== undefined);
    return explicit ? 'it is never inside the verb *: name its verbs, or write an operation' : undefined;
  }
  const operation = named.map((verb) => operationOf(verb, target)?.operation).find((one) => one !== undefined);
  return operation === undefined ? undefined : `only the operation ${operation} grants it`;
}

function concernedBy(operation: Operation, entry: string): boolean {
  const { resource, subresource } = compileResource(entry);
  return (
    DONE_TO[operation]?.includes(resource) === true || (isScale(operation) && (subresource ?? 'scale') === 'scale')
  );
}

function deadVerbs({ verbs = [], resources = [] }: KubernetesSpec): DeadKubernetesEntry[] {
  const index = verbs.indexOf('deletecollection');
  if (index < 0 || resources.some((one) => !one.includes('*'))) return [];
  return [
    {
      list: 'verbs',
      index,
      entry: 'deletecollection',
      reason: 'it is granted only where resources names the resource',
    },
  ];
}

const some = <T>(
  mine: Iterable<T> | undefined,
  theirs: Iterable<T> | undefined,
  meet: (a: T, b: T) => boolean,
): boolean => mine === undefined || theirs === undefined || [...mine].some((a) => [...theirs].some((b) => meet(a, b)));

/** Whether an Allow rule grants anything that the other rule could hit, by their lists alone. */
export function kubernetesRulesMeet(rule: KubernetesMatcher, allow: KubernetesMatcher): boolean {
  if (rule.operations === undefined || rule.verbs !== undefined) return true;
  // What is opaque is hit by every rule, and a creation may be one of many replicas.
  const { operations } = rule;
  const given = [...(allow.operations ?? [])];
  if (given.includes('Opaque')) return true;
  const scales = [...operations].some(isScale);
  if (scales && (allow.verbs?.has('create') === true || allow.verbs?.has('*') === true)) return true;
  if (!given.some((one) => operations.has(one) || (scales && isScale(one)))) return false;
  return some(
    rule.resources,
    allow.resources,
    (a, b) =>
      a.resource === '*' ||
      b.resource === '*' ||
      concernsResource(a, b.resource, b.subresource ?? 'scale') ||
      a.resource === b.resource,
  );
}
