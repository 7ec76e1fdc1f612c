import fc from 'fast-check';
import { expect, test } from 'vitest';
import { beginScram, createScramKeyCache, MAX_ITERATIONS, ScramError, saslPrep } from './scram.ts';

const keys = createScramKeyCache();
/** The exchange of RFC 7677, section 3, without the user name, which PostgreSQL takes from the start-up packet. */
const NONCE = 'rOprNGfwEbeRWgbNEkqO';
const SERVER_FIRST = 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096';
const keysOf = (salt: Buffer, iterations: number) => keys('user', 'pencil', salt, iterations);

test('keys are those of the vectors of RFC 7677', async () => {
  const { clientKey, serverKey } = await keysOf(Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64'), 4096);
  // Derived from the salted password of the vectors with another implementation (Python's hashlib).
  expect(clientKey.toString('hex')).toBe('a60fc923d67e8644a92d16b96eda5ef4656b0c725c484374be25535576996e8b');
  expect(serverKey.toString('hex')).toBe('c1f3cbc1c13a9d35a14c0990eed97629ea225863e566a4314ab99f3f00e5d9d5');
});

test('the mechanism is -PLUS when there is a channel and the server offers it', () => {
  const endPoint = Buffer.alloc(32, 1);
  const both = ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'];
  const first = (offered: string[], binding?: Buffer): string =>
    beginScram(offered, binding, 'abc')?.first.toString() ?? '';
  expect(first(both, endPoint)).toBe('p=tls-server-end-point,,n=,r=abc');
  expect(first(['SCRAM-SHA-256'], endPoint)).toBe('y,,n=,r=abc');
  expect(first(both)).toBe('n,,n=,r=abc');
  expect(beginScram(['SCRAM-SHA-256-PLUS'], undefined)).toBeUndefined();
  expect(beginScram(['OAUTHBEARER'], endPoint)).toBeUndefined();
});

test('nonces differ', () => {
  const nonces = new Set(Array.from({ length: 100 }, () => beginScram(['SCRAM-SHA-256'], undefined)?.first.toString()));
  expect(nonces.size).toBe(100);
});

test.each([
  ['unproved', SERVER_FIRST.replace('rOpr', 'xOpr')],
  ['unproved', `r=${NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`],
  ['malformed', SERVER_FIRST.replace('i=4096', 'i=0')],
  ['malformed', SERVER_FIRST.replace('i=4096', 'i=-1')],
  ['malformed', SERVER_FIRST.replace('gQ==', 'gQ=')],
  ['malformed', SERVER_FIRST.replace(',i=4096', '')],
  ['malformed', `m=ext,${SERVER_FIRST}`],
  ['malformed', ''],
  ['iterations', SERVER_FIRST.replace('i=4096', `i=${MAX_ITERATIONS + 1}`)],
])('a first message that is %s: %s', async (kind, text) => {
  const client = beginScram(['SCRAM-SHA-256'], undefined, NONCE);
  await expect(client?.final(Buffer.from(text), keysOf)).rejects.toMatchObject({ name: 'ScramError', kind });
});

test('the server has to prove itself: any other signature is refused, and one before the exchange too', async () => {
  const client = beginScram(['SCRAM-SHA-256'], undefined, NONCE);
  if (client === undefined) throw new Error('no client');
  expect(() => client.verify(Buffer.from('v='))).toThrow(ScramError);
  await client.final(Buffer.from(SERVER_FIRST), keysOf);
  for (const value of ['', 'e=other-error', 'v=', 'v=AAAA', `v=${Buffer.alloc(32).toString('base64')}`]) {
    expect(() => client.verify(Buffer.from(value))).toThrow(ScramError);
  }
});

test('any first message is answered or refused as ours', async () => {
  const parts = fc.array(fc.constantFrom('r=', NONCE, 'x', ',', 's=', 'QUJD', 'i=', '1', '=', '\0', '\xff'));
  await fc.assert(
    fc.asyncProperty(parts, async (texts) => {
      const client = beginScram(['SCRAM-SHA-256'], undefined, NONCE);
      const outcome = client?.final(Buffer.from(texts.join(''), 'latin1'), keysOf).then(
        () => true,
        (error: unknown) => error instanceof ScramError,
      );
      expect(await outcome).toBe(true);
    }),
  );
});

test('keys are cached by role, password, salt and rounds', async () => {
  const cache = createScramKeyCache();
  const salt = Buffer.from('salt');
  const first = cache('a', 'x', salt, 10);
  expect(cache('a', 'x', salt, 10)).toBe(first);
  for (const other of [
    cache('b', 'x', salt, 10),
    cache('a', 'y', salt, 10),
    cache('a', 'x', Buffer.from('s'), 10),
    cache('a', 'x', salt, 11),
  ]) {
    expect(other).not.toBe(first);
  }
  for (let i = 0; i < 300; i++) await cache('a', `p${i}`, salt, 1);
  expect(cache('a', 'x', salt, 10)).not.toBe(first);
});

test.each([
  ['pencil', 'pencil'],
  ['I\u00adX', 'IX'],
  ['\u00aa', 'a'],
  ['\u2168', 'IX'],
  ['a\u00a0b', 'a b'],
  ['tab\there', 'tab\there'],
  ['\u2168\u0007', '\u2168\u0007'],
  ['\u00ad', '\u00ad'],
])('SASLprep of %j is %j', (password, prepared) => {
  expect(saslPrep(password)).toBe(prepared);
});
