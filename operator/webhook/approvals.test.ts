import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { ApprovalRequest } from '../../api/resources.ts';
import type { RightAsked } from '../../approval/right.ts';
import { type Decision, readVote, signVote, verifyVote } from '../../approval/vote.ts';
import type { AdmissionRequest, AdmissionResponse } from './admission.ts';
import { createApprovalAdmission } from './approvals.ts';

const { privateKey } = generateKeyPairSync('ed25519');
const NOW = Date.parse('2026-01-02T10:00:00Z');
const NEVER = new AbortController().signal;
const AGENT = 'system:serviceaccount:agents:reporter';
const PROXY = 'system:serviceaccount:shop:sallyport-proxy';
const OPERATOR = 'system:serviceaccount:sallyport-system:sallyport-operator';

function request(
  change: { spec?: Partial<ApprovalRequest['spec']>; status?: ApprovalRequest['status'] } = {},
): ApprovalRequest {
  return {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'ApprovalRequest',
    metadata: {
      name: 'orders-0123456789ab',
      namespace: 'shop',
      uid: '6b3c5b6e-9b53-4b7e-8f1f-3f2a5e1c9a01',
      creationTimestamp: '2026-01-02T09:59:00Z',
    },
    spec: {
      connectionRef: { name: 'orders', uid: 'c1' },
      requirements: [
        { policyRef: { namespace: 'shop', name: 'deletes', rule: 'ask', generation: 1 }, requiredApprovals: 1 },
      ],
      requester: { username: AGENT, displayName: AGENT, onBehalfOf: 'okta:grace@example.com' },
      request: { protocol: 'Postgres', summary: 'DELETE', hash: `sha256:${'0'.repeat(64)}` },
      expiresAt: '2026-01-02T10:10:00.000Z',
      decisions: [],
      ...change.spec,
    },
    status: change.status ?? { state: 'Pending' },
  };
}

type User = Partial<AdmissionRequest['userInfo']> & { readonly username: string };

function admission(
  before: unknown,
  after: unknown,
  user: User,
  change: Partial<AdmissionRequest> = {},
): AdmissionRequest {
  return {
    uid: 'u',
    kind: { group: 'sallyport.dev', version: 'v1alpha1', kind: 'ApprovalRequest' },
    resource: { group: 'sallyport.dev', version: 'v1alpha1', resource: 'approvalrequests' },
    name: 'orders-0123456789ab',
    namespace: 'shop',
    operation: 'UPDATE',
    userInfo: { groups: ['system:authenticated'], extra: {}, ...user },
    object: after,
    oldObject: before,
    dryRun: false,
    ...change,
  };
}

const withVote = (before: ApprovalRequest, ...votes: readonly unknown[]): ApprovalRequest => ({
  ...before,
  spec: { ...before.spec, decisions: [...(before.spec.decisions ?? []), ...(votes as Decision[])] },
});

/** Everybody called here has the right, unless a test says who. */
function handlers(hasRight: (asked: RightAsked) => Promise<boolean> = () => Promise.resolve(true), now = NOW) {
  return createApprovalAdmission({
    signingKey: () => privateKey,
    trustedKeys: () => [createPublicKey(privateKey)],
    hasRight,
    now: () => now,
    operatorNamespace: 'sallyport-system',
  });
}

/** Stamps, applies the patch as the API server does, and checks what came of it. */
async function vote(before: ApprovalRequest, added: unknown, user: User, how = handlers()) {
  const after = withVote(before, added);
  const stamped = await how.stamp(admission(before, after, user), NEVER);
  if (!stamped.allowed) return { response: stamped, after: undefined };
  const [operation] = stamped.patch ?? [];
  if (operation?.op !== 'replace') throw new Error('no vote was stamped');
  expect(operation.path).toBe(`/spec/decisions/${before.spec.decisions?.length ?? 0}`);
  const patched = withVote(before, operation.value);
  return { response: await how.check(admission(before, patched, user), NEVER), after: patched };
}

const codeOf = (response: AdmissionResponse): string => (response.allowed ? 'allowed' : response.code);
const refusal = async (...args: Parameters<typeof vote>): Promise<string> => codeOf((await vote(...args)).response);

const ada = { username: 'ada', uid: '17', groups: ['dba', 'system:authenticated'] };

