import { expect, test } from 'vitest';
import type { ApprovalRequest } from '../../api/resources.ts';
import { endOf } from './requests.ts';

const request = (expiresAt: string, status?: ApprovalRequest['status'], creationTimestamp = '2026-01-01T00:00:00Z') =>
  ({
    metadata: { namespace: 'shop', name: 'r', creationTimestamp },
    spec: { expiresAt } as ApprovalRequest['spec'],
    ...(status === undefined ? {} : { status }),
  }) as const;

test.each([
  ['an undecided one ends when it expires', request('2026-01-02T00:00:00Z'), '2026-01-02T00:00:00Z'],
  [
    'one that was decided late, then',
    request('2026-01-02T00:00:00Z', { decidedTime: '2026-01-03T00:00:00Z' }),
    '2026-01-03T00:00:00Z',
  ],
  [
    'one that was used, when it was used',
    request('2026-01-02T00:00:00Z', { decidedTime: '2026-01-01T12:00:00Z', consumedTime: '2026-01-04T00:00:00Z' }),
    '2026-01-04T00:00:00Z',
  ],
  ['a time that is none does not count', request('never'), '2026-01-01T00:00:00Z'],
])('%s', (_what, object, end) => {
  expect(new Date(endOf(object)).toISOString()).toBe(new Date(end).toISOString());
});
