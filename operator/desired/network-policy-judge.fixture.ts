import { BlockList, isIP } from 'node:net';
import type { AnyObject } from '../../kube/builtin.ts';
import { matchesLabels } from '../../policy/select-connection.ts';

/**
 * NetworkPolicies judged as networking.k8s.io/v1 says: a selected pod may reach what any rule of any policy allows. Written from the API's
 * documentation and not from the builders. Engines differ in one thing: whether `ipBlock` is about pods too.
 */
interface Selector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly {
    key: string;
    operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
    values?: string[];
  }[];
}
interface Peer {
  readonly ipBlock?: { readonly cidr: string; readonly except?: readonly string[] };
  readonly namespaceSelector?: Selector;
  readonly podSelector?: Selector;
}
interface Rule {
  readonly to?: readonly Peer[];
  readonly from?: readonly Peer[];
  readonly ports?: readonly { readonly protocol: string; readonly port: number }[];
}
export interface Spec {
  readonly policyTypes: readonly string[];
  readonly podSelector: Selector;
  readonly egress?: readonly Rule[];
  readonly ingress?: readonly Rule[];
}
export interface End {
  readonly address: string;
  /** Absent: not a pod. */
  readonly pod?: {
    readonly namespace: string;
    readonly labels: Readonly<Record<string, string>>;
    /** Those of the namespace besides its name. */
    readonly namespaceLabels?: Readonly<Record<string, string>>;
  };
}

export const isSelected = (selector: Selector, labels: Readonly<Record<string, string>>): boolean =>
  (selector.matchLabels === undefined && selector.matchExpressions === undefined) || matchesLabels(selector, labels);

function isIn(address: string, cidr: string): boolean {
  const [network = '', bits = ''] = cidr.split('/');
  if (isIP(network) !== isIP(address)) return false;
  const list = new BlockList();
  const family = isIP(network) === 6 ? 'ipv6' : 'ipv4';
  list.addSubnet(network, Number(bits), family);
  return list.check(address, family);
}

function meets(peer: Peer, end: End, own: string, addressesOfPods: boolean): boolean {
  if (peer.ipBlock !== undefined) {
    if (end.pod !== undefined && !addressesOfPods) return false;
    const { cidr, except = [] } = peer.ipBlock;
    return isIn(end.address, cidr) && !except.some((range) => isIn(end.address, range));
  }
  if (end.pod === undefined) return false;
  const { namespace, labels, namespaceLabels } = end.pod;
  const named = { ...namespaceLabels, 'kubernetes.io/metadata.name': namespace };
  const here = peer.namespaceSelector === undefined ? namespace === own : isSelected(peer.namespaceSelector, named);
  return here && (peer.podSelector === undefined || isSelected(peer.podSelector, labels));
}

export function allows(
  rules: readonly Rule[],
  end: End,
  port: number,
  own: string,
  addressesOfPods: boolean,
  protocol = 'TCP',
): boolean {
  return rules.some(({ to, from, ports }) => {
    const peers = to ?? from;
    if (ports !== undefined && !ports.some((each) => each.port === port && each.protocol === protocol)) return false;
    return peers === undefined || peers.some((peer) => meets(peer, end, own, addressesOfPods));
  });
}

export const specOf = (object: AnyObject): Spec => object['spec'] as Spec;

export interface Connection {
  readonly from: End;
  readonly to: End;
  readonly port: number;
  readonly protocol: 'TCP' | 'UDP';
}

/** Whether all of them together let a connection pass: at its source, and at its destination. */
export function passes(policies: readonly AnyObject[], { from, to, port, protocol }: Connection): boolean {
  const permits = (own: End, other: End, direction: 'Ingress' | 'Egress'): boolean => {
    const { pod } = own;
    if (pod === undefined) return true;
    const applying = policies.filter(
      (policy) =>
        policy.metadata.namespace === pod.namespace &&
        specOf(policy).policyTypes.includes(direction) &&
        isSelected(specOf(policy).podSelector, pod.labels),
    );
    return (
      applying.length === 0 ||
      applying.some((policy) => {
        const { egress = [], ingress = [] } = specOf(policy);
        return allows(direction === 'Egress' ? egress : ingress, other, port, pod.namespace, true, protocol);
      })
    );
  };
  return permits(from, to, 'Egress') && permits(to, from, 'Ingress');
}
