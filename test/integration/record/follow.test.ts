import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createRecorder } from '../../../proxy/recording/writer.ts';
import { type FollowedEvent, followEvents } from '../../../record/follow.ts';

let root = '';
beforeEach(async () => {
  root = join(await mkdtemp(join(tmpdir(), 'record-')), 'record');
  await mkdir(root);
});
afterEach(() => rm(join(root, '..'), { recursive: true }));

/** Follows until `enough`, then ends. `begun` resolves with the first event: whatever is written after it is seen. */
function follow(enough: (events: readonly FollowedEvent[]) => boolean) {
  const begun = Promise.withResolvers<void>();
  async function run(): Promise<FollowedEvent[]> {
    const abort = new AbortController();
    const events: FollowedEvent[] = [];
    for await (const event of followEvents(root, {}, abort.signal)) {
      events.push(event);
      begun.resolve();
      if (enough(events)) abort.abort();
    }
    return events;
  }
  return { begun: begun.promise, events: run() };
}

it('gives what is written from then on, in order, over segments and connections that are new', async () => {
  const recorder = createRecorder({ root, pid: process.pid, segmentBytes: 5_000 });
  const first = recorder.stream('shop', 'db');
  first.append('command.received', '"old":true');
  first.flush();
  const following = follow((events) => events.filter(({ event }) => event.i !== undefined).length >= 600);
  // What is written before the first listing counts as old: one event after the other, until one is seen.
  const beat = setInterval(() => {
    first.append('recorder.heartbeat', '');
    first.flush();
  }, 5);
  await following.begun;
  clearInterval(beat);
  for (let i = 0; i < 300; i++) {
    first.append('command.received', `"i":${i},"text":"${'x'.repeat(100)}"`);
    first.flush();
    const second = recorder.stream('shop', 'second');
    second.append('command.received', `"i":${i}`);
    second.flush();
  }
  const events = await following.events;
  for (const connection of ['shop/db', 'shop/second']) {
    const seen = events.filter((entry) => entry.connection === connection && entry.event.i !== undefined);
    expect(seen.map(({ event }) => event.i)).toEqual(Array.from({ length: 300 }, (_, index) => index));
  }
  expect(events.some(({ event }) => event.old === true)).toBe(false);
  await recorder.close();
});

it('follows other processes and ends with its signal', async () => {
  const script = join(import.meta.dirname, 'writer-process.ts');
  const following = follow((events) => events.length >= 500);
  const child = spawn(process.execPath, [script, root, '3'], { stdio: ['ignore', 'pipe', 'inherit'] });
  child.stdout.resume();
  const events = await following.events;
  child.kill('SIGKILL');
  await once(child, 'close');
  const numbers = events.filter(({ event }) => event.e === 'command.received').map(({ event }) => event.n);
  expect(numbers.length).toBeGreaterThan(400);
  const gaps = numbers.filter((n, index) => index > 0 && n !== (numbers[index - 1] ?? 0) + 1);
  // The end of a segment takes a number too; nothing else may be missing.
  const ends = events.filter(({ event }) => event.e === 'segment.end').length;
  expect(gaps.length).toBeLessThanOrEqual(ends);
});
