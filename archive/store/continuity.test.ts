import { createHash } from 'node:crypto';
import { expect, it } from 'vitest';
import { continuityFindings, type Predecessor } from './continuity.ts';

const segment = (number: number) => ({ opened: '20260301T101112.123456Z', pid: 1, process: '0123456789ab', number });

const link = (line: string): string => createHash('sha256').update(`${line}\n`).digest('base64url');

/** Lines that follow each other; `from` is the number of the first. */
function chain(from: number, count: number, before?: string): string[] {
  const lines: string[] = [];
  let last = before;
  for (let n = from; n < from + count; n++) {
    const prev = last === undefined ? '' : `,"prev":"${link(last)}"`;
    last = `{"v":1,"n":${n},"t":"2026-03-01T10:11:12.123456Z","e":"command.received"${prev}}`;
    lines.push(last);
  }
  return lines;
}

const find = (before: Predecessor | undefined, number: number, lines: readonly string[]) =>
  continuityFindings(before, segment(number), Buffer.from(lines.map((line) => `${line}\n`).join('')), 1000);

const [first = ''] = chain(1, 1);
const before = { segment: 1, line: first };

it('finds nothing in lines that follow', () => {
  expect(find(before, 1, chain(2, 50, first))).toEqual([]);
  const head = `{"v":1,"n":1,"t":"t","e":"segment.start","prev":"${link(first)}"}`;
  expect(find(before, 2, [head, ...chain(2, 3, head)])).toEqual([]);
});

it('finds missing numbers, and says how many', () => {
  const lines = chain(2, 10, first);
  expect(find(before, 1, lines.slice(3))).toMatchObject([
    { kind: 'gap', offset: 1000, message: '3 event(s) before number 5 are missing' },
  ]);
});

it('finds missing segments, also at the beginning', () => {
  expect(find(before, 4, chain(9, 2))).toMatchObject([
    { kind: 'gap', message: '2 segment(s) before segment 4 are missing' },
  ]);
  expect(find(undefined, 3, chain(9, 2))).toMatchObject([{ kind: 'gap' }]);
  expect(find(undefined, 1, chain(1, 2))).toEqual([]);
});

it('finds a number that came again, and a line that does not follow from the one before it', () => {
  expect(find(before, 1, chain(1, 1))).toMatchObject([{ kind: 'rewrite', message: 'number 1 came after number 1' }]);
  const lines = chain(2, 3, first);
  const changed = (lines[1] ?? '').replace('received', 'executed');
  expect(find(before, 1, [lines[0] ?? '', changed, lines[2] ?? ''])).toMatchObject([
    { kind: 'rewrite', message: 'number 4 does not follow from the line before it' },
  ]);
});

it('finds lines that are no events, and ends a list that says nothing new', () => {
  expect(find(before, 1, ['rubbish'])).toMatchObject([{ kind: 'damaged' }]);
  expect(find(before, 1, new Array<string>(500).fill('rubbish'))).toHaveLength(100);
});
