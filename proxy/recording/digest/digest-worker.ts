/** The worker thread of stream-digest.ts: SHA-256 of the streams whose bytes come through the ring. */
import { createHash, type Hash } from 'node:crypto';
import { workerData } from 'node:worker_threads';
import { Operation, type RingMemory, serveRing } from './ring.ts';

const hashes = new Map<number, Hash>();

serveRing(workerData as RingMemory, (operation, stream, bytes) => {
  if (operation === Operation.UPDATE) {
    let hash = hashes.get(stream);
    if (hash === undefined) {
      hash = createHash('sha256');
      hashes.set(stream, hash);
    }
    hash.update(bytes);
    return undefined;
  }
  const hash = hashes.get(stream) ?? createHash('sha256');
  hashes.delete(stream);
  return operation === Operation.DIGEST ? hash.digest() : undefined;
});
