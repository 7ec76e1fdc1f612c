import { isIP } from 'node:net';

/** Pieces of NetworkPolicies. They know addresses, not names, and only ever add up: what one allows no other can forbid. */

export type Peer = Readonly<Record<string, unknown>>;
export interface EgressRule {
  readonly to?: readonly Peer[];
  readonly ports?: readonly PolicyPort[];
}
export interface IngressRule {
  readonly from?: readonly Peer[];
  readonly ports?: readonly PolicyPort[];
}
export interface PolicyPort {
  readonly protocol: 'TCP' | 'UDP';
  readonly port: number;
}

export const tcp = (...ports: readonly number[]): PolicyPort[] =>
  [...new Set(ports)].sort((a, b) => a - b).map((port) => ({ protocol: 'TCP', port }));

export const DNS_PORTS: readonly PolicyPort[] = [
  { protocol: 'UDP', port: 53 },
  { protocol: 'TCP', port: 53 },
];

export const NAMESPACE_NAME = 'kubernetes.io/metadata.name';

/** Pods of a component, in one namespace. */
export const podsOf = (namespace: string, labels: Readonly<Record<string, string>>): Peer => ({
  namespaceSelector: { matchLabels: { [NAMESPACE_NAME]: namespace } },
  podSelector: { matchLabels: labels },
});

/** Every pod of these namespaces; `['*']` is all of them. */
export function podsOfNamespaces(namespaces: readonly string[]): Peer[] {
  if (namespaces.includes('*')) return [{ namespaceSelector: {} }];
  const names = [...new Set(namespaces)].sort();
  if (names.length === 0) return [];
  return [{ namespaceSelector: { matchExpressions: [{ key: NAMESPACE_NAME, operator: 'In', values: names }] } }];
}

/** A single address as a range. */
export const hostRange = (address: string): string => `${address}/${isIP(address) === 6 ? 128 : 32}`;

/** Ranges without repetition, IPv4 first. */
export function sortedRanges(ranges: Iterable<string>): string[] {
  return [...new Set(ranges)].sort((a, b) => Number(isV6(a)) - Number(isV6(b)) || (a < b ? -1 : 1));
}

export const isV6 = (range: string): boolean => range.includes(':');

/** Every address except these. */
export function everywhereExcept(ranges: readonly string[]): Peer[] {
  return [
    { cidr: '0.0.0.0/0', except: ranges.filter((range) => !isV6(range)) },
    { cidr: '::/0', except: ranges.filter(isV6) },
  ].map(({ cidr, except }) => ({ ipBlock: { cidr, ...(except.length === 0 ? {} : { except }) } }));
}

export const ranges = (list: readonly string[]): Peer[] => list.map((cidr) => ({ ipBlock: { cidr } }));
