/**
 * The table of docs/threat-model.md, tried line by line with users of every kind: what a fence refuses, what rights refuse, and what goes
 * through. The table is read from the document, so that it cannot say anything else than what happens.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { describeWith } from '../support/requires.ts';
import { repositoryRoot } from '../support/sallyport.ts';
import { installChart, OPERATOR_NAMESPACE } from './chart.ts';
import {
  type ClusterUser,
  CommandError,
  type ControlPlane,
  controlPlaneNeeds,
  startControlPlane,
} from './control-plane.ts';

const PLATFORM = 'shop';
const AGENTS = 'agents';

const serviceAccount = (namespace: string, name: string): ClusterUser => ({
  user: `system:serviceaccount:${namespace}:${name}`,
  groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
});

/** By the heads of the table's columns. */
const USERS: Readonly<Record<string, ClusterUser>> = {
  agent: serviceAccount(AGENTS, 'agent'),
  stranger: { user: 'stranger' },
  author: { user: 'author' },
  developer: { user: 'developer' },
  'namespace admin': { user: 'namespace-admin' },
  'cluster admin': { user: 'cluster-admin', groups: ['system:masters'] },
  proxy: serviceAccount(PLATFORM, 'sallyport-proxy'),
  operator: serviceAccount(OPERATOR_NAMESPACE, 'sallyport-operator'),
};

type Outcome = 'yes' | 'rights' | 'fence';

/** One attempt as a command of kubectl; nothing that it writes stays, as far as the API server can pretend. */
type Attempt = (pod: string) => { readonly parameters: readonly string[]; readonly input?: string };

const DRY = '--dry-run=server';
const manifest = (object: unknown): string => JSON.stringify(object);
const create = (object: unknown) => ({ parameters: ['create', DRY, '-f', '-'], input: manifest(object) });
/** A request that kubectl would make only of a running pod. */
const connect = (subresource: string) => (pod: string) => ({
  parameters: ['create', '--raw', `/api/v1/namespaces/${PLATFORM}/pods/${pod}/${subresource}`, '-f', '-'],
  input: '{}',
});

/** The archive's pod is not there: past admission the API server says so. */
const connectArchive = (subresource: string) => () => ({
  parameters: [
    'create',
    '--raw',
    `/api/v1/namespaces/${OPERATOR_NAMESPACE}/pods/sallyport-archive-0/${subresource}`,
    '-f',
    '-',
  ],
  input: '{}',
});

const podSpec = (account: string) => ({
  serviceAccountName: account,
  containers: [{ name: 'mine', image: 'mine' }],
});
const template = (account: string) => ({ metadata: { labels: { app: 'mine' } }, spec: podSpec(account) });
const named = (name: string, namespace = PLATFORM) => ({ name, namespace });

const connection = (credential: object, tls?: object, more: object = {}) => ({
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'AccessConnection',
  metadata: named('mine'),
  spec: {
    protocol: 'Postgres',
    target: { host: 'mine.example.com', port: 5432, database: 'mine', ...(tls === undefined ? {} : { tls }) },
    credential,
    ...more,
  },
});

