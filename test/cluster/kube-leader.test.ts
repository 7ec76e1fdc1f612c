import { afterAll, beforeAll, expect, it } from 'vitest';
import { CONFIG_MAPS, EVENTS, LEASES } from '../../kube/builtin.ts';
import { createEventRecorder } from '../../kube/event-recorder.ts';
import { createLeaderElection } from '../../kube/leader-election.ts';
import type { KubeClient } from '../../kube/types.ts';
import { describeWith } from '../support/requires.ts';
import { type ControlPlane, controlPlaneNeeds, startControlPlane } from './control-plane.ts';
import { type FaultProxy, startFaultProxy } from './fault-proxy.ts';
import { clientOf, collectLog, configMap, createNamespace } from './kube-ground.ts';

/** Ends what hangs; nothing is expected of it. */
const LIMIT = { timeout: 60_000 };

/** In the ratio of production's, a fifth of them. */
const TIMES = { leaseDurationMs: 3_000, renewDeadlineMs: 2_000, retryPeriodMs: 400 };

describeWith(controlPlaneNeeds, 'one of several leads', () => {
  let cluster: ControlPlane & AsyncDisposable;
  let proxy: FaultProxy;
  let direct: KubeClient;
  let count = 0;
  beforeAll(async () => {
    cluster = await startControlPlane();
    proxy = await startFaultProxy(cluster.kubeconfig, cluster.folder);
    direct = await clientOf(cluster.kubeconfig);
    await createNamespace(direct, 'election');
  });
  afterAll(async () => {
    direct?.close();
    await proxy?.[Symbol.asyncDispose]();
    await cluster?.stop();
  });

  function candidate(name: string, identity: string, client: KubeClient = direct) {
    const stop = new AbortController();
    const log = collectLog();
    const election = createLeaderElection({ client, namespace: 'election', name, identity, log, ...TIMES });
    const running = election.run(stop.signal);
    // Looked at later by who tests it; until then it is not unhandled.
    running.catch(() => undefined);
    const elected = election.elected(stop.signal);
    elected.catch(() => undefined);
    return { election, running, elected, stop, log };
  }
  const lease = async (name: string) => (await direct.get(LEASES, { namespace: 'election', name }))?.spec;

  it('and gives the lease back when it is told to stop', async () => {
    const name = `lease-${count++}`;
    const first = candidate(name, 'first');
    await first.elected;
    expect(await lease(name)).toMatchObject({ holderIdentity: 'first', leaseDurationSeconds: 3, leaseTransitions: 0 });
    const second = candidate(name, 'second');
    await expect.poll(() => second.election.holder, LIMIT).toBe('first');
    expect(second.election.isLeader).toBe(false);
    first.stop.abort();
    await first.running;
    expect(first.election.isLeader).toBe(false);
    await second.elected;
    expect(await lease(name)).toMatchObject({ holderIdentity: 'second', leaseTransitions: 1 });
    second.stop.abort();
    await second.running;
    expect(await lease(name)).toMatchObject({ holderIdentity: '' });
  });

  it('of five, exactly one', async () => {
    const name = `lease-${count++}`;
    const all = ['a', 'b', 'c', 'd', 'e'].map((identity) => candidate(name, identity));
    for (let left = all.length; left > 0; left--) {
      await Promise.race(all.map(({ elected }) => elected.catch(() => new Promise(() => undefined))));
      const leaders = all.filter(({ election }) => election.isLeader);
      expect(leaders).toHaveLength(1);
      const leader = leaders[0];
      leader?.stop.abort();
      await leader?.running;
      all.splice(all.indexOf(leader as (typeof all)[number]), 1);
    }
  });

  it.each(['status', 'stall', 'reset'] as const)(
    'and ends before another may, when it cannot renew (%s)',
    async (kind) => {
      const name = `lease-${count++}`;
      const through = await clientOf(proxy.kubeconfig);
      const first = candidate(name, 'first', through);
      await first.elected;
      const second = candidate(name, 'second');
      const order: string[] = [];
      const lost = first.running.catch((error: unknown) => {
        order.push('first ended');
        return error;
      });
      const taken = second.elected.then(() => order.push('second leads'));
      const path = `/leases/${name}`;
      proxy.decide = (request) =>
        request.path.includes(path) ? (kind === 'status' ? { kind, code: 503 } : { kind }) : undefined;
      expect(await lost).toMatchObject({ code: 'SPB018' });
      expect(first.election.isLeader).toBe(false);
      await taken;
      expect(order).toEqual(['first ended', 'second leads']);
      proxy.decide = () => undefined;
      second.stop.abort();
      await second.running;
      through.close();
    },
  );

  it('and ends at once when another one holds it', async () => {
    const name = `lease-${count++}`;
    const first = candidate(name, 'first');
    await first.elected;
    await direct.patch(
      LEASES,
      { namespace: 'election', name },
      { type: 'merge', body: { spec: { holderIdentity: 'somebody' } } },
    );
    await expect(first.running).rejects.toMatchObject({ code: 'SPB018' });
  });

  it('and ends when the lease is deleted: somebody else may have it by then', async () => {
    const name = `lease-${count++}`;
    const first = candidate(name, 'first');
    await first.elected;
    await direct.delete(LEASES, { namespace: 'election', name });
    await expect(first.running).rejects.toMatchObject({ code: 'SPB018' });
  });

  it('and holds on over an API server that is gone for less than the deadline', async () => {
    const name = `lease-${count++}`;
    const through = await clientOf(proxy.kubeconfig);
    const first = candidate(name, 'first', through);
    await first.elected;
    let refused = 0;
    await new Promise<void>((resolve) => {
      proxy.decide = ({ path }) => {
        if (!path.includes(`/leases/${name}`)) return undefined;
        if (++refused <= 2) return { kind: 'status', code: 500 };
        resolve();
        return undefined;
      };
    });
    await expect.poll(() => first.log.lines.some(({ message }) => message.includes('renewed again')), LIMIT).toBe(true);
    expect(first.election.isLeader).toBe(true);
    first.stop.abort();
    await first.running;
    proxy.decide = () => undefined;
    through.close();
  });

  it('waits without a lease that may be read', async () => {
    const nobody = await clientOf(await cluster.clientAs('nobody'));
    const refused = candidate(`lease-${count++}`, 'nobody', nobody);
    await expect.poll(() => refused.log.lines.length, LIMIT).toBeGreaterThan(0);
    expect(refused.log.lines[0]).toMatchObject({ level: 'warn' });
    refused.stop.abort();
    await refused.running;
    expect(refused.election.isLeader).toBe(false);
    nobody.close();
  });
});

