import { describe, expect, it } from 'vitest';
import { type Component, runInOrder } from './lifecycle.ts';
import type { Log } from './types.ts';

const LOG: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

const untilAborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));

function ground() {
  const steps: string[] = [];
  const component = (name: string, more: Partial<Component> = {}): Component => ({
    name,
    async run(signal) {
      steps.push(`${name} runs`);
      await untilAborted(signal);
      steps.push(`${name} stops`);
      // Takes a moment: the next one must wait for it.
      await new Promise((resolve) => setImmediate(resolve));
      steps.push(`${name} ended`);
    },
    ...more,
  });
  return { steps, component, stop: new AbortController() };
}

it('starts one after the other is ready, and stops in reverse', async () => {
  const { steps, component, stop } = ground();
  const slow = Promise.withResolvers<void>();
  const running = runInOrder(
    [
      component('health'),
      component('caches', { ready: () => slow.promise }),
      component('reconcilers', {
        ready: async () => void stop.abort(),
      }),
    ],
    stop.signal,
    { log: LOG },
  );
  await new Promise((resolve) => setImmediate(resolve));
  expect(steps).toEqual(['health runs', 'caches runs']);
  slow.resolve();
  await running;
  expect(steps).toEqual([
    'health runs',
    'caches runs',
    'reconcilers runs',
    'reconcilers stops',
    'reconcilers ended',
    'caches stops',
    'caches ended',
    'health stops',
    'health ended',
  ]);
});

describe('stops the others, and fails, when one', () => {
  it.each<[string, Partial<Component>, object]>([
    ['fails', { run: () => Promise.reject(new Error('lease lost')) }, { message: 'lease lost' }],
    ['ends by itself', { run: () => Promise.resolve() }, { code: 'SPB020' }],
    ['never gets ready', { ready: () => Promise.reject(new Error('no cache')) }, { message: 'no cache' }],
    [
      'throws at once',
      {
        run: () => {
          throw new Error('a mistake');
        },
      },
      { message: 'a mistake' },
    ],
  ])('%s', async (_, bad, expected) => {
    const { steps, component, stop } = ground();
    const running = runInOrder([component('first'), component('bad', bad)], stop.signal, { log: LOG });
    await expect(running).rejects.toMatchObject(expected);
    expect(steps).toContain('first ended');
  });
});

it('does not wait for one that is not ready when it is stopped', async () => {
  const { steps, component, stop } = ground();
  const never = component('never ready', { ready: () => new Promise(() => undefined) });
  const running = runInOrder([never, component('later')], stop.signal, { log: LOG });
  stop.abort();
  await running;
  expect(steps).toEqual(['never ready runs', 'never ready stops', 'never ready ended']);
});

it('leaves behind what does not stop', async () => {
  const { steps, component, stop } = ground();
  const stuck = component('stuck', { run: () => new Promise(() => undefined), ready: async () => void stop.abort() });
  const running = runInOrder([component('first'), stuck], stop.signal, { log: LOG, stopMs: 5 });
  await expect(running).rejects.toMatchObject({ code: 'SPB021' });
  expect(steps).toContain('first ended');
});
