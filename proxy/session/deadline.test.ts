import { getEventListeners, once } from 'node:events';
import { expect, test } from 'vitest';
import { createDeadline, linkedTo } from './deadline.ts';

test('a deadline fires when its time is over, and says that it was the time', async () => {
  using deadline = createDeadline(new AbortController().signal, 1);
  await once(deadline.signal, 'abort');
  expect(deadline.expired).toBe(true);
  expect(deadline.signal.reason).toMatchObject({ name: 'TimeoutError' });
});

test('a deadline fires with the outer signal, for its reason, also with one that has fired before', () => {
  const outer = new AbortController();
  using deadline = createDeadline(outer.signal, 60_000);
  const reason = new Error('stopping');
  outer.abort(reason);
  using late = createDeadline(outer.signal, 60_000);
  for (const each of [deadline, late]) {
    expect(each.signal.reason).toBe(reason);
    expect(each.expired).toBe(false);
  }
});

test('nothing is left in the outer signal, and nothing follows it any more', () => {
  const outer = new AbortController();
  const first = createDeadline(outer.signal, 60_000);
  const second = linkedTo(outer.signal);
  expect(getEventListeners(outer.signal, 'abort')).toHaveLength(2);
  first[Symbol.dispose]();
  second[Symbol.dispose]();
  expect(getEventListeners(outer.signal, 'abort')).toHaveLength(0);
  outer.abort(new Error('stopping'));
  expect(first.signal.aborted || second.signal.aborted).toBe(false);
});

test('whoever linked a signal can end it alone', () => {
  const outer = new AbortController();
  using linked = linkedTo(outer.signal);
  linked.abort(new Error('gone'));
  expect(linked.signal.reason).toMatchObject({ message: 'gone' });
  expect(outer.signal.aborted).toBe(false);
});
