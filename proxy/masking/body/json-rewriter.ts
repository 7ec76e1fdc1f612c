import type { ContentDetectors } from '../detectors.ts';
import { MaskError } from '../errors.ts';
import type { CountMask } from '../port.ts';
import { isMaskToken } from '../token-format.ts';
import { ESCAPES, isHex4, isLiteralName, isNumber, STOPS, WORD } from './json-grammar.ts';
import { maskText, NULL, quote, replacementOf, unquote, withheldText, ZERO } from './json-values.ts';
import { keyName } from './key-names.ts';
import type { JsonPlace } from './place.ts';
import type { BodyLimits, BodyTransform } from './port.ts';
import { createUtf8Check } from './utf8.ts';

export type JsonLimits = Pick<BodyLimits, 'scalar' | 'key' | 'depth'> & {
  /** Longest value that is put together for `JsonPlace.whole`. Bytes. */
  readonly whole: number;
};

export interface JsonRewriterOptions {
  readonly root: JsonPlace | undefined;
  /** What is looked for in every string, key and number that no mask of its place covers. */
  readonly content: ContentDetectors | undefined;
  readonly count: CountMask;
  readonly limits: JsonLimits;
  /**
   * A string that may hold a document of its own: what is shown instead of its text, undefined for the same; 'no document' when it is none
   * and is searched as text.
   */
  readonly nested: ((text: Buffer, place: JsonPlace | undefined) => Buffer | undefined | 'no document') | undefined;
  /** In place of a string that is too long to be looked into for documents. */
  readonly withheld: Buffer;
  /** Bytes in strings need not be UTF-8. */
  readonly anyBytes?: boolean;
  /** Stops behind the first document; numbers and words alone are no document then. */
  readonly single?: boolean;
}

export interface JsonRewriter extends BodyTransform {
  /** With `single`: how many bytes of the last chunk stand behind the document; undefined while it goes on. */
  readonly rest: number | undefined;
}

/** What the grammar expects next. */
const VALUE = 0;
const VALUE_OR_END = 1;
const KEY_OR_END = 2;
const KEY = 3;
const COLON = 4;
const MORE_OR_END = 5;
/** Between the documents of a stream. */
const TOP = 6;

/** What is being read. */
const NOTHING = 0;
const STRING = 1;
const WORDS = 2;

/** What becomes of the string that is being read. */
const PASS = 0;
const HOLD = 1;
const SKIP = 2;

const QUOTE_BYTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const COMMA = 0x2c;
const COLON_BYTE = 0x3a;
const RECORD_SEPARATOR = 0x1e;
const OBJECT = 1;
const ARRAY = 2;
/** Longest number. */
const LONGEST_WORD = 4096;
const BOM = Buffer.from([0xef, 0xbb, 0xbf]);
const INDICES = Array.from({ length: 256 }, (_, index) => String(index));

function indexName(index: number): string {
  return INDICES[index] ?? String(index);
}

function invalid(what: string): MaskError {
  return new MaskError('SPM009', what);
}

/** Whether a string that begins like this (the byte behind its quote) may hold a document: a bracket, blanks, an escape, a string. */
function mayBeDocument(byte: number): boolean {
  return (
    byte === OPEN_BRACE ||
    byte === OPEN_BRACKET ||
    byte === QUOTE_BYTE ||
    byte <= 0x20 ||
    byte === BACKSLASH ||
    byte === 0xef
  );
}

/**
 * Masks a stream of JSON documents (RFC 8259; also NDJSON and RFC 7464) while it passes: what no mask is about goes on byte for byte, what
 * is replaced gets a value of its type. It reads every byte by the grammar, so that what comes out is always valid. Kept are: the place of
 * every open bracket, and the scalar that is being read where a mask looks at it.
 *
 * What the transform throws is a MaskError: SPM009 the stream is no JSON, SPM014 it is too large somewhere.
 */
