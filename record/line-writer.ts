/** Up to here a loop is faster than a call into the engine's copy. */
const SHORT_COPY = 24;
/** Bytes that one UTF-16 unit takes at most in UTF-8. */
const MOST_OF_A_UNIT = 3;
/** What the engine keeps as a small integer on every platform. */
const LARGEST_SMALL = 0x3fffffff;
/** Digits of the largest of them. */
const MOST_DIGITS = 10;

/**
 * Bytes that grow at their end. Lines of the record are written into it piece by piece: a string of all the pieces would have to be made, flattened
 * and encoded, which costs more than the line is long. A class for the sake of speed.
 */
export class LineWriter {
  bytes: Buffer;
  /** How many of them are written. */
  length = 0;

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafeSlow(size);
  }

  /** Makes room for so many more. */
  reserve(count: number): void {
    if (this.length + count > this.bytes.length) this.#grow(count);
  }

  #grow(count: number): void {
    const grown = Buffer.allocUnsafeSlow(Math.max(2 * this.bytes.length, this.length + count));
    this.bytes.copy(grown, 0, 0, this.length);
    this.bytes = grown;
  }

  copy(piece: Buffer): void {
    const count = piece.length;
    this.reserve(count);
    const { bytes, length } = this;
    if (count > SHORT_COPY) bytes.set(piece, length);
    else for (let i = 0; i < count; i++) bytes[length + i] = piece[i]!;
    this.length = length + count;
  }

  /** In decimal. */
  integer(value: number): void {
    if ((value | 0) !== value || value < 0 || value > LARGEST_SMALL) {
      this.text(String(value));
      return;
    }
    this.reserve(MOST_DIGITS);
    const { bytes } = this;
    let rest = value;
    let digits = 1;
    for (let bound = 10; rest >= bound && digits < MOST_DIGITS; bound *= 10) digits++;
    for (let at = this.length + digits - 1; at >= this.length; at--) {
      const tens = (rest / 10) | 0;
      bytes[at] = 0x30 + rest - tens * 10;
      rest = tens;
    }
    this.length += digits;
  }

  /** Any text, in UTF-8; half a surrogate pair as U+FFFD. */
  text(text: string): void {
    let most = text.length * MOST_OF_A_UNIT;
    if (this.length + most > this.bytes.length) most = Buffer.byteLength(text);
    this.reserve(most);
    this.length += this.bytes.write(text, this.length, 'utf8');
  }

  /** The base64 of source[start, end). */
  base64(source: Buffer, start: number, end: number): void {
    const text = source.toString('base64', start, end);
    this.reserve(text.length);
    this.length += this.bytes.write(text, this.length, 'latin1');
  }

  /** source[start, end) in quotes, when that is JSON: printable ASCII. Else nothing is written, and it returns false. */
  plain(source: Buffer, start: number, end: number): boolean {
    this.reserve(end - start + 2);
    const { bytes } = this;
    let to = this.length;
    bytes[to++] = 0x22;
    for (let at = start; at < end; at++) {
      const byte = source[at]!;
      if (byte < 0x20 || byte > 0x7e || byte === 0x22 || byte === 0x5c) return false;
      bytes[to++] = byte;
    }
    bytes[to++] = 0x22;
    this.length = to;
    return true;
  }
}
