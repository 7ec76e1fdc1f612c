/**
 * The snapshot in force for one connection, shared by its sessions. `refresh` reads only when the fingerprint has moved, so an agent
 * that keeps naming what does not exist costs one cheap query each time and no more.
 */
import { createHash } from 'node:crypto';
import { catalogFingerprint } from './fingerprint.ts';
import { type CatalogContent, createCatalog } from './index.ts';
import { type CatalogQuery, readCatalog } from './snapshot.ts';
import type { Catalog } from './types.ts';

export interface CatalogCache {
  /** The snapshot in force, or undefined before the first read, after `invalidate`, and when a poll has failed. */
  current(): Catalog | undefined;
  /**
   * A snapshot that was begun after this call. Calls while a read is running share the next one. Rejects with the query's error;
   * then nothing is in force, so that names are not judged by what may have changed.
   */
  refresh(): Promise<Catalog>;
  /** Takes the snapshot out of force: the next `refresh` reads everything. */
  invalidate(): void;
  /**
   * Looks every `intervalMs` whether the catalog has changed (DDL from elsewhere), until the signal aborts. Failures go to
   * `onError`, and take the snapshot out of force.
   */
  poll(intervalMs: number, signal: AbortSignal, onError: (error: unknown) => void): Promise<void>;
}

/** @param query statements run one after another, on a connection of the role that the sessions use */
export function createCatalogCache(query: CatalogQuery): CatalogCache {
  let catalog: Catalog | undefined;
  let generation = 0;
  let fingerprint: string | undefined;
  let digest: string | undefined;
  let last: Catalog | undefined;
  let running: Promise<Catalog> | undefined;
  let next: Promise<Catalog> | undefined;

  async function read(): Promise<Catalog> {
    try {
      // Before the snapshot: a change between the two is seen again by the next look, never missed.
      const seen = await catalogFingerprint(query);
      if (catalog !== undefined && seen === fingerprint) return catalog;
      const content = await readCatalog(query);
      const found = digestOf(content);
      if (last === undefined || found !== digest) last = createCatalog(content, ++generation);
      digest = found;
      // A rollback releases a lock and changes no row: an incomplete snapshot is read again whatever the fingerprint says.
      fingerprint = content.complete ? seen : undefined;
      catalog = last;
      return catalog;
    } catch (error) {
      catalog = undefined;
      throw error;
    }
  }

  function start(): Promise<Catalog> {
    const mine = read().finally(() => {
      if (running === mine) running = undefined;
    });
    running = mine;
    return mine;
  }

  function refresh(): Promise<Catalog> {
    if (running === undefined) return start();
    // Whether the running read failed matters to its own callers only.
    next ??= running
      .then(
        () => undefined,
        () => undefined,
      )
      .then(() => {
        next = undefined;
        return start();
      });
    return next;
  }

  return {
    current: () => catalog,
    refresh,
    invalidate() {
      catalog = undefined;
    },
    async poll(intervalMs, signal, onError) {
      while (!signal.aborted) {
        await pause(intervalMs, signal);
        if (signal.aborted) return;
        try {
          await refresh();
        } catch (error) {
          onError(error);
        }
      }
    },
  };
}

/** Ends early, without an error, when the signal aborts. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    timer.unref();
    signal.addEventListener('abort', end);
    if (signal.aborted) end();
  });
}

/** Equal exactly when the content is: rows come in a fixed order. */
function digestOf(content: CatalogContent): string {
  const hash = createHash('sha256');
  hash.update(JSON.stringify([content.serverVersion, content.defaultSearchPath, content.role]));
  hash.update(JSON.stringify([[...content.schemas].sort(), [...content.unusableSchemas].sort()]));
  for (const relation of content.relations) hash.update(JSON.stringify(relation));
  for (const entry of content.functions) hash.update(JSON.stringify(entry));
  hash.update(JSON.stringify([...content.userOperators].sort(([a], [b]) => (a < b ? -1 : 1))));
  return hash.digest('base64');
}
