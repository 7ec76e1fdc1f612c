import {
  byteAt,
  endsWord,
  type Find,
  type Found,
  indexOf,
  isAlphanumeric,
  isBase64Url,
  isDigit,
  isLetter,
  standsAt,
} from './bytes.ts';

function runEnd(bytes: Buffer, from: number, end: number, accepts: (byte: number) => boolean): number {
  let at = from;
  while (at < end && accepts(bytes[at]!)) at++;
  return at;
}

/** A JOSE header is a JSON object, so its base64url begins with `eyJ` (`{"`). Bounds how much is decoded to look at it. */
const MOST_HEADER_CHARACTERS = 4096;

/** JWS and JWE compact serialisations (RFC 7515, RFC 7516): the first part must decode to a header that names an algorithm. */
export const findJwts: Find = (bytes, start, end, found) => {
  let at = indexOf(bytes, 'eyJ', start, end);
  while (at >= 0) {
    const headerEnd = runEnd(bytes, at, end, isBase64Url);
    let stop = headerEnd;
    if (!isBase64Url(byteAt(bytes, at - 1, start, end)) && byteAt(bytes, headerEnd, start, end) === 0x2e) {
      let parts = 1;
      while (parts < 5 && byteAt(bytes, stop, start, end) === 0x2e) {
        stop = runEnd(bytes, stop + 1, end, isBase64Url);
        parts++;
      }
      if (stop > headerEnd + 1 && namesAlgorithm(bytes, at, headerEnd)) found(at, stop);
    }
    at = indexOf(bytes, 'eyJ', Math.max(stop, at + 3), end);
  }
};

function namesAlgorithm(bytes: Buffer, from: number, to: number): boolean {
  const header = bytes.toString('latin1', from, Math.min(to, from + MOST_HEADER_CHARACTERS));
  return Buffer.from(header, 'base64url').includes('"alg"');
}

/** `-----BEGIN … PRIVATE KEY-----` (RFC 7468, OpenSSL, OpenSSH, OpenPGP) to its end, or to the end of the value when it is cut. */
export const findPrivateKeys: Find = (bytes, start, end, found) => {
  let at = indexOf(bytes, '-----BEGIN ', start, end);
  while (at >= 0) {
    const labelEnd = indexOf(bytes, '-----', at + 11, Math.min(end, at + 11 + 64));
    const label =
      labelEnd < 0
        ? bytes.toString('latin1', at + 11, Math.min(end, at + 75))
        : bytes.toString('latin1', at + 11, labelEnd);
    let next = at + 11;
    if (label.includes('PRIVATE KEY')) {
      const closing = indexOf(bytes, '-----END ', at + 11, end);
      const closed = closing < 0 ? -1 : indexOf(bytes, '-----', closing + 9, end);
      next = closed < 0 ? end : closed + 5;
      found(at, next);
    }
    at = indexOf(bytes, '-----BEGIN ', next, end);
  }
  const putty = indexOf(bytes, 'PuTTY-User-Key-File-', start, end);
  if (putty >= 0) found(putty, end);
};

const AWS_KEY_PREFIXES = ['AKIA', 'ASIA'] as const;

/** AWS access key ids (`AKIA`, `ASIA` and 16 characters), and secret keys where their name stands before them. */
export const findAwsKeys: Find = (bytes, start, end, found) => {
  for (const prefix of AWS_KEY_PREFIXES) {
    for (let at = indexOf(bytes, prefix, start, end); at >= 0; at = indexOf(bytes, prefix, at + 4, end)) {
      const stop = at + 20;
      if (stop > end || isAlphanumeric(byteAt(bytes, at - 1, start, end))) continue;
      if (runEnd(bytes, at, end, isUpperAlphanumeric) === stop && !isLetter(byteAt(bytes, stop, start, end)))
        found(at, stop);
    }
  }
  // From the last letter of the name, which is rarer than its first.
  let least = start;
  for (let at = start + 14; at + 41 < end; at++) {
    if ((bytes[at]! | 0x20) !== 0x79 || !endsSecretKeyName(bytes, least, at + 1)) continue;
    const name = at + 1;
    const value = runEnd(bytes, name, Math.min(end, name + 10), isAssignment);
    const stop = runEnd(bytes, value, end, isBase64);
    if (value > name && stop - value >= 40) {
      found(value, stop);
      least = stop;
    }
  }
};

const SECRET_KEY_NAMES = ['secret_access_key', 'secretaccesskey'] as const;

/** Whether `secret_access_key` or `SecretAccessKey` ends before `end`, and begins at `start` at least. */
function endsSecretKeyName(bytes: Buffer, start: number, end: number): boolean {
  return SECRET_KEY_NAMES.some((name) => end - name.length >= start && standsAt(bytes, end - name.length, end, name));
}

function isUpperAlphanumeric(byte: number): boolean {
  return isDigit(byte) || (byte >= 0x41 && byte <= 0x5a);
}

function isBase64(byte: number): boolean {
  return isAlphanumeric(byte) || byte === 0x2b || byte === 0x2f || byte === 0x3d;
}

/** What stands between a name and its value: blanks, quotes, colon, equals sign, backslash of an escaped quote. */
function isAssignment(byte: number): boolean {
  return (
    byte === 0x20 || byte === 0x22 || byte === 0x27 || byte === 0x3a || byte === 0x3d || byte === 0x3e || byte === 0x5c
  );
}

