/**
 * What a request is about and what it does, as the gateway says, against what a real API server says: its audit log for the first, what
 * became of the object for the second.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { KubernetesCommand } from '../../policy/command.ts';
import { createDiscovery } from '../../proxy/protocols/kubernetes/meaning/discovery.ts';
import { member } from '../../proxy/protocols/kubernetes/meaning/json.ts';
import type { Asking, Understanding } from '../../proxy/protocols/kubernetes/meaning/port.ts';
import { understand } from '../../proxy/protocols/kubernetes/meaning/understand.ts';
import { parseRequestInfo } from '../../proxy/protocols/kubernetes/request/request-info.ts';
import { describeWith } from '../support/requires.ts';
import { type ControlPlane, controlPlaneNeeds, startControlPlane } from './control-plane.ts';
import { type RawClient, rawClient } from './kube-api-client.ts';
import { generateRequest, numbers, randomPatch } from './kube-request-info.ts';

const REQUESTS = 600;

const DEPLOYMENT = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'web', namespace: 'default', labels: { app: 'web' } },
  spec: {
    replicas: 3,
    selector: { matchLabels: { app: 'web' } },
    template: {
      metadata: { labels: { app: 'web' } },
      spec: { containers: [{ name: 'web', image: 'registry.example/web:1' }] },
    },
  },
};
const WEB = '/apis/apps/v1/namespaces/default/deployments/web';
const MERGE = 'application/merge-patch+json';
const STRATEGIC = 'application/strategic-merge-patch+json';
const JSON_PATCH = 'application/json-patch+json';
const APPLY = 'application/apply-patch+yaml';

interface Sent {
  readonly method: string;
  readonly target: string;
  readonly contentType?: string;
  readonly body: unknown;
}

/** Operations and other tuples of a command, in words. */
function words({ tuples, statements }: KubernetesCommand): readonly string[] {
  return tuples.map((tuple) => {
    if (tuple.type === 'path') return `${tuple.verb} ${tuple.path}`;
    const { replicas, previousReplicas } = statements[tuple.statement] ?? {};
    const change = previousReplicas === undefined ? (replicas ?? '') : `${previousReplicas}->${replicas ?? ''}`;
    const what = tuple.type === 'operation' ? tuple.operation : tuple.type === 'api' ? tuple.verb : 'unknown';
    const argv = tuple.type === 'operation' && tuple.exec !== undefined ? ` ${tuple.exec.argv.join(' ')}` : '';
    return `${what} ${tuple.resource}/${tuple.name}${argv} ${change}`.trim();
  });
}

