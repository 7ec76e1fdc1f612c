import { appendFile, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createRecorder } from '../proxy/recording/writer.ts';
import { sessionEnd } from './events.ts';
import { parseEvent, type RecordedEvent } from './format.ts';
import { recoverRecord } from './recover.ts';

let root = '';
beforeEach(async () => {
  root = join(await mkdtemp(join(tmpdir(), 'record-')), 'record');
});
afterEach(() => rm(join(root, '..'), { recursive: true }));

const gone = { isAlive: () => false };

async function segments(): Promise<string[]> {
  return (await readdir(join(root, 'shop', 'db'))).sort().map((file) => join(root, 'shop', 'db', file));
}

async function events(path: string): Promise<RecordedEvent[]> {
  const lines = (await readFile(path, 'utf8')).split('\n');
  expect(lines.pop()).toBe('');
  return lines.map((line) => {
    const event = parseEvent(line);
    if (event === undefined) throw new Error(`damaged: ${line}`);
    return event;
  });
}

/** A segment as a process leaves it that is killed: no stop, sessions s2 and s3 open. */
async function crashed(): Promise<string> {
  const recorder = createRecorder({ root, pid: 4711 });
  const stream = recorder.stream('shop', 'db');
  stream.append('session.start', '"session":"s1"');
  stream.append('session.start', '"session":"s2"');
  stream.append('session.start', '"session":"s3"');
  stream.append('session.end', sessionEnd({ session: 's1', reason: 'client closed', commands: 0, denied: 0 }));
  await stream.sync();
  const [path = ''] = await segments();
  const { size } = await stat(path);
  await recorder.close();
  await truncate(path, size);
  return path;
}

it('cuts a torn last line and interrupts the open sessions, once', async () => {
  const path = await crashed();
  const before = await events(path);
  await appendFile(path, '{"v":1,"n":6,"t":"2026-01-01T00:00:00.000000Z","e":"command.rec');
  const first = await recoverRecord({ root, ...gone });
  expect(first.failures).toEqual([]);
  expect(first.recovered).toEqual([{ path, truncatedBytes: 63, interruptedSessions: ['s2', 's3'], removed: false }]);
  const after = await events(path);
  expect(after.slice(0, before.length)).toEqual(before);
  expect(after.slice(before.length).map(({ n, e, session }) => [n, e, session])).toEqual([
    [6, 'session.interrupted', 's2'],
    [7, 'session.interrupted', 's3'],
    [8, 'recorder.recovered', undefined],
  ]);
  expect(await recoverRecord({ root, ...gone })).toEqual({ recovered: [], failures: [] });
  expect(await events(path)).toEqual(after);
});

it('cuts the zeros that a power cut leaves at the end, and nothing that stands before', async () => {
  const path = await crashed();
  const before = await events(path);
  await appendFile(path, Buffer.alloc(5000));
  const { recovered } = await recoverRecord({ root, ...gone });
  expect(recovered[0]?.truncatedBytes).toBe(5000);
  expect((await events(path)).slice(0, before.length)).toEqual(before);
});

it('continues a recovery that was killed half-way', async () => {
  const path = await crashed();
  await appendFile(path, '{"v":1,"n":6,"t":"2026-01-01T00:00:00.000000Z","e":"session.interrupted","session":"s2"}\n');
  const { recovered } = await recoverRecord({ root, ...gone });
  expect(recovered[0]?.interruptedSessions).toEqual(['s3']);
});

it('leaves segments of running processes alone', async () => {
  const recorder = createRecorder({ root, pid: process.pid });
  const stream = recorder.stream('shop', 'db');
  stream.append('session.start', '"session":"s1"');
  stream.flush();
  const [path = ''] = await segments();
  const before = await readFile(path, 'utf8');
  expect(await recoverRecord({ root })).toEqual({ recovered: [], failures: [] });
  expect(await readFile(path, 'utf8')).toBe(before);
  await recorder.close();
});

it('finds sessions that began in an earlier segment', async () => {
  const recorder = createRecorder({ root, pid: 4711, segmentBytes: 2000 });
  const stream = recorder.stream('shop', 'db');
  stream.append('session.start', '"session":"s1"');
  stream.flush();
  for (let i = 0; i < 10; i++) {
    stream.append('command.received', `"session":"s1","seq":${i},"text":"${'x'.repeat(300)}"`);
    stream.flush();
  }
  const paths = await segments();
  expect(paths.length).toBeGreaterThan(1);
  const { size } = await stat(paths.at(-1) ?? '');
  await recorder.close();
  await truncate(paths.at(-1) ?? '', size);
  const { recovered } = await recoverRecord({ root, ...gone });
  expect(recovered.map(({ interruptedSessions }) => interruptedSessions)).toEqual([['s1']]);
});

it('removes a file in which not one event was written', async () => {
  const path = await crashed();
  const empty = path.replace('000001.jsonl', '000002.jsonl');
  await writeFile(empty, '{"v":1,"n":5,"t":"20');
  const { recovered } = await recoverRecord({ root, ...gone });
  expect(recovered.map((segment) => segment.path)).toContain(empty);
  expect(await segments()).toEqual([path]);
});

it('interrupts the sessions of a process that died between two segments', async () => {
  const path = await crashed();
  await appendFile(path, '{"v":1,"n":6,"t":"2026-01-01T00:00:00.000000Z","e":"segment.end"}\n');
  await writeFile(path.replace('000001.jsonl', '000002.jsonl'), '{"v":1,');
  const { recovered } = await recoverRecord({ root, ...gone });
  expect(recovered.map(({ removed, interruptedSessions }) => ({ removed, interruptedSessions }))).toEqual([
    { removed: false, interruptedSessions: ['s2', 's3'] },
    { removed: true, interruptedSessions: [] },
  ]);
  expect((await recoverRecord({ root, ...gone })).recovered).toEqual([]);
});
