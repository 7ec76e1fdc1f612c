import type { ContentMask, Transform } from '../../../policy/masking.ts';
import { MASK_TOKEN, TOKEN_CHARACTERS, TOKEN_PREFIX } from '../token-format.ts';

/** What values that came from masking look like: written back, they would replace the real ones. */

const BASE64 = /^[A-Za-z0-9+/_-]{40,}={0,2}$/;
const LONGEST_TOKEN = TOKEN_PREFIX.length + TOKEN_CHARACTERS;

/** A mask token anywhere in a text, also behind base64 of all of it. */
export function holdsToken(text: string): boolean {
  if (MASK_TOKEN.test(text)) return true;
  return BASE64.test(text) && MASK_TOKEN.test(Buffer.from(text, 'base64').toString('latin1'));
}

/** What the transform shows of a value, where that can be told: a value that nobody would write by chance into a place that is masked. */
export function isMark(transform: Transform, text: string): boolean {
  switch (transform.type) {
    case 'redact':
      return text === transform.with;
    case 'partial':
      return text.includes('***');
    case 'tokenize':
      return text === '***' || holdsToken(text);
    case 'nullify':
      return false;
  }
}

/** Texts that stand for a whole value in which something was found. */
export function contentMarks(masks: readonly ContentMask[]): ReadonlySet<string> {
  return new Set(masks.flatMap(({ transform }) => (transform.type === 'redact' ? [transform.with] : [])));
}

/** Looks for tokens in bytes that pass, wherever they are cut. */
export function createTokenScan(): (chunk: Buffer) => boolean {
  let tail = '';
  return (chunk) => {
    const text = tail + chunk.toString('latin1');
    tail = text.slice(-LONGEST_TOKEN);
    return MASK_TOKEN.test(text);
  };
}
