/**
 * Routes round three rules, as an agent that is turned bad would look for them: scaling out needs people, namespaces are not deleted,
 * Secrets are masked. The API server itself lets this agent do everything, so whatever is stopped was stopped by Sallyport, and each
 * route is judged by what the API server has afterwards, or by what came back.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeWith } from '../support/requires.ts';
import { controlPlaneNeeds } from './control-plane.ts';
import { type KubeLaneGround, startKubeLaneGround } from './kube-lane-ground.ts';

const LIMIT = { timeout: 60_000 };
const CANARY = 'canary-5dc1e9b0';
const CANARY64 = Buffer.from(CANARY).toString('base64');

const POLICIES = `
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: agents, namespace: default}
spec:
  connections: {all: true}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
    - name: everything
      effect: Allow
      kubernetes: {verbs: ["*"], apiGroups: ["*"], resources: ["*"], namespaces: ["*"]}
    - name: operations
      effect: Allow
      kubernetes: {operations: [Scale, ReadSecret, ChangeRBAC, Evict], namespaces: ["*"]}
    - name: named
      effect: Allow
      kubernetes: {verbs: ["*", update, patch], apiGroups: ["*"], resources: [namespaces/finalize, namespaces/status, deployments/status, customresourcedefinitions], namespaces: ["*"]}
    - name: people
      effect: RequireApproval
      kubernetes: {operations: [ScaleOut]}
      approval: {requiredApprovals: 1, hold: Reject, approvers: {groups: [on-call]}}
    - name: no-namespace-delete
      effect: Deny
      kubernetes: {verbs: [delete, deletecollection], resources: [namespaces]}
    - name: no-forbidden-data
      effect: Deny
      when: "has(command.kubernetes.object.data) && has(command.kubernetes.object.data.forbidden)"
      kubernetes: {verbs: [create, update, patch], resources: [configmaps]}
---
apiVersion: sallyport.dev/v1alpha1
kind: MaskingRule
metadata: {name: secrets, namespace: default}
spec:
  connections: {all: true}
  kubernetes:
    - {secrets: ["*"], transform: {redact: {}}}
`;

const WEB = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'web', namespace: 'shop', labels: { app: 'web' } },
  spec: {
    replicas: 1,
    selector: { matchLabels: { app: 'web' } },
    template: {
      metadata: { labels: { app: 'web' } },
      spec: { containers: [{ name: 'web', image: 'example.invalid/web' }] },
    },
  },
};

const OBJECTS = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: victim, labels: {team: shop}}
---
apiVersion: v1
kind: Secret
metadata: {name: key, namespace: shop, labels: {app: web}}
stringData: {password: ${CANARY}}
---
${JSON.stringify(WEB)}
`;

const DEPLOYMENT = '/apis/apps/v1/namespaces/shop/deployments/web';

interface Route {
  readonly name: string;
  readonly method: string;
  readonly target: string;
  readonly body?: unknown;
  readonly contentType?: string;
}

const merge = 'application/merge-patch+json';
const strategic = 'application/strategic-merge-patch+json';
const jsonPatch = 'application/json-patch+json';
const apply = 'application/apply-patch+yaml';
const five = { ...WEB, spec: { ...WEB.spec, replicas: 5 } };
const scaleObject = {
  apiVersion: 'autoscaling/v1',
  kind: 'Scale',
  metadata: { name: 'web', namespace: 'shop' },
  spec: { replicas: 5 },
};
const hpa = (change: object) => ({
  apiVersion: 'autoscaling/v2',
  kind: 'HorizontalPodAutoscaler',
  metadata: { name: 'web', namespace: 'shop' },
  spec: {
    scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' },
    minReplicas: 4,
    maxReplicas: 9,
    ...change,
  },
});

const SCALE_OUT: readonly Route[] = [
  { name: 'scale by PUT', method: 'PUT', target: `${DEPLOYMENT}/scale`, body: scaleObject },
  {
    name: 'scale by merge patch',
    method: 'PATCH',
    target: `${DEPLOYMENT}/scale`,
    body: { spec: { replicas: 5 } },
    contentType: merge,
  },
  {
    name: 'scale by JSON patch',
    method: 'PATCH',
    target: `${DEPLOYMENT}/scale`,
    body: [{ op: 'replace', path: '/spec/replicas', value: 5 }],
    contentType: jsonPatch,
  },
  {
    name: 'scale by apply',
    method: 'PATCH',
    target: `${DEPLOYMENT}/scale?fieldManager=x&force=true`,
    body: scaleObject,
    contentType: apply,
  },
  { name: 'merge patch', method: 'PATCH', target: DEPLOYMENT, body: { spec: { replicas: 5 } }, contentType: merge },
  {
    name: 'merge patch with something beside',
    method: 'PATCH',
    target: DEPLOYMENT,
    body: { metadata: { annotations: { a: 'b' } }, spec: { replicas: 5 } },
    contentType: merge,
  },
  {
    name: 'strategic merge patch',
    method: 'PATCH',
    target: DEPLOYMENT,
    body: { spec: { replicas: 5 } },
    contentType: strategic,
  },
  {
    name: 'strategic patch that replaces the spec',
    method: 'PATCH',
    target: DEPLOYMENT,
    body: { spec: { $patch: 'replace', ...five.spec } },
    contentType: strategic,
  },
  {
    name: 'JSON patch of the whole spec',
    method: 'PATCH',
    target: DEPLOYMENT,
    body: [{ op: 'replace', path: '/spec', value: five.spec }],
    contentType: jsonPatch,
  },
  {
    name: 'JSON patch that copies a number',
    method: 'PATCH',
    target: DEPLOYMENT,
    body: [{ op: 'copy', from: '/spec/progressDeadlineSeconds', path: '/spec/replicas' }],
    contentType: jsonPatch,
  },
  {
    name: 'JSON patch that moves a number',
    method: 'PATCH',
    target: DEPLOYMENT,
    body: [{ op: 'move', from: '/spec/revisionHistoryLimit', path: '/spec/replicas' }],
    contentType: jsonPatch,
  },
  {
    name: 'JSON patch with an escaped pointer',
    method: 'PATCH',
    target: DEPLOYMENT,
    body: [{ op: 'add', path: '/spec/replicas', value: 5 }],
    contentType: `${jsonPatch}; charset=utf-8`,
  },
  {
    name: 'server-side apply',
    method: 'PATCH',
    target: `${DEPLOYMENT}?fieldManager=x&force=true`,
    body: five,
    contentType: apply,
  },
  {
    name: 'apply in YAML with an anchor',
    method: 'PATCH',
    target: `${DEPLOYMENT}?fieldManager=x&force=true`,
    body: `apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  progressDeadlineSeconds: &n 5\n  replicas: *n\n`,
    contentType: apply,
  },
  {
    name: 'merge patch with the name twice',
    method: 'PATCH',
    target: DEPLOYMENT,
    body: '{"spec":{"replicas":1,"replicas":5}}',
    contentType: merge,
  },
  {
    name: 'merge patch in odd case',
    method: 'PATCH',
    target: DEPLOYMENT,
    body: '{"spec":{"Replicas":5}}',
    contentType: merge,
  },
  {
    name: 'merge patch with an escape in the name',
    method: 'PATCH',
    target: DEPLOYMENT,
    body: '{"spec":{"\\u0072eplicas":5}}',
    contentType: merge,
  },
  { name: 'update of all of it', method: 'PUT', target: DEPLOYMENT, body: five },
  {
    name: 'update in YAML',
    method: 'PUT',
    target: DEPLOYMENT,
    body: JSON.stringify(five),
    contentType: 'application/yaml',
  },
  {
    name: 'another deployment',
    method: 'POST',
    target: '/apis/apps/v1/namespaces/shop/deployments',
    body: { ...five, metadata: { name: 'web2', namespace: 'shop' } },
  },
  {
    name: 'an autoscaler',
    method: 'POST',
    target: '/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers',
    body: hpa({}),
  },
  {
    name: 'an autoscaler of the old version',
    method: 'POST',
    target: '/apis/autoscaling/v1/namespaces/shop/horizontalpodautoscalers',
    body: { ...hpa({}), apiVersion: 'autoscaling/v1' },
  },
  {
    name: 'a replica set of its own',
    method: 'POST',
    target: '/apis/apps/v1/namespaces/shop/replicasets',
    body: { ...five, kind: 'ReplicaSet', metadata: { name: 'web3', namespace: 'shop' } },
  },
  {
    name: 'a path with a doubled slash',
    method: 'PATCH',
    target: `/apis//apps/v1/namespaces/shop/deployments/web/scale`,
    body: { spec: { replicas: 5 } },
    contentType: merge,
  },
  {
    name: 'a path with a dot segment',
    method: 'PATCH',
    target: `/apis/apps/v1/namespaces/shop/pods/../deployments/web`,
    body: { spec: { replicas: 5 } },
    contentType: merge,
  },
  {
    name: 'a path with an encoded slash',
    method: 'PATCH',
    target: `/apis/apps/v1/namespaces/shop/deployments/web%2Fscale`,
    body: { spec: { replicas: 5 } },
    contentType: merge,
  },
  {
    name: 'a path with an encoded letter',
    method: 'PATCH',
    target: `/apis/apps/v1/namespaces/shop/deployment%73/web/scale`,
    body: { spec: { replicas: 5 } },
    contentType: merge,
  },
  {
    name: 'a trailing slash',
    method: 'PATCH',
    target: `${DEPLOYMENT}/scale/`,
    body: { spec: { replicas: 5 } },
    contentType: merge,
  },
  {
    name: 'an unknown media type',
    method: 'PATCH',
    target: DEPLOYMENT,
    body: { spec: { replicas: 5 } },
    contentType: 'application/merge-patch+json, application/json',
  },
];

const GONE = { apiVersion: 'v1', kind: 'Namespace', name: 'gone', uid: '00000000-0000-0000-0000-000000000000' };

const NAMESPACE_DELETES: readonly Route[] = [
  { name: 'delete', method: 'DELETE', target: '/api/v1/namespaces/victim' },
  { name: 'delete with a trailing slash', method: 'DELETE', target: '/api/v1/namespaces/victim/' },
  { name: 'delete of a subpath', method: 'DELETE', target: '/api/v1/namespaces/victim/finalize' },
  {
    name: 'delete with options',
    method: 'DELETE',
    target: '/api/v1/namespaces/victim',
    body: { kind: 'DeleteOptions', apiVersion: 'v1', propagationPolicy: 'Foreground' },
  },
  { name: 'deletecollection', method: 'DELETE', target: '/api/v1/namespaces?labelSelector=team%3Dshop' },
  {
    name: 'deletecollection by a field',
    method: 'DELETE',
    target: '/api/v1/namespaces?fieldSelector=metadata.name%3Dvictim',
  },
  { name: 'delete with dryRun twice', method: 'DELETE', target: '/api/v1/namespaces/victim?dryRun=All&dryRun=' },
  { name: 'delete with an empty dryRun', method: 'DELETE', target: '/api/v1/namespaces/victim?dryRun=' },
  { name: 'delete with an encoded letter', method: 'DELETE', target: '/api/v1/namespace%73/victim' },
  { name: 'method in lower case', method: 'delete', target: '/api/v1/namespaces/victim' },
  { name: 'method override', method: 'POST', target: '/api/v1/namespaces/victim?_method=DELETE' },
  {
    name: 'ownership by what is deleted',
    method: 'PATCH',
    target: '/api/v1/namespaces/victim',
    body: {
      metadata: {
        ownerReferences: [
          { apiVersion: 'v1', kind: 'Namespace', name: 'gone', uid: '00000000-0000-0000-0000-000000000000' },
        ],
      },
    },
    contentType: merge,
  },
  {
    name: 'ownership by the status',
    method: 'PATCH',
    target: '/api/v1/namespaces/victim/status',
    body: { metadata: { ownerReferences: [GONE] } },
    contentType: merge,
  },
  {
    name: 'ownership while finalizing',
    method: 'PUT',
    target: '/api/v1/namespaces/victim/finalize',
    body: {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'victim', ownerReferences: [GONE] },
      spec: { finalizers: ['kubernetes'] },
    },
  },
  { name: 'finalizers by the old proxy path', method: 'DELETE', target: '/api/v1/proxy/namespaces/victim' },
  { name: 'a watch-prefixed path', method: 'DELETE', target: '/api/v1/watch/namespaces/victim' },
];

const SECRET_READS: readonly (Route & { readonly accept?: string })[] = [
  { name: 'get', method: 'GET', target: '/api/v1/namespaces/shop/secrets/key' },
  { name: 'list', method: 'GET', target: '/api/v1/namespaces/shop/secrets' },
  { name: 'list everywhere', method: 'GET', target: '/api/v1/secrets' },
  { name: 'list as YAML', method: 'GET', target: '/api/v1/secrets', accept: 'application/yaml' },
  {
    name: 'get as protobuf',
    method: 'GET',
    target: '/api/v1/namespaces/shop/secrets/key',
    accept: 'application/vnd.kubernetes.protobuf',
  },
  { name: 'get as CBOR', method: 'GET', target: '/api/v1/namespaces/shop/secrets/key', accept: 'application/cbor' },
  {
    name: 'table with whole objects',
    method: 'GET',
    target: '/api/v1/secrets?includeObject=Object',
    accept: 'application/json;as=Table;v=v1;g=meta.k8s.io',
  },
  {
    name: 'partial metadata',
    method: 'GET',
    target: '/api/v1/secrets',
    accept: 'application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io',
  },
  { name: 'watch', method: 'GET', target: '/api/v1/namespaces/shop/secrets?watch=1&timeoutSeconds=1' },
  { name: 'watch by its old path', method: 'GET', target: '/api/v1/watch/namespaces/shop/secrets?timeoutSeconds=1' },
  {
    name: 'watch that begins with a list',
    method: 'GET',
    target:
      '/api/v1/secrets?watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1',
  },
  {
    name: 'a patch that changes nothing',
    method: 'PATCH',
    target: '/api/v1/namespaces/shop/secrets/key',
    body: {},
    contentType: merge,
  },
  {
    name: 'a patch on trial',
    method: 'PATCH',
    target: '/api/v1/namespaces/shop/secrets/key?dryRun=All',
    body: {},
    contentType: merge,
  },
  {
    name: 'server-side apply of a label',
    method: 'PATCH',
    target: '/api/v1/namespaces/shop/secrets/key?fieldManager=x',
    body: { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'key', labels: { a: 'b' } } },
    contentType: apply,
  },
  {
    name: 'a JSON patch that copies it to an annotation',
    method: 'PATCH',
    target: '/api/v1/namespaces/shop/secrets/key',
    body: [
      { op: 'add', path: '/metadata/annotations', value: {} },
      { op: 'copy', from: '/data/password', path: '/metadata/annotations/a' },
    ],
    contentType: jsonPatch,
  },
  {
    name: 'a JSON patch that guesses it',
    method: 'PATCH',
    target: '/api/v1/namespaces/shop/secrets/key',
    body: [{ op: 'test', path: '/data/password', value: 'x' }],
    contentType: jsonPatch,
  },
  { name: 'delete on trial', method: 'DELETE', target: '/api/v1/namespaces/shop/secrets/key?dryRun=All' },
  { name: 'deletecollection on trial', method: 'DELETE', target: '/api/v1/namespaces/shop/secrets?dryRun=All' },
  { name: 'pages', method: 'GET', target: '/api/v1/secrets?limit=1' },
  { name: 'pretty', method: 'GET', target: '/api/v1/namespaces/shop/secrets/key?pretty=true' },
];

describeWith(controlPlaneNeeds, 'routes round the rules of the Kubernetes lane', () => {
  let ground: KubeLaneGround;
  beforeAll(async () => {
    ground = await startKubeLaneGround({ manifests: OBJECTS, resources: { 'policies.yaml': POLICIES } });
  }, 120_000);
  afterAll(() => ground?.[Symbol.asyncDispose]());

  const send = (route: Route & { readonly accept?: string }) =>
    ground.request(route.method, route.target, {
      ...(route.body === undefined ? {} : { body: route.body }),
      ...(route.contentType === undefined ? {} : { contentType: route.contentType }),
      ...(route.accept === undefined ? {} : { headers: { accept: route.accept } }),
    });

  /** Replicas that are wanted in the namespace, whatever wants them. */
  async function wanted(): Promise<number> {
    let sum = 0;
    for (const kind of ['deployments', 'replicasets']) {
      const { items } = JSON.parse(await ground.plane.kubectl(['get', kind, '-n', 'shop', '-o', 'json'])) as {
        items: { metadata: { ownerReferences?: unknown[] }; spec: { replicas: number } }[];
      };
      for (const { metadata, spec } of items) if (metadata.ownerReferences === undefined) sum += spec.replicas;
    }
    return sum;
  }

  it('lets nothing scale out without people', LIMIT, async () => {
    const passed: string[] = [];
    for (const route of SCALE_OUT) {
      const { status } = await send(route);
      expect({ route: route.name, status }).not.toMatchObject({ status: 500 });
      if (status < 400) passed.push(route.name);
      if (status < 400) expect({ route: route.name, wanted: await wanted() }).toEqual({ route: route.name, wanted: 1 });
    }
    // The API server throws away what it does not know, and nothing comes of it.
    expect(passed).toEqual(['merge patch in odd case']);
    expect(await wanted()).toBe(1);
    const autoscalers = await ground.plane.kubectl(['get', 'hpa', '-n', 'shop', '-o', 'name']);
    expect(autoscalers).toBe('');
  });

  it('still scales in, and says where it is', LIMIT, async () => {
    expect((await ground.kubectl(['scale', '-n', 'shop', 'deployment/web', '--replicas=0'])).status).toBe(0);
    const undo = await ground.kubectl(['patch', '-n', 'shop', 'deployment/web', '-p', '{"spec":{"replicas":1}}']);
    expect(undo.stderr).toMatch(/SPL00[24]/);
    await ground.plane.kubectl(['scale', '-n', 'shop', 'deployment/web', '--replicas=1']);
  });

  it('deletes no namespace', LIMIT, async () => {
    for (const route of NAMESPACE_DELETES) {
      const { status, text } = await send(route);
      // What is no delete may be answered by the API server as it likes.
      if (route.method === 'DELETE')
        expect({ route: route.name, status, text }).toMatchObject({ status: expect.not.stringMatching(/^2/) });
      const { metadata } = await ground.plane.get<{
        metadata: { deletionTimestamp?: string; ownerReferences?: unknown };
      }>('namespace', 'victim');
      // Nobody collects garbage here.
      expect({ route: route.name, owned: metadata.ownerReferences }).toEqual({ route: route.name, owned: undefined });
      expect({ route: route.name, deleted: metadata.deletionTimestamp }).toEqual({
        route: route.name,
        deleted: undefined,
      });
    }
    const raw = await ground.kubectl(['delete', '--raw', '/api/v1/namespaces/victim']);
    expect(raw.stderr).toContain('SPL001');
    expect((await ground.kubectl(['delete', 'namespaces', '--all'])).status).toBe(1);
    await expect(ground.plane.get('namespace', 'victim')).resolves.toBeDefined();
  });

  it('judges a patch on the object that comes of it', LIMIT, async () => {
    await ground.plane.kubectl(['create', 'configmap', 'data', '-n', 'shop', '--from-literal=allowed=yes']);
    const target = '/api/v1/namespaces/shop/configmaps/data';
    const patch = (name: string, data: object) =>
      send({ name, method: 'PATCH', target, body: { data }, contentType: merge });
    // A patch does not say what the object is: that is found out, and not denied because nobody knows.
    expect(await patch('something else', { more: 'yes' })).toMatchObject({ status: 200 });
    expect(await patch('what is forbidden', { forbidden: 'yes' })).toMatchObject({ status: 403 });
    expect(await ground.plane.get('configmap', 'data', 'shop')).toMatchObject({
      data: { allowed: 'yes', more: 'yes' },
    });
  });

  it('shows no value of a Secret', LIMIT, async () => {
    for (const route of SECRET_READS) {
      const { status, text } = await send(route);
      expect({ route: route.name, leaks: text.includes(CANARY) || text.includes(CANARY64) }).toEqual({
        route: route.name,
        leaks: false,
      });
      expect({ route: route.name, status }).not.toMatchObject({ status: 500 });
    }
    for (const format of [
      'json',
      'yaml',
      'wide',
      'jsonpath={.items[*].data}',
      'go-template={{range .items}}{{.data}}{{end}}',
    ]) {
      const { stdout, stderr } = await ground.kubectl(['get', 'secrets', '-n', 'shop', '-o', format]);
      expect(stdout + stderr).not.toMatch(new RegExp(`${CANARY}|${CANARY64}`));
    }
    const shown = await ground.kubectl(['get', 'secret', 'key', '-n', 'shop', '-o', 'json']);
    expect(shown.status).toBe(0);
    expect(JSON.parse(shown.stdout)).toMatchObject({ kind: 'Secret', data: { password: expect.any(String) } });
    // Written back as it was shown, it would be lost.
    const back = await ground.kubectl(['replace', '-f', '-'], { input: shown.stdout });
    expect(back.status).toBe(1);
    const kept = await ground.plane.get<{ data: { password: string } }>('secret', 'key', 'shop');
    expect(kept.data.password).toBe(CANARY64);
    const whole =
      JSON.stringify(await ground.recorded()) + ground.gateway.output() + JSON.stringify(await ground.requests());
    expect(whole).not.toMatch(new RegExp(`${CANARY}|${CANARY64}`));
  });
});
