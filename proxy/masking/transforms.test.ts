import { createHmac } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { isMaskToken, MASK_TOKEN } from './token-format.ts';
import { compileTransform } from './transforms.ts';

function apply(transform: Parameters<typeof compileTransform>[0], text: string, key?: Uint8Array): string | null {
  const bytes = Buffer.from(`<${text}>`);
  return compileTransform(transform, key, 'r')(bytes, 1, bytes.length - 1)?.toString() ?? null;
}

describe('partial', () => {
  test.each([
    ['4111111111111111', 0, 4, '************1111'],
    ['4111-1111-1111-1111', 0, 4, '***************1111'],
    ['abcdefgh', 2, 2, 'ab****gh'],
    ['äöüßéèêë', 2, 2, 'äö****êë'],
    ['😀😁😂😃', 1, 1, '😀**😃'],
    ['abcd', 0, 4, '***'],
    ['abcdefg', 0, 4, '***'],
    ['abcdefgh', 0, 4, '****efgh'],
    ['', 1, 0, '***'],
    ['a', 1, 0, '***'],
    ['x'.repeat(100), 1, 1, `x${'*'.repeat(16)}x`],
  ])('%s keeping %i and %i becomes %s', (text, keepFirst, keepLast, shown) => {
    expect(apply({ type: 'partial', keepFirst, keepLast }, text)).toBe(shown);
  });
});

describe('tokenize', () => {
  const key = Buffer.from('0123456789abcdef');
  const transform = { type: 'tokenize' } as const;

  test('the same value gives the same token, also when it is too long to be remembered', () => {
    expect(apply(transform, 'ana@example.com', key)).toBe(apply(transform, 'ana@example.com', Buffer.from(key)));
    const long = 'x'.repeat(1000);
    expect(apply(transform, long, key)).toBe(apply(transform, long, Buffer.from(key)));
  });

  test('other values and other keys give other tokens', () => {
    expect(apply(transform, 'a', key)).not.toBe(apply(transform, 'b', key));
    expect(apply(transform, 'a', key)).not.toBe(apply(transform, 'a', Buffer.from('another')));
  });

  test('tokens are recognised, in any case and inside other text', () => {
    const token = apply(transform, 'a', key)!;
    expect(token).toMatch(new RegExp(`^${MASK_TOKEN.source}$`));
    expect(isMaskToken(`x ${token.toUpperCase()} y`)).toBe(true);
    expect(isMaskToken('sptok_short')).toBe(false);
  });

  test('the cache forgets and stays right', () => {
    const first = apply(transform, 'v0', key);
    for (let i = 1; i < 20_000; i++) apply(transform, `v${i}`, key);
    expect(apply(transform, 'v0', key)).toBe(first);
  });

  test('is the HMAC-SHA256 of the value in base32', () => {
    // printf a | openssl dgst -sha256 -hmac key -binary | base32, first 26 characters in lower case
    expect(apply(transform, 'a', Buffer.from('key'))).toBe('sptok_pagd3ngohxs3tzkyc352td2zay');
  });

  test.each([1, 63, 64, 65, 200])('is what node:crypto makes of it, with a key of %i bytes', (size) => {
    const long = Buffer.alloc(size, 7);
    for (const value of ['', 'a', 'x'.repeat(255), 'x'.repeat(257), 'x'.repeat(5000)]) {
      const digest = createHmac('sha256', long).update(value).digest();
      let bits = '';
      for (const byte of digest) bits += byte.toString(2).padStart(8, '0');
      const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';
      let text = 'sptok_';
      for (let i = 0; i < 26; i++) text += alphabet[Number.parseInt(bits.slice(i * 5, i * 5 + 5), 2)];
      expect(apply(transform, value, long)).toBe(text);
    }
  });

  test('needs a key', () => {
    expect(() => compileTransform(transform, undefined, 'shop/pii')).toThrow(/SPM003|shop\/pii/);
    expect(() => compileTransform(transform, new Uint8Array(), 'shop/pii')).toThrow(/shop\/pii/);
  });
});

test('redact and nullify', () => {
  expect(apply({ type: 'redact', with: '[ü]' }, 'secret')).toBe('[ü]');
  expect(apply({ type: 'redact', with: '***' }, '')).toBe('***');
  expect(apply({ type: 'nullify' }, 'secret')).toBeNull();
});
