/** Votes through a real API server with the operator's admission, counted by replicas of a proxy. */
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ApprovalRequest } from '../../api/resources.ts';
import { COUNT_WANTED, stateOf } from '../../approval/state.ts';
import { type Decision, signVote } from '../../approval/vote.ts';
import { WEBHOOK_PATHS } from '../../operator/webhook/paths.ts';
import { AGENT, codeOf, NEVER, requirement, ticketOf } from '../../proxy/approval/approval.fixture.ts';
import type { ApprovalTicket } from '../../proxy/ports.ts';
import { describeWith } from '../support/requires.ts';
import { repositoryRoot } from '../support/sallyport.ts';
import {
  ADA,
  type ApprovalCluster,
  BEN,
  command,
  EVE,
  PROXY,
  type Replica,
  startApprovalCluster,
} from './approval-ground.ts';
import { controlPlaneNeeds } from './control-plane.ts';

const said = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'allowed',
    (error: Error) => error.message,
  );

describeWith(controlPlaneNeeds, 'approvals on a real API server', () => {
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

  /** A command that nobody sent before, by an agent of its own: limits are of other tests. */
  const fresh = (change: Parameters<typeof command>[1] = {}) => {
    count++;
    const subject = { username: `system:serviceaccount:shop:agent-${count}`, groups: [], claims: {} };
    return command(`DELETE FROM orders WHERE id = ${count}`, { subject, ...change });
  };
  const hold = async (change?: Parameters<typeof command>[1], where = one): Promise<ApprovalTicket> =>
    ticketOf(await where.store.submit(fresh(change)));

  test('kubectl patch by who may approve lets the command go, once', async () => {
    const ticket = await hold();
    const waiting = ticket.decided(NEVER);
    const created = await cluster.request(ticket.name);
    expect(created).toMatchObject({
      spec: { connectionRef: { name: 'orders' }, decisions: [] },
      status: { state: 'Pending', holder: { host: one.name } },
    });
    await cluster.vote(ticket.name, ADA, 'Approve', { reason: 'planned sale' });
    expect(await waiting).toEqual({ state: 'Approved' });
    const grant = await ticket.consume();
    expect(grant).toMatchObject({ state: 'Consumed', votes: [{ voter: 'ada', reason: 'planned sale' }] });
    expect(codeOf(await ticket.consume())).toBe('SPV010');
    if (grant.state === 'Consumed') await grant.settle('Executed');
    const after = await cluster.request(ticket.name);
    expect(after.status).toMatchObject({ state: 'Executed', votes: '1/1', decidedBy: 'ada' });
    expect(after.spec.decisions).toMatchObject([
      {
        verdict: 'Approve',
        by: { username: 'ada', groups: ['shop-oncall', 'system:authenticated'] },
        via: 'Kubernetes',
      },
    ]);
    const columns = await cluster.plane.kubectl(['get', 'areq', ticket.name, '-n', 'shop']);
    expect(columns).toMatch(
      /Executed +system:serviceaccount:shop:agent-\d+ +orders +DELETE FROM orders WHERE id = \d+ +1\/1/,
    );
  });

  test('a denial ends it, in every replica that waits', async () => {
    const held = fresh();
    const [a, b] = [ticketOf(await one.store.submit(held)), ticketOf(await two.store.submit(held))];
    expect(b.name).toBe(a.name);
    const waiting = Promise.all([a.decided(NEVER), b.decided(NEVER)]);
    await cluster.vote(a.name, BEN, 'Deny', { reason: 'not today' });
    for (const decision of await waiting)
      expect(decision).toEqual({ state: 'Denied', message: `request ${a.name} was denied by ben: not today` });
    expect(await said(cluster.vote(a.name, ADA))).toContain('SPW043');
  });

  test('whatever the client says of itself is not believed', async () => {
    const ticket = await hold();
    const claims = {
      by: { username: 'ben' },
      at: '2030-01-01T00:00:00Z',
      id: 'x',
      via: 'x',
      attestation: 'ed25519:x:y',
    };
    await cluster.vote(ticket.name, ADA, 'Approve', claims);
    const { decisions = [] } = (await cluster.request(ticket.name)).spec;
    expect(decisions[0]).toMatchObject({ by: { username: 'ada' }, via: 'Kubernetes' });
    expect(decisions[0]?.id).not.toBe('x');
  });

  test('two rules with two people each need them', async () => {
    const ticket = await hold({ requirements: [requirement({ requiredApprovals: 2 })] });
    await cluster.vote(ticket.name, ADA);
    expect((await cluster.until(ticket.name, ({ status }) => status?.votes === '1/2')).status?.state).toBe('Pending');
    expect(codeOf(await ticket.consume())).toBe('SPV011');
    await cluster.vote(ticket.name, BEN);
    await ticket.decided(NEVER);
    expect(codeOf(await ticket.consume())).toBe('granted');
  });

  test('who voted and lost the right since does not count at the release', async () => {
    const ticket = await hold();
    await cluster.vote(ticket.name, ADA);
    await ticket.decided(NEVER);
    const binding = await cluster.plane.kubectl(['get', 'rolebinding', 'approver', '-n', 'shop', '-o', 'json']);
    await cluster.plane.kubectl(['delete', 'rolebinding', 'approver', '-n', 'shop']);
    try {
      // The API server's authorizer follows a moment later.
      await expect.poll(async () => codeOf(await ticket.consume())).toBe('SPV011');
    } finally {
      const { apiVersion, kind, roleRef, subjects } = JSON.parse(binding) as Record<string, unknown>;
      const metadata = { name: 'approver', namespace: 'shop' };
      await cluster.plane.apply(JSON.stringify({ apiVersion, kind, metadata, roleRef, subjects }));
    }
    await expect.poll(async () => codeOf(await ticket.consume())).toBe('granted');
  });

  describe('refused with words that say why:', () => {
    test('who may not approve', async () => {
      const { name } = await hold();
      expect(await said(cluster.vote(name, EVE))).toMatch(/SPW044: eve may not approve on connection shop\/orders/);
    });

    test('the requester, and the person behind it', async () => {
      const agent = { user: AGENT };
      const { name } = await hold({ subject: { username: AGENT, groups: [], claims: {}, onBehalfOf: 'okta:ada' } });
      expect(await said(cluster.vote(name, agent))).toContain('SPW045: nobody approves for themselves');
      expect(await said(cluster.vote(name, ADA))).toContain('SPW045: nobody approves for themselves');
      expect(await said(cluster.vote(name, BEN))).toBe('allowed');
    });

    test('a second vote', async () => {
      const { name } = await hold({ requirements: [requirement({ requiredApprovals: 2 })] });
      await cluster.vote(name, ADA);
      expect(await said(cluster.vote(name, ADA))).toContain('SPW046: ada has voted');
    });

    test('a vote after expiry', async () => {
      const { name } = await hold();
      cluster.clock.ahead = 3_600_000;
      try {
        expect(await said(cluster.vote(name, ADA))).toMatch(/SPW043: .* can no longer be decided: it expired at/);
      } finally {
        cluster.clock.ahead = 0;
      }
    });

    test('who is no approver of the rule', async () => {
      const { name } = await hold({ requirements: [requirement({ approvers: { users: ['ben'] } })] });
      expect(await said(cluster.vote(name, ADA))).toContain('SPW047');
    });

    test('anything but one vote at the end', async () => {
      const { name } = await hold();
      const patch = (...operations: readonly object[]) =>
        said(
          cluster.plane.kubectl(
            ['patch', 'areq', name, '-n', 'shop', '--type=json', '-p', JSON.stringify(operations)],
            { as: EVE },
          ),
        );
      const vote = { op: 'add', path: '/spec/decisions/-', value: { verdict: 'Approve' } };
      expect(await patch(vote, vote)).toMatch(/SPW042|one at a time/);
      expect(await patch({ op: 'replace', path: '/spec/request/summary', value: 'SELECT 1' })).toMatch(/SPW041/);
      expect(await patch({ op: 'replace', path: '/spec/expiresAt', value: '2030-01-01T00:00:00Z' })).toMatch(/SPW041/);
      await cluster.vote(name, ADA, 'Deny');
      expect(await patch({ op: 'remove', path: '/spec/decisions/0' })).toMatch(/SPW041/);
      expect(await patch({ op: 'replace', path: '/spec/decisions/0/verdict', value: 'Approve' })).toMatch(/SPW041/);
    });

    test('owners, finalizers and labels, which would have the cluster remove the request or keep it', async () => {
      const { name } = await hold();
      const owner = { apiVersion: 'v1', kind: 'ConfigMap', name: 'x', uid: '00000000-0000-4000-8000-000000000000' };
      for (const metadata of [
        { ownerReferences: [owner] },
        { finalizers: ['mine.example/x'] },
        { labels: { a: 'b' } },
      ]) {
        const patch = ['patch', 'areq', name, '-n', 'shop', '--type=merge', '-p', JSON.stringify({ metadata })];
        for (const as of [ADA, EVE])
          expect(await said(cluster.plane.kubectl(patch, { as }))).toContain('owners, finaliz');
      }
    });

    test('a vote that somebody had signed in the name of an approver, by asking the webhook', async () => {
      const ticket = await hold();
      const request = await cluster.request(ticket.name);
      const vote = await signedPastTheServer(request);
      expect(vote).toMatchObject({
        by: { username: 'ada' },
        attestation: expect.stringMatching(/^ed25519:/) as string,
      });
      const { verdict, ...stamped } = vote;
      // What is stored is what the API server says of who asks.
      expect(await said(cluster.vote(ticket.name, EVE, verdict, stamped))).toContain('SPW044');
      // Nor while nobody stamps: the fence compares.
      await cluster.webhooks(false);
      expect(await said(cluster.vote(ticket.name, EVE, verdict, stamped))).toContain('was not stamped');
      await cluster.webhooks(true);
      expect((await cluster.request(ticket.name)).spec.decisions).toEqual([]);
    });

    /** The vote of Ada that the webhook signs for whoever reaches its port, as the API server would ask for it. */
    async function signedPastTheServer(before: ApprovalRequest): Promise<Decision> {
      const resource = { group: 'sallyport.dev', version: 'v1alpha1', resource: 'approvalrequests' };
      const { patch = '' } = await cluster.ask(WEBHOOK_PATHS.approvals, {
        apiVersion: 'admission.k8s.io/v1',
        kind: 'AdmissionReview',
        request: {
          uid: randomUUID(),
          kind: { group: resource.group, version: resource.version, kind: before.kind },
          resource,
          name: before.metadata.name,
          namespace: 'shop',
          operation: 'UPDATE',
          userInfo: { username: ADA.user, groups: ADA.groups },
          object: { ...before, spec: { ...before.spec, decisions: [{ verdict: 'Approve' }] } },
          oldObject: before,
          dryRun: false,
        },
      });
      const [operation] = JSON.parse(Buffer.from(patch, 'base64').toString('utf8')) as [{ readonly value: Decision }];
      return operation.value;
    }

    test('a request that no proxy made, and a status that none wrote', async () => {
      const { name } = await hold();
      const { metadata, status, ...request } = await cluster.request(name);
      const copy = JSON.stringify({ ...request, metadata: { name: 'mine', namespace: 'shop' } });
      expect(await said(cluster.plane.kubectl(['create', '-f', '-'], { as: EVE, input: copy }))).toContain('SPW040');
      const approved = ['patch', 'areq', name, '-n', 'shop', '--subresource=status', '--type=merge', '-p'];
      const state = JSON.stringify({ status: { ...status, state: 'Approved' } });
      expect(await said(cluster.plane.kubectl([...approved, state], { as: EVE }))).toMatch(
        /SPW048|written by the proxies/,
      );
      expect(metadata.name).toBe(name);
    });

    test('a dry run says what would be, and gives nothing that counts', async () => {
      const ticket = await hold();
      const patch = JSON.stringify([{ op: 'add', path: '/spec/decisions/-', value: { verdict: 'Approve' } }]);
      const parameters = ['patch', 'areq', ticket.name, '-n', 'shop', '--type=json', '--dry-run=server', '-o', 'json'];
      const would = JSON.parse(
        await cluster.plane.kubectl([...parameters, '-p', patch], { as: ADA }),
      ) as ApprovalRequest;
      expect(would.spec.decisions).toMatchObject([{ by: { username: 'ada' }, attestation: 'dry-run' }]);
      expect((await cluster.request(ticket.name)).spec.decisions).toEqual([]);
    });
  });

  describe('with the webhooks deleted', () => {
    beforeAll(() => cluster.webhooks(false));
    afterAll(() => cluster.webhooks(true));

    test('the fence of the chart holds', async () => {
      const { name } = await hold();
      expect(await said(cluster.vote(name, ADA))).toContain('was not stamped');
      const stamped = {
        by: { username: 'ben' },
        id: 'x',
        at: new Date().toISOString(),
        via: 'x',
        attestation: 'ed25519:x:y',
      };
      expect(await said(cluster.vote(name, EVE, 'Approve', stamped))).toContain('was not stamped');
      const own = { ...stamped, by: { username: 'eve' } };
      expect(await said(cluster.vote(name, EVE, 'Approve', own))).toContain(
        'eve may not approve on connection shop/orders',
      );
      const self = await hold({ subject: { username: 'ada', groups: [], claims: {} } });
      expect(await said(cluster.vote(self.name, ADA, 'Approve', { ...own, by: { username: 'ada' } }))).toContain(
        'nobody approves for themselves',
      );
    });
  });

  describe('with webhooks and fence deleted, editing the object', () => {
    beforeAll(async () => {
      await cluster.webhooks(false);
      await cluster.fence(false);
    });
    afterAll(async () => {
      await cluster.webhooks(true);
      await cluster.fence(true);
    });

    async function decide(ticket: ApprovalTicket, decision: Decision, status: object = {}): Promise<string> {
      const patch = [{ op: 'add', path: '/spec/decisions/-', value: decision }];
      const at = ['patch', 'areq', ticket.name, '-n', 'shop'];
      await cluster.plane.kubectl([...at, '--type=json', '-p', JSON.stringify(patch)]);
      const approved = { status: { state: 'Approved', votes: '1/1', decidedBy: 'ada', ...status } };
      await cluster.plane.kubectl([...at, '--subresource=status', '--type=merge', '-p', JSON.stringify(approved)]);
      return codeOf(await ticket.consume());
    }

    test('releases nothing: not by a status, nor by a vote without a signature', async () => {
      const ticket = await hold();
      expect(await decide(ticket, { verdict: 'Approve', by: { username: 'ada' } })).toBe('SPV011');
    });

    test('nor by a vote that another key signed', async () => {
      const ticket = await hold();
      const forged = signVote(
        await cluster.request(ticket.name),
        { verdict: 'Approve', voter: 'ada', groups: ['shop-oncall'], via: 'Kubernetes', now: Date.now() },
        generateKeyPairSync('ed25519').privateKey,
      );
      expect(await decide(ticket, forged)).toBe('SPV011');
    });

    test('nor by a vote on another request', async () => {
      const [first, second] = [await hold(), await hold()];
      const vote = {
        verdict: 'Approve',
        voter: 'ada',
        groups: ['shop-oncall'],
        via: 'Kubernetes',
        now: Date.now(),
      } as const;
      const genuine = signVote(await cluster.request(first.name), vote, cluster.signingKey);
      expect(await decide(second, genuine)).toBe('SPV011');
      expect(await decide(first, genuine)).toBe('granted');
    });
  });

  test('an approver asks for a count by an annotation', async () => {
    const ticket = await hold();
    const wanted = new Promise<void>((resolve) => ticket.onCountWanted(resolve));
    const at = new Date().toISOString();
    await cluster.plane.kubectl(['annotate', 'areq', ticket.name, '-n', 'shop', `${COUNT_WANTED}=${at}`], { as: ADA });
    await wanted;
    await ticket.previewed({ cascades: [], measured: { rows: 3, at: new Date().toISOString(), durationMs: 2 } });
    expect((await cluster.request(ticket.name)).status?.preview).toMatchObject({ measured: { rows: 3 } });
  });

  test('a request whose client left is withdrawn, and a later vote is refused', async () => {
    const ticket = await hold();
    await ticket.withdraw('the client left');
    expect(stateOf(await cluster.request(ticket.name))).toBe('Withdrawn');
    expect(await said(cluster.vote(ticket.name, ADA))).toContain('SPW043');
  });

  test('the requester cannot make more than five wait, over all replicas', async () => {
    const subject = { username: 'system:serviceaccount:shop:busy', groups: [], claims: {} };
    const tickets: ApprovalTicket[] = [];
    for (let index = 0; index < 5; index++) tickets.push(await hold({ subject }, index % 2 === 0 ? one : two));
    for (const replica of [one, two])
      await expect.poll(async () => codeOf(await replica.store.submit(fresh({ subject })))).toBe('SPV005');
    await tickets[0]?.withdraw('enough');
    await expect.poll(async () => codeOf(await two.store.submit(fresh({ subject })))).toBe('granted');
  });

  test('the example of approvers gives the right, and no other', async () => {
    const base = fresh();
    const held = { ...base, connection: { ...base.connection, name: 'cluster' } };
    const ticket = ticketOf(await one.store.submit(held));
    expect(await said(cluster.vote(ticket.name, ADA))).toContain('SPW044');
    const example = path.join(repositoryRoot, 'examples/approvers-rbac.yaml');
    await cluster.plane.kubectl(['apply', '-n', 'shop', '-f', example]);
    // RBAC is read by the API server a moment later.
    await expect
      .poll(() => said(cluster.vote(ticket.name, ADA, 'Approve', { reason: 'planned sale' })))
      .toBe('allowed');
    await ticket.decided(NEVER);
    expect(codeOf(await ticket.consume())).toBe('granted');
    const can = (...what: readonly string[]): Promise<string> =>
      cluster.plane.kubectl(['auth', 'can-i', ...what, '-n', 'shop'], { as: ADA }).then(
        () => 'yes',
        () => 'no',
      );
    expect(await can('create', 'areq')).toBe('no');
    expect(await can('update', 'areq', '--subresource=status')).toBe('no');
    expect(await can('get', 'accessconnections/cluster')).toBe('no');
  });

  test('nobody but the proxy is asked to make requests: its own right is enough', async () => {
    const can = await cluster.plane.kubectl(['auth', 'can-i', 'create', 'areq', '-n', 'shop', '--as', PROXY]);
    expect(can.trim()).toBe('yes');
  });
});
