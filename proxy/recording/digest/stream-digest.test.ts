import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createStreamDigest, digestThread } from './stream-digest.ts';

const sha256 = (pieces: readonly Buffer[]): string => createHash('sha256').update(Buffer.concat(pieces)).digest('hex');

/** More than the ring holds, in pieces around the sizes where something changes. */
const pieces = [1, 1023, 1025, 63_487, 1, 32_767, 32_768, 32_769, 0, 65_536, 262_144, 5, 3_000_000].map((length) =>
  randomBytes(length),
);

describe('digest of a stream', () => {
  it.each([
    ['nothing', 0],
    ['what is short', 4],
    ['what began before the thread was there', pieces.length],
  ])('is that of all its bytes: %s', (_what, count) => {
    const digest = createStreamDigest();
    const given = pieces.slice(0, count);
    for (const piece of given) digest.update(piece);
    expect(digest.hex()).toBe(sha256(given));
  });

  it('is made by a thread, for many streams at once, each with a copy of what it was given', async () => {
    await digestThread();
    const streams = Array.from({ length: 5 }, () => ({ digest: createStreamDigest(), given: [] as Buffer[] }));
    const reused = Buffer.alloc(3_000_000);
    for (const piece of pieces) {
      for (const [index, { digest, given }] of streams.entries()) {
        piece.copy(reused);
        reused.fill(index, 0, Math.min(1, piece.length));
        const bytes = reused.subarray(0, piece.length);
        given.push(Buffer.from(bytes));
        digest.update(bytes);
      }
    }
    streams[3]?.digest.drop();
    for (const [index, { digest, given }] of streams.entries())
      if (index !== 3) expect(digest.hex()).toBe(sha256(given));
  });
});
