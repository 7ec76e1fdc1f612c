import { isIP } from 'node:net';

/** A Service of the cluster that a host name may mean. */
export interface ServiceName {
  readonly namespace: string;
  readonly name: string;
}

/**
 * The Service that a target's host name means when it means one: `db` (beside the connection), `db.shop`, `db.shop.svc` and the same with
 * the cluster's domain. `db.shop` may also be a name outside; whoever asks has to live with both.
 */
export function serviceOf(host: string, connectionNamespace: string): ServiceName | undefined {
  if (isIP(host) !== 0) return undefined;
  const labels = host.split('.');
  const [name = '', namespace, third] = labels;
  if (labels.length === 1) return { name, namespace: connectionNamespace };
  if (namespace === undefined) return undefined;
  if (labels.length === 2) return { name, namespace };
  // A pod of a StatefulSet has a name below its headless Service: pod.service.namespace.svc.
  if (third === 'svc') return { name, namespace };
  const [, service = '', inside = '', fourth] = labels;
  return fourth === 'svc' ? { name: service, namespace: inside } : undefined;
}

/** Namespace whose pods the host may be; undefined for what is surely outside. */
export const clusterNamespaceOf = (host: string, connectionNamespace: string): string | undefined =>
  serviceOf(host, connectionNamespace)?.namespace;
