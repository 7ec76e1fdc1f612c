import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseRequestInfo } from '../request/request-info.ts';
import type { BodyRefusal, Understanding } from './port.ts';
import { parseProtobuf } from './protobuf.ts';
import { understand } from './understand.ts';

const DEPLOYMENTS = '/apis/apps/v1/namespaces/shop/deployments';
const PODS = '/api/v1/namespaces/shop/pods';
const MERGE = 'application/merge-patch+json';

function meant(
  method: string,
  target: string,
  body: unknown,
  contentType = 'application/json',
): Understanding | BodyRefusal {
  const url = new URL(target, 'https://cluster');
  const segments = url.pathname.slice(1).split('/').map(decodeURIComponent);
  const request = { method, target, contentType, path: url.pathname, segments, query: [...url.searchParams] };
  const info = parseRequestInfo(request);
  if ('refusal' in info) throw new Error(info.refusal);
  const bytes = Buffer.isBuffer(body) ? body : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  return understand(request, info, bytes);
}

function understood(...parameters: Parameters<typeof meant>): Understanding {
  const meaning = meant(...parameters);
  if ('refusal' in meaning) throw new Error(meaning.refusal);
  return meaning;
}

/** Operations, other verbs, and what is not known. */
function tuples(...parameters: Parameters<typeof meant>): readonly string[] {
  return understood(...parameters).command.tuples.map((tuple) => {
    switch (tuple.type) {
      case 'operation':
        return `${tuple.operation} ${tuple.resource}/${tuple.name}`;
      case 'api':
        return `${tuple.verb} ${tuple.resource}/${tuple.name}`;
      case 'unknown':
        return 'unknown';
      default:
        return tuple.type;
    }
  });
}

const deployment = (spec: object, pod: object = {}) => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'web' },
  spec: { template: { spec: { containers: [{ name: 'web', image: 'web' }], ...pod } }, ...spec },
});

