import { NAMES } from '../../api/cluster.ts';
import type { AccessConnection } from '../../api/resources.ts';
import type { AnyObject } from '../../kube/builtin.ts';
import { labelsOf } from './labels.ts';
import type { ProxyInputs } from './proxy-inputs.ts';

type Inputs = Pick<ProxyInputs, 'namespace' | 'owners' | 'connections'>;

/** Service accounts of `credential.serviceAccountToken`, sorted. Never the proxies' own: a token of it would be a second proxy. */
const accountsOf = (connections: readonly AccessConnection[]): string[] =>
  [...new Set(connections.flatMap(({ spec }) => spec.credential?.serviceAccountToken?.name ?? []))]
    .filter((name) => name !== NAMES.proxy)
    .sort();

/** Role and RoleBinding with which the proxies ask for tokens of the accounts that connections name; none where none does. */
export function tokenRequester({ namespace, owners, connections }: Inputs): AnyObject[] {
  const accounts = accountsOf(connections);
  if (accounts.length === 0) return [];
  const metadata = {
    name: NAMES.tokenRequester,
    namespace,
    labels: labelsOf(NAMES.tokenRequester, 'proxy', namespace),
    ownerReferences: owners,
  };
  const apiVersion = 'rbac.authorization.k8s.io/v1';
  return [
    {
      apiVersion,
      kind: 'Role',
      metadata,
      rules: [{ apiGroups: [''], resources: ['serviceaccounts/token'], resourceNames: accounts, verbs: ['create'] }],
    },
    {
      apiVersion,
      kind: 'RoleBinding',
      metadata,
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: NAMES.tokenRequester },
      subjects: [{ kind: 'ServiceAccount', name: NAMES.proxy, namespace }],
    },
  ];
}
