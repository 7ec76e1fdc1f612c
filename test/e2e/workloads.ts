/** Further connections to the shop's database, and workloads of other kinds that use them. As manifests. */
import { stringify } from 'yaml';
import { AGENTS, DATABASE_HOST, SHOP, type ShopImage } from './shop.ts';

/** A namespace whose pods may use the gateway alone. */
export const DESK = 'desk';

const API_VERSION = 'sallyport.dev/v1alpha1';
const RESTRICTED = {
  allowPrivilegeEscalation: false,
  runAsNonRoot: true,
  runAsUser: 65534,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
};

const text = (objects: readonly object[]): string => objects.map((object) => stringify(object)).join('---\n');

interface Further {
  readonly name: string;
  readonly routing: 'Sidecar' | 'Gateway';
  readonly from: string;
}

const FURTHER: readonly Further[] = [
  { name: 'reports', routing: 'Sidecar', from: AGENTS },
  { name: 'ledger', routing: 'Gateway', from: DESK },
];

/** Two more names for the database, each with its connection: one through connectors, one through a gateway. */
export function furtherManifests(): string {
  return text([
    {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: {
        name: DESK,
        labels: { 'pod-security.kubernetes.io/enforce': 'restricted', 'sallyport.dev/inject': 'true' },
      },
    },
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'agent', namespace: DESK } },
    ...FURTHER.flatMap(({ name, routing, from }) => [
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: `${name}-db`, namespace: SHOP },
        spec: { selector: { app: 'orders-db' }, ports: [{ port: 5432 }] },
      },
      {
        apiVersion: API_VERSION,
        kind: 'AccessConnection',
        metadata: { name, namespace: SHOP },
        spec: {
          protocol: 'Postgres',
          routing,
          target: { host: `${name}-db.shop.svc`, port: 5432, database: 'orders', tls: { mode: 'Disable' } },
          allowedNamespaces: { from: 'Selector', selector: { matchLabels: { 'kubernetes.io/metadata.name': from } } },
          credential: { secretRef: { name: 'orders-db' } },
        },
      },
    ]),
    {
      apiVersion: API_VERSION,
      kind: 'AccessPolicy',
      metadata: { name: 'readers', namespace: SHOP },
      spec: {
        connections: { names: FURTHER.map(({ name }) => name) },
        subjects: FURTHER.map(({ from }) => ({ serviceAccount: { name: 'agent', namespace: from } })),
        rules: [{ name: 'read', effect: 'Allow', sql: { statements: ['Read'], relations: ['public.*'] } }],
      },
    },
  ]);
}

const psql = (host: string, sql: string): string =>
  `psql "host=${host} dbname=orders user=anybody connect_timeout=10" -At -c "${sql}"`;

/** A Job whose init container needs a connection already, and whose agent uses two and ends. */
export function jobManifest(image: ShopImage): string {
  const container = (name: string, ...lines: string[]) => ({
    name,
    image: image.name,
    command: ['sh', '-euc', lines.join('\n')],
    securityContext: RESTRICTED,
  });
  return stringify({
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name: 'nightly', namespace: AGENTS },
    spec: {
      backoffLimit: 0,
      template: {
        metadata: { labels: { 'sallyport.dev/inject': 'true' } },
        spec: {
          serviceAccountName: 'agent',
          restartPolicy: 'Never',
          initContainers: [container('prepare', psql(DATABASE_HOST, 'SELECT count(*) FROM orders'))],
          containers: [
            container(
              'agent',
              psql(DATABASE_HOST, 'SELECT email FROM customers WHERE id = 1'),
              psql('reports-db.shop.svc', 'SELECT max(total) FROM orders'),
            ),
          ],
        },
      },
    },
  });
}

/** A pod that sleeps, in a namespace whose pods get connectors unless they say no. */
export function sleepingPod(image: ShopImage, name: string, namespace: string, inject?: 'true' | 'false'): string {
  return stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, ...(inject === undefined ? {} : { labels: { 'sallyport.dev/inject': inject } }) },
    spec: {
      serviceAccountName: 'agent',
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'agent', image: image.name, command: ['sleep', 'infinity'], securityContext: RESTRICTED }],
    },
  });
}

/** What a program in a pod behind a gateway does: its token is the password, and the certificate is verified for the whole name. */
export const throughGateway = (sql: string): string =>
  `PGPASSWORD=$(cat "$SALLYPORT_TOKEN_FILE") psql "host=ledger-sallyport.shop.svc dbname=orders user=anybody sslmode=verify-full sslrootcert=$SALLYPORT_CA_FILE" -At -c "${sql}"`;
