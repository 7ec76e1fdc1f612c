/** APIs that agents call: an HTTP service of the shop, and the API server of the cluster itself. As manifests. */
import { stringify } from 'yaml';
import { AGENT_IMAGE, SALLYPORT_IMAGE } from '../cluster/images.ts';
import { AGENTS, SHOP } from './shop.ts';

export const STOCK_HOST = 'stock-api.shop.svc';
/** What the proxy signs in with at the HTTP service. */
export const STOCK_TOKEN = 'known-to-the-proxy-alone';
/** In a Secret that the agent may read, but not see. */
export const APP_PASSWORD = 'hunter2-of-the-app';
export const WEB = 'web';

const SECURITY = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  runAsNonRoot: true,
  runAsUser: 65532,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
};

const named = (name: string, namespace: string) => ({ name, namespace });
const RBAC = 'rbac.authorization.k8s.io';
const AGENT = { kind: 'ServiceAccount', name: 'agent', namespace: AGENTS };
const text = (objects: readonly object[]): string => objects.map((object) => stringify(object)).join('---\n');

function deployment(
  metadata: { readonly name: string; readonly namespace: string },
  container: object,
  { labels = {}, pod = {} }: { readonly labels?: Readonly<Record<string, string>>; readonly pod?: object } = {},
): object {
  const own = { app: metadata.name };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata,
    spec: {
      selector: { matchLabels: own },
      template: {
        metadata: { labels: { ...own, ...labels } },
        spec: {
          terminationGracePeriodSeconds: 0,
          containers: [{ name: metadata.name, securityContext: SECURITY, ...container }],
          ...pod,
        },
      },
    },
  };
}

/** Answers with what is personal, and with what it was sent to sign in with. */
const STOCK = `
require('node:http').createServer((request, response) => {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({
    items: [{ name: 'bolt', owner: { email: 'ada@example.com' } }],
    asked: request.method + ' ' + request.url,
    authorization: request.headers.authorization,
  }));
}).listen(8080);
`;

/** Everything that is there without Sallyport: the service, a workload of the agents, and what the agent's account may do. */
export function worldManifests(): string {
  return text([
    ...[SHOP, AGENTS].map((name) => ({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
    })),
    deployment(named('stock-api', SHOP), {
      image: SALLYPORT_IMAGE,
      command: ['/usr/bin/node', '-e', STOCK],
      readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
    }),
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: named('stock-api', SHOP),
      spec: {
        selector: { app: 'stock-api' },
        ports: [
          { name: 'http', port: 80, targetPort: 8080 },
          { name: 'https', port: 443, targetPort: 8080 },
          { name: 'other', port: 8080, targetPort: 8080 },
        ],
      },
    },
    { apiVersion: 'v1', kind: 'Secret', metadata: named('stock-api', SHOP), stringData: { token: STOCK_TOKEN } },
    { apiVersion: 'v1', kind: 'Secret', metadata: named('app', AGENTS), stringData: { password: APP_PASSWORD } },
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: named('agent', AGENTS) },
    deployment(named(WEB, AGENTS), {
      image: SALLYPORT_IMAGE,
      command: ['/usr/bin/node', '-e', 'setInterval(() => {}, 60000)'],
    }),
    // More than it should ever use: what is refused is refused by Sallyport.
    {
      apiVersion: `${RBAC}/v1`,
      kind: 'ClusterRoleBinding',
      metadata: { name: 'agent' },
      roleRef: { apiGroup: RBAC, kind: 'ClusterRole', name: 'cluster-admin' },
      subjects: [AGENT],
    },
  ]);
}

const allowedNamespaces = {
  from: 'Selector',
  selector: { matchLabels: { 'kubernetes.io/metadata.name': AGENTS } },
};
const API_VERSION = 'sallyport.dev/v1alpha1';
const subjects = [{ serviceAccount: { name: 'agent', namespace: AGENTS } }];

const stock = (name: string, port: number, more: object = {}): object => ({
  apiVersion: API_VERSION,
  kind: 'AccessConnection',
  metadata: named(name, SHOP),
  spec: {
    protocol: 'HTTP',
    target: { host: STOCK_HOST, port, tls: { mode: 'Disable' } },
    allowedNamespaces,
    credential: { secretRef: { name: 'stock-api' } },
    ...more,
  },
});

