/** SSH: the server itself, `ssh -J` over a second one, and Sallyport with record, and with masking too, in interleaved rounds. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { median } from './measure.ts';
import { cpuSeconds, memoryBytes } from './process-usage.ts';
import { runOn, SSH_PEERS, type SshBench, type SshPeer, type SshPeerName, startSshBench } from './ssh-peers.ts';

const quick = process.argv.includes('--quick');
const MEGABYTES = quick ? 32 : 512;
const ROUNDS = quick ? 2 : 7;
const EXECS = quick ? 30 : 400;
const CONNECTIONS = quick ? 10 : 100;
const CONCURRENT = quick ? 40 : 200;

type Samples = Record<SshPeerName, number[]>;
const samples = (): Samples => ({ direct: [], jump: [], sallyport: [], masking: [] });

interface Row {
  readonly name: string;
  readonly unit: string;
  /** Larger is better: then the ratio is to direct, and otherwise the difference is. */
  readonly rate: boolean;
  readonly values: Samples;
  /** Milliseconds of the process between, for each megabyte or operation. */
  readonly cpu: Samples;
  readonly digits: number;
}

function progress(text: string): void {
  process.stderr.write(`bench: ssh, ${text}\n`);
}

async function timed(peer: SshPeer, row: Row, amount: number, work: () => Promise<void>): Promise<void> {
  const before = peer.pid === undefined ? undefined : cpuSeconds(peer.pid);
  const start = performance.now();
  await work();
  const seconds = (performance.now() - start) / 1000;
  row.values[peer.name].push(row.rate ? amount / seconds : (seconds * 1000) / amount);
  if (peer.pid !== undefined && before !== undefined)
    row.cpu[peer.name].push(((cpuSeconds(peer.pid) - before) * 1000) / amount);
}

/** Stock ssh, with its input or output fed or drained by another program. */
async function shell(script: string, parameters: readonly string[]): Promise<void> {
  const child = spawn('/bin/sh', ['-c', script, 'sh', ...parameters], { stdio: ['ignore', 'ignore', 'inherit'] });
  const [status] = (await once(child, 'exit')) as [number | null];
  if (status !== 0) throw new Error(`ssh ended with ${status}`);
}

async function measureRow(bench: SshBench, row: Row, rounds: number, work: (peer: SshPeer) => Promise<void>) {
  for (let round = 0; round < rounds; round++) {
    progress(`${row.name}, round ${round + 1} of ${rounds}`);
    for (const peer of bench.peers) await work(peer);
  }
  return row;
}

const row = (name: string, unit: string, rate: boolean, digits: number): Row => ({
  ...{ name, unit, rate, digits },
  values: samples(),
  cpu: samples(),
});

async function openExecs(bench: SshBench): Promise<Row> {
  const result = row('exec on an open connection', 'ms', false, 2);
  const clients = await Promise.all(bench.peers.map((peer) => peer.connect()));
  await measureRow(bench, result, ROUNDS, async (peer) => {
    const client = clients[bench.peers.indexOf(peer)]!;
    await runOn(client, 'true');
    await timed(peer, result, EXECS, async () => {
      for (let i = 0; i < EXECS; i++) await runOn(client, 'true');
    });
  });
  for (const client of clients) client.end();
  return result;
}

async function concurrentExecs(bench: SshBench): Promise<Row> {
  const result = row(`${CONCURRENT} execs at once on one connection`, 'execs/s', true, 0);
  const clients = await Promise.all(bench.peers.map((peer) => peer.connect()));
  await measureRow(bench, result, ROUNDS, (peer) => {
    const client = clients[bench.peers.indexOf(peer)]!;
    return timed(peer, result, CONCURRENT, async () => {
      await Promise.all(Array.from({ length: CONCURRENT }, () => runOn(client, 'true')));
    });
  });
  for (const client of clients) client.end();
  return result;
}

async function idleConnections(bench: SshBench): Promise<{ kilobytes: number; cpuMilliseconds: number }> {
  const peer = bench.peers.find(({ name }) => name === 'sallyport');
  if (peer?.pid === undefined) throw new Error('Sallyport is not there');
  progress(`${CONNECTIONS} idle connections`);
  const warm = await peer.connect();
  const [memory, cpu] = [memoryBytes(peer.pid), cpuSeconds(peer.pid)];
  const clients = await Promise.all(Array.from({ length: CONNECTIONS }, () => peer.connect()));
  const result = {
    kilobytes: (memoryBytes(peer.pid) - memory) / 1024 / CONNECTIONS,
    cpuMilliseconds: ((cpuSeconds(peer.pid) - cpu) * 1000) / CONNECTIONS,
  };
  for (const client of [warm, ...clients]) client.end();
  return result;
}

const figure = (value: number, digits: number): string =>
  Number.isFinite(value)
    ? value.toLocaleString('en-US', { maximumFractionDigits: digits, minimumFractionDigits: digits })
    : '–';

function table(rows: readonly Row[]): string {
  const head = ['', ...SSH_PEERS, 'Sallyport to direct', 'Sallyport to jump', 'CPU of Sallyport', 'with masking'];
  const lines = rows.map(({ name, unit, rate, values, cpu, digits }) => {
    const medians = Object.fromEntries(SSH_PEERS.map((peer) => [peer, median(values[peer])])) as Record<
      SshPeerName,
      number
    >;
    const { direct, jump, sallyport } = medians;
    const each = rate && unit === 'MB/s' ? 'ms/MB' : 'ms each';
    return [
      `${name}, ${unit}`,
      ...SSH_PEERS.map((peer) => figure(medians[peer], digits)),
      rate ? figure(sallyport / direct, 2) : `${sallyport < direct ? '' : '+'}${figure(sallyport - direct, 2)} ms`,
      rate ? figure(sallyport / jump, 2) : `${sallyport < jump ? '' : '+'}${figure(sallyport - jump, 2)} ms`,
      `${figure(median(cpu.sallyport), 2)} ${each}`,
      `${figure(median(cpu.masking), 2)} ${each}`,
    ];
  });
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_each, index) => (index === 0 ? '---' : '---:'))), ...lines.map(line)].join('\n');
}

await using bench = await startSshBench(MEGABYTES);
const down = row('bulk down', 'MB/s', true, 0);
await measureRow(bench, down, ROUNDS, (peer) =>
  timed(peer, down, MEGABYTES, () => shell('exec ssh "$@" >/dev/null', [...peer.parameters, `cat ${bench.file}`])),
);
const up = row('bulk up', 'MB/s', true, 0);
await measureRow(bench, up, ROUNDS, (peer) =>
  timed(peer, up, MEGABYTES, () => shell(`ssh "$@" <${bench.file}`, [...peer.parameters, 'wc -c'])),
);
const connection = row('new connection and one exec', 'ms', false, 1);
await measureRow(bench, connection, ROUNDS * 4, (peer) =>
  timed(peer, connection, 1, () => shell('exec ssh "$@"', [...peer.parameters, 'true'])),
);
const rows = [down, up, await openExecs(bench), await concurrentExecs(bench), connection];
const idle = await idleConnections(bench);
process.stdout.write(
  `${table(rows)}\n\nAn idle connection takes Sallyport ${figure(idle.kilobytes, 0)} KiB; setting one up takes it ${figure(idle.cpuMilliseconds, 1)} ms of CPU.\n`,
);
