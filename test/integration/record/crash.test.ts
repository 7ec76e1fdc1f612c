import { spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createAnchors } from '../../../record/anchors.ts';
import { parseEvent, type RecordedEvent } from '../../../record/format.ts';
import { noteSigner } from '../../../record/note.ts';
import { recoverRecord } from '../../../record/recover.ts';
import { listSegments } from '../../../record/segment.ts';
import { listSessions } from '../../../record/sessions.ts';
import type { StreamReport } from '../../../record/verify/stream.ts';
import { verifyRecord } from '../../../record/verify/verify.ts';

const pem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
const signer = noteSigner(pem);

/** Against what the killed processes anchored themselves. */
async function verify(): Promise<StreamReport[]> {
  const reports: StreamReport[] = [];
  const verified = verifyRecord({ paths: [root], verifiers: [signer], anchors: `${root}-anchors` });
  for await (const report of verified) reports.push(report);
  return reports;
}

function recover() {
  const onCheckpoint = createAnchors(`${root}-anchors`, (error) => {
    throw error;
  });
  return recoverRecord({ root, signer, onCheckpoint });
}

let root = '';
beforeEach(async () => {
  root = join(await mkdtemp(join(tmpdir(), 'record-')), 'record');
  await mkdir(`${root}-anchors`);
});
afterEach(() => rm(join(root, '..'), { recursive: true }));

/** Lets a writer run until it reported so many turns, kills it, and gives the last number that it reported. */
async function killAfter(turns: number, perTurn: number): Promise<{ readonly pid: number; readonly n: number }> {
  const script = join(import.meta.dirname, 'writer-process.ts');
  const child = spawn(process.execPath, [script, root, String(perTurn), pem], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  let lines = 0;
  child.stdout.setEncoding('latin1');
  child.stdout.on('data', (part: string) => {
    text += part;
    lines += part.split('\n').length - 1;
    if (lines >= turns) child.kill('SIGKILL');
  });
  const [, signal] = await once(child, 'close');
  expect(signal).toBe('SIGKILL');
  const whole = text.slice(0, text.lastIndexOf('\n')).split('\n');
  return { pid: child.pid ?? 0, n: Number(whole.at(-1)) };
}

async function eventsOf(pid: number): Promise<RecordedEvent[]> {
  const events: RecordedEvent[] = [];
  for (const segment of await listSegments(root)) {
    if (segment.pid !== pid) continue;
    const lines = (await readFile(segment.path, 'utf8')).split('\n');
    expect(lines.pop()).toBe('');
    for (const line of lines) {
      const event = parseEvent(line);
      if (event === undefined) throw new Error(`damaged: ${line}`);
      if (event.e !== 'segment.start') events.push(event);
    }
  }
  return events;
}

it('kill -9, again and again, loses nothing that was flushed', async () => {
  for (let round = 0; round < 12; round++) {
    const { pid, n } = await killAfter(1 + round * 150, 1 + (round % 4) * 3);
    const killed = await verify();
    expect(killed.flatMap(({ finding }) => (finding === undefined ? [] : [finding]))).toEqual([]);
    const { failures, recovered } = await recover();
    expect(failures).toEqual([]);
    expect(recovered.flatMap(({ interruptedSessions }) => interruptedSessions)).toEqual([`p${pid}`]);
    const events = await eventsOf(pid);
    expect(events.map((event) => event.n)).toEqual(Array.from({ length: events.length }, (_, index) => index + 1));
    expect(events.length).toBeGreaterThanOrEqual(n);
    expect(events.at(-2)).toMatchObject({ e: 'session.interrupted', session: `p${pid}` });
    expect(events.at(-1)).toMatchObject({ e: 'recorder.recovered' });
  }
  const reports = await verify();
  expect(reports.map(({ state, finding, unsignedLines }) => [state, finding, unsignedLines])).toEqual(
    Array.from({ length: 12 }, () => ['closed', undefined, 0]),
  );
  expect(reports.every(({ anchors }) => anchors > 0)).toBe(true);
  const states = [];
  for await (const session of listSessions(root)) states.push(session.state);
  expect(states).toEqual(Array.from({ length: 12 }, () => 'interrupted'));
});

it('leaves the segments of a process that runs to it', async () => {
  const script = join(import.meta.dirname, 'writer-process.ts');
  const child = spawn(process.execPath, [script, root, '1', pem], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  child.stdout.resume();
  expect(await recover()).toEqual({ recovered: [], failures: [] });
  for (let round = 0; round < 3; round++) {
    expect(await verify()).toMatchObject([{ state: 'open' }]);
  }
  child.kill('SIGKILL');
  await once(child, 'close');
  // Killed between two segments it leaves both to be closed; the session ends in one of them.
  const { recovered } = await recover();
  expect(recovered.flatMap(({ interruptedSessions }) => interruptedSessions)).toEqual([`p${child.pid}`]);
});
