/** 1 for digits, 2 for what may stand between digits of one number: blanks, hyphens, brackets, dots, a plus, bytes of Unicode's blanks and dashes. */
const PART = new Uint8Array(256);
for (const character of ' -().+') PART[character.charCodeAt(0)] = 2;
PART[0xc2] = PART[0xa0] = PART[0xe2] = PART[0x80] = PART[0xaf] = 2;
PART.fill(2, 0x90, 0x96);
PART.fill(1, 0x30, 0x3a);

/**
 * Hands out the runs of digits and separators that have at least `least` digits: a number stands in one of them as a whole. Most texts have
 * digits everywhere and no such run, so most bytes are not looked at: a run that is long enough has one at every `least`-th place.
 */
export function eachDigitRun(
  bytes: Buffer,
  start: number,
  end: number,
  least: number,
  visit: (from: number, to: number, digits: number) => void,
): void {
  /** No run goes on from before it. */
  let from = start;
  while (from + least <= end) {
    let at = from + least - 1;
    while (at >= from && PART[bytes[at]!] !== 0) at--;
    if (at >= from) {
      from = at + 1;
      continue;
    }
    let digits = 0;
    for (at = from; at < end; at++) {
      const part = PART[bytes[at]!]!;
      if (part === 0) break;
      digits += part & 1;
    }
    if (digits >= least) visit(from, at, digits);
    from = at + 1;
  }
}
