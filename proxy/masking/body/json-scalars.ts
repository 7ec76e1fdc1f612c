import type { ContentDetectors } from '../detectors.ts';
import { keyName } from '../key-names.ts';
import { isMaskToken } from '../token-format.ts';
import type { JsonRewriterOptions } from './json-options.ts';
import type { JsonOutput } from './json-output.ts';
import { isPlain, maskBase64, NULL, quote, replacementOf, unquote, withheldText, ZERO } from './json-values.ts';
import type { JsonWindow } from './json-window.ts';
import type { JsonPlace, PlaceMask } from './place.ts';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const OPEN_BRACKET = 0x5b;
const SMALL_N = 0x6e;
const SMALL_T = 0x74;
const SMALL_F = 0x66;

/** Whether a string that begins like this (the byte behind its quote) may hold a document: a bracket, blanks, an escape, a string. */
export function mayBeDocument(byte: number): boolean {
  return (
    byte === OPEN_BRACE ||
    byte === OPEN_BRACKET ||
    byte === QUOTE ||
    byte <= 0x20 ||
    byte === BACKSLASH ||
    byte === 0xef
  );
}

/**
 * What is shown in place of the strings, numbers and words of one body. A token begins at `token` of the window and ends where that is
 * read; its grammar was checked. A class for the sake of speed: one for each body.
 */
export class JsonScalars {
  readonly #options: JsonRewriterOptions;
  readonly #content: ContentDetectors | undefined;
  readonly #window: JsonWindow;
  readonly #out: JsonOutput;

  constructor(options: JsonRewriterOptions, window: JsonWindow, out: JsonOutput) {
    this.#options = options;
    this.#content = options.content;
    this.#window = window;
    this.#out = out;
  }

  count({ rules }: PlaceMask): void {
    const { count } = this.#options;
    for (let which = 0; which < rules.length; which++) count(rules[which]!);
  }

  /** In place of a string that is too long to be looked at. */
  longText(place: JsonPlace | undefined): Buffer {
    const mask = place?.mask;
    if (mask !== undefined) {
      this.count(mask);
      return withheldText(mask);
    }
    if (this.#content === undefined) return this.#options.withheld;
    const shown = this.#content.withhold(this.#options.count);
    return shown === null ? NULL : quote(shown);
  }

  /** A string that is a value. */
  text(place: JsonPlace | undefined, token: number, escaped: boolean): void {
    const mask = place?.mask;
    if (mask !== undefined) {
      this.#maskText(mask, token, escaped);
      return;
    }
    const { bytes, at } = this.#window;
    const { nested } = this.#options;
    if (nested !== undefined && at - token > 3 && mayBeDocument(bytes[token + 1]!)) {
      const text = unquote(bytes, token, at, escaped);
      const shown = mayBeDocument(text[0]!) ? nested(text, place) : 'no document';
      if (shown !== 'no document') {
        if (shown !== undefined) this.#out.replace(token, at, quote(shown));
        return;
      }
    }
    if (this.#content === undefined || place?.plain === true) return;
    const shown = this.#found(this.#content, token, escaped);
    if (shown !== undefined) this.#show(token, shown);
  }

  /** A key. @param before how many keys of its object were replaced @returns whether this one was */
  key(before: number, token: number, escaped: boolean): boolean {
    const shown = this.#content === undefined ? undefined : this.#found(this.#content, token, escaped);
    if (shown === undefined) return false;
    const name = shown?.toString('utf8') ?? '';
    // Two keys that look the same would be one to the client; tokens differ by themselves.
    const unlike = before === 0 || isMaskToken(name) ? name : `${name}~${before + 1}`;
    this.#out.replace(token, this.#window.at, Buffer.from(JSON.stringify(unlike)));
    return true;
  }

  /** The place of the value behind a key. */
  step(parent: JsonPlace, token: number, escaped: boolean): JsonPlace | undefined {
    const { bytes, at } = this.#window;
    if (escaped) return parent.step(unquote(bytes, token, at, true).toString('utf8'));
    return parent.stepBytes === undefined
      ? parent.step(keyName(bytes, token + 1, at - 1))
      : parent.stepBytes(bytes, token + 1, at - 1);
  }

  /** A number or literal name. */
  word(place: JsonPlace | undefined, token: number): void {
    const mask = place?.mask;
    if (mask === undefined && (this.#content === undefined || place?.plain === true)) return;
    const { bytes, at } = this.#window;
    const first = bytes[token]!;
    // Null says nothing, and stays.
    if (first === SMALL_N) return;
    if (mask !== undefined) {
      this.#out.replace(token, at, replacementOf(first, mask));
      this.count(mask);
    } else if (first !== SMALL_T && first !== SMALL_F) {
      const shown = this.#content?.mask(bytes, token, at, this.#options.count);
      if (shown !== undefined) this.#out.replace(token, at, shown === null ? NULL : ZERO);
    }
  }

  #maskText(mask: PlaceMask, token: number, escaped: boolean): void {
    this.count(mask);
    const { bytes, at } = this.#window;
    if (mask.base64 === true) this.#out.replace(token, at, maskBase64(unquote(bytes, token, at, escaped), mask));
    else if (escaped) {
      const text = unquote(bytes, token, at, true);
      this.#show(token, mask.apply(text, 0, text.length));
    } else this.#show(token, mask.apply(bytes, token + 1, at - 1));
  }

  /** In place of a string. */
  #show(token: number, shown: Buffer | null): void {
    const { at } = this.#window;
    if (shown === null) this.#out.replace(token, at, NULL);
    // The quotes that are there stay.
    else if (isPlain(shown)) this.#out.replace(token + 1, at - 1, shown);
    else this.#out.replace(token, at, quote(shown));
  }

  /** What content finds in a string. */
  #found(by: ContentDetectors, token: number, escaped: boolean): Buffer | null | undefined {
    const { bytes, at } = this.#window;
    const { count } = this.#options;
    if (!escaped) return by.mask(bytes, token + 1, at - 1, count);
    const text = unquote(bytes, token, at, true);
    return by.mask(text, 0, text.length, count);
  }
}