/** By the first column of the table. */
const ATTEMPTS: Readonly<Record<string, Attempt>> = {
  'run a program in a proxy (`exec`)': connect('exec?command=true&stdout=true'),
  'attach to a proxy': connect('attach?stdout=true'),
  'forward a port of a proxy': connect('portforward'),
  'reach a port of a proxy through the API server': connect('proxy/'),
  'run a program in the archive': connectArchive('exec?command=true&stdout=true'),
  'forward a port of the archive, to read the record': connectArchive('portforward'),
  'add an ephemeral container to a proxy': (pod) => ({
    parameters: [
      'replace',
      '--raw',
      `/api/v1/namespaces/${PLATFORM}/pods/${pod}/ephemeralcontainers?dryRun=All`,
      '-f',
      '-',
    ],
    input: manifest({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: named(pod),
      spec: {
        ...podSpec('sallyport-proxy'),
        ephemeralContainers: [
          { name: 'spy', image: 'spy', terminationMessagePolicy: 'File', imagePullPolicy: 'Always' },
        ],
      },
    }),
  }),
  "change the image of a proxy's pod": (pod) => ({
    parameters: ['-n', PLATFORM, 'set', 'image', DRY, `pod/${pod}`, 'proxy=spy'],
  }),
  "run a pod under the proxies' service account": () =>
    create({ apiVersion: 'v1', kind: 'Pod', metadata: named('mine'), spec: podSpec('sallyport-proxy') }),
  "run a Deployment under the proxies' service account": () =>
    create({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: named('mine'),
      spec: { selector: { matchLabels: { app: 'mine' } }, template: template('sallyport-proxy') },
    }),
  "run a CronJob under the proxies' service account": () =>
    create({
      apiVersion: 'batch/v1',
      kind: 'CronJob',
      metadata: named('mine'),
      spec: {
        schedule: '* * * * *',
        jobTemplate: {
          spec: { template: { spec: { ...podSpec('sallyport-proxy'), restartPolicy: 'Never' } } },
        },
      },
    }),
  "mount the proxies' certificate in a pod of their own": () =>
    create({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: named('mine'),
      spec: {
        ...podSpec('default'),
        volumes: [{ name: 'tls', projected: { sources: [{ secret: { name: 'sallyport-proxy-tls' } }] } }],
      },
    }),
  "read the proxies' certificate by a variable of a Deployment": () => {
    const { spec, ...rest } = template('default');
    const valueFrom = { secretKeyRef: { name: 'sallyport-proxy-tls', key: 'tls.key' } };
    const containers = [{ name: 'mine', image: 'mine', env: [{ name: 'KEY', valueFrom }] }];
    return create({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: named('mine'),
      spec: { selector: { matchLabels: { app: 'mine' } }, template: { ...rest, spec: { ...spec, containers } } },
    });
  },
  'run a pod of their own beside it': () =>
    create({ apiVersion: 'v1', kind: 'Pod', metadata: named('mine'), spec: podSpec('default') }),
  "get a token of the proxies' service account": () => ({
    parameters: ['-n', PLATFORM, 'create', 'token', 'sallyport-proxy'],
  }),
  "have a token of the proxies' service account written into a Secret": () =>
    create({
      apiVersion: 'v1',
      kind: 'Secret',
      type: 'kubernetes.io/service-account-token',
      metadata: { ...named('mine'), annotations: { 'kubernetes.io/service-account.name': 'sallyport-proxy' } },
    }),
  "change the proxies' Deployment": () => ({
    parameters: ['-n', PLATFORM, 'set', 'env', DRY, 'deployment/sallyport-proxy', 'NODE_OPTIONS=--inspect'],
  }),
  'scale the proxies to nothing': () => ({
    parameters: ['-n', PLATFORM, 'scale', DRY, 'deployment/sallyport-proxy', '--replicas=0'],
  }),
  'delete the policy bundle': () => ({ parameters: ['-n', PLATFORM, 'delete', DRY, 'configmap/sallyport-bundle'] }),
  'prepare an object that the operator would take over': () =>
    create({ apiVersion: 'v1', kind: 'ConfigMap', metadata: named('sallyport-bundle-1'), data: {} }),
  'take our label off an object': () => ({
    parameters: ['-n', PLATFORM, 'label', DRY, 'configmap/sallyport-bundle', 'app.kubernetes.io/managed-by-'],
  }),
  "write a proxy's report": () =>
    create({
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { ...named('sallyport-proxy-0'), annotations: { 'sallyport.dev/proxy-report': '{}' } },
      spec: {},
    }),
  'write the status of a connection': () => ({
    parameters: [
      ...['-n', PLATFORM, 'patch', DRY, 'accessconnection/orders', '--subresource=status', '--type=merge'],
      ...['-p', '{"status":{"policies":9}}'],
    ],
  }),
  'write a policy': () =>
    create({
      apiVersion: 'sallyport.dev/v1alpha1',
      kind: 'AccessPolicy',
      metadata: named('mine'),
      spec: {
        connections: { all: true },
        subjects: [{ everyone: true }],
        rules: [{ name: 'mine', effect: 'Deny' }],
      },
    }),
  'write a connection that names a Secret': () => create(connection({ secretRef: { name: 'orders-db' } })),
  'send the credential of a connection to another host': () => ({
    parameters: [
      ...['-n', PLATFORM, 'patch', DRY, 'accessconnection/orders', '--type=merge'],
      ...['-p', '{"spec":{"target":{"host":"mine.example.com"}}}'],
    ],
  }),
  'write a connection that takes its authorities from a Secret': () =>
    create(connection({ secretRef: { name: 'public' } }, { caRef: { kind: 'Secret', name: 'orders-db' } })),
  'write a connection that names the Secret they may read': () => create(connection({ secretRef: { name: 'public' } })),
  'open a connection to other namespaces': () =>
    create(connection({ secretRef: { name: 'public' } }, undefined, { allowedNamespaces: { from: 'All' } })),
  'write a connection with a token of a service account': () =>
    create({
      apiVersion: 'sallyport.dev/v1alpha1',
      kind: 'AccessConnection',
      metadata: named('mine'),
      spec: {
        protocol: 'HTTP',
        target: { host: 'mine.example.com', port: 443 },
        credential: { serviceAccountToken: { name: 'default' } },
      },
    }),
  'have proxies act as every service account of a namespace': () =>
    create(granted('sallyport-impersonator', { resources: ['serviceaccounts'], verbs: ['impersonate'] })),
  'have proxies act as a service account of Kubernetes': () =>
    create(
      granted(
        'sallyport-impersonator',
        { resources: ['serviceaccounts'], resourceNames: ['default'], verbs: ['impersonate'] },
        'kube-system',
      ),
    ),
  'have proxies read Secrets by the Role for tokens': () =>
    create(
      granted('sallyport-token-requester', { resources: ['secrets'], resourceNames: ['orders-db'], verbs: ['get'] }),
    ),
  'have proxies act as one service account': () =>
    create(
      granted('sallyport-impersonator', {
        resources: ['serviceaccounts'],
        resourceNames: ['agent'],
        verbs: ['impersonate'],
      }),
    ),
  'act as it themselves, by that Role': () =>
    create({
      ...bound('mine', 'Role', 'sallyport-impersonator', { kind: 'ServiceAccount', name: 'agent', namespace: AGENTS }),
      metadata: named('mine', AGENTS),
    }),
  'label a connection': () => ({
    parameters: ['-n', PLATFORM, 'label', DRY, 'accessconnection/orders', 'tier=gold'],
  }),
  'write a masking rule that names a Secret': () =>
    create({
      apiVersion: 'sallyport.dev/v1alpha1',
      kind: 'MaskingRule',
      metadata: named('mine'),
      spec: {
        connections: { all: true },
        columns: [{ match: ['*.*.a'], transform: { tokenize: { keySecretRef: { name: 'orders-db' } } } }],
      },
    }),
};

