import type { Transform } from '../../policy/masking.ts';
import { binaryPartSeen, quotedPartSeen } from './containers.ts';
import { type ContentDetectors, SEARCH_LIMIT } from './detectors.ts';
import type { FieldMasks } from './fields.ts';
import { type JsonMasks, rewriteJson, transformJson } from './json.ts';
import { floatText, networkText, numericText, uuidText } from './numbers.ts';
import type { CountMask } from './port.ts';
import type { TextTransform } from './transforms.ts';
import { classify, type ValueClass } from './value-types.ts';

/** What is shown for one value that is not NULL: undefined as it is, null NULL, otherwise these bytes. */
export type ValueMask = (source: Buffer, start: number, end: number, count: CountMask) => Buffer | null | undefined;

/** As ValueMask, for a protected column: there is no way to show the value as it is. */
export type ColumnMask = (source: Buffer, start: number, end: number) => Buffer | null;

const NOTHING = null;
const BLANK = 0x20;
const BACKSLASH = 0x5c;
const JSONB_VERSION = Buffer.from([1]);

/** A protected column's transform for a type and format. What the type cannot hold becomes NULL. */
export function columnMask(
  transform: Transform,
  apply: TextTransform,
  typeOid: number,
  holdsText: boolean,
  format: 0 | 1,
): ColumnMask {
  if (transform.type === 'nullify') return () => null;
  switch (classify(typeOid, holdsText)) {
    case 'text':
      return apply;
    case 'paddedText':
      // Trailing blanks are padding: with them, the last characters would be blanks and tokens differ from those of text.
      return (source, start, end) => {
        let stop = end;
        while (stop > start && source[stop - 1] === BLANK) stop--;
        return apply(source, start, stop);
      };
    case 'bytea':
      if (format === 1) return apply;
      return (source, start, end) => {
        const bytes = byteaBytes(source, start, end);
        return bytes === undefined ? null : byteaText(apply(bytes, 0, bytes.length));
      };
    case 'json':
      return (source, start, end) => transformJson(source, start, end, { transform, apply });
    case 'jsonb':
      if (format === 0) return (source, start, end) => transformJson(source, start, end, { transform, apply });
      return (source, start, end) => {
        const shown = transformJson(source, Math.min(end, start + 1), end, { transform, apply });
        return shown === null ? null : Buffer.concat([JSONB_VERSION, shown]);
      };
    case 'xml':
    case 'smallInteger':
    case 'integer':
    case 'numeric':
    case 'float':
    case 'network':
    case 'uuid':
    case 'scalar':
    case 'textContainer':
    case 'container':
    case 'opaque':
      return () => NOTHING;
  }
}

/**
 * bytea in text format: hex, or the older escape format (PostgreSQL manual, section Binary Data Types). Undefined when it is neither:
 * what cannot be read must not be shown.
 */
function byteaBytes(source: Buffer, start: number, end: number): Buffer | undefined {
  if (source[start] === BACKSLASH && start + 1 < end && source[start + 1] === 0x78) {
    const bytes = Buffer.from(source.toString('latin1', start + 2, end), 'hex');
    return bytes.length * 2 === end - start - 2 ? bytes : undefined;
  }
  const bytes = Buffer.allocUnsafe(end - start);
  let length = 0;
  for (let at = start; at < end; at++) {
    const byte = source[at]!;
    if (byte !== BACKSLASH) bytes[length++] = byte;
    else if (at + 1 < end && source[at + 1] === BACKSLASH) {
      bytes[length++] = BACKSLASH;
      at++;
    } else {
      const octal = source.toString('latin1', at + 1, Math.min(end, at + 4));
      if (!/^[0-3][0-7]{2}$/.test(octal)) return undefined;
      bytes[length++] = Number.parseInt(octal, 8);
      at += 3;
    }
  }
  return bytes.subarray(0, length);
}

function byteaText(bytes: Buffer | null): Buffer | null {
  return bytes === null ? null : Buffer.from(`\\x${bytes.toString('hex')}`, 'latin1');
}

/** What is looked for in values that no column rule covers. */
export interface ContentMasks {
  readonly content: ContentDetectors | undefined;
  readonly fields: FieldMasks | undefined;
}

const OPEN_BRACE = 0x7b;
const OPEN_BRACKET = 0x5b;
const QUOTE = 0x22;

function looksLikeJson(source: Buffer, start: number, end: number): boolean {
  let at = start;
  while (at < end && source[at]! <= BLANK) at++;
  if (at >= end) return false;
  const first = source[at];
  return first === OPEN_BRACE || first === OPEN_BRACKET || first === QUOTE;
}

