/** Bytes as the detectors see them: ASCII classes, and the byte before and after a place. */

/** Reports one find: the range [from, to) of the searched bytes. */
export type Found = (from: number, to: number) => void;

/** Looks for one kind of content in [start, end) in time linear in its length. Ranges may overlap and come in any order. */
export type Find = (bytes: Buffer, start: number, end: number, found: Found) => void;

/** As Find, for what begins in [from, to): everything else of [start, end) is only what stands around it. */
export type FindWithin = (bytes: Buffer, start: number, end: number, found: Found, from: number, to: number) => void;

/** No byte: what stands before the start and after the end. */
export const NONE = -1;

export function byteAt(bytes: Buffer, at: number, start: number, end: number): number {
  return at < start || at >= end ? NONE : bytes[at]!;
}

export function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

export function isLetter(byte: number): boolean {
  const lower = byte | 0x20;
  return byte > 0 && lower >= 0x61 && lower <= 0x7a;
}

export function isAlphanumeric(byte: number): boolean {
  return isDigit(byte) || isLetter(byte);
}

export function isHex(byte: number): boolean {
  const lower = byte | 0x20;
  return isDigit(byte) || (byte > 0 && lower >= 0x61 && lower <= 0x66);
}

/** base64url without padding (RFC 4648 section 5). */
export function isBase64Url(byte: number): boolean {
  return isAlphanumeric(byte) || byte === 0x2d || byte === 0x5f;
}

/** White space and everything that ends a bare URL or word: controls, blank, quotes, angle brackets. */
export function endsWord(byte: number): boolean {
  return byte <= 0x20 || byte === 0x22 || byte === 0x27 || byte === 0x3c || byte === 0x3e || byte === 0x60;
}

/**
 * Length of one separator inside a number as people write it: blank, hyphen, no-break blank (U+00A0, U+202F), Unicode hyphens and
 * dashes (U+2010 to U+2015). 0 when there is none.
 */
export function separatorLength(bytes: Buffer, at: number, end: number): number {
  if (at >= end) return 0;
  const byte = bytes[at]!;
  if (byte === 0x20 || byte === 0x2d) return 1;
  if (byte === 0xc2) return at + 1 < end && bytes[at + 1] === 0xa0 ? 2 : 0;
  if (byte === 0xe2 && at + 2 < end && bytes[at + 1] === 0x80) {
    const last = bytes[at + 2]!;
    return (last >= 0x90 && last <= 0x95) || last === 0xaf ? 3 : 0;
  }
  return 0;
}

/** Whether ASCII text `lower` (lower case) stands at `at`, in any case. */
export function standsAt(bytes: Buffer, at: number, end: number, lower: string): boolean {
  if (at + lower.length > end) return false;
  for (let i = 0; i < lower.length; i++) {
    const byte = bytes[at + i]!;
    const folded = byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
    if (folded !== lower.charCodeAt(i)) return false;
  }
  return true;
}

/** Longer ranges are searched by the engine's own search, shorter ones here: a view costs more than a short loop. */
const SHORT_RANGE = 512;

/** First place of `needle` in [from, end), or -1. Never looks past `end`: values stand side by side in one buffer. */
export function indexOf(bytes: Buffer, needle: string, from: number, end: number): number {
  if (end - from > SHORT_RANGE) {
    const at = bytes.subarray(from, end).indexOf(needle, 0, 'latin1');
    return at < 0 ? -1 : at + from;
  }
  const first = needle.charCodeAt(0);
  const last = end - needle.length;
  for (let at = from; at <= last; at++) {
    if (bytes[at] !== first) continue;
    let matched = 1;
    while (matched < needle.length && bytes[at + matched] === needle.charCodeAt(matched)) matched++;
    if (matched === needle.length) return at;
  }
  return -1;
}
