/**
 * The operator runs as its service account with exactly the rights of the chart. The API server's audit log then says two things: nothing
 * that it asked for was forbidden, and without any one verb of any rule something that it did would have been.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import { NAMES } from '../../api/cluster.ts';
import {
  CLUSTER_ROLE_BINDINGS,
  CONFIG_MAPS,
  DEPLOYMENTS,
  EVENTS,
  NETWORK_POLICIES,
  POD_DISRUPTION_BUDGETS,
  ROLE_BINDINGS,
  ROLES,
  SECRETS,
  SERVICE_ACCOUNTS,
  SERVICES,
  STATEFUL_SETS,
} from '../../kube/builtin.ts';
import type { KubeObject, ObjectMeta, ResourceType } from '../../kube/types.ts';
import { newMaterial, writeMaterial } from '../../operator/pki/material.ts';
import { ACCESS_POLICIES, MASKING_RULES } from '../../operator/resources.ts';
import { WEBHOOK_PATHS } from '../../operator/webhook/paths.ts';
import { freePort } from '../support/program.ts';
import { describeWith } from '../support/requires.ts';
import { repositoryRoot } from '../support/sallyport.ts';
import { type AuditedRequest, auditedRequests, needlessVerbs, type Rule } from './audited-rights.ts';
import { installChart, OPERATOR_NAMESPACE } from './chart.ts';
import { type ControlPlane, controlPlaneNeeds } from './control-plane.ts';
import { conditionOf, createOperatorGround, type OperatorGround, type OperatorProcess } from './operator-ground.ts';

const USER = `system:serviceaccount:${OPERATOR_NAMESPACE}:${NAMES.operator}`;
const PLATFORM = 'shop';
const AGENTS = 'agents';

async function rulesOf(file: string): Promise<readonly Rule[]> {
  return parse(await readFile(path.join(repositoryRoot, 'charts/sallyport/rbac', file), 'utf8')) as readonly Rule[];
}

/** Objects of the operator, one of each type that it writes. */
const WRITTEN: readonly (readonly [type: ResourceType, namespace: string | undefined, name: string])[] = [
  [CONFIG_MAPS, PLATFORM, NAMES.bundle],
  [SECRETS, PLATFORM, NAMES.proxyTls],
  [SECRETS, PLATFORM, NAMES.tokenKey],
  [SECRETS, OPERATOR_NAMESPACE, NAMES.archiveTls],
  [SERVICE_ACCOUNTS, PLATFORM, NAMES.proxy],
  [SERVICES, PLATFORM, NAMES.proxy],
  [DEPLOYMENTS, PLATFORM, NAMES.proxy],
  [STATEFUL_SETS, OPERATOR_NAMESPACE, NAMES.archive],
  [POD_DISRUPTION_BUDGETS, PLATFORM, NAMES.proxy],
  [NETWORK_POLICIES, AGENTS, NAMES.agents],
  [ROLES, PLATFORM, NAMES.proxy],
  [ROLE_BINDINGS, PLATFORM, NAMES.proxy],
  [CLUSTER_ROLE_BINDINGS, undefined, `${NAMES.tokenReviewer}:${PLATFORM}`],
  [CLUSTER_ROLE_BINDINGS, undefined, `${NAMES.impersonator}:${PLATFORM}`],
  [ROLES, AGENTS, NAMES.impersonator],
  [ROLE_BINDINGS, AGENTS, NAMES.impersonator],
  [ROLES, PLATFORM, NAMES.tokenRequester],
  [ROLE_BINDINGS, PLATFORM, NAMES.tokenRequester],
] as unknown as readonly (readonly [ResourceType, string | undefined, string])[];

/** Agents are elsewhere, so that namespaces of agents are served too. */
const ALLOWED = JSON.stringify({
  spec: { allowedNamespaces: { from: 'Selector', selector: { matchLabels: { agents: 'yes' } } } },
});

