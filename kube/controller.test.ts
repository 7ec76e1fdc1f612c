import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { createController } from './controller.ts';
import { KubeError } from './errors.ts';
import { createKubeMetrics } from './metrics.ts';
import type { Log } from './types.ts';

const BACKOFF = { firstMs: 1, maxMs: 5, random: () => 0.5 };

function ground() {
  const lines: { level: string; message: string; fields: object }[] = [];
  const at = (level: string) => (fields: object, message: string) => void lines.push({ level, fields, message });
  const log: Log = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
  const registry = new Registry();
  return { log, lines, metrics: createKubeMetrics(registry, 'test'), registry, stop: new AbortController() };
}

/** Runs until `wanted` reconciles were made. */
function counted(wanted: number) {
  const calls: string[] = [];
  const enough = Promise.withResolvers<void>();
  return {
    calls,
    enough: enough.promise,
    call(key: string): number {
      calls.push(key);
      if (calls.length === wanted) enough.resolve();
      return calls.length;
    },
  };
}

it.each<[string, () => unknown, number]>([
  ['an error', () => new Error('database down'), 0],
  ['a mistake of the program', () => new TypeError('undefined is not a function'), 1],
  ['something that is no error', () => 'text', 1],
  ['an error of the API server', () => new KubeError('SPB010', [500, 'x'], { status: 500 }), 0],
])('tries again after %s, and survives it', async (_, thrown, panics) => {
  const { log, lines, metrics, registry, stop } = ground();
  const seen = counted(4);
  const controller = createController({
    name: 'test',
    log,
    metrics,
    backoff: BACKOFF,
    // Not an async function: what is thrown before a promise is made counts too.
    reconcile: (key) => {
      if (seen.call(key) < 4) throw thrown();
      return Promise.resolve();
    },
  });
  controller.add('a');
  const running = controller.run(stop.signal);
  await seen.enough;
  stop.abort();
  await running;
  expect(seen.calls).toEqual(['a', 'a', 'a', 'a']);
  const text = await registry.metrics();
  expect(text).toContain('controller_runtime_reconcile_errors_total{controller="test"} 3');
  expect(text).toContain('controller_runtime_reconcile_total{controller="test",result="success"} 1');
  expect(text).toContain('workqueue_retries_total{name="test",controller="test"} 3');
  if (panics > 0) expect(text).toContain('controller_runtime_reconcile_panics_total{controller="test"} 3');
  expect(lines.filter(({ level }) => level === (panics > 0 ? 'error' : 'warn'))).toHaveLength(3);
});

it('works on several keys at a time, and never twice on one', async () => {
  const { log, stop } = ground();
  const running = new Set<string>();
  let most = 0;
  let twice = 0;
  const seen = counted(60);
  const controller = createController({
    name: 'test',
    log,
    workers: 3,
    async reconcile(key) {
      if (running.has(key)) twice++;
      running.add(key);
      most = Math.max(most, running.size);
      controller.add(`k${seen.calls.length % 5}`);
      await new Promise((resolve) => setImmediate(resolve));
      running.delete(key);
      seen.call(key);
    },
  });
  for (let each = 0; each < 5; each++) controller.add(`k${each}`);
  const ended = controller.run(stop.signal);
  await seen.enough;
  stop.abort();
  await ended;
  expect(twice).toBe(0);
  expect(most).toBe(3);
});

it('looks again when it was asked to', async () => {
  const { log, stop } = ground();
  const seen = counted(3);
  const controller = createController({
    name: 'test',
    log,
    async reconcile(key) {
      seen.call(key);
      return { requeueAfterMs: 1 };
    },
  });
  controller.add('a');
  const running = controller.run(stop.signal);
  await seen.enough;
  stop.abort();
  await running;
  expect(seen.calls.slice(0, 3)).toEqual(['a', 'a', 'a']);
});

it('ends what takes too long, and what runs when it is stopped', async () => {
  const { log, lines, stop } = ground();
  const reasons: unknown[] = [];
  const seen = counted(2);
  const controller = createController({
    name: 'test',
    log,
    backoff: BACKOFF,
    timeoutMs: 5,
    reconcile: (key, signal) =>
      new Promise<undefined>((_, reject) => {
        signal.addEventListener('abort', () => {
          reasons.push(signal.reason);
          reject(signal.reason);
        });
        if (seen.call(key) === 2) stop.abort(new Error('stopped'));
      }),
  });
  controller.add('a');
  await controller.run(stop.signal);
  expect(reasons).toMatchObject([{ code: 'SPB023' }, { message: 'stopped' }]);
  // Being stopped is no failure.
  expect(lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
});
