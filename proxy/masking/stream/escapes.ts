/** A text without what only a terminal acts on, and where each byte of it stands in the original. */
export interface Stripped {
  readonly text: Buffer;
  /** Of each byte: where what shows it begins, characters that it was struck over included, and where that ends. */
  readonly from: Int32Array;
  readonly to: Int32Array;
}

const BACKSPACE = 0x08;
const ESCAPE = 0x1b;
const BELL = 0x07;

/** True when there is anything to take out. */
export function hasEscapes(bytes: Buffer, start: number, end: number): boolean {
  const view = bytes.subarray(start, end);
  return view.includes(ESCAPE) || view.includes(BACKSPACE);
}

/**
 * Without control sequences (ECMA-48, section 5.4), control strings and overstruck characters: `grep --color` and `man` put them between
 * the letters of a value.
 */
export function strip(bytes: Buffer, start: number, end: number): Stripped {
  const text = Buffer.allocUnsafe(end - start);
  const from = new Int32Array(end - start);
  const to = new Int32Array(end - start);
  let length = 0;
  /** Place of the character that the next one stands over. */
  let under = -1;
  let at = start;
  while (at < end) {
    const byte = bytes[at]!;
    if (byte === ESCAPE) {
      at = sequenceEnd(bytes, at, end);
      continue;
    }
    if (byte === BACKSPACE) {
      // The character before it gives way to the one behind it.
      while (length > 0 && (text[length - 1]! & 0xc0) === 0x80) length--;
      if (length > 0) under = from[--length]!;
      at++;
      continue;
    }
    from[length] = under < 0 ? at : under;
    under = -1;
    to[length] = at + 1;
    text[length++] = byte;
    at++;
  }
  return { text: text.subarray(0, length), from, to };
}

/** Behind the sequence that begins with ESC at `at`. */
function sequenceEnd(bytes: Buffer, at: number, end: number): number {
  const kind = bytes[at + 1] ?? 0;
  let next = at + 1;
  if (next >= end) return end;
  if (kind === 0x5b) {
    next++;
    while (next < end && bytes[next]! >= 0x20 && bytes[next]! <= 0x3f) next++;
    return next < end && bytes[next]! >= 0x40 && bytes[next]! <= 0x7e ? next + 1 : next;
  }
  // OSC, DCS, SOS, PM, APC: to BEL or ST; one without an end is none.
  if (kind === 0x5d || kind === 0x50 || kind === 0x58 || kind === 0x5e || kind === 0x5f) {
    for (let i = next + 1; i < end; i++) {
      if (bytes[i] === BELL) return i + 1;
      if (bytes[i] === ESCAPE && bytes[i + 1] === 0x5c) return Math.min(end, i + 2);
    }
    return next + 1;
  }
  while (next < end && bytes[next]! >= 0x20 && bytes[next]! <= 0x2f) next++;
  return next < end && bytes[next]! >= 0x30 && bytes[next]! <= 0x7e ? next + 1 : next;
}
