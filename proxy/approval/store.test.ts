import { chmod, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { stateOf } from '../../approval/state.ts';
import type { HeldCommand, HeldValue } from '../ports.ts';
import {
  AGENT,
  at,
  codeOf,
  connection,
  type Ground,
  ground,
  held,
  isTicket,
  NEVER,
  person,
  requirement,
  ticketOf,
} from './approval.fixture.ts';

const ada = person('ada');
const bob = person('bob', { groups: ['dba'] });
const eve = person('eve');
let g: Ground;
afterEach(() => g.close());

describe('a request', () => {
  test('is approved, runs once, and says so', async () => {
    g = await ground([ada]);
    const ticket = ticketOf(await g.store.submit(held()));
    expect(ticket.approved).toBe(false);
    expect(ticket.approvers).toEqual(['whoever may approve on shop/orders']);
    const decided = ticket.decided(NEVER);
    await g.vote(ada, ticket.name, { reason: 'planned' });
    expect(await decided).toEqual({ state: 'Approved' });
    const grant = await ticket.consume();
    expect(grant).toMatchObject({ state: 'Consumed', votes: [{ voter: 'ada', reason: 'planned' }] });
    expect(codeOf(await ticket.consume())).toBe('SPV010');
    if (grant.state === 'Consumed') await grant.settle('Executed');
    const { status } = await g.request(ticket.name);
    expect(status).toMatchObject({ state: 'Executed', votes: '1/1', decidedBy: 'ada' });
    expect(g.events.map((event) => event.split(' ')[1])).toEqual(['Created', 'Approved', 'Consumed', 'Executed']);
  });

  test('is a file that a person can read, and nobody else', async () => {
    g = await ground([ada]);
    const text = "DELETE FROM orders\nWHERE name = '\u202e\u001b[2J'";
    const command = held({ text });
    const { name } = ticketOf(
      await g.store.submit({ ...command, presentation: { ...command.presentation, display: text } }),
    );
    const path = join(g.folder, 'shop', `${name}.yaml`);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const yaml = await readFile(path, 'utf8');
    expect(yaml).toContain("display: |-\n      DELETE FROM orders\n      WHERE name = '\\u202e\\u001b[2J'");
    expect(['\u202e', '\u001b'].some((character) => yaml.includes(character))).toBe(false);
  });

  test('is for a group where the folder of the store is', async () => {
    g = await ground([ada]);
    await mkdir(g.folder, { recursive: true });
    await chmod(g.folder, 0o2770);
    const ticket = ticketOf(await g.store.submit(held()));
    await g.vote(ada, ticket.name);
    expect((await stat(join(g.folder, 'shop'))).mode & 0o7777).toBe(0o2770);
    expect((await stat(g.files.path(at(ticket.name)))).mode & 0o777).toBe(0o640);
    expect(codeOf(await ticket.consume())).toBe('granted');
  });

  test('is one for identical commands, and another for anything that changes the meaning', async () => {
    g = await ground([ada]);
    const names = new Set<string>();
    const submit = async (change: Parameters<typeof held>[0]) => ticketOf(await g.store.submit(held(change))).name;
    const same = await Promise.all(Array.from({ length: 50 }, () => submit({})));
    expect(new Set(same).size).toBe(1);
    names.add(same[0] ?? '');
    const someone = { username: 'okta:x', groups: [], claims: {} };
    const value = (format: HeldValue['format'], bytes = Buffer.from('1')): readonly HeldValue[] => [{ format, bytes }];
    const changes: readonly Partial<HeldCommand>[] = [
      { values: value('text') },
      { values: [{ format: 'text', bytes: null }] },
      { settings: { search_path: 'other', role: 'app' } },
      { text: 'DELETE FROM orders WHERE id = 2' },
      { subject: someone },
      { subject: someone, target: { database: 'other' } },
      { subject: someone, target: { loginUser: 'other' } },
      { subject: someone, values: value('binary') },
      { subject: someone, values: value('text') },
    ];
    for (const change of changes) names.add(await submit(change));
    expect(names.size).toBe(changes.length + 1);
  });

  test('gets a number once the earlier one is over', async () => {
    g = await ground([ada]);
    const first = ticketOf(await g.store.submit(held()));
    const denied = first.decided(NEVER);
    await g.vote(ada, first.name, { verdict: 'Deny', reason: 'not on a Friday' });
    expect(await denied).toMatchObject({ state: 'Denied', message: expect.stringContaining('not on a Friday') });
    const second = ticketOf(await g.store.submit(held()));
    expect(second.name).toBe(`${first.name}-2`);
    await second.withdraw('the client left');
    const third = ticketOf(await g.store.submit(held()));
    expect(third.name).toBe(`${first.name}-3`);
    g.advance(600_000);
    expect(await third.decided(NEVER)).toMatchObject({ state: 'Expired' });
    expect(ticketOf(await g.store.submit(held())).name).toBe(`${first.name}-4`);
    expect(stateOf(await g.request(second.name))).toBe('Withdrawn');
  });

  test('is withdrawn when the last of those who wait for it leaves', async () => {
    g = await ground([ada]);
    const one = ticketOf(await g.store.submit(held()));
    const two = ticketOf(await g.store.submit(held({ sessionId: 's2' })));
    await one.withdraw('cancelled');
    expect(stateOf(await g.request(one.name))).toBe('Pending');
    expect(codeOf(await one.consume())).toBe('SPV009');
    const decided = two.decided(NEVER);
    await two.withdraw('cancelled');
    expect(await decided).toMatchObject({ state: 'Withdrawn' });
    await g.vote(ada, one.name);
    expect(codeOf(await two.consume())).toBe('SPV009');
  });

  test('is rejected once, and passes once when it is asked for again', async () => {
    g = await ground([ada]);
    const hold = { requirements: [requirement({ hold: 'Reject' })] };
    const first = ticketOf(await g.store.submit(held(hold)));
    await g.vote(ada, first.name);
    const again = ticketOf(await g.store.submit(held({ ...hold, sessionId: 's2' })));
    expect(again).toMatchObject({ name: first.name, approved: true });
    expect(codeOf(await again.consume())).toBe('granted');
    expect(ticketOf(await g.store.submit(held(hold)))).toMatchObject({ name: `${first.name}-2`, approved: false });
  });

  test('waiting ends with its signal', async () => {
    g = await ground([ada]);
    const ticket = ticketOf(await g.store.submit(held()));
    const abort = new AbortController();
    const decided = ticket.decided(abort.signal);
    abort.abort(new Error('the session ended'));
    await expect(decided).rejects.toThrow('the session ended');
    await expect(ticket.decided(abort.signal)).rejects.toThrow('the session ended');
  });
});

describe('who counts', () => {
  test('several people, each once', async () => {
    g = await ground([ada, bob]);
    const ticket = ticketOf(await g.store.submit(held({ requirements: [requirement({ requiredApprovals: 2 })] })));
    await g.vote(ada, ticket.name);
    await g.vote(ada, ticket.name);
    expect(codeOf(await ticket.consume())).toBe('SPV011');
    await g.vote(bob, ticket.name);
    expect(await ticket.decided(NEVER)).toEqual({ state: 'Approved' });
    expect(await ticket.consume()).toMatchObject({ votes: [{ voter: 'ada' }, { voter: 'bob' }] });
  });

  test('each rule is met on its own', async () => {
    g = await ground([ada, bob, eve]);
    const requirements = [
      requirement({ approvers: { users: ['ada', 'eve'] } }),
      requirement({ approvers: { groups: ['dba'] } }),
    ];
    const ticket = ticketOf(await g.store.submit(held({ requirements })));
    expect(ticket.approvers).toEqual(['ada, eve', 'group dba']);
    await g.vote(ada, ticket.name);
    await g.vote(eve, ticket.name);
    expect(codeOf(await ticket.consume())).toBe('SPV011');
    await g.vote(bob, ticket.name);
    expect(codeOf(await ticket.consume())).toBe('granted');
  });

  test('one person counts for two rules that both name them', async () => {
    g = await ground([bob]);
    const requirements = [
      requirement({ approvers: { users: ['bob'] } }),
      requirement({ approvers: { groups: ['dba'] } }),
    ];
    const ticket = ticketOf(await g.store.submit(held({ requirements })));
    await g.vote(bob, ticket.name);
    expect(codeOf(await ticket.consume())).toBe('granted');
  });

  test('nobody for themselves, also through their agent', async () => {
    const self = person('ada', { subjects: ['okta:ada'] });
    g = await ground([self, bob]);
    for (const subject of [
      { username: 'okta:ada', groups: [], claims: {} },
      { username: AGENT, groups: [], claims: {}, onBehalfOf: 'okta:ada' },
      { username: AGENT, groups: [], claims: {}, onBehalfOf: 'ada' },
    ]) {
      const ticket = ticketOf(await g.store.submit(held({ subject, text: `DELETE ${JSON.stringify(subject)}` })));
      await g.vote(self, ticket.name);
      expect(codeOf(await ticket.consume())).toBe('SPV011');
      await g.vote(bob, ticket.name);
      expect(codeOf(await ticket.consume())).toBe('granted');
    }
  });

  test('not who lost the right between vote and release', async () => {
    g = await ground([ada, bob]);
    const ticket = ticketOf(await g.store.submit(held()));
    await g.vote(ada, ticket.name);
    expect(await ticket.decided(NEVER)).toEqual({ state: 'Approved' });
    g.allow(bob);
    expect(codeOf(await ticket.consume())).toBe('SPV011');
    g.allow({ ...ada, entry: { ...ada.entry, connections: ['shop/other'] } });
    expect(codeOf(await ticket.consume())).toBe('SPV011');
    // Another key under the same name is another person's.
    g.allow(person('ada'));
    expect(codeOf(await ticket.consume())).toBe('SPV011');
    g.allow({ ...ada, entry: { ...ada.entry, connections: ['shop/ord*'] } });
    expect(codeOf(await ticket.consume())).toBe('granted');
  });

  test('a denial wins over approvals, and only of somebody who could have approved', async () => {
    g = await ground([ada, bob]);
    const ticket = ticketOf(
      await g.store.submit(held({ requirements: [requirement({ approvers: { users: ['ada'] } })] })),
    );
    await g.vote(bob, ticket.name, { verdict: 'Deny' });
    await g.vote(ada, ticket.name);
    expect(await ticket.decided(NEVER)).toEqual({ state: 'Approved' });
    await g.vote(ada, ticket.name, { verdict: 'Deny' });
    expect(codeOf(await ticket.consume())).toBe('SPV008');
  });

  test('an authority signs for whoever it authenticated', async () => {
    const authority = person('operator');
    g = await ground([], {
      signers: {
        current: () =>
          Promise.resolve({
            signer: () => ({ kind: 'authority', key: authority.key }),
            voter: (name, groups) => Promise.resolve({ name, groups, subjects: [] }),
          }),
      },
    });
    const requirements = [requirement({ requiredApprovals: 2, approvers: { groups: ['oncall'] } })];
    const ticket = ticketOf(await g.store.submit(held({ requirements })));
    await g.vote(authority, ticket.name, { voter: 'ada', groups: ['oncall'] });
    await g.vote(authority, ticket.name, { voter: 'bob', groups: [] });
    expect(codeOf(await ticket.consume())).toBe('SPV011');
    await g.vote(authority, ticket.name, { voter: 'carol', groups: ['oncall'] });
    expect(codeOf(await ticket.consume())).toBe('granted');
  });
});

describe('the clock', () => {
  test('nothing after expiry, also when it is set back', async () => {
    g = await ground([ada]);
    const ticket = ticketOf(await g.store.submit(held()));
    await g.vote(ada, ticket.name);
    g.advance(600_000);
    expect(codeOf(await ticket.consume())).toBe('SPV007');
    g.clock.now -= 600_000;
    expect(codeOf(await ticket.consume())).toBe('SPV007');
  });

  test('a jump forward expires', async () => {
    g = await ground([ada]);
    const ticket = ticketOf(await g.store.submit(held()));
    await g.vote(ada, ticket.name);
    g.clock.now += 600_000;
    expect(codeOf(await ticket.consume())).toBe('SPV007');
  });

  test('votes from the future, from before the request and from after it count for nothing', async () => {
    g = await ground([ada]);
    for (const [text, ms] of [
      ['a', 120_000],
      ['b', -120_000],
      ['c', 600_000],
    ] as const) {
      const ticket = ticketOf(await g.store.submit(held({ text })));
      await g.vote(ada, ticket.name, { now: g.clock.now + ms });
      expect(codeOf(await ticket.consume()), text).toBe('SPV011');
    }
  });
});

describe('reuseFor', () => {
  const reuse = {
    requirements: [requirement({ reuseForMs: 3_600_000 })],
    fingerprint: 'DELETE FROM orders WHERE id = ?',
  };
  const other = { ...reuse, text: 'DELETE FROM orders WHERE id = 2' };

  test('covers other values until it is over, and no other statement', async () => {
    g = await ground([ada]);
    const ticket = ticketOf(await g.store.submit(held(reuse)));
    await g.vote(ada, ticket.name);
    // Not before it ran: what was shown is believed only then.
    expect(ticketOf(await g.store.submit(held(other))).approved).toBe(false);
    expect(codeOf(await ticket.consume())).toBe('granted');
    for (const text of ['x', 'y']) {
      const covered = ticketOf(await g.store.submit(held({ ...reuse, text })));
      expect(covered).toMatchObject({ approved: true, name: ticket.name });
      expect(codeOf(await covered.consume())).toBe('granted');
    }
    const asks = async (change: Parameters<typeof held>[0]) =>
      ticketOf(await g.store.submit(held({ ...reuse, text: 'z', ...change }))).approved;
    expect(await asks({ fingerprint: 'DELETE FROM orders WHERE other = ?' })).toBe(false);
    expect(await asks({ requirements: [requirement()], text: 'z2' })).toBe(false);
    expect(await asks({ subject: { username: 'okta:x', groups: [], claims: {} } })).toBe(false);
    g.advance(3_600_000);
    expect(await asks({ text: 'z3' })).toBe(false);
  });

  test('ends with the right of the voter', async () => {
    g = await ground([ada, bob]);
    const ticket = ticketOf(await g.store.submit(held(reuse)));
    await g.vote(ada, ticket.name);
    expect(codeOf(await ticket.consume())).toBe('granted');
    const covered = ticketOf(await g.store.submit(held(other)));
    g.allow(bob);
    expect(codeOf(await covered.consume())).toBe('SPV011');
  });
});

describe('limits', () => {
  test('five pending of one subject', async () => {
    g = await ground([ada]);
    for (let n = 0; n < 5; n++) ticketOf(await g.store.submit(held({ text: `DELETE ${n}` })));
    const sixth = await g.store.submit(held({ text: 'DELETE 6' }));
    expect(sixth).toMatchObject({ state: 'Refused', code: 'SPV005' });
    expect(isTicket(await g.store.submit(held({ text: 'DELETE 1' })))).toBe(true);
  });

  test('a thousand at once: a hundred wait on each connection, none is lost, all are released', async () => {
    g = await ground([ada]);
    const commands = Array.from({ length: 1000 }, (_, n) =>
      held({
        text: `DELETE ${n}`,
        connection: { ...connection, name: `c${n % 11}` },
        subject: { username: `okta:${Math.floor(n / 5)}`, groups: [], claims: {} },
      }),
    );
    const answers = await Promise.all(commands.map((command) => g.store.submit(command)));
    const tickets = answers.filter(isTicket);
    expect(tickets.length).toBe(1000);
    const more = await g.store.submit(held({ connection: { ...connection, name: 'c0' }, text: 'x' }));
    expect(codeOf(more as never)).toBe('granted');
    const decided = tickets.map((ticket) => ticket.decided(NEVER));
    await Promise.all(tickets.map(({ name }) => g.vote(ada, name)));
    expect((await Promise.all(decided)).every(({ state }) => state === 'Approved')).toBe(true);
    const grants = await Promise.all(tickets.map((ticket) => ticket.consume()));
    expect(grants.every(({ state }) => state === 'Consumed')).toBe(true);
  }, 120_000);

  test('a hundred pending on one connection', async () => {
    g = await ground([ada]);
    const submit = (n: number) =>
      g.store.submit(held({ text: `DELETE ${n}`, subject: { username: `okta:${n}`, groups: [], claims: {} } }));
    const answers = await Promise.all(Array.from({ length: 120 }, (_, n) => submit(n)));
    expect(answers.filter(isTicket).length).toBe(100);
    expect(await submit(200)).toMatchObject({ code: 'SPV006' });
  });

  test('what cannot be shown whole is refused', async () => {
    g = await ground([ada]);
    const command = held();
    const shown = (display: string) => ({ ...command, presentation: { ...command.presentation, display } });
    expect(await g.store.submit(shown('x'.repeat(65_537)))).toMatchObject({ code: 'SPV003' });
    // Escaped it is longer.
    expect(await g.store.submit(shown('\u202e'.repeat(20_000)))).toMatchObject({ code: 'SPV003' });
    expect(isTicket(await g.store.submit(shown('x'.repeat(65_536))))).toBe(true);
  });

  test('where nobody could approve, nothing is held', async () => {
    g = await ground([]);
    expect(await g.store.submit(held())).toMatchObject({ code: 'SPV001' });
    g.allow(ada);
    const two = held({ requirements: [requirement({ requiredApprovals: 2 })] });
    expect(await g.store.submit(two)).toMatchObject({ code: 'SPV002' });
    expect(await g.store.submit(held({ subject: { username: 'ada', groups: [], claims: {} } }))).toMatchObject({
      code: 'SPV002',
    });
  });
});

describe('the exact count', () => {
  test('is asked for by an annotation and told in the status', async () => {
    g = await ground([ada]);
    const ticket = ticketOf(await g.store.submit(held()));
    const asked = Promise.withResolvers<void>();
    const stop = ticket.onCountWanted(() => asked.resolve());
    await g.edit(ticket.name, (request) => ({
      ...request,
      metadata: {
        ...request.metadata,
        annotations: { 'sallyport.dev/count-wanted': new Date(g.clock.now).toISOString() },
      },
    }));
    await asked.promise;
    stop();
    const measured = { rows: 7, at: new Date(g.clock.now).toISOString(), durationMs: 3 };
    await ticket.previewed({ measured, cascades: [] });
    expect((await g.request(ticket.name)).status?.preview).toEqual({ measured });
    // It is not part of what is signed, so a vote before and after it counts.
    await g.vote(ada, ticket.name);
    expect(codeOf(await ticket.consume())).toBe('granted');
  });
});

describe('files that somebody else wrote', () => {
  test('broken ones are told, and approve nothing', async () => {
    g = await ground([ada]);
    const ticket = ticketOf(await g.store.submit(held()));
    const path = g.files.path(at(ticket.name));
    const good = await readFile(path, 'utf8');
    for (const bad of [
      '',
      'a: [',
      'kind: ApprovalRequest',
      '&a [*a]',
      `x: ${'['.repeat(10_000)}`,
      good.replace('shop', 'other'),
    ]) {
      await writeFile(path, bad);
      expect(codeOf(await ticket.consume())).toBe('SPV012');
      const next = ticketOf(await g.store.submit(held()));
      expect(next.name).not.toBe(ticket.name);
      await next.withdraw('test');
    }
    expect(g.warnings.join('\n')).toContain(path);
    await writeFile(path, good);
    await g.vote(ada, ticket.name);
    expect(codeOf(await ticket.consume())).toBe('granted');
  });

  test('a state that nobody signed releases nothing', async () => {
    g = await ground([ada]);
    const ticket = ticketOf(await g.store.submit(held()));
    await g.edit(ticket.name, (request) => ({ ...request, status: { state: 'Approved', votes: '1/1' } }));
    expect(codeOf(await ticket.consume())).toBe('SPV011');
    expect(ticketOf(await g.store.submit(held())).approved).toBe(false);
  });

  test('a removed file ends the request', async () => {
    g = await ground([ada]);
    const ticket = ticketOf(await g.store.submit(held()));
    await rm(g.files.path(at(ticket.name)));
    expect(await ticket.decided(NEVER)).toMatchObject({ state: 'Withdrawn' });
    expect(codeOf(await ticket.consume())).toBe('SPV009');
  });
});
