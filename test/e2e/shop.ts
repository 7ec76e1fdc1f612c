/** A shop: a database with customers and orders in the platform team's namespace, and agents in another. As manifests. */
import { stringify } from 'yaml';
import { AGENT_IMAGE } from '../cluster/images.ts';

export const SHOP = 'shop';
export const AGENTS = 'agents';
export const DATABASE_HOST = 'orders-db.shop.svc';
const PASSWORD = 'known-to-the-proxy-alone';
/** Debian's numbers for the user postgres in an image with nothing else: initdb wants a user with a name. */
const POSTGRES_USER = { runAsUser: 100, runAsGroup: 102, fsGroup: 102 };

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
export function shopManifests(): string {
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
            securityContext: { ...POSTGRES_USER },
            terminationGracePeriodSeconds: 0,
            containers: [
              {
                name: 'postgres',
                image: AGENT_IMAGE,
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

/** The three files of the quick start, for this shop, with an approval. */
export function policyManifests(): string {
  const connections = { names: ['orders'] };
  return text([
    {
      apiVersion: API_VERSION,
      kind: 'AccessConnection',
      metadata: named('orders', SHOP),
      spec: {
        protocol: 'Postgres',
        target: { host: DATABASE_HOST, port: 5432, database: 'orders', tls: { mode: 'Disable' } },
        allowedNamespaces: { from: 'Selector', selector: { matchLabels: { 'kubernetes.io/metadata.name': AGENTS } } },
        credential: { secretRef: { name: 'orders-db' } },
      },
    },
    {
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
    },
    {
      apiVersion: API_VERSION,
      kind: 'MaskingRule',
      metadata: named('personal-data', SHOP),
      spec: { connections, columns: [{ match: ['*.*.email'] }] },
    },
  ]);
}

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

/** A Deployment that knows nothing of Sallyport but one label. */
export function agentManifests(): string {
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
          metadata: { labels: { ...labels, 'sallyport.dev/inject': 'true' } },
          spec: {
            serviceAccountName: 'agent',
            terminationGracePeriodSeconds: 0,
            containers: [
              {
                name: 'agent',
                image: AGENT_IMAGE,
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
