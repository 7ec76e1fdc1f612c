/**
 * Whether a process that follows an API server keeps its memory: 5,000 objects that change all the time, short watches, and a fault every
 * few seconds, against a real API server. Exit status 1 when memory grows or the store is not right at the end.
 * SOAK_SECONDS (default 180) and SOAK_OBJECTS (default 5000).
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { CONFIG_MAPS, type ConfigMap } from '../kube/builtin.ts';
import { keyOf } from '../kube/types.ts';
import { startControlPlane } from '../test/cluster/control-plane.ts';
import { type Fault, startFaultProxy } from '../test/cluster/fault-proxy.ts';
import { clientOf, createNamespace } from '../test/cluster/kube-ground.ts';
import type { Held, Sample } from './soak-follower.ts';

const SECONDS = Number(process.env['SOAK_SECONDS'] ?? 180);
const OBJECTS = Number(process.env['SOAK_OBJECTS'] ?? 5_000);
const NAMESPACES = 10;
const SAMPLE_SECONDS = 5;
const WRITERS = 4;
/** Between the lowest of the second and of the last quarter: what a heap's own disorder may be. */
const MAY_GROW = 0.05;

const FAULTS: readonly Fault[] = [
  { kind: 'reset' },
  { kind: 'status', code: 410 },
  { kind: 'watch', afterEvents: 50, how: 'cut-reset' },
  { kind: 'watch', afterEvents: 50, how: { error: 410 } },
  { kind: 'watch', afterEvents: 50, how: 'garble' },
  { kind: 'status', code: 503 },
];

await using cluster = await startControlPlane();
await using proxy = await startFaultProxy(cluster.kubeconfig, cluster.folder);
const client = await clientOf(cluster.kubeconfig);
const names = Array.from({ length: NAMESPACES }, (_, index) => `soak-${index}`);
for (const name of names) await createNamespace(client, name);

const objectOf = (index: number, count: number): ConfigMap => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { namespace: `soak-${index % NAMESPACES}`, name: `object-${index}`, labels: { soak: 'true' } },
  data: { count: String(count), filling: 'x'.repeat(500) },
});

/** Some at a time, while there are more; resolves when none is under way. */
async function inParallel(hasMore: (index: number) => boolean, write: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const work = async (): Promise<void> => {
    for (let index = next++; hasMore(index); index = next++) await write(index);
  };
  await Promise.all(Array.from({ length: WRITERS }, work));
}

console.log(`${OBJECTS} objects in ${NAMESPACES} namespaces, ${SECONDS} s`);
await inParallel(
  (index) => index < OBJECTS,
  async (index) => void (await client.create(CONFIG_MAPS, objectOf(index, 0))),
);

const follower = fork(path.join(import.meta.dirname, 'soak-follower.ts'), [proxy.kubeconfig, String(SAMPLE_SECONDS)], {
  execArgv: ['--expose-gc'],
});
/** While things change. */
const samples: Sample[] = [];
let changing = true;
const held = Promise.withResolvers<Held>();
follower.on('message', (message: Sample | Held | { kind: 'ready' }) => {
  if (message.kind === 'sample') {
    if (changing) samples.push(message);
    const { heap, rss, changes, reconciles, cpuMs } = message;
    const share = ((cpuMs / (SAMPLE_SECONDS * 1000)) * 100).toFixed(0);
    console.log(
      `heap ${heap.toFixed(1)} MB, resident ${rss.toFixed(0)} MB, ${changes} changes, ${reconciles} reconciles, ${share} % of a processor`,
    );
  }
  if (message.kind === 'held') held.resolve(message);
});
follower.once('exit', () => held.reject(new Error('the follower ended')));
await once(follower, 'message');

const end = performance.now() + SECONDS * 1000;
let writes = 0;
let fault = 0;
const faults = setInterval(() => {
  const each = FAULTS[fault++ % FAULTS.length];
  if (each !== undefined) void proxy.next(each, ({ isWatch }) => isWatch);
  proxy.resetAll();
}, 3_000);
await inParallel(
  () => performance.now() < end,
  async (step) => {
    const object = objectOf((step * 7919) % OBJECTS, step);
    // Each tenth is made anew: another UID under the same name.
    if (step % 10 === 0) await client.delete(CONFIG_MAPS, object.metadata);
    await client.apply(CONFIG_MAPS, object, { fieldManager: 'soak', force: true });
    writes++;
  },
);
clearInterval(faults);
changing = false;

const wanted = (await client.listAll(CONFIG_MAPS, { labelSelector: 'soak=true' })).items
  .map((each) => `${keyOf(each)} ${each.metadata.uid} ${each.metadata.resourceVersion}`)
  .sort();
// What the promise is: within its longest wait.
await new Promise((resolve) => setTimeout(resolve, 15_000));
follower.send('end');
const { objects, lists, watches, crashes } = await held.promise;
client.close();

const quarter = Math.floor(samples.length / 4);
/** The lowest: while a list is under way there are two copies of everything, and that is no growth. */
const heapOf = (from: number, to: number): number => Math.min(...samples.slice(from, to).map(({ heap }) => heap));
const early = heapOf(quarter, 2 * quarter);
const late = heapOf(3 * quarter, samples.length);
const most = Math.max(...samples.map(({ rss }) => rss));
const expected = new Set(wanted);
const actual = new Set(objects);
const differences = [...expected.symmetricDifference(actual)];
console.log(`${writes} writes, ${fault} faults, ${lists} lists, ${watches} watches, ${crashes} crashes`);
console.log(
  `heap ${early.toFixed(1)} MB in the second quarter, ${late.toFixed(1)} MB in the last; resident at most ${most.toFixed(0)} MB`,
);
console.log(`the store and a fresh list of ${wanted.length} objects: ${differences.length} differences`);
for (const line of differences.slice(0, 10)) console.log(`${expected.has(line) ? 'missing' : 'too much'}: ${line}`);
if (differences.length > 0 || crashes > 0 || late > early * (1 + MAY_GROW)) process.exitCode = 1;
