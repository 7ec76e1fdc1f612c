import { createHash } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { Pool } from 'undici';
import type { UpstreamPool, Upstreams, UpstreamTarget } from '../port.ts';
import { asConnector, createConnect } from './connect.ts';

export interface UpstreamsOptions {
  /** For TCP and TLS, in milliseconds. */
  readonly connectTimeoutMs: number;
  /** From a request to the head of its answer, in milliseconds. Default 300 s. */
  readonly headersTimeoutMs?: number;
}

const HEADERS_TIMEOUT_MS = 300_000;
/** Head of an answer, in bytes. */
const MAX_ANSWER_HEAD_BYTES = 65_536;
/** How long a connection is kept where the target does not say: many close after 5 s. */
const KEEP_ALIVE_MS = 4000;
/** Pools that nobody has asked for in this time are closed. */
const IDLE_MS = 600_000;
const MAX_POOLS = 4096;

interface Entry {
  readonly pool: UpstreamPool;
  usedAt: number;
}

/** @param now milliseconds since 1970 */
export function createUpstreams(options: UpstreamsOptions, now: () => number = Date.now): Upstreams {
  const entries = new Map<string, Entry>();
  const known = new WeakMap<UpstreamTarget, Entry>();

  function retire(key: string, { pool }: Entry): void {
    entries.delete(key);
    // What is under way ends by itself; nothing new is begun on it.
    pool.dispatcher.close().catch(() => pool.dispatcher.destroy());
  }

  function tidy(): void {
    const before = now() - IDLE_MS;
    for (const [key, entry] of entries) {
      if (entry.usedAt < before || entries.size > MAX_POOLS) retire(key, entry);
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
      await Promise.all(pools.map(({ pool }) => pool.dispatcher.destroy()));
    },
  };
}

/** A digest, so that no private key lies about as the key of a map. */
function keyOf({ label, host, port, tls }: UpstreamTarget): string {
  const parts = [label, host, port, tls?.mode, tls?.certificateAuthorities, tls?.serverName];
  const key = JSON.stringify([...parts, tls?.clientCertificate?.certificate, tls?.clientCertificate?.key]);
  return createHash('sha256').update(key).digest('base64');
}

function createPool(target: UpstreamTarget, options: UpstreamsOptions): UpstreamPool {
  const connect = createConnect(target, options.connectTimeoutMs);
  let opened = 0;
  const scheme = target.tls === undefined ? 'http' : 'https';
  const host = target.host.includes(':') ? `[${target.host}]` : target.host;
  const pool = new Pool(`${scheme}://${host}:${target.port}`, {
    connect: asConnector((done) => {
      opened++;
      return connect(done);
    }),
    connections: null,
    allowH2: false,
    pipelining: 1,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: 60_000,
    headersTimeout: options.headersTimeoutMs ?? HEADERS_TIMEOUT_MS,
    bodyTimeout: 0,
    maxHeaderSize: MAX_ANSWER_HEAD_BYTES,
    strictContentLength: true,
  });
  return {
    target,
    dispatcher: pool,
    get opened() {
      return opened;
    },
    get closed() {
      return pool.closed || pool.destroyed;
    },
    dial: (signal) =>
      new Promise<Duplex>((resolve, reject) => {
        signal.throwIfAborted();
        const aborted = (): void => {
          socket?.destroy();
          reject(signal.reason);
        };
        const socket = connect((error, ready) => {
          signal.removeEventListener('abort', aborted);
          if (signal.aborted) ready?.destroy();
          else if (ready === null) reject(error);
          else {
            // Until whoever asked listens, an error is nobody's; its close tells of it.
            ready.on('error', () => {});
            resolve(ready);
          }
        });
        signal.addEventListener('abort', aborted, { once: true });
      }),
  };
}
