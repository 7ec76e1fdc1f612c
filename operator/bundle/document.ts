import type { BundleDocument } from '../../api/bundle-document.ts';
import type { AccessConnection, AccessPolicy, MaskingRule, Resources } from '../../api/resources.ts';
import { matchesLabels } from '../../policy/select-connection.ts';
import type { Namespace } from '../context.ts';

/** Everything that the document of one namespace is made of. */
export interface BundleSources {
  readonly namespace: string;
  readonly guardrailNamespace: string;
  /** Of `namespace`. */
  readonly connections: readonly AccessConnection[];
  /** Of `namespace` and of the guardrail namespace. */
  readonly policies: readonly AccessPolicy[];
  readonly maskingRules: readonly MaskingRule[];
  readonly namespaces: readonly Namespace[];
  readonly voteAuthorities: readonly string[];
}

/** The document without its place in the sequence: two of the same content are the same policy. */
export type BundleContent = Omit<BundleDocument, 'sequence'>;

export function bundleContent(sources: BundleSources): BundleContent {
  const { namespace, guardrailNamespace, connections, policies, maskingRules } = sources;
  const resources: Resources = {
    connections: connections.map(bare),
    policies: policies.map(bare),
    maskingRules: maskingRules.map(bare),
  };
  return {
    version: 1,
    namespace,
    guardrailNamespace,
    resources,
    allowedNamespaces: Object.fromEntries(
      connections.map((connection) => [connection.metadata.name, allowedNamespaces(connection, sources.namespaces)]),
    ),
    gatewayPorts: gatewayPorts(connections),
    voteAuthorities: [...sources.voteAuthorities],
  };
}

/** What a proxy has use for: no status, and of the metadata what names, selects and dates the object. */
function bare<T extends AccessConnection | AccessPolicy | MaskingRule>(object: T): T {
  const { name, namespace, uid, generation, labels, creationTimestamp } = object.metadata;
  return {
    apiVersion: object.apiVersion,
    kind: object.kind,
    metadata: {
      name,
      namespace,
      ...(uid === undefined ? {} : { uid }),
      ...(generation === undefined ? {} : { generation }),
      ...(labels === undefined ? {} : { labels }),
      ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
    },
    spec: object.spec,
  } as T;
}

/** Names of the namespaces whose pods may use the connection, sorted; `['*']` for all. */
export function allowedNamespaces(connection: AccessConnection, namespaces: readonly Namespace[]): readonly string[] {
  const { from = 'Same', selector } = connection.spec.allowedNamespaces ?? {};
  switch (from) {
    case 'Same':
      return [connection.metadata.namespace];
    case 'All':
      return ['*'];
    case 'Selector':
      return namespaces
        .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
        .filter(({ metadata }) => selector !== undefined && matchesLabels(selector, metadata.labels ?? {}))
        .map(({ metadata }) => metadata.name)
        .sort();
    default:
      return from satisfies never;
  }
}

/** First port of those that proxies listen on for connections with `routing: Gateway`, and how many there are. */
const GATEWAY_FIRST = 20_000;
const GATEWAY_PORTS = 10_000;

/**
 * By connection with `routing: Gateway`: the port of its own that the proxy listens on. It follows from the name, so that it stays the
 * same when others come and go; of two that fall on one port the later in the alphabet takes the next that is free.
 */
export function gatewayPorts(connections: readonly AccessConnection[]): Readonly<Record<string, number>> {
  const taken = new Set<number>();
  const ports: Record<string, number> = {};
  const names = connections
    .filter(({ spec }) => spec.routing === 'Gateway')
    .map(({ metadata }) => metadata.name)
    .sort();
  for (const name of names) {
    let at = fnv1a(name) % GATEWAY_PORTS;
    while (taken.has(at)) at = (at + 1) % GATEWAY_PORTS;
    taken.add(at);
    ports[name] = GATEWAY_FIRST + at;
  }
  return ports;
}

/** FNV-1a, 32 bits. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text, 'utf8')) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}
