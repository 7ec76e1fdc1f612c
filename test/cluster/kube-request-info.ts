/** Requests of every form that RequestInfo has a rule for, and of forms that only look like one. */
import type { RequestLine } from '../../proxy/protocols/kubernetes/request/request-info.ts';

/** A request both as it is meant and as it goes on the wire. */
export interface GeneratedRequest extends RequestLine {
  readonly target: string;
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;
const PREFIXES = [
  ['api', 'v1'],
  ['apis', 'apps', 'v1'],
  ['apis', 'apps', 'v1beta2'],
  ['apis', 'rbac.authorization.k8s.io', 'v1'],
  ['apis', 'example.com', 'v1alpha1'],
  ['api'],
  ['apis'],
  ['apis', 'apps'],
  [],
] as const;
const VERBS_IN_PATH = [[], [], [], [], ['watch'], ['proxy']] as const;
const WHERE = [[], [], ['namespaces', 'shop'], ['namespaces', 'kube-system'], ['namespaces', 'ns with space']] as const;
const REST = [
  [],
  ['pods'],
  ['pods', 'web'],
  ['pods', 'web', 'log'],
  ['pods', 'web', 'exec'],
  ['pods', 'web', 'proxy'],
  ['pods', 'web', 'proxy', 'api', 'v1', 'namespaces', 'x'],
  ['services', 'https:web:443', 'proxy', 'a'],
  ['deployments', 'web', 'scale'],
  ['deployments', 'wéb%2', 'status'],
  ['namespaces'],
  ['namespaces', 'other'],
  ['status'],
  ['finalize'],
  ['finalize', 'x'],
  ['status', 'x', 'y'],
  ['secrets'],
  ['secrets', 'a+b'],
  ['watch', 'pods'],
  ['proxy', 'pods'],
  ['serviceaccounts', 'default', 'token'],
  ['clusterroles', 'system:admin'],
  ['customthings'],
] as const;
const QUERIES: readonly RequestLine['query'][] = [
  [],
  [],
  [],
  [['watch', 'true']],
  [['watch', '1']],
  [['watch', 'False']],
  [['watch', '0']],
  [['fieldSelector', 'metadata.name=web']],
  [['fieldSelector', 'metadata.name==web,status.phase!=Failed']],
  [['fieldSelector', 'status.phase=Running,metadata.name=web']],
  [['fieldSelector', 'metadata.name!=web']],
  [['fieldSelector', 'metadata.name=b,metadata.name=a']],
  [['fieldSelector', 'metadata.name=a\\,b\\=c\\\\d']],
  [['fieldSelector', 'metadata.name=']],
  [['fieldSelector', 'metadata.name=..']],
  [['fieldSelector', 'metadata.name=a/b']],
  [['fieldSelector', ',metadata.name=web,']],
  [['fieldSelector', '']],
  [
    ['watch', 'true'],
    ['fieldSelector', 'metadata.name=web'],
    ['labelSelector', 'app in (a, b),!old,tier!=x'],
  ],
  [
    ['limit', '500'],
    ['fieldSelector', 'metadata.name=web'],
  ],
  [['labelSelector', 'app=web']],
  [['dryRun', 'All']],
  [
    ['command', 'sh'],
    ['command', '-c'],
    ['command', 'a&b=c'],
    ['container', 'x'],
  ],
];

/** Numbers from 0 to `below`, always the same for one seed (mulberry32). */
export function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

export function generateRequest(below: (limit: number) => number): GeneratedRequest {
  const one = <T>(of: readonly T[]): T => of[below(of.length)] as T;
  const slash = below(8) === 0;
  const words: string[] = [...one(PREFIXES), ...one(VERBS_IN_PATH), ...one(WHERE), ...one(REST)];
  const segments = slash && words.length > 0 ? [...words, ''] : words;
  const query = one(QUERIES);
  // What may stand as it is may also stand encoded.
  const encode = (value: string): string =>
    Array.from(encodeURIComponent(value).matchAll(/%[0-9A-F]{2}|./g), ([character]) =>
      character.length === 1 && below(12) === 0
        ? `%${character.charCodeAt(0).toString(16).padStart(2, '0')}`
        : character,
    ).join('');
  const search = query.map(([name, value]) => `${encode(name)}=${encode(value)}`).join('&');
  const target = `/${segments.map(encode).join('/')}${search === '' ? '' : `?${search}`}`;
  return { method: one(METHODS), path: `/${segments.join('/')}`, segments, query, target };
}

const POINTERS = [
  '/spec/replicas',
  '/spec/paused',
  '/spec/progressDeadlineSeconds',
  '/spec/template/spec/terminationGracePeriodSeconds',
  '/spec/template/spec/containers/0/image',
  '/spec/template/spec/hostNetwork',
  '/spec/template/metadata/labels/tier',
  '/spec/template',
  '/spec',
  '/metadata/labels/a~1b',
  '/metadata/labels',
  '/spec/re~1plicas',
  'x/spec/replicas',
  'spec/replicas',
  '//spec/replicas',
  '',
] as const;
const VALUES = [0, 1, 2, 7, 30, true, false, null, 'registry.example/web:2', {}, []] as const;

/** A patch of a Deployment named `web` with a container of that name; many are refused. */
export function randomPatch(below: (limit: number) => number): {
  readonly contentType: string;
  readonly body: unknown;
} {
  const one = <T>(of: readonly T[]): T => of[below(of.length)] as T;
  const operation = () => ({
    op: one(['add', 'replace', 'replace', 'remove', 'copy', 'move']),
    path: one(POINTERS),
    from: one(POINTERS),
    value: one(VALUES),
  });
  if (below(2) === 0) {
    const body = Array.from({ length: 1 + below(2) }, operation);
    return { contentType: 'application/json-patch+json', body };
  }
  const maybe = (name: string, value: unknown): object => (below(3) === 0 ? { [name]: value } : {});
  const directives = () => ({
    ...maybe('$retainKeys', [one(['replicas', 'template', 'selector'])]),
    ...(below(8) === 0 ? { $patch: one(['replace', 'merge', 'delete']) } : {}),
  });
  const strategic = below(2) === 0;
  const container = { name: 'web', image: one(['registry.example/web:1', 'registry.example/web:3']) };
  const pod = {
    ...maybe('hostNetwork', true),
    ...maybe('containers', [container]),
    ...(strategic ? directives() : {}),
  };
  const spec = {
    ...maybe('replicas', one(VALUES)),
    ...maybe('paused', true),
    ...maybe('template', one([{ spec: pod }, { metadata: { labels: { app: 'web', x: 'y' } } }])),
    ...(strategic ? directives() : {}),
  };
  const body = { ...maybe('metadata', { labels: { a: 'b' } }), ...(below(6) === 0 ? {} : { spec }) };
  return { contentType: strategic ? 'application/strategic-merge-patch+json' : 'application/merge-patch+json', body };
}
