import { expect, test } from 'vitest';
import { ANNOTATIONS } from '../../api/cluster.ts';
import type { Lease } from '../../kube/builtin.ts';
import { newestMark } from './peer-marks.ts';

const NOW = Date.UTC(2026, 0, 1);

const lease = (report: unknown): Lease => ({
  apiVersion: 'coordination.k8s.io/v1',
  kind: 'Lease',
  metadata: {
    name: 'replica',
    namespace: 'shop',
    annotations: { [ANNOTATIONS.proxyReport]: typeof report === 'string' ? report : JSON.stringify(report) },
  },
});

test('the newest bundle of any replica counts', () => {
  const leases = [1, 3, 2].map((sequence) => lease({ bundle: `sha256:${sequence}`, sequence }));
  expect(newestMark(leases, NOW)).toEqual({ sequence: 3, hash: 'sha256:3' });
  expect(newestMark([], NOW)).toBeUndefined();
});

test.each([
  ['no report', 'nonsense'],
  ['one that has nothing in force yet', { bundle: '', sequence: 0 }],
  ['a sequence that is no number', { bundle: 'sha256:9', sequence: '9' }],
  ['a sequence from the future, which would keep every bundle out', { bundle: 'sha256:9', sequence: NOW + 90_000_000 }],
])('%s says nothing', (_what, report) => {
  const known = lease({ bundle: 'sha256:1', sequence: 1 });
  expect(newestMark([lease(report), known], NOW)).toEqual({ sequence: 1, hash: 'sha256:1' });
});
