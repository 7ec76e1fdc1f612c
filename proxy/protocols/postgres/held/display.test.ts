import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tokensOf } from '../sql/tokens.ts';
import { displayText, summaryText } from './display.ts';

const shown = (sql: string): string => displayText(sql, tokensOf(sql) ?? [], () => undefined);
const summary = (sql: string, limit = 120): string => summaryText(tokensOf(sql) ?? [], limit);

describe('what is displayed', () => {
  it.each([
    ['DELETE FROM orders WHERE id = 1', 'DELETE FROM orders\nWHERE id = 1'],
    ['SELECT a FROM t WHERE a IS DISTINCT FROM b AND c', 'SELECT a\nFROM t\nWHERE a IS DISTINCT FROM b\n  AND c'],
    ['DELETE FROM t WHERE id IN (SELECT a FROM b WHERE c)', 'DELETE FROM t\nWHERE id IN (SELECT a FROM b WHERE c)'],
    ['BEGIN; DELETE FROM t; COMMIT', 'BEGIN;\nDELETE FROM t;\nCOMMIT'],
    ["SELECT left('a', 1), x.where", "SELECT left('a', 1), x.where"],
    ['DELETE FROM t -- all of it\nWHERE true', 'DELETE FROM t -- all of it\nWHERE true'],
    [
      "SELECT E'it''s\\n', U&'\\0061', $x$ FROM $x$, 'ä' FROM t",
      "SELECT E'it''s\\n', U&'\\0061', $x$ FROM $x$, 'ä'\nFROM t",
    ],
  ])('%s', (sql, expected) => {
    expect(shown(sql)).toBe(expected);
  });

  it('is word for word what was sent: only white space differs, and tokens stay apart', () => {
    const word = fc.constantFrom(
      'SELECT',
      'FROM',
      'where',
      '"a b"',
      "'x y'",
      "E'\\''",
      '$1',
      '(',
      ')',
      ',',
      ';',
      '--c\n',
      '/*d*/',
      '1.5',
      '-',
      'AND',
      '::int',
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 30 }), (words) => {
        const sql = words.join(' ');
        const tokens = tokensOf(sql);
        if (tokens === undefined) return;
        const again = tokensOf(shown(sql));
        expect(again?.map(({ text }) => text)).toEqual(tokens.map(({ text }) => text));
      }),
    );
  });
});

describe('the summary', () => {
  it('has one line, no comments and no values', () => {
    expect(summary("/* x */ DELETE\n FROM t -- y\n WHERE a = 'secret' AND b = 12.5 AND c = $1")).toBe(
      'DELETE FROM t WHERE a = ? AND b = ? AND c = $1',
    );
  });

  it('is cut at a character, not within one', () => {
    expect([...summary(`SELECT "${'😀'.repeat(200)}"`)]).toHaveLength(120);
  });
});
