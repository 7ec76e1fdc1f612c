import type { ObjectContext } from './object-place.ts';
import type { ObjectRequest } from './port.ts';
import type { KubernetesRules, ObjectIdentity } from './rules.ts';

/** What a request is about, where an answer does not say it. */
export function contextOf(
  rules: KubernetesRules,
  { apiGroup, resource, namespace, name }: ObjectRequest,
  nested: ObjectContext['nested'],
): ObjectContext {
  const identity: ObjectIdentity = {
    resource: resource === '' ? undefined : apiGroup === '' ? resource : `${resource}.${apiGroup}`,
    // A list over all namespaces names none.
    namespace: namespace === '' ? undefined : namespace,
    name: name === '' ? undefined : name,
  };
  const kind =
    apiGroup !== ''
      ? undefined
      : resource === 'secrets'
        ? 'Secret'
        : resource === 'configmaps'
          ? 'ConfigMap'
          : undefined;
  return { rules, identity, kind, nested };
}