/** Content and fields of a text; a text that is JSON is also searched behind its escapes. */
function textMask(masks: ContentMasks): ValueMask {
  const json: JsonMasks = { root: masks.fields?.root, content: masks.content };
  return (source, start, end, count) => {
    if (looksLikeJson(source, start, end)) {
      const shown = rewriteJson(source, start, end, json, count);
      if (shown !== 'invalid') return shown;
    }
    return masks.content?.mask(source, start, end, count);
  };
}

function jsonMask(masks: ContentMasks): ValueMask {
  const json: JsonMasks = { root: masks.fields?.root, content: masks.content };
  return (source, start, end, count) => {
    const shown = rewriteJson(source, start, end, json, count);
    if (shown !== 'invalid') return shown;
    return masks.fields?.withhold(count) ?? null;
  };
}

function jsonbBinaryMask(masks: ContentMasks): ValueMask {
  const mask = jsonMask(masks);
  return (source, start, end, count) => {
    // A version that is not known could hold anything.
    if (end - start < 1 || source[start] !== 1) return null;
    const shown = mask(source, start + 1, end, count);
    return shown === undefined || shown === null ? shown : Buffer.concat([JSONB_VERSION, shown]);
  };
}

/** NULL when a detector finds anything: the type cannot show a replaced part. */
function nullIfFound(mask: ValueMask): ValueMask {
  return (source, start, end, count) => (mask(source, start, end, count) === undefined ? undefined : null);
}

function nullIfTextFound(
  mask: ValueMask,
  text: (source: Buffer, start: number, end: number) => string | undefined,
): ValueMask {
  return (source, start, end, count) => {
    const decoded = text(source, start, end);
    if (decoded === undefined) return undefined;
    const bytes = Buffer.from(decoded, 'latin1');
    return mask(bytes, 0, bytes.length, count) === undefined ? undefined : null;
  };
}

/** Bytes that need no quotes inside an array, a record or XML. */
const PLAIN = new Uint8Array(256);
for (const character of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*_.:@#-[]') {
  PLAIN[character.charCodeAt(0)] = 1;
}

/** Whether every byte that `shown` has and the original has not, is plain: approximated by the bytes that it adds. */
function staysWellFormed(source: Buffer, start: number, end: number, shown: Buffer): boolean {
  const balance = new Int32Array(256);
  for (let at = start; at < end; at++) balance[source[at]!]!++;
  for (const byte of shown) balance[byte]!--;
  for (let byte = 0; byte < 256; byte++) {
    if (PLAIN[byte] === 0 && balance[byte] !== 0 && STRUCTURE[byte] === 1) return false;
  }
  return balance.every((left, byte) => left >= 0 || PLAIN[byte] === 1);
}

/** Bytes that give arrays, records and XML their form: none may come or go by a replacement. */
const STRUCTURE = new Uint8Array(256);
for (const character of '{}(),"\\<>&;\'') STRUCTURE[character.charCodeAt(0)] = 1;

function containerTextMask(masks: ContentMasks, replaceable: boolean): ValueMask {
  const content = masks.content;
  const inner = textMask(masks);
  return (source, start, end, count) => {
    if (end - start > SEARCH_LIMIT) return null;
    const shown = content?.mask(source, start, end, count);
    if (shown === null) return null;
    if (shown !== undefined && (!replaceable || !staysWellFormed(source, start, end, shown))) return null;
    const [bytes, from, to] = shown === undefined ? [source, start, end] : [shown, 0, shown.length];
    const seen = (part: Buffer, a: number, b: number): boolean => inner(part, a, b, count) !== undefined;
    // What hides behind the escapes of a quoted part cannot be cut out of it.
    return quotedPartSeen(bytes, from, to, seen) ? null : shown;
  };
}

/** Numeric character references (XML 1.0 section 4.1), which can hide digits from the detectors. */
function xmlMask(masks: ContentMasks): ValueMask {
  const plain = containerTextMask(masks, true);
  return (source, start, end, count) => {
    const shown = plain(source, start, end, count);
    if (shown === null) return null;
    const text = shown?.toString('utf8') ?? source.toString('utf8', start, end);
    if (!text.includes('&#')) return shown;
    const decoded = text.replace(/&#(x[0-9a-fA-F]{1,6}|[0-9]{1,7});/g, (_, code: string) => {
      const point = code.startsWith('x') ? Number.parseInt(code.slice(1), 16) : Number.parseInt(code, 10);
      return point <= 0x10ffff ? String.fromCodePoint(point) : '\ufffd';
    });
    return masks.content?.maskText(decoded, count) === undefined ? shown : null;
  };
}

/** Below this no number has the digits of a card. */
const LEAST_LONG_NUMBER = 1_000_000_000_000;

