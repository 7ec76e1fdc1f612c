import type { KubernetesTarget, KubernetesTuple, OperationTuple } from '../command.ts';
import { argvWords, listed } from '../ssh/words.ts';
import { explicitReason } from './explicit.ts';
import type { KubernetesSpec } from './match.ts';
import { spansNamespaces } from './namespaces.ts';

/** `deployments.apps/scale shop/web`, `pods in shop`, `pods in all namespaces`, `nodes`. */
function targetWords(target: KubernetesTarget): string {
  const { group, resource, subresource, namespace, name } = target;
  if (resource === '') return 'an unknown resource';
  const what = `${resource}${group === '' ? '' : `.${group}`}${subresource === '' ? '' : `/${subresource}`}`;
  // A Namespace is in itself, as RequestInfo has it.
  const inside = namespace === '' || (group === '' && resource === 'namespaces') ? '' : namespace;
  if (spansNamespaces(target)) return `${what} in all namespaces`;
  if (name === '') return inside === '' ? what : `${what} in ${inside}`;
  return `${what} ${inside === '' ? '' : `${inside}/`}${name}`;
}

/** What a tuple is, in the words of a denial. */
export function kubernetesTupleWords(tuple: KubernetesTuple): string {
  switch (tuple.type) {
    case 'api':
      return `${tuple.verb} ${targetWords(tuple)}`;
    case 'path':
      return `${tuple.verb} ${tuple.path}`;
    case 'operation':
      return operationWords(tuple);
    case 'unknown':
      return `a request on ${targetWords(tuple)} that cannot be judged (Opaque): ${tuple.reason}`;
    default:
      return tuple satisfies never;
  }
}

function operationWords(tuple: OperationTuple): string {
  const { operation, verb, exec } = tuple;
  if (exec === undefined) return `${operation} (${verb}) of ${targetWords(tuple)}`;
  if (exec.argv.length > 0) return `Exec of ${argvWords(exec.argv)} in ${targetWords(tuple)}`;
  return `Exec of what nobody knows in ${targetWords(tuple)}`;
}

/** What to send in place of something that every Deny rule hits. */
export function kubernetesOpaqueAdvice(tuple: KubernetesTuple): string {
  return tuple.type === 'operation'
    ? `run what ${tuple.exec?.argv[0] ?? 'it'} would run as a command of its own instead`
    : 'send a plain request for one object instead';
}

/** Why no Allow rule covers it, where its words alone do not say so. */
export function kubernetesUncoveredAdvice(tuple: KubernetesTuple): string | undefined {
  switch (tuple.type) {
    case 'unknown':
      return `It cannot be judged: ${tuple.reason}. Only a rule with the operation Opaque allows it.`;
    case 'path':
      return 'URLs that are no resource are covered by nonResourceURLs only.';
    case 'operation':
      if (tuple.exec?.wrapper === true) {
        return `${tuple.exec.argv[0] ?? 'It'} runs what its words say, so only a rule whose commands name it covers it.`;
      }
      if (tuple.exec?.argv.length === 0) return 'What runs cannot be known, so only the command ** covers it.';
      return `Only a rule with the operation ${tuple.operation} covers it, whatever its verbs and resources.`;
    case 'api': {
      const reason = explicitReason(tuple.verb, tuple);
      if (reason !== undefined) return `Only a rule that names verb and resource covers it: ${reason}.`;
      return spansNamespaces(tuple) ? 'Only a rule for the namespace * covers it: ask for one namespace.' : undefined;
    }
    default:
      return tuple satisfies never;
  }
}

/** What an Allow rule grants: `get, list of pods in shop`. */
export function kubernetesGrantWords(spec: KubernetesSpec): string {
  const { operations, verbs, resources, resourceNames, namespaces, nonResourceURLs, commands } = spec;
  if (nonResourceURLs !== undefined) return `${listed(verbs ?? [])} of ${listed(nonResourceURLs)}`;
  const what = [...(operations ?? []), ...(verbs ?? [])];
  const objects = resources === undefined ? '' : ` of ${listed(resources)}`;
  const names = resourceNames === undefined ? '' : ` ${listed(resourceNames)}`;
  const where = namespaces?.includes('*') === false ? ` in ${listed(namespaces)}` : '';
  const runs = commands === undefined ? '' : ` (commands ${listed(commands)})`;
  return `${listed(what)}${objects}${names}${where}${runs}`;
}
