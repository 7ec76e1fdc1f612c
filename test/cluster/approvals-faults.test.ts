/** At most once, whatever happens to replicas, API server, etcd and archive. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stateOf } from '../../approval/state.ts';
import { createHttpClient } from '../../delivery/http.ts';
import { codeOf, NEVER, requirement, ticketOf } from '../../proxy/approval/approval.fixture.ts';
import { describeWith } from '../support/requires.ts';
import { ADA, type ApprovalCluster, BEN, command, type Replica, startApprovalCluster } from './approval-ground.ts';
import { controlPlaneNeeds } from './control-plane.ts';

describeWith(controlPlaneNeeds, 'approvals over replicas and faults', () => {
  let cluster: ApprovalCluster;
  let one: Replica;
  let two: Replica;
  let count = 0;
  beforeAll(async () => {
    cluster = await startApprovalCluster();
    one = await cluster.replica();
    two = await cluster.replica();
  });
  afterAll(() => cluster?.[Symbol.asyncDispose]());

  const fresh = (change: Parameters<typeof command>[1] = {}) => {
    count++;
    const subject = { username: `system:serviceaccount:shop:agent-${count}`, groups: [], claims: {} };
    return command(`DELETE FROM orders WHERE id = ${count}`, { subject, ...change });
  };

  test('one command that two replicas hold at the same moment is one request, and one of them runs it', async () => {
    for (let round = 0; round < 8; round++) {
      const held = fresh();
      const tickets = await Promise.all(
        [one, two, one, two].map(async ({ store }) => ticketOf(await store.submit(held))),
      );
      expect(new Set(tickets.map(({ name }) => name)).size).toBe(1);
      const [first] = tickets;
      if (first === undefined) throw new Error('nothing was held');
      const waiting = Promise.all(tickets.map((ticket) => ticket.decided(NEVER)));
      await cluster.vote(first.name, ADA);
      expect(new Set((await waiting).map(({ state }) => state))).toEqual(new Set(['Approved']));
      const outcomes = await Promise.all(tickets.map((ticket) => ticket.consume()));
      expect(outcomes.filter(({ state }) => state === 'Consumed')).toHaveLength(1);
      expect(outcomes.map(codeOf).filter((code) => code !== 'granted')).toEqual(['SPV010', 'SPV010', 'SPV010']);
    }
  });

  test('a request that was used makes room for another of the same name', async () => {
    const held = fresh();
    const first = ticketOf(await one.store.submit(held));
    await cluster.vote(first.name, ADA);
    await first.decided(NEVER);
    expect(codeOf(await first.consume())).toBe('granted');
    const second = ticketOf(await two.store.submit(held));
    expect(second).toMatchObject({ name: `${first.name}-2`, approved: false });
    await second.withdraw('enough');
  });

  test('where the policy asks for more meanwhile, it asks anew', async () => {
    const held = fresh();
    const first = ticketOf(await one.store.submit(held));
    await cluster.vote(first.name, ADA);
    await first.decided(NEVER);
    const more = ticketOf(await two.store.submit({ ...held, requirements: [requirement({ requiredApprovals: 2 })] }));
    expect(more).toMatchObject({ name: `${first.name}-2`, approved: false });
    await more.withdraw('enough');
  });

  test('an approval for the same statement with other values holds on every replica', async () => {
    const subject = { username: 'system:serviceaccount:shop:reuser', groups: [], claims: {} };
    const requirements = [requirement({ reuseForMs: 600_000 })];
    const held = fresh({ subject, requirements, fingerprint: 'DELETE FROM orders WHERE id = $1' });
    const first = ticketOf(await one.store.submit(held));
    await cluster.vote(first.name, ADA);
    await first.decided(NEVER);
    expect(codeOf(await first.consume())).toBe('granted');
    await expect
      .poll(async () => {
        const again = ticketOf(await two.store.submit({ ...held, text: 'DELETE FROM orders WHERE id = 99' }));
        return again.approved ? codeOf(await again.consume()) : again.withdraw('not yet seen').then(() => 'asks');
      })
      .toBe('granted');
  });

  test('what a replica held that is gone is orphaned; approved then, it passes once when it is sent again', async () => {
    const dying = await cluster.replica();
    const survivor = await cluster.replica({ sweepMs: 200 });
    const held = fresh();
    const lost = ticketOf(await dying.store.submit(held));
    await dying.kill({ lease: 'gone' });
    await cluster.until(lost.name, (request) => stateOf(request) === 'Orphaned');
    await cluster.vote(lost.name, ADA);
    const again = ticketOf(await survivor.store.submit(held));
    expect(again).toMatchObject({ name: lost.name, approved: true });
    expect(codeOf(await again.consume())).toBe('granted');
    const third = ticketOf(await survivor.store.submit(held));
    expect(third).toMatchObject({ name: `${lost.name}-2`, approved: false });
    await third.withdraw('enough');
  });

  test('a replica whose Lease is there keeps what it holds', async () => {
    const quiet = await cluster.replica();
    await using watching = await cluster.replica({ sweepMs: 100 });
    const ticket = ticketOf(await quiet.store.submit(fresh()));
    const dying = await cluster.replica();
    const lost = ticketOf(await dying.store.submit(fresh()));
    await dying.kill({ lease: 'gone' });
    // A round that saw the second saw the first too.
    await cluster.until(lost.name, (request) => stateOf(request) === 'Orphaned');
    expect(stateOf(await cluster.request(ticket.name))).toBe('Pending');
    expect(watching.warnings).toEqual([]);
    await ticket.withdraw('enough');
  });

  describe('after etcd was restored from an older snapshot', () => {
    test('what was used is not approved once more', async () => {
      const held = fresh({ requirements: [requirement({ hold: 'Reject' })] });
      const ticket = ticketOf(await one.store.submit(held));
      await cluster.vote(ticket.name, ADA);
      await cluster.until(ticket.name, (request) => stateOf(request) === 'Approved');
      const snapshot = await cluster.plane.etcd.snapshot();
      expect(codeOf(await ticket.consume())).toBe('granted');
      await cluster.plane.etcd.restore(snapshot);
      const restored = await cluster.request(ticket.name);
      expect(restored.status?.state).toBe('Approved');
      expect(restored.spec.decisions).toHaveLength(1);
      // Also a replica that never saw it used.
      const late = await cluster.replica();
      for (const replica of [one, two, late]) {
        const again = ticketOf(await replica.store.submit(held));
        expect(again.approved).toBe(false);
        expect(again.name).toBe(`${ticket.name}-2`);
      }
      expect(codeOf(await ticket.consume())).toBe('SPV010');
    });
  });

  test('while the API server is away nothing is held and nothing released; what waited goes on when it is back', async () => {
    const waiting = ticketOf(await one.store.submit(fresh()));
    const approved = ticketOf(await two.store.submit(fresh()));
    await cluster.vote(approved.name, ADA);
    await approved.decided(NEVER);
    await cluster.plane.apiServer.kill();
    try {
      expect(codeOf(await one.store.submit(fresh()))).toBe('SPV004');
      expect(codeOf(await approved.consume())).toBe('SPV004');
    } finally {
      await cluster.plane.apiServer.start();
    }
    const decided = waiting.decided(NEVER);
    await cluster.vote(waiting.name, BEN);
    expect(await decided).toEqual({ state: 'Approved' });
    expect(codeOf(await waiting.consume())).toBe('granted');
    expect(codeOf(await approved.consume())).toBe('granted');
  });

  test('while the archive is away an approved command is refused, and passes once it is back', async () => {
    const ticket = ticketOf(await one.store.submit(fresh()));
    await cluster.archiveProgram().stop();
    try {
      // People are asked and heard all the same.
      await cluster.vote(ticket.name, ADA);
      expect(await ticket.decided(NEVER)).toEqual({ state: 'Approved' });
      expect(await ticket.consume()).toMatchObject({
        state: 'Refused',
        code: 'SPV014',
        message: expect.stringContaining('cannot be noted in the archive') as string,
      });
    } finally {
      await cluster.startArchive();
    }
    expect(codeOf(await ticket.consume())).toBe('granted');
    expect(codeOf(await ticket.consume())).toBe('SPV010');
  });

  describe('the ledger of used requests', () => {
    const uid = '6b3c5b6e-9b53-4b7e-8f1f-3f2a5e1c9a01';
    async function ask(commonName: string, method: 'GET' | 'PUT', path: string, body = ''): Promise<number> {
      const { authority, url } = cluster.archive;
      const { certificate, key } = await authority.issue(commonName);
      const http = createHttpClient({ ca: authority.ca, certificate, key });
      try {
        const outgoing = { method, url: new URL(path, url), headers: {}, body: Buffer.from(body), timeoutMs: 10_000 };
        return (await http.send({ ...outgoing, maxAnswerBytes: 4096 }, NEVER)).status;
      } finally {
        http.close();
      }
    }
    const OWN = 'shop\\/sallyport-proxy';

    test('takes each once, tells the same to who asks again, and gives it back', async () => {
      expect(await ask(OWN, 'GET', `/v1/used/shop/${uid}`)).toBe(404);
      expect(await ask(OWN, 'PUT', `/v1/used/shop/${uid}`, '{"attempt":1}')).toBe(201);
      expect(await ask(OWN, 'PUT', `/v1/used/shop/${uid}`, '{"attempt":1}')).toBe(200);
      expect(await ask(OWN, 'PUT', `/v1/used/shop/${uid}`, '{"attempt":2}')).toBe(409);
      expect(await ask(OWN, 'GET', `/v1/used/shop/${uid}`)).toBe(200);
    });

    test('takes nothing from proxies of other namespaces, from others, or under other names', async () => {
      for (const name of ['other\\/sallyport-proxy', 'shop\\/somebody', 'sallyport-proxy', 'shop'])
        expect(await ask(name, 'PUT', `/v1/used/shop/${uid}`, '{}')).toBe(403);
      expect(await ask('other\\/sallyport-proxy', 'GET', `/v1/used/shop/${uid}`)).toBe(403);
      expect(await ask(OWN, 'PUT', '/v1/used/shop/..', '{}')).toBe(404);
      expect(await ask(OWN, 'PUT', `/v1/used/shop/${uid.toUpperCase()}`, '{}')).toBe(404);
      expect(await ask(OWN, 'PUT', `/v1/used/shop/${uid}`, 'x'.repeat(8193))).toBe(413);
    });
  });
});
