import { isUtf8 } from 'node:buffer';
import type { ContentDetectors } from '../detectors.ts';
import { MaskError } from '../errors.ts';
import { ESCAPES, isHex4, isLiteralName, isNumber, SPACE, STOPS, WORD } from './json-grammar.ts';
import type { JsonRewriter, JsonRewriterOptions } from './json-options.ts';
import { JsonOutput } from './json-output.ts';
import { JsonScalars, mayBeDocument } from './json-scalars.ts';
import { replacementOf } from './json-values.ts';
import { JsonWindow } from './json-window.ts';
import type { JsonPlace } from './place.ts';
import { createUtf8Check, type Utf8Check } from './utf8.ts';

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
const errors = new Map<string, MaskError>();

/** One for each text: of the brackets in a text most begin no document, and an error with its stack costs more than all the search. */
function invalid(what: string): MaskError {
  let error = errors.get(what);
  if (error === undefined) {
    error = new MaskError('SPM009', what);
    errors.set(what, error);
  }
  return error;
}

/**
 * Masks a stream of JSON documents (RFC 8259; also NDJSON and RFC 7464) while it passes: what no mask is about goes on byte for byte, what
 * is replaced gets a value of its type. It reads every byte by the grammar, so that what comes out is always valid. Kept are: the place of
 * every open bracket, and the scalar that is being read where a mask looks at it.
 *
 * What the transform throws is a MaskError: SPM009 the stream is no JSON, SPM014 it is too large somewhere.
 */
export function createJsonRewriter(options: JsonRewriterOptions): JsonRewriter {
  return new StreamRewriter(options);
}

/** A class for the sake of speed: one for each body, and for each string that may hold a document. */
class StreamRewriter implements JsonRewriter {
  readonly #options: JsonRewriterOptions;
  readonly #content: ContentDetectors | undefined;
  readonly #single: boolean;
  readonly #window = new JsonWindow();
  readonly #out: JsonOutput;
  readonly #scalars: JsonScalars;

  /** Of every open bracket: its kind, its place, and of arrays the next index, of objects how many keys were replaced. */
  readonly #kinds: number[] = [];
  readonly #places: (JsonPlace | undefined)[] = [];
  readonly #counters: number[] = [];
  #depth = 0;
  #documents = 0;
  #state = TOP;
  /** Where the value stands that comes next. */
  #place: JsonPlace | undefined;

  #reading = NOTHING;
  #mode = PASS;
  #isKey = false;
  #escaped = false;
  /** Where the token begins that is being read. */
  #token = 0;

  /** Depth of the value that is dropped or collected; -1 when none is. */
  #inside = -1;
  #whole: ((value: Buffer) => Buffer) | undefined;

  /** Made where a chunk ends inside a character, or is not UTF-8. */
  #utf8: Utf8Check | undefined;
  #begun = false;
  #rest: number | undefined;

  constructor(options: JsonRewriterOptions) {
    this.#options = options;
    this.#content = options.content;
    this.#single = options.single === true;
    this.#out = new JsonOutput(options.limits.whole);
    this.#scalars = new JsonScalars(options, this.#window, this.#out);
  }

  get rest(): number | undefined {
    return this.#rest;
  }

