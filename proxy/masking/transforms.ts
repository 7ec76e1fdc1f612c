import type { Transform } from '../../policy/masking.ts';
import { MaskError } from './errors.ts';
import type { TokenKeys } from './port.ts';
import { tokenizerFor } from './tokens.ts';

/**
 * A transform made ready: from the bytes of a UTF-8 text to the bytes shown instead, or null for NULL. The result may be shared and
 * must not be written to. Empty text is masked like any other: that it is empty is a fact about the value.
 */
export type TextTransform = (source: Buffer, start: number, end: number) => Buffer | null;

const STAR = 0x2a;
const WITHHELD = Buffer.from('***', 'latin1');
/** More stars than this say nothing; fewer say how long the value is. Long enough for a card number to keep its look. */
const MOST_STARS = 16;

const nullify: TextTransform = () => null;

/** UTF-8 continuation bytes are 10xxxxxx: every other byte begins a character (RFC 3629 section 3). */
function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80;
}

function countCharacters(source: Buffer, start: number, end: number): number {
  let count = 0;
  for (let i = start; i < end; i++) if (!isContinuation(source[i]!)) count++;
  return count;
}

/** Keeps whole characters (code points). A value of which more than half would be shown is not shown at all. */
function partial(keepFirst: number, keepLast: number): TextTransform {
  return (source, start, end) => {
    const characters = countCharacters(source, start, end);
    const kept = keepFirst + keepLast;
    if (kept * 2 > characters) return WITHHELD;
    let head = start;
    for (let n = 0; n < keepFirst; n++) {
      head++;
      while (head < end && isContinuation(source[head]!)) head++;
    }
    let tail = end;
    for (let n = 0; n < keepLast; n++) {
      tail--;
      while (tail > head && isContinuation(source[tail]!)) tail--;
    }
    const stars = Math.min(MOST_STARS, characters - kept);
    const shown = Buffer.allocUnsafe(head - start + stars + end - tail);
    source.copy(shown, 0, start, head);
    shown.fill(STAR, head - start, head - start + stars);
    source.copy(shown, head - start + stars, tail, end);
    return shown;
  };
}

/** The key for a tokenize transform. @throws MaskError SPM003 when there is none: fails closed where the mask is made */
export function tokenKeyFor(transform: Transform, keys: TokenKeys, rule: string): Uint8Array | undefined {
  if (transform.type !== 'tokenize') return undefined;
  const key = keys(transform);
  if (key === undefined || key.length === 0) throw new MaskError('SPM003', rule);
  return key;
}

/**
 * @param tokenKey present exactly for tokenize
 * @param rule named in the error
 * @throws MaskError SPM003 when tokenize has no key
 */
export function compileTransform(transform: Transform, tokenKey: Uint8Array | undefined, rule: string): TextTransform {
  switch (transform.type) {
    case 'nullify':
      return nullify;
    case 'redact': {
      const text = Buffer.from(transform.with, 'utf8');
      return () => text;
    }
    case 'tokenize':
      if (tokenKey === undefined || tokenKey.length === 0) throw new MaskError('SPM003', rule);
      return tokenizerFor(tokenKey);
    case 'partial':
      return partial(transform.keepFirst, transform.keepLast);
  }
}

/** What a transform shows for something that has no characters to keep, such as a JSON object. Null for nullify. */
export function wholeReplacement(transform: Transform): Buffer | null {
  switch (transform.type) {
    case 'nullify':
      return null;
    case 'redact':
      return Buffer.from(transform.with, 'utf8');
    case 'tokenize':
    case 'partial':
      return WITHHELD;
  }
}
