import { writeFileSync } from 'node:fs';
import { appendFile, mkdtemp, readdir, rm, truncate, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Decision } from '../policy/decision.ts';
import type { Subject } from '../policy/subject.ts';
import { createRecorder, type Recorder } from '../proxy/recording/writer.ts';
import { createCommandViews } from './commands.ts';
import {
  commandDenied,
  commandExecuted,
  commandFailed,
  commandReceived,
  receivedFragment,
  sessionAuthenticated,
  sessionEnd,
  sessionFragment,
  sessionRefused,
  sessionStart,
  textFragment,
  writeParameters,
  writeText,
} from './events.ts';
import { LineWriter } from './line-writer.ts';
import type { RecordStream } from './port.ts';
import { keepRetention, removeExpiredSegments } from './retention.ts';
import { listSegments } from './segment.ts';
import { listSessions, type SessionFilter, type SessionSummary, sessionEvents } from './sessions.ts';

const rule = { namespace: 'shop', policy: 'readers', rule: 'read', generation: 3 };
const allow: Decision = {
  verdict: 'Allow',
  tuples: [],
  rules: [rule],
  requirements: [],
  limits: { maxRowsReturned: 10 },
  reuse: 'text',
};
const reporter: Subject = {
  username: 'system:serviceaccount:shop:reporter',
  serviceAccount: { namespace: 'shop', name: 'reporter' },
  groups: ['team:data'],
  claims: { secret: 'claim-canary' },
  onBehalfOf: 'ada@example.org',
};
const plain = (text: string) => text;

function parametersOf(
  ...given: Parameters<typeof writeParameters> extends [unknown, ...infer Rest] ? Rest : never
): string {
  const line = new LineWriter(1);
  writeParameters(line, ...given);
  return line.bytes.toString('utf8', 0, line.length);
}

let root = '';
let recorder: Recorder;
beforeEach(async () => {
  root = join(await mkdtemp(join(tmpdir(), 'record-')), 'record');
  recorder = createRecorder({ root, pid: process.pid });
});
afterEach(async () => {
  await recorder.close();
  await rm(join(root, '..'), { recursive: true });
});

function start(stream: RecordStream, session: string, subject = reporter): void {
  const connection = { namespace: 'shop', name: 'db', uid: 'u', protocol: 'Postgres', mode: 'Enforce' } as const;
  stream.append(
    'session.start',
    sessionStart({ session, connection, client: '10.0.0.7:4711', application: 'psql', bundle: 'sha256:1', subject }),
  );
  stream.append(
    'session.authenticated',
    sessionAuthenticated({ session, subject, method: 'password', tokenId: 'j1', sessionExpiresAt: new Date(0) }),
  );
}

/** Two commands, one of them denied. */
function work(stream: RecordStream, id: string): void {
  const session = sessionFragment(id);
  const received = receivedFragment('SELECT 1', allow, 'Full', plain, ['shop/cards']);
  stream.append('command.received', commandReceived(session, 1, received));
  const masked = new Map([['shop/cards', 2]]);
  stream.append('command.executed', commandExecuted(session, 1, { rows: 2, bytes: 60, durationMicros: 412.6, masked }));
  stream.append('command.received', commandReceived(session, 2, textFragment('DROP TABLE a', 'Full', plain)));
  stream.append(
    'command.denied',
    commandDenied(session, 2, { code: '42501', denied: 'DropTable on public.a', message: 'no', rules: [rule] }),
  );
}

async function list(filter: SessionFilter = {}, isAlive?: () => boolean): Promise<SessionSummary[]> {
  const found: SessionSummary[] = [];
  for await (const session of listSessions(root, filter, isAlive === undefined ? {} : { isAlive })) found.push(session);
  return found;
}