describe('replicas', () => {
  test.each<[string, string, string, unknown, string, readonly string[]]>([
    [
      'made with many',
      'POST',
      DEPLOYMENTS,
      deployment({ replicas: 50 }),
      'application/json',
      ['create deployments/web', 'ScaleOut deployments/web'],
    ],
    ['made with one', 'POST', DEPLOYMENTS, deployment({}), 'application/json', ['create deployments/web']],
    [
      'of a job',
      'POST',
      '/apis/batch/v1/namespaces/shop/jobs',
      { metadata: { name: 'j' }, spec: { parallelism: 9 } },
      'application/json',
      ['create jobs/j', 'ScaleOut jobs/j'],
    ],
    [
      'and nothing else by a merge patch',
      'PATCH',
      `${DEPLOYMENTS}/web`,
      { spec: { replicas: 9 } },
      MERGE,
      ['Scale deployments/web'],
    ],
    ['to none', 'PATCH', `${DEPLOYMENTS}/web/scale`, { spec: { replicas: 0 } }, MERGE, ['ScaleIn deployments/web']],
    ['removed', 'PATCH', `${DEPLOYMENTS}/web`, { spec: { replicas: null } }, MERGE, ['Scale deployments/web']],
    [
      'with the whole spec',
      'PATCH',
      `${DEPLOYMENTS}/web`,
      { spec: null },
      MERGE,
      ['patch deployments/web', 'Scale deployments/web', 'unknown'],
    ],
    [
      'beside a label',
      'PATCH',
      `${DEPLOYMENTS}/web`,
      { metadata: { labels: { a: 'b' } }, spec: { replicas: 9 } },
      MERGE,
      ['patch deployments/web', 'Scale deployments/web'],
    ],
    [
      'of an old version',
      'PATCH',
      '/apis/apps/v1beta1/namespaces/shop/statefulsets/db',
      { spec: { replicas: 9 } },
      MERGE,
      ['Scale statefulsets/db'],
    ],
    [
      'of a custom resource',
      'PATCH',
      '/apis/example.com/v1/namespaces/shop/fleets/a',
      { spec: { size: 9 } },
      MERGE,
      ['patch fleets/a', 'Scale fleets/a', 'PrivilegedPod fleets/a'],
    ],
    [
      'made of a custom resource',
      'POST',
      '/apis/example.com/v1/namespaces/shop/fleets',
      { metadata: { name: 'a' }, spec: { replicas: 9 } },
      'application/json',
      ['create fleets/a', 'ScaleOut fleets/a'],
    ],
    [
      'not by a status',
      'PATCH',
      `${DEPLOYMENTS}/web/status`,
      { status: { replicas: 9 } },
      MERGE,
      ['patch deployments/web'],
    ],
    [
      'by a copy',
      'PATCH',
      `${DEPLOYMENTS}/web`,
      [{ op: 'copy', from: '/spec/minReadySeconds', path: '/spec/replicas' }],
      'application/json-patch+json',
      ['Scale deployments/web'],
    ],
    [
      'by a move away',
      'PATCH',
      `${DEPLOYMENTS}/web`,
      [{ op: 'move', from: '/spec/replicas', path: '/spec/minReadySeconds' }],
      'application/json-patch+json',
      ['patch deployments/web', 'Scale deployments/web'],
    ],
    [
      'by an odd pointer',
      'PATCH',
      `${DEPLOYMENTS}/web`,
      [{ op: 'add', path: 'x/spec/replicas', value: 9 }],
      'application/json-patch+json',
      ['patch deployments/web', 'Scale deployments/web', 'unknown', 'delete deployments/web'],
    ],
  ])('%s', (_name, method, target, body, contentType, expected) => {
    expect([...tuples(method, target, body, contentType)].sort()).toEqual([...expected].sort());
  }); // prettier-ignore

  test('by an autoscaler of a ReplicationController', () => {
    const body = {
      metadata: { name: 'a' },
      spec: { maxReplicas: 5, scaleTargetRef: { apiVersion: 'v1', kind: 'ReplicationController', name: 'old' } },
    }; // prettier-ignore
    const target = '/apis/autoscaling/v1/namespaces/shop/horizontalpodautoscalers';
    expect(tuples('POST', target, body)).toEqual([
      'create horizontalpodautoscalers/a',
      'ScaleOut replicationcontrollers/old',
    ]);
  });
});

