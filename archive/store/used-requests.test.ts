import { mkdtemp, readdir, rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createUsedLedger, type UsedLedger } from './used-requests.ts';

const UID = '6b3c5b6e-9b53-4b7e-8f1f-3f2a5e1c9a01';
let root: string;
let ledger: UsedLedger;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'used-'));
  ledger = createUsedLedger(root);
});
afterEach(() => rm(root, { recursive: true, force: true }));

test('of many that come at once exactly one notes it, and nothing is left beside it', async () => {
  const claims = await Promise.all(
    Array.from({ length: 20 }, (_, attempt) => ledger.claim('shop', UID, Buffer.from(`{"attempt":${attempt}}`))),
  );
  expect(claims.filter((outcome) => outcome === 'made')).toHaveLength(1);
  expect(claims.filter((outcome) => outcome === 'taken')).toHaveLength(19);
  const winner = claims.indexOf('made');
  expect((await ledger.find('shop', UID))?.toString()).toBe(`{"attempt":${winner}}`);
  expect(await readdir(join(root, 'shop'))).toEqual([UID]);
});

test('whoever asks again with the same bytes is told that it is theirs', async () => {
  const note = Buffer.from('{"attempt":"x"}');
  expect(await ledger.claim('shop', UID, note)).toBe('made');
  expect(await createUsedLedger(root).claim('shop', UID, note)).toBe('again');
  expect(await ledger.claim('other', UID, note)).toBe('made');
});

test.each([
  ['shop', '../../etc/passwd'],
  ['..', UID],
  ['shop', UID.toUpperCase()],
  ['', UID],
  ['shop', ''],
])('%s/%s is no name', async (namespace, uid) => {
  await expect(ledger.claim(namespace, uid, Buffer.from('{}'))).rejects.toMatchObject({ code: 'SPH018' });
  await expect(ledger.find(namespace, uid)).rejects.toMatchObject({ code: 'SPH018' });
});

test('forgets what is older than votes live, and nothing else', async () => {
  const old = UID.replace('6b', '7c');
  await ledger.claim('shop', UID, Buffer.from('{}'));
  await ledger.claim('shop', old, Buffer.from('{}'));
  await utimes(join(root, 'shop', old), 1000, 1000);
  await ledger.removeBefore(2_000_000);
  expect(await ledger.find('shop', old)).toBeUndefined();
  expect(await ledger.find('shop', UID)).toBeDefined();
});

test('what cannot be written is an error, and not a note', async () => {
  await rm(root, { recursive: true });
  const blocked = createUsedLedger('/dev/null/used');
  await expect(blocked.claim('shop', UID, Buffer.from('{}'))).rejects.toMatchObject({ code: 'SPH009' });
});

test('a namespace has room for so many notes: those that are there are answered, others have room, and what is old makes room', async () => {
  const bounded = createUsedLedger(root, 3);
  const uid = (n: number): string => UID.replace('6b3c5b6e', `6b3c5b6${n}`);
  await bounded.claim('shop', uid(1), Buffer.from('{"one":1}'));
  const claims = await Promise.allSettled([2, 3, 4, 5].map((n) => bounded.claim('shop', uid(n), Buffer.from('{}'))));
  expect(claims.filter(({ status }) => status === 'fulfilled')).toHaveLength(2);
  for (const claim of claims) {
    if (claim.status === 'rejected') expect(claim.reason).toMatchObject({ code: 'SPH012' });
  }
  expect(await readdir(join(root, 'shop'))).toHaveLength(3);
  expect(await bounded.claim('shop', uid(1), Buffer.from('{"one":1}'))).toBe('again');
  expect(await bounded.claim('shop', uid(1), Buffer.from('{"another":1}'))).toBe('taken');
  expect(await bounded.claim('bank', uid(1), Buffer.from('{}'))).toBe('made');
  // Also after a restart.
  await expect(createUsedLedger(root, 3).claim('shop', uid(6), Buffer.from('{}'))).rejects.toMatchObject({
    code: 'SPH012',
  });
  await utimes(join(root, 'shop', uid(1)), 1000, 1000);
  await bounded.removeBefore(2_000_000);
  expect(await bounded.claim('shop', uid(6), Buffer.from('{}'))).toBe('made');
});
