/** SSH: the server itself, `ssh -J` over a second one, and Sallyport with record, and with masking too, in interleaved rounds. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { median } from './measure.ts';
import { cpuSeconds, memoryBytes } from './process-usage.ts';
import { runOn, SSH_PEERS, type SshBench, type SshPeer, type SshPeerName, startSshBench } from './ssh-peers.ts';

const USAGE = `Usage: node bench/ssh.ts [--quick] [--only REGEX] [--rounds N] [--megabytes N]
  --quick      192 MB, 3 rounds
  --only       measurements whose name matches: "bulk", "execs?", "connection"
  --megabytes  of one bulk transfer; through masks a sixteenth of it`;

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    rounds: { type: 'string' },
    megabytes: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (flags.help) {
  process.stdout.write(`${USAGE}\n`);
  process.exit();
}
const { quick } = flags;
const only = new RegExp(flags.only);
const ROUNDS = Number(flags.rounds ?? (quick ? 3 : 7));
const MEGABYTES = Number(flags.megabytes ?? (quick ? 192 : 512));
/** Masking passes tens of megabytes in a second where the rest passes hundreds. */
const MASKED_MEGABYTES = Math.max(1, Math.round(MEGABYTES / 16));
const EXECS = quick ? 40 : 400;
const CONNECTIONS = quick ? 20 : 100;
const CONCURRENT = 200;
const WARM_UP = 5;

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

/** @param less milliseconds that do not count */
async function timed(peer: SshPeer, row: Row, amount: number, work: () => Promise<void>, less = 0): Promise<void> {
  const before = peer.pid === undefined ? undefined : cpuSeconds(peer.pid);
  const start = performance.now();
  await work();
  const seconds = (performance.now() - start - less) / 1000;
  row.values[peer.name].push(row.rate ? amount / seconds : (seconds * 1000) / amount);
  if (peer.pid !== undefined && before !== undefined)
    row.cpu[peer.name].push(((cpuSeconds(peer.pid) - before) * 1000) / amount);
}

/** A transfer without the connection that it needs: the time of one that moves nothing is taken off. */
async function timedTransfer(peer: SshPeer, row: Row, megabytes: number, work: () => Promise<void>): Promise<void> {
  const begun = performance.now();
  await shell('exec ssh "$@"', [...peer.parameters, 'true']);
  await timed(peer, row, megabytes, work, performance.now() - begun);
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
    for (let i = 0; i < WARM_UP; i++) await runOn(client, 'true');
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

/** Of what was measured one after the other: the median of the rounds' own ratios or differences. */
function compared({ rate, values }: Row, peer: SshPeerName, to: SshPeerName): string {
  const pairs = values[peer].map((value, round) => [value, values[to][round]!] as const);
  if (rate) return figure(median(pairs.map(([value, other]) => value / other)), 2);
  const more = median(pairs.map(([value, other]) => value - other));
  return `${more < 0 ? '' : '+'}${figure(more, 2)} ms`;
}

function table(rows: readonly Row[]): string {
  const head = [
    ...['', ...SSH_PEERS, 'Sallyport to direct', 'Sallyport to jump', 'masking to direct'],
    ...['CPU of Sallyport', 'with masking'],
  ];
  const lines = rows.map((each) => {
    const { name, unit, rate, values, cpu, digits } = each;
    const per = rate && unit === 'MB/s' ? 'ms/MB' : 'ms each';
    return [
      `${name}, ${unit}`,
      ...SSH_PEERS.map((peer) => figure(median(values[peer]), digits)),
      compared(each, 'sallyport', 'direct'),
      compared(each, 'sallyport', 'jump'),
      compared(each, 'masking', 'direct'),
      `${figure(median(cpu.sallyport), 2)} ${per}`,
      `${figure(median(cpu.masking), 2)} ${per}`,
    ];
  });
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_each, index) => (index === 0 ? '---' : '---:'))), ...lines.map(line)].join('\n');
}

const amountFor = ({ name }: SshPeer): number => (name === 'masking' ? MASKED_MEGABYTES : MEGABYTES);

function bulkDown(bench: SshBench): Promise<Row> {
  const result = row('bulk down', 'MB/s', true, 0);
  return measureRow(bench, result, ROUNDS, (peer) => {
    const amount = amountFor(peer);
    return timedTransfer(peer, result, amount, () =>
      shell('exec ssh "$@" >/dev/null', [...peer.parameters, `cat ${bench.file(amount)}`]),
    );
  });
}

function bulkUp(bench: SshBench): Promise<Row> {
  const result = row('bulk up', 'MB/s', true, 0);
  return measureRow(bench, result, ROUNDS, (peer) => {
    const amount = amountFor(peer);
    return timedTransfer(peer, result, amount, () =>
      shell(`ssh "$@" <${bench.file(amount)}`, [...peer.parameters, 'wc -c']),
    );
  });
}

function newConnections(bench: SshBench): Promise<Row> {
  const result = row('new connection and one exec', 'ms', false, 1);
  return measureRow(bench, result, ROUNDS * 4, (peer) =>
    timed(peer, result, 1, () => shell('exec ssh "$@"', [...peer.parameters, 'true'])),
  );
}

await using bench = await startSshBench([MEGABYTES, MASKED_MEGABYTES]);
const measurements: readonly [name: string, measure: (bench: SshBench) => Promise<Row>][] = [
  ['bulk down', bulkDown],
  ['bulk up', bulkUp],
  ['exec on an open connection', openExecs],
  [`${CONCURRENT} execs at once`, concurrentExecs],
  ['new connection', newConnections],
];
const rows: Row[] = [];
for (const [name, measure] of measurements) if (only.test(name)) rows.push(await measure(bench));
process.stdout.write(`${table(rows)}\n`);
if (only.test('idle connections')) {
  const idle = await idleConnections(bench);
  process.stdout.write(
    `\nAn idle connection takes Sallyport ${figure(idle.kilobytes, 0)} KiB; setting one up takes it ${figure(idle.cpuMilliseconds, 1)} ms of CPU.\n`,
  );
}
