import { expect, test } from 'vitest';
import type { CompiledConnection } from '../../policy/bundle.ts';
import type { VerifiedIdentity } from '../ports.ts';
import { createEgressProbes } from './egress.ts';

const orders = { namespace: 'shop', name: 'orders', target: { host: 'db.shop.svc', port: 5432 } } as CompiledConnection;
const AT = new Date('2026-03-01T12:00:00Z');

const of = (namespace: string, uid: string): VerifiedIdentity => ({
  subject: { username: 'x', groups: [], claims: {}, pod: { namespace, name: `pod-${uid}`, uid } },
  sessionExpiresAt: AT,
  tokenId: 'x',
  tokenLifetimeSeconds: 600,
});

/** Pods of namespace agents may use the connection. */
const probes = () =>
  createEgressProbes({
    refusal: (_connection, { subject }) =>
      subject.pod?.namespace === 'agents' ? undefined : { code: 'SPX011', message: 'no', hint: '' },
  });

const reachable = { host: 'DB.shop.svc', port: 5432, reachable: true };

test('a pod speaks for itself, as long as it is there', () => {
  const egress = probes();
  egress.record(of('agents', 'a'), reachable, [orders], AT);
  egress.record(of('agents', 'b'), reachable, [orders], AT);
  egress.record(of('agents', 'a'), { ...reachable, reachable: false }, [orders], AT);
  expect(egress.report()).toEqual({ orders: { open: ['agents/pod-b'], probed: AT.toISOString() } });
  egress.forget('b');
  expect(egress.report()).toEqual({ orders: { open: [], probed: AT.toISOString() } });
});

test('and about connections that it may use', () => {
  const egress = probes();
  egress.record(of('other', 'a'), reachable, [orders], AT);
  expect(egress.report()).toEqual({});
});
