import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isNode } from './ast.ts';
import { parse } from './parse.ts';
import { shapeKey } from './shape.ts';

const key = (sql: string): string | undefined => {
  const bytes = Buffer.from(sql);
  return shapeKey(bytes, 0, bytes.length);
};

describe('texts with the same key', () => {
  test.each([
    ['SELECT 1', 'SELECT 22'],
    ['SELECT 1.5', 'SELECT 1e10'],
    ["SELECT 'a'", "SELECT 'it''s'"],
    ["SELECT * FROM t WHERE a = 'x' AND b = $1", "SELECT * FROM t WHERE a = '' AND b = $1"],
    ['SELECT "a""b" FROM t WHERE x=1', 'SELECT "a""b" FROM t WHERE x=2'],
    ["SELECT 'é'", "SELECT 'x'"],
    ['INSERT INTO t VALUES (1,2.5)', 'INSERT INTO t VALUES (3,4)'],
  ])('%s | %s', (one, other) => {
    expect(key(one)).toBeDefined();
    expect(key(one)).toBe(key(other));
  });
});

test.each([
  ['SELECT $1', 'SELECT $2'],
  ['SELECT a1', 'SELECT a2'],
  ["SELECT 'x'", 'SELECT 1'],
  ['SELECT a ? 1', 'SELECT a 1 1'],
  ['SELECT "x1"', 'SELECT "x2"'],
  ["SELECT 'a' 'b'", "SELECT 'a'"],
])('other keys: %s | %s', (one, other) => {
  expect(key(one)).not.toBe(key(other));
});

test.each([
  "SELECT E'a'",
  "SELECT U&'a'",
  "SELECT u&'a'",
  "SELECT B'1'",
  "SELECT X'1'",
  "SELECT N'a'",
  'SELECT U&"a"',
  'SELECT $$a$$',
  'SELECT $a$b$a$',
  'SELECT 1 -- x',
  'SELECT 1 /* x */',
  "SELECT 'a\\b'",
  'SELECT 1a',
  'SELECT 1_000',
  'SELECT 0x1F',
  'SELECT 1.2.3',
  'SELECT 1..2',
  'SELECT 1e',
  "SELECT 'open",
  'SELECT "open',
  'SELECT $1a',
  'SELECT $',
  "SELECT 1'a'",
  'SELECT \x01',
  'SELECT 1é',
  `SELECT '${'x'.repeat(20_000)}'`,
])('no key: %s', (sql) => {
  expect(key(sql)).toBeUndefined();
});

/** The tree without what the key leaves out: values of constants, places in the text, type modifiers. */
function skeleton(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(skeleton);
  if (!isNode(value)) return value;
  const out: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(value)) {
    if (name === 'location' || name === 'stmt_location' || name === 'stmt_len' || name === 'typmods') continue;
    out[name] =
      name === 'A_Const' && isNode(field)
        ? (field['isnull'] ?? field['boolval'] ?? field['bsval'] ?? 'constant')
        : skeleton(field);
  }
  return out;
}

describe('differentially against the parser', () => {
  const token = fc.constantFrom(
    'SELECT',
    'FROM',
    'WHERE',
    'AND',
    'IN',
    'VALUES',
    'a',
    'b1',
    't',
    '"q 1"',
    '(',
    ')',
    ',',
    '.',
    '=',
    '<',
    '+',
    '-',
    '*',
    '/',
    '::',
    'int',
    '1',
    '23',
    '4.5',
    '.5',
    '6.',
    '7e2',
    "'x'",
    "'it''s'",
    "''",
    '$1',
    '$2',
    '[',
    ']',
    ';',
    ' ',
    '\n',
    '\t',
    'E',
    'U&',
    'x',
    'N',
    '$',
    '$$',
    '--',
    '/*',
    '*/',
    '\\',
    '&',
    '|',
    '?',
    '@',
    ':',
    '_',
    'é',
    '\r',
    '\f',
    '\v',
    'interval',
    'LIMIT',
    'AS',
    'null',
    'true',
    '0x1',
    '1_0',
  );
  const literal = fc.constantFrom(
    '1',
    '2',
    '99',
    '3.5',
    '.25',
    '8.',
    '1e3',
    '123456789012',
    "'a'",
    "'b''c'",
    "''",
    "'--'",
    "'/*'",
    "'$1'",
    "'é'",
    "'\"'",
  );

  test('one key, one tree', () => {
    let compared = 0;
    fc.assert(
      fc.property(
        fc.array(fc.oneof({ arbitrary: token, weight: 3 }, { arbitrary: literal, weight: 1 }), { maxLength: 12 }),
        fc.array(literal, { minLength: 12, maxLength: 12 }),
        fc.boolean(),
        (tokens, literals, spaced) => {
          const isLiteral = (text: string): boolean => /^(?:[.\d]|')/.test(text);
          const one = `SELECT ${tokens.join(spaced ? ' ' : '')}`;
          const other = `SELECT ${tokens.map((text, index) => (isLiteral(text) ? (literals[index] ?? text) : text)).join(spaced ? ' ' : '')}`;
          const left = key(one);
          if (left === undefined || left !== key(other)) return;
          compared++;
          const a = parse(one);
          const b = parse(other);
          expect(b.ok).toBe(a.ok);
          if (a.ok && b.ok) expect(skeleton(b.statements)).toEqual(skeleton(a.statements));
        },
      ),
      { numRuns: 20_000 },
    );
    expect(compared).toBeGreaterThan(300);
  });
});
