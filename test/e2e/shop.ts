/** A shop: a database with customers and orders in the platform team's namespace, and agents in another. As manifests. */
import { stringify } from 'yaml';

export const SHOP = 'shop';
export const AGENTS = 'agents';
export const DATABASE_HOST = 'orders-db.shop.svc';
const PASSWORD = 'known-to-the-proxy-alone';

/** An image with PostgreSQL's server and psql in its PATH. */
export interface ShopImage {
  readonly name: string;
  /** Numbers of a user that has a name there: initdb wants one. */
  readonly user: number;
  readonly group: number;
}

const RESTRICTED = {
  allowPrivilegeEscalation: false,
  runAsNonRoot: true,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
};

const SCHEMA = `
CREATE DATABASE orders;
\\c orders
CREATE TABLE customers (id int PRIMARY KEY, name text, email text);
INSERT INTO customers VALUES (1, 'Ada', 'ada@example.com'), (2, 'Grace', 'grace@example.com');
CREATE TABLE orders (id int PRIMARY KEY, total int);
INSERT INTO orders SELECT n, n * 10 FROM generate_series(1, 20) n;
`;

const START = `
set -eu
mkdir -m 700 /data/db
initdb -D /data/db -U postgres --pwfile=/start/password --auth=scram-sha-256 >/dev/null
printf "listen_addresses = '*'\\nunix_socket_directories = '/tmp'\\nfsync = off\\n" >>/data/db/postgresql.conf
echo 'host all all all scram-sha-256' >>/data/db/pg_hba.conf
# Nobody may see it before it is filled.
pg_ctl -D /data/db -w -o "-c listen_addresses=''" start >/dev/null
PGPASSWORD=$(cat /start/password) psql -q -h /tmp -U postgres -f /start/schema.sql
pg_ctl -D /data/db -w stop >/dev/null
exec postgres -D /data/db
`;

const named = (name: string, namespace: string) => ({ name, namespace });
const text = (objects: readonly object[]): string => objects.map((object) => stringify(object)).join('---\n');

/** Namespaces, database, and the Secret that only proxies mount. Pods of both namespaces are restricted. */
export function shopManifests(image: ShopImage): string {
  const labels = { app: 'orders-db' };
  return text([
    ...[SHOP, AGENTS].map((name) => ({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
    })),
    {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: named('orders-db', SHOP),
      stringData: { username: 'postgres', password: PASSWORD },
    },
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: named('orders-db-start', SHOP),
      data: { 'start.sh': START, 'schema.sql': SCHEMA, password: PASSWORD },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: named('orders-db', SHOP),
      spec: {
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            securityContext: { runAsUser: image.user, runAsGroup: image.group, fsGroup: image.group },
            terminationGracePeriodSeconds: 0,
            containers: [
              {
                name: 'postgres',
                image: image.name,
                command: ['sh', '/start/start.sh'],
                securityContext: RESTRICTED,
                readinessProbe: { tcpSocket: { port: 5432 }, periodSeconds: 1 },
                volumeMounts: [
                  { name: 'data', mountPath: '/data' },
                  { name: 'start', mountPath: '/start' },
                ],
              },
            ],
            volumes: [
              { name: 'data', emptyDir: {} },
              { name: 'start', configMap: { name: 'orders-db-start' } },
            ],
          },
        },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: named('orders-db', SHOP),
      spec: { selector: labels, ports: [{ port: 5432 }] },
    },
  ]);
}

const API_VERSION = 'sallyport.dev/v1alpha1';

const connections = { names: ['orders'] };

/** The three files of the quick start, for this shop, with an approval: by name, one object each. */
export const POLICY_FILES: Readonly<Record<'connection.yaml' | 'policy.yaml' | 'masking.yaml', string>> = {
  'connection.yaml': stringify({
    apiVersion: API_VERSION,
    kind: 'AccessConnection',
    metadata: named('orders', SHOP),
    spec: {
      protocol: 'Postgres',
      target: { host: DATABASE_HOST, port: 5432, database: 'orders', tls: { mode: 'Disable' } },
      allowedNamespaces: { from: 'Selector', selector: { matchLabels: { 'kubernetes.io/metadata.name': AGENTS } } },
      credential: { secretRef: { name: 'orders-db' } },
    },
  }),
  'policy.yaml': stringify({
    apiVersion: API_VERSION,
    kind: 'AccessPolicy',
    metadata: named('agent', SHOP),
    spec: {
      connections,
      subjects: [{ serviceAccount: { name: 'agent', namespace: AGENTS } }],
      rules: [
        { name: 'read', effect: 'Allow', sql: { statements: ['Read'], relations: ['public.*'] } },
        {
          name: 'delete-orders',
          effect: 'Allow',
          sql: { statements: ['Delete'], relations: ['public.orders'] },
          approval: { approvers: { users: ['ada'] }, timeout: '10m', hold: 'Wait' },
        },
      ],
    },
  }),
  'masking.yaml': stringify({
    apiVersion: API_VERSION,
    kind: 'MaskingRule',
    metadata: named('personal-data', SHOP),
    spec: { connections, columns: [{ match: ['*.*.email'] }] },
  }),
};

/** Ada may approve and Eve has the same rights; policy names Ada alone. */
export function approverManifests(): string {
  const group = 'rbac.authorization.k8s.io';
  const role = { apiGroup: group, kind: 'Role', name: 'approver' };
  return text([
    {
      apiVersion: `${group}/v1`,
      kind: 'Role',
      metadata: named('approver', SHOP),
      rules: [
        {
          apiGroups: ['sallyport.dev'],
          resources: ['accessconnections'],
          resourceNames: ['orders'],
          verbs: ['approve'],
        },
        { apiGroups: ['sallyport.dev'], resources: ['approvalrequests'], verbs: ['get', 'list', 'watch', 'patch'] },
      ],
    },
    {
      apiVersion: `${group}/v1`,
      kind: 'RoleBinding',
      metadata: named('approver', SHOP),
      roleRef: role,
      subjects: ['ada', 'eve'].map((name) => ({ apiGroup: group, kind: 'User', name })),
    },
  ]);
}

/** A Deployment that knows nothing of Sallyport but, when it is labelled, one label. */
export function agentManifests(image: ShopImage, labelled = true): string {
  const labels = { app: 'agent' };
  return text([
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: named('agent', AGENTS) },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: named('agent', AGENTS),
      spec: {
        selector: { matchLabels: labels },
        template: {
          metadata: { labels: labelled ? { ...labels, 'sallyport.dev/inject': 'true' } : labels },
          spec: {
            serviceAccountName: 'agent',
            terminationGracePeriodSeconds: 0,
            containers: [
              {
                name: 'agent',
                image: image.name,
                command: ['sleep', 'infinity'],
                securityContext: { ...RESTRICTED, runAsUser: 65534, readOnlyRootFilesystem: true },
              },
            ],
          },
        },
      },
    },
  ]);
}
