import { isIPv6 } from 'node:net';
import { byteAt, type Find, type FindWithin, indexOf, isAlphanumeric, isDigit, isHex, isLetter } from './bytes.ts';

/** RFC 5321 section 4.5.3.1: a local part has at most 64 octets, a domain 255. */
const LOCAL_LIMIT = 64;
const DOMAIN_LIMIT = 255;

/** atext and dots of RFC 5322 section 3.2.3, and UTF-8 (RFC 6531). */
const LOCAL = new Uint8Array(256);
for (const character of "!#$%&'*+-/=?^_`{|}~.") LOCAL[character.charCodeAt(0)] = 1;
for (let byte = 0; byte < 256; byte++) if (isAlphanumeric(byte) || byte >= 0x80) LOCAL[byte] = 1;

function isDomainByte(byte: number): boolean {
  return isAlphanumeric(byte) || byte === 0x2d || byte >= 0x80;
}

/** E-mail addresses with a domain of at least two labels, the last of them letters. */
export const findEmails: Find = (bytes, start, end, found) => {
  for (let at = indexOf(bytes, '@', start, end); at >= 0; at = indexOf(bytes, '@', at + 1, end)) {
    let from = at;
    const lowest = Math.max(start, at - LOCAL_LIMIT);
    if (from > lowest && bytes[from - 1] === 0x22) {
      // A quoted local part, "like this"@example.com.
      let quote = from - 2;
      while (quote >= lowest && bytes[quote] !== 0x22) quote--;
      if (quote >= lowest) from = quote;
    } else {
      while (from > lowest && LOCAL[bytes[from - 1]!] === 1) from--;
    }
    if (from === at) continue;
    const to = endOfDomain(bytes, at + 1, end);
    if (to > 0) found(from, to);
  }
};

function endOfDomain(bytes: Buffer, from: number, end: number): number {
  const highest = Math.min(end, from + DOMAIN_LIMIT);
  let at = from;
  let label = from;
  let stop = -1;
  while (at <= highest) {
    const byte = at < highest ? bytes[at]! : 0x20;
    if (byte === 0x2e || !isDomainByte(byte)) {
      if (at === label) break;
      // The last label that looks like a top-level domain ends the address, so that a full stop after it is left alone.
      if (label > from && at - label >= 2 && !isDigit(bytes[label]!)) stop = at;
      if (byte !== 0x2e) break;
      label = at + 1;
    }
    at++;
  }
  return stop;
}

/** Dotted quads and IPv6 in the forms of RFC 4291 section 2.2. */
export const findIpAddresses: Find = (bytes, start, end, found) => {
  let at = start;
  for (;;) {
    while (at < end && PART[bytes[at]!]! < DOT) at++;
    if (at >= end) return;
    // Around a colon or dot: all that an address may be made of.
    let from = at;
    while (from > start && PART[bytes[from - 1]!] === HEX) from--;
    let colons = 0;
    let dots = 0;
    for (; at < end; at++) {
      const part = PART[bytes[at]!]!;
      if (part === 0) break;
      if (part === COLON) colons++;
      else if (part === DOT) dots++;
    }
    if (colons >= 2 || dots >= 3) ipAddresses(bytes, start, end, found, from, at);
  }
};

/** What addresses are made of. */
const HEX = 1;
const DOT = 2;
const COLON = 3;
const PART = new Uint8Array(256);
for (let byte = 0; byte < 256; byte++) if (isHex(byte)) PART[byte] = HEX;
PART[0x2e] = DOT;
PART[0x3a] = COLON;

const ipAddresses: FindWithin = (bytes, start, end, found, first, last) => {
  let at = first;
  while (at < last) {
    const byte = bytes[at]!;
    const before = byteAt(bytes, at - 1, start, end);
    if (!(isHex(byte) || byte === 0x3a) || isAlphanumeric(before)) {
      at++;
      continue;
    }
    let stop = at;
    let colons = 0;
    let dots = 0;
    while (stop < end && (isHex(bytes[stop]!) || bytes[stop] === 0x3a || bytes[stop] === 0x2e)) {
      if (bytes[stop] === 0x3a) colons++;
      else if (bytes[stop] === 0x2e) dots++;
      stop++;
    }
    const next = byteAt(bytes, stop, start, end);
    if (colons >= 2 && stop - at <= 48 && (colons >= FULL_COLONS || isShortened(bytes, at, stop)))
      reportIpv6(bytes, at, stop, next, found);
    if (dots >= 3) reportIpv4(bytes, at, stop, next, found);
    at = stop > at ? stop : at + 1;
  }
};

/** An IPv6 address without `::` has eight parts, or six and a dotted quad. Times of day have fewer. */
const FULL_COLONS = 6;

function isShortened(bytes: Buffer, from: number, to: number): boolean {
  for (let at = from + 1; at < to; at++) if (bytes[at] === 0x3a && bytes[at - 1] === 0x3a) return true;
  return false;
}

type Report = (from: number, to: number) => void;

function reportIpv6(bytes: Buffer, from: number, stop: number, next: number, found: Report): void {
  let to = stop;
  // Punctuation after the address is not part of it, and a word that only begins like one is none.
  while (to > from && (bytes[to - 1] === 0x2e || (bytes[to - 1] === 0x3a && bytes[to - 2] !== 0x3a))) to--;
  if (to === stop && isLetter(next)) return;
  if (to - from >= 3 && isIPv6(bytes.toString('latin1', from, to))) found(from, to);
}

/** Every quad in a run of hexadecimal digits, dots and colons: `host:10.0.0.1:5432` is one run. */
function reportIpv4(bytes: Buffer, from: number, stop: number, next: number, found: Report): void {
  let at = from;
  while (at < stop) {
    const before = at > from ? bytes[at - 1]! : -1;
    if (!isDigit(bytes[at]!) || isHex(before) || before === 0x2e) {
      at++;
      continue;
    }
    let position = at;
    let octets = 0;
    while (octets < 4) {
      let value = 0;
      let length = 0;
      while (position < stop && isDigit(bytes[position]!) && length < 4) {
        value = value * 10 + bytes[position]! - 0x30;
        position++;
        length++;
      }
      if (length === 0 || length > 3 || value > 255) break;
      octets++;
      if (octets === 4) break;
      if (position >= stop || bytes[position] !== 0x2e) break;
      position++;
    }
    const after = position < stop ? bytes[position]! : next;
    const goesOn = isAlphanumeric(after) || (after === 0x2e && position + 1 < stop && isDigit(bytes[position + 1]!));
    if (octets === 4 && !goesOn) {
      found(at, position);
      at = position;
    } else {
      at = Math.max(at + 1, position);
    }
  }
}