const granted = (name: string, rule: object, namespace = AGENTS) => ({
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'Role',
  metadata: named(name, namespace),
  rules: [{ apiGroups: [''], ...rule }],
});

/** What the API server has refused by whom; everything that got past admission has gone through. */
async function outcome(cluster: ControlPlane, user: ClusterUser, attempt: ReturnType<Attempt>): Promise<Outcome> {
  const { parameters, input } = attempt;
  try {
    await cluster.kubectl(parameters, { as: user, ...(input === undefined ? {} : { input }) });
    return 'yes';
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    if (/ValidatingAdmissionPolicy 'sallyport-[a-z-]+' .*denied request: sallyport: /s.test(error.stderr))
      return 'fence';
    if (
      /\(Forbidden\).* cannot .* (resource|path|at the cluster scope)|is forbidden: User .* cannot /s.test(error.stderr)
    )
      return 'rights';
    // Without a node a pod has no host, a pod's immutable fields are looked at after admission, and no stream is opened.
    if (
      /does not have a host assigned|pod .* is not running|upgrade request required|pods "sallyport-archive-0" not found|address not allowed/i.test(
        error.stderr,
      )
    )
      return 'yes';
    throw error;
  }
}

interface Line {
  readonly attempt: string;
  readonly expected: Readonly<Record<string, string>>;
}

/** The table between the marks. */
function tableOf(document: string): readonly Line[] {
  const text = /<!-- fences -->\n([\s\S]*?)<!-- end of fences -->/.exec(document)?.[1] ?? '';
  const [head = [], , ...rows] = text
    .trim()
    .split('\n')
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
  return rows.map(([attempt = '', ...cells]) => ({
    attempt,
    expected: Object.fromEntries(head.slice(1).map((user, index) => [user, cells[index] ?? ''])),
  }));
}

