import { expect, test } from 'vitest';
import { type AccessToken, createTokenCache, type TokenCache } from './tokens.ts';

const LIFETIME = 600_000;
const patient = new AbortController().signal;

interface Ground {
  readonly cache: TokenCache;
  readonly fetches: PromiseWithResolvers<AccessToken>[];
  now: number;
  readonly failures: Error[];
  /** Answers the latest fetch. */
  answer(name: string): Promise<void>;
}

function ground(): Ground {
  const fetches: PromiseWithResolvers<AccessToken>[] = [];
  const failures: Error[] = [];
  const made: Ground = {
    now: 1_000_000,
    fetches,
    failures,
    cache: createTokenCache({
      fetch: () => {
        const fetching = Promise.withResolvers<AccessToken>();
        fetches.push(fetching);
        return fetching.promise;
      },
      now: () => made.now,
      failed: (error) => failures.push(error),
    }),
    async answer(name) {
      const fetching = fetches.at(-1);
      fetching?.resolve({ token: name, issuedAt: made.now, expiresAt: made.now + LIFETIME });
      await fetching?.promise;
    },
  };
  return made;
}

test('however many wait, one token is fetched, and used until it is old', async () => {
  const { cache, fetches, answer } = ground();
  const waiting = Promise.all([cache.current(patient), cache.current(patient), cache.current(patient)]);
  await answer('first');
  expect((await waiting).map(({ token }) => token)).toEqual(['first', 'first', 'first']);
  expect((await cache.current(patient)).token).toBe('first');
  expect(fetches).toHaveLength(1);
});

test('it is fetched anew while it is still good, and nobody waits for that', async () => {
  const at = ground();
  const first = at.cache.current(patient);
  await at.answer('first');
  await first;
  at.now += LIFETIME - 60_000;
  expect((await at.cache.current(patient)).token).toBe('first');
  expect((await at.cache.current(patient)).token).toBe('first');
  expect(at.fetches).toHaveLength(2);
  await at.answer('second');
  expect((await at.cache.current(patient)).token).toBe('second');
  expect(at.cache.known.map(({ token }) => token)).toEqual(['second', 'first']);
});

test('a failure is told to whoever waits, and is not tried again at once', async () => {
  const at = ground();
  const failing = at.cache.current(patient);
  at.fetches[0]?.reject(new Error('the server is away'));
  await expect(failing).rejects.toThrow('the server is away');
  await expect(at.cache.current(patient)).rejects.toThrow('the server is away');
  expect(at.fetches).toHaveLength(1);
  at.now += 1000;
  const later = at.cache.current(patient);
  await at.answer('back');
  expect((await later).token).toBe('back');
});

test('a failed renewal leaves the good token in use until shortly before its end', async () => {
  const at = ground();
  const first = at.cache.current(patient);
  await at.answer('first');
  await first;
  at.now += LIFETIME - 10_000;
  expect((await at.cache.current(patient)).token).toBe('first');
  at.fetches[1]?.reject(new Error('the server is away'));
  await expect(at.fetches[1]?.promise).rejects.toThrow();
  expect((await at.cache.current(patient)).token).toBe('first');
  expect(at.failures.map(({ message }) => message)).toEqual(['the server is away']);
  at.now += 6000;
  const next = at.cache.current(patient);
  await at.answer('second');
  expect((await next).token).toBe('second');
});

test('a token that the target does not accept is replaced once', async () => {
  const at = ground();
  const waiting = at.cache.current(patient);
  await at.answer('first');
  const first = await waiting;
  at.cache.reject(first);
  const next = at.cache.current(patient);
  await at.answer('second');
  const second = await next;
  // Another request that was sent with the old one is told late.
  at.cache.reject(first);
  expect((await at.cache.current(patient)).token).toBe(second.token);
  expect(at.fetches).toHaveLength(2);
});

test('whoever gives up does not take the token from the others', async () => {
  const at = ground();
  const leaving = new AbortController();
  const left = at.cache.current(leaving.signal);
  const stays = at.cache.current(patient);
  leaving.abort(new Error('left'));
  await expect(left).rejects.toThrow('left');
  await at.answer('first');
  expect((await stays).token).toBe('first');
  expect(at.fetches).toHaveLength(1);
});
