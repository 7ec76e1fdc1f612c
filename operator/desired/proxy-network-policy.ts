import { LABELS, NAMES, PORTS } from '../../api/cluster.ts';
import type { AnyObject } from '../../kube/builtin.ts';
import { isOwnApiServer } from '../targets/api-server.ts';
import { clusterNamespaceOf } from '../targets/in-cluster.ts';
import { labelsOf, podLabels } from './labels.ts';
import {
  DNS_PORTS,
  type EgressRule,
  hostRange,
  type IngressRule,
  podsOf,
  podsOfNamespaces,
  ranges,
  tcp,
} from './network-policy-parts.ts';
import type { ProxyInputs } from './proxy-inputs.ts';

/**
 * Who may dial the proxies of a namespace: the namespaces of its agents. Where they may go: names, the API server, the archive, and the
 * targets. A target without `target.addresses` is known by name alone, so its port is open to every address.
 */
export function proxyNetworkPolicy(inputs: ProxyInputs): AnyObject {
  const { namespace, owners } = inputs;
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: {
      name: NAMES.proxy,
      namespace,
      labels: labelsOf(NAMES.proxy, 'proxy', namespace),
      ownerReferences: owners,
    },
    spec: {
      podSelector: { matchLabels: podLabels(NAMES.proxy, 'proxy') },
      policyTypes: ['Ingress', 'Egress'],
      ingress: ingress(inputs),
      egress: egress(inputs),
    },
  };
}

function ingress(inputs: ProxyInputs): IngressRule[] {
  const { connections, allowedNamespaces, gatewayPorts, operatorNamespace, configuration } = inputs;
  const fromOutside = (configuration?.issuerPorts.length ?? 0) > 0;
  const all = connections.flatMap(({ metadata }) => allowedNamespaces[metadata.name] ?? []);
  const gateways = connections.flatMap(({ metadata }): IngressRule[] => {
    const port = gatewayPorts[metadata.name];
    const from = podsOfNamespaces(allowedNamespaces[metadata.name] ?? []);
    // Who comes with a token of an outside issuer is no pod: nothing is known of the address.
    if (port !== undefined && fromOutside) return [{ ports: tcp(port) }];
    return port === undefined || from.length === 0 ? [] : [{ from, ports: tcp(port) }];
  });
  const agents = podsOfNamespaces(all);
  return [
    ...(agents.length === 0 ? [] : [{ from: agents, ports: tcp(PORTS.tunnel) }]),
    ...gateways,
    {
      from: [
        ...podsOfNamespaces([operatorNamespace]),
        { namespaceSelector: { matchLabels: { [LABELS.scrape]: 'true' } } },
      ],
      ports: tcp(PORTS.metrics),
    },
  ];
}

function egress(inputs: ProxyInputs): EgressRule[] {
  const { operatorNamespace, connections, apiServer, configuration } = inputs;
  const byName = (host: string, port: number, namespace: string): EgressRule[] => {
    const inside = clusterNamespaceOf(host, namespace);
    return [
      { ports: tcp(port) },
      // Behind a Service the pods' own port counts, which may be another.
      ...(inside === undefined ? [] : [{ to: podsOfNamespaces([inside]) }]),
    ];
  };
  const targets = connections.flatMap((connection): EgressRule[] => {
    const { metadata, spec } = connection;
    const { host, port, addresses } = spec.target;
    if (addresses !== undefined) return [{ to: ranges([...addresses].sort()), ports: tcp(port) }];
    // Proxies need the API server of their own cluster anyway, and its addresses are known.
    return isOwnApiServer(connection) ? [] : byName(host, port, metadata.namespace);
  });
  // Where tokens for HTTP targets come from.
  const tokens = connections.flatMap(({ metadata, spec }): EgressRule[] => {
    const url = URL.parse(spec.credential?.oauthClientCredentials?.tokenURL ?? '');
    if (url === null) return [];
    const port = url.port === '' ? (url.protocol === 'http:' ? 80 : 443) : Number(url.port);
    return byName(url.hostname.replace(/^\[|\]$/g, ''), port, metadata.namespace);
  });
  const issuers =
    configuration === undefined || configuration.issuerPorts.length === 0
      ? []
      : [{ ports: tcp(...configuration.issuerPorts) }];
  const archive = podsOf(operatorNamespace, podLabels(NAMES.archive, 'archive'));
  return unique([
    { ports: DNS_PORTS },
    ...(apiServer.length === 0
      ? [{ ports: tcp(443, 6443) }]
      : apiServer.map(({ address, port }): EgressRule => ({ to: ranges([hostRange(address)]), ports: tcp(port) }))),
    { to: [archive], ports: tcp(PORTS.archive) },
    ...targets,
    ...tokens,
    // Where outside issuers publish their keys: known by name alone.
    ...issuers,
  ]);
}

function unique(rules: readonly EgressRule[]): EgressRule[] {
  return [...new Map(rules.map((rule) => [JSON.stringify(rule), rule])).values()];
}
