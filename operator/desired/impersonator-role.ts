import { NAMES } from '../../api/cluster.ts';
import type { AnyObject } from '../../kube/builtin.ts';
import { labelsOf } from './labels.ts';

/** Whom proxies may act as in one namespace of agents. */
export interface Impersonation {
  /** Names of service accounts, sorted. */
  readonly accounts: readonly string[];
  /** Namespaces of the proxies, sorted. */
  readonly proxies: readonly string[];
}

const at = (namespace: string) => ({
  name: NAMES.impersonator,
  namespace,
  labels: labelsOf(NAMES.impersonator, 'agents'),
});

/**
 * The service accounts that policies name, one by one. The API server asks for this right in the account's own namespace; the groups of a
 * service account come along without one (user impersonation, in the Kubernetes documentation on authentication).
 */
export const impersonatorRole = (namespace: string, { accounts }: Impersonation): AnyObject => ({
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'Role',
  metadata: at(namespace),
  rules: [{ apiGroups: [''], resources: ['serviceaccounts'], resourceNames: [...accounts], verbs: ['impersonate'] }],
});

export const impersonatorRoleBinding = (namespace: string, { proxies }: Impersonation): AnyObject => ({
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'RoleBinding',
  metadata: at(namespace),
  roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: NAMES.impersonator },
  subjects: proxies.map((proxy) => ({ kind: 'ServiceAccount', name: NAMES.proxy, namespace: proxy })),
});
