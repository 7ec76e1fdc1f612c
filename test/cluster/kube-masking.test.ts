/**
 * What a client of a real API server is shown where MaskingRules apply: values of Secrets, variables, ConfigMaps, annotations and custom
 * resources, by whatever way an object comes. Each of them holds the canary, which must come back nowhere; the clients must still work.
 */
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { describeWith } from '../support/requires.ts';
import { controlPlaneNeeds } from './control-plane.ts';
import { ALLOW_ALL, type KubeLaneGround, startKubeLaneGround } from './kube-lane-ground.ts';

const LIMIT = { timeout: 60_000 };
const CANARY = 'canary-71b3fa90';
const CANARY64 = Buffer.from(CANARY).toString('base64');
const LEAK = new RegExp(`${CANARY}|${CANARY64}|${CANARY64.replaceAll('=', '')}`);

const POLICIES = `${ALLOW_ALL}
    - name: operations
      effect: Allow
      kubernetes: {operations: [ReadSecret, Scale, PrivilegedPod], namespaces: ["*"]}
    - name: secrets
      effect: Allow
      kubernetes: {verbs: [patch, update, create], resources: [secrets], namespaces: ["*"]}
`;

const MASKS = `
apiVersion: sallyport.dev/v1alpha1
kind: MaskingRule
metadata: {name: values, namespace: default}
spec:
  connections: {all: true}
  kubernetes:
    - secrets: ["*"]
    - env: ["*TOKEN*"]
    - configMaps: ["secret.*"]
    - annotations: ["example.com/token"]
      transform: {partial: {keepLast: 2}}
    - resources: [widgets.example.com]
      fields: ["spec.apiKey", "spec.pin"]
    - resources: [vaults.example.com]
      fields: ["spec.code", "spec.tokens"]
`;

const CRD = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Widget, listKind: WidgetList, plural: widgets, singular: widget}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties: {apiKey: {type: string}, pin: {type: integer}, size: {type: integer}}
              x-kubernetes-preserve-unknown-fields: true
      additionalPrinterColumns:
        - {name: Key, type: string, jsonPath: .spec.apiKey}
        - {name: Pin, type: integer, jsonPath: .spec.pin}
        - {name: Size, type: integer, jsonPath: .spec.size}