/** Classic tokens (`ghp_`, `gho_`, `ghu_`, `ghs_`, `ghr_`) and fine-grained ones (`github_pat_`). */
export const findGitHubTokens: Find = (bytes, start, end, found) => {
  let at = indexOf(bytes, '_', start, end);
  while (at >= 0) {
    let from = -1;
    let least = 36;
    if (
      at - 3 >= start &&
      standsAt(bytes, at - 3, end, 'gh') &&
      'pousr'.includes(String.fromCharCode(bytes[at - 1]!))
    ) {
      from = at - 3;
    } else if (at - 6 >= start && standsAt(bytes, at - 6, end, 'github_pat_')) {
      from = at - 6;
      least = 22 + 4;
    }
    let next = at + 1;
    if (from >= 0 && !isAlphanumeric(byteAt(bytes, from - 1, start, end))) {
      const stop = runEnd(bytes, at + 1, end, isTokenByte);
      if (stop - at - 1 >= least) {
        found(from, stop);
        // What begins inside the run also ends with it.
        next = stop;
      }
    }
    at = indexOf(bytes, '_', next, end);
  }
};

function isTokenByte(byte: number): boolean {
  return isAlphanumeric(byte) || byte === 0x5f;
}

/** token68 of RFC 9110 section 11.2. */
function isToken68(byte: number): boolean {
  return isBase64Url(byte) || byte === 0x2e || byte === 0x7e || byte === 0x2b || byte === 0x2f || byte === 0x3d;
}

/** The token after `Bearer` (RFC 6750 section 2.1). Sixteen characters, since shorter ones are words. */
export const findBearerTokens: Find = (bytes, start, end, found) => {
  for (let at = start; at + 23 <= end; at++) {
    if ((bytes[at]! | 0x20) !== 0x62 || !standsAt(bytes, at, end, 'bearer')) continue;
    if (isAlphanumeric(byteAt(bytes, at - 1, start, end))) continue;
    const from = runEnd(bytes, at + 6, end, isBlank);
    if (from === at + 6) continue;
    const stop = runEnd(bytes, from, end, isToken68);
    if (stop - from >= 16 && !isWord(bytes, from, stop)) found(from, stop);
  }
};

function isBlank(byte: number): boolean {
  return byte === 0x20 || byte === 0x09;
}

/** A long word of one case, such as `responsibilities`, is no token. */
function isWord(bytes: Buffer, from: number, to: number): boolean {
  if (to - from > 24) return false;
  for (let at = from + 1; at < to; at++) {
    const byte = bytes[at]!;
    if (!((byte >= 0x61 && byte <= 0x7a) || byte === 0x2d || byte === 0x2e)) return false;
  }
  return true;
}

/** Longest userinfo that is looked at: keeps the search linear where a text repeats `://`. */
const MOST_USERINFO = 2048;

/** The password in `scheme://user:password@host` (RFC 3986 section 3.2.1) and in `password=` parameters of such a URL. */
export const findUrlPasswords: Find = (bytes, start, end, found) => {
  let searched = start;
  // The next at sign, so that a word that repeats `://` without one is not walked again for each of them.
  let nextSign = start - 1;
  for (let at = indexOf(bytes, '://', start, end); at >= 0; at = indexOf(bytes, '://', at + 3, end)) {
    if (!isAlphanumeric(byteAt(bytes, at - 1, start, end))) continue;
    const from = at + 3;
    const limit = Math.min(end, from + MOST_USERINFO);
    if (nextSign < from) {
      const next = indexOf(bytes, '@', from, end);
      nextSign = next < 0 ? end : next;
    }
    let colon = -1;
    let sign = -1;
    let position = nextSign < limit ? from : limit;
    for (; position < limit && !endsWord(bytes[position]!); position++) {
      const byte = bytes[position]!;
      if (byte === 0x3a && colon < 0) colon = position;
      else if (byte === 0x40 && colon >= 0) sign = position;
      else if (byte === 0x2f || byte === 0x3f || byte === 0x23) {
        // A slash ends the authority, unless what follows the colon is no port: then it stands in a password that should have been
        // percent-encoded.
        if (sign >= 0 || colon < 0 || isPort(bytes, colon + 1, position)) break;
      }
    }
    if (colon >= 0 && sign > colon + 1) found(colon + 1, sign);
    searched = findParameters(bytes, Math.max(searched, sign < 0 ? from : sign), end, found);
  }
};

function isPort(bytes: Buffer, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (!isDigit(bytes[at]!)) return false;
  return to >= from;
}

const PASSWORD_PARAMETERS = ['password=', 'passwd=', 'pwd=', 'sslpassword='] as const;

/** To the end of the word that `from` stands in, which is returned: no byte is searched twice. */
function findParameters(bytes: Buffer, from: number, end: number, found: Found): number {
  let at = from;
  for (; at < end && !endsWord(bytes[at]!); at++) {
    const byte = bytes[at]!;
    if (byte !== 0x3f && byte !== 0x26 && byte !== 0x3b) continue;
    for (const name of PASSWORD_PARAMETERS) {
      if (!standsAt(bytes, at + 1, end, name)) continue;
      const value = at + 1 + name.length;
      const stop = runEnd(
        bytes,
        value,
        end,
        (next) => next !== 0x26 && next !== 0x23 && next !== 0x3b && !endsWord(next),
      );
      if (stop > value) found(value, stop);
    }
  }
  return at;
}
