/** Names that operator, proxy, connector, archive and command line agree on in a cluster. A name that is written twice is a bug. */

export const GROUP = 'sallyport.dev';
export const API_VERSION = `${GROUP}/v1alpha1`;

/** The only audience of a token that an agent presents to Sallyport. */
export const AUDIENCE = 'sallyport';

export const LABELS = {
  /** `"true"` on a pod or a namespace: gets a connector. `"false"` on a pod of such a namespace: does not. */
  inject: `${GROUP}/inject`,
  /** On a pod: its sessions end, and it gets no new ones. */
  quarantine: `${GROUP}/quarantine`,
  /** `locked` on a namespace: injected pods reach DNS, the proxies and nothing else that is not declared. */
  egress: `${GROUP}/egress`,
  /** `"true"` on a namespace: its pods may read the metrics of proxies and archive. */
  scrape: `${GROUP}/scrape`,
  /** On everything that the operator applies: the namespace of the connections that it serves. */
  servedNamespace: `${GROUP}/served-namespace`,
  managedBy: 'app.kubernetes.io/managed-by',
  partOf: 'app.kubernetes.io/part-of',
  component: 'app.kubernetes.io/component',
  name: 'app.kubernetes.io/name',
} as const;

export const ANNOTATIONS = {
  /** On a pod: connections that it cannot do without, `orders,platform/warehouse`; one that is not known is refused. */
  connections: `${GROUP}/connections`,
  /** On an injected pod: version of what injected it, and hash of what its connector was told. */
  injectedVersion: `${GROUP}/injected-version`,
  connectorHash: `${GROUP}/connector-hash`,
  /** On the bundle's ConfigMaps and on a proxy's Lease: hash of the bundle. */
  bundleHash: `${GROUP}/bundle-hash`,
  /** On a proxy's Lease: JSON of `ProxyReport`. */
  proxyReport: `${GROUP}/proxy-report`,
  /** On the pods of proxies and of the archive: hash of the configuration that they started with. */
  configurationHash: `${GROUP}/configuration-hash`,
} as const;

export const MANAGED_BY = 'sallyport';

/** Objects of one name each. Those of the proxy lie in the namespace of the connections, the others where the operator is installed. */
export const NAMES = {
  /** Deployment, Service, ServiceAccount, Role, RoleBinding, PodDisruptionBudget and NetworkPolicy. */
  proxy: 'sallyport-proxy',
  /** The headless Service: a connector keeps to one replica. */
  proxyReplicas: 'sallyport-proxy-replicas',
  /** ConfigMap; `-1`, `-2` … follow when it is sharded. */
  bundle: 'sallyport-bundle',
  /** ConfigMap with what the platform team configures for all proxies; only where it does. */
  proxyConfiguration: 'sallyport-proxy-configuration',
  /**
   * Secret with tls.crt, tls.key, ca.crt: the proxy's certificate for its Services, for target hosts, and as a client of the archive.
   * Where there are SSH connections also `SSH_HOST.key`, and `SSH_HOST.certificate(NAME)` for each of them.
   */
  proxyTls: 'sallyport-proxy-tls',
  /** Secret with `key`: what tokenize uses where a rule names none. */
  tokenKey: 'sallyport-token-key',
  /** ConfigMap with `ca.crt`, and `ssh_known_hosts` for SSH clients, in namespaces of agents. */
  ca: 'sallyport-ca',
  /** NetworkPolicy in namespaces of agents. */
  agents: 'sallyport-agents',
  operator: 'sallyport-operator',
  /** Service of the operator's admission webhooks. */
  webhook: 'sallyport-webhook',
  archive: 'sallyport-archive',
  /** ClusterRole that lets a proxy read pods; bound in each namespace of agents by a RoleBinding of this name. */
  podReader: 'sallyport-pod-reader',
  /** ClusterRole that lets a proxy create TokenReviews and SubjectAccessReviews; bound by ClusterRoleBindings `NAME:NAMESPACE`. */
  tokenReviewer: 'sallyport-token-reviewer',
  /**
   * What lets a proxy act as agents on the API of its own cluster. ClusterRole of the chart with what it may say of a session
   * (`KUBERNETES_EXTRA`), bound by ClusterRoleBindings `NAME:NAMESPACE`; and in each namespace of agents a Role that lists their service
   * accounts one by one, bound by a RoleBinding of this name.
   */
  impersonator: 'sallyport-impersonator',
  /** Role and RoleBinding beside connections with `credential.serviceAccountToken`: tokens of the accounts that they name. */
  tokenRequester: 'sallyport-token-requester',
  /** Secret with the archive's certificate, in the operator's namespace: tls.crt, tls.key, ca.crt. */
  archiveTls: 'sallyport-archive-tls',
  /** Secret with the operator's keys: `ca.crt`, `ca.key`, `signing.key` (Ed25519, bundles and votes), and what operator/pki/signing-rotation.ts keeps. */
  keys: 'sallyport-keys',
  /** The injected container, and its volumes. */
  connector: 'sallyport-connector',
} as const;

export const PORTS = {
  /** Proxy: CONNECT and control, over TLS. */
  tunnel: 8443,
  /** Operator, proxy and archive: /metrics, /healthz, /readyz, plain HTTP. */
  metrics: 9090,
  archive: 8444,
  /** Of the archive too, for people: it reads, the other one writes. */
  archiveReading: 8445,
  webhook: 9443,
  /** Connector: /readyz for its start-up probe, on the pod's address. */
  connectorHealth: 15021,
} as const;

/** Installed into this namespace unless told otherwise. It is the guardrail namespace too. */
export const DEFAULT_OPERATOR_NAMESPACE = 'sallyport-system';

/** Names of the gateway Service of a connection with `routing: Gateway`: agents dial `NAME-sallyport.NAMESPACE:port`. */
export const gatewayService = (connection: string): string => `${connection}-sallyport`;

/**
 * What impersonation says beside the user. The rights that the operator gives a proxy are for these and nothing more: `Impersonate-User:
 * system:serviceaccount:NAMESPACE:NAME` without `Impersonate-Group` (the API server then adds the groups of a service account by itself,
 * and asks for no right to them), without `Impersonate-Uid`, and `Impersonate-Extra-` with these keys.
 */
export const KUBERNETES_EXTRA = {
  /** Id of the session, as in the record. */
  session: `${GROUP}/session`,
} as const;

/** Names within Secrets and ConfigMaps of what proxies prove themselves with to SSH clients. */
export const SSH_HOST = {
  /** Private key, in OpenSSH's format. */
  key: 'ssh_host_ed25519_key',
  /** A line as in a file that ends with -cert.pub, for the hosts of one connection. */
  certificate: (connection: string): string => `ssh_host_${connection}-cert.pub`,
  /** The line that lets clients trust these certificates. */
  knownHosts: 'ssh_known_hosts',
} as const;