export const CONNECTIONS = ['cluster', 'stock', 'stock-tls', 'stock-base'] as const;
/** Where a client finds the API that has no connector for it. */
export const BASE_URL = `https://stock-base-sallyport.${SHOP}.svc:8080`;

/** Connections, policies and masking. A change of scale needs Ada. */
export function accessManifests(): string {
  return text([
    {
      apiVersion: API_VERSION,
      kind: 'AccessConnection',
      metadata: named('cluster', SHOP),
      spec: {
        protocol: 'Kubernetes',
        target: { host: 'kubernetes.default.svc', port: 443 },
        allowedNamespaces,
        credential: { impersonate: {} },
      },
    },
    stock('stock', 80),
    stock('stock-tls', 443),
    stock('stock-base', 8080, { routing: 'Gateway' }),
    {
      apiVersion: API_VERSION,
      kind: 'AccessPolicy',
      metadata: named('cluster', SHOP),
      spec: {
        connections: { names: ['cluster'] },
        subjects,
        rules: [
          {
            name: 'look',
            effect: 'Allow',
            kubernetes: {
              verbs: ['get', 'list', 'watch'],
              resources: ['pods', 'deployments', 'deployments/scale', 'namespaces'],
              namespaces: ['*'],
            },
          },
          {
            name: 'secrets',
            effect: 'Allow',
            kubernetes: { operations: ['ReadSecret'], namespaces: [AGENTS] },
          },
          {
            name: 'scale',
            effect: 'Allow',
            kubernetes: { operations: ['Scale'], namespaces: [AGENTS] },
            approval: { approvers: { users: ['ada'] } },
          },
          {
            name: 'versions',
            effect: 'Allow',
            kubernetes: { operations: ['Exec'], namespaces: [AGENTS], commands: ['/usr/bin/node --version'] },
          },
          {
            name: 'keep-namespaces',
            effect: 'Deny',
            kubernetes: { verbs: ['delete', 'deletecollection'], resources: ['namespaces'] },
          },
        ],
      },
    },
    {
      apiVersion: API_VERSION,
      kind: 'AccessPolicy',
      metadata: named('stock', SHOP),
      spec: {
        connections: { names: ['stock', 'stock-tls', 'stock-base'] },
        subjects,
        rules: [{ name: 'read', effect: 'Allow', http: { methods: ['GET'], paths: ['/items', '/items/**'] } }],
      },
    },
    {
      apiVersion: API_VERSION,
      kind: 'MaskingRule',
      metadata: named('stock', SHOP),
      spec: { connections: { names: ['stock', 'stock-tls', 'stock-base'] }, fields: [{ match: ['**.email'] }] },
    },
    {
      apiVersion: API_VERSION,
      kind: 'MaskingRule',
      metadata: named('cluster', SHOP),
      spec: { connections: { names: ['cluster'] }, kubernetes: [{ secrets: ['*'] }] },
    },
    {
      apiVersion: `${RBAC}/v1`,
      kind: 'Role',
      metadata: named('approver', SHOP),
      rules: [
        {
          apiGroups: ['sallyport.dev'],
          resources: ['accessconnections'],
          resourceNames: ['cluster'],
          verbs: ['approve'],
        },
        { apiGroups: ['sallyport.dev'], resources: ['approvalrequests'], verbs: ['get', 'list', 'watch', 'patch'] },
      ],
    },
    {
      apiVersion: `${RBAC}/v1`,
      kind: 'RoleBinding',
      metadata: named('approver', SHOP),
      roleRef: { apiGroup: RBAC, kind: 'Role', name: 'approver' },
      subjects: [{ apiGroup: RBAC, kind: 'User', name: 'ada' }],
    },
  ]);
}

/** A Deployment that knows nothing of Sallyport but one label; kubectl finds its place in /tools. */
export const agentDeployment = (): string =>
  text([
    deployment(
      named('agent', AGENTS),
      {
        image: AGENT_IMAGE,
        command: ['sleep', 'infinity'],
        securityContext: { ...SECURITY, runAsUser: 65534 },
        env: [{ name: 'HOME', value: '/tools' }],
        volumeMounts: [{ name: 'tools', mountPath: '/tools' }],
      },
      {
        labels: { 'sallyport.dev/inject': 'true' },
        pod: { serviceAccountName: 'agent', volumes: [{ name: 'tools', emptyDir: {} }] },
      },
    ),
  ]);
