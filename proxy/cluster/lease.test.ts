import { expect, test, vi } from 'vitest';
import type { KubeClient } from '../../kube/types.ts';
import { createReplicaLease } from './lease.ts';

test('a report that changes all the time does not set the pace of writing it', async () => {
  vi.useFakeTimers();
  try {
    let writes = 0;
    const write = async (_type: unknown, object: object): Promise<object> => {
      writes++;
      await new Promise((resolve) => setTimeout(resolve, 1));
      lease.touch();
      return object;
    };
    const lease = createReplicaLease({
      client: { create: write, update: write, delete: async () => {} } as unknown as KubeClient,
      pod: { namespace: 'shop', name: 'proxy-a', uid: 'uid-a' },
      report: () => ({ bundle: '', sequence: 0, sessions: {}, egress: {}, problems: {} }),
      renewed: () => {},
      now: () => new Date(),
      log: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
    });
    const stop = new AbortController();
    const running = lease.run(stop.signal);
    await vi.advanceTimersByTimeAsync(1000);
    expect(writes).toBeGreaterThan(2);
    expect(writes).toBeLessThan(6);
    stop.abort();
    await running;
  } finally {
    vi.useRealTimers();
  }
});
