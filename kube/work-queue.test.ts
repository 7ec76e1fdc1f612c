import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createWorkQueue, type WorkQueue } from './work-queue.ts';

describe('a work queue', () => {
  let queue: WorkQueue;
  beforeEach(() => {
    vi.useFakeTimers();
    queue = createWorkQueue({
      name: 'test',
      now: () => Date.now(),
      backoff: { firstMs: 100, maxMs: 1000, random: () => 1 },
    });
  });
  afterEach(() => {
    queue.close();
    vi.useRealTimers();
  });

  it('gives keys in their order, each once', async () => {
    for (const key of ['a', 'b', 'a', 'c', 'b']) queue.add(key);
    expect(queue.length).toBe(3);
    expect([await queue.take(), await queue.take(), await queue.take()]).toEqual(['a', 'b', 'c']);
  });

  it('never gives a key to two, and gives it again when it was added meanwhile', async () => {
    queue.add('a');
    expect(await queue.take()).toBe('a');
    queue.add('a');
    queue.add('a');
    expect(queue.length).toBe(0);
    const next = queue.take();
    queue.done('a');
    expect(await next).toBe('a');
    queue.done('a');
    expect(queue.length).toBe(0);
  });

  it('wakes those who wait, one for each key', async () => {
    const first = queue.take();
    const second = queue.take();
    queue.add('a');
    queue.add('b');
    expect([await first, await second]).toEqual(['a', 'b']);
  });

  it('adds later, and of several times takes the earliest', async () => {
    queue.addAfter('a', 1000);
    queue.addAfter('a', 100);
    queue.addAfter('a', 5000);
    await vi.advanceTimersByTimeAsync(99);
    expect(queue.length).toBe(0);
    await vi.advanceTimersByTimeAsync(1);
    expect(queue.length).toBe(1);
    await queue.take();
    queue.done('a');
    await vi.advanceTimersByTimeAsync(10_000);
    expect(queue.length).toBe(0);
  });

  it('waits longer after each failure, up to a bound, and anew after a success', () => {
    const waits = [1, 2, 3, 4, 5].map(() => queue.retry('a'));
    expect(waits).toEqual([100, 200, 400, 800, 1000]);
    expect(queue.failures('a')).toBe(5);
    queue.forget('a');
    expect(queue.retry('a')).toBe(100);
    expect(queue.retry('b', 5000)).toBeGreaterThanOrEqual(5000);
  });

  it('lets everybody go when it is closed', async () => {
    const waiting = queue.take();
    queue.addAfter('a', 10);
    queue.close();
    expect(await waiting).toBeUndefined();
    queue.add('b');
    expect(await queue.take()).toBeUndefined();
    expect(vi.getTimerCount()).toBe(0);
  });
});
