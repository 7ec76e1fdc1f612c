import { Registry } from 'prom-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CONFIG_MAPS } from '../../kube/builtin.ts';
import { createKubeMetrics } from '../../kube/metrics.ts';
import { createReflector, type ReflectorTiming } from '../../kube/reflector.ts';
import { type KubeClient, resourceType } from '../../kube/types.ts';
import { describeWith } from '../support/requires.ts';
import { type ControlPlane, controlPlaneNeeds, startControlPlane } from './control-plane.ts';
import { type Fault, type FaultProxy, type Intercepted, startFaultProxy } from './fault-proxy.ts';
import {
  auditChanges,
  caughtUp,
  clientOf,
  collectLog,
  configMap,
  createChurn,
  createNamespace,
  fingerprint,
} from './kube-ground.ts';

/** What the runtime promises: after the end of a fault the store is right within its longest wait, and a call. */
const PROMISED_MS = 15_000;
/** Shorter than in production, so that no test waits for a minute and a half of silence. */
const TIMING: Partial<ReflectorTiming> = { silenceMs: 3_000, firstBackoffMs: 50, maxBackoffMs: 1_000 };
const LABEL = 'churn=true';

type How = (Fault & { kind: 'watch' })['how'];

/** A fault that comes in the middle of a watch. */
const midWatch = (how: How, afterEvents = 4): Fault => ({ kind: 'watch', afterEvents, how });

