import { NAMES } from '../../api/cluster.ts';
import type { AnyObject } from '../../kube/builtin.ts';
import { labelsOf } from './labels.ts';
import type { ProxyInputs } from './proxy-inputs.ts';

export function proxyRoleBinding({ namespace, owners }: ProxyInputs): AnyObject {
  return {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'RoleBinding',
    metadata: {
      name: NAMES.proxy,
      namespace,
      labels: labelsOf(NAMES.proxy, 'proxy', namespace),
      ownerReferences: owners,
    },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: NAMES.proxy },
    subjects: [{ kind: 'ServiceAccount', name: NAMES.proxy, namespace }],
  };
}
