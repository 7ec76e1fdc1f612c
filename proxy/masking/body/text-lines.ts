import type { BinaryOutput } from '../../../policy/masking.ts';
import { MaskError } from '../errors.ts';
import type { CountMask } from '../port.ts';
import { createTextMasker } from '../stream/text-masker.ts';
import { createDocumentRewriter, type DocumentMasks, isMaskError } from './documents.ts';
import { SPACE, WORD } from './json-grammar.ts';
import type { JsonRewriter } from './json-options.ts';
import type { BodyTransform } from './port.ts';
import { createUtf8Check } from './utf8.ts';

/** A line that is longer is not searched for documents, unless it begins with one. */
const LONGEST_LINE = 64 * 1024;
/** A document over lines is held back this far while it could still turn out to be none. */
const LONGEST_DOUBT = 256 * 1024;
/** Brackets of a line at which a document is tried. */
const MOST_TRIES = 16;

const LINE_FEED = 0x0a;
const OPEN_BRACE = 0x7b;
const OPEN_BRACKET = 0x5b;
const NOTHING = Buffer.alloc(0);

/**
 * Masks text: by content, and by the fields of documents of JSON that stand in it (lines of a log, the whole body under a wrong type,
 * JSONP). A document that goes over lines is held back until it is whole, or until it is none.
 */
export function createTextRewriter(
  { root, content, limits }: DocumentMasks,
  binary: BinaryOutput,
  count: CountMask,
  inBody = true,
): BodyTransform {
  const masks: DocumentMasks = { root, content, limits, anyBytes: true };
  const masker = content === undefined ? undefined : createTextMasker({ detectors: content, binary, count });
  // In another encoding a document would not be seen: the masker looks by itself.
  const utf8 = masker === undefined && binary === 'Deny' ? createUtf8Check() : undefined;
  let line: Buffer[] = [];
  let lineBytes = 0;
  /** The line is too long to be looked at. */
  let passing = false;
  let open:
    | { readonly rewriter: JsonRewriter; doubt: Buffer[]; bytes: number; made: Buffer[]; sure: boolean }
    | undefined;
  let out: Buffer[] = [];

  function text(bytes: Buffer | undefined): void {
    if (bytes === undefined || bytes.length === 0) return;
    if (masker === undefined) {
      out.push(bytes);
      return;
    }
    out.push(...masker.push(bytes));
    const failure: MaskError | undefined = masker.failure;
    if (failure !== undefined) throw failure;
  }

  /** A document begins at bytes[from]. @returns where it ends; undefined: it is none; 'open': it goes on behind the bytes */
  function tryDocument(bytes: Buffer, from: number): number | 'open' | undefined {
    const rewriter = createDocumentRewriter(masks, count, { single: true });
    let shown: Buffer | undefined;
    try {
      shown = rewriter.write(bytes.subarray(from));
    } catch (error) {
      if (isMaskError(error)) return undefined;
      throw error;
    }
    if (rewriter.rest === undefined) {
      if (!inBody || !mayGoOn(bytes, from)) return undefined;
      text(bytes.subarray(0, from));
      open = {
        rewriter,
        doubt: [Buffer.from(bytes.subarray(from))],
        bytes: bytes.length - from,
        made: [],
        sure: false,
      };
      if (shown !== undefined) open.made.push(Buffer.from(shown));
      return 'open';
    }
    text(bytes.subarray(0, from));
    text(shown);
    return bytes.length - rewriter.rest;
  }

  /** A line, or what is left of one behind a document. */
  function wholeLine(bytes: Buffer): void {
    let rest = bytes;
    let from = 0;
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      from = nextBracket(rest, from);
      if (from < 0) break;
      const end = mayBegin(rest, from) ? tryDocument(rest, from) : undefined;
      if (end === 'open') return;
      if (end === undefined) from++;
      else {
        rest = rest.subarray(end);
        from = 0;
      }
    }
    text(rest);
  }

  /** More of a document that has begun. */
  function more(bytes: Buffer): void {
    const document = open!;
    let shown: Buffer | undefined;
    try {
      shown = document.rewriter.write(bytes);
    } catch (error) {
      if (!isMaskError(error) || document.sure) throw error;
      open = undefined;
      text(Buffer.concat([...document.doubt, bytes]));
      return;
    }
    if (shown !== undefined) document.made.push(Buffer.from(shown));
    const { rest } = document.rewriter;
    if (!document.sure) {
      document.doubt.push(Buffer.from(bytes));
      document.bytes += bytes.length;
      if (document.bytes > LONGEST_DOUBT) {
        document.sure = true;
        document.doubt = [];
      }
    }
    if (rest === undefined && !document.sure) return;
    text(Buffer.concat(document.made));
    document.made = [];
    if (rest === undefined) return;
    open = undefined;
    if (rest > 0) wholeLine(bytes.subarray(bytes.length - rest));
  }

  function endLine(): void {
    const bytes = line.length === 1 ? line[0]! : Buffer.concat(line);
    line = [];
    lineBytes = 0;
    if (open !== undefined) more(bytes);
    else if (passing) text(bytes);
    else wholeLine(bytes);
  }

  function partOfLine(bytes: Buffer): void {
    if (open?.sure === true) {
      more(bytes);
      return;
    }
    if (passing) {
      text(bytes);
      return;
    }
    line.push(Buffer.from(bytes));
    lineBytes += bytes.length;
    if (lineBytes <= LONGEST_LINE) return;
    endLine();
    // A long line that is no document is text up to its end.
    passing = open === undefined;
  }

  function result(): Buffer | undefined {
    const made = out;
    out = [];
    return made.length === 0 ? undefined : made.length === 1 ? made[0] : Buffer.concat(made);
  }

  return {
    write(chunk) {
      if (utf8 !== undefined && (!utf8.push(chunk) || chunk.includes(0))) throw new MaskError('SPM008', 'no UTF-8');
      let from = 0;
      const brackets = nextOf(chunk);
      for (;;) {
        if (line.length === 0 && open === undefined && !passing) {
          const clear = chunk.lastIndexOf(LINE_FEED, brackets(from)) + 1;
          if (clear > from) {
            text(chunk.subarray(from, clear));
            from = clear;
          }
        }
        const end = chunk.indexOf(LINE_FEED, from);
        if (end < 0) break;
        line.push(chunk.subarray(from, end + 1));
        endLine();
        passing = false;
        from = end + 1;
      }
      if (from < chunk.length) partOfLine(chunk.subarray(from));
      return result();
    },
    end() {
      if (line.length > 0) endLine();
      if (open !== undefined) {
        const document = open;
        open = undefined;
        if (document.sure) document.rewriter.end();
        text(Buffer.concat(document.doubt));
      }
      if (masker !== undefined) out.push(...masker.end());
      if (masker?.failure !== undefined) throw masker.failure;
      return result() ?? NOTHING;
    },
  };
}

