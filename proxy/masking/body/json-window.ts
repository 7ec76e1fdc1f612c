const LEAST = 64;
const NOTHING = Buffer.alloc(0);

/**
 * The bytes that are read: a chunk, or what was kept of those before it and the chunk behind that. A class for the sake of speed: one for
 * each body.
 */
export class JsonWindow {
  bytes: Buffer = NOTHING;
  /** Bytes [0, end) are there. */
  end = 0;
  /** Where it is being read. */
  at = 0;
  #kept: Buffer | undefined;

  append(chunk: Buffer): void {
    const kept = this.#kept;
    if (kept === undefined) {
      this.bytes = chunk;
      this.at = 0;
      this.end = chunk.length;
      return;
    }
    let store = kept;
    if (this.end + chunk.length > kept.length) {
      store = Buffer.allocUnsafeSlow((this.end + chunk.length) * 2);
      kept.copy(store, 0, 0, this.end);
      this.#kept = store;
    }
    chunk.copy(store, this.end);
    this.bytes = store;
    this.end += chunk.length;
  }

  /** Copies bytes[from, end), since a chunk is valid during a call only; places move by `from`. */
  keep(from: number): void {
    if (from >= this.end) {
      this.#kept = undefined;
      return;
    }
    if (this.bytes !== this.#kept || from > 0) {
      const rest = this.bytes.subarray(from, this.end);
      // Nothing of it was given out, so that it may grow in place from here on.
      this.#kept = Buffer.allocUnsafeSlow(Math.max(LEAST, rest.length * 2));
      rest.copy(this.#kept);
    }
    this.end -= from;
    this.at -= from;
  }

  drop(): void {
    this.#kept = undefined;
  }

  /** Nothing more comes: only what was kept is left. */
  finish(): void {
    if (this.#kept !== undefined) {
      this.bytes = this.#kept;
      return;
    }
    this.bytes = NOTHING;
    this.at = this.end = 0;
  }
}
