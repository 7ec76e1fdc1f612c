/** Bytes of a message that has not arrived whole, or that has to wait. Holds no memory while there are none. */
export class Carry {
  bytes: Buffer | undefined;
  length = 0;

  /** Copies source[start, end) behind what is there. */
  keep(source: Buffer, start: number, end: number): void {
    const count = end - start;
    if (count === 0) return;
    if (this.bytes === undefined || this.bytes.length < this.length + count) {
      const grown = Buffer.allocUnsafe(Math.max(1024, (this.length + count) * 2));
      if (this.bytes !== undefined) this.bytes.copy(grown, 0, 0, this.length);
      this.bytes = grown;
    }
    source.copy(this.bytes, this.length, start, end);
    this.length += count;
  }

  /** Drops the first `count` bytes. */
  drop(count: number): void {
    this.length -= count;
    if (this.length === 0) this.bytes = undefined;
    else if (count > 0) this.bytes?.copyWithin(0, count, count + this.length);
  }
}
