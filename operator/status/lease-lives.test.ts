import { expect, test } from 'vitest';
import type { Lease } from '../../kube/builtin.ts';
import type { Change } from '../../kube/types.ts';
import { createLeaseLives } from './lease-lives.ts';

const START = Date.UTC(2026, 0, 1);
const HOUR = 3_600_000;

const lease = (renewed: number, uid = 'one'): Lease => ({
  apiVersion: 'coordination.k8s.io/v1',
  kind: 'Lease',
  metadata: { name: uid, namespace: 'shop', uid },
  spec: { leaseDurationSeconds: 40, renewTime: new Date(renewed).toISOString() },
});

/** Leases as an operator finds them, and what becomes of them. */
function watched(...present: readonly Lease[]) {
  const clock = { now: START };
  let tell: (change: Change<Lease>) => void = () => {};
  const lives = createLeaseLives(
    {
      list: () => [...present],
      onChange(listener) {
        tell = listener;
        return () => {};
      },
    },
    () => clock.now,
  );
  return { clock, lives, tell: (change: Change<Lease>) => tell(change) };
}

test.each([
  ['in step', 0],
  ['an hour behind', -HOUR],
  ['an hour ahead', HOUR],
])('a replica whose clock is %s is there while it renews, and gone when it does not', (_what, skew) => {
  const { clock, lives, tell } = watched();
  let previous = lease(START + skew);
  tell({ type: 'added', object: previous });
  for (let renewals = 0; renewals < 5; renewals++) {
    clock.now += 10_000;
    const object = lease(clock.now + skew);
    tell({ type: 'updated', object, previous });
    previous = object;
    expect(lives.endOf(object)).toBe(clock.now + 40_000);
  }
});

test('one that was there before is taken at its word, and no longer than from now on', () => {
  const { lives } = watched(lease(START - 30_000, 'fresh'), lease(START - HOUR, 'over'), lease(START + HOUR, 'ahead'));
  expect(lives.endOf(lease(START - 30_000, 'fresh'))).toBe(START + 10_000);
  expect(lives.endOf(lease(START - HOUR, 'over'))).toBeLessThan(START);
  expect(lives.endOf(lease(START + HOUR, 'ahead'))).toBe(START + 40_000);
});

test('another report without a renewal keeps nobody alive, and what is deleted is over', () => {
  const { clock, lives, tell } = watched();
  const first = lease(START);
  tell({ type: 'added', object: first });
  clock.now += 20_000;
  tell({ type: 'updated', object: { ...first, metadata: { ...first.metadata, labels: { a: 'b' } } }, previous: first });
  expect(lives.endOf(first)).toBe(START + 40_000);
  tell({ type: 'deleted', object: first });
  expect(lives.endOf(first)).toBe(0);
});
