import { describe, expect, test } from 'vitest';
import { createConcealer } from './conceal.ts';

const SECRET = 'sk_live/4+eC39HqLyjWDarjtT1 "zdp7dc&';

/** Through the transform, in parts of a length. */
function passed(text: string | Buffer, length: number, secrets: readonly string[] = [SECRET]): string {
  const body = createConcealer(secrets)?.body();
  const bytes = Buffer.from(text as string);
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += length) {
    const part = body?.write(bytes.subarray(at, at + length));
    // What is returned is a part of a buffer that may be used again.
    if (part !== undefined) parts.push(Buffer.from(part));
  }
  const rest = body?.end();
  if (rest !== undefined) parts.push(rest);
  return Buffer.concat(parts).toString('latin1');
}

describe('what comes back', () => {
  const forms: readonly (readonly [string, string])[] = [
    ['itself', SECRET],
    ['JSON', JSON.stringify({ seen: SECRET })],
    ['JSON of PHP', JSON.stringify({ seen: SECRET }).replaceAll('/', '\\/')],
    ['JSON of Go', JSON.stringify(SECRET).replaceAll('&', '\\u0026')],
    ['a URL', encodeURIComponent(SECRET)],
    ['a URL with small letters', encodeURIComponent(SECRET).replace(/%../g, (one) => one.toLowerCase())],
    ['a URL in a URL', encodeURIComponent(encodeURIComponent(SECRET))],
    ['escapes alone', SECRET.replace(/./g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`)],
    ['a form', new URLSearchParams({ a: SECRET }).toString()],
    ['hex', Buffer.from(SECRET).toString('hex')],
    ['HTML', SECRET.replaceAll('&', '&amp;').replaceAll('"', '&quot;')],
    ['base64', Buffer.from(SECRET).toString('base64')],
    ['base64, one byte before', Buffer.from(`x${SECRET}`).toString('base64')],
    ['base64, two bytes before and some behind', Buffer.from(`xy${SECRET}and more`).toString('base64')],
    ['base64url', Buffer.from(`xy${SECRET}and more`).toString('base64url')],
  ];
  test.each(forms)('has no secret in the form of %s, however it is cut', (_name, form) => {
    const text = `before ${form} and after`;
    for (let length = 1; length <= 40; length++) {
      const result = passed(text, length);
      expect(result).toHaveLength(text.length);
      expect(result.startsWith('before ')).toBe(true);
      expect(result.endsWith(' and after')).toBe(true);
      expect(createConcealer([SECRET])?.isClean(Buffer.from(result))).toBe(true);
      expect(result).toMatch(/\*{12}/);
      expect(result).not.toContain(form);
    }
  });

  test('has no secret in base64 that is broken into lines', () => {
    const long = `${SECRET}${SECRET}`;
    for (const length of [64, 76]) {
      const wrapped = (
        Buffer.from(long)
          .toString('base64')
          .match(new RegExp(`.{1,${length}}`, 'g')) ?? []
      ).join('\r\n');
      expect(passed(`before ${wrapped} and after`, 7, [long])).toBe(`before ${'*'.repeat(wrapped.length)} and after`);
    }
  });

  test('is otherwise as it came, in parts of any length', () => {
    const text = 'sk_live/4+eC39Hq is the beginning alone; sk_live sk_live/4';
    // The beginning at the very end is hidden too, where it is long enough to tell something.
    for (let length = 1; length <= text.length; length++)
      expect(passed(text, length)).toBe('sk_live/4+eC39Hq is the beginning alone; sk_live *********');
  });

  test('binary bodies stay whole', () => {
    const bytes = Buffer.from(Array.from({ length: 4096 }, (_, index) => (index * 7919) % 256));
    expect(passed(bytes.toString('latin1'), 100)).toBe(Buffer.from(bytes.toString('latin1')).toString('latin1'));
  });

  test('several secrets that overlap are all hidden', () => {
    const text = 'aaaaaabbbbbbcccccc';
    for (let length = 1; length <= text.length; length++) {
      expect(passed(text, length, ['aaaaaabbbbbb', 'bbbbbbcccccc'])).toBe('*'.repeat(text.length));
      expect(passed('aaaaaabbbbbbxx', length, ['aaaaaabbbbbb', 'bbbbbbcccccc'])).toBe(`${'*'.repeat(12)}xx`);
    }
  });

  test('headers are looked through too', () => {
    const concealer = createConcealer(['topsecret']);
    expect(concealer?.text('Bearer topsecret!')).toBe('Bearer *********!');
    expect(concealer?.text('nothing here')).toBe('nothing here');
  });

  test('without a secret there is nothing to look for', () => expect(createConcealer([])).toBeUndefined());
});
