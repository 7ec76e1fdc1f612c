import type { Wire } from '../../../../listener/wire.ts';

/** What is composed here goes out in one write; beyond it a buffer is made for the occasion. In bytes. */
const OUT_BYTES = 32_768;

/** The one buffer that answers are put together in: the kernel takes almost all of them at once, and another is made when it does not. */
let out = Buffer.allocUnsafeSlow(OUT_BYTES);

/** Text before and behind pieces of a body, in one write. The pieces are copied; text is Latin-1. */
export function writeTogether(wire: Wire, before: string, pieces: readonly Buffer[], after: string): void {
  let size = before.length + after.length;
  for (const piece of pieces) size += piece.length;
  const fits = size <= OUT_BYTES;
  const bytes = fits ? out : Buffer.allocUnsafeSlow(size);
  let at = bytes.write(before, 0, 'latin1');
  for (const piece of pieces) at += piece.copy(bytes, at);
  if (after !== '') bytes.write(after, at, 'latin1');
  if (wire.write(fits ? bytes.subarray(0, size) : bytes) && fits) out = Buffer.allocUnsafeSlow(OUT_BYTES);
}
