import fc from 'fast-check';
import { RE2JS } from 're2js';
import { expect, test } from 'vitest';
import { createContentDetectors } from './detectors.ts';

/** Every match of the engine itself, from the first byte to the last. */
function plainMatches(pattern: string, bytes: Buffer): number[][] {
  const matcher = RE2JS.compile(pattern).matcher(bytes);
  const all: number[][] = [];
  while (matcher.find()) if (matcher.end() > matcher.start()) all.push([matcher.start(), matcher.end()]);
  return all;
}

function found(pattern: string, bytes: Buffer, before: number): number[][] {
  const detectors = createContentDetectors(
    [{ source: { pattern }, transform: { type: 'redact', with: '***' }, rule: 'shop/own' }],
    () => undefined,
  )!;
  // As values stand side by side in one buffer.
  const around = Buffer.concat([Buffer.from('ab-'.repeat(before)), bytes, Buffer.from('ab-1')]);
  const start = 3 * before;
  const findings = detectors.find(around, start, start + bytes.length);
  if (findings === 'withhold') throw new Error('so little is searched always');
  return findings.map(({ from, to }) => [from - start, to - start]);
}

const atom = fc.constantFrom(
  'a',
  'b',
  '-',
  '[ab]',
  '[^a]',
  '.',
  '\\d',
  '\\S',
  'é',
  '日',
  '\\b',
  '^',
  '$',
  '(?i:a)',
  '',
);
const part = fc
  .tuple(atom, fc.constantFrom('', '', '', '+', '*', '?', '{2}', '+?'))
  .map(([one, times]) => (one === '' ? '' : /^(\\b|\^|\$)$/.test(one) ? one : one + times));
const sequence = fc.array(part, { maxLength: 5 }).map((parts) => parts.join(''));
const pattern = fc
  .tuple(fc.constantFrom('ab-', 'a', 'ab-1', 'é-', '日', '', '(?s)ab'), sequence, sequence, fc.boolean())
  .map(([prefix, one, two, either]) => (either ? `${prefix}(${one}|${two})` : `${prefix}${one}${two}`));
const text = fc
  .string({
    unit: fc.constantFrom('a', 'b', '-', '1', 'A', 'é', '日', '\n', ' ', 'ab-', 'ab-1'),
    minLength: 12,
    maxLength: 40,
  })
  .map((each) => Buffer.from(each));

test('a pattern finds what the engine finds, whatever is skipped before the first place of what its matches begin with', () => {
  let matches = 0;
  fc.assert(
    fc.property(pattern, text, fc.nat({ max: 2 }), (source, bytes, before) => {
      const expected = plainMatches(source, bytes);
      matches += expected.length;
      expect(found(source, bytes, before), source).toEqual(expected);
    }),
    { numRuns: 3000 },
  );
  expect(matches).toBeGreaterThan(500);
});
