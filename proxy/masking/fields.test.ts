import { describe, expect, test } from 'vitest';
import type { Transform } from '../../policy/masking.ts';
import { createFieldMasks } from './fields.ts';

const redact: Transform = { type: 'redact', with: '***' };
const key = Buffer.from('k');

function mask(document: string, ...matches: (string | readonly [string, Transform])[]): string | null | undefined {
  const fields = createFieldMasks(
    matches.map((match) => {
      const [path, transform] = typeof match === 'string' ? [match, redact] : match;
      return { match: path, transform, rule: `shop/${path}` };
    }),
    () => key,
  )!;
  const bytes = Buffer.from(document);
  const shown = fields.mask(bytes, 0, bytes.length, () => {});
  return shown === undefined || shown === null ? shown : shown.toString();
}

describe('paths', () => {
  test.each([
    ['{"customer":{"email":"a","name":"b"}}', 'customer.email', '{"customer":{"email":"***","name":"b"}}'],
    ['{"items":[{"ssn":1},{"ssn":2}]}', 'items.*.ssn', '{"items":[{"ssn":"***"},{"ssn":"***"}]}'],
    ['{"items":{"x":{"ssn":1}}}', 'items.*.ssn', '{"items":{"x":{"ssn":"***"}}}'],
    [
      '{"password":"a","b":[{"c":{"password":"d"}}]}',
      '**.password',
      '{"password":"***","b":[{"c":{"password":"***"}}]}',
    ],
    ['{"a":{"b":{"c":{"d":1}}}}', 'a.**.d', '{"a":{"b":{"c":{"d":"***"}}}}'],
    ['{"a":{"d":1}}', 'a.**.d', '{"a":{"d":"***"}}'],
    ['["x","y","z"]', '1', '["x","***","z"]'],
    ['{ "a" :\n\t"x" , "b" : 1.50e3 }', 'a', '{ "a" :\n\t"***" , "b" : 1.50e3 }'],
    ['{"\\u0061":"x"}', 'a', '{"\\u0061":"***"}'],
    ['{"a":"x","a":"y"}', 'a', '{"a":"***","a":"***"}'],
    ['{"a":{"b":[1,{"c":2}]}}', 'a', '{"a":"***"}'],
    ['{"a":true}', 'a', '{"a":"***"}'],
    ['{"a":null}', 'a', undefined],
    ['{"A":"x"}', 'a', undefined],
    ['{"x":{"a":1}}', 'a', undefined],
    ['{"a":1}', 'a.b', undefined],
    ['[]', '**.a', undefined],
    ['{"a":[]}', '**', '"***"'],
  ])('%s with %s', (document, match, shown) => {
    expect(mask(document, match)).toBe(shown);
  });

  test('the stricter transform wins where paths meet', () => {
    expect(mask('{"a":"x","b":"y"}', '*', ['a', { type: 'nullify' }])).toBe('{"a":null,"b":"***"}');
  });

  test('tokens of strings are those of their text', () => {
    const token: Transform = { type: 'tokenize' };
    const shown = mask('{"a":"\\u00e9","b":"é","c":"e"}', ['*', token])!;
    const parsed: unknown = JSON.parse(shown);
    expect(parsed).toMatchObject({ a: expect.stringMatching(/^sptok_/) });
    const { a, b, c } = parsed as Record<string, string>;
    expect(a).toBe(b);
    expect(a).not.toBe(c);
  });
});

describe('what is not JSON is withheld', () => {
  test.each([
    '',
    '{',
    '{"a":1',
    '{"a":1}x',
    '{"a"}',
    "{'a':1}",
    '[1,]',
    '{"a":"\n"}',
    'nul',
    '{"a":"\\x"}',
    '[1 2]',
    '{"a":1,}',
  ])('%j', (document) => {
    expect(mask(document, 'a')).toBe('"***"');
  });

  test('too deep', () => {
    expect(mask('['.repeat(100_000) + ']'.repeat(100_000), 'a')).toBe('"***"');
    expect(mask('['.repeat(400) + ']'.repeat(400), 'a')).toBeUndefined();
  });
});

test('a path that cannot be read is refused', () => {
  expect(() => mask('{}', 'a..b')).toThrow(expect.objectContaining({ code: 'SPM007' }));
});

test('paths made to multiply places stay fast', () => {
  const paths = Array.from({ length: 64 }, (_, i) => `**.a.**.b${i}.**.a.**.c.**.d${i}`);
  const document = `${'{"a":{"b1":'.repeat(200)}1${'}}'.repeat(200)}`;
  expect(mask(document, ...paths)).toBeUndefined();
});
