import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { createCommandViews } from '../../record/commands.ts';
import { createStepReader, type ReplayStep } from '../../record/replay/steps.ts';
import { commandLines } from '../commands/sessions-format.ts';
import { createPage } from './html.ts';
import { SSH_EVENTS, SSH_SUMMARY } from './ssh-session.fixture.ts';
import { createTerminalCast, createTerminalPlayer, terminalOf } from './terminal.ts';
import { TERMINAL_RESET } from './terminal-filter.ts';
import { createTextRenderer } from './text.ts';

const golden = (name: string): string => fileURLToPath(new URL(`../../test/golden/replay/${name}`, import.meta.url));

function steps(): ReplayStep[] {
  const reader = createStepReader();
  return SSH_EVENTS.flatMap((event) => reader.enter(event));
}

const renderer = (mostRows = 50) => createTextRenderer({ colours: false, width: 100, mostRows });
const shown = (mostRows?: number): string => {
  const { render } = renderer(mostRows);
  return steps().map(render).join('');
};

/** Whatever acts on a terminal, but for line feeds. */
const between = (from: number, to: number): string => `${String.fromCharCode(from)}-${String.fromCharCode(to)}`;
const ACTS = new RegExp(
  `[${between(0, 9)}${between(0x0b, 0x1f)}${between(0x7f, 0x9f)}${between(0x202a, 0x202e)}${between(0x2066, 0x2069)}]`,
);

describe('a session of SSH', () => {
  test('as text, word for word', async () => {
    await expect(shown()).toMatchFileSnapshot(golden('ssh-session.txt'));
  });

  test('nothing that a program printed acts on a terminal', () => {
    expect(shown()).not.toMatch(ACTS);
  });

  test('lines beyond those asked for are counted', () => {
    expect(shown(2)).toContain('(3 more lines of output)');
  });

  test('as a page, word for word', async () => {
    const page = createPage({ mostRows: 50, maxPauseMicros: 2_000_000 });
    const html = page.head(SSH_SUMMARY) + steps().map(page.step).join('') + page.tail();
    expect(html).not.toMatch(ACTS);
    expect(html).not.toMatch(/<img/);
    const changing = /<style>[\s\S]*<\/style>|<script>[\s\S]*<\/script>|sha256-[\w+/=]+/g;
    await expect(html.replaceAll(changing, '(left out)')).toMatchFileSnapshot(golden('ssh-session.html'));
  });

  test('as commands, word for word', async () => {
    const views = createCommandViews();
    const lines = SSH_EVENTS.flatMap((event) => {
      const view = views.enter(event);
      return view === undefined ? [] : [commandLines(view)];
    });
    expect(views.open()).toEqual([]);
    await expect(lines.join('')).toMatchFileSnapshot(golden('ssh-session-commands.txt'));
  });

  test('output has the time at which it came', () => {
    const times = steps().flatMap((step) =>
      step.kind === 'output' && step.seq === 2 ? [[step.atMicros, step.code]] : [],
    );
    expect(times).toEqual([
      [1_100_000, 'o'],
      [1_300_000, 'o'],
      [2_200_000, 'r'],
      [2_300_000, 'o'],
      [2_600_000, 'o'],
    ]);
  });
});

describe('its terminal', () => {
  const terminal = steps().flatMap((step) => terminalOf(step) ?? [])[0]!;

  test.each([2, 3] as const)('as asciicast v%i, word for word', async (version) => {
    const cast = createTerminalCast(terminal, { version, idleSeconds: 2 });
    const file = cast.head(SSH_SUMMARY) + steps().map(cast.step).join('') + cast.tail();
    await expect(file).toMatchFileSnapshot(golden(`ssh-terminal-v${version}.cast`));
    expect(file).not.toContain('owned');
  });

  test('of a shell that was held and given up says that it was not run', () => {
    const cast = createTerminalCast(terminal, { version: 3, idleSeconds: 2 });
    const denied = {
      kind: 'denied',
      seq: terminal.seq,
      code: 'SPS013',
      message: 'withdrawn \u001b[2J',
      rules: [],
    } as const;
    const lines = cast
      .step({ time: '', atMicros: terminal.atMicros + 2_000_000, ...denied })
      .trimEnd()
      .split('\n');
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      [2, 'o', '── it was not run: withdrawn \\u001b[2J ──\r\n'],
      [0, 'x', '126'],
    ]);
  });

  test('is played as it looked, what else happens comes after it, and the terminal is as it was', () => {
    const { step, stop } = createTerminalPlayer(renderer());
    const played = steps().map(step).join('') + stop();
    const [before = '', ...rest] = played.split('── terminal of #2');
    expect(before).toContain('#2  Shell as deploy');
    const [terminalPart = '', after = ''] = rest.join('').split('── end of the terminal of #2 ──\n');
    expect(terminalPart).toContain('$ top\r\n\u001b[?1049h\u001b[2J\u001b[Hload 0.42\u001b[?1049l$ exit\r\n');
    expect(terminalPart).not.toContain('owned');
    expect(terminalPart).not.toContain('#3');
    expect(terminalPart.endsWith(`${TERMINAL_RESET}\r\n`)).toBe(true);
    expect(after.startsWith('00:01.500')).toBe(true);
    expect(after.indexOf('#3')).toBeLessThan(after.indexOf('#2  executed'));
  });

  test('is as it was for somebody who has seen enough', () => {
    const { step, stop } = createTerminalPlayer(renderer());
    for (const one of steps().slice(0, 12)) step(one);
    expect(stop()).toContain(TERMINAL_RESET);
    expect(stop()).toBe('');
  });
});
