import type { AccessConnection, MaskingRule } from '../../api/resources.ts';
import type { OwnerReference } from '../../kube/types.ts';
import type { ProxyConfiguration } from './proxy-configuration.ts';

/** What the objects of one namespace with connections are made of. Builders are pure: the same inputs give the same object. */
export interface ProxyInputs {
  readonly namespace: string;
  /** Every AccessConnection of the namespace: with the last of them the cluster removes everything here. */
  readonly owners: readonly OwnerReference[];
  /** Of the namespace, sorted by name. */
  readonly connections: readonly AccessConnection[];
  /** Of the namespace and of the guardrail namespace: they may name keys for tokens. */
  readonly maskingRules: readonly MaskingRule[];
  /** By connection: namespaces of its agents, `['*']` for all. */
  readonly allowedNamespaces: Readonly<Record<string, readonly string[]>>;
  /** By connection with `routing: Gateway`. */
  readonly gatewayPorts: Readonly<Record<string, number>>;
  readonly operatorNamespace: string;
  readonly image: string;
  readonly imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never';
  readonly replicas: number;
  /** Base64 of the Ed25519 keys whose bundles the proxy takes. */
  readonly trustedKeys: readonly string[];
  /** Addresses and ports of the API server, as NetworkPolicies see them; empty: not known. */
  readonly apiServer: readonly ApiServerAddress[];
  /** For all proxies; undefined: nothing is configured. */
  readonly configuration?: ProxyConfiguration | undefined;
  /** Extra arguments, after those of the operator. */
  readonly extraArguments: readonly string[];
}

export interface ApiServerAddress {
  readonly address: string;
  readonly port: number;
}
