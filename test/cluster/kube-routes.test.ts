/**
 * Routes round three rules, as an agent that is turned bad would look for them: scaling out needs people, namespaces are not deleted,
 * Secrets are masked. The API server itself lets this agent do everything, so whatever is stopped was stopped by Sallyport, and each
 * route is judged by what the API server has afterwards, or by what came back.
 */
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
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
      kubernetes: {verbs: ["*", update, patch], apiGroups: ["*"], resources: [namespaces/finalize, namespaces/status, deployments/status, fleets/status, customresourcedefinitions], namespaces: ["*"]}
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

/** How many there are stands in another field than usual, and only one of its versions has a Scale. */
const FLEETS = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'fleets.example.com' },
  spec: {
    group: 'example.com',
    scope: 'Namespaced',
    names: { kind: 'Fleet', listKind: 'FleetList', plural: 'fleets', singular: 'fleet' },
    versions: ['v1', 'v2'].map((name) => ({
      ...{ name, served: true, storage: name === 'v1' },
      subresources: {
        status: {},
        ...(name === 'v1' ? { scale: { specReplicasPath: '.spec.size', statusReplicasPath: '.status.size' } } : {}),
      },
      schema: {
        openAPIV3Schema: {
          type: 'object',
          properties: {
            spec: {
              type: 'object',
              properties: { size: { type: 'integer' }, port: { type: 'integer' }, color: { type: 'string' } },
            },
            status: { type: 'object', properties: { size: { type: 'integer' } } },
          },
        },
      },
    })),
  },
};
const fleet = (spec: object, version = 'v1', name = 'fleet') => ({
  apiVersion: `example.com/${version}`,
  kind: 'Fleet',
  metadata: { name, namespace: 'shop' },
  spec,
});
const others = { selector: { matchLabels: { app: 'other' } } };
const pods = { metadata: { labels: { app: 'other' } }, spec: WEB.spec.template.spec };
const job = { template: { ...pods, spec: { ...pods.spec, restartPolicy: 'Never' } } };
const at = (name: string) => ({ name, namespace: 'shop' });

const SCALABLE: readonly object[] = [
  {
    apiVersion: 'v1',
    kind: 'ReplicationController',
    metadata: at('rc'),
    spec: { selector: { app: 'rc' }, template: { ...pods, metadata: { labels: { app: 'rc' } } } },
  },
  {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: at('set'),
    spec: { ...others, serviceName: 's', template: pods },
  },
  {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: at('zero'),
    spec: { ...others, replicas: 0, serviceName: 's', template: pods },
  },
  { apiVersion: 'apps/v1', kind: 'ReplicaSet', metadata: at('rs'), spec: { ...others, template: pods } },
  { apiVersion: 'batch/v1', kind: 'Job', metadata: at('job'), spec: { ...job, suspend: true } },
  {
    apiVersion: 'batch/v1',
    kind: 'CronJob',
    metadata: at('cron'),
    spec: { schedule: '0 0 1 1 *', jobTemplate: { spec: job } },
  },
  {
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    metadata: at('idle'),
    spec: { scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'none' }, maxReplicas: 1 },
  },
];

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
${[WEB, ...SCALABLE, FLEETS].map((object) => JSON.stringify(object)).join('\n---\n')}
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

const apps = '/apis/apps/v1/namespaces/shop';
const core = '/api/v1/namespaces/shop';
const batch = '/apis/batch/v1/namespaces/shop';
const fleets = (version = 'v1') => `/apis/example.com/${version}/namespaces/shop/fleets`;
const autoscalers = (version = 'v2') => `/apis/autoscaling/${version}/namespaces/shop/horizontalpodautoscalers`;
/** The API server as its own pods reach it, through itself. */
const itselfBehind = '/api/v1/namespaces/default/services/https:kubernetes:443/proxy';
const to = (name: string, target: string, contentType: string, body: unknown): Route => ({
  ...{ name, method: 'PATCH', target, contentType, body },
});
const many = { spec: { replicas: 5 } };
const scaleOf = (name: string) => ({ ...scaleObject, metadata: at(name) });

