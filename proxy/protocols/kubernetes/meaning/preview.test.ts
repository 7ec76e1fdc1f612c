import { expect, test } from 'vitest';
import { objectDifference } from './preview.ts';

test('shows what changes, without what every write changes', () => {
  const before = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web', resourceVersion: '1' },
    spec: { replicas: 3 },
  };
  const after = {
    ...before,
    metadata: { name: 'web', resourceVersion: '2', managedFields: [{}] },
    spec: { replicas: 5 },
  };
  expect(objectDifference(before, after)).toBe(
    ['  …', '  metadata:', '    name: web', '  spec:', '-   replicas: 3', '+   replicas: 5'].join('\n'),
  );
  expect(objectDifference(before, { ...before, status: { replicas: 3 } })).toBe('');
});

test('shows all of an object that is made', () => {
  expect(objectDifference(undefined, { kind: 'ConfigMap', data: { a: 'b' } })).toBe(
    '+ kind: ConfigMap\n+ data:\n+   a: b',
  );
});
