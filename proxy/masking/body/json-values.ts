import { isUtf8 } from 'node:buffer';
import { wholeReplacement } from '../transforms.ts';
import type { PlaceMask } from './place.ts';

/** What is shown in place of a value of JSON: a value of the same type, so that clients with types can read it. */

export const NULL = Buffer.from('null', 'latin1');
export const ZERO = Buffer.from('0', 'latin1');
const FALSE = Buffer.from('false', 'latin1');
const EMPTY_OBJECT = Buffer.from('{}', 'latin1');
const EMPTY_ARRAY = Buffer.from('[]', 'latin1');

const QUOTE = 0x22;
const OPEN_BRACE = 0x7b;
const OPEN_BRACKET = 0x5b;
const SMALL_N = 0x6e;
const SMALL_T = 0x74;
const SMALL_F = 0x66;

/** 1 for bytes that stand for themselves in a string literal. */
const PLAIN = new Uint8Array(256).fill(1, 0x20, 0x7f);
PLAIN[0x22] = PLAIN[0x5c] = 0;

/** Whether the text may stand between quotes as it is. False also for characters beyond ASCII, which are checked as they are quoted. */
export function isPlain(text: Buffer): boolean {
  for (let at = 0; at < text.length; at++) if (PLAIN[text[at]!] === 0) return false;
  return true;
}

export function quote(text: Buffer): Buffer {
  return Buffer.from(JSON.stringify(text.toString('utf8')), 'utf8');
}

/** The text of a string literal source[start, end), quotes included. The grammar was checked. */
export function unquote(source: Buffer, start: number, end: number, escaped: boolean): Buffer {
  if (!escaped) return source.subarray(start + 1, end - 1);
  const text: unknown = JSON.parse(source.toString('utf8', start, end));
  return Buffer.from(String(text), 'utf8');
}

/** In place of a string that is too long to be looked at. */
export function withheldText(mask: PlaceMask): Buffer {
  const shown = wholeReplacement(mask.transform);
  if (shown === null) return NULL;
  return quote(mask.base64 === true ? Buffer.from(shown.toString('base64'), 'latin1') : shown);
}

/** What is shown in place of a text that is base64: a string literal, or null. */
export function maskBase64(text: Buffer, mask: PlaceMask): Buffer {
  const bytes = Buffer.from(text.toString('latin1'), 'base64');
  const shown = mask.apply(bytes, 0, bytes.length);
  if (shown === null) return NULL;
  // Characters that are kept may be cut out of bytes that are no text.
  const whole = isUtf8(bytes) ? shown : (wholeReplacement(mask.transform) ?? shown);
  return quote(Buffer.from(whole.toString('base64'), 'latin1'));
}

/** In place of anything but a string, by its first byte. Null stays null, and shows nothing. */
export function replacementOf(first: number, mask: PlaceMask): Buffer {
  if (mask.transform.type === 'nullify' || first === SMALL_N) return NULL;
  if (first === OPEN_BRACE) return EMPTY_OBJECT;
  if (first === OPEN_BRACKET) return EMPTY_ARRAY;
  if (first === SMALL_T || first === SMALL_F) return FALSE;
  return first === QUOTE ? withheldText(mask) : ZERO;
}
