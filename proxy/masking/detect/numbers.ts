import { byteAt, type Find, type FindWithin, isAlphanumeric, isDigit, isLetter, separatorLength } from './bytes.ts';

/** Issuer identification numbers by first four digits (ISO/IEC 7812), with the lengths that the issuers use. */
function issuerAllows(first4: number, length: number): boolean {
  const first2 = Math.floor(first4 / 100);
  const first3 = Math.floor(first4 / 10);
  if (first2 >= 40 && first2 <= 49) return length === 13 || length === 16 || length === 19; // Visa
  if (first2 >= 51 && first2 <= 55) return length === 16; // Mastercard
  if (first4 >= 2221 && first4 <= 2720) return length === 16; // Mastercard
  if (first4 >= 2200 && first4 <= 2204) return length >= 16; // Mir
  if (first2 === 34 || first2 === 37) return length === 15; // American Express
  if (first2 === 36 || (first3 >= 300 && first3 <= 305)) return length >= 14; // Diners Club
  if (first2 === 38 || first2 === 39 || first4 === 3095) return length >= 14; // Diners Club
  if (first4 >= 3528 && first4 <= 3589) return length >= 16; // JCB
  if (first2 === 50 || (first2 >= 56 && first2 <= 58)) return true; // Maestro
  if (first2 === 60 || first2 === 62 || (first3 >= 644 && first3 <= 649)) return length >= 16; // Discover, UnionPay, RuPay
  if (first2 === 63 || first2 === 65 || first2 === 67) return true; // Maestro, Discover, RuPay
  return (first2 === 81 || first2 === 82 || first4 === 9792) && length === 16; // RuPay, Troy
}

const MOST_CARD_DIGITS = 19;
const FEWEST_CARD_DIGITS = 13;

/** ISO/IEC 7812-1 annex B, over the digits `digits[from..from+length)`. */
function passesLuhn(digits: Uint8Array, from: number, length: number): boolean {
  let sum = 0;
  let double = false;
  for (let i = from + length - 1; i >= from; i--) {
    let digit = digits[i]!;
    if (double) {
      digit *= 2;
      if (digit > 9) digit -= 9;
    }
    sum += digit;
    double = !double;
  }
  return sum % 10 === 0;
}

/** Of the number that is being read. */
const digits = new Uint8Array(MOST_CARD_DIGITS);

/** A window over the groups of digits that single separators join: no card has more groups than digits allow. */
const MOST_GROUPS = 7;

/**
 * Card numbers: 13 to 19 digits of a known issuer whose check digit is right, in one run or in groups of three to six digits (the
 * last may be shorter) joined by one kind of separator.
 */
export const findCardNumbers: FindWithin = (bytes, _start, end, found, from, to) => {
  let at = from;
  while (at < to) {
    if (!isDigit(bytes[at]!)) {
      at++;
      continue;
    }
    // `at` begins a group. Try every way to end a number that begins here, longest last; each group is at most six digits long.
    const groupEnd = endOfDigits(bytes, at, end);
    let length = 0;
    let position = at;
    let separator = 0;
    for (let group = 0; group < MOST_GROUPS; group++) {
      const stop = group === 0 ? groupEnd : endOfDigits(bytes, position, end);
      const size = stop - position;
      if (size === 0 || length + size > MOST_CARD_DIGITS) break;
      if (group > 0 && size > 6) break;
      for (let i = position; i < stop; i++) digits[length++] = bytes[i]! - 0x30;
      if (length >= FEWEST_CARD_DIGITS) {
        const first4 = digits[0]! * 1000 + digits[1]! * 100 + digits[2]! * 10 + digits[3]!;
        if (issuerAllows(first4, length) && passesLuhn(digits, 0, length)) found(at, stop);
      }
      if (size < 3 || size > 6) break;
      const gap = separatorLength(bytes, stop, end);
      if (gap === 0) break;
      const kind = bytes[stop + gap - 1]!;
      if (group > 0 && kind !== separator) break;
      separator = kind;
      position = stop + gap;
    }
    at = groupEnd;
  }
};

function endOfDigits(bytes: Buffer, from: number, end: number): number {
  let at = from;
  while (at < end && isDigit(bytes[at]!)) at++;
  return at;
}

