/** Which sessions a list finds: in a record of ten thousand, and command by command. */
import { appendFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { recordSessions } from '../bench/sessions-ground.ts';
import { createRecorder, type Recorder } from '../proxy/recording/writer.ts';
import { eventBody, linkedLine, parseEvent } from './format.ts';
import type { RecordEventType } from './port.ts';
import { type AskedCommand, forEachCommand } from './replay/asked.ts';
import { lineHead, lineType, scanLines } from './scan.ts';
import { listSegments } from './segment.ts';
import { listSessions, type SessionFilter } from './sessions.ts';

let root = '';
let recorder: Recorder;
beforeEach(async () => {
  root = join(await mkdtemp(join(tmpdir(), 'list-')), 'record');
  recorder = createRecorder({ root, pid: process.pid, segmentBytes: 1 << 20 });
});
afterEach(async () => {
  await recorder.close();
  await rm(join(root, '..'), { recursive: true });
});

async function found(filter: SessionFilter = {}): Promise<string[]> {
  const ids: string[] = [];
  for await (const { session } of listSessions(root, filter)) ids.push(session);
  return ids.sort();
}

const text = (part: string) => ({ test: (whole: string) => whole.includes(part), literal: part });

test('ten thousand sessions over many segments: each once, with its counts, and what filters find', async () => {
  const stream = recorder.stream('shop', 'db');
  recordSessions(stream, 10_000, 3);
  expect((await listSegments(root)).length).toBeGreaterThan(10);
  const all: Record<string, number> = {};
  let commands = 0;
  let denied = 0;
  for await (const session of listSessions(root)) {
    all[session.session] = (all[session.session] ?? 0) + 1;
    commands += session.commands;
    denied += session.denied;
    expect(session.state).toBe('ended');
  }
  expect(Object.keys(all)).toHaveLength(10_000);
  expect(Object.values(all).every((count) => count === 1)).toBe(true);
  expect([commands, denied]).toEqual([30_000, 1_000]);

  const count = async (filter: SessionFilter): Promise<number> => (await found(filter)).length;
  expect(await count({ who: 'ci:agent-7' })).toBe(100);
  expect(await count({ denied: true })).toBe(1_000);
  expect(await count({ verdict: 'Deny' })).toBe(1_000);
  expect(await count({ rule: 'no-deletes' })).toBe(1_000);
  expect(await count({ verdict: 'Allow', rule: 'shop/writers/no-deletes' })).toBe(0);
  expect(await count({ text: text('needle') })).toBe(10);
  expect(await count({ text: { test: (whole) => /^DELETE .* = 7\d*0$/.test(whole) } })).toBe(1 + 10 + 100);
  expect(await count({ verdict: 'Deny', text: text('needle') })).toBe(0);
  expect(await found({ session: 'session-4711' })).toEqual(['session-4711']);
  expect(await count({ until: new Date(0) })).toBe(0);
  expect(await count({ since: new Date(Date.now() + 60_000) })).toBe(0);

  let asked = 0;
  await forEachCommand(root, {}, ({ session, command }: AskedCommand) => {
    asked++;
    if (command.outcome === 'denied') expect(command.text).toContain(`= ${session.session.slice('session-'.length)}`);
  });
  expect(asked).toBe(30_000);
});

describe('one command has to meet all of it', () => {
  const line = (type: RecordEventType, session: string, members: object): void => {
    recorder
      .stream('shop', 'db')
      .append(type, `"session":${JSON.stringify(session)},${JSON.stringify(members).slice(1, -1)}`);
  };
  const rules = (rule: string) => ({ rules: [`shop/agents/${rule}@3`] });

  beforeEach(() => {
    for (const id of ['apart', 'together', 'guarded', 'held', 'open', 'quiet'])
      line('session.start', id, { who: { username: 'ci:a' } });
    line('command.received', 'apart', { seq: 1, text: 'DROP TABLE a', verdict: 'Allow', ...rules('ddl') });
    line('command.received', 'apart', { seq: 2, text: 'SELECT 1', verdict: 'Deny', ...rules('none') });
    line('command.executed', 'apart', { seq: 1 });
    line('command.denied', 'apart', { seq: 2, code: 'SPG001', ...rules('none') });
    line('command.received', 'together', { seq: 1, text: 'DROP "TABLE"\n a', verdict: 'Deny', ...rules('none') });
    line('command.denied', 'together', { seq: 1, code: 'SPG001', ...rules('none') });
    line('command.received', 'guarded', { seq: 1, text: 'SELECT email', verdict: 'Allow', ...rules('read') });
    line('command.denied', 'guarded', { seq: 1, code: 'SPG401', rules: [] });
    line('command.received', 'held', { seq: 1, text: 'DELETE', verdict: 'RequireApproval', ...rules('deletes') });
    line('command.held', 'held', { seq: 1, request: 'r' });
    line('command.denied', 'held', { seq: 1, code: 'SPV001', ...rules('deletes') });
    line('command.received', 'open', { seq: 1, text: 'SELECT pg_sleep(1)', verdict: 'Allow', ...rules('read') });
    line('command.received', 'quiet', { seq: 1, verdict: 'Allow', ...rules('read') });
    line('command.executed', 'quiet', { seq: 1 });
    for (const id of ['apart', 'together', 'guarded', 'held', 'quiet'])
      line('session.end', id, { reason: 'client closed' });
    recorder.stream('shop', 'db').flush();
  });

  test.each<[string, SessionFilter, string[]]>([
    ['verdict and text of one command', { verdict: 'Deny', text: text('DROP') }, ['together']],
    ['a text that JSON escapes', { text: text('"TABLE"\n') }, ['together']],
    ['denied by a rule or by the guard', { verdict: 'Deny' }, ['apart', 'guarded', 'held', 'together']],
    ['allowed, and not refused afterwards; also while it runs', { verdict: 'Allow' }, ['apart', 'open', 'quiet']],
    ['held, whatever became of it', { verdict: 'RequireApproval' }, ['held']],
    ['rule', { rule: 'read' }, ['guarded', 'open', 'quiet']],
    ['rule with its policy', { rule: 'agents/none' }, ['apart', 'together']],
    ['rule with its generation', { rule: 'shop/agents/none@3' }, ['apart', 'together']],
    ['another generation', { rule: 'none@2' }, []],
    ['part of a name is no name', { rule: 'one' }, []],
    ['what has no text has none', { text: { test: () => true } }, ['apart', 'guarded', 'held', 'open', 'together']],
  ])('%s', async (_name, filter, expected) => {
    expect(await found(filter)).toEqual(expected);
  });
});

describe('the head of a line, without parsing it', () => {
  test('is what parsing gives', () => {
    const type = fc.constantFrom<RecordEventType>(
      'command.received',
      'command.executed',
      'command.denied',
      'command.failed',
      'command.held',
      'session.start',
      'segment.start',
      'recorder.heartbeat',
      'statement.parsed',
    );
    const members = fc.oneof(
      fc.record({ session: fc.stringMatching(/^[\w-]{1,30}$/), seq: fc.nat() }, { requiredKeys: ['session'] }),
      fc.record({ seq: fc.nat() }),
      fc.constant({}),
    );
    fc.assert(
      fc.property(
        type,
        fc.nat(),
        members,
        fc.dictionary(fc.stringMatching(/^[a-z]{1,8}x$/), fc.jsonValue()),
        (e, n, head, more) => {
          const json = JSON.stringify({ ...head, ...more }).slice(1, -1);
          const line = linkedLine(eventBody(n, '2026-03-01T10:11:12.123456Z', e, json), 'p'.repeat(43)).trimEnd();
          // What stands around it in the block must not matter.
          const block = Buffer.from(`noise\n${line}\n{"v":1`);
          const end = 6 + Buffer.byteLength(line);
          expect(lineType(block, 6, end)).toBe(e);
          const event = parseEvent(line);
          const read = lineHead(block, 6, end, e);
          const session = 'session' in head ? head.session : undefined;
          expect(read?.session).toBe(session);
          if (read !== undefined) expect(read.seq).toBe(event?.['seq']);
        },
      ),
    );
  });

  test('also of another version, or with times of another precision', () => {
    const line = Buffer.from('{"v":12,"n":7,"t":"2026-03-01T10:11:12Z","e":"command.denied","session":"s","seq":3}');
    expect(lineType(line, 0, line.length)).toBe('command.denied');
    expect(lineHead(line, 0, line.length, 'command.denied')).toEqual({ type: 'command.denied', session: 's', seq: 3 });
  });

  test('any bytes at all: no event, and nothing thrown', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), (array) => {
        const block = Buffer.from(array);
        const type = lineType(block, 0, block.length);
        if (type !== undefined) lineHead(block, 0, block.length, type);
      }),
    );
  });
});

test('lines of any length are shown once and whole; a torn one at the end is not', async () => {
  const path = join(root, 'lines.jsonl');
  const lines = ['', 'a', 'x'.repeat(3 << 20), 'b'.repeat((1 << 20) - 1), 'ü'.repeat(600_000), 'end'];
  recorder.stream('shop', 'db');
  await appendFile(path, `${lines.join('\n')}\ntorn`);
  const seen: string[] = [];
  await scanLines(path, (block, start, end) => void seen.push(block.toString('utf8', start, end)));
  expect(seen).toEqual(lines);
});
