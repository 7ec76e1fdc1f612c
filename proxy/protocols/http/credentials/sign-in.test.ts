import { expect, test } from 'vitest';
import type { CompiledConnection } from '../../../../policy/bundle.ts';
import { connection as base } from '../../../approval/approval.fixture.ts';
import { credentialsOf } from '../../../credentials/stored.ts';
import type { ClusterIdentity } from '../../../ports.ts';
import { createSignIns } from './sign-in.ts';

const patient = new AbortController().signal;

const to = (credential: CompiledConnection['credential']): CompiledConnection => ({
  ...base,
  protocol: 'HTTP',
  name: 'api',
  credential,
});

interface Given {
  readonly secrets?: Readonly<Record<string, string>>;
  readonly cluster?: ClusterIdentity;
}

/** Secrets `NAME/KEY` that can be changed, and a clock that can be set. */
function ground({ secrets = {}, cluster }: Given) {
  const values = new Map(Object.entries(secrets));
  const clock = { now: 1_000_000 };
  const failures: string[] = [];
  const signIns = createSignIns({
    credentials: credentialsOf({
      value: async (_kind, _namespace, name, key) => {
        const found = values.get(`${name}/${key}`);
        return found === undefined ? undefined : Buffer.from(found);
      },
      ownTokenKey: () => Promise.reject(new Error('no key')),
    }),
    cluster,
    now: () => clock.now,
    failed: (label, error) => failures.push(`${label}: ${error.message}`),
    issued: () => {},
  });
  return { values, clock, failures, signIns };
}

test.each([
  [{ 'api/token': 'abc.def-123\n' }, { secretRef: { name: 'api' } }, 'authorization', 'Bearer abc.def-123'],
  [
    { 'api/username': 'gateway', 'api/password': 'p4ss: wörd' },
    { secretRef: { name: 'api' } },
    'authorization',
    `Basic ${Buffer.from('gateway:p4ss: wörd').toString('base64')}`,
  ],
  [
    { 'api/key': 'Key  with blanks' },
    { httpHeader: { name: 'X-Api-Key', secretRef: { name: 'api', key: 'key' } } },
    'x-api-key',
    'Key  with blanks',
  ],
] as const)('a request is sent with what the Secret holds: %j', async (secrets, credential, name, value) => {
  const signIn = await ground({ secrets }).signIns.of(to(credential), { signal: patient });
  expect(signIn.field).toEqual({ name, value });
  const secret = value.replace(/^(Bearer|Basic) /, '');
  expect(signIn.concealer?.text(`it is ${secret}!`)).toBe(`it is ${'*'.repeat(secret.length)}!`);
});

test('without a credential nothing is sent, and nothing looked for', async () => {
  const signIn = await ground({}).signIns.of(to({}), { signal: patient });
  expect(signIn).toMatchObject({ field: undefined, concealer: undefined, used: undefined });
});

test.each([
  ['too short to be told from the rest of an answer', 'abc'],
  ['not one value of a header', 'abcdef\r\nx-role: admin'],
  ['with blanks around it', ' abcdef'],
])('a secret is not used that is %s', async (_name, key) => {
  const { signIns, failures } = ground({ secrets: { 'api/key': key } });
  const credential = { httpHeader: { name: 'x-key', secretRef: { name: 'api', key: 'key' } } };
  await expect(signIns.of(to(credential), { signal: patient })).rejects.toMatchObject({ code: 'SPE106' });
  expect(failures).toEqual([expect.stringContaining('shop/api: the Secret shop/api has a key key')]);
  expect(failures.join()).not.toContain('abc');
});

test('a secret that changed is used within seconds, and one that is gone too', async () => {
  const { values, clock, signIns } = ground({ secrets: { 'api/token': 'first-token' } });
  const connection = to({ secretRef: { name: 'api' } });
  const sent = async () => (await signIns.of(connection, { signal: patient })).field?.value;
  expect(await sent()).toBe('Bearer first-token');
  values.set('api/token', 'second-token');
  expect(await sent()).toBe('Bearer first-token');
  clock.now += 5000;
  expect(await sent()).toBe('Bearer second-token');
  values.clear();
  clock.now += 5000;
  await expect(sent()).rejects.toMatchObject({ code: 'SPE106' });
  values.set('api/token', 'third-token');
  expect(await sent()).toBe('Bearer third-token');
});

test('a token of a service account is made for its audiences, and never one of the API server', async () => {
  const asked: object[] = [];
  const cluster: ClusterIdentity = {
    signIn: () => Promise.reject(new Error('nobody asks for it')),
    async serviceAccountToken(account, { audiences, ttlSeconds }) {
      asked.push({ account, audiences, ttlSeconds });
      return { token: `made.for.${account.name}`, expiresAt: new Date(1_000_000 + ttlSeconds * 1000) };
    },
  };
  const { signIns } = ground({ cluster });
  const account = { name: 'reader', audiences: ['https://api.example.com'], ttlMs: 600_000 };
  const connection = to({ serviceAccountToken: account });
  const signIn = await signIns.of(connection, { signal: patient });
  expect(signIn.field).toEqual({ name: 'authorization', value: 'Bearer made.for.reader' });
  expect(signIn.used).toMatchObject({ type: 'serviceAccountToken', reference: 'TokenRequest' });
  await signIns.of(connection, { signal: patient });
  expect(asked).toEqual([
    { account: { namespace: 'shop', name: 'reader' }, audiences: ['https://api.example.com'], ttlSeconds: 600 },
  ]);
  const without = to({ serviceAccountToken: { ...account, audiences: [] } });
  await expect(signIns.of(without, { signal: patient })).rejects.toMatchObject({ code: 'SPE106' });
  await expect(ground({}).signIns.of(connection, { signal: patient })).rejects.toMatchObject({ code: 'SPE106' });
  expect(asked).toHaveLength(1);
});