// biome-ignore format: a table reads better in rows
/** Lengths by country (IBAN registry, SWIFT, ISO 13616). */
const IBAN_LENGTHS: Readonly<Record<string, number>> = {
  AD: 24, AE: 23, AL: 28, AT: 20, AZ: 28, BA: 20, BE: 16, BG: 22, BH: 22, BI: 27, BR: 29, BY: 28, CH: 21, CR: 22, CY: 28,
  CZ: 24, DE: 22, DJ: 27, DK: 18, DO: 28, EE: 20, EG: 29, ES: 24, FI: 18, FK: 18, FO: 18, FR: 27, GB: 22, GE: 22, GI: 23,
  GL: 18, GR: 27, GT: 28, HN: 28, HR: 21, HU: 28, IE: 22, IL: 23, IQ: 23, IS: 26, IT: 27, JO: 30, KW: 30, KZ: 20, LB: 28,
  LC: 32, LI: 21, LT: 20, LU: 20, LV: 21, LY: 25, MC: 27, MD: 24, ME: 22, MK: 19, MN: 20, MR: 27, MT: 31, MU: 30, NI: 28,
  NL: 18, NO: 15, OM: 23, PK: 24, PL: 28, PS: 29, PT: 25, QA: 29, RO: 24, RS: 22, RU: 33, SA: 24, SC: 31, SD: 18, SE: 24,
  SI: 19, SK: 24, SM: 27, SO: 23, ST: 25, SV: 28, TL: 23, TN: 24, TR: 26, UA: 29, VA: 22, VG: 24, XK: 20, YE: 30,
};

/** Account numbers that ISO 13616 and its mod-97 check accept, in one run or with single separators, in any case. */
export const findIbans: Find = (bytes, start, end, found) => {
  // Digits are rarer than letters: the check digits are looked for, and the country before them.
  for (let digit = start + 2; digit + 13 <= end; digit++) {
    if (!isDigit(bytes[digit]!) || !isLetter(bytes[digit - 1]!)) continue;
    const at = digit - 2;
    if (!isLetter(bytes[at]!) || !isDigit(bytes[digit + 1]!)) continue;
    if (isAlphanumeric(byteAt(bytes, at - 1, start, end))) continue;
    const country = String.fromCharCode(bytes[at]! & 0xdf, bytes[at + 1]! & 0xdf);
    const length = IBAN_LENGTHS[country];
    if (length === undefined) continue;
    const stop = endOfIban(bytes, at, end, length);
    if (stop > 0) found(at, stop);
  }
};

/** The end of the IBAN of `length` characters at `at`, or -1. */
function endOfIban(bytes: Buffer, at: number, end: number, length: number): number {
  let rest = 0;
  let position = at;
  let head = 0;
  for (let n = 0; n < length; n++) {
    if (n > 3) position += separatorLength(bytes, position, end);
    if (position >= end) return -1;
    const byte = bytes[position]!;
    if (!isAlphanumeric(byte)) return -1;
    const value = isDigit(byte) ? byte - 0x30 : (byte & 0xdf) - 0x41 + 10;
    // The first four characters go to the end before the check (ISO 13616-1, annex A).
    if (n < 2) head = head * 100 + value;
    else if (n < 4) head = head * 10 + value;
    else rest = (rest * (value > 9 ? 100 : 10) + value) % 97;
    position++;
  }
  if (position < end && isAlphanumeric(bytes[position]!)) return -1;
  return (rest * 1_000_000 + head) % 97 === 1 ? position : -1;
}

/** 3-2-4 digits with the same hyphen or blank twice; areas, groups and serials that are never issued are left out (SSA). */
export const findSocialSecurityNumbers: FindWithin = (bytes, start, end, found, from, to) => {
  for (let at = from; at < to && at + 11 <= end; at++) {
    if (!isDigit(bytes[at]!)) continue;
    const before = byteAt(bytes, at - 1, start, end);
    if (isDigit(before) || (before === 0x2d && isDigit(byteAt(bytes, at - 2, start, end)))) continue;
    if (endOfDigits(bytes, at, end) !== at + 3) continue;
    const gap = separatorLength(bytes, at + 3, end);
    if (gap === 0) continue;
    const group = at + 3 + gap;
    if (endOfDigits(bytes, group, end) !== group + 2 || separatorLength(bytes, group + 2, end) !== gap) continue;
    if (bytes[group + 1 + gap] !== bytes[at + 2 + gap]) continue;
    const serial = group + 2 + gap;
    const stop = serial + 4;
    if (endOfDigits(bytes, serial, end) !== stop) continue;
    if (byteAt(bytes, stop, start, end) === 0x2d && isDigit(byteAt(bytes, stop + 1, start, end))) continue;
    const area = number(bytes, at, at + 3);
    if (area === 0 || area === 666 || area >= 900) continue;
    if (number(bytes, group, group + 2) === 0 || number(bytes, serial, stop) === 0) continue;
    found(at, stop);
  }
};

