/** PostgreSQL's binary number, network and uuid formats as the text that the server would have written. */

const SIGN_NEGATIVE = 0x4000;
/** Digits beyond this cannot be an account number, and would cost time. */
const MOST_GROUPS = 64;

/**
 * numeric in binary (src/backend/utils/adt/numeric.c, numeric_send): Int16 groups, weight, sign, scale, then base-10000 groups.
 * @returns undefined when the bytes are not that, or the number is far longer than any account number
 */
export function numericText(source: Buffer, start: number, end: number): string | undefined {
  if (end - start < 8) return undefined;
  const groups = source.readInt16BE(start);
  const weight = source.readInt16BE(start + 2);
  const sign = source.readUInt16BE(start + 4);
  if (groups < 0 || groups > MOST_GROUPS || end - start !== 8 + groups * 2 || weight > MOST_GROUPS) return undefined;
  let whole = '';
  for (let i = 0; i <= weight; i++) {
    whole += i < groups ? String(source.readUInt16BE(start + 8 + i * 2)).padStart(4, '0') : '0000';
  }
  let fraction = weight < -1 ? '0000'.repeat(Math.min(MOST_GROUPS, -1 - weight)) : '';
  for (let i = Math.max(0, weight + 1); i < groups; i++) {
    fraction += String(source.readUInt16BE(start + 8 + i * 2)).padStart(4, '0');
  }
  const digits = whole.replace(/^0+(?=.)/, '') || '0';
  return `${sign === SIGN_NEGATIVE ? '-' : ''}${digits}${fraction === '' ? '' : `.${fraction}`}`;
}

/** Plain digits of a float that is a whole number, since the server writes long ones with an exponent; else JavaScript's form. */
export function floatText(value: number): string {
  return Number.isInteger(value) && Math.abs(value) < 1e21 ? BigInt(value).toString() : String(value);
}

/** inet and cidr in binary (src/backend/utils/adt/network.c, network_send): family, bits, is_cidr, length, address. */
export function networkText(source: Buffer, start: number, end: number): string | undefined {
  const length = end - start - 4;
  if (length === 4) return source.subarray(start + 4, end).join('.');
  if (length !== 16) return undefined;
  const groups: string[] = [];
  for (let at = start + 4; at < end; at += 2) groups.push(source.readUInt16BE(at).toString(16));
  return groups.join(':');
}

/** RFC 9562 section 4. */
export function uuidText(source: Buffer, start: number, end: number): string {
  const hex = source.toString('hex', start, end);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