/** The API of this cluster, as whoever calls and as one account; agents are in another namespace. */
const APIS = [
  ...[
    ['cluster', { impersonate: {} }],
    ['deployer', { serviceAccountToken: { name: 'deployer' } }],
  ].map(([name, credential]) => ({
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'AccessConnection',
    metadata: { name, namespace: PLATFORM },
    spec: {
      protocol: 'Kubernetes',
      target: { host: 'kubernetes.default.svc', port: 443, tls: { caRef: { name: 'kube-root-ca.crt' } } },
      credential,
      ...JSON.parse(ALLOWED).spec,
    },
  })),
  {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'AccessPolicy',
    metadata: { name: 'cluster', namespace: PLATFORM },
    spec: {
      connections: { names: ['cluster'] },
      subjects: [{ serviceAccount: { namespace: AGENTS, name: 'agent' } }],
      rules: [
        {
          name: 'read',
          effect: 'Allow',
          kubernetes: { verbs: ['get', 'list'], resources: ['pods'], namespaces: ['agents'] },
        },
      ],
    },
  },
  ...['agent', 'other'].map((name) => ({
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name, namespace: AGENTS },
  })),
  ...['deployer', 'other'].map((name) => ({
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name, namespace: PLATFORM },
  })),
  {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'RoleBinding',
    metadata: { name: 'all-view', namespace: AGENTS },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'view' },
    // By group: it comes along with the account.
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'Group', name: `system:serviceaccounts:${AGENTS}` }],
  },
];

/** As kubectl takes it, whatever other types have the name. */
const fullName = ({ plural, group }: ResourceType): string => (group === '' ? plural : `${plural}.${group}`);

/** A vote as the API server posts it for stamping: whether its voter has the right is asked of the API server. */
function voteReview(): string {
  const asked = {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'ApprovalRequest',
    metadata: { name: 'asked', namespace: PLATFORM, uid: randomUUID(), creationTimestamp: new Date().toISOString() },
    spec: {
      connectionRef: { name: 'orders', uid: randomUUID() },
      requirements: [
        { policyRef: { namespace: PLATFORM, name: 'deletes', rule: 'ask', generation: 1 }, requiredApprovals: 1 },
      ],
      requester: { username: 'system:serviceaccount:agents:agent', displayName: 'agent' },
      request: { protocol: 'Postgres', summary: 'DELETE', hash: `sha256:${'0'.repeat(64)}` },
      expiresAt: new Date(Date.now() + 600_000).toISOString(),
      decisions: [] as object[],
    },
    status: { state: 'Pending' },
  };
  const resource = { group: 'sallyport.dev', version: 'v1alpha1', resource: 'approvalrequests' };
  return JSON.stringify({
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: {
      uid: randomUUID(),
      kind: { group: resource.group, version: resource.version, kind: asked.kind },
      resource,
      name: asked.metadata.name,
      namespace: PLATFORM,
      operation: 'UPDATE',
      userInfo: { username: 'grace', groups: ['system:authenticated'] },
      object: { ...asked, spec: { ...asked.spec, decisions: [{ verdict: 'Approve' }] } },
      oldObject: asked,
      dryRun: false,
    },
  });
}

/** Posts a review to the operator as the API server would, but for checking its certificate. @returns the answer */
async function review(port: number, webhook: string, body: string): Promise<string> {
  const call = request({
    ...{ host: '127.0.0.1', port, path: webhook, method: 'POST', rejectUnauthorized: false },
    servername: `${NAMES.webhook}.${OPERATOR_NAMESPACE}.svc`,
    headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
  });
  call.end(body);
  const [response] = (await once(call, 'response')) as [IncomingMessage];
  return text(response);
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

/** One request to the API server with a token. @param headers besides */
async function ask(
  { server, caFile }: ControlPlane,
  token: string,
  [method, where]: readonly [method: string, path: string],
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const call = request(new URL(where, server), {
    ...{ method, ca: await readFile(caFile) },
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...headers },
  });
  call.end(method === 'POST' ? '{}' : undefined);
  const [response] = (await once(call, 'response')) as [IncomingMessage];
  return { status: response.statusCode ?? 0, text: await text(response) };
}