describe('pods', () => {
  const pod = (spec: object) => ({
    metadata: { name: 'p' },
    spec: { containers: [{ name: 'a', image: 'a' }], ...spec },
  });
  test.each<[string, object]>([
    ['hostPath', { volumes: [{ name: 'h', hostPath: { path: '/' } }] }],
    ['hostNetwork', { hostNetwork: true }],
    ['hostPID', { hostPID: true }],
    ['hostIPC', { hostIPC: true }],
    ['privileged', { containers: [{ name: 'a', securityContext: { privileged: true } }] }],
    ['privileged init', { initContainers: [{ name: 'a', securityContext: { privileged: true } }] }],
    ['capabilities', { containers: [{ name: 'a', securityContext: { capabilities: { add: ['SYS_ADMIN'] } } }] }],
    ['hostPort', { containers: [{ name: 'a', ports: [{ containerPort: 80, hostPort: 80 }] }] }],
    ['procMount', { containers: [{ name: 'a', securityContext: { procMount: 'Unmasked' } }] }],
    ['sysctls', { securityContext: { sysctls: [{ name: 'kernel.msgmax', value: '1' }] } }],
    ['seccomp', { securityContext: { seccompProfile: { type: 'Unconfined' } } }],
    ['Windows', { securityContext: { windowsOptions: { hostProcess: true } } }],
  ])('reach beyond their containers: %s', (_name, spec) => {
    expect(tuples('POST', PODS, pod(spec))).toEqual(['create pods/p', 'PrivilegedPod pods/p']);
    const cronjob = {
      metadata: { name: 'c' },
      spec: { jobTemplate: { spec: { template: { spec: pod(spec).spec } } } },
    };
    expect(tuples('POST', '/apis/batch/v1/namespaces/shop/cronjobs', cronjob)).toContain('PrivilegedPod cronjobs/c');
  });

  test('with nothing of the kind are pods', () => {
    const spec = { serviceAccountName: 'default', volumes: [{ name: 'e', emptyDir: {} }], hostNetwork: false };
    expect(tuples('POST', PODS, pod(spec))).toEqual(['create pods/p']);
    expect(understood('POST', PODS, pod(spec)).certain).toBeDefined();
  });

  test('as another service account', () => {
    expect(tuples('POST', DEPLOYMENTS, deployment({}, { serviceAccountName: 'admin' }))).toEqual([
      'create deployments/web',
      'UseServiceAccount serviceaccounts/admin',
    ]);
    expect(tuples('POST', PODS, pod({ serviceAccount: 'admin' }))).toContain('UseServiceAccount serviceaccounts/admin');
  });

  test('that are not in the request are not known', () => {
    const strategic = 'application/strategic-merge-patch+json';
    const image = { spec: { template: { spec: { containers: [{ name: 'web', image: 'b' }] } } } };
    expect(tuples('PATCH', `${DEPLOYMENTS}/web`, image, strategic)).toEqual(['patch deployments/web', 'unknown']);
    const label = { metadata: { labels: { a: 'b' } } };
    expect(tuples('PATCH', `${DEPLOYMENTS}/web`, label, strategic)).toEqual(['patch deployments/web']);
    const annotate = (annotations: object | null) => ({ spec: { template: { metadata: { annotations } } } });
    const restart = annotate({ 'kubectl.kubernetes.io/restartedAt': '2026-11-26T00:00:00Z' });
    expect(tuples('PATCH', `${DEPLOYMENTS}/web`, restart, strategic)).toEqual(['patch deployments/web']);
    const unconfined = annotate({ 'container.apparmor.security.beta.kubernetes.io/web': 'unconfined' });
    expect(tuples('PATCH', `${DEPLOYMENTS}/web`, unconfined, strategic)).toContain('unknown');
    expect(tuples('PATCH', `${DEPLOYMENTS}/web`, annotate(null), strategic)).toContain('unknown');
  });
});

test('a Secret that becomes the token of a service account is that account', () => {
  const metadata = { name: 's', annotations: { 'kubernetes.io/service-account.name': 'admin' } };
  const secret = { metadata, type: 'kubernetes.io/service-account-token' };
  expect(tuples('POST', '/api/v1/namespaces/shop/secrets', secret)).toContain('Impersonate serviceaccounts/admin');
});

test('a volume on the disk of a node is one of a privileged pod', () => {
  const volume = { metadata: { name: 'v' }, spec: { hostPath: { path: '/etc' } } };
  expect(tuples('POST', '/api/v1/persistentvolumes', volume)).toContain('PrivilegedPod persistentvolumes/v');
});

test('an update without a version may create', () => {
  const object = (metadata: object) => ({ metadata: { name: 'c', ...metadata }, data: {} });
  const target = '/api/v1/namespaces/shop/configmaps/c';
  expect(tuples('PUT', target, object({}))).toEqual(['update configmaps/c', 'create configmaps/c']);
  expect(tuples('PUT', target, object({ resourceVersion: '7' }))).toEqual(['update configmaps/c']);
  expect(tuples('PUT', target, object({ resourceVersion: '0' }))).toEqual([
    'update configmaps/c',
    'create configmaps/c',
  ]);
  const owned = object({ resourceVersion: '7', ownerReferences: [{ kind: 'Pod', name: 'p', uid: 'u' }] });
  expect(tuples('PUT', target, owned)).toEqual(['update configmaps/c', 'delete configmaps/c']);
});

