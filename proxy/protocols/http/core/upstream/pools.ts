import { createHash } from 'node:crypto';
import type { Upstreams, UpstreamTarget } from '../port.ts';
import { createPool, type TargetPool } from './pool.ts';

export interface UpstreamsOptions {
  /** For TCP and TLS, in milliseconds. */
  readonly connectTimeoutMs: number;
  /** From a request to the head of its answer, in milliseconds. Default 300 s. */
  readonly headersTimeoutMs?: number;
}

/** Pools that nobody has asked for in this time are closed. */
const IDLE_MS = 600_000;
const MAX_POOLS = 4096;

interface Entry {
  readonly pool: TargetPool;
  usedAt: number;
}

/** @param now milliseconds since 1970 */
export function createUpstreams(options: UpstreamsOptions, now: () => number = Date.now): Upstreams {
  const entries = new Map<string, Entry>();
  const known = new WeakMap<UpstreamTarget, Entry>();

  function tidy(): void {
    const before = now() - IDLE_MS;
    for (const [key, entry] of entries) {
      if (entry.usedAt >= before && entries.size <= MAX_POOLS) continue;
      entries.delete(key);
      entry.pool.retire();
    }
  }

  return {
    pool(target) {
      const seen = known.get(target);
      if (seen !== undefined && !seen.pool.closed) {
        seen.usedAt = now();
        return seen.pool;
      }
      const key = keyOf(target);
      let entry = entries.get(key);
      if (entry === undefined) {
        tidy();
        entry = { pool: createPool(target, options), usedAt: now() };
        entries.set(key, entry);
      }
      entry.usedAt = now();
      known.set(target, entry);
      return entry.pool;
    },
    async close() {
      const pools = [...entries.values()];
      entries.clear();
      for (const { pool } of pools) pool.destroy();
    },
  };
}

/** A digest, so that no private key lies about as the key of a map. */
function keyOf({ label, host, port, tls }: UpstreamTarget): string {
  const parts = [label, host, port, tls?.mode, tls?.certificateAuthorities, tls?.serverName];
  const key = JSON.stringify([...parts, tls?.clientCertificate?.certificate, tls?.clientCertificate?.key]);
  return createHash('sha256').update(key).digest('base64');
}