export function createJsonRewriter(options: JsonRewriterOptions): JsonRewriter {
  const { root, content, count, limits, nested, single = false, anyBytes = false } = options;
  const utf8 = createUtf8Check();

  const kinds = new Uint8Array(limits.depth + 1);
  const places: (JsonPlace | undefined)[] = [];
  /** Of arrays the next index, of objects how many keys were replaced. */
  const counters: number[] = [];
  let depth = 0;
  let documents = 0;
  let state = TOP;
  /** Where the value stands that comes next. */
  let place: JsonPlace | undefined;

  let bytes: Buffer = BOM;
  let end = 0;
  let at = 0;
  /** Bytes before it went out, or were replaced. */
  let copied = 0;
  let out: Buffer[] = [];

  let reading = NOTHING;
  let mode = PASS;
  let isKey = false;
  let escaped = false;
  /** Where the token begins that is being read. */
  let token = 0;

  /** Depth of the value that is dropped or collected; beyond any depth when none is. */
  let inside = -1;
  let collected: Buffer[] | undefined;
  let collectedBytes = 0;
  let collecting: JsonPlace | undefined;

  let kept: Buffer | undefined;
  let begun = false;
  let rest: number | undefined;

  /** Lets bytes[copied, to) out. */
  function flush(to: number): void {
    if (to <= copied) return;
    if (inside < 0) out.push(bytes.subarray(copied, to));
    else if (collected !== undefined) {
      collectedBytes += to - copied;
      if (collectedBytes > limits.whole) throw new MaskError('SPM014', `an object of more than ${limits.whole} bytes`);
      collected.push(Buffer.from(bytes.subarray(copied, to)));
    }
    copied = to;
  }

  function replace(from: number, to: number, by: Buffer): void {
    flush(from);
    out.push(by);
    copied = to;
  }

  /** A value begins at `at`. */
  function beginValue(byte: number): void {
    if (inside < 0 && place !== undefined) {
      if (place.whole !== undefined) {
        flush(at);
        inside = depth;
        collected = [];
        collectedBytes = 0;
        collecting = place;
      } else if (
        place.mask !== undefined &&
        (byte === OPEN_BRACE || byte === OPEN_BRACKET) &&
        place.mask.leaves !== true
      ) {
        replace(at, at, replacementOf(byte, place.mask));
        for (const rule of place.mask.rules) count(rule);
        inside = depth;
      }
    }
    if (byte === OPEN_BRACE) open(OBJECT, KEY_OR_END);
    else if (byte === OPEN_BRACKET) open(ARRAY, VALUE_OR_END);
    else if (byte === QUOTE_BYTE) beginString(false);
    else if (WORD[byte] === 1) {
      token = at;
      reading = WORDS;
    } else throw invalid('an unexpected character');
  }

  function open(kind: number, next: number): void {
    if (depth >= limits.depth) throw new MaskError('SPM014', `nested more than ${limits.depth} deep`);
    kinds[depth] = kind;
    places[depth] = inside < 0 ? place : undefined;
    counters[depth] = 0;
    depth++;
    state = next;
    at++;
  }

  function close(kind: number): void {
    if (kinds[depth - 1] !== kind) throw invalid('brackets that do not match');
    depth--;
    places[depth] = undefined;
    at++;
    endValue();
  }

  /** A value ended before `at`. */
  function endValue(): void {
    state = depth === 0 ? TOP : MORE_OR_END;
    if (depth === 0) documents++;
    if (depth !== inside) return;
    flush(at);
    inside = -1;
    if (collected === undefined) return;
    const value = Buffer.concat(collected);
    const whole = collecting?.whole;
    collected = undefined;
    collecting = undefined;
    if (whole !== undefined) out.push(whole(value));
  }

  function beginString(key: boolean): void {
    token = at;
    reading = STRING;
    isKey = key;
    escaped = false;
    mode = inside >= 0 ? PASS : key ? keyMode() : stringMode();
    at++;
  }

  function keyMode(): number {
    return places[depth - 1] === undefined && content === undefined ? PASS : HOLD;
  }

  function stringMode(): number {
    if (place?.mask !== undefined) return HOLD;
    if (content !== undefined && place?.plain !== true) return HOLD;
    if (nested !== undefined && mayBeDocument(bytes[at + 1]!)) return HOLD;
    return PASS;
  }

  /** @returns whether the string ends before `end`; then `at` is behind its quote */
  function scanString(): boolean {
    let i = at;
    for (;;) {
      while (i < end && STOPS[bytes[i]!] === 0) i++;
      if (i >= end) break;
      const byte = bytes[i]!;
      if (byte === QUOTE_BYTE) {
        at = i + 1;
        return true;
      }
      if (byte !== BACKSLASH) throw invalid('a control character in a string');
      if (i + 1 >= end) break;
      escaped = true;
      if (bytes[i + 1] === 0x75) {
        if (i + 6 > end) break;
        if (!isHex4(bytes, i + 2)) throw invalid('an escape that is none');
        i += 6;
      } else {
        if (ESCAPES[bytes[i + 1]!] === 0) throw invalid('an escape that is none');
        i += 2;
      }
    }
    at = i;
    if (mode === HOLD && i - token > (isKey ? limits.key : limits.scalar)) {
      if (isKey) throw new MaskError('SPM014', `a key of more than ${limits.key} bytes`);
      // Too long to be looked at: its end is looked for, and all of it is replaced.
      flush(token);
      out.push(longText());
      mode = SKIP;
    }
    return false;
  }

  function longText(): Buffer {
    if (place?.mask !== undefined) {
      for (const rule of place.mask.rules) count(rule);
      return withheldText(place.mask);
    }
    if (content === undefined) return options.withheld;
    const shown = content.withhold(count);
    return shown === null ? NULL : quote(shown);
  }

  function endString(): void {
    reading = NOTHING;
    if (isKey) {
      place = mode === HOLD ? endKey() : undefined;
      state = COLON;
      return;
    }
    if (mode === SKIP) copied = at;
    else if (mode === HOLD) {
      const shown = shownText();
      if (shown !== undefined) replace(token, at, shown);
    }
    endValue();
  }

  /** The literal to show in place of the string that was read, undefined for the same. */
  function shownText(): Buffer | undefined {
    if (place?.mask !== undefined) {
      for (const rule of place.mask.rules) count(rule);
      return maskText(unquote(bytes, token, at, escaped), place.mask);
    }
    if (nested !== undefined && at - token > 3 && mayBeDocument(bytes[token + 1]!)) {
      const text = unquote(bytes, token, at, escaped);
      const shown = mayBeDocument(text[0]!) ? nested(text, place) : 'no document';
      if (shown !== 'no document') return shown === undefined ? undefined : quote(shown);
    }
    if (content === undefined || place?.plain === true) return undefined;
    const shown = found(content);
    return shown === null ? NULL : shown === undefined ? undefined : quote(shown);
  }

  /** What content finds in the string that was read. */
  function found(by: ContentDetectors): Buffer | null | undefined {
    if (!escaped) return by.mask(bytes, token + 1, at - 1, count);
    const text = unquote(bytes, token, at, true);
    return by.mask(text, 0, text.length, count);
  }

  /** @returns the place of the value behind the key */
  function endKey(): JsonPlace | undefined {
    const parent = places[depth - 1];
    const shown = content === undefined ? undefined : found(content);
    if (shown !== undefined) {
      const name = shown?.toString('utf8') ?? '';
      const before = counters[depth - 1]!++;
      // Two keys that look the same would be one to the client; tokens differ by themselves.
      const unlike = before === 0 || isMaskToken(name) ? name : `${name}~${before + 1}`;
      replace(token, at, Buffer.from(JSON.stringify(unlike)));
    }
    if (parent === undefined) return undefined;
    return parent.step(escaped ? unquote(bytes, token, at, true).toString('utf8') : keyName(bytes, token + 1, at - 1));
  }

  /** @returns whether the number or literal name ends before `end` */
  function scanWord(): boolean {
    while (at < end && WORD[bytes[at]!] === 1) at++;
    if (at - token > LONGEST_WORD) throw new MaskError('SPM014', 'a number of thousands of digits');
    return at < end;
  }

  function endWord(): void {
    reading = NOTHING;
    const first = bytes[token]!;
    if (first === 0x74 || first === 0x66 || first === 0x6e) {
      if (!isLiteralName(bytes, token, at)) throw invalid('an unknown word');
      if (inside < 0 && place?.mask !== undefined) replaceScalar(first);
    } else {
      if (!isNumber(bytes, token, at)) throw invalid('a number that is none');
      if (inside < 0 && place?.mask !== undefined) replaceScalar(first);
      else if (inside < 0 && content !== undefined && place?.plain !== true) {
        const shown = content.mask(bytes, token, at, count);
        if (shown !== undefined) replace(token, at, shown === null ? NULL : ZERO);
      }
    }
    endValue();
  }

  function replaceScalar(first: number): void {
    const mask = place?.mask;
    if (mask === undefined || first === 0x6e) return;
    replace(token, at, replacementOf(first, mask));
    for (const rule of mask.rules) count(rule);
  }

  /** The place of a value in the innermost array, or of a document. */
  function nextPlace(): void {
    if (inside >= 0) place = undefined;
    else if (depth === 0) place = root;
    else {
      const parent = places[depth - 1];
      const index = counters[depth - 1]!++;
      place = parent?.mask?.leaves === true ? parent : parent?.step(indexName(index));
    }
  }

  /** Reads bytes[at, end) as far as it is there. */
  function run(): void {
    for (;;) {
      if (reading === STRING) {
        if (!scanString()) return;
        endString();
      } else if (reading === WORDS) {
        if (!scanWord()) return;
        endWord();
      }
      if (single && documents > 0) return;
      if (at >= end) return;
      const byte = bytes[at]!;
      if (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) {
        at++;
        continue;
      }
      switch (state) {
        case TOP:
          if (byte === RECORD_SEPARATOR) {
            at++;
            continue;
          }
          if (needsNext(byte)) return;
          nextPlace();
          beginValue(byte);
          continue;
        case VALUE_OR_END:
          if (byte === CLOSE_BRACKET) {
            close(ARRAY);
            continue;
          }
          if (needsNext(byte)) return;
          nextPlace();
          beginValue(byte);
          continue;
        case VALUE:
          if (needsNext(byte)) return;
          if (kinds[depth - 1] === ARRAY) nextPlace();
          beginValue(byte);
          continue;
        case KEY_OR_END:
        case KEY:
          if (byte === QUOTE_BYTE) beginString(true);
          else if (byte === CLOSE_BRACE && state === KEY_OR_END) close(OBJECT);
          else throw invalid('no key where one must be');
          continue;
        case COLON:
          if (byte !== COLON_BYTE) throw invalid('no colon behind a key');
          if (places[depth - 1]?.mask?.leaves === true) place = places[depth - 1];
          state = VALUE;
          at++;
          continue;
        default:
          if (byte === COMMA) {
            state = kinds[depth - 1] === OBJECT ? KEY : VALUE;
            at++;
          } else close(byte === CLOSE_BRACE ? OBJECT : byte === CLOSE_BRACKET ? ARRAY : 0);
      }
    }
  }

  /** What becomes of a string is decided by the byte behind its quote. */
  function needsNext(byte: number): boolean {
    return byte === QUOTE_BYTE && at + 1 >= end;
  }

  /** A BOM is no JSON, and not passed on. @returns false while it cannot be told */
  function begin(): boolean {
    if (end < BOM.length && BOM.compare(bytes, 0, end, 0, end) === 0) return false;
    begun = true;
    if (end >= BOM.length && BOM.compare(bytes, 0, BOM.length, 0, BOM.length) === 0) at = copied = BOM.length;
    return true;
  }

  function keep(from: number): void {
    if (from >= end) {
      kept = undefined;
      return;
    }
    if (bytes !== kept || from > 0) {
      const rest = bytes.subarray(from, end);
      // Nothing of it was given out, so that it may grow in place from here on.
      kept = Buffer.allocUnsafeSlow(Math.max(64, rest.length * 2));
      rest.copy(kept);
    }
    end -= from;
    at -= from;
    token -= from;
    copied = 0;
  }

  function append(chunk: Buffer): void {
    if (kept === undefined) {
      bytes = chunk;
      at = copied = 0;
      end = chunk.length;
      return;
    }
    if (end + chunk.length > kept.length) {
      const grown = Buffer.allocUnsafeSlow((end + chunk.length) * 2);
      kept.copy(grown, 0, 0, end);
      kept = grown;
    }
    chunk.copy(kept, end);
    bytes = kept;
    end += chunk.length;
  }

  function result(): Buffer | undefined {
    const made = out;
    out = [];
    return made.length === 0 ? undefined : made.length === 1 ? made[0] : Buffer.concat(made);
  }

  return {
    get rest() {
      return rest;
    },
    write(chunk) {
      if (chunk.length === 0) return undefined;
      if (!anyBytes && !utf8.push(chunk)) throw invalid('bytes that are not UTF-8');
      append(chunk);
      if (!begun && !begin()) {
        keep(0);
        return undefined;
      }
      run();
      if (single && documents > 0) {
        flush(at);
        rest = end - at;
        kept = undefined;
        return result();
      }
      if (mode === SKIP && reading === STRING) copied = at;
      const held = reading === WORDS || (reading === STRING && mode === HOLD) ? token : at;
      flush(held);
      keep(held);
      return result();
    },
    end() {
      if (kept === undefined) {
        bytes = BOM;
        at = copied = end = 0;
      } else bytes = kept;
      if (reading === WORDS && depth === 0) {
        endWord();
        flush(at);
      }
      if (!utf8.end() || reading !== NOTHING || state !== TOP || at < end) throw invalid('it ends too early');
      return result();
    },
  };
}
