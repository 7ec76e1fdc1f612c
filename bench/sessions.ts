/**
 * What reading the record costs: `node bench/sessions.ts [SESSIONS] [FOLDER]`. Writes a record of that many sessions (default 10,000,
 * each of 20 commands with results) with the gateway's own writer, then lists it with and without filters, and prints Markdown.
 * Processor time, in process: the start of the program comes on top.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRecorder } from '../proxy/recording/writer.ts';
import { listSessions, type SessionFilter } from '../record/sessions.ts';
import { recordSessions, recordSize } from './sessions-ground.ts';

const sessions = Number(process.argv[2] ?? 10_000);
const folder = mkdtempSync(join(process.argv[3] ?? tmpdir(), 'sessions-bench-'));
const root = join(folder, 'record');

const FILTERS: readonly (readonly [string, SessionFilter])[] = [
  ['all', {}],
  ['one subject', { who: 'ci:agent-7' }],
  ['denied', { denied: true }],
  ['verdict Deny', { verdict: 'Deny' }],
  ['rule', { rule: 'no-deletes' }],
  ['text', { text: { test: (text) => text.includes('needle'), literal: 'needle' } }],
  ['regular expression', { text: { test: (text) => /delete from \w+ where id = 77\b/i.test(text) } }],
  ['one session', { session: 'session-4711' }],
];

async function listed(filter: SessionFilter): Promise<{ readonly count: number; readonly ms: number }> {
  const start = process.cpuUsage();
  let count = 0;
  for await (const _ of listSessions(root, filter)) count++;
  const { user, system } = process.cpuUsage(start);
  return { count, ms: (user + system) / 1000 };
}

try {
  const recorder = createRecorder({ root, pid: process.pid });
  recordSessions(recorder.stream('shop', 'db'), sessions, 20);
  await recorder.close();
  const megabytes = (await recordSize(root)) / 1_000_000;
  console.log(`${sessions} sessions, ${megabytes.toFixed(0)} MB\n`);
  console.log('| list | found | ms | s per GB |\n|---|---|---|---|');
  for (const [name, filter] of FILTERS) {
    const runs = [await listed(filter), await listed(filter), await listed(filter)].sort((a, b) => a.ms - b.ms);
    const { count, ms } = runs[1]!;
    console.log(`| ${name} | ${count} | ${ms.toFixed(0)} | ${(ms / megabytes).toFixed(2)} |`);
  }
} finally {
  rmSync(folder, { recursive: true });
}
