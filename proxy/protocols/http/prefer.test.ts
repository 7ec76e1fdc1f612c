import { expect, test } from 'vitest';
import { MOST_WAIT_S, otherPreferences, preferredWait } from './prefer.ts';

test.each([
  [['prefer', 'wait=10'], 10],
  [['prefer', 'respond-async, WAIT = "20"; foo=bar'], 20],
  [['accept', '*/*', 'prefer', 'return=minimal', 'prefer', 'wait=5'], 5],
  // The first counts.
  [['prefer', 'wait=5, wait=50'], 5],
  [['prefer', 'wait=0'], 0],
  [['prefer', 'wait=99999'], MOST_WAIT_S],
  [['prefer', 'note="a, wait=9", wait=3'], 3],
  [['prefer', 'wait=-1'], undefined],
  [['prefer', 'wait=1e9'], undefined],
  [['prefer', 'wait'], undefined],
  [['prefer', 'await=5'], undefined],
  [[], undefined],
])('how long a client waits, of %j: %s', (fields, seconds) => expect(preferredWait(fields)).toBe(seconds));

test('what else it prefers stays, since it may change what a target does', () => {
  expect(otherPreferences(['prefer', 'wait=5, return=minimal', 'prefer', 'tx=rollback, wait'])).toBe(
    'return=minimal, tx=rollback',
  );
  expect(otherPreferences(['prefer', 'note="wait=5"'])).toBe('note="wait=5"');
});
