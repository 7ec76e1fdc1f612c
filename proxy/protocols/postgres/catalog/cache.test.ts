import { expect, test } from 'vitest';
import { createCatalogCache } from './cache.ts';

/** A server that answers each query with a row that says how often the catalog was changed; it can be made to fail. */
function server() {
  const state = { changes: 0, reads: 0, failing: false };
  const query = async (sql: string): Promise<string[][]> => {
    if (state.failing) throw new Error('the connection is gone');
    if (sql.startsWith('BEGIN')) state.reads++;
    if (sql.startsWith('SELECT\n')) return [[String(state.changes)]];
    if (sql.startsWith('SELECT nspname')) return [[`schema${state.changes}`]];
    if (sql.includes('server_version_num')) return [['180000', 'public', 'agent']];
    return [];
  };
  return { state, query };
}

test('reads everything only when the fingerprint has moved', async () => {
  const { state, query } = server();
  const cache = createCatalogCache(query);
  const first = await cache.refresh();
  await cache.refresh();
  expect(state.reads).toBe(1);
  state.changes++;
  const second = await cache.refresh();
  expect(state.reads).toBe(2);
  expect(second.generation).toBe(first.generation + 1);
});

test('calls while a read is running share one that begins after it', async () => {
  const { state, query } = server();
  const cache = createCatalogCache(query);
  const running = cache.refresh();
  state.changes++;
  const [a, b, c] = await Promise.all([running, cache.refresh(), cache.refresh()]);
  expect(b).toBe(c);
  expect(b.hasSchema('schema1')).toBe(true);
  expect(a.generation).toBeLessThanOrEqual(b.generation);
  expect(state.reads).toBeLessThanOrEqual(2);
});

test('a failed read leaves nothing in force, and the next one recovers', async () => {
  const { state, query } = server();
  const cache = createCatalogCache(query);
  await cache.refresh();
  state.failing = true;
  await expect(cache.refresh()).rejects.toThrow('the connection is gone');
  expect(cache.current()).toBeUndefined();
  state.failing = false;
  expect((await cache.refresh()).generation).toBe(1);
});

test('polls until the signal aborts, and reports failures', async () => {
  const { state, query } = server();
  const cache = createCatalogCache(query);
  const stop = new AbortController();
  state.failing = true;
  const failed = Promise.withResolvers<unknown>();
  const ended = cache.poll(1, stop.signal, failed.resolve);
  expect(await failed.promise).toBeInstanceOf(Error);
  stop.abort();
  await ended;
});
