import { LABELS, NAMES } from '../../api/cluster.ts';
import type { AnyObject } from '../../kube/builtin.ts';
import type { AgentsInputs } from './agents-inputs.ts';
import { labelsOf, podLabels } from './labels.ts';
import {
  DNS_PORTS,
  type EgressRule,
  everywhereExcept,
  NAMESPACE_NAME,
  podsOf,
  ranges,
  sortedRanges,
  tcp,
} from './network-policy-parts.ts';

/**
 * Keeps the agents of a namespace from their targets except through the proxies. Locked: names and proxies alone, and what other
 * NetworkPolicies of the namespace add. Else: everything but the targets' addresses.
 *
 * Pods are in it twice, as addresses and as pods, because engines differ in whether an address range is about pods too. As pods those of
 * a namespace with a target are left out as a whole: a policy cannot say "this Service".
 */
export function agentsNetworkPolicy(inputs: AgentsInputs): AnyObject {
  const { namespace, wholeNamespace } = inputs;
  const podSelector = wholeNamespace
    ? { matchExpressions: [{ key: LABELS.inject, operator: 'NotIn', values: ['false'] }] }
    : { matchLabels: { [LABELS.inject]: 'true' } };
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: NAMES.agents, namespace, labels: labelsOf(NAMES.agents, 'agents') },
    spec: { podSelector, policyTypes: ['Egress'], egress: egress(inputs) },
  };
}

/** Where cluster DNS runs, and the address of the node-local cache (its documented default). */
const DNS_PEERS = [
  { namespaceSelector: { matchLabels: { [NAMESPACE_NAME]: 'kube-system' } } },
  ...ranges(['169.254.20.10/32']),
];

function egress({ locked, proxies, targetRanges, targetNamespaces }: AgentsInputs): EgressRule[] {
  const toProxies = proxies.map(
    ({ namespace, ports }): EgressRule => ({
      to: [podsOf(namespace, podLabels(NAMES.proxy, 'proxy'))],
      ports: tcp(...ports),
    }),
  );
  if (locked) return [{ to: DNS_PEERS, ports: DNS_PORTS }, ...toProxies];
  const values = [...new Set(targetNamespaces)].sort();
  const otherPods =
    values.length === 0
      ? { namespaceSelector: {} }
      : { namespaceSelector: { matchExpressions: [{ key: NAMESPACE_NAME, operator: 'NotIn', values }] } };
  return [{ ports: DNS_PORTS }, ...toProxies, { to: [...everywhereExcept(sortedRanges(targetRanges)), otherPods] }];
}
