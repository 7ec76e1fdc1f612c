import { MaskError } from '../errors.ts';

const NOTHING = Buffer.alloc(0);
/** Fewer bytes are copied one by one: a call costs more. */
const FEW = 24;

/**
 * What goes out of the bytes at hand: ranges of them, and what stands in place of others. Nothing is copied before `take`, and nothing at
 * all where one range is everything. A class for the sake of speed: one for each body.
 */
export class JsonOutput {
  /** Bytes before it went out, or were replaced. */
  copied = 0;
  readonly #wholeLimit: number;
  readonly #from: number[] = [];
  readonly #to: number[] = [];
  readonly #by: Buffer[] = [];
  #count = 0;
  #bytes: Buffer = NOTHING;
  #collected: Buffer[] | undefined;
  #collectedBytes = 0;
  #dropping = false;

  /** @param wholeLimit most bytes that are collected */
  constructor(wholeLimit: number) {
    this.#wholeLimit = wholeLimit;
  }

  /** The bytes that places are places of, up to `take`. */
  begin(bytes: Buffer): void {
    this.#bytes = bytes;
  }

  /** Lets bytes[copied, to) out. */
  flush(to: number): void {
    if (to <= this.copied) return;
    if (!this.#dropping) this.#put(this.copied, to, NOTHING);
    else if (this.#collected !== undefined) this.#collect(this.#collected, to);
    this.copied = to;
  }

  replace(from: number, to: number, by: Buffer): void {
    this.#put(this.copied < from ? this.copied : from, from, by);
    this.copied = to;
  }

  /** More, behind what is there. */
  append(by: Buffer): void {
    this.#put(0, 0, by);
  }

  /** From here on nothing goes out; with `collect` it is kept. */
  drop(collect: boolean): void {
    this.#dropping = true;
    this.#collected = collect ? [] : undefined;
    this.#collectedBytes = 0;
  }

  /** @returns what was collected */
  resume(): Buffer | undefined {
    const collected = this.#collected;
    this.#dropping = false;
    this.#collected = undefined;
    return collected === undefined ? undefined : Buffer.concat(collected);
  }

  /** What goes out. It may be a part of the bytes at hand. */
  take(): Buffer | undefined {
    const count = this.#count;
    if (count === 0) return undefined;
    this.#count = 0;
    const bytes = this.#bytes;
    const froms = this.#from;
    const tos = this.#to;
    const bys = this.#by;
    if (count === 1 && bys[0] === NOTHING)
      return tos[0]! - froms[0]! === bytes.length ? bytes : bytes.subarray(froms[0], tos[0]);
    let size = 0;
    for (let which = 0; which < count; which++) size += tos[which]! - froms[which]! + bys[which]!.length;
    const made = Buffer.allocUnsafe(size);
    let at = 0;
    for (let which = 0; which < count; which++) {
      const from = froms[which]!;
      const to = tos[which]!;
      if (to > from) at = copy(bytes, from, to, made, at);
      const by = bys[which]!;
      if (by.length > 0) at = copy(by, 0, by.length, made, at);
      bys[which] = NOTHING;
    }
    return made;
  }

  #put(from: number, to: number, by: Buffer): void {
    const which = this.#count++;
    this.#from[which] = from;
    this.#to[which] = to;
    this.#by[which] = by;
  }

  #collect(into: Buffer[], to: number): void {
    this.#collectedBytes += to - this.copied;
    if (this.#collectedBytes > this.#wholeLimit)
      throw new MaskError('SPM014', `an object of more than ${this.#wholeLimit} bytes`);
    into.push(Buffer.from(this.#bytes.subarray(this.copied, to)));
  }
}

/** @returns the place behind the copy */
function copy(source: Buffer, from: number, to: number, into: Buffer, at: number): number {
  const length = to - from;
  if (length > FEW) source.copy(into, at, from, to);
  else for (let index = 0; index < length; index++) into[at + index] = source[from + index]!;
  return at + length;
}
