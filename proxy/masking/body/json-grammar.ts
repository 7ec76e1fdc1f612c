/** Lexical grammar of JSON (RFC 8259, sections 6 and 7) over bytes. */

/** 1 for bytes at which the reading of a string stops: the quote, the backslash, control characters. */
export const STOPS = new Uint8Array(256);
STOPS.fill(1, 0, 0x20);
STOPS[0x22] = STOPS[0x5c] = 1;

/** 1 for white space. */
export const SPACE = new Uint8Array(256);
SPACE[0x20] = SPACE[0x09] = SPACE[0x0a] = SPACE[0x0d] = 1;

/** 1 for what may stand behind a backslash, besides u. */
export const ESCAPES = new Uint8Array(256);
for (const character of '"\\/bfnrt') ESCAPES[character.charCodeAt(0)] = 1;

const HEX = new Uint8Array(256);
for (const character of '0123456789abcdefABCDEF') HEX[character.charCodeAt(0)] = 1;

export function isHex4(bytes: Buffer, at: number): boolean {
  return (HEX[bytes[at]!]! & HEX[bytes[at + 1]!]! & HEX[bytes[at + 2]!]! & HEX[bytes[at + 3]!]!) === 1;
}

/** 1 for bytes that numbers and literal names are made of. */
export const WORD = new Uint8Array(256);
for (const character of '0123456789+-.abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ')
  WORD[character.charCodeAt(0)] = 1;

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

function digits(bytes: Buffer, from: number, end: number): number {
  let at = from;
  while (at < end && isDigit(bytes[at])) at++;
  return at;
}

export function isNumber(bytes: Buffer, start: number, end: number): boolean {
  let at = start;
  if (bytes[at] === 0x2d) at++;
  if (at >= end || !isDigit(bytes[at])) return false;
  at = bytes[at] === 0x30 ? at + 1 : digits(bytes, at, end);
  if (at < end && bytes[at] === 0x2e) {
    const fraction = digits(bytes, at + 1, end);
    if (fraction === at + 1) return false;
    at = fraction;
  }
  if (at < end && (bytes[at]! | 0x20) === 0x65) {
    at++;
    if (at < end && (bytes[at] === 0x2b || bytes[at] === 0x2d)) at++;
    const exponent = digits(bytes, at, end);
    if (exponent === at) return false;
    at = exponent;
  }
  return at === end;
}

const NAMES = ['true', 'false', 'null'].map((name) => Buffer.from(name, 'latin1'));

export function isLiteralName(bytes: Buffer, start: number, end: number): boolean {
  return NAMES.some((name) => name.length === end - start && bytes.compare(name, 0, name.length, start, end) === 0);
}
