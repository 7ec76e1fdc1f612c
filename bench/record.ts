/**
 * What the record costs, chain and signatures included: `node bench/record.ts [FOLDER]`. Prints Markdown: events per second at several
 * turn sizes, the cost of `append` alone, group commit with 1, 8 and 64 commands in flight, and how fast all that is verified. FOLDER (default: a new one under the system's
 * temporary folder) should lie on the disk that is asked about.
 */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRecorder } from '../proxy/recording/writer.ts';
import { receivedFragment, sessionFragment } from '../record/events.ts';
import { noteSigner } from '../record/note.ts';
import type { RecordStream } from '../record/port.ts';
import { verifyRecord } from '../record/verify/verify.ts';

const folder = mkdtempSync(join(process.argv[2] ?? tmpdir(), 'record-bench-'));
const session = sessionFragment('0c9f6f9e2b');
const text = 'SELECT abalance FROM pgbench_accounts WHERE aid = $1';
const received = receivedFragment(
  text,
  {
    verdict: 'Allow',
    tuples: [],
    rules: [{ namespace: 'shop', policy: 'readers', rule: 'read', generation: 1 }],
    requirements: [],
    limits: {},
    reuse: 'text',
  },
  'Full',
  (sql) => sql,
);

function median(values: number[]): number {
  values.sort((a, b) => a - b);
  return values[Math.floor(values.length / 2)] ?? Number.NaN;
}

function rounds(count: number, measure: () => number): number {
  return median(Array.from({ length: count }, measure));
}

/** Microseconds per event, `perTurn` events for each flush. */
function writing(stream: RecordStream, events: number, perTurn: number): number {
  const start = performance.now();
  for (let i = 1; i <= events; i++) {
    stream.append('command.received', `${session},"seq":${i}${received}`);
    if (i % perTurn === 0) stream.flush();
  }
  stream.flush();
  return ((performance.now() - start) * 1000) / events;
}

function appending(stream: RecordStream): number {
  const events = 2_000;
  const start = performance.now();
  for (let i = 1; i <= events; i++) stream.append('command.received', `${session},"seq":${i}${received}`);
  const micros = ((performance.now() - start) * 1000) / events;
  stream.flush();
  return micros;
}

/** Each of `clients` waits for its event to be durable before it sends the next one. */
async function committing(stream: RecordStream, clients: number, perClient: number) {
  const waits: number[] = [];
  const start = performance.now();
  await Promise.all(
    Array.from({ length: clients }, async () => {
      for (let i = 1; i <= perClient; i++) {
        const begun = performance.now();
        stream.append('command.received', `${session},"seq":${i}${received}`);
        await stream.sync();
        waits.push(performance.now() - begun);
      }
    }),
  );
  return { perSecond: (clients * perClient * 1000) / (performance.now() - start), medianMs: median(waits) };
}

const { privateKey } = generateKeyPairSync('ed25519');
const signer = noteSigner(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
const recorder = createRecorder({ root: join(folder, 'record'), pid: process.pid, signer });
try {
  const stream = recorder.stream('shop', 'db');
  console.log('| written, not synced | µs per event | events/s |\n|---|---|---|');
  console.log(`| append alone | ${rounds(50, () => appending(stream)).toFixed(3)} | |`);
  for (const perTurn of [1, 8, 64]) {
    const micros = rounds(7, () => writing(stream, 40_000, perTurn));
    console.log(`| ${perTurn} per turn, with its write | ${micros.toFixed(2)} | ${Math.round(1e6 / micros)} |`);
  }
  console.log('\n| synced before it goes on | events/s | median wait, ms |\n|---|---|---|');
  for (const clients of [1, 8, 64]) {
    const { perSecond, medianMs } = await committing(stream, clients, Math.ceil(2_000 / clients));
    console.log(`| ${clients} in flight | ${Math.round(perSecond)} | ${medianMs.toFixed(3)} |`);
  }
  await recorder.close();
  console.log('\n| verified | MB | MB/s | s per GB |\n|---|---|---|---|');
  for (const verifiers of [[], [signer]]) {
    const start = performance.now();
    let bytes = 0;
    for await (const report of verifyRecord({ paths: [join(folder, 'record')], verifiers })) {
      if (report.finding !== undefined) throw new Error(`${report.finding.problem} at line ${report.finding.line}`);
      bytes += report.bytes;
    }
    const seconds = (performance.now() - start) / 1000;
    const kind = verifiers.length === 0 ? 'links' : 'links and signatures';
    const rate = bytes / 1e6 / seconds;
    console.log(`| ${kind} | ${Math.round(bytes / 1e6)} | ${Math.round(rate)} | ${(1000 / rate).toFixed(1)} |`);
  }
} finally {
  await recorder.close();
  rmSync(folder, { recursive: true });
}