test.each(['status', 'finalize'])('an owner deletes a namespace by its subresource %s too', (subresource) => {
  const owned = { metadata: { name: 'x', ownerReferences: [{ kind: 'Namespace', name: 'gone', uid: 'u' }] } };
  const target = `/api/v1/namespaces/x/${subresource}`;
  const [method, type] =
    subresource === 'status' ? ['PATCH', 'application/merge-patch+json'] : ['PUT', 'application/json'];
  const { command } = understood(method, target, JSON.stringify(owned), type);
  expect(command.tuples).toContainEqual(
    expect.objectContaining({ type: 'api', verb: 'delete', resource: 'namespaces', subresource: '', name: 'x' }),
  );
});

test('the words of an exec are those of its URL, in order', () => {
  const { command } = understood('GET', `${PODS}/p/exec?command=cat&command=a%26b&container=web&stdin=true&tty=1`, '');
  expect(command.statements).toMatchObject([{ argv: ['cat', 'a&b'], container: 'web', stdin: true, tty: true }]);
});

describe('a body is refused', () => {
  const nested = (levels: number): string => `{"a":${'['.repeat(levels)}${']'.repeat(levels)}}`;
  test.each<[string, string, string | Buffer, string, RegExp]>([
    [
      'a name twice',
      'POST',
      '{"spec":{"replicas":1},"spec":{"paused":true}}',
      'application/json',
      /"spec" is there twice/,
    ],
    [
      'a name twice, once escaped',
      'POST',
      '{"spec":{"replicas":1,"re\\u0070licas":9}}',
      'application/json',
      /"replicas" is there twice/,
    ],
    ['a name twice behind a backslash', 'POST', '{"a":"\\\\","a":1}', 'application/json', /"a" is there twice/],
    ['a list', 'POST', '[]', 'application/json', /no object/],
    ['half of JSON', 'POST', '{', 'application/json', /no valid JSON/],
    ['Latin-1', 'POST', Buffer.from('{"a":"\xff"}', 'latin1'), 'application/json', /UTF-8/],
    ['a byte order mark', 'POST', '\ufeff{}', 'application/json', /no valid JSON/],
    ['600 levels', 'POST', nested(600), 'application/json', /nested deeper/],
    ['200,000 levels', 'POST', nested(200_000), 'application/json', /nested deeper|no valid JSON/],
    ['15,000 levels of YAML', 'POST', '[ '.repeat(15_000), 'application/yaml', /more than 6000/],
    ['long YAML', 'POST', 'a: b\n'.repeat(60_000), 'application/yaml', /32 KiB/],
    ['YAML of many parts', 'POST', `a: [${'[],'.repeat(9_000)}]`, 'application/yaml', /more than 6000/],
    ['CBOR', 'POST', '{}', 'application/cbor', /not taken/],
    ['no protobuf', 'POST', 'k8s\0nonsense', 'application/vnd.kubernetes.protobuf', /no object in protobuf/],
    ['an apply in CBOR', 'PATCH', '{}', 'application/apply-patch+cbor', /not taken/],
    ['a type in capitals', 'PATCH', '{}', 'Application/Merge-Patch+JSON', /not taken/],
    ['a JSON patch that is none', 'PATCH', '{}', 'application/json-patch+json', /list of operations/],
    ['an alias', 'PATCH', 'a: &x 1\nb: *x', 'application/apply-patch+yaml', /anchors/],
    ['a tag', 'PATCH', 'a: !!int "3"', 'application/apply-patch+yaml', /tags/],
    ['a merged mapping', 'PATCH', '<<: {a: 1}\nb: 2', 'application/apply-patch+yaml', /merged/],
    ['a name twice in YAML', 'PATCH', 'a: 1\n"a": 2', 'application/apply-patch+yaml', /twice/],
    ['two documents', 'PATCH', 'a: 1\n---\na: 2', 'application/apply-patch+yaml', /one document/],
    ['a date', 'PATCH', 'a: 2026-11-26', 'application/apply-patch+yaml', /no JSON|JSON has none/],
  ])('%s', (_name, method, body, contentType, why) => {
    const target = method === 'POST' ? DEPLOYMENTS : `${DEPLOYMENTS}/web`;
    expect(meant(method, target, body, contentType)).toMatchObject({ refusal: expect.stringMatching(why) });
  }); // prettier-ignore
});