describeWith(controlPlaneNeeds, 'a request to an API server', () => {
  let cluster!: ControlPlane & AsyncDisposable;
  let admin!: RawClient;
  const discovery = createDiscovery(() => Date.now());
  beforeAll(async () => {
    cluster = await startControlPlane({ audit: 'Metadata' });
    admin = await rawClient(cluster, 'admin', ['system:masters']);
  }, 1_200_000);
  afterAll(async () => {
    admin?.[Symbol.dispose]();
    await cluster?.stop();
  });

  const asking = (): Asking => ({
    discovery,
    signal: new AbortController().signal,
    ask: ({ method, target, contentType, body }, signal) => {
      const headers = {
        accept: 'application/json',
        ...(contentType === undefined ? {} : { 'content-type': contentType }),
      };
      return admin.send({ method, target, headers, body, signal });
    },
  });

  const bytesOf = (body: unknown): Buffer =>
    Buffer.isBuffer(body) ? body : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));

  function understood({ method, target, contentType = 'application/json', body }: Sent): Understanding {
    const url = new URL(target, 'https://cluster');
    const segments = url.pathname.slice(1).split('/').map(decodeURIComponent);
    const request = {
      method,
      target,
      contentType,
      path: `/${segments.join('/')}`,
      segments,
      query: [...url.searchParams],
    };
    const info = parseRequestInfo(request);
    if ('refusal' in info) throw new Error(info.refusal);
    const meant = understand(request, info, bytesOf(body));
    if ('refusal' in meant) throw new Error(meant.refusal);
    return meant;
  }

  const refined = async (sent: Sent): Promise<Understanding> => {
    const { refine } = understood(sent);
    if (refine === undefined) throw new Error('there is nothing to find out');
    return refine(asking());
  };

  const send = (sent: Sent, { body }: Pick<Understanding, 'body'> = {}) =>
    admin.send({
      method: sent.method,
      target: sent.target,
      headers: {
        accept: 'application/json',
        'content-type': body?.contentType ?? sent.contentType ?? 'application/json',
      },
      body: body?.bytes ?? bytesOf(sent.body),
    });

  const read = async (target: string): Promise<unknown> => {
    const { body } = await admin.send({ method: 'GET', target, headers: { accept: 'application/json' } });
    return JSON.parse(body.toString('utf8')) as unknown;
  };
  const replicas = async (): Promise<unknown> => member(await read(WEB), 'spec', 'replicas');
  const scaledTo = async (count: number): Promise<void> => {
    const scale: Sent = {
      method: 'PATCH',
      target: `${WEB}/scale`,
      contentType: MERGE,
      body: { spec: { replicas: count } },
    };
    expect((await send(scale)).status).toBe(200);
  };
  /** The deployment as it was made, whoever has owned its fields since. */
  const fresh = async (object: unknown = DEPLOYMENT, target = WEB): Promise<void> => {
    const collection = target.slice(0, target.lastIndexOf('/'));
    await send({ method: 'DELETE', target, body: { propagationPolicy: 'Background' } });
    expect((await send({ method: 'POST', target: collection, body: object })).status).toBe(201);
  };
  /** Its controller writes it too: what is refused for that is asked and sent again, as a client does. */
  const refinedAndSent = async (sent: Sent): Promise<Understanding> => {
    for (;;) {
      const meant = await refined(sent);
      const { status } = await send(sent, meant);
      if (status === 409 && meant.refused === undefined) continue;
      expect(status).toBe(200);
      return meant;
    }
  };

  test('is about what the audit log says that it is about', { timeout: 120_000 }, async () => {
    // Without any right: each is refused, and each is in the log.
    using nobody = await rawClient(cluster, 'nobody');
    const below = numbers(7);
    const generated = Array.from({ length: REQUESTS }, () => ({ id: randomUUID(), request: generateRequest(below) }));
    for (let start = 0; start < generated.length; start += 8) {
      const some = generated.slice(start, start + 8);
      await Promise.all(
        some.map(({ id, request }) =>
          nobody.send({ method: request.method, target: request.target, headers: { 'audit-id': id } }),
        ),
      );
    }
    const events = new Map<unknown, Record<string, unknown>>();
    await vi.waitFor(
      async () => {
        for (const event of await cluster.audit()) events.set(event['auditID'], event);
        expect(generated.filter(({ id }) => !events.has(id)).map(({ request }) => request.target)).toEqual([]);
      },
      { timeout: 30_000, interval: 250 },
    );

    let compared = 0;
    for (const { id, request } of generated) {
      const info = parseRequestInfo(request);
      // What is refused here is never sent.
      if ('refusal' in info) continue;
      compared++;
      const { verb, objectRef } = events.get(id) ?? {};
      const { apiGroup, apiVersion, namespace, resource, subresource, name, isResourceRequest } = info;
      const parts = { apiGroup, apiVersion, namespace, resource, subresource, name };
      const own = Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== ''));
      const where = `${request.method} ${request.target}`;
      expect({ where, verb: info.verb, objectRef: isResourceRequest ? own : undefined }).toEqual({
        where,
        verb,
        objectRef,
      });
    }
    expect(compared).toBeGreaterThan(REQUESTS * 0.8);
  });

  describe('that changes how many there are', () => {
    const routes: readonly (readonly [name: string, sent: Sent, operation: string])[] = [
      [
        'a merge patch',
        { method: 'PATCH', target: WEB, contentType: MERGE, body: { spec: { replicas: 5 } } },
        'ScaleOut deployments/web 3->5',
      ],
      [
        'a strategic merge patch',
        { method: 'PATCH', target: WEB, contentType: STRATEGIC, body: { spec: { replicas: 5 } } },
        'ScaleOut deployments/web 3->5',
      ],
      [
        'a strategic merge patch that replaces the spec',
        {
          method: 'PATCH',
          target: WEB,
          contentType: STRATEGIC,
          body: { spec: { $patch: 'replace', ...DEPLOYMENT.spec, replicas: 2 } },
        },
        'ScaleIn deployments/web 3->2',
      ],
      [
        'a JSON patch',
        {
          method: 'PATCH',
          target: WEB,
          contentType: JSON_PATCH,
          body: [{ op: 'replace', path: '/spec/replicas', value: 5 }],
        },
        'ScaleOut deployments/web 3->5',
      ],
      [
        'a JSON patch that copies another number',
        {
          method: 'PATCH',
          target: WEB,
          contentType: JSON_PATCH,
          body: [{ op: 'copy', from: '/spec/progressDeadlineSeconds', path: '/spec/replicas' }],
        },
        'ScaleOut deployments/web 3->600',
      ],
      [
        'a JSON patch that removes it',
        { method: 'PATCH', target: WEB, contentType: JSON_PATCH, body: [{ op: 'remove', path: '/spec/replicas' }] },
        'ScaleIn deployments/web 3->1',
      ],
      [
        'a server-side apply',
        {
          method: 'PATCH',
          target: `${WEB}?fieldManager=test&force=true`,
          contentType: APPLY,
          body: { ...DEPLOYMENT, spec: { ...DEPLOYMENT.spec, replicas: 9 } },
        },
        'ScaleOut deployments/web 3->9',
      ],
      [
        'a server-side apply in YAML',
        {
          method: 'PATCH',
          target: `${WEB}?fieldManager=test&force=true`,
          contentType: APPLY,
          body: 'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 0x7\n',
        },
        'ScaleOut deployments/web 3->7',
      ],
      [
        'an update',
        { method: 'PUT', target: WEB, body: { ...DEPLOYMENT, spec: { ...DEPLOYMENT.spec, replicas: 4 } } },
        'ScaleOut deployments/web 3->4',
      ],
      [
        'a patch of its scale',
        { method: 'PATCH', target: `${WEB}/scale`, contentType: MERGE, body: { spec: { replicas: 8 } } },
        'ScaleOut deployments/web 3->8',
      ],
      [
        'an update of its scale',
        {
          method: 'PUT',
          target: `${WEB}/scale`,
          body: {
            apiVersion: 'autoscaling/v1',
            kind: 'Scale',
            metadata: { name: 'web', namespace: 'default' },
            spec: { replicas: 1 },
          },
        },
        'ScaleIn deployments/web 3->1',
      ],
      [
        'a patch that changes nothing',
        { method: 'PATCH', target: `${WEB}/scale`, contentType: MERGE, body: { spec: { replicas: 3 } } },
        'ScaleIn deployments/web 3->3',
      ],
    ]; // prettier-ignore

    test.each(routes)('by %s is seen, and done as it was seen', async (_name, sent, operation) => {
      await fresh();
      const worst = understood(sent);
      expect(words(worst.command).join()).toMatch(/Scale |unknown/);
      const { command } = await refinedAndSent(sent);
      expect(words(command)).toContain(operation);
      expect(`->${await replicas()}`).toBe(/->.*/.exec(operation)?.[0]);
    });

    test('a spec that leaves the number out means one', async () => {
      await scaledTo(0);
      const { replicas: _left, ...spec } = DEPLOYMENT.spec;
      const meant = await refined({ method: 'PUT', target: WEB, body: { ...DEPLOYMENT, spec } });
      expect(words(meant.command)).toContain('ScaleOut deployments/web 0->1');
    });

    test('an apply that names it no more gives it up', async () => {
      await send({ method: 'DELETE', target: WEB, body: {} });
      const target = `${WEB}?fieldManager=giving-up`;
      const body = { ...DEPLOYMENT, spec: { ...DEPLOYMENT.spec, replicas: 0 } };
      expect((await send({ method: 'PATCH', target, contentType: APPLY, body })).status).toBe(201);
      const { replicas: _left, ...spec } = DEPLOYMENT.spec;
      const meant = await refined({ method: 'PATCH', target, contentType: APPLY, body: { ...DEPLOYMENT, spec } });
      expect(words(meant.command)).toContain('ScaleOut deployments/web 0->1');
      await fresh();
    });

    test.each([
      ['merge', MERGE, { spec: { replicas: 2 } }],
      ['strategic', STRATEGIC, { spec: { replicas: 2 } }],
      ['json', JSON_PATCH, [{ op: 'replace', path: '/spec/replicas', value: 2 }]],
      ['apply', APPLY, { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'web' }, spec: { replicas: 2 } }],
    ])('is refused where somebody else has changed it meanwhile (%s)', async (type, contentType, body) => {
      await scaledTo(3);
      const target = type === 'apply' ? `${WEB}?fieldManager=test&force=true` : WEB;
      const sent: Sent = { method: 'PATCH', target, contentType, body };
      const meant = await refined(sent);
      expect(words(meant.command)).toContain('ScaleIn deployments/web 3->2');
      // What was to be less would be more now.
      await scaledTo(1);
      expect((await send(sent, meant)).status).toBe(409);
      expect(await replicas()).toBe(1);
    });

    test('an update that the client pinned itself is judged on that state', async () => {
      await scaledTo(4);
      // Until its controller leaves it alone in between.
      const sent = await vi.waitFor(async () => {
        const current = (await read(WEB)) as Record<string, unknown>;
        const next = { ...current, spec: { ...(current['spec'] as object), replicas: 2 } };
        const update: Sent = { method: 'PUT', target: WEB, body: next };
        const { command } = await refined(update);
        expect(words(command)).toEqual(['update deployments/web', 'ScaleIn deployments/web 4->2']);
        return update;
      });
      await scaledTo(1);
      expect((await refined(sent)).refused?.status).toBe(409);
    });

    test('does nothing of the kind by a patch of labels or of the template', async () => {
      await scaledTo(3);
      const patch = (body: unknown) => refined({ method: 'PATCH', target: WEB, contentType: STRATEGIC, body });
      expect(words((await patch({ metadata: { labels: { tier: 'x' } } })).command)).toEqual(['patch deployments/web']);
      const image = {
        spec: { template: { spec: { containers: [{ name: 'web', image: 'registry.example/web:2' }] } } },
      };
      const { command, dryRun } = await patch(image);
      expect(words(command)).toEqual(['patch deployments/web']);
      expect(member(dryRun?.after, 'spec', 'template', 'spec', 'containers')).toMatchObject([
        { image: 'registry.example/web:2' },
      ]);
      expect(await replicas()).toBe(3);
    });

    test('by an autoscaler is a scale-out of what it scales', async () => {
      const collection = '/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers';
      const body = {
        apiVersion: 'autoscaling/v2',
        kind: 'HorizontalPodAutoscaler',
        metadata: { name: 'web' },
        spec: {
          scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' },
          minReplicas: 2,
          maxReplicas: 9,
        },
      };
      const create: Sent = { method: 'POST', target: collection, body };
      expect(words(understood(create).command)).toEqual([
        'create horizontalpodautoscalers/web',
        'ScaleOut deployments/web 9',
      ]);
      expect((await send(create)).status).toBe(201);
      const patch = (spec: unknown): Sent => ({
        method: 'PATCH',
        target: `${collection}/web`,
        contentType: MERGE,
        body: { spec },
      });
      expect(words(understood(patch({ maxReplicas: 5 })).command)).toContain('unknown horizontalpodautoscalers/web');
      expect(words((await refined(patch({ maxReplicas: 5 }))).command)).toContain('ScaleIn deployments/web 9->5');
      expect(words((await refined(patch({ minReplicas: 3 }))).command)).toContain('ScaleOut deployments/web 9->9');
      const annotated: Sent = {
        method: 'PATCH',
        target: `${collection}/web`,
        contentType: MERGE,
        body: { metadata: { annotations: { a: 'b' } } },
      };
      expect(words((await refined(annotated)).command)).toEqual(['patch horizontalpodautoscalers/web']);
    });
  });

  test('of a custom resource is a scale where its definition may make it one', async () => {
    const definition = (plural: string, kind: string, subresources: unknown) => ({
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: `${plural}.example.com` },
      spec: {
        group: 'example.com',
        scope: 'Namespaced',
        names: { plural, singular: kind.toLowerCase(), kind },
        versions: [
          {
            name: 'v1',
            served: true,
            storage: true,
            subresources,
            schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
          },
        ],
      },
    });
    const scale = { scale: { specReplicasPath: '.spec.size', statusReplicasPath: '.status.size' } };
    await cluster.apply(JSON.stringify(definition('fleets', 'Fleet', scale)));
    await cluster.apply(JSON.stringify(definition('notes', 'Note', {})));
    for (const plural of ['fleets', 'notes']) {
      await cluster.kubectl(['wait', '--for=condition=Established', '--timeout=60s', `crd/${plural}.example.com`]);
    }
    const path = (plural: string) => `/apis/example.com/v1/namespaces/default/${plural}/one`;
    for (const [kind, spec] of [
      ['Fleet', { size: 2, color: 'red' }],
      ['Note', { size: 2, color: 'red' }],
    ] as const) {
      const object = { apiVersion: 'example.com/v1', kind, metadata: { name: 'one' }, spec };
      await vi.waitFor(() => cluster.apply(JSON.stringify(object)), { timeout: 30_000, interval: 250 });
    }
    const patch = (plural: string, spec: unknown): Sent => ({
      method: 'PATCH',
      target: path(plural),
      contentType: MERGE,
      body: { spec },
    });
    const meaning = async (sent: Sent) => {
      const meant = await refined(sent);
      return words(meant.command);
    };
    expect(words(understood(patch('fleets', { size: 5 })).command)).toContain('Scale fleets/one');
    // The API server describes a new group a moment after it serves it.
    const published = createDiscovery(() => Number.POSITIVE_INFINITY);
    await vi.waitFor(
      async () => {
        const { info } = understood(patch('notes', {}));
        const { ask, signal } = asking();
        expect(await published.dryRuns(info, ask, signal)).toBe(true);
        expect(await published.dryRuns({ ...info, resource: 'fleets', parts: ['fleets', 'one'] }, ask, signal)).toBe(
          true,
        );
      },
      { timeout: 60_000, interval: 250 },
    );
    expect(await meaning(patch('fleets', { size: 5 }))).toContain('ScaleOut fleets/one');
    expect(await meaning(patch('fleets', { size: 1 }))).toContain('ScaleIn fleets/one');
    expect(await meaning(patch('fleets', { color: 'blue' }))).toEqual(['patch fleets/one']);
    expect(await meaning(patch('notes', { size: 5 }))).toEqual(['patch notes/one']);
    expect(await meaning(patch('notes', { replicas: 5 }))).toContain('ScaleOut notes/one 5');
    expect(await meaning(patch('notes', { template: { spec: { containers: [], hostNetwork: true } } }))).toContain(
      'PrivilegedPod notes/one',
    );
    const made = (kind: string, spec: unknown): Sent => ({
      method: 'POST',
      target: `/apis/example.com/v1/namespaces/default/${kind.toLowerCase()}s`,
      body: { apiVersion: 'example.com/v1', kind, metadata: { name: 'two' }, spec },
    });
    expect(await meaning(made('Fleet', { size: 5, port: 80 }))).toEqual(['create fleets/two', 'ScaleOut fleets/two']);
    expect(await meaning(made('Fleet', { size: 1, port: 80 }))).toEqual(['create fleets/two']);
    expect(await meaning(made('Note', { size: 5 }))).toEqual(['create notes/two']);
    // Who may not read the definition is not told which of the numbers it is.
    const blind: Asking = {
      ...asking(),
      discovery: createDiscovery(() => Date.now()),
      ask: (question, signal) =>
        question.target.includes('/customresourcedefinitions/')
          ? Promise.resolve({ status: 403, contentType: undefined, body: Buffer.alloc(0) })
          : asking().ask(question, signal),
    };
    const guessed = await understood(made('Fleet', { size: 1, port: 80 })).refine?.(blind);
    expect(words(guessed!.command)).toContain('ScaleOut fleets/two');
    const scaled: Sent = {
      method: 'PATCH',
      target: `${path('fleets')}/scale`,
      contentType: MERGE,
      body: { spec: { replicas: 7 } },
    };
    expect(await meaning(scaled)).toEqual(['ScaleOut fleets/one 2->7']);
  });

  test('is never less at worst than what comes of it', { timeout: 60_000 }, async () => {
    await fresh();
    const below = numbers(11);
    const before = await read(WEB);
    let changed = 0;
    for (let round = 0; round < 500; round++) {
      const sent: Sent = { method: 'PATCH', target: `${WEB}?dryRun=All`, ...randomPatch(below) };
      const worst = words(understood(sent).command);
      // Some make its handler panic, which ends the connection: nothing comes of those either.
      const answer = await send(sent).catch((error: Error) => error);
      if (answer instanceof Error) expect(answer.message).toMatch(/socket hang up|ECONNRESET/);
      if (answer instanceof Error || answer.status !== 200) continue;
      const after: unknown = JSON.parse(answer.body.toString('utf8'));
      const [was, is] = [before, after].map((object) => [
        member(object, 'spec', 'replicas'),
        JSON.stringify(member(object, 'spec', 'template', 'spec')),
      ]);
      const where = JSON.stringify(sent.body);
      if (was?.[0] !== is?.[0]) {
        changed++;
        expect(worst, where).toContainEqual(expect.stringMatching(/^(Scale|ScaleIn|unknown) /));
      }
      if (was?.[1] !== is?.[1]) {
        changed++;
        expect(worst, where).toContain('unknown deployments/web');
      }
    }
    expect(changed).toBeGreaterThan(25);
  });

  describe('that changes pods', () => {
    test('is one of a privileged pod whenever the pod that comes of it is', async () => {
      const target = '/apis/apps/v1/namespaces/kube-system/daemonsets/agent';
      const volumes = [{ name: 'host', hostPath: { path: '/' } }];
      const spec = {
        serviceAccountName: 'agent',
        containers: [{ name: 'agent', image: 'registry.example/agent:1' }],
        volumes,
      };
      const template = { metadata: { labels: { app: 'agent' } }, spec };
      const object = {
        apiVersion: 'apps/v1',
        kind: 'DaemonSet',
        metadata: { name: 'agent', namespace: 'kube-system' },
        spec: { selector: { matchLabels: { app: 'agent' } }, template },
      };
      const create: Sent = { method: 'POST', target: target.replace('/agent', ''), body: object };
      const both = ['PrivilegedPod daemonsets/agent', 'UseServiceAccount serviceaccounts/agent'];
      expect(words(understood(create).command)).toEqual(['create daemonsets/agent', ...both]);
      expect((await send(create)).status).toBe(201);
      const patch = (body: unknown): Sent => ({ method: 'PATCH', target, contentType: STRATEGIC, body });
      const image = patch({
        spec: { template: { spec: { containers: [{ name: 'agent', image: 'registry.example/other:1' }] } } },
      });
      expect(words(understood(image).command)).toEqual(['patch daemonsets/agent', 'unknown daemonsets/agent']);
      expect(words((await refined(image)).command)).toEqual(['patch daemonsets/agent', ...both]);
      const label = patch({ metadata: { labels: { tier: 'x' } } });
      expect(words((await refined(label)).command)).toEqual(['patch daemonsets/agent']);
    });

    test('is judged on what the API server makes of protobuf', async () => {
      const headers = { accept: 'application/vnd.kubernetes.protobuf' };
      await scaledTo(3);
      await vi.waitFor(async () => {
        const { body } = await admin.send({ method: 'GET', target: WEB, headers });
        const sent: Sent = { method: 'PUT', target: WEB, contentType: 'application/vnd.kubernetes.protobuf', body };
        expect(words(understood(sent).command)).toEqual(['update deployments/web', 'unknown deployments/web']);
        const meant = await refined(sent);
        expect(member(meant.dryRun?.after, 'spec', 'replicas')).toBe(3);
        expect(words(meant.command)).toEqual(['update deployments/web']);
      });
    });

    test('by a debug container tells its words only of an image that the pod runs already', async () => {
      const spec = { containers: [{ name: 'web', image: 'registry.example/web:1' }] };
      await fresh(
        { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'web' }, spec },
        '/api/v1/namespaces/default/pods/web',
      );
      const debug = (container: unknown): Sent => ({
        method: 'PATCH',
        target: '/api/v1/namespaces/default/pods/web/ephemeralcontainers',
        contentType: STRATEGIC,
        body: {
          spec: { ephemeralContainers: [container], '$setElementOrder/ephemeralContainers': [{ name: 'debug' }] },
        },
      });
      const own = { name: 'debug', image: 'registry.example/web:1', command: ['ps'], args: ['aux'] };
      expect(words(understood(debug(own)).command)).toEqual(['Exec pods/web']);
      expect(words((await refined(debug(own))).command)).toEqual(['Exec pods/web ps aux']);
      expect(words((await refined(debug({ ...own, image: 'registry.example/evil:1' }))).command)).toEqual([
        'Exec pods/web',
      ]);
      expect(words((await refined(debug({ ...own, securityContext: { privileged: true } }))).command)).toEqual([
        'Exec pods/web',
        'PrivilegedPod pods/web',
      ]);
    });
  });

  test('that gives a namespace an owner deletes it: the garbage collector misses the owner', async () => {
    const target = '/api/v1/namespaces/kube-public';
    const owner = { apiVersion: 'v1', kind: 'Namespace', name: 'nobody', uid: randomUUID() };
    const sent: Sent = {
      method: 'PATCH',
      target,
      contentType: MERGE,
      body: { metadata: { ownerReferences: [owner] } },
    };
    expect(words(understood(sent).command)).toEqual(['patch namespaces/kube-public', 'delete namespaces/kube-public']);
    expect(words((await refined(sent)).command)).toEqual([
      'patch namespaces/kube-public',
      'delete namespaces/kube-public',
    ]);
    const label: Sent = { method: 'PATCH', target, contentType: MERGE, body: { metadata: { labels: { a: 'b' } } } };
    expect(words(understood(label).command)).toEqual(['patch namespaces/kube-public']);
  });

  test('that the API server refuses on trial is refused with its words', async () => {
    const sent: Sent = {
      method: 'PATCH',
      target: WEB.replace('web', 'none'),
      contentType: MERGE,
      body: { spec: { paused: true } },
    };
    const { refused, command } = await refined(sent);
    expect(refused?.status).toBe(404);
    expect(words(command)).toEqual(['patch deployments/none']);
  });

  test('that applies what is not there creates it', async () => {
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'fresh' }, data: { a: 'b' } };
    const sent: Sent = {
      method: 'PATCH',
      target: '/api/v1/namespaces/default/configmaps/fresh?fieldManager=test',
      contentType: APPLY,
      body: object,
    };
    expect(words((await refined(sent)).command)).toEqual(['patch configmaps/fresh', 'create configmaps/fresh']);
    expect((await send(sent)).status).toBe(201);
    expect(words((await refined(sent)).command)).toEqual(['patch configmaps/fresh']);
  });
});
