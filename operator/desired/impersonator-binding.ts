import { NAMES } from '../../api/cluster.ts';
import type { AnyObject } from '../../kube/builtin.ts';
import { labelsOf } from './labels.ts';

export const impersonatorBindingName = (namespace: string): string => `${NAMES.impersonator}:${namespace}`;

/** Lets the proxies of a namespace say which session a request belongs to. Whom they may act as is said in the namespaces of agents. */
export function impersonatorBinding(namespace: string): AnyObject {
  return {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRoleBinding',
    metadata: {
      name: impersonatorBindingName(namespace),
      labels: labelsOf(NAMES.impersonator, 'proxy', namespace),
    },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: NAMES.impersonator },
    subjects: [{ kind: 'ServiceAccount', name: NAMES.proxy, namespace }],
  };
}
