import { expect, test } from 'vitest';
import { randomPart } from './random.ts';

test('no part is given out twice, and each is as long as asked for, over many draws', () => {
  const parts = Array.from({ length: 500 }, (_, index) => randomPart(index % 2 === 0 ? 8 : 18));
  expect(new Set(parts.map((part) => part.subarray(0, 8).toString('hex'))).size).toBe(500);
  for (const [index, part] of parts.entries()) expect(part).toHaveLength(index % 2 === 0 ? 8 : 18);
});

test('all of a draw may be asked for, and no more', () => {
  expect(new Set(randomPart(1_024)).size).toBeGreaterThan(200);
  expect(() => randomPart(1_025)).toThrow(RangeError);
});
