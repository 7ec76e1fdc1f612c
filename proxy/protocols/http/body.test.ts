import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type BodyHead, judgeBody } from './body.ts';

const JSON_TYPE = 'application/json';

/** @param contentType null: none */
const judged = (body: string | Buffer, contentType: string | null = JSON_TYPE, rest: Partial<BodyHead> = {}) =>
  judgeBody(Buffer.from(body as string), {
    contentType: contentType ?? undefined,
    contentEncoding: undefined,
    ...rest,
  });

describe('a body that a rule looks at', () => {
  test.each([JSON_TYPE, 'application/JSON; charset=UTF-8', 'application/vnd.api+json', 'text/plain', null, 'x/y'])(
    'is JSON when it is JSON, whatever type it claims: %s',
    (type) => expect(judged('{"a": [1, "x", null]}', type)).toEqual({ kind: 'json', value: { a: [1, 'x', null] } }),
  );

  test.each([
    ['a name twice', '{"amount": 1, "amount": 9999}', 'names "amount" twice'],
    ['a name twice, once escaped', '{"amount": 1, "\\u0061mount": 9999}', 'names "amount" twice'],
    ['a name twice in other case', '{"amount": 1, "Amount": 9999}', 'names "amount" twice'],
    ['a name twice, with a long s', '{"sum": 1, "\u017fum": 9999}', 'names "sum" twice'],
    ['a name twice, with the sign for kelvin', '{"k": 1, "\\u212a": 2}', 'names "k" twice'],
    ['a name twice far inside', '[{"b": {"c": [{"x": 1, "y": {"x": 1}, "x": 2}]}}]', 'names "x" twice'],
    ['nested too deep', `${'['.repeat(65)}${']'.repeat(65)}`, 'nested deeper than 64'],
    ['a byte order mark', '\ufeff{"a": 1}', 'not JSON'],
    ['a comment', '{"a": 1 /* no */}', 'not JSON'],
    ['a comma too many', '{"a": 1,}', 'not JSON'],
    ['two documents', '{"a": 1}{"a": 2}', 'not JSON'],
    ['lines of JSON', '{"a": 1}\n{"a": 2}\n', 'not JSON'],
    ['single quotes', "{'a': 1}", 'not JSON'],
  ])('%s: it is refused, whatever type it claims', (_name, body, why) => {
    for (const type of [JSON_TYPE, 'text/plain', null, 'multipart/form-data; boundary=x']) {
      const result = judged(body, type);
      expect(result.kind).toBe('refused');
      expect(result).toHaveProperty('why', expect.stringContaining(why));
    }
  });

  test.each([
    ['UTF-16', Buffer.from('{"a":1}', 'utf16le'), `${JSON_TYPE}; charset=utf-16le`],
    ['UTF-7 by name', '{"a":1}', `${JSON_TYPE}; charset="utf-7"`],
    ['Latin-1 by name', '{"a":1}', `${JSON_TYPE}; charset=iso-8859-1`],
    ['UTF-16 without a word', Buffer.from('\ufeff{"a":1}', 'utf16le'), JSON_TYPE],
    ['an overlong character', Buffer.from([0x22, 0xc0, 0xaf, 0x22]), JSON_TYPE],
    ['half a character', Buffer.from([0x22, 0xe2, 0x82, 0x22]), JSON_TYPE],
  ])('JSON in %s is refused', (_name, body, type) => expect(judged(body, type).kind).toBe('refused'));

  test('what is compressed is refused', () => {
    expect(judged('{"a":1}', JSON_TYPE, { contentEncoding: 'gzip' }).kind).toBe('refused');
    expect(judged('{"a":1}', 'text/plain', { contentEncoding: 'br' }).kind).toBe('refused');
    expect(judged('{"a":1}', JSON_TYPE, { contentEncoding: 'identity' }).kind).toBe('json');
  });

  test.each([
    ['a form', 'amount=1&amount=2', 'application/x-www-form-urlencoded'],
    ['a file', '--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--', 'multipart/form-data; boundary=x'],
    ['bytes', Buffer.from([0, 1, 2, 255]), 'application/octet-stream'],
    ['text', 'hello', null],
  ])('%s is opaque', (_name, body, type) => expect(judged(body, type).kind).toBe('opaque'));

  test('an empty one is none', () => expect(judged('').kind).toBe('none'));

  test('every document that JSON.stringify writes is taken as it is, unless case alone tells names apart', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
        const text = JSON.stringify(value);
        const result = judged(text);
        if (result.kind === 'refused') expect(result.why).toMatch(/twice/);
        else expect(result).toEqual({ kind: 'json', value: JSON.parse(text) });
      }),
    );
  });

  test('bytes of any kind are judged, and what is taken is what JSON.parse reads', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.boolean(), (bytes, declared) => {
        const body = Buffer.from(bytes);
        const result = judged(body, declared ? JSON_TYPE : 'application/octet-stream');
        if (result.kind === 'json') expect(result.value).toEqual(JSON.parse(body.toString('utf8')));
        if (declared) expect(result.kind).not.toBe('opaque');
      }),
    );
  });
});
