import { NAMES } from '../../api/cluster.ts';
import type { AnyObject } from '../../kube/builtin.ts';
import { labelsOf } from './labels.ts';

export const tokenReviewerName = (namespace: string): string => `${NAMES.tokenReviewer}:${namespace}`;

/** Lets the proxies of a namespace ask the API server whose a token is. */
export function tokenReviewerBinding(namespace: string): AnyObject {
  return {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRoleBinding',
    metadata: {
      name: tokenReviewerName(namespace),
      labels: labelsOf(NAMES.tokenReviewer, 'proxy', namespace),
    },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: NAMES.tokenReviewer },
    subjects: [{ kind: 'ServiceAccount', name: NAMES.proxy, namespace }],
  };
}
