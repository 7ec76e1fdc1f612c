import type { ContentDetectors } from '../detectors.ts';
import { MaskError } from '../errors.ts';
import type { CountMask } from '../port.ts';
import type { JsonLimits, JsonRewriter } from './json-options.ts';
import { createJsonRewriter } from './json-rewriter.ts';
import type { JsonPlace } from './place.ts';

/** Documents in strings of documents in strings: deeper ones are not shown. */
const MOST_LEVELS = 4;
const WITHHELD = Buffer.from('***', 'latin1');
const QUOTED_WITHHELD = Buffer.from('"***"', 'latin1');

export interface DocumentMasks {
  /** Where field paths begin. */
  readonly root: JsonPlace | undefined;
  readonly content: ContentDetectors | undefined;
  readonly limits: JsonLimits;
  /** Strings may hold bytes that are not UTF-8: a client may replace them, and read the document all the same. */
  readonly anyBytes?: boolean;
}

export function isMaskError(error: unknown): error is MaskError {
  return error instanceof MaskError;
}

/** Masks JSON as it passes; also what strings in it hold that is JSON again. One for each body. */
export function createDocumentRewriter(
  masks: DocumentMasks,
  count: CountMask,
  options: { readonly single?: boolean } = {},
  level = 0,
): JsonRewriter {
  return createJsonRewriter({
    ...options,
    root: masks.root,
    content: masks.content,
    count,
    limits: masks.limits,
    anyBytes: masks.anyBytes === true,
    withheld: QUOTED_WITHHELD,
    nested: (text, place) => nestedDocument(masks, text, place, count, level + 1),
  });
}

function nestedDocument(
  masks: DocumentMasks,
  text: Buffer,
  place: JsonPlace | undefined,
  count: CountMask,
  level: number,
): Buffer | undefined | 'no document' {
  if (!isBracketed(text)) return 'no document';
  if (level > MOST_LEVELS) return WITHHELD;
  // Paths may be meant from the root of the document that is nested, or of the one that it is nested in.
  let shown = rewriteText(masks, text, count, level);
  if (shown === 'no document' || place === undefined || place === masks.root) return shown;
  const inner = rewriteText({ ...masks, root: place }, shown ?? text, count, level);
  if (inner === 'no document') return shown;
  shown = inner ?? shown;
  return shown;
}

/** A whole text that is JSON. @returns undefined when nothing changed */
function rewriteText(
  masks: DocumentMasks,
  text: Buffer,
  count: CountMask,
  level: number,
): Buffer | undefined | 'no document' {
  const rewriter = createDocumentRewriter(masks, count, {}, level);
  try {
    const parts = [rewriter.write(text), rewriter.end()].filter((part) => part !== undefined);
    const shown = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
    return shown.equals(text) ? undefined : shown;
  } catch (error) {
    if (isMaskError(error) && error.code === 'SPM009') return 'no document';
    throw error;
  }
}

/** A whole text, such as one event of a stream. @returns undefined when nothing changed */
export function rewriteDocument(
  masks: DocumentMasks,
  text: Buffer,
  count: CountMask,
): Buffer | undefined | 'no document' {
  return isBracketed(text) ? rewriteText(masks, text, count, 0) : 'no document';
}

/** Cheap: whether the text begins and ends as a document of more than a word does. */
function isBracketed(text: Buffer): boolean {
  let from = text.length >= 3 && text[0] === 0xef ? 3 : 0;
  let to = text.length;
  while (from < to && text[from]! <= 0x20) from++;
  while (to > from && text[to - 1]! <= 0x20) to--;
  if (to - from < 2) return false;
  const first = text[from]!;
  const last = text[to - 1]!;
  return (first === 0x7b || first === 0x5b || first === 0x22) && (last === 0x7d || last === 0x5d || last === 0x22);
}
