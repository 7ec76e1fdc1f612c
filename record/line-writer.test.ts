import { expect, it } from 'vitest';
import { commandExecuted, sessionFragment, writeExecuted } from './events.ts';
import { beginLine, endLine, eventBody, eventHead, LINK_FROM_END, LINK_LENGTH, linkedLine } from './format.ts';
import { LineWriter } from './line-writer.ts';
import { Timestamps } from './timestamp.ts';

const written = (line: LineWriter): string => line.bytes.toString('utf8', 0, line.length);

it('writes what strings would have been, growing as it goes', () => {
  const line = new LineWriter(1);
  const integers = [
    0,
    9,
    10,
    99,
    100,
    1_234_567,
    999_999_999,
    1_000_000_000,
    0x3fffffff,
    0x40000000,
    2 ** 53 - 1,
    -1,
    1.5,
  ];
  let expected = '';
  for (const value of integers) {
    line.integer(value);
    line.copy(Buffer.from(', '));
    expected += `${value}, `;
  }
  for (const text of ['', 'ASCII', 'ä😀', '\ud800 half a pair', 'é'.repeat(5000)]) {
    line.text(text);
    line.copy(Buffer.from('x'.repeat(text.length % 50)));
    expected += text + 'x'.repeat(text.length % 50);
  }
  line.base64(Buffer.from('--any bytes\xff--', 'latin1'), 2, 12);
  expected += Buffer.from('any bytes\xff', 'latin1').toString('base64');
  expect(written(line)).toBe(Buffer.from(expected).toString());
});

it('writes bytes in quotes only where JSON would leave them as they are', () => {
  for (let byte = 0; byte < 256; byte++) {
    const line = new LineWriter(1);
    line.text('before');
    const bytes = Buffer.from([0x61, byte, 0x62]);
    const json = byte < 0x80 ? JSON.stringify(bytes.toString('latin1')) : undefined;
    const plain = line.plain(bytes, 0, 3);
    // DEL is JSON as it is, and left to the slower way.
    if (byte !== 0x7f) expect(plain).toBe(json?.length === 5);
    expect(written(line)).toBe(plain ? `before${json}` : 'before');
  }
});

it('makes the same line of pieces as of strings', () => {
  let now = 59_998.5;
  const clock = { wall: () => Math.floor(1_767_225_600_000 + now), monotonic: () => now };
  const pieces = new Timestamps(clock);
  const strings = new Timestamps(clock);
  const session = sessionFragment('s"1');
  const masked = new Map([['shop/pii/ä', 3]]);
  for (let n = 1; n < 3000; n += 1) {
    now += 0.7313;
    const line = new LineWriter(8);
    beginLine(line, n, pieces, eventHead('command.executed', `${session},"seq":`));
    line.integer(n * 7);
    writeExecuted(line, n, n * 1000, n + 0.5, n % 2 === 0 ? masked : undefined);
    endLine(line);
    const outcome = { rows: n, bytes: n * 1000, durationMicros: n + 0.5, ...(n % 2 === 0 ? { masked } : {}) };
    const body = eventBody(n, strings.now(), 'command.executed', commandExecuted(session, n * 7, outcome));
    // What stands where the link will be is not said.
    line.bytes.fill('p', line.length - LINK_FROM_END, line.length - LINK_FROM_END + LINK_LENGTH);
    expect(written(line)).toBe(linkedLine(body, 'p'.repeat(LINK_LENGTH)));
  }
});
