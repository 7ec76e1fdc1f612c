/**
 * Kubernetes: an API server, and Sallyport before it, side by side: kubectl over many pods, watches, single requests, and memory while a list
 * of 100 MB is masked.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Agent, request } from 'undici';
import { clientOf } from '../test/cluster/kube-ground.ts';
import { type KubeLaneGround, startKubeLaneGround } from '../test/cluster/kube-lane-ground.ts';
import { kubectl } from '../test/cluster/programs.ts';
import { median } from './measure.ts';
import { cpuSeconds, memoryBytes } from './process-usage.ts';

const quick = process.argv.includes('--quick');
const PODS = quick ? 500 : 5000;
const ROUNDS = quick ? 2 : 5;
const GETS = quick ? 200 : 2000;
const EVENTS = quick ? 300 : 5000;
const WATCHERS = quick ? 4 : 20;
/** Of the list whose memory is looked at: ConfigMaps of 512 KiB. */
const LARGE = quick ? 20 : 200;
const LARGE_BYTES = 512 * 1024;

const POLICY = `
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: everything, namespace: default}
spec:
  connections: {all: true}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
    - name: all
      effect: Allow
      kubernetes: {verbs: ["*"], apiGroups: ["*"], resources: ["*"], namespaces: ["*"]}
---
apiVersion: sallyport.dev/v1alpha1
kind: MaskingRule
metadata: {name: keys, namespace: default}
spec:
  connections: {names: [masked]}
  kubernetes:
    - {configMaps: [password], transform: {redact: {}}}
    - {env: ["*TOKEN*"], transform: {redact: {}}}
`;

function progress(text: string): void {
  process.stderr.write(`bench: kubernetes, ${text}\n`);
}

interface Peer {
  readonly name: 'direct' | 'sallyport' | 'masked';
  readonly server: string;
  readonly kubeconfig: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly dispatcher: Agent;
}

async function peersOf(ground: KubeLaneGround): Promise<readonly Peer[]> {
  const ca = await readFile(ground.caFile);
  const through = async (name: 'sallyport' | 'masked', connection: string): Promise<Peer> => ({
    name,
    server: ground.server(connection),
    kubeconfig: await ground.kubeconfig('agent', connection),
    headers: { authorization: `Bearer ${await ground.token()}` },
    dispatcher: new Agent({ connect: { ca }, connections: 64 }),
  });
  const token = (await ground.plane.kubectl(['create', 'token', 'agent', '--duration=2h'])).trim();
  const direct: Peer = {
    name: 'direct',
    server: ground.plane.server,
    kubeconfig: ground.plane.kubeconfig,
    headers: { authorization: `Bearer ${token}` },
    dispatcher: new Agent({ connect: { ca: await readFile(ground.plane.caFile) }, connections: 64 }),
  };
  return [direct, await through('sallyport', 'plain'), await through('masked', 'masked')];
}

async function inParallel(count: number, work: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: 16 }, worker));
}

async function createObjects(ground: KubeLaneGround): Promise<void> {
  progress(`${PODS} pods, ${LARGE} large objects`);
  const client = await clientOf(ground.plane.kubeconfig);
  const create = (path: string, body: unknown) => client.request('POST', path, { body, timeoutMs: 60_000 });
  await create('/api/v1/namespaces', { metadata: { name: 'pods' } });
  await create('/api/v1/namespaces', { metadata: { name: 'large' } });
  await ground.plane.kubectl(['wait', '--for=create', '--timeout=60s', '-n', 'pods', 'serviceaccount/default']);
  await inParallel(PODS, (index) =>
    create('/api/v1/namespaces/pods/pods', {
      metadata: { name: `pod-${index}`, labels: { app: 'web' } },
      spec: {
        nodeName: 'nowhere',
        tolerations: [{ operator: 'Exists' }],
        containers: [{ name: 'web', image: 'example.invalid/web', env: [{ name: 'API_TOKEN', value: `t${index}` }] }],
      },
    }),
  );
  const text = createHash('sha256')
    .update('bench')
    .digest('hex')
    .repeat(LARGE_BYTES / 64);
  await inParallel(LARGE, (index) =>
    create('/api/v1/namespaces/large/configmaps', {
      metadata: { name: `large-${index}` },
      data: { text, password: 'secret' },
    }),
  );
  client.close();
}

function kubectlSeconds(file: string, peer: Peer): Promise<number> {
  const start = performance.now();
  return new Promise((resolve, reject) => {
    execFile(
      file,
      ['--kubeconfig', peer.kubeconfig, 'get', 'pods', '-n', 'pods'],
      { maxBuffer: 64 * 1024 * 1024 },
      (error) => (error === null ? resolve((performance.now() - start) / 1000) : reject(error)),
    );
  });
}

/** Milliseconds of one request after another. */
async function getMilliseconds(peer: Peer): Promise<number> {
  const times: number[] = [];
  for (let index = 0; index < GETS; index++) {
    const start = performance.now();
    const answer = await request(`${peer.server}/api/v1/namespaces/pods/pods/pod-${index % PODS}`, peer);
    await answer.body.dump();
    times.push(performance.now() - start);
  }
  return median(times);
}