test('YAML is sent on as the JSON that was read of it', () => {
  const { body } = understood(
    'PUT',
    `${DEPLOYMENTS}/web`,
    'spec:\n  replicas: 010\n  paused: off\n',
    'application/yaml',
  );
  expect(body?.contentType).toBe('application/json');
  expect(JSON.parse(body?.bytes.toString() ?? '')).toEqual({ spec: { replicas: 8, paused: false } });
});

describe('protobuf', () => {
  const field = (number: number, content: Buffer): Buffer =>
    Buffer.concat([Buffer.from([(number << 3) | 2, content.length]), content]);
  const object = (metadata: Buffer, more: Buffer = Buffer.alloc(0)): Buffer => {
    const type = Buffer.concat([field(1, Buffer.from('v1')), field(2, Buffer.from('ConfigMap'))]);
    const raw = Buffer.concat([field(1, metadata), more]);
    return Buffer.concat([Buffer.from('k8s\0'), field(1, type), field(2, raw)]);
  };
  const metadata = Buffer.concat([field(1, Buffer.from('c')), field(6, Buffer.from('42')), field(13, Buffer.alloc(0))]);
  const type = 'application/vnd.kubernetes.protobuf';

  test('has its metadata read', () => {
    expect(parseProtobuf(object(metadata))).toEqual({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      name: 'c',
      resourceVersion: '42',
      hasOwners: true,
    });
    expect(tuples('PUT', '/api/v1/namespaces/shop/configmaps/c', object(metadata), type)).toEqual([
      'update configmaps/c',
      'delete configmaps/c',
    ]);
    expect(tuples('POST', PODS, object(metadata), type)).toEqual(['create pods/c', 'unknown']);
  });

  test('of metadata in two parts is one, as the API server reads it', () => {
    const parts = object(field(1, Buffer.from('first')), field(1, field(1, Buffer.from('second'))));
    expect(parseProtobuf(parts)?.name).toBe('second');
  });

  test('never fails otherwise than by saying no', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(60), (bytes, cut) => {
        parseProtobuf(Buffer.concat([Buffer.from('k8s\0'), bytes]));
        parseProtobuf(object(metadata).subarray(0, cut));
      }),
    );
  });
});

test('no body makes it fail otherwise than by a refusal', () => {
  const type = fc.constantFrom(
    'application/json',
    'application/yaml',
    MERGE,
    'application/json-patch+json',
    'application/apply-patch+yaml',
    'application/strategic-merge-patch+json',
  ); // prettier-ignore
  const target = fc.constantFrom(
    `${DEPLOYMENTS}/web`,
    `${PODS}/p/ephemeralcontainers`,
    `${DEPLOYMENTS}/web/scale`,
    '/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/h',
    '/apis/example.com/v1/things/x',
  ); // prettier-ignore
  const keys = fc.constantFrom(
    'spec',
    'template',
    'replicas',
    'metadata',
    'ownerReferences',
    'containers',
    '$patch',
    'op',
    'path',
    'from',
    'value',
    '__proto__',
  ); // prettier-ignore
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 5 },
      fc.constantFrom<unknown>(0, 3, null, true, '/spec/replicas', 'copy', ''),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(keys, tie('value'), { maxKeys: 4 }),
    ),
  }));
  fc.assert(
    fc.property(type, target, fc.constantFrom('PUT', 'PATCH'), value, (contentType, path, method, body) => {
      const result = meant(method, path, body, contentType);
      expect('refusal' in result || result.command.tuples.length > 0).toBe(true);
    }),
    { numRuns: 500 },
  );
});
