import { describe, expect, it } from 'vitest';
import { readValue, writtenValue } from './bound-values.ts';

const hex = (text: string): Buffer => Buffer.from(text, 'hex');

describe('bound values in words', () => {
  it.each([
    ['int4', '0000000c', 23, "'12'"],
    ['int8', 'ffffffffffffffff', 20, "'-1'"],
    ['bool', '01', 16, "'true'"],
    ['date', '00000000', 1082, "'2000-01-01'"],
    ['timestamptz', '0000000000000001', 1184, "'2000-01-01 00:00:00.000001+00'"],
    ['numeric', '0002000000000002' + '000104d2', 1700, "'1.1234'"],
    ['uuid', '00112233445566778899aabbccddeeff', 2950, "'00112233-4455-6677-8899-aabbccddeeff'"],
    ['text', '6974277320', 25, "'it''s '"],
    ['jsonb', '017b7d', 3802, "'{}'"],
  ])('binary %s', (_name, bytes, type, expected) => {
    expect(writtenValue(readValue(hex(bytes), 1, type))).toBe(expected);
  });

  it.each([
    ['of a type that is not read', '00000001', 600, "'\\x00000001' /* binary, of the type with OID 600 */"],
    ['of a type that is not known', '00', 0, "'\\x00' /* binary, of a type that is not known */"],
    ['of another length than its type', '0000', 23, "'\\x0000' /* binary, of the type with OID 23 */"],
    ['NaN', '00000000c0000000', 1700, "'\\x00000000c0000000' /* binary, of the type with OID 1700 */"],
    ['infinity', '7fffffffffffffff', 1184, "'\\x7fffffffffffffff' /* binary, of the type with OID 1184 */"],
    ['text that is none', 'ff', 25, "'\\xff' /* binary, of the type with OID 25 */"],
  ])('binary %s as bytes', (_name, bytes, type, expected) => {
    expect(writtenValue(readValue(hex(bytes), 1, type))).toBe(expected);
  });
});
