import { isUtf8 } from 'node:buffer';

/**
 * One value of a recorded row as text, for people. Text format is shown as it came. Of the binary formats (PostgreSQL's `…_send`
 * functions) those of the everyday types are read; any other, and whatever does not fit its type, is shown in hexadecimal as bytea
 * is: never guessed. Total.
 */
export function valueText(bytes: Buffer, typeOid: number | undefined, format: number): string {
  const shown = bytes.length > SHOWN_BYTES ? bytes.subarray(0, SHOWN_BYTES) : bytes;
  const rest = bytes.length > SHOWN_BYTES ? `… (${bytes.length} bytes)` : '';
  if (format !== 1) return textOf(shown, rest !== '') + rest;
  if (rest === '') {
    const text = binaryText(bytes, typeOid);
    if (text !== undefined) return text;
  }
  return hexOf(shown) + rest;
}

/** Of one value: more is for the record's own bytes, not for a table. */
const SHOWN_BYTES = 16 * 1024;

function textOf(bytes: Buffer, wasCut: boolean): string {
  // A cut may stand amid a character.
  for (let less = 0; less <= (wasCut ? 3 : 0); less++) {
    const part = less === 0 ? bytes : bytes.subarray(0, bytes.length - less);
    if (isUtf8(part)) return part.toString('utf8');
  }
  return hexOf(bytes);
}

const hexOf = (bytes: Buffer): string => `\\x${bytes.toString('hex')}`;

/** OIDs of built-in types are fixed (src/include/catalog/pg_type.dat). */
const ELEMENTS: ReadonlyMap<number, number> = new Map([
  [1000, 16], // bool[]
  [1005, 21], // int2[]
  [1007, 23], // int4[]
  [1016, 20], // int8[]
  [1021, 700], // float4[]
  [1022, 701], // float8[]
  [1231, 1700], // numeric[]
  [1009, 25], // text[]
  [1015, 1043], // varchar[]
  [1003, 19], // name[]
  [2951, 2950], // uuid[]
  [1182, 1082], // date[]
  [1115, 1114], // timestamp[]
  [1185, 1184], // timestamptz[]
]);

/** Undefined: the bytes are not a value of this type, or the type is not one of those read here. */
function binaryText(bytes: Buffer, typeOid: number | undefined): string | undefined {
  const has = (length: number): boolean => bytes.length === length;
  switch (typeOid) {
    case 16: // bool
      return has(1) ? (bytes[0] === 0 ? 'f' : 't') : undefined;
    case 21: // int2
      return has(2) ? String(bytes.readInt16BE(0)) : undefined;
    case 23: // int4
      return has(4) ? String(bytes.readInt32BE(0)) : undefined;
    case 20: // int8
      return has(8) ? String(bytes.readBigInt64BE(0)) : undefined;
    case 26: // oid
    case 28: // xid
      return has(4) ? String(bytes.readUInt32BE(0)) : undefined;
    case 700: // float4: the shortest decimal that reads back as the same value has at most nine digits
      return has(4) ? float4Text(bytes.readFloatBE(0)) : undefined;
    case 701: // float8
      return has(8) ? floatText(bytes.readDoubleBE(0)) : undefined;
    case 1700:
      return numericText(bytes);
    case 18: // "char"
    case 19: // name
    case 25: // text
    case 114: // json
    case 142: // xml
    case 705: // unknown
    case 1042: // bpchar
    case 1043: // varchar
      return isUtf8(bytes) ? bytes.toString('utf8') : undefined;
    case 3802: // jsonb: a version, then text
      return bytes[0] === 1 && isUtf8(bytes) ? bytes.toString('utf8', 1) : undefined;
    case 2950:
      return has(16) ? uuidText(bytes) : undefined;
    case 1082: // date: days since 2000-01-01
      return has(4) ? dateText(bytes.readInt32BE(0)) : undefined;
    case 1083: // time: microseconds
      return has(8) ? timeText(bytes.readBigInt64BE(0)) : undefined;
    case 1114: // timestamp: microseconds since 2000-01-01
      return has(8) ? timestampText(bytes.readBigInt64BE(0), '') : undefined;
    case 1184: // timestamptz
      return has(8) ? timestampText(bytes.readBigInt64BE(0), '+00') : undefined;
    case 2278: // void
      return has(0) ? '' : undefined;
    default: {
      const element = typeOid === undefined ? undefined : ELEMENTS.get(typeOid);
      return element === undefined ? undefined : arrayText(bytes, element);
    }
  }
}

function floatText(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? 'Infinity' : '-Infinity';
  return Object.is(value, -0) ? '-0' : String(value);
}

function float4Text(value: number): string {
  for (let digits = 6; digits <= 9; digits++) {
    const text = Number(value.toPrecision(digits));
    if (Math.fround(text) === value) return floatText(text);
  }
  return floatText(value);
}

