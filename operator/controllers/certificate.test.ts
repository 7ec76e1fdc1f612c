import { expect, test } from 'vitest';
import type { AccessConnection } from '../../api/resources.ts';
import { proxyCertificate } from './certificate.ts';

const connection = (host: string): AccessConnection => ({
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'AccessConnection',
  metadata: { name: 'orders', namespace: 'shop' },
  spec: { protocol: 'Postgres', target: { host, port: 5432, database: 'orders' } } as AccessConnection['spec'],
});

const own = proxyCertificate('shop', []).names;

test.each([
  'sallyport-archive.sallyport-system.svc',
  'sallyport-archive.sallyport-system',
  'sallyport-webhook.sallyport-system.svc.cluster.local',
  'sallyport-proxy.other.svc',
  'sallyport-proxy.other',
  'sallyport-proxy-replicas.other.svc',
  '10-0-0-7.sallyport-proxy-replicas.other.svc',
  'orders-sallyport.other.svc',
])('whoever calls %s a target gets no certificate for it', (host) => {
  expect(proxyCertificate('shop', [connection(host)]).names).toEqual(own);
});

test('a target beside the connection is known by all of its names, also in a namespace that is called like ours', () => {
  expect(proxyCertificate('team-sallyport', [connection('db')]).names).toEqual(
    expect.arrayContaining(['db', 'db.team-sallyport', 'db.team-sallyport.svc', 'db.team-sallyport.svc.cluster.local']),
  );
});
