import { isUtf8 } from 'node:buffer';
import { floatText, networkText, numericText, uuidText } from '../../../masking/numbers.ts';

/** One bound value in words that a person can read: text where that is certain, hexadecimal with its type where it is not. */
export interface ReadValue {
  /** Undefined: bytes that are not read here, shown by `hex`. */
  readonly text: string | undefined;
  readonly hex: string;
  /** Type OID; 0: not known. */
  readonly type: number;
}

const NUMERIC_SPECIAL = 0xc000;
/** Days and microseconds from 1970 to 2000, from which the server counts. */
const EPOCH_DAYS = 10_957;
const EPOCH_MICROS = 946_684_800_000_000n;
/** The years that JavaScript's dates and the server's agree on without thinking of eras. */
const MOST_MICROS = 200_000_000_000_000_000n;

type Decode = (bytes: Buffer) => string | undefined;

const fixed =
  (length: number, decode: (bytes: Buffer) => string | undefined): Decode =>
  (bytes) =>
    bytes.length === length ? decode(bytes) : undefined;

const asText: Decode = (bytes) => (isUtf8(bytes) ? bytes.toString('utf8') : undefined);

/** `2026-01-31T12:00:00.000001`, without zone. Undefined for infinity and for years far away. */
function timestampText(micros: bigint): string | undefined {
  if (micros > MOST_MICROS || micros < -EPOCH_MICROS) return undefined;
  const since = micros + EPOCH_MICROS;
  const fraction = ((since % 1_000_000n) + 1_000_000n) % 1_000_000n;
  const seconds = (since - fraction) / 1_000_000n;
  const whole = new Date(Number(seconds) * 1000).toISOString().slice(0, 19).replace('T', ' ');
  return fraction === 0n ? whole : `${whole}.${String(fraction).padStart(6, '0')}`;
}

/** Binary formats of the common types (the `_send` functions of src/backend/utils/adt), by OID of pg_type.dat. */
const BINARY: ReadonlyMap<number, Decode> = new Map<number, Decode>([
  [16, fixed(1, (bytes) => (bytes[0] === 0 ? 'false' : 'true'))],
  [17, (bytes) => `\\x${bytes.toString('hex')}`],
  [19, asText],
  [20, fixed(8, (bytes) => bytes.readBigInt64BE(0).toString())],
  [21, fixed(2, (bytes) => String(bytes.readInt16BE(0)))],
  [23, fixed(4, (bytes) => String(bytes.readInt32BE(0)))],
  [25, asText],
  [26, fixed(4, (bytes) => String(bytes.readUInt32BE(0)))],
  [114, asText],
  [650, (bytes) => networkText(bytes, 0, bytes.length)],
  [700, fixed(4, (bytes) => floatText(bytes.readFloatBE(0)))],
  [701, fixed(8, (bytes) => floatText(bytes.readDoubleBE(0)))],
  [705, asText],
  [1042, asText],
  [1043, asText],
  [
    1082,
    fixed(4, (bytes) => {
      const days = bytes.readInt32BE(0);
      if (days < -EPOCH_DAYS || days > 2_000_000) return undefined;
      return new Date((days + EPOCH_DAYS) * 86_400_000).toISOString().slice(0, 10);
    }),
  ],
  [1114, fixed(8, (bytes) => timestampText(bytes.readBigInt64BE(0)))],
  [
    1184,
    fixed(8, (bytes) => {
      const text = timestampText(bytes.readBigInt64BE(0));
      return text === undefined ? undefined : `${text}+00`;
    }),
  ],
  [
    1700,
    (bytes) =>
      bytes.length < 8 || (bytes.readUInt16BE(4) & NUMERIC_SPECIAL) === NUMERIC_SPECIAL
        ? undefined
        : numericText(bytes, 0, bytes.length),
  ],
  [2950, fixed(16, (bytes) => uuidText(bytes, 0, 16))],
  [3802, (bytes) => (bytes[0] === 1 ? asText(bytes.subarray(1)) : undefined)],
]);

/** @param type OID of the parameter, 0 when it is not known; @param format 0 text, 1 binary */
export function readValue(value: Uint8Array, format: 0 | 1, type: number): ReadValue {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  const text = format === 0 ? asText(bytes) : BINARY.get(type)?.(bytes);
  return { text, hex: bytes.toString('hex'), type };
}

/** As SQL would write it: what an approver reads in the place of `$1`. */
export function writtenValue(read: ReadValue): string {
  if (read.text !== undefined) return `'${read.text.replaceAll("'", "''")}'`;
  const type = read.type === 0 ? 'of a type that is not known' : `of the type with OID ${read.type}`;
  return `'\\x${read.hex}' /* binary, ${type} */`;
}