describeWith(controlPlaneNeeds, 'events', () => {
  let cluster: ControlPlane & AsyncDisposable;
  let client: KubeClient;
  beforeAll(async () => {
    cluster = await startControlPlane();
    client = await clientOf(cluster.kubeconfig);
  });
  afterAll(async () => {
    client?.close();
    await cluster?.stop();
  });

  async function ground(name: string, through: KubeClient = client) {
    await createNamespace(client, name);
    const log = collectLog();
    const stop = new AbortController();
    const recorder = createEventRecorder({
      client: through,
      controller: 'sallyport.dev/test',
      instance: 'test-0',
      log,
      seriesWriteMs: 1,
    });
    const running = recorder.run(stop.signal);
    const stored = async () => (await client.listAll(EVENTS, { namespace: name })).items;
    return { recorder, stop, running, stored, log };
  }
  const TOLD = { type: 'Normal', reason: 'BundleSigned', action: 'Reconcile', note: 'signed' } as const;

  it('are shown by kubectl, and what is told again is counted', async () => {
    const { recorder, stop, running, stored } = await ground('events');
    const about = await client.create(CONFIG_MAPS, configMap('events', 'about'));
    for (let each = 0; each < 5; each++) recorder.event(about, TOLD);
    recorder.event(about, { ...TOLD, type: 'Warning', reason: 'Other', note: 'ü'.repeat(2000), related: about });
    stop.abort();
    await running;
    const events = await stored();
    expect(events.map(({ reason, series }) => [reason, series?.count]).sort()).toEqual([
      ['BundleSigned', 5],
      ['Other', undefined],
    ]);
    const shown = await cluster.kubectl(['describe', 'configmap', 'about', '-n', 'events']);
    expect(shown).toContain('BundleSigned');
    expect(shown).toContain('x5');
  });

  it('about one object are bounded', async () => {
    const { recorder, stop, running, stored } = await ground('bounded');
    const about = await client.create(CONFIG_MAPS, configMap('bounded', 'about'));
    for (let each = 0; each < 100; each++) recorder.event(about, { ...TOLD, note: `number ${each}` });
    await expect.poll(async () => (await stored()).length, LIMIT).toBe(25);
    stop.abort();
    await running;
    expect(await stored()).toHaveLength(25);
  });

  it('that cannot be written hold up nobody', async () => {
    const nobody = await clientOf(await cluster.clientAs('nobody'));
    const { recorder, stop, running, stored, log } = await ground('forbidden', nobody);
    const about = await client.create(CONFIG_MAPS, configMap('forbidden', 'about'));
    recorder.event(about, TOLD);
    await expect.poll(() => log.lines.length, LIMIT).toBe(1);
    stop.abort();
    await running;
    expect(await stored()).toEqual([]);
    nobody.close();
  });
});
