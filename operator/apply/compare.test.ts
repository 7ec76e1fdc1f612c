import { expect, test } from 'vitest';
import { difference } from './compare.ts';

const object = (rest: Record<string, unknown>, metadata: Record<string, unknown> = {}) => ({
  metadata: { name: 'x', ...metadata },
  ...rest,
});

test.each([
  ['the same', { spec: { a: 1 } }, { spec: { a: 1 } }, 'none'],
  ['a default that the API server fills in', { spec: { a: 1 } }, { spec: { a: 1, b: 2 } }, 'none'],
  ['a false that is left out', { spec: { hostNetwork: false } }, { spec: {} }, 'none'],
  ['an empty list that is left out', { spec: { initContainers: [] } }, { spec: {} }, 'none'],
  ['an empty object that got a default', { spec: { emptyDir: {} } }, { spec: { emptyDir: { medium: 'x' } } }, 'none'],
  ['another value', { spec: { a: 1 } }, { spec: { a: 2 } }, 'changed'],
  ['a value that is gone', { spec: { a: 1 } }, { spec: {} }, 'changed'],
  ['a false that was made true', { spec: { hostNetwork: false } }, { spec: { hostNetwork: true } }, 'changed'],
  ['an element that is gone', { rules: [1, 2] }, { rules: [1] }, 'changed'],
  ['an element more', { rules: [1] }, { rules: [1, 2] }, 'extended'],
  ['an element where there is none', { spec: { initContainers: [] } }, { spec: { initContainers: [{}] } }, 'extended'],
  ['a key more in a map of data', { data: { a: 'x' } }, { data: { a: 'x', b: 'y' } }, 'extended'],
  [
    'elements by name, in another order',
    { spec: { containers: [{ name: 'a' }, { name: 'b' }] } },
    { spec: { containers: [{ name: 'b' }, { name: 'a', image: 'x' }] } },
    'none',
  ],
  ['a status', {}, { status: { ready: true } }, 'none'],
] as const)('%s', (_what, desired, live, result) => {
  expect(difference(object(desired), object(live))).toBe(result);
});

test('labels of others are theirs; ours, and owners, are ours', () => {
  const desired = object({}, { labels: { ours: 'a' }, ownerReferences: [{ uid: '1' }] });
  const owners = [{ uid: '1', kind: 'A' }];
  expect(difference(desired, object({}, { labels: { ours: 'a', theirs: 'b' }, ownerReferences: owners }))).toBe('none');
  expect(difference(desired, object({}, { labels: { ours: 'b' }, ownerReferences: owners }))).toBe('changed');
  expect(difference(desired, object({}, { labels: { ours: 'a' }, ownerReferences: [] }))).toBe('changed');
});
