/**
 * The process that bench/soak.ts looks at: reflectors and a controller, as an operator has them. Says every few seconds how much memory is
 * left after a collection, and at the end what it holds.
 */
import { Registry } from 'prom-client';
import { loadKubeConfig } from '../kube/access.ts';
import { CONFIG_MAPS } from '../kube/builtin.ts';
import { createKubeClient } from '../kube/client.ts';
import { createController } from '../kube/controller.ts';
import { createKubeMetrics } from '../kube/metrics.ts';
import { createReflector } from '../kube/reflector.ts';
import { keyOf, type Log, refOf } from '../kube/types.ts';

export interface Sample {
  readonly kind: 'sample';
  /** Megabytes after a collection. */
  readonly heap: number;
  readonly rss: number;
  /** Since the last sample. */
  readonly changes: number;
  readonly reconciles: number;
  /** Milliseconds of processor time since the last sample. */
  readonly cpuMs: number;
}

export interface Held {
  readonly kind: 'held';
  /** `NAMESPACE/NAME UID VERSION`, sorted. */
  readonly objects: readonly string[];
  readonly lists: number;
  readonly watches: number;
  readonly crashes: number;
}

const [, , kubeconfig = '', sampleSeconds = '5'] = process.argv;
let crashes = 0;
for (const event of ['uncaughtException', 'unhandledRejection'] as const) process.on(event, () => void crashes++);

const silent = (): void => undefined;
const log: Log = { debug: silent, info: silent, warn: silent, error: silent };
const metrics = createKubeMetrics(new Registry(), 'soak');
const access = await loadKubeConfig({ kubeconfig, env: {} });
const client = createKubeClient({ access, userAgent: 'sallyport-soak', observe: metrics.request });
const stop = new AbortController();
// Short watches: what a month of five-minute ones does is done in an hour.
const timing = { watchSeconds: 5, firstBackoffMs: 50, maxBackoffMs: 1_000 };
const reflector = createReflector({ client, type: CONFIG_MAPS, labelSelector: 'soak=true', log, metrics, timing });
let changes = 0;
let reconciles = 0;
reflector.onChange(() => void changes++);
const controller = createController({
  name: 'soak',
  workers: 4,
  log,
  metrics,
  async reconcile(key) {
    reconciles++;
    const { namespace, name } = refOf(key);
    // Fails now and then, so that keys are tried again.
    if (reflector.get(namespace, name)?.data?.['count']?.endsWith('7')) throw new Error('it ends with 7');
    return { requeueAfterMs: 60_000 };
  },
});
controller.follow(reflector, (object) => [keyOf(object)]);
const running = [reflector.run(stop.signal), controller.run(stop.signal)];
await reflector.synced(stop.signal);

let cpu = process.cpuUsage();
const timer = setInterval(() => {
  globalThis.gc?.();
  const { heapUsed, rss } = process.memoryUsage();
  const { user, system } = process.cpuUsage(cpu);
  cpu = process.cpuUsage();
  const cpuMs = (user + system) / 1000;
  process.send?.({ kind: 'sample', heap: heapUsed / 1e6, rss: rss / 1e6, changes, reconciles, cpuMs } satisfies Sample);
  changes = 0;
  reconciles = 0;
}, Number(sampleSeconds) * 1000);

process.on('message', async () => {
  const count = async (metric: { get(): Promise<{ values: { value: number }[] }> }): Promise<number> =>
    (await metric.get()).values.reduce((sum, { value }) => sum + value, 0);
  const objects = reflector
    .list()
    .map((each) => `${keyOf(each)} ${each.metadata.uid} ${each.metadata.resourceVersion}`)
    .sort();
  clearInterval(timer);
  const lists = await count(metrics.lists);
  const watches = await count(metrics.watches);
  stop.abort();
  await Promise.all(running);
  client.close();
  process.send?.({ kind: 'held', objects, lists, watches, crashes } satisfies Held, () => process.disconnect?.());
});
process.send?.({ kind: 'ready' });
