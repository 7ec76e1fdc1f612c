import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseDocument, stringify } from 'yaml';
import { applyPatch } from './apply-patch.fixture.ts';
import { contextOf, type Facts, readFacts } from './facts.fixture.ts';
import { inject } from './inject.ts';
import { isPod, type Pod } from './pod.ts';

/**
 * Golden files: `pod` goes in, `patch` or `refusal` comes out. `UPDATE_GOLDEN=1` writes what comes out today; read the difference.
 */
const FOLDER = 'test/golden/injection';
const isUpdating = process.env['UPDATE_GOLDEN'] === '1';
const facts: Facts = readFacts();

interface Golden {
  readonly namespace: string;
  readonly pod: object;
  readonly result?: unknown;
}

const podOf = (value: object): Pod => {
  const pod: unknown = { apiVersion: 'v1', kind: 'Pod', ...value };
  if (!isPod(pod)) throw new Error('not a pod');
  return pod;
};

function resultOf(pod: Pod, namespace: string): object {
  const injection = inject(pod, contextOf(facts, namespace));
  switch (injection.type) {
    case 'none':
      return { unchanged: true };
    case 'refusal':
      return { refusal: `${injection.refusal.code}: ${injection.refusal.message}` };
    case 'patch': {
      const { warnings } = injection.plan;
      return { ...(warnings.length === 0 ? {} : { warnings: [...warnings] }), patch: injection.patch };
    }
    default:
      return injection satisfies never;
  }
}

describe('golden patches', () => {
  const files = globSync(`${FOLDER}/*.yaml`).filter((file) => basename(file) !== 'facts.yaml');
  test.each(files.sort())('%s', (file) => {
    const document = parseDocument(readFileSync(file, 'utf8'));
    const golden = document.toJS() as Golden;
    const result: unknown = JSON.parse(JSON.stringify(resultOf(podOf(golden.pod), golden.namespace)));
    if (isUpdating) {
      const text = readFileSync(file, 'utf8').replace(/^result:[\s\S]*/m, '');
      writeFileSync(file, `${text}${stringify({ result }, { lineWidth: 0 })}`);
      return;
    }
    expect(result).toEqual(golden.result);
  });
});

const name = fc.constantFrom('agent', 'second', 'third');
const mountPath = fc.constantFrom(
  '/data',
  '/var/run/secrets/kubernetes.io/serviceaccount',
  '/var/run/secrets/kubernetes.io/serviceaccount/',
);
const variable = fc.constantFrom('A', 'SSL_CERT_FILE', 'KUBERNETES_SERVICE_HOST', 'SALLYPORT_TOKEN_FILE');
const container = (prefix: string) =>
  fc.record(
    {
      name: name.map((one) => `${prefix}-${one}`),
      image: fc.constant('agent'),
      env: fc.uniqueArray(fc.record({ name: variable, value: fc.constantFrom('x', '/own/file') }), {
        selector: (one) => one.name,
      }),
      volumeMounts: fc.uniqueArray(fc.record({ name: fc.constantFrom('work', 'kube-api-access-abcde'), mountPath }), {
        selector: (one) => one.mountPath,
      }),
    },
    { requiredKeys: ['name', 'image'] },
  );
const containers = (prefix: string, minLength: number) =>
  fc.uniqueArray(container(prefix), { selector: (one) => one.name, minLength, maxLength: 3 });
const pods = fc
  .record({
    labels: fc.dictionary(fc.constantFrom('app', 'team'), fc.constant('x')),
    annotations: fc.dictionary(fc.constantFrom('a', 'b/c~d'), fc.string()),
    spec: fc.record(
      {
        containers: containers('main', 1),
        initContainers: containers('init', 0),
        volumes: fc.constantFrom(
          [],
          [{ name: 'work', emptyDir: {} }],
          [{ name: 'kube-api-access-abcde', projected: {} }],
        ),
        hostAliases: fc.constantFrom([], [{ ip: '192.0.2.1', hostnames: ['a.example'] }]),
        securityContext: fc.constantFrom(
          {},
          { fsGroup: 1 },
          { sysctls: [{ name: 'kernel.shm_rmid_forced', value: '1' }] },
        ),
      },
      { requiredKeys: ['containers'] },
    ),
  })
  .map(({ labels, annotations, spec }) =>
    podOf({ metadata: { labels: { ...labels, 'sallyport.dev/inject': 'true' }, annotations }, spec }),
  );
const namespaces = fc.constantFrom(...Object.keys(facts.namespaces));

const injected = (pod: Pod, namespace: string, among: Facts = facts): Pod => {
  const injection = inject(pod, contextOf(among, namespace));
  if (injection.type !== 'patch') throw new Error(JSON.stringify(injection));
  // What the API server would make of the patch has to be what we meant.
  expect(applyPatch(pod, injection.patch)).toEqual(JSON.parse(JSON.stringify(injection.pod)));
  return injection.pod;
};

