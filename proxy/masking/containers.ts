import { floatText, numericText } from './numbers.ts';

/**
 * Text inside arrays, records, ranges and types that are not known. Nothing here needs to know which of them a value is: every
 * place that could hold a text is offered to `seen`, which says whether it holds something protected.
 */
export type Seen = (bytes: Buffer, start: number, end: number) => boolean;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Quoted values inside quoted values: a record in an array in a record. Deeper ones count as protected. */
const MOST_NESTING = 8;

/**
 * Text format: the quoted parts, unescaped. Arrays escape with a backslash, records with a doubled quote or a backslash (PostgreSQL
 * manual, sections Array Input and Output Syntax and Composite Type Input and Output Syntax); both are undone.
 */
export function quotedPartSeen(source: Buffer, start: number, end: number, seen: Seen, nesting = 0): boolean {
  let at = start;
  while (at < end) {
    if (source[at] !== QUOTE) {
      at++;
      continue;
    }
    const from = at + 1;
    const to = endOfQuoted(source, from, end);
    at = to + 1;
    const part = unquote(source, from, to);
    if (seen(part, 0, part.length)) return true;
    if (part.length === to - from) continue;
    if (nesting === MOST_NESTING || quotedPartSeen(part, 0, part.length, seen, nesting + 1)) return true;
  }
  return false;
}

/** Where the quote stands that closes the part, or the end of the value. */
function endOfQuoted(source: Buffer, from: number, end: number): number {
  let at = from;
  while (at < end) {
    const byte = source[at]!;
    if (byte === BACKSLASH) at++;
    else if (byte === QUOTE) {
      if (at + 1 >= end || source[at + 1] !== QUOTE) return at;
      at++;
    }
    at++;
  }
  return end;
}

/** Shorter than the part exactly when there was something to undo. */
function unquote(source: Buffer, from: number, to: number): Buffer {
  const part = Buffer.allocUnsafe(to - from);
  let length = 0;
  for (let at = from; at < to; at++) {
    const byte = source[at]!;
    if ((byte === BACKSLASH || byte === QUOTE) && at + 1 < to) at++;
    part[length++] = source[at]!;
  }
  return part.subarray(0, length);
}

/** No text shorter than this is looked for inside binary containers. */
const SHORTEST = 3;

/**
 * Binary format: arrays, records, ranges and hstore all put an Int32 length before each value, so whatever stands behind a plausible
 * length, and has no zero byte (text never has), is offered as text; eight bytes as int8 and float8; and what has the shape of a
 * numeric as that; numbers only from `least` on. The length must be looked for, not only text runs: its own last byte may look like one more digit.
 */
export function binaryPartSeen(source: Buffer, start: number, end: number, least: number, seen: Seen): boolean {
  if (seen(source, start, end)) return true;
  const offer = (text: string): boolean => {
    const bytes = Buffer.from(text, 'latin1');
    return seen(bytes, 0, bytes.length);
  };
  for (let at = start; at + 4 + SHORTEST <= end; at++) {
    const length = source.readInt32BE(at);
    const from = at + 4;
    const to = from + length;
    if (length < SHORTEST || to > end) continue;
    if (length === 8) {
      const integer = source.readBigInt64BE(from);
      if ((integer >= least || integer <= -least) && offer(integer.toString())) return true;
      const float = source.readDoubleBE(from);
      if (Math.abs(float) >= least && offer(floatText(float))) return true;
    }
    if (length >= 8 && length <= 136) {
      const numeric = numericText(source, from, to);
      if (numeric !== undefined && offer(numeric)) return true;
    }
    if (!hasZero(source, from, to) && seen(source, from, to)) return true;
  }
  return false;
}

function hasZero(source: Buffer, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (source[at] === 0) return true;
  return false;
}
