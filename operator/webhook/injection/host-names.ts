const CLUSTER_DOMAIN = 'cluster.local';

/** A Service by its name in DNS. */
interface ServiceName {
  readonly service: string;
  readonly namespace: string;
}

/**
 * The Service that a target's host names, if it names one: `db.shop.svc`, `db.shop.svc.cluster.local`, `db.shop` where `shop` is a
 * namespace, and `db`, which is in the namespace of its connection, as the proxy resolves it.
 */
function serviceOf(
  host: string,
  connectionNamespace: string,
  isNamespace: (name: string) => boolean,
): ServiceName | undefined {
  const labels = host.split('.');
  const [service = '', namespace = '', ...rest] = labels;
  if (labels.length === 1) return { service, namespace: connectionNamespace };
  const suffix = rest.join('.');
  if (suffix === 'svc' || suffix === `svc.${CLUSTER_DOMAIN}`) return { service, namespace };
  if (labels.length === 2 && isNamespace(namespace)) return { service, namespace };
  return undefined;
}

/** One spelling for all that mean the same Service; a host outside the cluster as it is. */
export function canonicalHost(
  host: string,
  connectionNamespace: string,
  isNamespace: (name: string) => boolean,
): string {
  const found = serviceOf(host, connectionNamespace, isNamespace);
  return found === undefined ? host : `${found.service}.${found.namespace}.svc.${CLUSTER_DOMAIN}`;
}

/**
 * Names under which a pod may dial the target: what is written in the connection and, for a Service, its longer forms. The short name
 * belongs to pods of the Service's own namespace: elsewhere it may be another Service.
 */
export function hostNames(
  host: string,
  connectionNamespace: string,
  podNamespace: string,
  isNamespace: (name: string) => boolean,
): string[] {
  const found = serviceOf(host, connectionNamespace, isNamespace);
  if (found === undefined) return [host];
  const { service, namespace } = found;
  const long = `${service}.${namespace}`;
  const short = podNamespace === namespace ? [service] : [];
  return [...new Set([host, ...short, long, `${long}.svc`, `${long}.svc.${CLUSTER_DOMAIN}`])];
}
