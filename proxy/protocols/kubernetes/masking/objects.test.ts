import { deflateSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { MaskingRule } from '../../../../api/resources.ts';
import { compileMask, planMasks } from '../../../../policy/mask-plan.ts';
import { mask } from '../../../../policy/testing/build.ts';
import { createObjectMasks } from './objects.ts';
import type { ObjectRequest } from './port.ts';

const masksOf = (spec: Omit<MaskingRule['spec'], 'connections'>) =>
  createObjectMasks(planMasks([compileMask(mask('k8s', spec))]), () => Buffer.from('key'));

const about = (resource: string, rest: Partial<ObjectRequest> = {}): ObjectRequest => ({
  isResourceRequest: true,
  path: `/api/v1/namespaces/shop/${resource}`,
  verb: 'get',
  apiGroup: '',
  resource,
  subresource: '',
  namespace: 'shop',
  name: 'x',
  ...rest,
});

const json = ['content-type', 'application/json', 'content-length', '999', 'etag', '"x"'];

/** The answer as a client gets it, cut into small pieces on its way. */
function through(
  masks: ReturnType<typeof masksOf>,
  request: ObjectRequest,
  body: string,
  { status = 200, headers = json, size = 7 } = {},
): string {
  const answer = masks.answer({ status, headers }, request, () => {});
  if (answer.body === 'refused') throw answer.error;
  if (answer.body === 'untouched') return body;
  const out: Buffer[] = [];
  const bytes = Buffer.from(body, 'utf8');
  for (let at = 0; at < bytes.length; at += size) {
    const shown = answer.transform.write(bytes.subarray(at, at + size));
    if (shown !== undefined) out.push(Buffer.from(shown));
  }
  const last = answer.transform.end();
  if (last !== undefined) out.push(last);
  return Buffer.concat(out).toString('utf8');
}

const see = (masks: ReturnType<typeof masksOf>, request: ObjectRequest, body: unknown, options = {}): unknown =>
  JSON.parse(through(masks, request, JSON.stringify(body), options));

const base64 = (text: string): string => Buffer.from(text, 'utf8').toString('base64');
const HIDDEN = base64('***');
const secret = (extra: object = {}) => ({
  kind: 'Secret',
  apiVersion: 'v1',
  metadata: { name: 'db', namespace: 'shop', uid: 'u', resourceVersion: '7', ...extra },
  data: { password: base64('s3cr3t-value'), user: base64('app') },
  type: 'Opaque',
});

const SECRETS = masksOf({ kubernetes: [{ secrets: ['*'] }] });

describe('Secrets', () => {
  it('keep their form and lose their values, single, in lists and in watches', () => {
    const shown = { ...secret(), data: { password: HIDDEN, user: HIDDEN } };
    expect(see(SECRETS, about('secrets'), secret())).toEqual(shown);
    // Items of a list do not say what they are.
    const { kind: _kind, apiVersion: _version, ...item } = secret();
    const list = {
      kind: 'SecretList',
      apiVersion: 'v1',
      metadata: { resourceVersion: '9', continue: 'abc' },
      items: [item, item],
    };
    const { data } = shown;
    expect(see(SECRETS, about('secrets', { verb: 'list', name: '' }), list)).toEqual({
      ...list,
      items: [
        { ...item, data },
        { ...item, data },
      ],
    });
    const events = ['ADDED', 'MODIFIED', 'DELETED']
      .map((type) => JSON.stringify({ type, object: secret() }))
      .join('\n');
    const watched = through(SECRETS, about('secrets', { verb: 'watch', name: '' }), `${events}\n`);
    expect(
      watched
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toEqual(['ADDED', 'MODIFIED', 'DELETED'].map((type) => ({ type, object: shown })));
    const bookmark = {
      type: 'BOOKMARK',
      object: { kind: 'Secret', apiVersion: 'v1', metadata: { resourceVersion: '12' } },
    };
    expect(see(SECRETS, about('secrets', { verb: 'watch' }), bookmark)).toEqual(bookmark);
  });

  it('are masked where the applied object is kept, and where a copy of a value stands', () => {
    const applied = JSON.stringify(secret());
    const shown = through(
      SECRETS,
      about('secrets'),
      JSON.stringify(
        secret({
          annotations: {
            'kubectl.kubernetes.io/last-applied-configuration': applied,
            note: 'the password is s3cr3t-value',
            copied: base64('s3cr3t-value'),
            packed: `H4sIAAAAAAAA${'A'.repeat(60)}`,
          },
          labels: { copy: base64('s3cr3t-value') },
        }),
      ),
    );
    expect(shown).not.toContain('s3cr3t-value');
    expect(shown).not.toContain(base64('s3cr3t-value'));
    expect(shown).not.toContain('H4sI');
    const { annotations } = JSON.parse(shown).metadata;
    expect(JSON.parse(annotations['kubectl.kubernetes.io/last-applied-configuration'])).toEqual({
      ...secret(),
      data: { password: HIDDEN, user: HIDDEN },
    });
  });

  it('are masked when only their metadata is asked for', () => {
    const partial = {
      kind: 'PartialObjectMetadata',
      apiVersion: 'meta.k8s.io/v1',
      metadata: { annotations: { 'kubectl.kubernetes.io/last-applied-configuration': JSON.stringify(secret()) } },
    };
    expect(JSON.stringify(see(SECRETS, about('secrets'), partial))).not.toContain(base64('s3cr3t-value'));
    const row = { cells: ['db', 'Opaque', 2, '5d'], object: partial };
    const table = { kind: 'Table', apiVersion: 'meta.k8s.io/v1', metadata: {}, columnDefinitions: [], rows: [row] };
    const shown = see(SECRETS, about('secrets', { verb: 'list', name: '' }), table);
    expect(JSON.stringify(shown)).not.toContain(base64('s3cr3t-value'));
    expect(shown).toMatchObject({ rows: [{ cells: ['db', 'Opaque', 2, '5d'] }] });
  });

  it('are masked inside other objects', () => {
    const wrapped = {
      kind: 'Object',
      apiVersion: 'x.example.com/v1',
      metadata: {},
      spec: { manifests: [secret()], text: JSON.stringify(secret()) },
    };
    const shown = through(SECRETS, about('objects', { apiGroup: 'x.example.com' }), JSON.stringify(wrapped));
    expect(shown).not.toContain(base64('s3cr3t-value'));
    expect(JSON.parse(shown).spec.manifests[0].data).toEqual({ password: HIDDEN, user: HIDDEN });
  });

  it('are the only ones masked where the rule names some', () => {
    const masks = masksOf({
      kubernetes: [
        { secrets: ['pass*'], namespaces: ['shop'] },
        { secrets: ['*'], names: ['tls-*'] },
      ],
    });
    expect(see(masks, about('secrets'), secret())).toMatchObject({ data: { password: HIDDEN, user: base64('app') } });
    const elsewhere = secret({ namespace: 'other' });
    expect(see(masks, about('secrets', { namespace: '' }), elsewhere)).toEqual(elsewhere);
    expect(see(masks, about('secrets'), secret({ name: 'tls-a' }))).toMatchObject({ data: { user: HIDDEN } });
  });

  it('are refused in any other form than JSON', () => {
    for (const type of ['application/vnd.kubernetes.protobuf', 'application/yaml', 'application/cbor', 'text/plain']) {
      expect(() => through(SECRETS, about('secrets'), 'x', { headers: ['content-type', type] })).toThrow(
        'cannot be looked into',
      );
    }
    expect(() => through(SECRETS, about('secrets'), 'x', { headers: [] })).toThrow('cannot be looked into');
    expect(() => through(SECRETS, about('secrets'), '{"kind":"Secret","data":{"a":"b"}')).toThrow('ends too early');
  });
});

describe('other values', () => {
  const masks = masksOf({
    kubernetes: [
      { env: ['*PASSWORD*'] },
      { configMaps: ['app.*'], transform: { partial: { keepFirst: 1 } } },
      { annotations: ['example.com/token'] },
      { resources: ['widgets.example.com'], fields: ['spec.apiKey', 'spec.pin', 'spec.deep'] },
    ],
  });
  const container = {
    name: 'c',
    env: [
      { name: 'DB_PASSWORD', value: 'hunter22' },
      { name: 'MODE', value: 'fast' },
      { name: 'PASSWORD_REF', valueFrom: { secretKeyRef: { name: 'db', key: 'p' } } },
    ],
  };
  const hidden = { ...container, env: [{ name: 'DB_PASSWORD', value: '***' }, ...container.env.slice(1)] };

  it('of variables are masked in every kind that holds a template', () => {
    const pod = {
      kind: 'Pod',
      metadata: {},
      spec: { containers: [container], initContainers: [container], ephemeralContainers: [container] },
    };
    expect(see(masks, about('pods'), pod)).toEqual({
      ...pod,
      spec: { containers: [hidden], initContainers: [hidden], ephemeralContainers: [hidden] },
    });
    const cron = {
      kind: 'CronJob',
      spec: { jobTemplate: { spec: { template: { spec: { containers: [container] } } } } },
    };
    expect(see(masks, about('cronjobs', { apiGroup: 'batch' }), cron)).toEqual({
      ...cron,
      spec: { jobTemplate: { spec: { template: { spec: { containers: [hidden] } } } } },
    });
    const revision = {
      kind: 'ControllerRevision',
      data: { spec: { template: { spec: { containers: [container] } } } },
      revision: 3,
    };
    expect(see(masks, about('controllerrevisions', { apiGroup: 'apps' }), revision)).toEqual({
      ...revision,
      data: { spec: { template: { spec: { containers: [hidden] } } } },
    });
    const helm = { kind: 'Release', spec: { values: { env: { DB_PASSWORD: 'hunter22', MODE: 'fast' } } } };
    expect(see(masks, about('releases', { apiGroup: 'helm.example.com' }), helm)).toEqual({
      ...helm,
      spec: { values: { env: { DB_PASSWORD: '***', MODE: 'fast' } } },
    });
  });

  it('of ConfigMaps, annotations and fields keep their types', () => {
    const map = {
      kind: 'ConfigMap',
      metadata: { annotations: { 'example.com/token': 't', other: 'o' } },
      data: { 'app.ini': 'abcdef', note: 'n' },
      binaryData: { 'app.bin': base64('abcdef') },
    };
    expect(see(masks, about('configmaps'), map)).toEqual({
      ...map,
      metadata: { annotations: { 'example.com/token': '***', other: 'o' } },
      data: { 'app.ini': 'a*****', note: 'n' },
      binaryData: { 'app.bin': base64('a*****') },
    });
    const widget = {
      kind: 'Widget',
      metadata: { name: 'w' },
      spec: { apiKey: 'k', pin: 12, deep: { a: [true, 'x', { b: null }] }, size: 3 },
    };
    const shown = { ...widget, spec: { apiKey: '***', pin: 0, deep: { a: [false, '***', { b: null }] }, size: 3 } };
    expect(see(masks, about('widgets', { apiGroup: 'example.com' }), widget)).toEqual(shown);
    expect(see(masks, about('gadgets', { apiGroup: 'example.com' }), widget)).toEqual(widget);
  });

  it('do not show in the cells of tables', () => {
    const request = about('widgets', { apiGroup: 'example.com', verb: 'list', name: '' });
    const columnDefinitions = [
      { name: 'Name', type: 'string', format: 'name' },
      { name: 'Key', type: 'string', format: '' },
      { name: 'Pin', type: 'integer', format: '' },
      { name: 'Size', type: 'integer', format: '' },
      { name: 'Age', type: 'date', format: '' },
    ];
    const widget = { kind: 'Widget', metadata: { name: 'w' }, spec: { apiKey: 'key-9876', pin: 4711, size: 3 } };
    const cells = ['w', 'key-9876', 4711, 3, '2d'];
    const table = (object: unknown) => ({ kind: 'Table', columnDefinitions, rows: [{ cells, object }] });
    expect(masks.wantsObjectsInTables(request)).toBe(true);
    expect(masks.wantsObjectsInTables(about('pods'))).toBe(false);
    expect(see(masks, request, table(widget))).toMatchObject({
      rows: [{ cells: ['w', '***', 0, 3, '2d'], object: { spec: { apiKey: '***', pin: 0, size: 3 } } }],
    });
    // Where the object is not there, nothing tells which cell is which.
    for (const object of [null, { kind: 'PartialObjectMetadata', metadata: { name: 'w' } }]) {
      expect(see(masks, request, table(object))).toMatchObject({ rows: [{ cells: ['w', '***', 0, 0, '2d'] }] });
    }
    // In a watch the columns are told once.
    const events = [table(null), { ...table(null), columnDefinitions: null }].map((object) =>
      JSON.stringify({ type: 'ADDED', object }),
    );
    const lines = through(masks, { ...request, verb: 'watch' }, `${events.join('\n')}\n`)
      .trimEnd()
      .split('\n');
    for (const line of lines) expect(JSON.parse(line).object.rows[0].cells).toEqual(['w', '***', 0, 0, '2d']);
  });

  it('are not quoted in errors', () => {
    const invalid = {
      kind: 'Status',
      status: 'Failure',
      reason: 'Invalid',
      code: 422,
      message: 'Pod "x" is invalid: spec: Forbidden: pod updates may not change fields: {Value: "hunter22"}',
      details: {
        name: 'x',
        kind: 'Pod',
        causes: [{ reason: 'FieldValueForbidden', message: 'Value: "hunter22"', field: 'spec.containers[0].env' }],
      },
    };
    const shown = through(masks, about('pods', { verb: 'update' }), JSON.stringify(invalid), { status: 422 });
    expect(shown).not.toContain('hunter22');
    expect(JSON.parse(shown)).toMatchObject({
      code: 422,
      reason: 'Invalid',
      message: expect.stringContaining('spec.containers[0].env'),
    });
    const webhook = {
      ...invalid,
      reason: 'Forbidden',
      code: 403,
      message: 'admission webhook "v.example.com" denied the request: bad hunter22',
      details: {},
    };
    const denied = through(masks, about('pods', { verb: 'update' }), JSON.stringify(webhook), { status: 403 });
    expect(denied).not.toContain('hunter22');
    expect(denied).toContain('v.example.com');
    const forbidden = {
      kind: 'Status',
      status: 'Failure',
      reason: 'Forbidden',
      code: 403,
      message:
        'secrets is forbidden: User "system:serviceaccount:a:b" cannot list resource "secrets" in API group "" in the namespace "shop"',
    };
    expect(see(masks, about('secrets', { verb: 'list' }), forbidden, { status: 403 })).toEqual(forbidden);
    const one = {
      ...forbidden,
      message:
        'secrets "x" is forbidden: User "system:serviceaccount:a:b" cannot get resource "secrets" in API group "" in the namespace "shop"',
    };
    expect(see(masks, about('secrets'), one, { status: 403 })).toEqual(one);
    const missing = { kind: 'Status', status: 'Failure', reason: 'NotFound', code: 404, message: 'pods "x" not found' };
    expect(see(masks, about('pods'), missing, { status: 404 })).toEqual(missing);
    const event = { type: 'ERROR', object: { ...invalid, reason: 'InternalError' } };
    expect(through(masks, about('pods', { verb: 'watch' }), JSON.stringify(event))).not.toContain('hunter22');
  });
});

describe('content', () => {
  const masks = masksOf({ content: [{ detectors: ['Email'] }] });

  it('is found in strings, keys and logs, and identifiers stay', () => {
    const event = {
      kind: 'Event',
      metadata: { name: 'x', resourceVersion: '1' },
      message: 'mail to ana@example.com failed',
      involvedObject: { name: 'ana@example.com' },
    };
    expect(see(masks, about('events'), event)).toEqual({
      ...event,
      message: 'mail to *** failed',
      involvedObject: { name: '***' },
    });
    const log = 'start\n2026-01-01 {"user":"ana\\u0040example.com"}\nbob@example.com\n';
    const shown = through(masks, about('pods', { subresource: 'log' }), log, {
      headers: ['content-type', 'text/plain'],
    });
    expect(shown).toBe('start\n2026-01-01 {"user":"***"}\n***\n');
  });

  it('is not looked for in documents about the API', () => {
    const request = about('', { isResourceRequest: false, path: '/openapi/v2' });
    expect(
      masks.answer({ status: 200, headers: ['content-type', 'application/x-protobuf'] }, request, () => {}).body,
    ).toBe('untouched');
    const metrics = about('', { isResourceRequest: false, path: '/metrics' });
    expect(
      masks.answer({ status: 200, headers: ['content-type', 'application/x-protobuf'] }, metrics, () => {}).body,
    ).toBe('refused');
  });
});

describe('what is written', () => {
  const masks = masksOf({
    kubernetes: [{ secrets: ['*'] }, { env: ['*'] }],
    fields: [{ match: ['**.ssn'], transform: { tokenize: {} } }],
  });
  const write = (body: unknown, type = 'application/json', request = about('secrets', { verb: 'update' })) =>
    masks.write(Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)), type, request)?.code;
  const token = `sptok_${'a'.repeat(26)}`;

  it('may be anything but what came from masking', () => {
    expect(write(secret())).toBeUndefined();
    expect(write({ ...secret(), data: { password: HIDDEN } })).toBe('SPM012');
    expect(write({ ...secret(), data: undefined, stringData: { password: '***' } })).toBe('SPM012');
    expect(write({ data: { a: base64(token) } }, 'application/merge-patch+json')).toBe('SPM012');
    expect(write({ metadata: { labels: { a: token } } }, 'application/merge-patch+json')).toBe('SPM012');
    expect(write(`{"metadata":{"labels":{"a":"\\u0073${token.slice(1)}"}}}`)).toBe('SPM012');
    expect(write('stringData:\n  password: "***"\n', 'application/apply-patch+yaml')).toBe('SPM012');
    expect(write('stringData:\n  password: fine\n', 'application/apply-patch+yaml')).toBeUndefined();
    const pod = { spec: { containers: [{ name: 'c', env: [{ name: 'A', value: '***' }] }] } };
    expect(write(pod, 'application/strategic-merge-patch+json', about('pods', { verb: 'patch' }))).toBe('SPM012');
    expect(
      write(Buffer.from([0x12, 3, 0x2a, 0x2a, 0x2a]).toString('latin1'), 'application/vnd.kubernetes.protobuf'),
    ).toBe('SPM012');
    expect(
      write({
        metadata: {
          annotations: {
            'kubectl.kubernetes.io/last-applied-configuration': JSON.stringify({
              ...secret(),
              data: { password: HIDDEN },
            }),
          },
        },
      }),
    ).toBe('SPM012');
  });

  it('is refused where it is too deep to be looked at', () => {
    expect(write(`${'{"a":'.repeat(2000)}1${'}'.repeat(2000)}`)).toBe('SPM012');
  });

  it('may not move a value to where it is not masked, nor guess it', () => {
    const patch = (operation: object, request = about('secrets', { verb: 'patch' })) =>
      write([operation], 'application/json-patch+json', request);
    expect(patch({ op: 'copy', from: '/data/password', path: '/metadata/annotations/x' })).toBe('SPM013');
    expect(patch({ op: 'move', from: '/data', path: '/metadata/labels' })).toBe('SPM013');
    expect(patch({ op: 'copy', from: '', path: '/metadata/annotations/x' })).toBe('SPM013');
    expect(patch({ op: 'test', path: '/data/password', value: 'x' })).toBe('SPM013');
    expect(patch({ op: 'test', path: '/data', value: { password: 'x' } })).toBe('SPM013');
    expect(patch({ op: 'test', path: '/metadata/resourceVersion', value: '7' })).toBeUndefined();
    expect(patch({ op: 'replace', path: '/data/password', value: base64('new') })).toBeUndefined();
    expect(patch({ op: 'replace', path: '/data/password', value: HIDDEN })).toBe('SPM012');
    const workload = about('deployments', { apiGroup: 'apps', verb: 'patch' });
    expect(patch({ op: 'test', path: '/spec/replicas', value: 3 }, workload)).toBeUndefined();
    expect(patch({ op: 'replace', path: '/spec/replicas', value: 4 }, workload)).toBeUndefined();
    expect(patch({ op: 'test', path: '/spec/template/spec/containers/0/env/0/value', value: 'g' }, workload)).toBe(
      'SPM013',
    );
    expect(patch({ op: 'replace', path: '/spec/template/spec/containers/0/env/0/value', value: '***' }, workload)).toBe(
      'SPM012',
    );
  });

  const numbers = JSON.stringify(Array.from({ length: 60 }, (_, index) => index * index));
  it.each<[string, Buffer]>([
    ['zlib', deflateSync(numbers)],
    ['zlib, fast', deflateSync(numbers, { level: 1 })],
    ['zip', Buffer.concat([Buffer.from('PK\x03\x04'), Buffer.alloc(60, 7)])],
    ['bzip2', Buffer.concat([Buffer.from('BZh9'), Buffer.alloc(60, 7)])],
    ['xz', Buffer.concat([Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]), Buffer.alloc(60, 7)])],
    ['JSON', Buffer.from(JSON.stringify({ apiVersion: 'v1', kind: 'Secret', data: { password: 'AAAA' } }))],
  ])('of an applied object that is kept as base64 of %s nothing is shown', (_form, bytes) => {
    const kept = bytes.toString('base64');
    const object = {
      kind: 'Secret',
      metadata: { annotations: { kept, line: `${kept.slice(0, 60)}\n${kept.slice(60)}` } },
    };
    const shown = masks
      .document(Buffer.from(JSON.stringify(object)), about('secrets'), () => undefined)
      .toString('utf8');
    expect(shown).not.toContain(kept.slice(0, 20));
  });

  it('may not take away what a value is masked by', () => {
    const workload = about('deployments', { apiGroup: 'apps', verb: 'patch' });
    const patch = (operation: object, request = workload) => write([operation], 'application/json-patch+json', request);
    const container = '/spec/template/spec/containers/0';
    for (const op of ['replace', 'add', 'remove'])
      expect(patch({ op, path: `${container}/env/0/name`, value: 'HARMLESS' })).toBe('SPM013');
    const widget = about('widgets', { apiGroup: 'example.com', verb: 'patch' });
    expect(patch({ op: 'replace', path: '/spec/parameter/name', value: 'HARMLESS' }, widget)).toBe('SPM013');
    expect(patch({ op: 'replace', path: '/spec/objects/0/kind', value: 'Other' }, widget)).toBe('SPM013');
    expect(patch({ op: 'test', path: '/spec/parameters/0/value', value: 'guess' }, widget)).toBe('SPM013');
    expect(patch({ op: 'replace', path: `${container}/name`, value: 'web' })).toBeUndefined();
    expect(patch({ op: 'replace', path: `${container}/image`, value: 'web:2' })).toBeUndefined();
    expect(patch({ op: 'add', path: `${container}/env/-`, value: { name: 'A', value: 'b' } })).toBeUndefined();
    expect(patch({ op: 'replace', path: '/spec/scaleTargetRef/name', value: 'web' })).toBeUndefined();
  });

  it('may not be guessed by a pointer that only the API server reads so', () => {
    // Its library takes what stands behind the first slash, whatever is before it.
    const patch = (operation: object) =>
      write([operation], 'application/json-patch+json', about('secrets', { verb: 'patch' }));
    for (const before of ['x', 'metadata', '~1metadata'])
      expect(patch({ op: 'test', path: `${before}/data/password`, value: 'x' })).toBe('SPM013');
    expect(patch({ op: 'replace', path: 'x/data/password', value: HIDDEN })).toBe('SPM012');
    expect(patch({ op: 'copy', from: 'xmetadata/labels', path: '/metadata/annotations' })).toBe('SPM013');
  });

  it('is parsed as YAML only where that is short: the parser takes minutes for what one of JSON takes no time for', () => {
    const entry = `data: {password: ${HIDDEN}}\n`;
    expect(write(entry, 'application/yaml', about('secrets'))).toBe('SPM012');
    expect(write(entry + '#\n'.repeat(16_384), 'application/yaml', about('secrets'))).toBeUndefined();
  });
});