describe('sessions', () => {
  it('tells who, where, how much, and how it ended', async () => {
    const stream = recorder.stream('shop', 'db');
    start(stream, 's1');
    work(stream, 's1');
    stream.append('session.end', sessionEnd({ session: 's1', reason: 'client closed', commands: 2, denied: 1 }));
    start(stream, 's2');
    stream.append(
      'session.refused',
      sessionRefused({ session: 's3', client: '10.0.0.8:1', code: 'SPI002', message: 'token expired' }),
    );
    stream.flush();
    const [ended, refused, running] = await list();
    expect(ended).toMatchObject({
      session: 's1',
      connection: 'shop/db',
      who: 'system:serviceaccount:shop:reporter',
      onBehalfOf: 'ada@example.org',
      client: '10.0.0.7:4711',
      commands: 2,
      denied: 1,
      state: 'ended',
      reason: 'client closed',
    });
    expect(refused).toMatchObject({ session: 's3', state: 'refused', reason: 'token expired' });
    expect(running).toMatchObject({ session: 's2', state: 'running' });
    expect((await list({}, () => false)).find(({ session }) => session === 's2')?.state).toBe('lost');
  });

  it('filters by connection, subject, person, time and denial', async () => {
    const stream = recorder.stream('shop', 'db');
    start(stream, 's1');
    work(stream, 's1');
    start(stream, 's2', { ...reporter, username: 'ci:deploy' });
    stream.flush();
    recorder.stream('shop', 'other').flush();
    const ids = async (filter: SessionFilter) => (await list(filter)).map(({ session }) => session);
    expect(await ids({ who: 'ci:deploy' })).toEqual(['s2']);
    expect(await ids({ who: 'ada@example.org' })).toEqual(['s1', 's2']);
    expect(await ids({ namespace: 'shop', name: 'other' })).toEqual([]);
    expect(await ids({ namespace: 'shop', name: 'db' })).toEqual(['s1', 's2']);
    expect(await ids({ denied: true })).toEqual(['s1']);
    expect(await ids({ since: new Date(Date.now() + 60_000) })).toEqual([]);
  });

  it('reads past damaged lines and half-written ones', async () => {
    const stream = recorder.stream('shop', 'db');
    start(stream, 's1');
    stream.flush();
    const [segment] = await listSegments(root);
    await appendFile(segment?.path ?? '', 'damaged\n{"v":1,"n":9,"t":"2026-01-01T00:00:00.000000Z","e":"session.st');
    expect((await list()).map(({ session }) => session)).toEqual(['s1']);
  });

  it('finds the events of one session among others, over segments, and not those that only quote its id', async () => {
    await recorder.close();
    recorder = createRecorder({ root, pid: process.pid, segmentBytes: 1_500 });
    const stream = recorder.stream('shop', 'db');
    start(stream, 's1');
    for (let i = 0; i < 20; i++) {
      work(stream, i % 2 === 0 ? 's1' : 's2');
      stream.append(
        'command.received',
        commandReceived('"session":"s2"', 9, textFragment('"session":"s1"', 'Full', plain)),
      );
      stream.flush();
    }
    const events = [];
    for await (const event of sessionEvents(root, 's1')) events.push(event);
    expect(events).toHaveLength(2 + 10 * 4);
    expect((await listSegments(root)).length).toBeGreaterThan(3);
  });
});

describe('commands', () => {
  it('joins what was asked, decided and done', async () => {
    const stream = recorder.stream('shop', 'db');
    work(stream, 's1');
    const session = sessionFragment('s1');
    stream.append('command.received', commandReceived(session, 3, textFragment('SELECT 3', 'Full', plain)));
    stream.append('command.failed', commandFailed(session, 3, { sqlstate: '22012', durationMicros: 10 }));
    stream.append('command.received', commandReceived(session, 4, textFragment('SELECT 4', 'Full', plain)));
    stream.flush();
    const views = createCommandViews();
    const done = [];
    for await (const event of sessionEvents(root, 's1')) {
      const view = views.enter(event);
      if (view !== undefined) done.push(view);
    }
    expect(done).toMatchObject([
      {
        seq: 1,
        text: 'SELECT 1',
        verdict: 'Allow',
        rules: ['shop/readers/read@3'],
        masks: ['shop/cards'],
        limits: { maxRowsReturned: 10 },
        outcome: 'executed',
        rows: 2,
        bytes: 60,
        durationMicros: 413,
        masked: { 'shop/cards': 2 },
      },
      { seq: 2, text: 'DROP TABLE a', outcome: 'denied', code: '42501', denied: 'DropTable on public.a' },
      { seq: 3, outcome: 'failed', sqlstate: '22012' },
    ]);
    expect(views.open()).toMatchObject([{ seq: 4, outcome: 'unknown' }]);
  });
});

describe('what an audit level keeps', () => {
  const values = [Buffer.from('a"b'), Buffer.from([0xff, 0]), Buffer.from([1, 2]), Buffer.from('too much')];
  const bound = {
    bytes: Buffer.concat(values),
    origin: 100,
    places: [
      { start: 100, length: 3, format: 0 },
      { start: 103, length: -1, format: 0 },
      { start: 103, length: 2, format: 0 },
      { start: 105, length: 2, format: 1 },
      { start: 107, length: 8, format: 0 },
    ],
  } as const;

  it('no text and no parameters with Metadata', () => {
    expect(receivedFragment('SELECT 1', allow, 'Metadata', plain)).not.toContain('SELECT');
    expect(parametersOf(bound, 'Metadata', 10)).toBe('');
  });

  it('text without its secrets, and parameters up to a limit, with Commands', () => {
    const text = textFragment("ALTER ROLE a PASSWORD 'canary'", 'Commands', (sql) => sql.replace("'canary'", '***'));
    expect(text).toBe(',"text":"ALTER ROLE a PASSWORD ***"');
    const line = new LineWriter(1);
    for (const level of ['Metadata', 'Commands', 'Full'] as const) {
      line.length = 0;
      writeText(line, 'SELECT \'canary\' AS "ä\\"', level, (sql) => sql.replace("'canary'", '***'));
      const expected = textFragment('SELECT *** AS "ä\\"', level, plain);
      expect(line.bytes.toString('utf8', 0, line.length)).toBe(expected);
    }
    expect(parametersOf(bound, 'Commands', 10)).toBe(
      ',"parameters":["a\\"b",null,{"base64":"/wA="},{"base64":"AQI="},{"bytes":8}]',
    );
  });

  it('no claims of a token at any level', async () => {
    const stream = recorder.stream('shop', 'db');
    start(stream, 's1');
    stream.flush();
    for await (const event of sessionEvents(root, 's1')) expect(JSON.stringify(event)).not.toContain('claim-canary');
  });
});

