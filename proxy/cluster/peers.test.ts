import { expect, test } from 'vitest';
import type { Lease } from '../../kube/builtin.ts';
import type { KubeObject } from '../../kube/types.ts';
import { ownerOf } from '../../record/owner.ts';
import { createPeers, processOf } from './peers.ts';

const START = Date.parse('2026-03-01T12:00:00Z');
const pod = { namespace: 'shop', name: 'proxy-a', uid: 'uid-a' };

function ground(leases: Record<string, Lease | Error>) {
  const state = { now: START, asked: [] as string[] };
  const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
  const isAlive = createPeers({
    pod,
    now: () => state.now,
    log,
    client: {
      async get<T extends KubeObject>(_type: unknown, { name }: { readonly name: string }) {
        state.asked.push(name);
        const lease = leases[name];
        if (lease instanceof Error) throw lease;
        return lease as T | undefined;
      },
    },
  });
  const settled = async (process: string): Promise<boolean> => {
    isAlive({ pid: 1, process });
    await new Promise(setImmediate);
    return isAlive({ pid: 1, process });
  };
  return { state, isAlive, settled };
}

const lease = (uid: string, renewed: number): Lease => ({
  apiVersion: 'coordination.k8s.io/v1',
  kind: 'Lease',
  metadata: { name: 'x' },
  spec: { holderIdentity: uid, leaseDurationSeconds: 40, renewTime: new Date(renewed).toISOString() },
});

test('a replica lives while its Lease is renewed, and not once it is gone, old or of another pod', async () => {
  const { settled, state } = ground({
    b: lease('uid-b', START - 20_000),
    c: lease('uid-c', START - 81_000),
    d: lease('uid-of-another', START),
  });
  expect(await settled('b/uid-b')).toBe(true);
  expect(await settled('c/uid-c')).toBe(false);
  expect(await settled('d/uid-d')).toBe(false);
  expect(await settled('e/uid-e')).toBe(false);
  expect(state.asked).toEqual(['b', 'c', 'd', 'e']);
});

test('it is taken to live before that is known, and when it cannot be', async () => {
  const { isAlive, settled } = ground({ c: new Error('away') });
  expect(isAlive({ pid: 1, process: 'e/uid-e' })).toBe(true);
  expect(await settled('c/uid-c')).toBe(true);
});

test('an answer is believed for half a minute', async () => {
  const leases: Record<string, Lease> = { b: lease('uid-b', START) };
  const { settled, state } = ground(leases);
  expect(await settled('b/uid-b')).toBe(true);
  delete leases['b'];
  expect(await settled('b/uid-b')).toBe(true);
  state.now += 30_001;
  expect(await settled('b/uid-b')).toBe(false);
});

test('processes of its own pod are known by the kernel', () => {
  const { isAlive, state } = ground({});
  expect(isAlive(ownerOf(process.pid, processOf(pod)))).toBe(true);
  expect(isAlive({ ...ownerOf(process.pid, processOf(pod)), started: '1' })).toBe(false);
  expect(state.asked).toEqual([]);
});
