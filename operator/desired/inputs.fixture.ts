import type { AccessConnection, MaskingRule } from '../../api/resources.ts';
import { allowedNamespaces, gatewayPorts } from '../bundle/document.ts';
import type { AgentsInputs } from './agents-inputs.ts';
import type { ArchiveInputs } from './archive-inputs.ts';
import type { Impersonation } from './impersonator-role.ts';
import { ownersOf } from './owners.ts';
import type { ProxyInputs } from './proxy-inputs.ts';

export function connection(name: string, spec: Partial<AccessConnection['spec']> = {}): AccessConnection {
  return {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'AccessConnection',
    metadata: { namespace: 'shop', name, uid: `uid-of-${name}`, generation: 1 },
    spec: {
      protocol: 'Postgres',
      target: { host: `${name}.db.example`, port: 5432, database: name },
      credential: { secretRef: { name: `${name}-login` } },
      ...spec,
    },
  };
}

const CONNECTIONS: readonly AccessConnection[] = [
  connection('orders', {
    target: {
      host: 'orders.db.example',
      port: 5432,
      database: 'orders',
      addresses: ['192.0.2.0/28', '2001:db8::/64'],
      tls: { caRef: { name: 'db-ca' } },
    },
    allowedNamespaces: { from: 'Selector', selector: { matchLabels: { team: 'agents' } } },
  }),
  connection('edge', {
    protocol: 'SSH',
    target: { host: 'edge.example', port: 22, addresses: ['198.51.100.7/32'], hostKeys: ['ssh-ed25519 AAAA'] },
    credential: { sshCertificate: { caSecretRef: { name: 'ssh-ca' }, principals: ['deploy'] } },
  }),
  connection('stock', {
    target: { host: 'stock.warehouse', port: 5433, database: 'stock' },
    routing: 'Gateway',
    credential: { clientCertificate: { caSecretRef: { name: 'pg-ca' }, role: 'app' } },
  }),
  connection('cluster', {
    protocol: 'Kubernetes',
    target: { host: 'kubernetes.default.svc', port: 443, tls: { caRef: { name: 'kube-root-ca.crt' } } },
    credential: { impersonate: {} },
  }),
  connection('deployer', {
    protocol: 'Kubernetes',
    target: { host: 'kubernetes.default.svc', port: 443, tls: { caRef: { name: 'kube-root-ca.crt' } } },
    credential: { serviceAccountToken: { name: 'deployer' } },
  }),
  connection('payments', {
    protocol: 'HTTP',
    target: { host: 'payments.example.com', port: 443, addresses: ['198.51.100.32/28'] },
    credential: { httpHeader: { name: 'X-Api-Key', secretRef: { name: 'payments' } } },
  }),
  connection('parcels', {
    protocol: 'HTTP',
    target: { host: 'parcels.example.com', port: 8080, addresses: ['198.51.100.48/28'], tls: { mode: 'Disable' } },
    credential: {
      oauthClientCredentials: {
        tokenURL: 'https://issuer.identity.svc:9443/token',
        secretRef: { name: 'parcels' },
        caRef: { name: 'issuer-ca' },
      },
    },
  }),
  connection('production', {
    protocol: 'Kubernetes',
    target: { host: 'api.production.example.com', port: 6443, addresses: ['198.51.100.64/32'] },
    credential: { impersonate: { secretRef: { name: 'production' } } },
  }),
];

export const IMPERSONATION: Impersonation = { accounts: ['agent', 'deployer'], proxies: ['platform', 'shop'] };

const MASKING: MaskingRule = {
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'MaskingRule',
  metadata: { namespace: 'shop', name: 'mail' },
  spec: {
    connections: { all: true },
    columns: [{ match: ['*.*.email'], transform: { tokenize: { keySecretRef: { name: 'token-keys', key: 'mail' } } } }],
  },
};

const NAMESPACES = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'bots', labels: { team: 'agents' } } },
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } },
];

/** A namespace with a connection by sidecar, one by gateway, and a key of its own. */
export const PROXY_INPUTS: ProxyInputs = {
  namespace: 'shop',
  owners: ownersOf(CONNECTIONS),
  connections: CONNECTIONS,
  maskingRules: [MASKING],
  allowedNamespaces: Object.fromEntries(
    CONNECTIONS.map((each) => [each.metadata.name, allowedNamespaces(each, NAMESPACES)]),
  ),
  gatewayPorts: gatewayPorts(CONNECTIONS),
  operatorNamespace: 'sallyport-system',
  image: 'registry.example/sallyport:1.2.3',
  imagePullPolicy: 'IfNotPresent',
  replicas: 2,
  trustedKeys: ['AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='],
  apiServer: [{ address: '203.0.113.5', port: 6443 }],
  extraArguments: [],
};

export const AGENTS_INPUTS: AgentsInputs = {
  namespace: 'bots',
  locked: false,
  wholeNamespace: false,
  proxies: [{ namespace: 'shop', ports: [8443, 21234] }],
  targetRanges: ['192.0.2.0/28', '2001:db8::/64', '10.0.0.9/32'],
  targetNamespaces: ['warehouse'],
  trust: '-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n',
  sshKnownHosts: '@cert-authority * ssh-ed25519 AAAA sallyport\n',
};

export const ARCHIVE_INPUTS: ArchiveInputs = {
  namespace: 'sallyport-system',
  image: 'registry.example/sallyport:1.2.3',
  imagePullPolicy: 'IfNotPresent',
  volumeSize: '20Gi',
  storageClass: undefined,
  retentionDays: 400,
};
