import { NAMES } from '../../api/cluster.ts';
import type { AnyObject } from '../../kube/builtin.ts';
import type { AgentsInputs } from './agents-inputs.ts';
import { labelsOf } from './labels.ts';

/** Lets the proxies see the pods of a namespace of agents: a token counts only while its pod is there, with the caller's address. */
export function podReaderBinding({ namespace, proxies }: AgentsInputs): AnyObject {
  return {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'RoleBinding',
    metadata: { name: NAMES.podReader, namespace, labels: labelsOf(NAMES.podReader, 'agents') },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: NAMES.podReader },
    subjects: proxies.map((proxy) => ({ kind: 'ServiceAccount', name: NAMES.proxy, namespace: proxy.namespace })),
  };
}
