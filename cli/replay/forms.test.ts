import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { Script } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { createStepReader, type ReplayStep } from '../../record/replay/steps.ts';
import { createCast } from './asciicast.ts';
import { createPage } from './html.ts';
import { PAGE_SCRIPT } from './page-assets.ts';
import { EVENTS, HOSTILE, SUMMARY } from './session.fixture.ts';
import { createTextRenderer } from './text.ts';

const golden = (name: string): string => fileURLToPath(new URL(`../../test/golden/replay/${name}`, import.meta.url));

function steps(): ReplayStep[] {
  const reader = createStepReader();
  return EVENTS.flatMap((event) => reader.enter(event));
}

function text(options: Partial<Parameters<typeof createTextRenderer>[0]> = {}): string {
  const { render } = createTextRenderer({ colours: false, width: 100, mostRows: 50, ...options });
  return steps().map(render).join('');
}

function page(): string {
  const writer = createPage({ mostRows: 50, maxPauseMicros: 2_000_000 });
  return writer.head(SUMMARY) + steps().map(writer.step).join('') + writer.tail();
}

/** Whatever acts on a terminal, but for line feeds and, with colours, our own SGR sequences. */
const between = (from: number, to: number): string => `${String.fromCharCode(from)}-${String.fromCharCode(to)}`;
const ACTS = new RegExp(
  `[${between(0, 9)}${between(0x0b, 0x1f)}${between(0x7f, 0x9f)}${between(0x202a, 0x202e)}${between(0x2066, 0x2069)}]`,
);
const SGR = new RegExp(`${String.fromCharCode(27)}\\[[\\d;]*m`, 'g');

describe('on a terminal', () => {
  test('a whole session, word for word', async () => {
    await expect(text()).toMatchFileSnapshot(golden('session.txt'));
  });

  test('nothing that an agent wrote acts on it, or passes for a line of ours', () => {
    expect(text()).not.toMatch(ACTS);
    expect(text({ colours: true }).replaceAll(SGR, '')).toBe(text());
    const spoof = { ...EVENTS[3]!, text: 'SELECT 1\n00:09.000   #4  executed  by everybody' };
    const { render } = createTextRenderer({ colours: false, width: 60, mostRows: 50 });
    const lines = createStepReader().enter(spoof).map(render).join('').trimEnd().split('\n').slice(1);
    expect(lines.length).toBeGreaterThan(1);
    for (const line of lines) expect(line).toMatch(/^ {11}│ /);
  });

  test('no line is wider than asked for, whatever is in it', () => {
    for (const line of text().split('\n')) expect(line.length).toBeLessThanOrEqual(100);
    const wide = { ...EVENTS[3]!, text: `SELECT '${'x'.repeat(500)}', '${'日本'.repeat(100)}'` };
    const { render } = createTextRenderer({ colours: false, width: 80, mostRows: 50 });
    const lines = createStepReader().enter(wide).map(render).join('').split('\n').slice(1);
    for (const line of lines)
      expect([...line].reduce((sum, one) => sum + (/[日本]/.test(one) ? 2 : 1), 0)).toBeLessThanOrEqual(80);
  });

  test('rows beyond those asked for are counted', () => {
    expect(text({ mostRows: 1 })).toContain('(2 more of 3 recorded rows)');
  });
});

describe('as a page', () => {
  test('a whole session, word for word', async () => {
    const changing = /<style>[\s\S]*<\/style>|<script>[\s\S]*<\/script>|sha256-[\w+/=]+/g;
    await expect(page().replaceAll(changing, '(left out)')).toMatchFileSnapshot(golden('session.html'));
  });

  test('only our markup is in it, nothing is loaded, and only its own script runs', () => {
    const html = page();
    expect(html).not.toContain(HOSTILE);
    expect(html).not.toMatch(/<img|onerror=alert\(1\)>/);
    expect(html).not.toMatch(ACTS);
    expect(html.match(/<script/g)).toHaveLength(1);
    expect(html).not.toMatch(/<[^>]*\b(?:src|href)=|url\(|@import/i);
    const policy = /Content-Security-Policy" content="([^"]*)"/.exec(html)?.[1] ?? '';
    expect(policy).toContain("default-src 'none'");
    const script = /<script>([\s\S]*)<\/script>/.exec(html)?.[1] ?? '';
    expect(policy).toContain(`script-src 'sha256-${createHash('sha256').update(script).digest('base64')}'`);
    const style = /<style>([\s\S]*)<\/style>/.exec(html)?.[1] ?? '';
    expect(policy).toContain(`style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'`);
    expect(html).not.toMatch(/ style="| on\w+="/);
    expect(() => new Script(PAGE_SCRIPT)).not.toThrow();
  });
});

describe('as asciicast', () => {
  /** As the format's documents say; anything else is an error. */
  function parse(file: string, version: 2 | 3): { readonly at: number; readonly data: string }[] {
    const [first = '', ...lines] = file.trimEnd().split('\n');
    const header = JSON.parse(first) as Record<string, unknown>;
    expect(header['version']).toBe(version);
    const allowed =
      version === 2
        ? ['version', 'width', 'height', 'timestamp', 'duration', 'idle_time_limit', 'command', 'title', 'env', 'theme']
        : ['version', 'term', 'timestamp', 'idle_time_limit', 'command', 'title', 'env', 'tags'];
    for (const name of Object.keys(header)) expect(allowed).toContain(name);
    const size = version === 2 ? [header['width'], header['height']] : Object.values(header['term'] as object);
    for (const side of size) expect(Number.isInteger(side) && Number(side) > 0).toBe(true);
    expect(Number.isInteger(header['timestamp'])).toBe(true);
    expect(typeof header['idle_time_limit']).toBe('number');
    let now = 0;
    return lines.map((line) => {
      const event = JSON.parse(line) as unknown;
      if (!Array.isArray(event) || event.length !== 3) throw new Error(`not an event: ${line}`);
      const [time, code, data] = event as unknown[];
      if (typeof time !== 'number' || time < 0 || code !== 'o' || typeof data !== 'string') throw new Error(line);
      if (version === 2) expect(time).toBeGreaterThanOrEqual(now);
      now = version === 2 ? time : now + time;
      return { at: now, data };
    });
  }

  function cast(version: 2 | 3): string {
    const writer = createCast({ version, columns: 100, rows: 30, idleSeconds: 2 });
    const { render } = createTextRenderer({ colours: true, width: 100, mostRows: 50 });
    return (
      writer.head(SUMMARY) +
      steps()
        .map((step) => writer.output(step.atMicros, render(step)))
        .join('')
    );
  }

  test('both versions, by a strict reader: the same output at the same times', async () => {
    const second = parse(cast(2), 2);
    const third = parse(cast(3), 3);
    expect(third.map(({ data }) => data)).toEqual(second.map(({ data }) => data));
    for (const [index, { at }] of third.entries()) expect(at).toBeCloseTo(second[index]?.at ?? Number.NaN, 6);
    expect(second.at(-1)?.at).toBe(66);
    const plain = second.map(({ data }) => data.replaceAll('\r\n', '\n').replaceAll(SGR, '')).join('');
    expect(plain).toBe(text());
    await expect(cast(2)).toMatchFileSnapshot(golden('session.cast'));
  });
});
