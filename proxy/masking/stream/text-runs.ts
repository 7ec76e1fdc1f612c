/** What is text in bytes that are not: the runs that are searched. */

/** In bytes that are mostly no text, a shorter run is taken for chance: random bytes hold short ones everywhere. */
const LEAST_RUN = 16;
/** Above this share of bytes that are no text, it is binary. Text of Latin-1 has a few per cent, random bytes sixty. */
const BINARY_SHARE = 0.3;

/** Blank, printable, or one of BEL, BS, HT, LF, VT, FF, CR, ESC, which text for terminals has. */
function isTextByte(byte: number): boolean {
  return (byte >= 0x20 && byte < 0x7f) || (byte >= 0x07 && byte <= 0x0d) || byte === 0x1b;
}

/** Length of the UTF-8 sequence at `at` (RFC 3629, section 4), 0 where there is none. */
function sequenceLength(bytes: Buffer, at: number, end: number): number {
  const first = bytes[at]!;
  const length =
    first >= 0xc2 && first <= 0xdf ? 2 : first >= 0xe0 && first <= 0xef ? 3 : first >= 0xf0 && first <= 0xf4 ? 4 : 0;
  if (length === 0 || at + length > end) return 0;
  for (let i = 1; i < length; i++) if ((bytes[at + i]! & 0xc0) !== 0x80) return 0;
  const second = bytes[at + 1]!;
  if ((first === 0xe0 && second < 0xa0) || (first === 0xed && second > 0x9f)) return 0;
  if ((first === 0xf0 && second < 0x90) || (first === 0xf4 && second > 0x8f)) return 0;
  return length;
}

/** [from, to) of the runs in bytes[start, end) that are worth a search, in order. */
export function textRuns(bytes: Buffer, start: number, end: number): readonly (readonly [from: number, to: number])[] {
  const all: [number, number][] = [];
  let text = 0;
  let from = -1;
  let at = start;
  while (at < end) {
    const byte = bytes[at]!;
    const length = byte < 0x80 ? (isTextByte(byte) ? 1 : 0) : sequenceLength(bytes, at, end);
    if (length > 0) {
      if (from < 0) from = at;
      text += length;
      at += length;
      continue;
    }
    if (from >= 0) all.push([from, at]);
    from = -1;
    at++;
  }
  if (from >= 0) all.push([from, end]);
  const mostlyText = end - start - text <= (end - start) * BINARY_SHARE;
  return mostlyText ? all : all.filter(([first, last]) => last - first >= LEAST_RUN);
}

/** The largest place in (end - 4, end] at which no UTF-8 sequence is cut. */
export function wholeCharacters(bytes: Buffer, start: number, end: number): number {
  for (let at = end - 1; at >= start && at > end - 4; at--) {
    const byte = bytes[at]!;
    if (byte < 0x80) return end;
    if (byte >= 0xc0) {
      const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      return at + length > end ? at : end;
    }
  }
  return end;
}
