import { expect, test } from 'vitest';
import type { Lease } from '../../../kube/builtin.ts';
import type { KubeClient } from '../../../kube/types.ts';
import { createPresence } from './presence.ts';

const START = Date.UTC(2026, 0, 1);
const HOLDER = { host: 'other', process: 'a' };

/** The Lease of the other replica, and the clock of this one. */
function looking() {
  const world: { now: number; renewed: number | undefined } = { now: START, renewed: START };
  const lease = (): Lease | undefined =>
    world.renewed === undefined
      ? undefined
      : {
          apiVersion: 'coordination.k8s.io/v1',
          kind: 'Lease',
          metadata: { name: 'other', namespace: 'shop' },
          spec: { leaseDurationSeconds: 40, renewTime: new Date(world.renewed).toISOString() },
        };
  const client = { get: () => Promise.resolve(lease()) } as unknown as Pick<KubeClient, 'get'>;
  const isGone = createPresence(client, 'shop', { host: 'this', process: 'b' }, () => world.now);
  return { world, isGone: () => isGone(HOLDER) };
}

test('a replica whose clock is far behind is not gone while it renews its Lease', async () => {
  const { world, isGone } = looking();
  for (let round = 0; round < 10; round++) {
    world.now += 15_000;
    world.renewed = world.now - 3_600_000;
    expect(await isGone()).not.toBe(true);
  }
});

test('one that renews no more is gone after as long as its Lease is good', async () => {
  const { world, isGone } = looking();
  expect(await isGone()).toBe(false);
  world.now = START + 71_000;
  expect(await isGone()).toBeUndefined();
  world.now += 60_000;
  expect(await isGone()).toBeUndefined();
  world.now += 11_000;
  expect(await isGone()).toBe(true);
});

test('one without a Lease is gone, and another process of this pod too', async () => {
  const { world, isGone } = looking();
  world.renewed = undefined;
  expect(await isGone()).toBe(true);
});
