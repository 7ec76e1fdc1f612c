import type { Wire } from '../listener/wire.ts';

const SIZE = 16_384;
const LARGE = 65_536;
const BULK = 262_144;
const KEEP = 256;
const KEEP_LARGE = 16;
const KEEP_BULK = 8;
/** Up to this length, views of a buffer are kept: making one costs more than copying what most messages hold. */
const VIEWS = 1024;

/** An output buffer that sessions borrow for one event-loop turn, so that an idle session holds none. */
class Lent {
  readonly bytes: Buffer;
  readonly #views: (Buffer | undefined)[] = [];

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafeSlow(size);
  }

  /** The first `length` bytes. */
  view(length: number): Buffer {
    if (length >= VIEWS) return this.bytes.subarray(0, length);
    let view = this.#views[length];
    if (view === undefined) {
      view = this.bytes.subarray(0, length);
      this.#views[length] = view;
    }
    return view;
  }
}

const free: Lent[] = [];
const freeLarge: Lent[] = [];
const freeBulk: Lent[] = [];

function borrow(size: number): Lent {
  if (size <= SIZE) return free.pop() ?? new Lent(SIZE);
  if (size <= LARGE) return freeLarge.pop() ?? new Lent(LARGE);
  if (size <= BULK) return freeBulk.pop() ?? new Lent(BULK);
  return new Lent(size);
}

/** Only for buffers that nothing references any more: not those whose write the kernel has not finished. */
function giveBack(lent: Lent): void {
  if (lent.bytes.length === SIZE && free.length < KEEP) free.push(lent);
  else if (lent.bytes.length === LARGE && freeLarge.length < KEEP_LARGE) freeLarge.push(lent);
  else if (lent.bytes.length === BULK && freeBulk.length < KEEP_BULK) freeBulk.push(lent);
}

/** Writes bytes that are valid only now, such as those of the shared read buffer. */
export function writeCopy(wire: Wire, source: Buffer, start: number, end: number): void {
  const count = end - start;
  const lent = borrow(count);
  source.copy(lent.bytes, 0, start, end);
  if (!wire.write(lent.view(count))) giveBack(lent);
}

/** Bytes on their way out, gathered over one turn. */
export class Outgoing {
  #lent: Lent | undefined;
  length = 0;

  append(source: Buffer, start: number, end: number): void {
    const count = end - start;
    const target = this.#room(count);
    if (count <= 24) for (let i = 0; i < count; i++) target[this.length + i] = source[start + i]!;
    else source.copy(target, this.length, start, end);
    this.length += count;
  }

  /** Announces bytes that are about to be appended, so that a buffer which is too small is not filled first. */
  reserve(count: number): void {
    this.#room(count);
  }

  #room(count: number): Buffer {
    let lent = this.#lent;
    if (lent === undefined) {
      lent = borrow(count);
      this.#lent = lent;
    } else if (this.length + count > lent.bytes.length) {
      const grown = borrow(Math.max(lent.bytes.length * 2, this.length + count));
      lent.bytes.copy(grown.bytes, 0, 0, this.length);
      giveBack(lent);
      lent = grown;
      this.#lent = lent;
    }
    return lent.bytes;
  }

  /** Writes everything now. The buffer goes back to the pool unless the kernel did not take all of it. */
  writeTo(wire: Wire): void {
    const lent = this.#lent;
    if (lent === undefined || this.length === 0) return;
    this.#lent = undefined;
    const retained = wire.write(lent.view(this.length));
    this.length = 0;
    if (!retained) giveBack(lent);
  }

  clear(): void {
    if (this.#lent !== undefined) giveBack(this.#lent);
    this.#lent = undefined;
    this.length = 0;
  }
}
