import { randomFillSync } from 'node:crypto';

/** Drawn at once, in bytes: one draw costs as much as copying all of it. */
const POOL_BYTES = 1024;
const pool = Buffer.allocUnsafeSlow(POOL_BYTES);
let at = POOL_BYTES;

/** A few random bytes, for what each session needs of them; nobody else gets the same. @param count at most 1,024 */
export function randomPart(count: number): Buffer {
  if (count > POOL_BYTES) throw new RangeError(`${count} random bytes at once`);
  if (at + count > POOL_BYTES) {
    randomFillSync(pool);
    at = 0;
  }
  const bytes = Buffer.from(pool.subarray(at, at + count));
  // What was given out is nowhere else: the pool outlives the secret.
  pool.fill(0, at, at + count);
  at += count;
  return bytes;
}