describe('a vote', () => {
  test('is stamped with who cast it, from the request alone, and signed', async () => {
    const before = request();
    const sent = {
      verdict: 'Approve',
      reason: 'planned',
      id: 'mine',
      by: { username: 'root', groups: ['system:masters'] },
      at: '2020-01-01T00:00:00Z',
      via: 'psychic',
      attestation: 'ed25519:x:y',
    };
    const { response, after } = await vote(before, sent, ada);
    expect(response).toEqual({ allowed: true });
    const [decision] = after?.spec.decisions ?? [];
    expect(decision).toMatchObject({
      verdict: 'Approve',
      reason: 'planned',
      by: { username: 'ada', uid: '17', groups: ['dba', 'system:authenticated'] },
      at: '2026-01-02T10:00:00.000Z',
      via: 'Kubernetes',
    });
    expect(decision?.id).not.toBe('mine');
    const read = decision && readVote(decision);
    expect(read && verifyVote(before, read, createPublicKey(privateKey))).toBe(true);
  });

  test('has its uid signed too', async () => {
    const before = request();
    const { after } = await vote(before, { verdict: 'Approve' }, ada);
    const [decision] = after?.spec.decisions ?? [];
    const read = decision && readVote({ ...decision, by: { ...decision.by, uid: '18' } });
    expect(read && verifyVote(before, read, createPublicKey(privateKey))).toBe(false);
  });

  test('asks for the verb approve on that connection, with the voter’s own groups', async () => {
    const asked: RightAsked[] = [];
    const how = handlers((right) => {
      asked.push(right);
      return Promise.resolve(true);
    });
    await vote(request(), { verdict: 'Approve' }, ada, how);
    expect(asked[0]).toEqual({
      user: 'ada',
      groups: ['dba', 'system:authenticated'],
      resourceAttributes: {
        group: 'sallyport.dev',
        resource: 'accessconnections',
        verb: 'approve',
        namespace: 'shop',
        name: 'orders',
      },
    });
  });

  test('is not signed in a dry run', async () => {
    const before = request();
    const how = handlers();
    const after = withVote(before, { verdict: 'Approve' });
    const stamped = await how.stamp(admission(before, after, ada, { dryRun: true }), NEVER);
    const value = stamped.allowed && stamped.patch?.[0]?.op === 'replace' ? stamped.patch[0].value : undefined;
    expect(value).toMatchObject({ by: { username: 'ada' }, attestation: 'dry-run' });
    const patched = withVote(before, value);
    expect(await how.check(admission(before, patched, ada, { dryRun: true }), NEVER)).toEqual({ allowed: true });
    expect(codeOf(await how.check(admission(before, patched, ada), NEVER))).toBe('SPW050');
  });

  test('by somebody in hundreds of groups vouches for those that rules name and one that gives the right', async () => {
    const groups = [...Array.from({ length: 300 }, (_, index) => `g${index}`), 'dba'];
    const how = handlers(({ groups: has }) => Promise.resolve(has.includes('g211')));
    const [requirement] = request().spec.requirements;
    if (requirement === undefined) throw new Error('the request has no requirement');
    const before = request({ spec: { requirements: [{ ...requirement, approvers: { groups: ['dba'] } }] } });
    const { response, after } = await vote(before, { verdict: 'Approve' }, { username: 'ada', groups }, how);
    expect(response).toEqual({ allowed: true });
    expect(after?.spec.decisions?.[0]?.by?.groups).toEqual(['dba', 'g211']);
  });

  test('may be taken back by a denial, and a denial may not', async () => {
    const { after } = await vote(request(), { verdict: 'Approve' }, ada);
    if (after === undefined) throw new Error('the vote was refused');
    const second = await vote(after, { verdict: 'Deny' }, ada);
    expect(second.response).toEqual({ allowed: true });
    expect(await refusal(second.after ?? after, { verdict: 'Approve' }, ada)).toBe('SPW046');
  });
});