describe('a bound value in the record', () => {
  it('is the JSON of its text, whatever is in it', () => {
    for (const text of ['', 'plain', 'quote " and \\', 'line\nfeed', 'ü', 'x'.repeat(64), 'x'.repeat(65), '\u007f']) {
      const bytes = Buffer.from(text);
      const values = { bytes, origin: 0, places: [{ start: 0, length: bytes.length, format: 0 }] } as const;
      expect(JSON.parse(`{${parametersOf(values, 'Full', 1000).slice(1)}}`)).toEqual({ parameters: [text] });
    }
  });
});

describe('retention', () => {
  const days = 86_400_000;
  const later = (count: number) => new Date(Date.now() + count * days);
  const enter = () => Promise.resolve();

  it('removes whole closed segments, by the age of their last event and not of the file', async () => {
    const stream = recorder.stream('shop', 'db');
    stream.flush();
    await recorder.close();
    const [closed = ''] = (await listSegments(root)).map(({ path }) => path);
    await utimes(closed, new Date(0), new Date(0));
    const options = { root, retentionDays: () => 30, enter };
    expect(await removeExpiredSegments({ ...options, now: later(29) })).toEqual([]);
    expect(await removeExpiredSegments({ ...options, now: later(31) })).toEqual([closed]);
    expect(await readdir(join(root, 'shop', 'db'))).toEqual([]);
  });

  it('keeps what may still grow, other files, and connections that are gone for longer', async () => {
    recorder.stream('shop', 'db').flush();
    const second = createRecorder({ root, pid: process.pid });
    second.stream('shop', 'gone').flush();
    await second.close();
    await appendFile(join(root, 'shop', 'db', 'notes.txt'), 'x');
    const retentionDays = (_: string, name: string) => (name === 'gone' ? undefined : 1);
    expect(await removeExpiredSegments({ root, enter, retentionDays, now: later(100) })).toEqual([]);
    expect(await removeExpiredSegments({ root, enter, retentionDays, now: later(401) })).toHaveLength(1);
    expect(await readdir(join(root, 'shop', 'db'))).toHaveLength(2);
  });

  it('counts a crashed segment from its last event, not from its recovery', async () => {
    const stream = recorder.stream('shop', 'db');
    stream.flush();
    const [segment] = await listSegments(root);
    const path = segment?.path ?? '';
    const old = '2020-01-01T00:00:00.000000Z';
    await recorder.close();
    await truncate(path, 0);
    const recovery = later(25).toISOString();
    await appendFile(path, `{"v":1,"n":1,"t":"${recovery}","e":"recorder.recovered","lastEvent":"${old}"}\n`);
    expect(await removeExpiredSegments({ root, enter, retentionDays: () => 30, now: later(1) })).toEqual([]);
    expect(await removeExpiredSegments({ root, enter, retentionDays: () => 30, now: later(31) })).toEqual([path]);
  });

  it('comes back in intervals, after errors too, until it is told to end', async () => {
    recorder.stream('shop', 'db').flush();
    await recorder.close();
    const [segment] = await listSegments(root);
    const old = '2020-01-01T00:00:00.000000Z';
    const path = (segment?.path ?? '').replace(/[^/]*$/, '20200101T000000.000000Z-1-aaaaaaaaaaaa-000001.jsonl');
    const abort = new AbortController();
    const removed: string[] = [];
    const errors: unknown[] = [];
    await keepRetention(
      {
        root,
        enter,
        intervalMs: 1,
        retentionDays: () => {
          if (errors.length === 0) throw new Error('not loaded yet');
          return 30;
        },
        onError(error) {
          errors.push(error);
          writeFileSync(path, `{"v":1,"n":1,"t":"${old}","e":"recorder.stop"}\n`);
        },
        onRemoved(paths) {
          removed.push(...paths);
          abort.abort();
        },
      },
      abort.signal,
    );
    expect(errors).toEqual([new Error('not loaded yet')]);
    expect(removed).toEqual([path]);
  });
});
