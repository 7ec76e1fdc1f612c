import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createOutputCapture, type OutputCode } from './output-capture.ts';

type Part = readonly [seconds: number, code: string, data: string | { readonly base64: string }];

function harness(limit = 65_536, terminal = false) {
  let micros = 0;
  const timers: (() => void)[] = [];
  const events: Part[][] = [];
  const read = (members: string): Part[] => (JSON.parse(`{${members.slice(1)}}`) as { parts: Part[] }).parts;
  const capture = createOutputCapture({
    limit,
    terminal,
    emit: (members) => events.push(read(members)),
    now: () => micros,
    after(_, call) {
      timers.push(call);
      return () => void timers.splice(0);
    },
  });
  return {
    capture,
    events,
    wait(amount: number) {
      micros += amount;
    },
    fire() {
      for (const call of timers.splice(0)) call();
    },
    end() {
      const { members, totals } = capture.end();
      return { last: members === '' ? [] : read(members), totals };
    },
  };
}

const bytesOf = (parts: readonly Part[], code: OutputCode): Buffer =>
  Buffer.concat(
    parts
      .filter((part) => part[1] === code)
      .map(([, , data]) => (typeof data === 'string' ? Buffer.from(data) : Buffer.from(data.base64, 'base64'))),
  );
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

describe('output of a program', () => {
  it('that is short goes with the outcome, in order and in time', () => {
    const { capture, events, wait, end } = harness();
    wait(1500);
    capture.take('o', Buffer.from('one\n'));
    wait(400);
    capture.take('o', Buffer.from('two\n'));
    wait(250_000);
    capture.take('e', Buffer.from('warning\n'));
    wait(1);
    capture.take('o', Buffer.from('three\n'));
    expect(end()).toEqual({
      last: [
        [0.0015, 'o', 'one\ntwo\n'],
        [0.2504, 'e', 'warning\n'],
        [0.000001, 'o', 'three\n'],
      ],
      totals: { o: { bytes: 14 }, e: { bytes: 8 } },
    });
    expect(events).toEqual([]);
  });

  it('none is nothing', () => {
    expect(harness().end()).toEqual({ last: [], totals: { o: { bytes: 0 }, e: { bytes: 0 } } });
  });

  it('is in the record before long, and no character of it is cut', () => {
    const { capture, events, fire, end } = harness();
    capture.take('o', Buffer.from('caf\u00e9').subarray(0, 4));
    fire();
    expect(events).toEqual([[[0, 'o', 'caf']]]);
    capture.take('o', Buffer.from('caf\u00e9').subarray(4));
    expect(end().last).toEqual([]);
    expect(events[1]).toEqual([[0, 'o', '\u00e9']]);
  });

  it('that is no text stands in base64, and is whole', () => {
    const input = Buffer.concat([Buffer.from([0xff, 0, 0x80]), randomBytes(3000), Buffer.from([0xe2, 0x82])]);
    const { capture, end } = harness();
    for (let at = 0; at < input.length; at += 7) capture.take('o', input.subarray(at, at + 7));
    const { last } = end();
    expect(bytesOf(last, 'o').equals(input)).toBe(true);
  });

  it.each([1, 1000, 65_536, 65_537, 200_000])('is recorded up to the limit, with %i bytes in all', (size) => {
    const input = randomBytes(size);
    const { capture, events, end } = harness(65_536);
    for (let at = 0; at < size; at += 9000) capture.take(at % 18_000 === 0 ? 'o' : 'e', input.subarray(at, at + 9000));
    const { last, totals } = end();
    const all = [...events.flat(), ...last];
    const sent = { o: [] as Buffer[], e: [] as Buffer[] };
    for (let at = 0; at < size; at += 9000) sent[at % 18_000 === 0 ? 'o' : 'e'].push(input.subarray(at, at + 9000));
    let recorded = 0;
    for (const code of ['o', 'e'] as const) {
      const whole = Buffer.concat(sent[code]);
      const kept = bytesOf(all, code);
      recorded += kept.length;
      expect(whole.subarray(0, kept.length).equals(kept)).toBe(true);
      expect(totals[code]).toEqual(
        kept.length === whole.length
          ? { bytes: whole.length }
          : { bytes: whole.length, recorded: kept.length, sha256: sha256(whole) },
      );
    }
    expect(recorded).toBe(Math.min(size, 65_536));
    for (const parts of events)
      expect(bytesOf(parts, 'o').length + bytesOf(parts, 'e').length).toBeLessThanOrEqual(65_540);
  });
});

describe('a terminal', () => {
  it('shows text and sizes', () => {
    const { capture, wait, end } = harness(1000, true);
    capture.take('o', Buffer.from('$ '));
    wait(1_000_000);
    capture.resized(132, 50);
    wait(20_000);
    capture.take('o', Buffer.from([0x68, 0x69, 0xff, 0x0d, 0x0a]));
    expect(end().last).toEqual([
      [0, 'o', '$ '],
      [1, 'r', '132x50'],
      [0.02, 'o', 'hi\ufffd\r\n'],
    ]);
  });

  it('says when it is full', () => {
    const { capture } = harness(10, true);
    capture.take('o', Buffer.from('0123456789'));
    expect(capture.full).toBe(false);
    capture.take('o', Buffer.from('x'));
    expect(capture.full).toBe(true);
  });
});