/** Finds the next bracket in the chunk from places that only go on: lines without one go on together. */
function nextOf(chunk: Buffer): (from: number) => number {
  let brace = -1;
  let bracket = -1;
  const next = (byte: number, from: number): number => {
    const at = chunk.indexOf(byte, from);
    return at < 0 ? chunk.length : at;
  };
  return (from) => {
    if (brace < from) brace = next(OPEN_BRACE, from);
    if (bracket < from) bracket = next(OPEN_BRACKET, from);
    return Math.min(brace, bracket);
  };
}

function nextBracket(bytes: Buffer, from: number): number {
  for (let at = from; at < bytes.length; at++) if (bytes[at] === OPEN_BRACE || bytes[at] === OPEN_BRACKET) return at;
  return -1;
}

const QUOTE = 0x22;
const CLOSE_BRACE = 0x7d;
const CLOSE_BRACKET = 0x5d;
/** What values begin with: a bracket, a quote, a number, `true`, `false`, `null`. */
const VALUE_BEGINS = new Uint8Array(256);
for (const character of '{["-0123456789tfn') VALUE_BEGINS[character.charCodeAt(0)] = 1;

/** Cheap: whether what stands behind the bracket can stand there in JSON. Most brackets of a text begin no document. */
function mayBegin(bytes: Buffer, from: number): boolean {
  let at = from + 1;
  while (at < bytes.length && SPACE[bytes[at]!] === 1) at++;
  if (at >= bytes.length) return true;
  const next = bytes[at]!;
  if (bytes[from] === OPEN_BRACE) return next === QUOTE || next === CLOSE_BRACE;
  if (VALUE_BEGINS[next] === 1 || next === CLOSE_BRACKET) return true;
  // A word is judged where it ends.
  while (at < bytes.length && WORD[bytes[at]!] === 1) at++;
  return at >= bytes.length;
}

/** A document over lines begins its line, or stands behind what makes it the argument or the value of something. */
function mayGoOn(bytes: Buffer, from: number): boolean {
  let at = from - 1;
  while (at >= 0 && bytes[at]! <= 0x20) at--;
  return at < 0 || '(;=:\xbf'.includes(String.fromCharCode(bytes[at]!));
}

/** One text by itself, such as the value of a header field. @returns undefined when nothing changed */
export function maskOneText(masks: DocumentMasks, text: Buffer, count: CountMask): Buffer | undefined {
  const rewriter = createTextRewriter(masks, 'Search', count, false);
  const parts = [rewriter.write(text), rewriter.end()].filter((part) => part !== undefined);
  const shown = Buffer.concat(parts);
  return shown.equals(text) ? undefined : shown;
}
