import fc from 'fast-check';
import { expect, test } from 'vitest';
import { eachDigitRun } from './digit-runs.ts';

/** What is a part of a number, said a second time, byte by byte. */
const isPart = (byte: number): boolean => /[0-9 \-().+\xc2\xa0\xe2\x80\xaf\x90-\x95]/.test(String.fromCharCode(byte));

function runsOf(bytes: Buffer, start: number, end: number, least: number): number[][] {
  const all: number[][] = [];
  let from = start;
  for (let at = start; at <= end; at++) {
    if (at < end && isPart(bytes[at]!)) continue;
    const digits = bytes.toString('latin1', from, at).replace(/\D/g, '').length;
    if (digits >= least) all.push([from, at, digits]);
    from = at + 1;
  }
  return all;
}

test('runs are the same as those that a walk over every byte finds', () => {
  const byte = fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom(...Buffer.from('0123456789 -().+', 'latin1')) },
    { weight: 1, arbitrary: fc.constantFrom(0xc2, 0xa0, 0xe2, 0x80, 0xaf, 0x8f, 0x90, 0x95, 0x96, 0x2f, 0x3a, 0x78) },
  );
  const bytes = fc.array(byte, { maxLength: 120 }).map((each) => Buffer.from(each));
  fc.assert(
    fc.property(bytes, fc.nat({ max: 8 }), fc.nat({ max: 8 }), fc.integer({ min: 1, max: 19 }), (all, a, b, least) => {
      const start = Math.min(a, all.length);
      const end = Math.max(start, all.length - b);
      const found: number[][] = [];
      eachDigitRun(all, start, end, least, (...run) => found.push(run));
      expect(found).toEqual(runsOf(all, start, end, least));
    }),
    { numRuns: 2000 },
  );
});