/** Watchers that all see every change: events a second in all, and CPU of the gateway for each of them. */
async function watchRate(ground: KubeLaneGround, peer: Peer): Promise<{ rate: number; cpuMicros: number }> {
  const client = await clientOf(ground.plane.kubeconfig);
  const stop = new AbortController();
  const expected = EVENTS * WATCHERS;
  let seen = 0;
  const all = Promise.withResolvers<void>();
  const target = `${peer.server}/api/v1/namespaces/default/configmaps?watch=true&labelSelector=bench%3D${peer.name}`;
  await Promise.all(
    Array.from({ length: WATCHERS }, async () => {
      const answer = await request(target, { ...peer, signal: stop.signal, bodyTimeout: 0, headersTimeout: 0 });
      answer.body.on('data', (chunk: Buffer) => {
        for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) seen++;
        if (seen >= expected) all.resolve();
      });
      answer.body.on('error', () => undefined);
    }),
  );
  const { pid } = ground.gateway;
  const before = cpuSeconds(pid);
  const start = performance.now();
  await inParallel(EVENTS, (index) =>
    client.request('POST', '/api/v1/namespaces/default/configmaps', {
      body: { metadata: { name: `${peer.name}-${index}`, labels: { bench: peer.name } }, data: { password: 'secret' } },
    }),
  );
  await all.promise;
  const seconds = (performance.now() - start) / 1000;
  const cpuMicros = ((cpuSeconds(pid) - before) * 1_000_000) / expected;
  stop.abort();
  client.close();
  return { rate: seen / seconds, cpuMicros: peer.name === 'direct' ? 0 : cpuMicros };
}

/** Bytes that the gateway's memory grew by, at most, while one client read the large list. */
async function listMemory(
  ground: KubeLaneGround,
  peer: Peer,
): Promise<{ megabytes: number; grown: number; seconds: number }> {
  const before = memoryBytes(ground.gateway.pid);
  let most = before;
  let bytes = 0;
  const start = performance.now();
  const answer = await request(`${peer.server}/api/v1/namespaces/large/configmaps`, {
    ...peer,
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  let looked = 0;
  for await (const chunk of answer.body) {
    bytes += (chunk as Buffer).length;
    if (bytes - looked > 4_000_000) {
      looked = bytes;
      most = Math.max(most, memoryBytes(ground.gateway.pid));
    }
  }
  return { megabytes: bytes / 1e6, grown: (most - before) / 1e6, seconds: (performance.now() - start) / 1000 };
}

const fixed = (value: number, digits = 2): string => value.toFixed(digits);

async function main(): Promise<void> {
  await using ground = await startKubeLaneGround({
    connections: { plain: '', masked: '' },
    resources: { 'policy.yaml': POLICY },
  });
  await createObjects(ground);
  const peers = await peersOf(ground);
  const file = await kubectl();
  const lines: string[] = [];
  const row = (...cells: readonly string[]): void => void lines.push(`| ${cells.join(' | ')} |`);
  row('', 'direct', 'Sallyport', 'Sallyport, masked');
  row('---', '---:', '---:', '---:');

  const seconds = new Map(peers.map(({ name }) => [name, [] as number[]]));
  for (let round = 0; round < ROUNDS; round++) {
    progress(`kubectl get pods, round ${round + 1} of ${ROUNDS}`);
    for (const peer of peers) seconds.get(peer.name)?.push(await kubectlSeconds(file, peer));
  }
  row(`kubectl get pods, ${PODS} pods, s`, ...peers.map(({ name }) => fixed(median(seconds.get(name) ?? []))));

  progress('single requests');
  const gets = [];
  for (const peer of peers) gets.push(await getMilliseconds(peer));
  row('get of one pod, one after another, ms', ...gets.map((value) => fixed(value)));

  const rates = [];
  for (const peer of peers) {
    progress(`watches, ${peer.name}`);
    rates.push(await watchRate(ground, peer));
  }
  row(`events a second to ${WATCHERS} watches in all`, ...rates.map(({ rate }) => fixed(rate, 0)));
  row('CPU of the gateway for each, µs', ...rates.map(({ cpuMicros }) => fixed(cpuMicros, 0)));

  const lists = [];
  for (const peer of peers) {
    progress(`large list, ${peer.name}`);
    lists.push(await listMemory(ground, peer));
  }
  row('list of large objects, MB', ...lists.map(({ megabytes }) => fixed(megabytes, 0)));
  row('… in seconds', ...lists.map((list) => fixed(list.seconds)));
  row('… memory of the gateway grew by, MB', ...lists.map(({ grown }, index) => (index === 0 ? '' : fixed(grown, 0))));
  process.stdout.write(`${lines.join('\n')}\n`);
  await Promise.all(peers.map(({ dispatcher }) => dispatcher.close()));
}

await main();