/** Every value of `before` is in `after` at the same place; lists may have grown at either end. */
function missing(before: unknown, after: unknown, path: string): string[] {
  if (Array.isArray(before)) {
    if (!Array.isArray(after)) return before.length === 0 ? [] : [path];
    const keyOf = (one: { name?: string; ip?: string; mountPath?: string }) => one.mountPath ?? one.name ?? one.ip;
    return before.flatMap((one, index) => {
      const found = after.find((other) => (typeof one === 'object' ? keyOf(other) === keyOf(one) : other === one));
      return missing(one, found, `${path}/${index}`);
    });
  }
  if (typeof before === 'object' && before !== null) {
    if (typeof after !== 'object' || after === null) return [path];
    return Object.entries(before).flatMap(([key, value]) =>
      missing(value, (after as Record<string, unknown>)[key], `${path}/${key}`),
    );
  }
  return before === after ? [] : [path];
}

describe('for any pod', () => {
  test('the second injection changes nothing', () => {
    fc.assert(
      fc.property(pods, namespaces, (pod, namespace) => {
        const once = injected(pod, namespace);
        const again = inject(once, contextOf(facts, namespace));
        expect(again).toMatchObject({ type: 'patch', patch: [] });
      }),
    );
  });

  test('nothing of the user is removed or changed, but the place where the token of the API server was', () => {
    fc.assert(
      fc.property(pods, namespaces, (pod, namespace) => {
        const lost = missing(pod, injected(pod, namespace), '').filter((path) => {
          const replaced = namespace === 'kube' || namespace === 'kube-gateway';
          const isTokenMount = replaced && /\/volumeMounts\/\d+\/name$/.test(path);
          const isTokenVolume = replaced && path === '/spec/volumes/0';
          return !isTokenMount && !isTokenVolume;
        });
        expect(lost).toEqual([]);
      }),
    );
  });

  test('a pod that was injected under other connections is as if it had been injected today', () => {
    const before: Facts = { ...facts, connections: facts.connections.slice(2), version: '0.0.9' };
    fc.assert(
      fc.property(
        pods,
        fc.constantFrom('agents', 'opted-in', 'lonely', 'kube', 'gateways', 'kube-gateway', 'apis'),
        (pod, namespace) => {
          // The namespace of a Kubernetes connection loses it in one of the two.
          const other = namespace.startsWith('kube')
            ? { ...before, connections: facts.connections.slice(0, 2) }
            : before;
          const moved = injected(injected(pod, namespace, other), namespace);
          const fresh = injected(pod, namespace);
          // Lists may be in another order where the first injection had put something in between.
          expect(sorted(moved.spec)).toEqual(sorted(fresh.spec));
          expect(moved.metadata).toEqual(fresh.metadata);
        },
      ),
    );
  });
});

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted).sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([key, inner]) => [key, sorted(inner)] as const);
  // An empty list and none are the same to the API server.
  return Object.fromEntries(entries.filter(([, inner]) => !(Array.isArray(inner) && inner.length === 0)).sort());
}

test('what another webhook changed in the connector stays', () => {
  const pod = injected(podOf({ metadata: { labels: {} }, spec: { containers: [{ name: 'agent' }] } }), 'opted-in');
  const [connector, ...rest] = pod.spec.initContainers ?? [];
  if (connector === undefined) throw new Error('no connector');
  const mirrored = { ...connector, image: 'mirror.example/connector' };
  const changed: Pod = { ...pod, spec: { ...pod.spec, initContainers: [{ name: 'other' }, mirrored, ...rest] } };
  const again = injected(changed, 'opted-in');
  expect(again.spec.initContainers?.map(({ name, image }) => [name, image])).toEqual([
    ['sallyport-connector', 'mirror.example/connector'],
    ['other', undefined],
  ]);
});

test.each([
  ['SPW005', { privileged: true }],
  ['SPW004', { capabilities: { add: ['NET_ADMIN'] } }],
])('but not that it may do more than others: %s', (code, securityContext) => {
  const pod = injected(podOf({ metadata: { labels: {} }, spec: { containers: [{ name: 'agent' }] } }), 'opted-in');
  const [connector] = pod.spec.initContainers ?? [];
  if (connector === undefined) throw new Error('no connector');
  const changed: Pod = { ...pod, spec: { ...pod.spec, initContainers: [{ ...connector, securityContext }] } };
  expect(resultOf(changed, 'opted-in')).toEqual({ refusal: expect.stringContaining(code) as string });
});

test.each([
  'localhost',
  'sallyport-proxy.shop.svc',
  'sallyport-proxy-replicas.shop.svc',
  '10-0-0-7.sallyport-proxy-replicas.shop.svc',
  'sallyport-archive.sallyport-system.svc',
  'orders-sallyport.shop',
])('no connection leads pods away from %s', (host) => {
  const [first] = facts.connections;
  if (first === undefined) throw new Error('no connection');
  const metadata = { name: 'greedy', namespace: 'platform' };
  const target = { ...first.spec.target, host, port: 8443 };
  const greedy = { ...first, metadata, spec: { ...first.spec, target, allowedNamespaces: { from: 'All' as const } } };
  const among = { ...facts, connections: [...facts.connections, greedy] };
  const pod = podOf({ metadata: { labels: {} }, spec: { containers: [{ name: 'agent' }] } });
  const injection = inject(pod, contextOf(among, 'opted-in'));
  if (injection.type !== 'patch') throw new Error('not injected');
  expect(injection.plan.warnings).toEqual([expect.stringContaining('SPW019')]);
  expect(injection.plan.aliases.flatMap(({ hostnames }) => hostnames)).not.toContain(host);
});
