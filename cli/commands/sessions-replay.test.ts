import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createRecorder } from '../../proxy/recording/writer.ts';
import type { RecordEventType } from '../../record/port.ts';
import type { CliIo } from '../io.ts';
import { runProgram } from '../program.ts';
import { EVENTS, SESSION } from '../replay/session.fixture.ts';

let state = '';
beforeEach(async () => {
  state = await mkdtemp(join(tmpdir(), 'replay-'));
  let now = 0;
  const clock = { wall: () => now, monotonic: () => now };
  const recorder = createRecorder({ root: join(state, 'record'), pid: process.pid, clock });
  const stream = recorder.stream('shop', 'orders');
  for (const { v: _v, n: _n, t, e, ...members } of EVENTS) {
    now = Date.parse(t);
    stream.append(e as RecordEventType, JSON.stringify(members).slice(1, -1));
    stream.flush();
  }
  await recorder.close();
});
afterEach(() => rm(state, { recursive: true }));

interface Ran {
  readonly output: string;
  readonly errors: string;
  readonly status: number;
}

async function run(
  parameters: readonly string[],
  more: Partial<CliIo> = {},
  onWrite?: (text: string) => void,
): Promise<Ran> {
  let output = '';
  let errors = '';
  let status = 0;
  await runProgram({
    stdout: {
      write(text) {
        output += text;
        onWrite?.(text);
      },
    },
    stderr: {
      write(text) {
        errors += text;
      },
    },
    env: { NO_COLOR: '1' },
    cwd: state,
    pid: process.pid,
    arguments: [...parameters, '--state', state],
    isTTY: false,
    signal: new AbortController().signal,
    onHangup: () => undefined,
    setExitCode: (code) => {
      status = code;
    },
    ...more,
  });
  return { output, errors, status };
}

const replay = ['sessions', 'replay', SESSION];

describe('the timing', () => {
  test('elsewhere than on a terminal, at speed 0, and with short pauses, all of it comes', async () => {
    const { output } = await run(replay);
    expect(output).toContain('session ended');
    expect((await run([...replay, '--speed', '0'], { isTTY: true })).output).toBe(output);
    expect((await run([...replay, '--max-pause', '1ms'], { isTTY: true, columns: 120 })).output).toBe(output);
    expect((await run([...replay, '--speed', '10000', '--max-pause', '1h'], { isTTY: true })).output).toBe(output);
  });

  test('on a terminal it waits as the session did, and an interrupt ends it there', async () => {
    const stop = new AbortController();
    const started = performance.now();
    // Before this step the session waited for 52 seconds.
    const onWrite = (text: string): void => {
      if (text.includes('held')) stop.abort();
    };
    const { output, status } = await run(
      [...replay, '--max-pause', '1h', '--speed', '100'],
      { isTTY: true, signal: stop.signal },
      onWrite,
    );
    expect(status).toBe(0);
    expect(output).toContain('held');
    expect(output).not.toContain('released');
    // Nine seconds of the session, a hundred times as fast.
    expect(performance.now() - started).toBeGreaterThanOrEqual(85);
  });
});

describe('the output', () => {
  test('goes to a file that is for its owner alone', async () => {
    const { output } = await run([...replay, '--export', 'html', '--out', 'session.html']);
    expect(output).toBe('');
    const file = join(state, 'session.html');
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const page = await readFile(file, 'utf8');
    expect(page.startsWith('<!doctype html>')).toBe(true);
    expect(page.trimEnd().endsWith('</html>')).toBe(true);
    expect((await run([...replay, '--out', 'nowhere/x'])).errors).toContain('SPC034');
  });

  test('as JSON lines: the session, then each step, with every row', async () => {
    const { output } = await run([...replay, '--export', 'jsonl', '--max-rows', '1']);
    const [head, ...steps] = output
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(head).toMatchObject({ kind: 'session', session: SESSION, commands: 8 });
    expect(steps.find(({ kind }) => kind === 'rows')).toMatchObject({
      seq: 1,
      columns: ['id', 'email', 'total', 'note'],
      rows: [['1', '***', '99.50', null], ['2', '***', '12.00', ''], expect.anything()],
    });
    expect((await run([...replay, '-o', 'json'])).output).toBe(output);
  });

  test('wrong usage and a session that is not there', async () => {
    for (const wrong of [
      ['--speed', '-1'],
      ['--speed', 'x'],
      ['--max-pause', '2'],
      ['--max-rows', '1.5'],
      ['--export', 'pdf'],
    ])
      expect((await run([...replay, ...wrong])).status).toBe(2);
    expect(await run(['sessions', 'replay', 'nope'])).toMatchObject({
      status: 1,
      errors: expect.stringContaining('SPR009'),
    });
  });
});

describe('sessions list', () => {
  const listed = async (...filter: string[]): Promise<number> =>
    (await run(['sessions', 'list', '-o', 'json', ...filter])).output.split('\n').filter((line) => line !== '').length;

  test('by verdict, rule, time and text, also by regular expression', async () => {
    expect(await listed('--verdict', 'RequireApproval')).toBe(1);
    expect(await listed('--rule', 'no-drops', '--text', 'DROP')).toBe(1);
    expect(await listed('--rule', 'no-drops', '--text', 'SELECT')).toBe(0);
    expect(await listed('--text', '/(?i)delete\\s+from/')).toBe(1);
    expect(await listed('--text', '/^nothing$/')).toBe(0);
    expect(await listed('--since', '2026-03-01', '--until', '2026-03-02')).toBe(1);
    expect(await listed('--until', '2026-03-01')).toBe(0);
    expect((await run(['sessions', 'list', '--text', '/(/'])).status).toBe(2);
    expect((await run(['sessions', 'list', '--verdict', 'Maybe'])).status).toBe(2);
  });
});