const lines = tableOf(await readFile(path.join(repositoryRoot, 'docs/threat-model.md'), 'utf8'));

const role = (name: string, user: string, rules: readonly object[]) => [
  { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', metadata: named(name), rules },
  bound(name, 'Role', name, { kind: 'User', name: user, apiGroup: 'rbac.authorization.k8s.io' }),
];
const bound = (name: string, kind: 'Role' | 'ClusterRole', roleName: string, subject: object) => ({
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'RoleBinding',
  metadata: named(name),
  roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind, name: roleName },
  subjects: [subject],
});

const PUBLIC_SECRET = { apiGroups: [''], resources: ['secrets'], resourceNames: ['public'], verbs: ['get'] };
const WORKLOADS = [
  { apiGroups: [''], resources: ['pods', 'configmaps'], verbs: ['*'] },
  {
    apiGroups: [''],
    resources: ['pods/exec', 'pods/attach', 'pods/portforward', 'pods/proxy'],
    verbs: ['create', 'get'],
  },
  { apiGroups: [''], resources: ['pods/ephemeralcontainers'], verbs: ['update', 'patch'] },
  { apiGroups: ['apps'], resources: ['deployments', 'deployments/scale'], verbs: ['*'] },
  { apiGroups: ['batch'], resources: ['jobs', 'cronjobs'], verbs: ['*'] },
];

