import type http from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stateOf } from '../../support/approval-ground.ts';
import { type Answered, type HttpLaneGround, startHttpLane } from '../../support/http-lane-ground.ts';

const POLICY = `
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: agents}
spec:
  connections: {all: true}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
    - name: refund
      effect: Allow
      message: Refunds need a person.
      http: {methods: [POST], paths: ["/v1/refunds"]}
      approval: {approvers: {groups: [on-call]}, timeout: 2m}
    - name: later
      effect: Allow
      http: {methods: [DELETE], paths: ["/v1/**"]}
      approval: {hold: Reject, timeout: 2m}
    - name: for-a-while
      effect: Allow
      http: {methods: [PUT], paths: ["/v1/notes"]}
      approval: {timeout: 2m, reuseFor: 1h}
`;

describe('requests that need people', () => {
  let g: HttpLaneGround;
  beforeAll(async () => {
    g = await startHttpLane({
      resources: { 'policy.yaml': POLICY },
      connections: { api: { http: { maxBodyBytes: 200_000 } } },
    });
  });
  afterAll(() => g?.[Symbol.asyncDispose]());

  const refund = (amount: number, headers: http.OutgoingHttpHeaders = {}): Promise<Answered> =>
    g.ask('/v1/refunds', { method: 'POST', body: { amount }, headers });
  const asking = (amount: number) =>
    g.request(
      (found) =>
        stateOf(found) === 'Pending' && found.spec.request.display?.endsWith(`{\n  "amount": ${amount}\n}`) === true,
    );
  const sent = (): number => g.origin.seen.length;
  interface Waiting {
    readonly code: string;
    readonly request: { readonly name: string; readonly state: string };
  }

  test('are answered with the name of their request; the same one passes once it is approved, and once only', async () => {
    const before = sent();
    const first = await refund(1);
    expect(first.status).toBe(403);
    expect(first.headers['content-type']).toBe('application/problem+json');
    expect(Number(first.headers['retry-after'])).toBeGreaterThan(0);
    const { request } = first.json<Waiting>();
    expect(first.json()).toMatchObject({
      code: 'SPE101',
      detail: expect.stringContaining('Refunds need a person.'),
      request: { namespace: 'default', state: 'Pending', approvers: ['group on-call'] },
      howToApprove: expect.stringContaining(`sallyport approve ${request.name}`),
    });
    // However often it is sent: one request.
    expect((await refund(1)).json<Waiting>().request.name).toBe(request.name);
    const stored = await g.request((found) => found.metadata.name === request.name);
    expect(stored.spec.request).toMatchObject({
      protocol: 'HTTP',
      host: `127.0.0.1:${g.origin.port}`,
      summary: `POST http://127.0.0.1:${g.origin.port}/v1/refunds`,
      display: expect.stringMatching(
        /^POST .*\/v1\/refunds\ncontent-type: application\/json\n\n\{\s*"amount": 1\s*\}$/,
      ),
    });
    expect(sent()).toBe(before);
    await g.vote(stored);
    // Another body, another header that may matter: another request.
    expect((await refund(2)).json<Waiting>().request.name).not.toBe(request.name);
    expect((await refund(1, { 'x-account': '7' })).json<Waiting>().request.name).not.toBe(request.name);
    expect(sent()).toBe(before);
    const passed = await refund(1, { 'user-agent': 'another attempt', 'idempotency-key': 'k2' });
    expect(passed.status).toBe(200);
    expect(g.origin.seen.at(-1)).toMatchObject({ method: 'POST', body: '{"amount":1}' });
    expect(sent()).toBe(before + 1);
    await g.request((found) => found.metadata.name === request.name && stateOf(found) === 'Executed');
    const again = await refund(1);
    expect(again.status).toBe(403);
    expect(again.json<Waiting>().request.name).not.toBe(request.name);
    expect(sent()).toBe(before + 1);
    const events = await g.recorded((event) => event.e === 'command.released');
    expect(events.find((event) => event.e === 'command.released')).toMatchObject({
      request: request.name,
      state: 'Consumed',
      votes: [expect.objectContaining({ voter: 'ada' })],
    });
  });

  test('wait for a decision as long as the client says that it will', async () => {
    const before = sent();
    const waiting = refund(10, { prefer: 'respond-async, wait=60' });
    const request = await asking(10);
    expect(sent()).toBe(before);
    await g.vote(request);
    expect((await waiting).status).toBe(200);
    expect(sent()).toBe(before + 1);
  });

  test('are told at once when somebody says no', async () => {
    const before = sent();
    const waiting = refund(11, { prefer: 'wait=60' });
    const request = await asking(11);
    await g.vote(request, g.ben, 'Deny');
    const denied = await waiting;
    expect(denied.json()).toMatchObject({
      code: 'SPE102',
      request: { name: request.metadata.name, state: 'Denied' },
      detail: expect.stringContaining('ben'),
    });
    expect(sent()).toBe(before);
  });

  test('that nobody decides in time end as if they had not waited, and pass when they are sent again', async () => {
    const before = sent();
    const late = await refund(12, { prefer: 'wait=1' });
    expect(late.status).toBe(403);
    expect(late.headers['preference-applied']).toBe('wait=1');
    const { request } = late.json<Waiting>();
    await g.vote(await g.request((found) => found.metadata.name === request.name));
    expect((await refund(12, { prefer: 'wait=5' })).status).toBe(200);
    expect(sent()).toBe(before + 1);
  });

  test('outlive a client that leaves', async () => {
    const before = sent();
    const leaving = new AbortController();
    const left = g.ask('/v1/refunds', {
      method: 'POST',
      body: { amount: 13 },
      headers: { prefer: 'wait=60' },
      signal: leaving.signal,
    });
    const request = await asking(13);
    leaving.abort();
    await expect(left).rejects.toThrow();
    await g.recorded((event) => event.e === 'command.denied' && event['code'] === 'SPE020');
    await g.vote(request);
    expect((await refund(13)).status).toBe(200);
    expect(sent()).toBe(before + 1);
  });

  test('sent twice at one time pass once', async () => {
    const before = sent();
    const { request } = (await refund(14)).json<Waiting>();
    await g.vote(await g.request((found) => found.metadata.name === request.name));
    const answers = await Promise.all([refund(14), refund(14), refund(14), refund(14)]);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(sent()).toBe(before + 1);
  });

  test('by a rule that rejects wait for nobody', async () => {
    const before = sent();
    const remove = () => g.ask('/v1/charges/1', { method: 'DELETE', headers: { prefer: 'wait=60' } });
    const first = await remove();
    expect(first.headers['preference-applied']).toBe('wait=0');
    await g.vote(await g.request((found) => found.metadata.name === first.json<Waiting>().request.name));
    expect((await remove()).status).toBe(200);
    expect(sent()).toBe(before + 1);
  });

  test('with reuseFor pass with other bodies for that time', async () => {
    const note = (text: string) => g.ask('/v1/notes', { method: 'PUT', body: { text } });
    const first = await note('one');
    await g.vote(await g.request((found) => found.metadata.name === first.json<Waiting>().request.name));
    expect((await note('one')).status).toBe(200);
    expect((await note('two')).status).toBe(200);
    expect(g.origin.seen.at(-1)?.body).toBe('{"text":"two"}');
  });

  test('are judged anew while they wait, and by the policy of that moment', async () => {
    const before = sent();
    const waiting = refund(15, { prefer: 'wait=60' });
    await asking(15);
    const denied = `${POLICY}    - {name: stop, effect: Deny, message: Not today., http: {methods: [POST], paths: ["/v1/**"]}}\n`;
    await g.edit('policy.yaml', denied);
    expect((await waiting).json()).toMatchObject({ code: 'SPE100', reason: 'Not today.' });
    await g.edit('policy.yaml', POLICY);
    expect(sent()).toBe(before);
  });

  test('are shown to approvers as they are sent, to the letter', async () => {
    const body = '{"to": "a\\"b, c", "amount":1e400,"amount" :{ "x": [], "y":[1, {}]}}';
    const { request } = (
      await g.ask('/v1/refunds', { method: 'POST', body, headers: { 'content-type': 'application/json' } })
    ).json<Waiting>();
    const stored = await g.request((found) => found.metadata.name === request.name);
    expect(stored.spec.request.display?.split('\n\n')[1]).toBe(
      [
        '{',
        '  "to": "a\\"b, c",',
        '  "amount": 1e400,',
        '  "amount": {',
        '    "x": [],',
        '    "y": [',
        '      1,',
        '      {}',
        '    ]',
        '  }',
        '}',
      ].join('\n'),
    );
  });

  test('too large to be shown are not held', async () => {
    const before = sent();
    const large = await g.ask('/v1/refunds', { method: 'POST', body: { note: 'x'.repeat(70_000) } });
    expect(large.json()).toMatchObject({ code: 'SPE109', status: 413 });
    const larger = await g.ask('/v1/refunds', { method: 'POST', body: 'x'.repeat(300_000) });
    expect(larger.json()).toMatchObject({ code: 'SPE012', status: 413 });
    expect(sent()).toBe(before);
  });
});