function number(bytes: Buffer, from: number, to: number): number {
  let value = 0;
  for (let i = from; i < to; i++) value = value * 10 + bytes[i]! - 0x30;
  return value;
}

/** E.164 allows 15 digits; fewer than 8 after a plus are not a subscriber's number. */
const MOST_PHONE_DIGITS = 15;
const FEWEST_PHONE_DIGITS = 8;

/**
 * Telephone numbers that say what they are: international with a plus, or 00 and separators; North American as 3-3-4 digits with
 * separators, with or without a leading 1. Bare runs of digits are not taken: they are far more often keys.
 */
export const findPhoneNumbers: FindWithin = (bytes, start, end, found, from, to) => {
  let at = from;
  while (at < to) {
    const byte = bytes[at]!;
    const open = byte === 0x28;
    const plus = byte === 0x2b;
    if (!(open || plus || isDigit(byte)) || (!plus && isAlphanumeric(byteAt(bytes, at - 1, start, end)))) {
      at++;
      continue;
    }
    const phone = readPhone(bytes, at, start, end);
    if (phone > at) {
      found(at, phone);
      at = phone;
    } else {
      // Within one run of digits no later start can do better.
      at = plus || open ? at + 1 : endOfDigits(bytes, at, end);
    }
  }
};

/** Reads digits and separators from `at`; returns the end of a telephone number, or -1. Looks at a bounded stretch only. */
function readPhone(bytes: Buffer, at: number, start: number, end: number): number {
  const groups: number[] = [];
  const international = bytes[at] === 0x2b;
  let digits = '';
  let position = international ? at + 1 : at;
  let stop = -1;
  for (;;) {
    position += phoneGap(bytes, position, end);
    const groupEnd = endOfDigits(bytes, position, Math.min(end, position + MOST_PHONE_DIGITS + 3));
    if (groupEnd === position) return stop;
    // Most numbers are not telephone numbers, and show it by the size of their first group.
    if (groups.length === 0 && !international && !mayBegin(bytes, position, groupEnd)) return -1;
    digits += bytes.toString('latin1', position, groupEnd);
    groups.push(groupEnd - position);
    if (digits.length > MOST_PHONE_DIGITS + 2) return stop;
    if (!isAlphanumeric(byteAt(bytes, groupEnd, start, end)) && isPhone(international, groups, digits)) stop = groupEnd;
    position = groupEnd;
    if (stop > 0 && !international && isNorthAmerican(groups, digits)) return stop;
  }
}

/** The first group of a number without a plus: an area code, the 1 before it, or 00. */
function mayBegin(bytes: Buffer, from: number, to: number): boolean {
  if (to - from === 3 && bytes[from]! >= 0x32) return true;
  if (to - from === 1) return bytes[from] === 0x31;
  return bytes[from] === 0x30 && bytes[from + 1] === 0x30;
}

function isPhone(international: boolean, groups: readonly number[], digits: string): boolean {
  if (international) {
    return digits[0] !== '0' && digits.length >= FEWEST_PHONE_DIGITS && digits.length <= MOST_PHONE_DIGITS;
  }
  if (isNorthAmerican(groups, digits)) return true;
  return groups.length > 2 && digits.startsWith('00') && digits[2] !== '0' && digits.length >= FEWEST_PHONE_DIGITS + 2;
}

function isNorthAmerican(groups: readonly number[], digits: string): boolean {
  const shape = groups.join('-');
  const local = shape === '3-3-4' ? digits : shape === '1-3-3-4' && digits[0] === '1' ? digits.slice(1) : '';
  return local !== '' && local[0]! >= '2' && local[3]! >= '2';
}

/** One separator, or a bracket with a blank beside it, as in `(212) 555-0123`. */
function phoneGap(bytes: Buffer, at: number, end: number): number {
  let gap = 0;
  for (let n = 0; n < 3; n++) {
    const separator = separatorLength(bytes, at + gap, end);
    if (separator > 0) gap += separator;
    else if (at + gap < end && (bytes[at + gap] === 0x28 || bytes[at + gap] === 0x29 || bytes[at + gap] === 0x2e))
      gap++;
    else break;
  }
  return gap;
}
