import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Subject } from '../../policy/subject.ts';
import { createRecorder, type Recorder } from '../../proxy/recording/writer.ts';
import {
  commandDenied,
  commandExecuted,
  commandReceived,
  sessionEnd,
  sessionFragment,
  sessionStart,
  textFragment,
} from '../../record/events.ts';
import type { RecordStream } from '../../record/port.ts';
import { register } from './sessions.ts';
import { duration } from './sessions-format.ts';

let state = '';
let recorder: Recorder;
let stream: RecordStream;
beforeEach(async () => {
  state = await mkdtemp(join(tmpdir(), 'sessions-'));
  recorder = createRecorder({ root: join(state, 'sallyport', 'record'), pid: process.pid });
  stream = recorder.stream('shop', 'db');
});
afterEach(async () => {
  await recorder.close();
  await rm(state, { recursive: true });
});

const subject = (username: string): Subject => ({ username, groups: [], claims: {} });
const rule = { namespace: 'shop', policy: 'no-drops', rule: 'drop', generation: 2 };

function record(id: string, username: string, text: string, denied: boolean): void {
  const connection = { namespace: 'shop', name: 'db', uid: 'u', protocol: 'Postgres', mode: 'Enforce' } as const;
  stream.append(
    'session.start',
    sessionStart({ session: id, connection, client: '10.0.0.7:1', bundle: 'b', subject: subject(username) }),
  );
  const session = sessionFragment(id);
  stream.append(
    'command.received',
    commandReceived(
      session,
      1,
      textFragment(text, 'Full', (sql) => sql),
    ),
  );
  if (denied)
    stream.append('command.denied', commandDenied(session, 1, { code: '42501', message: 'ask first', rules: [rule] }));
  else
    stream.append(
      'command.executed',
      commandExecuted(session, 1, { rows: 3, bytes: 90, durationMicros: 1500, masked: new Map([['shop/cards', 2]]) }),
    );
  stream.append(
    'session.end',
    sessionEnd({ session: id, reason: 'client closed', commands: 1, denied: denied ? 1 : 0 }),
  );
  stream.flush();
}

async function run(
  parameters: readonly string[],
  signal = new AbortController().signal,
  onWrite?: () => void,
): Promise<string> {
  let output = '';
  const program = new Command().exitOverride().configureOutput({ writeErr: () => undefined });
  const stdout = {
    write(text: string) {
      output += text;
      onWrite?.();
    },
  };
  register(program, {
    stdout,
    stderr: stdout,
    env: { XDG_STATE_HOME: state },
    cwd: state,
    pid: process.pid,
    arguments: parameters,
    isTTY: false,
    signal,
    onHangup: () => undefined,
    setExitCode: () => undefined,
  });
  for (const command of [program, ...program.commands.flatMap((group) => [group, ...group.commands])]) {
    command.exitOverride().configureOutput({ writeErr: () => undefined });
  }
  await program.parseAsync([...parameters], { from: 'user' });
  return output;
}

const json = (output: string): unknown[] =>
  output
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));

describe('sessions list', () => {
  it('prints a table and JSON lines', async () => {
    record('s1', 'ci:deploy', 'SELECT 1', false);
    record('s2', 'ci:other', 'DROP TABLE a', true);
    const lines = (await run(['sessions', 'list'])).trimEnd().split('\n');
    expect(lines[0]).toMatch(/^SESSION +WHO +CONNECTION +START +DURATION +COMMANDS +DENIED +STATE$/);
    expect(lines[1]).toMatch(/^s1 +ci:deploy +shop\/db +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +[\d.]+ .s +1 +0 +ended$/);
    expect(json(await run(['sessions', 'list', '-o', 'json']))).toMatchObject([
      { session: 's1' },
      { session: 's2', denied: 1 },
    ]);
  });

  it('filters', async () => {
    record('s1', 'ci:deploy', 'SELECT 1', false);
    record('s2', 'ci:other', 'DROP TABLE a', true);
    const ids = async (...filter: string[]) => json(await run(['sessions', 'list', '-o', 'json', ...filter])).length;
    expect(await ids('--as', 'ci:deploy')).toBe(1);
    expect(await ids('--denied')).toBe(1);
    expect(await ids('--connection', 'shop/db')).toBe(2);
    expect(await ids('--connection', 'db')).toBe(0);
    expect(await ids('--since', '1h')).toBe(2);
    expect(await ids('--since', '2999-01-01')).toBe(0);
  });

  it('refuses what it does not understand as a usage error', async () => {
    for (const wrong of [
      ['--since', 'yesterday'],
      ['--connection', 'a/b/c'],
      ['-o', 'xml'],
    ]) {
      await expect(run(['sessions', 'list', ...wrong])).rejects.toBeInstanceOf(CommanderError);
    }
  });

  it('says where it looked when there is no record', async () => {
    await recorder.close();
    await rm(join(state, 'sallyport'), { recursive: true });
    await expect(run(['sessions', 'list'])).rejects.toMatchObject({ code: 'SPR008' });
    await expect(run(['sessions', 'list', '--state', 'elsewhere'])).rejects.toMatchObject({
      path: join(state, 'elsewhere', 'record'),
    });
  });
});

