import { GROUP, NAMES } from '../../api/cluster.ts';
import type { AnyObject } from '../../kube/builtin.ts';
import { labelsOf } from './labels.ts';
import type { ProxyInputs } from './proxy-inputs.ts';

/**
 * What a proxy may do in its namespace: read policy and requests, ask for approvals, and say that it lives. It reads no Secret:
 * credentials are mounted. Rights on names that are made while it runs (Leases, requests) cannot be limited by name.
 */
export function proxyRole({ namespace, owners }: ProxyInputs): AnyObject {
  return {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'Role',
    metadata: {
      name: NAMES.proxy,
      namespace,
      labels: labelsOf(NAMES.proxy, 'proxy', namespace),
      ownerReferences: owners,
    },
    rules: PROXY_RULES,
  };
}

/** The operator can grant only what it has itself: rights.ts repeats these. */
export const PROXY_RULES = [
  { apiGroups: [''], resources: ['configmaps'], verbs: ['list', 'watch'] },
  { apiGroups: [GROUP], resources: ['approvalrequests'], verbs: ['get', 'list', 'watch', 'create'] },
  { apiGroups: [GROUP], resources: ['approvalrequests/status'], verbs: ['update'] },
  {
    apiGroups: ['coordination.k8s.io'],
    resources: ['leases'],
    verbs: ['get', 'list', 'create', 'update', 'delete'],
  },
  { apiGroups: ['events.k8s.io'], resources: ['events'], verbs: ['create', 'patch'] },
] as const;