/** numeric_send: Int16 groups, weight, sign, scale, then groups of four decimal digits. */
function numericText(bytes: Buffer): string | undefined {
  if (bytes.length < 8) return undefined;
  const groups = bytes.readUInt16BE(0);
  const weight = bytes.readInt16BE(2);
  const sign = bytes.readUInt16BE(4);
  const scale = bytes.readUInt16BE(6);
  if (sign === 0xc000) return 'NaN';
  if (sign === 0xd000) return 'Infinity';
  if (sign === 0xf000) return '-Infinity';
  if (bytes.length !== 8 + groups * 2 || (sign !== 0 && sign !== 0x4000) || scale > 16_383) return undefined;
  const digits = (group: number): string | undefined => {
    if (group < 0 || group >= groups) return '0000';
    const value = bytes.readUInt16BE(8 + group * 2);
    return value > 9_999 ? undefined : String(value).padStart(4, '0');
  };
  let whole = '';
  for (let i = 0; i <= weight; i++) {
    const four = digits(i);
    if (four === undefined) return undefined;
    whole += four;
  }
  let fraction = '';
  for (let i = weight + 1; fraction.length < scale; i++) {
    const four = digits(i);
    if (four === undefined) return undefined;
    fraction += four;
  }
  const text = whole.replace(/^0+(?=.)/, '') || '0';
  return `${sign === 0x4000 ? '-' : ''}${text}${scale === 0 ? '' : `.${fraction.slice(0, scale)}`}`;
}

function uuidText(bytes: Buffer): string {
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

const DAY_MICROS = 86_400_000_000n;
const EPOCH_DAYS = 10_957;
/** What JavaScript's Date holds. */
const MOST_DAYS = 100_000_000;
const INFINITE_DATE = 0x7fff_ffff;
const INFINITE_TIME = 0x7fff_ffff_ffff_ffffn;

function dateText(days: number): string | undefined {
  if (days === INFINITE_DATE) return 'infinity';
  if (days === -INFINITE_DATE - 1) return '-infinity';
  const since1970 = days + EPOCH_DAYS;
  if (Math.abs(since1970) > MOST_DAYS) return undefined;
  const date = new Date(since1970 * 86_400_000);
  const year = date.getUTCFullYear();
  const [, rest = ''] = /^[+-]?\d+(-\d\d-\d\d)/.exec(date.toISOString()) ?? [];
  // There is no year 0: the one before 1 is 1 BC.
  return year > 0 ? `${String(year).padStart(4, '0')}${rest}` : `${String(1 - year).padStart(4, '0')}${rest} BC`;
}

function timeText(micros: bigint): string | undefined {
  if (micros < 0n || micros > DAY_MICROS) return undefined;
  const two = (value: bigint): string => String(value).padStart(2, '0');
  const seconds = micros / 1_000_000n;
  const fraction = micros % 1_000_000n;
  const clock = `${two(seconds / 3600n)}:${two((seconds / 60n) % 60n)}:${two(seconds % 60n)}`;
  return fraction === 0n ? clock : `${clock}.${String(fraction).padStart(6, '0').replace(/0+$/, '')}`;
}

function timestampText(micros: bigint, zone: string): string | undefined {
  if (micros === INFINITE_TIME) return 'infinity';
  if (micros === -INFINITE_TIME - 1n) return '-infinity';
  const inDay = ((micros % DAY_MICROS) + DAY_MICROS) % DAY_MICROS;
  const date = dateText(Number((micros - inDay) / DAY_MICROS));
  const time = timeText(inDay);
  if (date === undefined || time === undefined) return undefined;
  const [day = '', era = ''] = date.split(' ');
  return `${day} ${time}${zone}${era === '' ? '' : ` ${era}`}`;
}

/** array_send: dimensions, flags, element type, then per dimension length and lower bound, then the elements. One dimension only. */
function arrayText(bytes: Buffer, element: number): string | undefined {
  if (bytes.length < 12 || bytes.readInt32BE(8) !== element) return undefined;
  const dimensions = bytes.readInt32BE(0);
  if (dimensions === 0) return bytes.length === 12 ? '{}' : undefined;
  if (dimensions !== 1 || bytes.length < 20) return undefined;
  const count = bytes.readInt32BE(12);
  const shown: string[] = [];
  let at = 20;
  for (let i = 0; i < count; i++) {
    if (at + 4 > bytes.length) return undefined;
    const length = bytes.readInt32BE(at);
    at += 4;
    if (length === -1) {
      shown.push('NULL');
      continue;
    }
    if (length < 0 || at + length > bytes.length) return undefined;
    const text = binaryText(bytes.subarray(at, at + length), element);
    if (text === undefined) return undefined;
    shown.push(quotedElement(text));
    at += length;
  }
  return at === bytes.length && count >= 0 ? `{${shown.join(',')}}` : undefined;
}

/** As array_out writes it. */
function quotedElement(text: string): string {
  if (text !== '' && !/[{}",\\\s]/.test(text) && text.toUpperCase() !== 'NULL') return text;
  return `"${text.replaceAll(/["\\]/g, '\\$&')}"`;
}
