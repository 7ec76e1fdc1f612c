import type { Transform } from '../../policy/masking.ts';
import type { ContentDetectors } from './detectors.ts';
import type { PathNode } from './fields.ts';
import type { CountMask } from './port.ts';
import { type TextTransform, wholeReplacement } from './transforms.ts';

/** Nesting beyond this is not followed: the walk is recursive. */
const MOST_DEPTH = 500;
/** Bytes beyond which a document is withheld rather than walked. */
export const JSON_LIMIT = 16 * 1024 * 1024;

/** Thrown inside this file only. */
const NOT_JSON = Symbol('not JSON');

/** A compiled transform and what it is. */
export interface JsonTransform {
  readonly transform: Transform;
  readonly apply: TextTransform;
}

/** What the walk does at each value; both may be absent. */
export interface JsonMasks {
  /** Where the field paths begin. */
  readonly root: PathNode | undefined;
  readonly content: ContentDetectors | undefined;
}

const NULL = Buffer.from('null', 'latin1');
const HIDDEN_KEY = Buffer.from('"***"', 'latin1');

function quote(text: Buffer): Buffer {
  return Buffer.from(JSON.stringify(text.toString('utf8')), 'utf8');
}

/** The text of a JSON string literal, quotes included in the range. @throws NOT_JSON */
function decodeString(source: Buffer, start: number, end: number, escaped: boolean): Buffer {
  if (!escaped) return source.subarray(start + 1, end - 1);
  try {
    const text: unknown = JSON.parse(source.toString('utf8', start, end));
    return Buffer.from(String(text), 'utf8');
  } catch {
    throw NOT_JSON;
  }
}

/**
 * What is shown for one JSON value, as JSON text; null for JSON's null. Strings are transformed by their text, so that they give the
 * same token as a text column; numbers by their digits; anything else is replaced whole.
 */
