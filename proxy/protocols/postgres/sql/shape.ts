/**
 * The literal-stripped key of a text, from its bytes: two texts with the same key parse to the same tree up to the values of
 * constants. Numbers and plain strings are stripped, everything else stays. Anything whose end or meaning needs more than this
 * small lexer (comments, backslashes, dollar quotes, prefixed strings, a number that touches a letter, …) has no key, and its
 * exact text is the key.
 *
 * The caller uses a key only for an analysis whose `shapeStable` is true.
 */

/** Longer texts are rarely repeated, and looking for their key costs more than it saves. */
export const SHAPE_LIMIT = 16 * 1024;

const STRING = 0x01;
const NUMBER = 0x02;

/** Class of each byte: 1 identifier start or continuation (ASCII letters, `_`, non-ASCII), 2 digit, 4 refuse. */
const CLASS = new Uint8Array(256);
for (let c = 0; c < 256; c++) {
  if ((c >= 65 && c <= 90) || (c >= 97 && c <= 122) || c === 0x5f || c >= 0x80) CLASS[c] = 1;
  else if (c >= 48 && c <= 57) CLASS[c] = 2;
  // Control characters (the placeholders are two of them), but not the white space of scan.l.
  else if ((c < 32 && c !== 9 && c !== 10 && c !== 12 && c !== 13) || c === 127 || c === 0x5c) CLASS[c] = 4;
}

const scratch = Buffer.allocUnsafeSlow(SHAPE_LIMIT);

/** The key of bytes `start`..`end` (end exclusive) as a latin1 string, or undefined when the exact text must be the key. */
export function shapeKey(bytes: Buffer, start: number, end: number): string | undefined {
  if (end - start > SHAPE_LIMIT) return undefined;
  let out = 0;
  let p = start;
  /** The byte before p, 0 at the start. */
  let before = 0;
  while (p < end) {
    const c = bytes[p]!;
    const kind = CLASS[c]!;
    if (kind === 1) {
      // A whole identifier or keyword. `$` and digits continue it (scan.l, ident_cont).
      let d: number;
      do {
        scratch[out++] = bytes[p]!;
        d = ++p < end ? bytes[p]! : 0;
      } while (CLASS[d]! === 1 || CLASS[d]! === 2 || d === 0x24);
      // E'', B'', X'', N'', U&'', U&"": prefixed strings.
      if (d === 0x27 || d === 0x22) return undefined;
      if (d === 0x26 && p + 1 < end && (bytes[p + 1] === 0x27 || bytes[p + 1] === 0x22)) return undefined;
      before = bytes[p - 1]!;
      continue;
    }
    if (kind === 2) {
      p = number(bytes, start, p, end);
      if (p < 0) return undefined;
      scratch[out++] = NUMBER;
      before = NUMBER;
      continue;
    }
    if (kind === 4) return undefined;
    switch (c) {
      case 0x27: // '
        p = quoted(bytes, p, end);
        if (p < 0) return undefined;
        scratch[out++] = STRING;
        before = STRING;
        continue;
      case 0x22: {
        // "identifier", kept byte for byte
        const from = p;
        for (;;) {
          if (++p >= end) return undefined;
          if (bytes[p] !== 0x22) continue;
          if (p + 1 < end && bytes[p + 1] === 0x22) p++;
          else break;
        }
        p++;
        out += bytes.copy(scratch, out, from, p);
        before = 0x22;
        continue;
      }
      case 0x24: {
        // $1 stays; a dollar quote, or anything else with a dollar, has no key.
        const from = p;
        while (++p < end && CLASS[bytes[p]!]! === 2);
        if (p === from + 1) return undefined;
        const d = p < end ? bytes[p]! : 0;
        if (CLASS[d]! === 1 || d === 0x24 || d === 0x2e || d === 0x27 || d === 0x22) return undefined;
        out += bytes.copy(scratch, out, from, p);
        before = 0x30;
        continue;
      }
      case 0x2d: // --
      case 0x2a: // */
        if (before === c || (c === 0x2a && before === 0x2f)) return undefined;
        break;
      default:
        break;
    }
    scratch[out++] = c;
    before = c;
    p++;
  }
  return scratch.toString('latin1', 0, out);
}

/** The end of the number at `p`, or -1: 12, 1.5, 12., 1e9. A letter, `_`, `$`, quote or second point beside it has no key. */
function number(bytes: Buffer, start: number, from: number, end: number): number {
  let p = from;
  // .5 was begun by the point: then this is its fraction, and another point is junk.
  const fraction = from > start && bytes[from - 1] === 0x2e;
  while (p < end && CLASS[bytes[p]!]! === 2) p++;
  if (p < end && bytes[p] === 0x2e) {
    if (fraction) return -1;
    p++;
    while (p < end && CLASS[bytes[p]!]! === 2) p++;
    if (p < end && bytes[p] === 0x2e) return -1;
  }
  if (p < end && (bytes[p] === 0x65 || bytes[p] === 0x45)) {
    p++;
    if (p < end && (bytes[p] === 0x2b || bytes[p] === 0x2d)) p++;
    const digits = p;
    while (p < end && CLASS[bytes[p]!]! === 2) p++;
    if (p === digits) return -1;
  }
  if (p < end) {
    const d = bytes[p]!;
    if (CLASS[d]! === 1 || d === 0x24 || d === 0x27 || d === 0x22 || d === 0x2e) return -1;
  }
  return p;
}

/** The end of the string at `p` (after its closing quote), or -1: not closed, or with a backslash or a control character. */
function quoted(bytes: Buffer, from: number, end: number): number {
  let p = from + 1;
  for (;;) {
    if (p >= end) return -1;
    const c = bytes[p]!;
    if (c === 0x27) {
      if (p + 1 < end && bytes[p + 1] === 0x27) p += 2;
      else return p + 1;
    } else if (c === 0x5c || c === 0) return -1;
    else p++;
  }
}