describeWith(controlPlaneNeeds, 'rights of the operator', () => {
  const proxy: Record<string, Answer> = {};
  let ground: OperatorGround;
  let operator: OperatorProcess;
  let requests: readonly AuditedRequest[];
  let granted: readonly AuditedRequest[];

  beforeAll(async () => {
    ground = await createOperatorGround({ audit: 'Metadata' });
    const { plane } = ground;
    await installChart(plane, ['crds.install=false', 'fences.exemptGroups=["system:masters"]', 'operator.replicas=1']);
    const groups = ['system:serviceaccounts', `system:serviceaccounts:${OPERATOR_NAMESPACE}`];
    // Keys that are to be renewed at once.
    const old = Object.entries(writeMaterial(newMaterial(Date.now() - 500 * 86_400_000)));
    await ground.client.create(SECRETS, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { namespace: OPERATOR_NAMESPACE, name: NAMES.keys },
      data: Object.fromEntries(old.map(([name, value]) => [name, Buffer.from(value).toString('base64')])),
    });
    const port = await freePort();
    const kubeconfig = await plane.clientAs(USER, groups);
    operator = await ground.operator({ kubeconfig, arguments: [`--webhook-port=${port}`] });
    await ground.namespace(PLATFORM);
    await ground.namespace(AGENTS, { agents: 'yes' });
    await plane.kubectl(['-n', PLATFORM, 'apply', '-f', path.join(repositoryRoot, 'examples/quickstart.yaml')]);
    await plane.kubectl(['-n', PLATFORM, 'patch', 'accessconnection', 'orders', '--type=merge', '-p', ALLOWED]);
    await plane.apply(APIS.map((object) => JSON.stringify(object)).join('\n---\n'));
    const named =
      (name: string, namespace?: string) =>
      (objects: readonly { readonly metadata: { readonly name: string; readonly namespace?: string } }[]) =>
        objects.find(({ metadata }) => metadata.name === name && metadata.namespace === namespace);
    await ground.until(DEPLOYMENTS, {}, named(NAMES.proxy, PLATFORM));
    await ground.until(STATEFUL_SETS, {}, named(NAMES.archive, OPERATOR_NAMESPACE));
    await ground.until(ROLES, {}, named(NAMES.proxy, PLATFORM));
    await ground.until(ROLE_BINDINGS, {}, named(NAMES.podReader, AGENTS));
    await ground.until(CLUSTER_ROLE_BINDINGS, {}, named(`${NAMES.tokenReviewer}:${PLATFORM}`));
    await ground.until(CLUSTER_ROLE_BINDINGS, {}, named(`${NAMES.impersonator}:${PLATFORM}`));
    await ground.until(ROLE_BINDINGS, {}, named(NAMES.impersonator, AGENTS));
    await ground.until(ROLE_BINDINGS, {}, named(NAMES.tokenRequester, PLATFORM));
    await ground.until(CONFIG_MAPS, {}, named(NAMES.ca, AGENTS));
    await ground.until(NETWORK_POLICIES, {}, named(NAMES.agents, AGENTS));
    await ground.until(EVENTS, { namespace: PLATFORM }, (events) => events.length > 0);
    await ground.until(ACCESS_POLICIES, { namespace: PLATFORM }, ([first]) => conditionOf(first, 'Ready'));
    await ground.until(MASKING_RULES, { namespace: PLATFORM }, ([first]) => conditionOf(first, 'Ready'));
    const answer = await review(port, WEBHOOK_PATHS.approvals, voteReview());
    expect(answer, 'the voter has no right, which the API server said').toContain('SPW044');
    // Who grants has to have it: what the Role says, and the verb for binding what the operator does not have itself.
    const role = await plane.get<{ rules: readonly Rule[] }>('role', NAMES.proxy, PLATFORM);
    granted = role.rules.flatMap(({ apiGroups, resources, verbs }) =>
      apiGroups.flatMap((group) =>
        resources.flatMap((resource) =>
          verbs.map((verb) => ({ group, resource, verb, user: USER, name: undefined, namespace: PLATFORM, code: 200 })),
        ),
      ),
    );
    granted = [
      ...granted,
      ...(
        [
          ['clusterroles', 'bind', NAMES.tokenReviewer],
          ['clusterroles', 'bind', NAMES.impersonator],
          ['roles', 'bind', NAMES.impersonator],
          ['roles', 'escalate', NAMES.tokenRequester],
        ] as const
      ).map(([resource, verb, name]) => ({
        ...{ user: USER, group: 'rbac.authorization.k8s.io', namespace: undefined, code: 200 },
        ...{ resource, verb, name },
      })),
    ];
    const token = (await plane.kubectl(['-n', PLATFORM, 'create', 'token', NAMES.proxy])).trim();
    const as = (namespace: string, name: string, more: Readonly<Record<string, string>> = {}) =>
      ask(plane, token, ['GET', `/api/v1/namespaces/${AGENTS}/pods`], {
        'Impersonate-User': `system:serviceaccount:${namespace}:${name}`,
        ...more,
      });
    const session = { 'Impersonate-Extra-sallyport.dev%2Fsession': 'S1' };
    proxy['agent'] = await as(AGENTS, 'agent', session);
    proxy['other'] = await as(AGENTS, 'other', session);
    proxy['namesake'] = await as(PLATFORM, 'agent', session);
    proxy['group'] = await as(AGENTS, 'agent', { 'Impersonate-Group': 'system:masters' });
    proxy['extra'] = await as(AGENTS, 'agent', { 'Impersonate-Extra-role': 'admin' });
    for (const name of ['deployer', 'other'])
      proxy[`token of ${name}`] = await ask(plane, token, [
        'POST',
        `/api/v1/namespaces/${PLATFORM}/serviceaccounts/${name}/token`,
      ]);
    // What somebody adds is taken back, of every type; only an owner can be added to each of them.
    const { uid } = (await plane.get<{ metadata: { uid: string } }>('namespace', AGENTS)).metadata;
    const stranger = { apiVersion: 'v1', kind: 'Namespace', name: AGENTS, uid };
    for (const [type, namespace, name] of WRITTEN) {
      const where = namespace === undefined ? [] : ['-n', namespace];
      const { metadata } = await plane.get<KubeObject>(fullName(type), name, namespace);
      const ownerReferences = [...(metadata.ownerReferences ?? []), stranger];
      const patch = JSON.stringify({ metadata: { ownerReferences } });
      await plane.kubectl([...where, 'patch', fullName(type), name, '--type=merge', '-p', patch]);
      const owned = ({ ownerReferences: all = [] }: ObjectMeta): boolean => all.some(({ uid }) => uid === stranger.uid);
      await ground.until(type, namespace === undefined ? {} : { namespace }, (objects) => {
        const found = objects.find((object) => object.metadata.name === name);
        return found !== undefined && !owned(found.metadata);
      });
    }
    // Everything has an end too. Without the garbage collector, which would be as quick.
    const remove = (...names: string[]): Promise<string> =>
      plane.kubectl(['-n', PLATFORM, 'delete', 'accessconnection', ...names, '--cascade=orphan']);
    await remove('cluster', 'deployer');
    // It is written last: nothing is on its way any more that would name an owner which has gone meanwhile.
    await ground.until(DEPLOYMENTS, { namespace: PLATFORM }, ([proxies]) =>
      proxies?.metadata.ownerReferences?.every((owner) => owner.name === 'orders'),
    );
    await remove('orders');
    await ground.until(CONFIG_MAPS, {}, (maps) => named(NAMES.ca, AGENTS)(maps) === undefined);
    for (const [type, namespace, name] of WRITTEN.filter(([, where]) => where !== OPERATOR_NAMESPACE))
      await ground.until(type, {}, (all) => named(name, namespace)(all) === undefined);
    await operator.stop();
    requests = auditedRequests(await plane.audit()).filter(({ user }) => user === USER);
  });

  afterAll(() => ground?.[Symbol.asyncDispose]());

  test('nothing that it asked for was forbidden', () => {
    expect(requests.length).toBeGreaterThan(50);
    expect(requests.filter(({ code }) => code === 403)).toEqual([]);
  });

  test('without any one verb of a rule something that it did would have been forbidden', async () => {
    const cluster = await rulesOf('operator-cluster.yaml');
    const kubernetes = await rulesOf('operator-kubernetes.yaml');
    const own = await rulesOf('operator-namespace.yaml');
    const applies = (rule: Rule, { namespace }: AuditedRequest): boolean =>
      !own.includes(rule) || namespace === OPERATOR_NAMESPACE;
    const needless = needlessVerbs([...cluster, ...kubernetes, ...own], [...requests, ...granted], applies);
    // Requests are removed a day after they ended at the earliest, which is longer than a test can wait.
    expect(needless).toEqual(['delete approvalrequests']);
  });

  test('a proxy acts as the service account that a policy names, and as nobody else', () => {
    expect(proxy['agent']).toMatchObject({ status: 200 });
    const refused = { status: 403, text: expect.stringContaining('cannot impersonate') as string };
    for (const who of ['other', 'namesake', 'group', 'extra']) expect(proxy[who], who).toMatchObject(refused);
  });

  test('a proxy gets tokens of the service account that a connection names, and of no other', () => {
    expect(proxy['token of deployer']).toMatchObject({ status: 201 });
    expect(proxy['token of other']).toMatchObject({ status: 403 });
  });
});
