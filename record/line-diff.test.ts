import fc from 'fast-check';
import { expect, test } from 'vitest';
import { lineDiff, withContext } from './line-diff.ts';

const shown = (lines: ReturnType<typeof lineDiff>): string[] => lines.map(({ sign, text }) => `${sign}${text}`);

test('what is left out and what is added give the two texts again', () => {
  const text = fc.array(fc.constantFrom('a', 'b', 'c', ''), { maxLength: 30 }).map((lines) => lines.join('\n'));
  fc.assert(
    fc.property(text, text, (before, after) => {
      const lines = lineDiff(before, after);
      const side = (sign: '-' | '+') =>
        lines
          .filter((line) => line.sign !== sign)
          .map((line) => line.text)
          .join('\n');
      expect(side('+')).toBe(before);
      expect(side('-')).toBe(after);
    }),
  );
});

test('one added line is one line', () => {
  expect(shown(lineDiff('a\nb\nc', 'a\nx\nb\nc'))).toEqual([' a', '+x', ' b', ' c']);
});

test('only what changed is shown, with what stands around it', () => {
  const lines = lineDiff('1\n2\n3\n4\n5\n6\n7\n8', '1\n2\n3\n4\nx\n6\n7\n8');
  expect(shown(withContext(lines, 1))).toEqual([' …', ' 4', '-5', '+x', ' 6', ' …']);
});