function replaceValue(source: Buffer, start: number, end: number, by: JsonTransform): Buffer | null {
  const first = source[start]!;
  let shown: Buffer | null;
  if (first === QUOTE) {
    const text = decodeString(source, start, end, source.subarray(start, end).includes(BACKSLASH));
    shown = by.apply(text, 0, text.length);
  } else if (first === MINUS || isDigit(first) || by.transform.type === 'tokenize') {
    shown = by.apply(source, start, end);
  } else {
    shown = wholeReplacement(by.transform);
  }
  return shown === null ? null : quote(shown);
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const MINUS = 0x2d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const COMMA = 0x2c;
const COLON = 0x3a;

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

/** One pass over a document: keeps the bytes between replacements as they are. */
class JsonWalk {
  readonly #source: Buffer;
  readonly #end: number;
  readonly #content: ContentDetectors | undefined;
  readonly #count: CountMask;
  #at: number;
  #copied: number;
  readonly #parts: Buffer[] = [];

  constructor(source: Buffer, start: number, end: number, content: ContentDetectors | undefined, count: CountMask) {
    this.#source = source;
    this.#at = start;
    this.#copied = start;
    this.#end = end;
    this.#content = content;
    this.#count = count;
  }

  /** The rewritten document, or undefined when nothing changed. @throws NOT_JSON */
  run(root: PathNode | undefined): Buffer | undefined {
    this.#value(root, 0);
    this.#space();
    if (this.#at !== this.#end) throw NOT_JSON;
    if (this.#parts.length === 0) return undefined;
    this.#parts.push(this.#source.subarray(this.#copied, this.#end));
    return Buffer.concat(this.#parts);
  }

  /** Replaces the one value of a document. @throws NOT_JSON */
  runWhole(by: JsonTransform): Buffer | null {
    this.#space();
    const start = this.#at;
    this.#value(undefined, 0);
    const stop = this.#at;
    this.#space();
    if (this.#at !== this.#end) throw NOT_JSON;
    return replaceValue(this.#source, start, stop, by);
  }

  #space(): void {
    while (this.#at < this.#end) {
      const byte = this.#source[this.#at]!;
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
      this.#at++;
    }
  }

  #replace(from: number, to: number, by: Buffer): void {
    this.#parts.push(this.#source.subarray(this.#copied, from), by);
    this.#copied = to;
  }

  #value(node: PathNode | undefined, depth: number): void {
    if (depth > MOST_DEPTH) throw NOT_JSON;
    this.#space();
    const start = this.#at;
    const first = start < this.#end ? this.#source[start]! : 0;
    if (node?.mask !== undefined) {
      // Nothing inside is looked at again: the whole value goes. JSON's null says nothing and stays.
      const walk = new JsonWalk(this.#source, start, this.#end, undefined, this.#count);
      walk.#value(undefined, depth);
      this.#at = walk.#at;
      if (first === 0x6e) return;
      this.#replace(start, this.#at, replaceValue(this.#source, start, this.#at, node.mask) ?? NULL);
      for (const rule of node.mask.rules) this.#count(rule);
      return;
    }
    if (first === OPEN_BRACE) this.#object(node, depth);
    else if (first === OPEN_BRACKET) this.#array(node, depth);
    else if (first === QUOTE) this.#text(false);
    else if (first === MINUS || isDigit(first)) this.#number();
    else this.#literal();
  }

  #expect(byte: number): void {
    this.#space();
    if (this.#at >= this.#end || this.#source[this.#at] !== byte) throw NOT_JSON;
    this.#at++;
  }

  /** True when the comma of another element follows, false when `close` does. */
  #more(close: number): boolean {
    this.#space();
    const byte = this.#at < this.#end ? this.#source[this.#at++] : undefined;
    if (byte === COMMA) return true;
    if (byte === close) return false;
    throw NOT_JSON;
  }

  #empty(close: number): boolean {
    this.#space();
    if (this.#at >= this.#end || this.#source[this.#at] !== close) return false;
    this.#at++;
    return true;
  }

  #object(node: PathNode | undefined, depth: number): void {
    this.#at++;
    if (this.#empty(CLOSE_BRACE)) return;
    do {
      this.#space();
      const from = this.#at;
      const escaped = this.#text(true);
      const next = node === undefined ? undefined : this.#step(node, from, this.#at, escaped);
      this.#expect(COLON);
      this.#value(next, depth + 1);
    } while (this.#more(CLOSE_BRACE));
  }

  #step(node: PathNode, from: number, to: number, escaped: boolean): PathNode | undefined {
    return node.step(decodeString(this.#source, from, to, escaped).toString('utf8'));
  }

  #array(node: PathNode | undefined, depth: number): void {
    this.#at++;
    if (this.#empty(CLOSE_BRACKET)) return;
    let index = 0;
    do {
      this.#value(node?.step(String(index)), depth + 1);
      index++;
    } while (this.#more(CLOSE_BRACKET));
  }

  /** Reads one string, masks what the detectors find in it. Returns whether it holds escapes. */
  #text(key: boolean): boolean {
    const source = this.#source;
    const start = this.#at;
    if (start >= this.#end || source[start] !== QUOTE) throw NOT_JSON;
    let at = start + 1;
    let escaped = false;
    for (;;) {
      if (at >= this.#end) throw NOT_JSON;
      const byte = source[at]!;
      if (byte === QUOTE) break;
      if (byte < 0x20) throw NOT_JSON;
      if (byte === BACKSLASH) {
        escaped = true;
        at++;
      }
      at++;
    }
    this.#at = at + 1;
    if (this.#content === undefined) return escaped;
    let shown: Buffer | null | undefined;
    if (escaped) {
      const text = decodeString(source, start, at + 1, true);
      shown = this.#content.mask(text, 0, text.length, this.#count);
    } else {
      shown = this.#content.mask(source, start + 1, at, this.#count);
    }
    if (shown === null) this.#replace(start, at + 1, key ? HIDDEN_KEY : NULL);
    else if (shown !== undefined) this.#replace(start, at + 1, quote(shown));
    return escaped;
  }

  #number(): void {
    const source = this.#source;
    const start = this.#at;
    let at = start;
    while (at < this.#end) {
      const byte = source[at]!;
      // The server wrote it, so its grammar is not checked again: everything that numbers are made of belongs to it.
      if (!isDigit(byte) && byte !== MINUS && byte !== 0x2b && byte !== 0x2e && byte !== 0x65 && byte !== 0x45) break;
      at++;
    }
    this.#at = at;
    const shown = this.#content?.mask(source, start, at, this.#count);
    if (shown === null) this.#replace(start, at, NULL);
    else if (shown !== undefined) this.#replace(start, at, quote(shown));
  }

  #literal(): void {
    for (const word of LITERALS) {
      if (this.#at + word.length > this.#end) continue;
      if (this.#source.compare(word, 0, word.length, this.#at, this.#at + word.length) !== 0) continue;
      this.#at += word.length;
      return;
    }
    throw NOT_JSON;
  }
}

const LITERALS = ['true', 'false', 'null'].map((word) => Buffer.from(word, 'latin1'));

/**
 * Masks fields and content of one JSON document (RFC 8259), everything else byte for byte.
 * @returns undefined when nothing changed; `invalid` when it is not JSON, nested too deep or too large: then nothing of it may be shown
 */
export function rewriteJson(
  source: Buffer,
  start: number,
  end: number,
  masks: JsonMasks,
  count: CountMask,
): Buffer | undefined | 'invalid' {
  if (end - start > JSON_LIMIT) return 'invalid';
  try {
    return new JsonWalk(source, start, end, masks.content, count).run(masks.root);
  } catch (error) {
    if (error === NOT_JSON) return 'invalid';
    throw error;
  }
}

/** Applies a column's transform to a whole JSON document: JSON text, or null for NULL. What is not JSON is replaced whole. */
export function transformJson(source: Buffer, start: number, end: number, by: JsonTransform): Buffer | null {
  try {
    if (end - start <= JSON_LIMIT) return new JsonWalk(source, start, end, undefined, () => {}).runWhole(by);
  } catch (error) {
    if (error !== NOT_JSON) throw error;
  }
  const shown = wholeReplacement(by.transform);
  return shown === null ? null : quote(shown);
}
