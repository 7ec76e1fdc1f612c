import { keyName } from './key-names.ts';

/** Longer keys share one bit of the filter by length. */
const LONGEST_BIT = 31;
/** More keys of one length are looked up by name: a list of them would be walked for each key of a document. */
const MOST_OF_A_LENGTH = 8;
const REPLACEMENT = '\ufffd';

interface Known {
  readonly bytes: Uint8Array;
  readonly number: number;
}

/**
 * Numbers of the keys that paths name, from 1; 0 for every other key. Documents are full of keys that no path names: their bytes are told
 * from the others mostly by their length, and no string is made of them.
 */
export class KeyIndex {
  readonly size: number;
  readonly #numbers: ReadonlyMap<string, number>;
  readonly #byLength: readonly (readonly Known[] | undefined)[];
  readonly #lengths: number;
  /** A key stands for bytes that are no UTF-8: then only the text of a key says whether it is that one. */
  readonly #byText: boolean;
  /** Some key may be the index of an element. */
  readonly #indices: boolean;

  constructor(keys: Iterable<string>) {
    const numbers = new Map<string, number>();
    for (const key of keys) if (!numbers.has(key)) numbers.set(key, numbers.size + 1);
    const byLength: Known[][] = [];
    let lengths = 0;
    for (const [key, number] of numbers) {
      const bytes = Uint8Array.from(Buffer.from(key, 'utf8'));
      byLength[bytes.length] = [...(byLength[bytes.length] ?? []), { bytes, number }];
      lengths |= 1 << Math.min(LONGEST_BIT, bytes.length);
    }
    this.size = numbers.size;
    this.#numbers = numbers;
    this.#byLength = byLength;
    this.#lengths = lengths;
    this.#byText = [...numbers.keys()].some((key) => key.toWellFormed().includes(REPLACEMENT));
    this.#indices = [...numbers.keys()].some((key) => /^\d+$/.test(key));
  }

  ofText(key: string): number {
    return this.#numbers.get(key) ?? 0;
  }

  /** Of the key that stands in bytes[from, to). */
  ofBytes(bytes: Buffer, from: number, to: number): number {
    const length = to - from;
    if (((this.#lengths >>> (length < LONGEST_BIT ? length : LONGEST_BIT)) & 1) === 0 && !this.#byText) return 0;
    const known = this.#byLength[length];
    if (this.#byText || (known !== undefined && known.length > MOST_OF_A_LENGTH))
      return this.ofText(keyName(bytes, from, to));
    if (known === undefined) return 0;
    for (let which = 0; which < known.length; which++) {
      const one = known[which]!;
      let at = 0;
      while (at < length && one.bytes[at] === bytes[from + at]) at++;
      if (at === length) return one.number;
    }
    return 0;
  }

  ofIndex(index: number): number {
    return this.#indices ? this.ofText(String(index)) : 0;
  }
}