function containerBinaryMask(masks: ContentMasks): ValueMask {
  const inner = textMask(masks);
  const least = masks.content?.hasPatterns === true ? 0 : LEAST_LONG_NUMBER;
  return (source, start, end, count) => {
    if (end - start > SEARCH_LIMIT) return null;
    const seen = (part: Buffer, a: number, b: number): boolean => {
      if (inner(part, a, b, count) !== undefined) return true;
      // jsonb inside: a version byte, then the text.
      return b - a > 1 && part[a] === 1 && inner(part, a + 1, b, count) !== undefined;
    };
    return binaryPartSeen(source, start, end, least, seen) ? null : undefined;
  };
}

function integerBinaryMask(content: ContentDetectors): ValueMask {
  const inner: ValueMask = nullIfTextFound(content.mask, (source, start, end) =>
    end - start === 8
      ? source.readBigInt64BE(start).toString()
      : String(source.readIntBE(start, Math.min(6, end - start))),
  );
  return (source, start, end, count) => {
    if (end === start) return undefined;
    if (!content.hasPatterns && end - start === 8) {
      const approximate = source.readInt32BE(start) * 4_294_967_296;
      if (approximate < LEAST_LONG_NUMBER - 4_294_967_296 && approximate > -LEAST_LONG_NUMBER) return undefined;
    }
    return inner(source, start, end, count);
  };
}

function floatTextMask(content: ContentDetectors): ValueMask {
  const asWritten = nullIfFound(content.mask);
  const asDigits = nullIfTextFound(content.mask, (source, start, end) =>
    floatText(Number(source.toString('latin1', start, end))),
  );
  return (source, start, end, count) => {
    const shown = asWritten(source, start, end, count);
    return shown === undefined ? asDigits(source, start, end, count) : shown;
  };
}

/**
 * How content detectors and field paths treat values of a type that no column rule covers.
 * @returns undefined when nothing could be found in such values: they need not be looked at
 */
export function contentMask(
  masks: ContentMasks,
  typeOid: number,
  holdsText: boolean,
  format: 0 | 1,
): ValueMask | undefined {
  if (masks.content === undefined && masks.fields === undefined) return undefined;
  const kind = classify(typeOid, holdsText);
  return (
    textual(masks, kind, format) ?? (masks.content === undefined ? undefined : numeric(masks.content, kind, format))
  );
}

function textual(masks: ContentMasks, kind: ValueClass, format: 0 | 1): ValueMask | undefined {
  switch (kind) {
    case 'text':
    case 'paddedText':
      return textMask(masks);
    case 'json':
      return jsonMask(masks);
    case 'jsonb':
      return format === 0 ? jsonMask(masks) : jsonbBinaryMask(masks);
    case 'xml':
      return xmlMask(masks);
    case 'bytea': {
      const inner = textMask(masks);
      if (format === 1) return inner;
      return (source, start, end, count) => {
        const bytes = byteaBytes(source, start, end);
        const shown = bytes === undefined ? null : inner(bytes, 0, bytes.length, count);
        return shown === undefined ? undefined : byteaText(shown);
      };
    }
    case 'textContainer':
      return format === 0 ? containerTextMask(masks, true) : containerBinaryMask(masks);
    case 'container':
      return format === 0 ? containerTextMask(masks, false) : containerBinaryMask(masks);
    case 'opaque':
      return format === 0 ? containerTextMask(masks, false) : () => null;
    case 'smallInteger':
    case 'integer':
    case 'numeric':
    case 'float':
    case 'network':
    case 'uuid':
    case 'scalar':
      return undefined;
  }
}

function numeric(content: ContentDetectors, kind: ValueClass, format: 0 | 1): ValueMask | undefined {
  const digits = content.has('CreditCard') || content.hasPatterns;
  switch (kind) {
    case 'smallInteger':
      if (!content.hasPatterns) return undefined;
      return format === 0 ? nullIfFound(content.mask) : integerBinaryMask(content);
    case 'integer':
      if (!digits) return undefined;
      return format === 0 ? nullIfFound(content.mask) : integerBinaryMask(content);
    case 'numeric':
      if (!digits) return undefined;
      return format === 0 ? nullIfFound(content.mask) : nullIfTextFound(content.mask, numericText);
    case 'float':
      if (!digits) return undefined;
      if (format === 0) return floatTextMask(content);
      return nullIfTextFound(content.mask, (source, start, end) =>
        end - start === 8 ? floatText(source.readDoubleBE(start)) : undefined,
      );
    case 'network':
      return format === 0 ? nullIfFound(content.mask) : nullIfTextFound(content.mask, networkText);
    case 'uuid':
      if (!content.hasPatterns) return undefined;
      return format === 0 ? nullIfFound(content.mask) : nullIfTextFound(content.mask, uuidText);
    case 'scalar':
    case 'text':
    case 'paddedText':
    case 'bytea':
    case 'json':
    case 'jsonb':
    case 'xml':
    case 'textContainer':
    case 'container':
    case 'opaque':
      return undefined;
  }
}