describe('refused is', () => {
  test('who has no right', async () => {
    const { response } = await vote(
      request(),
      { verdict: 'Approve' },
      ada,
      handlers(() => Promise.resolve(false)),
    );
    expect(response).toMatchObject({ allowed: false, status: 403, code: 'SPW044' });
    expect(!response.allowed && response.message).toContain('ada may not approve on connection shop/orders');
  });

  test('everybody while rights cannot be found out', async () => {
    const how = handlers(() => Promise.reject(new Error('away')));
    expect(await refusal(request(), { verdict: 'Deny' }, ada, how)).toBe('SPW051');
  });

  test.each([
    ['the requester', AGENT],
    ['the person behind it', 'okta:grace@example.com'],
    ['that person under the API server’s prefix', 'https://issuer.example.com#grace@example.com'],
    ['that person without any', 'Grace@example.com'],
  ])('approval by %s', async (_who, username) => {
    expect(await refusal(request(), { verdict: 'Approve' }, { username })).toBe('SPW045');
    expect(await refusal(request(), { verdict: 'Deny' }, { username })).toBe('allowed');
  });

  test('approval by a person who asked with a token of their own', async () => {
    const person = { username: 'okta:ada@example.com', displayName: 'ada', issuer: 'okta' };
    const before = request({ spec: { requester: person } });
    expect(await refusal(before, { verdict: 'Approve' }, { username: 'oidc:ada@example.com' })).toBe('SPW045');
    expect(await refusal(before, { verdict: 'Approve' }, { username: 'oidc:ben@example.com' })).toBe('allowed');
  });

  test('nobody because a service account has the same short name', async () => {
    expect(await refusal(request(), { verdict: 'Approve' }, { username: 'reporter' })).toBe('allowed');
    const other = 'system:serviceaccount:other:reporter';
    expect(await refusal(request(), { verdict: 'Approve' }, { username: other })).toBe('allowed');
  });

  test('a second vote of the same person, whatever its uid', async () => {
    const { after } = await vote(request(), { verdict: 'Approve' }, ada);
    if (after === undefined) throw new Error('the vote was refused');
    expect(await refusal(after, { verdict: 'Approve' }, { ...ada, uid: '99' })).toBe('SPW046');
    expect(await refusal(after, { verdict: 'Approve' }, { username: 'ben' })).toBe('allowed');
  });

  test('nobody because of an entry that nobody signed', async () => {
    const other = generateKeyPairSync('ed25519').privateKey;
    const before = request();
    const forged = signVote(before, { verdict: 'Deny', voter: 'ada', via: 'x', now: NOW }, other);
    const unsigned = { verdict: 'Deny', by: { username: 'ada' } };
    expect(await refusal(withVote(before, forged, unsigned), { verdict: 'Approve' }, ada)).toBe('allowed');
  });

  test('a vote after expiry', async () => {
    const late = handlers(undefined, Date.parse('2026-01-02T10:10:00.000Z'));
    expect(await refusal(request(), { verdict: 'Approve' }, ada, late)).toBe('SPW043');
  });

  test.each(['Denied', 'Expired', 'Withdrawn', 'Consumed', 'Executed', 'Failed'] as const)(
    'a vote on a request that is %s',
    async (state) => {
      expect(await refusal(request({ status: { state } }), { verdict: 'Approve' }, ada)).toBe('SPW043');
    },
  );

  test.each(['Approved', 'Orphaned'] as const)('no vote on a request that is %s', async (state) => {
    expect(await refusal(request({ status: { state } }), { verdict: 'Approve' }, ada)).toBe('allowed');
  });

  test('who is no approver of any rule', async () => {
    const [requirement] = request().spec.requirements;
    if (requirement === undefined) throw new Error('the request has no requirement');
    const before = request({
      spec: { requirements: [{ ...requirement, approvers: { users: ['eve'], groups: ['sre'] } }] },
    });
    expect(await refusal(before, { verdict: 'Approve' }, ada)).toBe('SPW047');
    expect(await refusal(before, { verdict: 'Approve' }, { username: 'eve' })).toBe('allowed');
    expect(await refusal(before, { verdict: 'Approve' }, { username: 'ada', groups: ['sre'] })).toBe('allowed');
  });

  test('a twenty-first vote', async () => {
    const many = withVote(request(), ...Array.from({ length: 20 }, () => ({ verdict: 'Approve' })));
    expect(await refusal(many, { verdict: 'Approve' }, ada)).toBe('SPW043');
  });

  test.each([
    ['no verdict', {}],
    ['another verdict', { verdict: 'Maybe' }],
    ['an empty reason', { verdict: 'Approve', reason: '' }],
    ['a long reason', { verdict: 'Approve', reason: 'x'.repeat(2049) }],
    ['a reason that is no text', { verdict: 'Approve', reason: 7 }],
    ['no object', 'Approve'],
  ])('a vote with %s', async (_what, added) => {
    expect(await refusal(request(), added, ada)).toBe('SPW049');
  });

  test.each([
    [
      'two votes at once',
      (before: ApprovalRequest) => withVote(before, { verdict: 'Approve' }, { verdict: 'Deny' }),
      'SPW042',
    ],
    [
      'another hash',
      (before: ApprovalRequest) => ({
        ...before,
        spec: { ...before.spec, request: { ...before.spec.request, hash: `sha256:${'1'.repeat(64)}` } },
      }),
      'SPW041',
    ],
    [
      'a longer life',
      (before: ApprovalRequest) => ({ ...before, spec: { ...before.spec, expiresAt: '2027-01-01T00:00:00Z' } }),
      'SPW041',
    ],
    [
      'another requester together with a vote',
      (before: ApprovalRequest) =>
        withVote(
          { ...before, spec: { ...before.spec, requester: { username: 'x', displayName: 'x' } } },
          { verdict: 'Approve' },
        ),
      'SPW041',
    ],
    ['no spec', (before: ApprovalRequest) => ({ ...before, spec: undefined }), 'SPW049'],
  ])('%s', async (_what, change, code) => {
    const before = request();
    const how = handlers();
    for (const handler of [how.stamp, how.check])
      expect(codeOf(await handler(admission(before, change(before), ada), NEVER))).toBe(code);
  });

  test('a vote that was changed or taken away', async () => {
    const { after } = await vote(request(), { verdict: 'Deny' }, ada);
    if (after === undefined) throw new Error('the vote was refused');
    const [decision] = after.spec.decisions ?? [];
    const edits = [
      { ...after, spec: { ...after.spec, decisions: [] } },
      { ...after, spec: { ...after.spec, decisions: [{ ...decision, verdict: 'Approve' }] } },
      { ...after, spec: { ...after.spec, decisions: [{ verdict: 'Approve' }, decision] } },
    ];
    const how = handlers();
    for (const edited of edits)
      for (const handler of [how.stamp, how.check])
        expect(codeOf(await handler(admission(after, edited, ada), NEVER))).toBe('SPW041');
  });

  test('a vote that was not stamped, or is another’s, or from another time', async () => {
    const before = request();
    const how = handlers();
    const check = async (added: unknown): Promise<string> =>
      codeOf(await how.check(admission(before, withVote(before, added), ada), NEVER));
    const ballot = { verdict: 'Approve', voter: 'ada', via: 'x', now: NOW } as const;
    expect(await check({ verdict: 'Approve' })).toBe('SPW050');
    expect(await check(signVote(before, { ...ballot, voter: 'ben' }, privateKey))).toBe('SPW050');
    expect(await check(signVote(before, { ...ballot, now: NOW - 120_000 }, privateKey))).toBe('SPW050');
    expect(await check(signVote(before, ballot, generateKeyPairSync('ed25519').privateKey))).toBe('SPW050');
    expect(await check({ ...signVote(before, ballot, privateKey), reason: 'added' })).toBe('SPW050');
    expect(await check(signVote(before, ballot, privateKey))).toBe('allowed');
  });

  test('a request that the proxy of that namespace did not make', async () => {
    const how = handlers();
    for (const handler of [how.stamp, how.check]) {
      const create = async (username: string): Promise<string> =>
        codeOf(await handler(admission(undefined, request(), { username }, { operation: 'CREATE' }), NEVER));
      expect(await create('ada')).toBe('SPW040');
      expect(await create(OPERATOR)).toBe('SPW040');
      expect(await create('system:serviceaccount:other:sallyport-proxy')).toBe('SPW040');
      expect(await create(PROXY)).toBe('allowed');
    }
  });

  test('a request that is made with votes in it, signed or not', async () => {
    const how = handlers();
    const signed = signVote(request(), { verdict: 'Approve', voter: 'ada', via: 'Kubernetes', now: NOW }, privateKey);
    for (const handler of [how.stamp, how.check])
      for (const decision of [signed, { verdict: 'Approve' }]) {
        const made = admission(undefined, withVote(request(), decision), { username: PROXY }, { operation: 'CREATE' });
        expect(codeOf(await handler(made, NEVER))).toBe('SPW049');
      }
  });

  test('a status that neither proxy nor operator wrote', async () => {
    const { check } = handlers();
    const write = (username: string) =>
      check(
        admission(request(), request({ status: { state: 'Approved' } }), { username }, { subResource: 'status' }),
        NEVER,
      );
    expect(codeOf(await write('ada'))).toBe('SPW048');
    expect(codeOf(await write('system:serviceaccount:other:sallyport-proxy'))).toBe('SPW048');
    expect(codeOf(await write(PROXY))).toBe('allowed');
    expect(codeOf(await write(OPERATOR))).toBe('allowed');
  });

  test('nobody who changes labels and annotations, such as to ask for a count', async () => {
    const before = request();
    const after = { ...before, metadata: { ...before.metadata, annotations: { 'sallyport.dev/count-wanted': 'now' } } };
    const how = handlers(() => Promise.resolve(false));
    for (const handler of [how.stamp, how.check])
      expect(await handler(admission(before, after, ada), NEVER)).toEqual({ allowed: true });
  });
});
