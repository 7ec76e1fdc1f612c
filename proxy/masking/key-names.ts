const SLOTS = 1024;
/** Longer keys are made each time, so that the table stays small. */
const LONGEST = 48;

const names: (string | undefined)[] = new Array(SLOTS);
const sources: (Uint8Array | undefined)[] = new Array(SLOTS);

/** Keys repeat in every element of an array and in every body: a text is made of their bytes once. */
export function keyName(bytes: Buffer, from: number, to: number): string {
  const length = to - from;
  if (length > LONGEST) return bytes.toString('utf8', from, to);
  let hash = length;
  for (let at = from; at < to; at++) hash = (Math.imul(hash, 31) + bytes[at]!) | 0;
  const slot = (hash ^ (hash >>> 15)) & (SLOTS - 1);
  const source = sources[slot];
  if (source !== undefined && source.length === length) {
    let at = 0;
    while (at < length && source[at] === bytes[from + at]) at++;
    if (at === length) return names[slot]!;
  }
  const name = bytes.toString('utf8', from, to);
  names[slot] = name;
  sources[slot] = Uint8Array.prototype.slice.call(bytes, from, to);
  return name;
}