describeWith(controlPlaneNeeds, 'a reflector in front of a real API server', () => {
  let cluster: ControlPlane & AsyncDisposable;
  let proxy: FaultProxy;
  let direct: KubeClient;
  let count = 0;

  beforeAll(async () => {
    cluster = await startControlPlane();
    proxy = await startFaultProxy(cluster.kubeconfig, cluster.folder);
    direct = await clientOf(cluster.kubeconfig);
  });
  afterAll(async () => {
    direct?.close();
    await proxy?.[Symbol.asyncDispose]();
    await cluster?.stop();
  });

  /** A namespace of its own that changes, followed through the proxy. Starts with faults when they are given. */
  async function follow(decide: FaultProxy['decide'] = () => undefined, more: Partial<ReflectorTiming> = {}) {
    const namespace = await createNamespace(direct, `follow-${count++}`);
    const churn = createChurn(direct, namespace);
    await churn.step(20);
    churn.written.clear();
    const isOurs = ({ path }: Intercepted): boolean => path.includes(`/namespaces/${namespace}/`);
    const isWatch = (request: Intercepted): boolean => request.isWatch && isOurs(request);
    proxy.decide = (request) => (isOurs(request) ? decide(request) : undefined);
    const client = await clientOf(proxy.kubeconfig);
    const log = collectLog();
    const metrics = createKubeMetrics(new Registry(), 'proxy');
    const selection = { namespace, labelSelector: LABEL };
    const timing = { ...TIMING, ...more };
    const reflector = createReflector({ client, type: CONFIG_MAPS, ...selection, log, metrics, timing });
    const judged = auditChanges(reflector);
    const stop = new AbortController();
    const running = reflector.run(stop.signal);
    await reflector.synced(AbortSignal.timeout(PROMISED_MS));
    return {
      churn,
      reflector,
      judged,
      log,
      isWatch,
      caughtUp: () => caughtUp(reflector, direct, selection, PROMISED_MS),
      /** Does it to the next watch, while things change, and goes on until it has happened. */
      async suffer(fault: Fault): Promise<void> {
        let happened = false;
        const done = proxy.next(fault, isWatch).then(() => {
          happened = true;
        });
        proxy.resetAll();
        while (!happened) await churn.step(3);
        await done;
        await churn.step(10);
      },
      lists: async () => (await metrics.lists.get()).values.reduce((sum, { value }) => sum + value, 0),
      expectSound(): void {
        expect(judged.findings).toEqual([]);
        expect(fingerprint(judged.model.values())).toEqual(fingerprint(reflector.list()));
      },
      /** Also what was there only in between. */
      expectNothingSkipped(): void {
        expect([...churn.written].filter((version) => !judged.versions.has(version))).toEqual([]);
      },
      async [Symbol.asyncDispose]() {
        stop.abort();
        await running;
        client.close();
        proxy.decide = () => undefined;
      },
    };
  }

  it('holds what the API server has, and tells every change once', async () => {
    await using ground = await follow();
    await ground.churn.step(60);
    await ground.caughtUp();
    ground.expectSound();
    ground.expectNothingSkipped();
    expect(await ground.lists()).toBe(1);
    expect(ground.log.lines.filter(({ level }) => level !== 'debug')).toEqual([]);
  });

  describe('goes on from where it was, with every version in between', () => {
    it.each<[string, Fault]>([
      ['a reset', midWatch('reset')],
      ['a proper end', midWatch('close')],
      ['a reset within an event', midWatch('cut-reset')],
      ['a reset before any event', { kind: 'reset' }],
      ['an error 429 in the stream', midWatch({ error: 429 })],
      ['an error 500 in the stream', midWatch({ error: 500 })],
      ['429 with Retry-After', { kind: 'status', code: 429, retryAfterSeconds: 1 }],
      ['500', { kind: 'status', code: 500 }],
      ['503', { kind: 'status', code: 503 }],
      ['401', { kind: 'status', code: 401 }],
      ['events that come twice', { kind: 'repeat', times: 2 }],
      ['a silence', midWatch('stall')],
    ])('after %s', async (_, fault) => {
      await using ground = await follow();
      await ground.suffer(fault);
      await ground.caughtUp();
      ground.expectSound();
      ground.expectNothingSkipped();
      expect(await ground.lists()).toBe(1);
    });
  });

  describe('lists again', () => {
    it.each<[string, Fault]>([
      ['410 as a status', { kind: 'status', code: 410 }],
      ['410 in the stream', midWatch({ error: 410 })],
      ['an event that is cut by a proper end', midWatch('cut-close')],
      ['a line that is no event', midWatch('garble')],
      ['an event without name and version', midWatch('hollow')],
      ['old events that are told again', { kind: 'replay' }],
      ['an answer that is no API server’s', { kind: 'html' }],
      ['403', { kind: 'status', code: 403 }],
      ['404', { kind: 'status', code: 404 }],
    ])('after %s', async (_, fault) => {
      await using ground = await follow();
      await ground.suffer(fault);
      await ground.caughtUp();
      ground.expectSound();
      expect(await ground.lists()).toBeGreaterThan(1);
    });

    it.each<[string, Fault, number]>([
      ['ended at once', { kind: 'empty' }, 90_000],
      ['were silent', midWatch('stall', 0), 500],
    ])('after three watches that %s', async (_, fault, silenceMs) => {
      let times = 0;
      await using ground = await follow(
        (request) => {
          if (!request.isWatch || times === 3) return undefined;
          times++;
          return fault;
        },
        { silenceMs },
      );
      await ground.churn.step(10);
      await ground.caughtUp();
      // Which of the watches saw the changes depends on the moment; that all was listed again does not.
      while ((await ground.lists()) < 2) await ground.churn.step(1);
      expect(times).toBe(3);
      await ground.caughtUp();
      ground.expectSound();
    });
  });

  describe('is filled although the first lists fail', () => {
    it.each<[string, Fault]>([
      ['a reset', { kind: 'reset' }],
      ['half an answer', { kind: 'half' }],
      ['an answer that is no API server’s', { kind: 'html' }],
      ['429', { kind: 'status', code: 429 }],
      ['500', { kind: 'status', code: 500 }],
      ['503', { kind: 'status', code: 503 }],
      ['403', { kind: 'status', code: 403 }],
      ['404', { kind: 'status', code: 404 }],
      ['410', { kind: 'status', code: 410 }],
    ])('by %s', async (_, fault) => {
      let failures = 0;
      await using ground = await follow((request) => {
        // A connection that is broken off on a read is tried four more times by the client itself.
        if (request.isWatch || failures === 6) return undefined;
        failures++;
        return fault;
      });
      await ground.caughtUp();
      ground.expectSound();
      // Once, not for each attempt.
      expect(ground.log.lines.filter(({ level }) => level === 'warn').length).toBeLessThanOrEqual(1);
      expect(ground.log.lines.filter(({ level }) => level === 'error')).toEqual([]);
    });
  });

  it('waits as long as Retry-After asks', async () => {
    await using ground = await follow();
    await ground.suffer({ kind: 'status', code: 429, retryAfterSeconds: 1 });
    await ground.caughtUp();
    const waits = ground.log.lines.flatMap(({ fields }) =>
      'code' in fields && fields.code === 'SPB009' && 'waitMs' in fields ? [Number(fields.waitMs)] : [],
    );
    expect(waits.length).toBeGreaterThan(0);
    for (const wait of waits) expect(wait).toBeGreaterThanOrEqual(1_000);
  });

  it.each([1, 2, 3])('is right after a storm of faults of every kind (seed %i)', async (seed) => {
    const random = randomOf(seed);
    const kinds: readonly Fault[] = [
      { kind: 'reset' },
      { kind: 'half' },
      { kind: 'html' },
      { kind: 'empty' },
      { kind: 'repeat', times: 3 },
      { kind: 'replay' },
      ...([401, 403, 404, 410, 429, 500, 503] as const).map((code): Fault => ({ kind: 'status', code })),
      ...(['reset', 'close', 'cut-reset', 'cut-close', 'garble', 'hollow', 'stall'] as const).map((how) =>
        midWatch(how, Math.floor(random() * 6)),
      ),
      ...([410, 429, 500] as const).map((error) => midWatch({ error }, Math.floor(random() * 6))),
    ];
    let storm = false;
    await using ground = await follow((request) => {
      const fault = kinds[Math.floor(random() * kinds.length)];
      if (!storm || random() < 0.4 || fault === undefined) return undefined;
      // What is done to watches has no meaning for lists.
      const forWatches = ['watch', 'empty', 'repeat', 'replay'].includes(fault.kind);
      return forWatches === request.isWatch || !forWatches ? fault : undefined;
    });
    storm = true;
    for (let round = 0; round < 25; round++) {
      await ground.churn.step(12);
      proxy.resetAll();
    }
    storm = false;
    // A watch that was stalled during the storm is found out by its silence.
    await ground.caughtUp();
    ground.expectSound();
  });

  it('follows an API server that is killed, started with an empty watch cache, and frozen', async () => {
    await using ground = await follow();
    await cluster.apiServer.kill();
    await ground.log.said('SPB001');
    await cluster.apiServer.start();
    await ground.churn.step(10);
    await ground.caughtUp();

    await cluster.apiServer.stop();
    await cluster.apiServer.start();
    await ground.churn.step(10);
    await ground.caughtUp();

    cluster.apiServer.freeze();
    try {
      await ground.log.said('SPB019');
    } finally {
      cluster.apiServer.thaw();
    }
    await ground.churn.step(10);
    await ground.caughtUp();
    ground.expectSound();
  });

  it('follows an etcd that was restored from an older snapshot', async () => {
    // No silence is found out within the time that is promised: it has to see by itself that the count went back.
    await using ground = await follow(undefined, { silenceMs: 90_000 });
    const snapshot = await cluster.etcd.snapshot();
    await ground.churn.step(40);
    await ground.caughtUp();
    await cluster.etcd.restore(snapshot);
    await ground.caughtUp();
    const namespace = ground.reflector.list()[0]?.metadata.namespace ?? '';
    await createChurn(direct, namespace, 'later').step(10);
    await ground.caughtUp();
    ground.expectSound();
  });

  it('waits for a type that is not there yet, and says so once', async () => {
    const widgets = resourceType('kube.test', 'v1', 'widgets', 'Widget');
    const client = await clientOf(cluster.kubeconfig);
    const log = collectLog();
    const reflector = createReflector({ client, type: widgets, log, timing: TIMING });
    const stop = new AbortController();
    const running = reflector.run(stop.signal);
    await log.said('SPB005');
    expect(reflector.hasSynced).toBe(false);
    await expect(reflector.synced(AbortSignal.abort(new Error('not waited for')))).rejects.toThrow('not waited for');
    await cluster.apply(
      JSON.stringify({
        apiVersion: 'apiextensions.k8s.io/v1',
        kind: 'CustomResourceDefinition',
        metadata: { name: 'widgets.kube.test' },
        spec: {
          group: 'kube.test',
          scope: 'Namespaced',
          names: { plural: 'widgets', kind: 'Widget' },
          versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object' } } }],
        },
      }),
    );
    await reflector.synced(AbortSignal.timeout(PROMISED_MS));
    expect(log.lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
    expect(log.lines.filter(({ level }) => level === 'info')).toHaveLength(1);
    stop.abort();
    await running;
    client.close();
  });

  it('goes on when its namespace is deleted and made again', async () => {
    await using ground = await follow();
    const namespace = ground.reflector.list()[0]?.metadata.namespace ?? '';
    await cluster.kubectl(['delete', 'namespace', namespace, '--wait=true']);
    await ground.caughtUp();
    expect(ground.reflector.size).toBe(0);
    await createNamespace(direct, namespace);
    await direct.create(CONFIG_MAPS, configMap(namespace, 'again'));
    await ground.caughtUp();
    expect(ground.reflector.size).toBe(1);
    ground.expectSound();
  });

  it('keeps what it has while rights are taken away, and goes on when they come back', async () => {
    const namespace = await createNamespace(direct, 'rights');
    await direct.create(CONFIG_MAPS, configMap(namespace, 'one'));
    const grant = ['create', 'rolebinding', 'reader', '--clusterrole=view', '--user=reader', '-n', namespace];
    await cluster.kubectl(grant);
    const client = await clientOf(await cluster.clientAs('reader'));
    const log = collectLog();
    const timing = { ...TIMING, watchSeconds: 1 };
    const reflector = createReflector({ client, type: CONFIG_MAPS, namespace, log, timing });
    const stop = new AbortController();
    const running = reflector.run(stop.signal);
    await reflector.synced(AbortSignal.timeout(PROMISED_MS));
    const before = fingerprint(reflector.list());
    await cluster.kubectl(['delete', 'rolebinding', 'reader', '-n', namespace]);
    await log.said('SPB004');
    expect(fingerprint(reflector.list())).toEqual(before);
    await direct.create(CONFIG_MAPS, configMap(namespace, 'two'));
    await cluster.kubectl(grant);
    await caughtUp(reflector, direct, { namespace }, PROMISED_MS);
    stop.abort();
    await running;
    client.close();
  });

  it('follows by lists alone while no watch can be had, and warns of it once', async () => {
    await using ground = await follow((request) => (request.isWatch ? { kind: 'status', code: 500 } : undefined));
    for (let round = 0; round < 4; round++) {
      await ground.churn.step(5);
      await ground.caughtUp();
    }
    ground.expectSound();
    expect(await ground.lists()).toBeGreaterThan(1);
    expect(ground.log.lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
  });

  it('goes on although a listener throws', async () => {
    await using ground = await follow();
    const seen: string[] = [];
    ground.reflector.onChange(() => {
      throw new Error('a mistake of a listener');
    });
    ground.reflector.onChange(({ object }) => void seen.push(object.metadata.name));
    await ground.churn.step(5);
    await ground.caughtUp();
    ground.expectSound();
    expect(seen.length).toBeGreaterThanOrEqual(5);
    expect(ground.log.lines.some(({ level, message }) => level === 'error' && /listener/.test(message))).toBe(true);
  });
});

/** mulberry32: the same storm for the same seed. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