/** By other resources, other servers, and the fields of others. */
const MORE_SCALE_OUT: readonly Route[] = [
  to('a replication controller', `${core}/replicationcontrollers/rc`, merge, many),
  { name: 'its scale', method: 'PUT', target: `${core}/replicationcontrollers/rc/scale`, body: scaleOf('rc') },
  to('a stateful set', `${apps}/statefulsets/set`, strategic, many),
  to('its scale by apply', `${apps}/statefulsets/set/scale?fieldManager=x&force=true`, apply, scaleOf('set')),
  to('null, which means one', `${apps}/statefulsets/zero`, merge, { spec: { replicas: null } }),
  to('a number that is removed', `${apps}/statefulsets/zero`, jsonPatch, [{ op: 'remove', path: '/spec/replicas' }]),
  to('a retained key less', `${apps}/statefulsets/zero`, strategic, {
    spec: { $retainKeys: ['selector', 'template', 'serviceName', 'updateStrategy'], serviceName: 's' },
  }),
  to('a replica set', `${apps}/replicasets/rs`, merge, many),
  to('a test before a copy', DEPLOYMENT, jsonPatch, [
    { op: 'test', path: '/spec/replicas', value: 1 },
    { op: 'copy', from: '/spec/template/spec/terminationGracePeriodSeconds', path: '/spec/replicas' },
  ]),
  to('a merge patch of what is a list', DEPLOYMENT, jsonPatch, many),
  to('its scale in strategic form', `${DEPLOYMENT}/scale`, strategic, many),
  to('its scale in a form that nobody serves', `${DEPLOYMENT}/scale`, 'application/cbor', many),
  to('an apply in CBOR', `${DEPLOYMENT}?fieldManager=x&force=true`, 'application/apply-patch+cbor', five),
  to('its scale of a version that is gone', DEPLOYMENT.replace('apps/v1', 'extensions/v1beta1'), merge, many),
  {
    name: 'a rollback of a version that is gone',
    method: 'POST',
    target: '/apis/extensions/v1beta1/namespaces/shop/deployments/web/rollback',
    body: { kind: 'DeploymentRollback', name: 'web' },
  },
  { name: 'its status', method: 'PUT', target: `${DEPLOYMENT}/status`, body: five },
  to('pods of a job', `${batch}/jobs/job`, merge, { spec: { parallelism: 5 } }),
  to('pods of jobs to come', `${batch}/cronjobs/cron`, merge, { spec: { jobTemplate: { spec: { parallelism: 5 } } } }),
  {
    name: 'a job of many',
    method: 'POST',
    target: `${batch}/jobs`,
    body: { apiVersion: 'batch/v1', kind: 'Job', metadata: at('jobs'), spec: { ...job, parallelism: 5 } },
  },
  to('an upper bound', `${autoscalers()}/idle`, merge, { spec: { maxReplicas: 9 } }),
  to('a lower bound', `${autoscalers('v1')}/idle`, strategic, { spec: { minReplicas: 3, maxReplicas: 9 } }),
  to('another target', `${autoscalers()}/idle`, merge, {
    spec: { scaleTargetRef: { kind: 'Deployment', name: 'web' }, minReplicas: 1 },
  }),
  { name: 'a custom resource that is many', method: 'POST', target: fleets(), body: fleet({ size: 5 }, 'v1', 'big') },
  {
    name: 'the same in a version without a scale',
    method: 'POST',
    target: fleets('v2'),
    body: fleet({ size: 5 }, 'v2', 'big'),
  },
  to('the same by apply', `${fleets()}/big?fieldManager=x`, apply, fleet({ size: 5 }, 'v1', 'big')),
  { name: 'the same by update', method: 'PUT', target: `${fleets()}/big`, body: fleet({ size: 5 }, 'v1', 'big') },
  to('a custom resource', `${fleets()}/fleet`, merge, { spec: { size: 5 } }),
  to('a custom resource in a version without a scale', `${fleets('v2')}/fleet`, merge, { spec: { size: 5 } }),
  to('a copy of another of its numbers', `${fleets('v2')}/fleet`, jsonPatch, [
    { op: 'copy', from: '/spec/port', path: '/spec/size' },
  ]),
  to('a custom resource by apply', `${fleets()}/fleet?fieldManager=x&force=true`, apply, fleet({ size: 5 })),
  {
    name: 'a custom resource by update',
    method: 'PUT',
    target: `${fleets('v2')}/fleet`,
    body: fleet({ size: 5, port: 8080 }, 'v2'),
  },
  to('the scale of a custom resource', `${fleets()}/fleet/scale`, merge, many),
  {
    name: 'the status of a custom resource',
    method: 'PUT',
    target: `${fleets()}/fleet/status`,
    body: fleet({ size: 5 }),
  },
  to('the API server behind itself', `${itselfBehind}${DEPLOYMENT}/scale`, merge, many),
  {
    name: 'a second API server by a definition',
    method: 'POST',
    target: '/apis/apiregistration.k8s.io/v1/apiservices',
    body: {
      apiVersion: 'apiregistration.k8s.io/v1',
      kind: 'APIService',
      metadata: { name: 'v1.evil.example.com' },
      spec: {
        group: 'evil.example.com',
        version: 'v1',
        service: { name: 'kubernetes', namespace: 'default' },
        groupPriorityMinimum: 1000,
        versionPriority: 10,
      },
    },
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
  ...[
    to('ownership by JSON patch', '/api/v1/namespaces/victim', jsonPatch, [
      { op: 'add', path: '/metadata/ownerReferences', value: [GONE] },
    ]),
    to('ownership by strategic patch', '/api/v1/namespaces/victim', strategic, {
      metadata: { ownerReferences: [GONE], $retainKeys: ['ownerReferences'] },
    }),
    to('ownership by apply', '/api/v1/namespaces/victim?fieldManager=x&force=true', apply, {
      ...{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'victim', ownerReferences: [GONE] } },
    }),
    {
      name: 'ownership by update',
      method: 'PUT',
      target: '/api/v1/namespaces/victim',
      body: { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'victim', ownerReferences: [GONE] } },
    },
    to('a time of deletion', '/api/v1/namespaces/victim', merge, {
      metadata: { deletionTimestamp: '2020-01-01T00:00:00Z', deletionGracePeriodSeconds: 0, finalizers: null },
    }),
    {
      name: 'no finalizers',
      method: 'PUT',
      target: '/api/v1/namespaces/victim/finalize',
      body: { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'victim' }, spec: { finalizers: [] } },
    },
  ],
  {
    name: 'delete with preconditions',
    method: 'DELETE',
    target: '/api/v1/namespaces/victim?propagationPolicy=Orphan&gracePeriodSeconds=0',
    body: { kind: 'DeleteOptions', apiVersion: 'v1', preconditions: { resourceVersion: '' } },
  },
  {
    name: 'delete through the API server itself',
    method: 'DELETE',
    target: `${itselfBehind}/api/v1/namespaces/victim`,
  },
  {
    name: 'deletecollection by a watch',
    method: 'DELETE',
    target: '/api/v1/watch/namespaces?labelSelector=team%3Dshop',
  },
  { name: 'delete of a status', method: 'DELETE', target: '/api/v1/namespaces/victim/status' },
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
  to('an apply that guesses it', '/api/v1/namespaces/shop/secrets/key?fieldManager=x', apply, {
    ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'key' }, data: { password: 'Z3Vlc3M=' } },
  }),
  to('an apply on trial by force', '/api/v1/namespaces/shop/secrets/key?fieldManager=y&force=true&dryRun=All', apply, {
    ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'key' }, data: { other: 'Z3Vlc3M=' } },
  }),
  to('a value that is not allowed', '/api/v1/namespaces/shop/secrets/key', merge, { type: 'another', immutable: 7 }),
  {
    name: 'table of the old version',
    method: 'GET',
    target: '/api/v1/secrets?includeObject=Object',
    accept: 'application/json;as=Table;v=v1beta1;g=meta.k8s.io',
  },
  {
    name: 'watch in CBOR',
    method: 'GET',
    target: '/api/v1/secrets?watch=true&timeoutSeconds=1',
    accept: 'application/cbor-seq, application/cbor;q=0.9',
  },
  {
    name: 'watch in protobuf',
    method: 'GET',
    target: '/api/v1/secrets?watch=true&timeoutSeconds=1',
    accept: 'application/vnd.kubernetes.protobuf;stream=watch',
  },
  {
    name: 'all versions',
    method: 'GET',
    target: '/api/v1/secrets?resourceVersion=0&resourceVersionMatch=NotOlderThan',
  },
  {
    name: 'by a field',
    method: 'GET',
    target: '/api/v1/secrets?fieldSelector=type%3DOpaque,metadata.namespace%3Dshop',
  },
  {
    name: 'by a field that is secret',
    method: 'GET',
    target: '/api/v1/secrets?fieldSelector=data.password%3Dguess',
  },
  { name: 'through the API server itself', method: 'GET', target: `${itselfBehind}/api/v1/secrets` },
  { name: 'through a node', method: 'GET', target: '/api/v1/nodes/none/proxy/pods' },
  { name: 'logs of a node', method: 'GET', target: '/logs/kube-apiserver.log' },
  { name: 'events', method: 'GET', target: '/apis/events.k8s.io/v1/events' },
  { name: 'a path with a doubled slash', method: 'GET', target: '//api/v1/secrets' },
  { name: 'a path with an encoded letter', method: 'GET', target: '/api/v1/namespaces/shop/secret%73/key' },
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

  /** Replicas that are wanted in the namespace, whatever wants them, or may. */
  async function wanted(): Promise<number> {
    const kinds =
      'deployments,replicasets,statefulsets,replicationcontrollers,jobs,cronjobs,horizontalpodautoscalers,fleets';
    const { items } = JSON.parse(await ground.plane.kubectl(['get', kinds, '-n', 'shop', '-o', 'json'])) as {
      items: { metadata: { ownerReferences?: unknown[] }; spec: Record<string, unknown> }[];
    };
    const many = items
      .filter(({ metadata }) => metadata.ownerReferences === undefined)
      .flatMap(({ spec }) => [
        spec,
        (spec['jobTemplate'] as typeof spec | undefined)?.['spec'] as typeof spec | undefined,
      ])
      .flatMap((spec) => ['replicas', 'parallelism', 'size', 'minReplicas', 'maxReplicas'].map((name) => spec?.[name]));
    return many.reduce<number>((sum, each) => sum + (typeof each === 'number' ? each : 0), 0);
  }

  it('lets nothing scale out without people', LIMIT, async () => {
    // A group of its own is described a moment after it is served; until then nothing of it is certain.
    const small = await vi.waitFor(
      async () => {
        const made = await send({
          name: 'one',
          method: 'POST',
          target: fleets(),
          body: fleet({ size: 1, port: 8080 }),
        });
        expect(made.text).toContain('8080');
        return made.status;
      },
      { timeout: 30_000 },
    );
    // By its definition one is one, whatever other numbers it has.
    expect(small).toBe(201);
    const before = await wanted();
    const passed: string[] = [];
    for (const route of [...SCALE_OUT, ...MORE_SCALE_OUT]) {
      const { status } = await send(route);
      expect({ route: route.name, status }).not.toMatchObject({ status: 500 });
      if (status < 400) passed.push(route.name);
      if (status < 400)
        expect({ route: route.name, wanted: await wanted() }).toEqual({ route: route.name, wanted: before });
    }
    // The API server throws away what it does not know, or what does not belong there, and nothing comes of it.
    expect(passed).toEqual(['merge patch in odd case', 'its status']);
    expect(await wanted()).toBe(before);
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
