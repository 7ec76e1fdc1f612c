import { expect, test } from 'vitest';
import { dialInTurn } from './dial-in-turn.ts';

/** Connections that are answered when the test says so. */
function network() {
  const log: string[] = [];
  const answers = new Map<string, PromiseWithResolvers<{ destroy(): void }>>();
  const dial = (address: string, signal: AbortSignal) => {
    log.push(`dial ${address}`);
    const answer = Promise.withResolvers<{ destroy(): void }>();
    answers.set(address, answer);
    signal.addEventListener('abort', () => log.push(`give up ${address}`), { once: true });
    return answer.promise;
  };
  const socket = (address: string) => ({ destroy: () => void log.push(`destroy ${address}`) });
  return {
    log,
    dial,
    accept: (address: string) => answers.get(address)?.resolve(socket(address)),
    refuse: (address: string) => answers.get(address)?.reject(new Error(`${address} refused`)),
  };
}

const NEVER = AbortSignal.any([]);

test('one that answers is the only one that is dialled', async () => {
  const net = network();
  const turns = dialInTurn(['a', 'b'], net.dial, 60_000, NEVER);
  const first = turns.next();
  net.accept('a');
  expect(await first).toMatchObject({ value: { address: 'a', socket: {} } });
  await turns.return();
  expect(net.log).toEqual(['dial a', 'give up a']);
});

test('one that says nothing has a head start, and what comes too late is closed', async () => {
  const net = network();
  const turns = dialInTurn(['a', 'b'], net.dial, 1, NEVER);
  const first = turns.next();
  while (!net.log.includes('dial b')) await new Promise(setImmediate);
  net.accept('b');
  expect(await first).toMatchObject({ value: { address: 'b', socket: {} } });
  await turns.return();
  net.accept('a');
  await new Promise(setImmediate);
  expect(net.log).toEqual(['dial a', 'dial b', 'give up a', 'give up b', 'destroy a']);
});

test('one that refuses is told, and the next is dialled at once; each is told once', async () => {
  const net = network();
  const turns = dialInTurn(['a', 'b'], net.dial, 60_000, NEVER);
  const first = turns.next();
  net.refuse('a');
  expect(await first).toMatchObject({ value: { address: 'a', error: new Error('a refused') } });
  const second = turns.next();
  await new Promise(setImmediate);
  net.refuse('b');
  expect(await second).toMatchObject({ value: { address: 'b', error: new Error('b refused') } });
  expect(await turns.next()).toEqual({ done: true, value: undefined });
});

test('when nobody answers, those that are there by now are dialled too', async () => {
  const net = network();
  let asked = 0;
  const more = async () => (++asked < 3 ? ['a'] : ['a', 'new']);
  const turns = dialInTurn(['a'], net.dial, 1, NEVER, more);
  const first = turns.next();
  while (!net.log.includes('dial new')) await new Promise(setImmediate);
  net.accept('new');
  expect(await first).toMatchObject({ value: { address: 'new', socket: {} } });
  await turns.return();
  expect(net.log.slice(0, 2)).toEqual(['dial a', 'dial new']);
});

test('an end of the signal ends it', async () => {
  const net = network();
  const stop = new AbortController();
  const turns = dialInTurn(['a'], net.dial, 60_000, stop.signal);
  const first = turns.next();
  stop.abort();
  expect(await first).toEqual({ done: true, value: undefined });
});