`;

/** What it is masked by stands beside the value: a name, a kind. */
const VAULTS = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'vaults.example.com' },
  spec: {
    group: 'example.com',
    scope: 'Namespaced',
    names: { kind: 'Vault', listKind: 'VaultList', plural: 'vaults', singular: 'vault' },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        selectableFields: [{ jsonPath: '.spec.code' }, { jsonPath: '.spec.pair.value' }, { jsonPath: '.spec.color' }],
        schema: {
          openAPIV3Schema: {
            type: 'object',
            properties: {
              spec: {
                type: 'object',
                'x-kubernetes-preserve-unknown-fields': true,
                properties: {
                  code: { type: 'string' },
                  color: { type: 'string' },
                  pair: { type: 'object', properties: { name: { type: 'string' }, value: { type: 'string' } } },
                  tokens: { type: 'array', items: { type: 'string' }, 'x-kubernetes-list-type': 'set' },
                  pairs: {
                    type: 'array',
                    'x-kubernetes-list-type': 'map',
                    'x-kubernetes-list-map-keys': ['id'],
                    items: {
                      type: 'object',
                      required: ['id'],
                      properties: { id: { type: 'integer' }, name: { type: 'string' }, value: { type: 'string' } },
                    },
                  },
                },
              },
            },
          },
        },
      },
    ],
  },
};

/** Tells everybody who writes a vault what is in it. */
const GOSSIP = [
  {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'ValidatingAdmissionPolicy',
    metadata: { name: 'gossip' },
    spec: {
      matchConstraints: {
        resourceRules: [
          { apiGroups: ['example.com'], apiVersions: ['v1'], operations: ['UPDATE'], resources: ['vaults'] },
        ],
      },
      validations: [{ expression: 'false', messageExpression: '"it holds " + object.spec.code' }],
    },
  },
  {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'ValidatingAdmissionPolicyBinding',
    metadata: { name: 'gossip' },
    spec: { policyName: 'gossip', validationActions: ['Warn'] },
  },
];

const container = {
  name: 'c',
  image: 'example.invalid/c',
  env: [
    { name: 'API_TOKEN', value: CANARY },
    { name: 'MODE', value: 'fast' },
  ],
};
const template = {
  metadata: { labels: { app: 'a' } },
  spec: { containers: [container], initContainers: [{ ...container, name: 'i' }] },
};
const selector = { matchLabels: { app: 'a' } };
const metadata = (name: string, annotations: object = {}) => ({ name, namespace: 'shop', annotations });
const job = { template: { ...template, spec: { ...template.spec, restartPolicy: 'Never' } } };

const OBJECTS: readonly object[] = [
  { apiVersion: 'v1', kind: 'Secret', metadata: metadata('key'), stringData: { password: CANARY } },
  {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: metadata('settings'),
    data: { 'secret.ini': CANARY, open: 'seen' },
    binaryData: { 'secret.bin': CANARY64 },
  },
  { apiVersion: 'v1', kind: 'Pod', metadata: metadata('pod', { 'example.com/token': CANARY }), spec: template.spec },
  { apiVersion: 'apps/v1', kind: 'Deployment', metadata: metadata('deployment'), spec: { selector, template } },
  {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: metadata('stateful'),
    spec: { selector, template, serviceName: 's' },
  },
  { apiVersion: 'apps/v1', kind: 'DaemonSet', metadata: metadata('daemon'), spec: { selector, template } },
  { apiVersion: 'apps/v1', kind: 'ReplicaSet', metadata: metadata('replicas'), spec: { selector, template } },
  {
    apiVersion: 'v1',
    kind: 'ReplicationController',
    metadata: metadata('controller'),
    spec: { selector: { app: 'a' }, template },
  },
  { apiVersion: 'v1', kind: 'PodTemplate', metadata: metadata('template'), template },
  { apiVersion: 'batch/v1', kind: 'Job', metadata: metadata('job'), spec: job },
  {
    apiVersion: 'batch/v1',
    kind: 'CronJob',
    metadata: metadata('cron'),
    spec: { schedule: '0 0 1 1 *', jobTemplate: { spec: job } },
  },
];

const WIDGET = {
  apiVersion: 'example.com/v1',
  kind: 'Widget',
  metadata: metadata('widget'),
  spec: {
    apiKey: CANARY,
    pin: 4711,
    size: 3,
    manifests: [OBJECTS[0], { ...OBJECTS[0], stringData: undefined, data: { p: CANARY64 } }],
  },
};

const VAULT = {
  apiVersion: 'example.com/v1',
  kind: 'Vault',
  metadata: metadata('vault'),
  spec: {
    code: CANARY,
    color: 'red',
    tokens: [CANARY],
    pair: { name: 'API_TOKEN', value: CANARY },
    pairs: [{ id: 1, name: 'API_TOKEN', value: CANARY }],
    inner: { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'inner' }, data: { password: CANARY64 } },
  },
};

const yaml = (objects: readonly object[]): string => objects.map((object) => JSON.stringify(object)).join('\n---\n');

describeWith(controlPlaneNeeds, 'what is masked in the Kubernetes lane', () => {
  let ground: KubeLaneGround;
  const kinds =
    'secrets,configmaps,pods,deployments,statefulsets,daemonsets,replicasets,replicationcontrollers,podtemplates,jobs,cronjobs,controllerrevisions,widgets';

  beforeAll(async () => {
    ground = await startKubeLaneGround({
      manifests: `apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n${CRD}\n---\n${yaml([VAULTS, ...GOSSIP])}`,
      resources: { 'policies.yaml': POLICIES, 'masks.yaml': MASKS },
    });
    const { plane } = ground;
    await plane.kubectl(['wait', '--for=condition=Established', 'crd/widgets.example.com', 'crd/vaults.example.com']);
    // By client-side apply, which keeps each object in an annotation.
    await plane.kubectl(['apply', '-f', '-'], { input: yaml([...OBJECTS, WIDGET]) });
    await plane.kubectl(['apply', '--server-side', '-f', '-'], { input: yaml([VAULT]) });
  }, 120_000);
  afterAll(() => ground?.[Symbol.asyncDispose]());

  it('comes back in no form of a list', LIMIT, async () => {
    for (const output of ['json', 'wide', 'jsonpath={.items[*]}', 'custom-columns=A:.metadata.annotations,B:.spec']) {
      const shown = await ground.kubectl(['get', kinds, '-n', 'shop', '-o', output, '--show-managed-fields']);
      expect({ output, status: shown.status, stderr: shown.stderr }).toEqual({ output, status: 0, stderr: '' });
      expect(shown.stdout).not.toMatch(LEAK);
    }
    for (const resource of ['pods', 'widgets']) {
      const described = await ground.kubectl(['describe', resource, '-n', 'shop']);
      expect({ resource, status: described.status }).toEqual({ resource, status: 0 });
      expect(described.stdout).not.toMatch(LEAK);
    }
  });

  it('keeps what no rule is about, and the types of what one is about', LIMIT, async () => {
    const get = async (kind: string, name: string): Promise<unknown> =>
      JSON.parse((await ground.kubectl(['get', kind, name, '-n', 'shop', '-o', 'json'])).stdout);
    expect(await get('secret', 'key')).toMatchObject({ type: 'Opaque', data: { password: 'Kioq' } });
    expect(await get('configmap', 'settings')).toMatchObject({
      data: { 'secret.ini': '***', open: 'seen' },
      binaryData: { 'secret.bin': 'Kioq' },
    });
    expect(await get('pod', 'pod')).toMatchObject({
      metadata: { annotations: { 'example.com/token': '*************90' } },
      spec: {
        containers: [
          {
            env: [
              { name: 'API_TOKEN', value: '***' },
              { name: 'MODE', value: 'fast' },
            ],
          },
        ],
      },
    });
    expect(await get('widget', 'widget')).toMatchObject({ spec: { apiKey: '***', pin: 0, size: 3 } });
    const table = await ground.kubectl(['get', 'widgets', '-n', 'shop']);
    expect(table.stdout).toMatch(/widget +\*\*\* +0 +3/);
    const pods = await ground.kubectl(['get', 'pods', '-n', 'shop']);
    expect(pods.stdout).toMatch(/pod +0\/1/);
  });

  it('comes back in no watch', LIMIT, async () => {
    const targets = [
      '/api/v1/namespaces/shop/secrets?watch=true&timeoutSeconds=1',
      '/api/v1/namespaces/shop/pods?watch=true&timeoutSeconds=1&allowWatchBookmarks=true',
      '/apis/example.com/v1/widgets?watch=true&timeoutSeconds=1',
      '/api/v1/watch/namespaces/shop/secrets?timeoutSeconds=1',
    ];
    const forms = ['', ';as=Table;v=v1;g=meta.k8s.io', ';as=PartialObjectMetadata;v=v1;g=meta.k8s.io'];
    const asked = targets.flatMap((target) => forms.map((form) => ({ target, accept: `application/json${form}` })));
    const answers = await Promise.all(
      asked.map(({ target, accept }) => ground.request('GET', target, { headers: { accept } })),
    );
    for (const [index, { status, text }] of answers.entries()) {
      expect({ ...asked[index], status }).toEqual({ ...asked[index], status: 200 });
      const events = text
        .trimEnd()
        .split('\n')
        .map((line): unknown => JSON.parse(line));
      expect(events[0]).toMatchObject({ type: 'ADDED', object: expect.anything() });
      expect(text).not.toMatch(LEAK);
    }
  });

  it('is quoted in no error', LIMIT, async () => {
    // An API server says what of a pod must not change, and shows all of it.
    const image = [{ op: 'replace', path: '/spec/containers/0/env/0/value', value: 'another' }];
    const invalid = await ground.request('PATCH', '/api/v1/namespaces/shop/pods/pod', {
      body: image,
      contentType: 'application/json-patch+json',
    });
    expect(invalid.status).toBe(422);
    expect(invalid.json).toMatchObject({ kind: 'Status', reason: 'Invalid', code: 422 });
    expect(invalid.text).not.toMatch(LEAK);
    const direct = await ground.plane
      .kubectl(['patch', 'pod', 'pod', '-n', 'shop', '--type=json', '-p', JSON.stringify(image)])
      .catch(String);
    expect(direct).toMatch(LEAK);
    const missing = await ground.kubectl(['get', 'pod', 'none', '-n', 'shop']);
    expect(missing.stderr).toContain('pods "none" not found');
  });

  it('survives what clients do with objects that they see masked', LIMIT, async () => {
    const real = async (): Promise<unknown> => ground.plane.get('secret', 'key', 'shop');
    const password = { data: { password: CANARY64 } };
    for (const parameters of [
      ['label', 'secret', 'key', 'a=b'],
      ['annotate', 'secret', 'key', 'a=b'],
      ['label', 'pod', 'pod', 'a=b'],
      ['set', 'env', 'deployment/deployment', 'MODE=slow'],
    ]) {
      const done = await ground.kubectl([...parameters, '-n', 'shop', '-o', 'yaml']);
      expect({ parameters, status: done.status, stderr: done.stderr }).toEqual({ parameters, status: 0, stderr: '' });
      expect(done.stdout).not.toMatch(LEAK);
    }
    expect(await real()).toMatchObject(password);
    const deployment = await ground.plane.get('deployment', 'deployment', 'shop');
    expect(JSON.stringify(deployment)).toMatch(LEAK);
    // Applied again from the file that has the values. Server-side, kubectl would copy the annotation that it sees masked, and goes on without.
    for (const [parameters, said] of [
      [['apply'], /secret\/key (configured|unchanged)/],
      [['apply', '--server-side', '--force-conflicts'], /secret\/key serverside-applied/],
      [['diff'], /^(?!.*Error)/],
    ] as const) {
      const done = await ground.kubectl([...parameters, '-f', '-'], { input: yaml([OBJECTS[0]!, OBJECTS[1]!]) });
      expect({ parameters, stdout: done.stdout }).toEqual({ parameters, stdout: expect.stringMatching(said) });
      expect(done.stdout + done.stderr).not.toMatch(LEAK);
      expect(await real()).toMatchObject(password);
    }
    for (const kind of ['secret/key', 'deployment/deployment', 'configmap/settings']) {
      const shown = await ground.kubectl(['get', kind, '-n', 'shop', '-o', 'yaml']);
      const back = await ground.kubectl(['replace', '-f', '-'], { input: shown.stdout });
      expect({ kind, status: back.status, stderr: back.stderr }).toMatchObject({
        kind,
        status: 1,
        stderr: expect.stringContaining('SPM012'),
      });
    }
    expect(await real()).toMatchObject(password);
  });

  const vaults = '/apis/example.com/v1/namespaces/shop/vaults';
  const patchVault = (contentType: string, body: unknown, query = '') =>
    ground.request('PATCH', `${vaults}/vault${query}`, { body, contentType });
  const [merge, apply, json] = ['merge-patch+json', 'apply-patch+yaml', 'json-patch+json'].map(
    (type) => `application/${type}`,
  ) as [string, string, string];

  it('is not shown by a patch that takes away what it is masked by', LIMIT, async () => {
    // The API server describes a new group a moment after it serves it, and says then that it tries what is asked on trial.
    await vi.waitFor(
      async () => expect((await patchVault(merge, { spec: { color: 'blue' } })).text).toContain('"blue"'),
      { timeout: 30_000 },
    );
    const before = await ground.plane.get<{ spec: unknown }>('vault', 'vault', 'shop');
    const vault = { apiVersion: 'example.com/v1', kind: 'Vault', metadata: { name: 'vault' } };
    const forced = '?fieldManager=thief&force=true';
    // Whoever owns the name, and says it no more, takes it away.
    const owner = (manager: string, operation: string, fields: object) => ({
      ...{ manager, operation, apiVersion: 'example.com/v1', fieldsType: 'FieldsV1', fieldsV1: { 'f:spec': fields } },
    });
    const owned = [
      owner('thief', 'Apply', { 'f:pair': { 'f:name': {} } }),
      owner('other', 'Update', {
        ...{ '.': {}, 'f:code': {}, 'f:color': {}, 'f:pairs': { '.': {}, 'k:{"id":1}': { '.': {}, 'f:value': {} } } },
        ...{ 'f:pair': { '.': {}, 'f:value': {} }, 'f:inner': { '.': {}, 'f:data': {} } },
      }),
    ];
    expect((await patchVault(merge, { metadata: { managedFields: owned } })).status).toBe(200);
    const patches: readonly (readonly [string, unknown, string?])[] = [
      [merge, { spec: { pair: { name: 'other' } } }],
      [merge, { spec: { pair: { name: 'other' } } }, '?dryRun=All'],
      [merge, { spec: { pair: { name: null } } }],
      [merge, { spec: { inner: { kind: 'Thing' } } }],
      [merge, { spec: { inner: { kind: null } } }],
      [apply, { ...vault, spec: { pair: { name: 'other' } } }, forced],
      [apply, { ...vault, spec: { pairs: [{ id: 1, name: 'other' }] } }, forced],
      [apply, { ...vault, spec: { inner: { kind: 'Thing' } } }, forced],
      [apply, vault, forced],
      [json, [{ op: 'replace', path: '/spec/pair/name', value: 'other' }]],
      [json, [{ op: 'remove', path: '/spec/pairs/0/name' }]],
      [json, [{ op: 'move', from: '/spec/pair/value', path: '/spec/color' }]],
    ];
    for (const [type, body, query] of patches) {
      const { status, text } = await patchVault(type, body, query);
      const what = JSON.stringify(body);
      expect({ what, status, text }).toEqual({ what, status: 403, text: expect.stringContaining('SPM013') });
      expect(text).not.toMatch(LEAK);
    }
    expect((await ground.plane.get<{ spec: unknown }>('vault', 'vault', 'shop')).spec).toEqual(before.spec);
    const own = { color: 'blue', note: 'what the client wrote itself' };
    const body = { metadata: { labels: { a: 'b' } }, spec: { ...own, pair: { name: 'MY_TOKEN' } } };
    const allowed = await patchVault(merge, body);
    expect(allowed.status).toBe(200);
    expect(allowed.text).not.toMatch(LEAK);
  });

  it('is found by no selector, in no managed field, in no warning', LIMIT, async () => {
    const list = (query: string) => ground.request('GET', `${vaults}?${query}`);
    for (const query of [
      'fieldSelector=spec.code%3Dguess',
      'fieldSelector=spec.code!%3Dguess',
      'fieldSelector=metadata.name%3Dvault,spec.pair.value%3D%3Dguess',
      'watch=true&timeoutSeconds=1&fieldSelector=.spec.code%3Dguess',
    ]) {
      const { status, text } = await list(query);
      expect({ query, status, text }).toMatchObject({ query, status: expect.toSatisfy((code) => code >= 400) });
      if (status === 403) expect(text).toContain('SPM015');
      expect(text).not.toMatch(LEAK);
    }
    const removed = await ground.request('DELETE', `${vaults}?fieldSelector=spec.code%3Dguess&dryRun=All`);
    expect(removed.status).toBe(403);
    const found = await list('fieldSelector=spec.color%3Dblue&labelSelector=a%3Db');
    expect(found.json).toMatchObject({ items: [{ metadata: { name: 'vault' } }] });

    // An API server names the items of a set by what they are.
    const anew = { input: yaml([VAULT]) };
    await ground.plane.kubectl(['apply', '--server-side', '--force-conflicts', '-f', '-'], anew);
    const direct = await ground.plane.kubectl(['get', 'vault', '-n', 'shop', '-o', 'json', '--show-managed-fields']);
    expect(direct).toContain(`v:\\"${CANARY}`);
    for (const form of ['', ';as=PartialObjectMetadataList;v=v1;g=meta.k8s.io', ';as=Table;v=v1;g=meta.k8s.io']) {
      const { status, text } = await ground.request('GET', vaults, { headers: { accept: `application/json${form}` } });
      expect({ form, status }).toEqual({ form, status: 200 });
      expect(text).not.toMatch(LEAK);
    }

    const told = await patchVault(merge, { metadata: { labels: { a: 'c' } } });
    expect(told.status).toBe(200);
    expect(told.headers.get('warning')).toMatch(/withheld/);
    expect(told.headers.get('warning')).not.toMatch(LEAK);
    const label = ['label', 'vault', 'vault', '-n', 'shop', 'a=d', '--overwrite'];
    expect((await ground.kubectl(label)).stderr).not.toMatch(LEAK);
  });

  it('is in no record', LIMIT, async () => {
    const whole = JSON.stringify(await ground.recorded()) + ground.gateway.output();
    // What a client sent itself, such as the body of an apply, is not what a rule hides from it.
    expect(whole.replaceAll(/"(request|body)":"[^"]*"/g, '')).not.toMatch(LEAK);
  });
});