describe('sessions show', () => {
  it('shows each command with verdict, rule, rows, masks and time', async () => {
    record('s1', 'ci:deploy', 'SELECT 1', false);
    record('s2', 'ci:other', 'DROP TABLE a', true);
    const executed = await run(['sessions', 'show', 's1']);
    expect(executed).toContain('ci:deploy');
    expect(executed).toMatch(
      /#1 {2}\S+ {2}executed {2}3 rows {2}90 B {2}1\.5 ms {2}masked shop\/cards ×2\n {4}SELECT 1\n/,
    );
    expect(await run(['sessions', 'show', 's2'])).toMatch(
      /denied {2}shop\/no-drops\/drop@2 \(ask first\) {2}42501\n {4}DROP TABLE a\n/,
    );
    expect(json(await run(['sessions', 'show', 's2', '-o', 'json']))).toMatchObject([
      { session: 's2', state: 'ended' },
      { seq: 1, outcome: 'denied', text: 'DROP TABLE a', rules: ['shop/no-drops/drop@2'] },
    ]);
  });

  it('shows them in the order in which they were asked for, whichever ends first', async () => {
    const connection = { namespace: 'shop', name: 'db', uid: 'u', protocol: 'SSH', mode: 'Enforce' } as const;
    const begun = { session: 's1', connection, client: '10.0.0.7:1', bundle: 'b', subject: subject('ci:deploy') };
    stream.append('session.start', sessionStart(begun));
    const session = sessionFragment('s1');
    for (const seq of [1, 2, 3])
      stream.append(
        'command.received',
        commandReceived(
          session,
          seq,
          textFragment('sleep', 'Full', (text) => text),
        ),
      );
    for (const seq of [2, 1])
      stream.append('command.executed', commandExecuted(session, seq, { rows: 0, bytes: 0, durationMicros: 1 }));
    stream.flush();
    const shown = json(await run(['sessions', 'show', 's1', '-o', 'json'])) as { seq?: number }[];
    expect(shown.flatMap(({ seq }) => seq ?? [])).toEqual([1, 2, 3]);
  });

  it('lets no text act on the terminal', async () => {
    record('s1', 'ci:\u001b[31mdeploy', "SELECT '\u001b]0;owned\u0007\u202e'\nFROM a", false);
    for (const format of ['text', 'json']) {
      const output =
        (await run(['sessions', 'show', 's1', '-o', format])) + (await run(['sessions', 'list', '-o', format]));
      expect(output.replaceAll('\n', '')).toMatch(/^[^\p{Cc}\u202e]*$/u);
      expect(output).toContain('\\u001b]0;owned');
    }
  });

  it('names a session that is not there', async () => {
    await expect(run(['sessions', 'show', 'nope'])).rejects.toMatchObject({ code: 'SPR009' });
  });
});

describe('sessions follow', () => {
  for (const format of ['text', 'json']) {
    it(`shows what comes, filtered, as ${format}`, async () => {
      const abort = new AbortController();
      const written = Promise.withResolvers<void>();
      const filter = ['--as', 'ci:deploy'];
      const following = run(['sessions', 'follow', '-o', format, ...filter], abort.signal, () => written.resolve());
      let count = 0;
      const writing = setInterval(() => {
        record(`a${count}`, 'ci:other', 'SELECT 0', false);
        record(`b${count++}`, 'ci:deploy', 'DROP TABLE a', true);
      }, 10);
      await written.promise;
      clearInterval(writing);
      record('last', 'ci:deploy', 'SELECT 1', false);
      abort.abort();
      const output = await following;
      expect(output).not.toContain('SELECT 0');
      expect(output).toContain('session.start');
    });
  }
});

it('writes durations as people read them', () => {
  expect([412, 1_500, 12_000_000, 240_000_000, 12_600_000_000].map(duration)).toEqual([
    '412 µs',
    '1.5 ms',
    '12 s',
    '4.0 min',
    '3.5 h',
  ]);
});
