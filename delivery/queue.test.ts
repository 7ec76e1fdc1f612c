import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { DeliveryError } from './errors.ts';
import { deliverQueue, enqueue, QUEUE_LIMITS, type QueueOptions } from './queue.ts';
import { type WebhookMessage, WebhookRefused } from './webhook.ts';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'queue-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const message = (id: string): WebhookMessage => ({
  id,
  body: Buffer.from(`{"id":"${id}"}`),
  contentType: 'application/json',
});

/** Runs the queue with a receiver; `told` is what its observer heard. */
function running(send: QueueOptions['send'], options: Partial<QueueOptions> = {}) {
  const stopping = new AbortController();
  const told: string[] = [];
  const done = deliverQueue(
    {
      folder,
      send,
      now: Date.now,
      backoff: { firstMs: 2, maxMs: 10, random: Math.random },
      observer: {
        delivered: () => void told.push('delivered'),
        failed: (error) => void told.push(error.code),
        dropped: (why) => void told.push(why),
        waiting: () => {},
      },
      ...options,
    },
    stopping.signal,
  );
  return {
    told,
    async [Symbol.asyncDispose]() {
      stopping.abort();
      await done;
    },
  };
}

it('delivers in order, what was there and what comes, and removes what arrived', async () => {
  enqueue(folder, message('m1'), 1);
  enqueue(folder, message('m2'), 2);
  const got: string[] = [];
  await using _queue = running(async ({ id, body }) => void got.push(`${id} ${Buffer.from(body).toString()}`), {
    limits: { ...QUEUE_LIMITS, maxAgeMs: Number.POSITIVE_INFINITY },
  });
  await vi.waitFor(() => expect(got).toEqual(['m1 {"id":"m1"}', 'm2 {"id":"m2"}']));
  enqueue(folder, message('m3'), 3);
  await vi.waitFor(() => expect(got.at(-1)).toBe('m3 {"id":"m3"}'));
  await vi.waitFor(async () => expect(await readdir(folder)).toEqual([]));
});

it('gives up one message that is refused for itself, and delivers those behind it meanwhile', async () => {
  enqueue(folder, message('bad'), Date.now());
  enqueue(folder, message('good'), Date.now() + 1);
  const got: string[] = [];
  await using queue = running(async ({ id }) => {
    if (id === 'bad') throw new WebhookRefused('https://there', 422, undefined);
    got.push(id);
  });
  await vi.waitFor(() => expect(queue.told).toContain('refused'));
  expect(got).toEqual(['good']);
  expect(queue.told.filter((what) => what === 'SPD003')).toHaveLength(4);
  expect(queue.told).toContain('SPD009');
  expect(await readdir(folder)).toEqual([]);
});

it('keeps everything while the receiver is down, whatever it answers', async () => {
  enqueue(folder, message('m1'), Date.now());
  let attempts = 0;
  await using queue = running(async () => {
    attempts++;
    if (attempts < 10) throw new WebhookRefused('https://there', attempts % 2 === 0 ? 503 : 401, undefined);
    if (attempts < 20) throw new DeliveryError('SPD001', ['https://there', 'ECONNREFUSED']);
  });
  await vi.waitFor(() => expect(queue.told.at(-1)).toBe('delivered'), { timeout: 10_000 });
  expect(attempts).toBe(20);
});

it('is bounded: the oldest go first, and what nobody wants to know any more', async () => {
  const now = Date.now();
  for (let index = 0; index < 5; index++) enqueue(folder, message(`m${index}`), now + index);
  enqueue(folder, message('ancient'), now - QUEUE_LIMITS.maxAgeMs - 60_000);
  await writeFile(join(folder, `${String(now + 9).padStart(15, '0')}-torn.json`), '{"id":');
  const got: string[] = [];
  await using queue = running(async ({ id }) => void got.push(id), { limits: { ...QUEUE_LIMITS, maxMessages: 6 } });
  await vi.waitFor(() => expect(queue.told).toContain('damaged'));
  expect(got).toEqual(['m0', 'm1', 'm2', 'm3', 'm4']);
  // Six stay: the one too many was the oldest.
  expect(queue.told.filter((what) => what === 'full')).toHaveLength(1);
  expect(() => enqueue(folder, { ...message('x'), body: Buffer.alloc(1024 * 1024) }, now)).toThrow('too large');
});