/** Rights as people have them, and the operator's own, so wide that only a fence can hold it back. */
const RIGHTS = [
  ...role('author', 'author', [PUBLIC_SECRET]),
  bound('author-edits', 'ClusterRole', 'sallyport-editor', {
    kind: 'User',
    name: 'author',
    apiGroup: 'rbac.authorization.k8s.io',
  }),
  bound('author-views', 'ClusterRole', 'sallyport-viewer', {
    kind: 'User',
    name: 'author',
    apiGroup: 'rbac.authorization.k8s.io',
  }),
  ...role('developer', 'developer', WORKLOADS),
  bound('admin', 'ClusterRole', 'admin', {
    kind: 'User',
    name: 'namespace-admin',
    apiGroup: 'rbac.authorization.k8s.io',
  }),
  {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRoleBinding',
    metadata: { name: 'operator-without-limits' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
    subjects: [{ kind: 'ServiceAccount', name: 'sallyport-operator', namespace: OPERATOR_NAMESPACE }],
  },
];

const OURS = { 'app.kubernetes.io/managed-by': 'sallyport', 'app.kubernetes.io/part-of': 'sallyport' };

/** What the operator applies, as far as others could want to touch it. */
const OBJECTS = [
  {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'Role',
    metadata: named('sallyport-proxy'),
    rules: [
      { apiGroups: [''], resources: ['configmaps'], verbs: ['get', 'list', 'watch'] },
      { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['get', 'create', 'update', 'delete'] },
    ],
  },
  bound('sallyport-proxy', 'Role', 'sallyport-proxy', {
    kind: 'ServiceAccount',
    name: 'sallyport-proxy',
    namespace: PLATFORM,
  }),
  { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { ...named('sallyport-proxy'), labels: OURS } },
  { apiVersion: 'v1', kind: 'ConfigMap', metadata: { ...named('sallyport-bundle'), labels: OURS }, data: {} },
  {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { ...named('sallyport-proxy'), labels: OURS },
    spec: {
      selector: { matchLabels: { app: 'proxy' } },
      template: {
        metadata: { labels: { app: 'proxy', ...OURS } },
        spec: { serviceAccountName: 'sallyport-proxy', containers: [{ name: 'proxy', image: 'proxy' }] },
      },
    },
  },
];

const list = (items: readonly object[]): string => manifest({ apiVersion: 'v1', kind: 'List', items });

describeWith(controlPlaneNeeds, 'fences', () => {
  let cluster: ControlPlane & AsyncDisposable;
  let pod: string;

  beforeAll(async () => {
    cluster = await startControlPlane();
    await installChart(cluster);
    for (const namespace of [PLATFORM, AGENTS]) await cluster.kubectl(['create', 'namespace', namespace]);
    await cluster.kubectl(['-n', AGENTS, 'create', 'serviceaccount', 'agent']);
    for (const name of ['orders-db', 'public'])
      await cluster.kubectl(['-n', PLATFORM, 'create', 'secret', 'generic', name, '--from-literal=username=app']);
    await cluster.kubectl(['-n', PLATFORM, 'apply', '-f', path.join(repositoryRoot, 'examples/quickstart.yaml')]);
    await cluster.apply(list(RIGHTS));
    const operator = USERS['operator'] as ClusterUser;
    // A policy is in force a moment after it was written: the first one who is refused shows that they are.
    await untilRefused(cluster);
    await cluster.apply(list(OBJECTS), { as: operator });
    // The pod is made by the controllers of Kubernetes, which a fence must not hold back.
    await cluster.kubectl(['-n', PLATFORM, 'wait', '--for=create', 'pod', '-l', 'app=proxy', '--timeout=60s']);
    pod = await cluster.kubectl([
      '-n',
      PLATFORM,
      'get',
      'pod',
      '-l',
      'app=proxy',
      '-o',
      'jsonpath={.items[0].metadata.name}',
    ]);
  });

  afterAll(() => cluster?.stop());

  test('the table names every attempt and every kind of user', () => {
    expect(lines.map(({ attempt }) => attempt)).toEqual(Object.keys(ATTEMPTS));
    for (const { expected } of lines) expect(Object.keys(expected)).toEqual(Object.keys(USERS));
  });

  for (const { attempt, expected } of lines)
    test(attempt, async () => {
      const found: Record<string, Outcome> = {};
      for (const [name, user] of Object.entries(USERS))
        found[name] = await outcome(cluster, user, (ATTEMPTS[attempt] as Attempt)(pod));
      expect(found).toEqual(expected);
    });

  test('nobody looks into a connector, although the label is off its pod', async () => {
    const spec = {
      serviceAccountName: 'agent',
      initContainers: [{ name: 'sallyport-connector', image: 'connector', restartPolicy: 'Always' }],
      containers: [{ name: 'agent', image: 'agent' }],
    };
    const running = { apiVersion: 'v1', kind: 'Pod', metadata: named('unlabelled', AGENTS), spec };
    await cluster.apply(list([running]));
    const spy = { name: 'spy', image: 'spy', targetContainerName: 'sallyport-connector' };
    const path = `/api/v1/namespaces/${AGENTS}/pods/unlabelled/ephemeralcontainers?dryRun=All`;
    const looking = cluster.kubectl(['replace', '--raw', path, '-f', '-'], {
      as: USERS['cluster admin'] as ClusterUser,
      input: manifest({ ...running, spec: { ...spec, ephemeralContainers: [spy] } }),
    });
    await expect(looking).rejects.toThrow('SPW063');
  });

  test('a namespace with everything of ours in it can be deleted, and so can a Deployment by its owner going', async () => {
    await cluster.kubectl(['delete', 'namespace', PLATFORM, '--timeout=60s'], {
      as: USERS['cluster admin'] as ClusterUser,
    });
  });
});

/** Asks until each of the fences refuses something that only it refuses. */
async function untilRefused(cluster: ControlPlane): Promise<void> {
  const by = (user: string, attempt: string) => ({
    user: USERS[user] as ClusterUser,
    attempt: ATTEMPTS[attempt] as Attempt,
  });
  const probes = [
    by('cluster admin', 'run a program in a proxy (`exec`)'),
    by('cluster admin', 'prepare an object that the operator would take over'),
    by('cluster admin', "run a Deployment under the proxies' service account"),
    by('cluster admin', "have a token of the proxies' service account written into a Secret"),
    by('cluster admin', "write a proxy's report"),
    by('cluster admin', 'write the status of a connection'),
    by('author', 'write a connection that names a Secret'),
    by('author', 'write a masking rule that names a Secret'),
    by('author', 'open a connection to other namespaces'),
  ];
  // The API server tells nobody when it has compiled a policy: asking again is all there is.
  for (const { user, attempt } of probes)
    await vi.waitFor(async () => expect(await outcome(cluster, user, attempt('sallyport-proxy-none'))).toBe('fence'), {
      interval: 100,
    });
}
