import fc from 'fast-check';
import { RE2JS } from 're2js';
import { describe, expect, it } from 'vitest';
import { createLineCrossing } from './line-crossing.ts';

const crossing = (...sources: string[]) => createLineCrossing(sources.map((source) => RE2JS.compile(source)));

/** Whether a match may be under way behind the text. */
function underWay(source: string, text: string): boolean {
  const { idle, step, underWay: goesOn } = crossing(source);
  let state = idle;
  for (const byte of Buffer.from(text)) state = step(state, byte);
  return goesOn(state);
}

describe('a match under way', () => {
  it.each([
    ['password:\\s*\\S+', 'password:\n', true],
    ['password:\\s*\\S+', 'password: x\n', false],
    ['password:\\s*\\S+', 'nothing\n', false],
    ['BEGIN[\\s\\S]*?END', 'a BEGIN b\n', true],
    ['BEGIN[\\s\\S]*?END', 'a BEGI\n', false],
    ['a\\nb', 'a\n', true],
    ['a\\nb', 'a\nb\n', false],
    ['\\n\\s*x', 'y\n', true],
    ['(?i)K\\n1', '\u212a\n', true],
    ['é\\n1', 'é\n', true],
    ['[^"]+"', 'anything\n', true],
    ['^a\\nb', 'xa\n', true],
  ])('%s behind %j: %s', (source, text, expected) => {
    expect(underWay(source, text)).toBe(expected);
  });

  it('across lines is possible for some patterns only, and assertions are known', () => {
    expect(crossing('a+', '[a-z ]+', '\\S+').possible).toBe(false);
    expect(crossing('a+', '\\s').possible).toBe(true);
    expect(crossing('(?s).').possible).toBe(true);
    expect(crossing('\\r').possible).toBe(true);
    // A dot is any character but LF.
    expect(crossing('.').possible).toBe(true);
    expect(crossing('a+').assertions).toBe(false);
    expect(crossing('\\ba').assertions).toBe(true);
    expect(crossing().possible).toBe(false);
  });

  it('is never overlooked', () => {
    const part = fc.constantFrom('a', 'b', '\\s', '\\n', '[^a]', '(?:ab|b\\n)', 'a*', '(?:\\nb)?', 'é', '(?s).', 'b+?');
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '\n', ' ', 'é'), maxLength: 12 });
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 5 }), text, text, (parts, before, after) => {
        const source = parts.join('');
        const pattern = RE2JS.compile(source);
        const head = `${before}\n`;
        if (underWay(source, head)) return;
        const matcher = pattern.matcher(head + after);
        while (matcher.find()) {
          // No match may go across the place behind the line end.
          expect(
            matcher.start() < head.length && matcher.end() > head.length,
            `${source} in ${JSON.stringify(head + after)}`,
          ).toBe(false);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('is taken for granted where the automaton would grow too large', () => {
    expect(underWay(`a[\\s\\S]{${12}}\\n.`, `${'ab'.repeat(4000)}\n`)).toBe(true);
  });
});