  write(chunk: Buffer): Buffer | undefined {
    if (chunk.length === 0) return undefined;
    if (this.#options.anyBytes !== true) this.#checkUtf8(chunk);
    const window = this.#window;
    window.append(chunk);
    const out = this.#out;
    out.copied = 0;
    out.begin(window.bytes);
    if (!this.#begun && !this.#begin()) {
      window.keep(0);
      return undefined;
    }
    this.#run();
    if (this.#single && this.#documents > 0) {
      out.flush(window.at);
      this.#rest = window.end - window.at;
      window.drop();
      return out.take();
    }
    if (this.#mode === SKIP && this.#reading === STRING) out.copied = window.at;
    const held = this.#reading === WORDS || (this.#reading === STRING && this.#mode === HOLD) ? this.#token : window.at;
    out.flush(held);
    window.keep(held);
    this.#token -= held;
    return out.take();
  }

  end(): Buffer | undefined {
    const window = this.#window;
    const out = this.#out;
    window.finish();
    out.copied = 0;
    out.begin(window.bytes);
    if (this.#reading === WORDS && this.#depth === 0) {
      this.#endWord();
      out.flush(window.at);
    }
    const whole = this.#utf8?.end() ?? true;
    if (!whole || this.#reading !== NOTHING || this.#state !== TOP || window.at < window.end)
      throw invalid('it ends too early');
    return out.take();
  }

  #checkUtf8(chunk: Buffer): void {
    if (this.#utf8 === undefined && isUtf8(chunk)) return;
    this.#utf8 ??= createUtf8Check();
    if (!this.#utf8.push(chunk)) throw invalid('bytes that are not UTF-8');
  }

  /** A BOM is no JSON, and not passed on. @returns false while it cannot be told */
  #begin(): boolean {
    const { bytes, end } = this.#window;
    if (bytes[0] !== BOM[0]) this.#begun = true;
    else if (end < BOM.length && BOM.compare(bytes, 0, end, 0, end) === 0) return false;
    else {
      this.#begun = true;
      if (end >= BOM.length && BOM.compare(bytes, 0, BOM.length, 0, BOM.length) === 0)
        this.#window.at = this.#out.copied = BOM.length;
    }
    return true;
  }

  /** Reads bytes[at, end) as far as it is there. */
  #run(): void {
    const window = this.#window;
    const { bytes, end } = window;
    for (;;) {
      if (this.#reading === STRING) {
        if (!this.#scanString()) return;
        this.#endString();
      } else if (this.#reading === WORDS) {
        if (!this.#scanWord()) return;
        this.#endWord();
      }
      if (this.#single && this.#documents > 0) return;
      let at = window.at;
      while (at < end && SPACE[bytes[at]!] === 1) at++;
      window.at = at;
      if (at >= end) return;
      const byte = bytes[at]!;
      switch (this.#state) {
        case TOP:
          if (byte === RECORD_SEPARATOR) {
            window.at++;
            continue;
          }
          if (this.#needsNext(byte)) return;
          this.#nextPlace();
          this.#beginValue(byte);
          continue;
        case VALUE_OR_END:
          if (byte === CLOSE_BRACKET) {
            this.#close(ARRAY);
            continue;
          }
          if (this.#needsNext(byte)) return;
          this.#nextPlace();
          this.#beginValue(byte);
          continue;
        case VALUE:
          if (this.#needsNext(byte)) return;
          if (this.#kinds[this.#depth - 1] === ARRAY) this.#nextPlace();
          this.#beginValue(byte);
          continue;
        case KEY_OR_END:
        case KEY:
          if (byte === QUOTE_BYTE) this.#beginString(true);
          else if (byte === CLOSE_BRACE && this.#state === KEY_OR_END) this.#close(OBJECT);
          else throw invalid('no key where one must be');
          continue;
        case COLON:
          if (byte !== COLON_BYTE) throw invalid('no colon behind a key');
          if (this.#places[this.#depth - 1]?.mask?.leaves === true) this.#place = this.#places[this.#depth - 1];
          this.#state = VALUE;
          window.at++;
          continue;
        default:
          if (byte === COMMA) {
            this.#state = this.#kinds[this.#depth - 1] === OBJECT ? KEY : VALUE;
            window.at++;
          } else this.#close(byte === CLOSE_BRACE ? OBJECT : byte === CLOSE_BRACKET ? ARRAY : 0);
      }
    }
  }

  /** What becomes of a string is decided by the byte behind its quote. */
  #needsNext(byte: number): boolean {
    return byte === QUOTE_BYTE && this.#window.at + 1 >= this.#window.end;
  }

  /** The place of a value in the innermost array, or of a document. */
  #nextPlace(): void {
    if (this.#inside >= 0) this.#place = undefined;
    else if (this.#depth === 0) this.#place = this.#options.root;
    else {
      const parent = this.#places[this.#depth - 1];
      const index = this.#counters[this.#depth - 1]!++;
      if (parent === undefined || parent.mask?.leaves === true) this.#place = parent;
      else this.#place = parent.stepIndex === undefined ? parent.step(String(index)) : parent.stepIndex(index);
    }
  }

  /** A value begins at `at`. */
  #beginValue(byte: number): void {
    if (this.#inside < 0 && this.#place !== undefined) this.#beginPlace(byte, this.#place);
    if (byte === OPEN_BRACE) this.#open(OBJECT, KEY_OR_END);
    else if (byte === OPEN_BRACKET) this.#open(ARRAY, VALUE_OR_END);
    else if (byte === QUOTE_BYTE) this.#beginString(false);
    else if (WORD[byte] === 1) {
      this.#token = this.#window.at;
      this.#reading = WORDS;
    } else throw invalid('an unexpected character');
  }

  /** What is replaced whole, or put together. */
  #beginPlace(byte: number, place: JsonPlace): void {
    const { mask, whole } = place;
    const { at } = this.#window;
    if (whole !== undefined) {
      this.#out.flush(at);
      this.#out.drop(true);
      this.#whole = whole;
      this.#inside = this.#depth;
    } else if (mask !== undefined && (byte === OPEN_BRACE || byte === OPEN_BRACKET) && mask.leaves !== true) {
      this.#out.replace(at, at, replacementOf(byte, mask));
      this.#scalars.count(mask);
      this.#out.drop(false);
      this.#inside = this.#depth;
    }
  }

  #open(kind: number, next: number): void {
    const depth = this.#depth;
    if (depth >= this.#options.limits.depth)
      throw new MaskError('SPM014', `nested more than ${this.#options.limits.depth} deep`);
    this.#kinds[depth] = kind;
    this.#places[depth] = this.#inside < 0 ? this.#place : undefined;
    this.#counters[depth] = 0;
    this.#depth = depth + 1;
    this.#state = next;
    this.#window.at++;
  }

  #close(kind: number): void {
    const depth = this.#depth - 1;
    if (this.#kinds[depth] !== kind) throw invalid('brackets that do not match');
    this.#depth = depth;
    this.#places[depth] = undefined;
    this.#window.at++;
    this.#endValue();
  }

  /** A value ended before `at`. */
  #endValue(): void {
    if (this.#depth > 0) this.#state = MORE_OR_END;
    else {
      this.#state = TOP;
      this.#documents++;
    }
    if (this.#depth !== this.#inside) return;
    this.#out.flush(this.#window.at);
    this.#inside = -1;
    const value = this.#out.resume();
    if (value !== undefined && this.#whole !== undefined) this.#out.append(this.#whole(value));
    this.#whole = undefined;
  }

  #beginString(key: boolean): void {
    this.#token = this.#window.at;
    this.#reading = STRING;
    this.#isKey = key;
    this.#escaped = false;
    this.#mode = this.#inside >= 0 ? PASS : key ? this.#keyMode() : this.#stringMode();
    this.#window.at++;
  }

  #keyMode(): number {
    return this.#places[this.#depth - 1] === undefined && this.#content === undefined ? PASS : HOLD;
  }

  #stringMode(): number {
    const place = this.#place;
    if (place?.mask !== undefined) return HOLD;
    if (this.#content !== undefined && place?.plain !== true) return HOLD;
    if (this.#options.nested !== undefined && mayBeDocument(this.#window.bytes[this.#token + 1]!)) return HOLD;
    return PASS;
  }

  /** @returns whether the string ends before `end`; then `at` is behind its quote */
  #scanString(): boolean {
    const window = this.#window;
    const { bytes, end } = window;
    let i = window.at;
    for (;;) {
      while (i < end && STOPS[bytes[i]!] === 0) i++;
      if (i >= end) break;
      const byte = bytes[i]!;
      if (byte === QUOTE_BYTE) {
        window.at = i + 1;
        return true;
      }
      if (byte !== BACKSLASH) throw invalid('a control character in a string');
      if (i + 1 >= end) break;
      this.#escaped = true;
      if (bytes[i + 1] === 0x75) {
        if (i + 6 > end) break;
        if (!isHex4(bytes, i + 2)) throw invalid('an escape that is none');
        i += 6;
      } else {
        if (ESCAPES[bytes[i + 1]!] === 0) throw invalid('an escape that is none');
        i += 2;
      }
    }
    window.at = i;
    const { limits } = this.#options;
    if (this.#mode === HOLD && i - this.#token > (this.#isKey ? limits.key : limits.scalar)) {
      if (this.#isKey) throw new MaskError('SPM014', `a key of more than ${limits.key} bytes`);
      // Too long to be looked at: its end is looked for, and all of it is replaced.
      this.#out.flush(this.#token);
      this.#out.append(this.#scalars.longText(this.#place));
      this.#mode = SKIP;
    }
    return false;
  }

  #endString(): void {
    this.#reading = NOTHING;
    if (this.#isKey) {
      this.#place = this.#mode === HOLD ? this.#endKey() : undefined;
      this.#state = COLON;
      return;
    }
    if (this.#mode === SKIP) this.#out.copied = this.#window.at;
    else if (this.#mode === HOLD) this.#scalars.text(this.#place, this.#token, this.#escaped);
    this.#endValue();
  }

  /** @returns the place of the value behind the key */
  #endKey(): JsonPlace | undefined {
    const depth = this.#depth - 1;
    if (this.#scalars.key(this.#counters[depth]!, this.#token, this.#escaped)) this.#counters[depth]!++;
    const parent = this.#places[depth];
    if (parent === undefined) return undefined;
    return this.#scalars.step(parent, this.#token, this.#escaped);
  }

  /** @returns whether the number or literal name ends before `end` */
  #scanWord(): boolean {
    const window = this.#window;
    const { bytes, end } = window;
    let at = window.at;
    while (at < end && WORD[bytes[at]!] === 1) at++;
    window.at = at;
    if (at - this.#token > LONGEST_WORD) throw new MaskError('SPM014', 'a number of thousands of digits');
    return at < end;
  }

  #endWord(): void {
    this.#reading = NOTHING;
    const { bytes, at } = this.#window;
    const token = this.#token;
    const first = bytes[token]!;
    const name = first === 0x74 || first === 0x66 || first === 0x6e;
    if (name && !isLiteralName(bytes, token, at)) throw invalid('an unknown word');
    if (!name && !isNumber(bytes, token, at)) throw invalid('a number that is none');
    if (this.#inside < 0) this.#scalars.word(this.#place, token);
    this.#endValue();
  }
}
