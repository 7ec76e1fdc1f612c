/** Replicas as processes: several of them, one that is killed, one that stops, and one that loses its API server. */
import { once } from 'node:events';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { recordedEvents } from '../support/recorded.ts';
import { describeWith, postgresServer } from '../support/requires.ts';
import { sallyport } from '../support/sallyport.ts';
import { controlPlaneNeeds } from './control-plane.ts';
import {
  denial,
  farewell,
  inForce,
  type Pod,
  type ProxyGround,
  refusal,
  rows,
  signIn,
  startProxyGround,
  until,
} from './proxy-ground.ts';

describeWith([...controlPlaneNeeds, postgresServer(18)], 'replicas of the proxies', () => {
  let ground: ProxyGround;
  let pod: Pod;
  let bundle: { readonly hash: string };

  beforeAll(async () => {
    ground = await startProxyGround();
    bundle = await ground.publish();
    pod = await ground.pod('agent-1', '127.0.0.11');
  });
  afterAll(() => ground?.[Symbol.asyncDispose]());

  async function ready(options: Parameters<ProxyGround['replica']>[0] = {}) {
    const replica = await ground.replica(options);
    await inForce(replica, bundle);
    await until(async () => (await replica.probe('/readyz')).status === 200);
    return replica;
  }

  /** Whoever may write ConfigMaps puts the bundle back that was there before. @param list as kubectl printed it */
  async function putBack(list: string): Promise<void> {
    const items = (JSON.parse(list) as { items: { metadata: { name: string; [field: string]: unknown } }[] }).items;
    for (const item of items.filter(({ metadata }) => metadata.name.startsWith('sallyport-bundle')).reverse()) {
      const { name, namespace, labels } = item.metadata;
      await ground.cluster.apply(
        JSON.stringify({ ...item, metadata: { name, namespace, labels }, apiVersion: 'v1', kind: 'ConfigMap' }),
      );
    }
  }

  test('acknowledge each for itself, and one that stops takes its Lease along', async () => {
    await using one = await ready();
    await using two = await ready();
    for (const each of [one, two]) await until(async () => (await ground.report(each))?.bundle === bundle.hash);
    await using connector = await ground.connector(two, pod, await ground.token(pod));
    await using client = await signIn(connector);
    expect(await rows(client, 'SELECT 1')).toEqual([['1']]);
    await one.stop();
    expect(await ground.cluster.kubectl(['get', 'leases', '-n', 'shop', '-o', 'name'])).not.toContain(one.name);
    // The other has not noticed.
    expect(await rows(client, 'SELECT count(*) FROM orders')).toEqual([['2']]);
  });

  test('one that stops lets an open transaction end, takes no new tunnel, and says so to connectors', async () => {
    await using replica = await ready({ parameters: ['--drain', '60'] });
    const token = await ground.token(pod);
    await using connector = await ground.connector(replica, pod, token);
    await using client = await signIn(connector);
    await rows(client, 'BEGIN');
    replica.child.kill('SIGTERM');
    await replica.logged((line) => line['event'] === 'stopping');
    expect((await replica.probe('/readyz')).status).toBe(503);
    expect((await replica.probe('/healthz')).status).toBe(200);
    const renewed = await ground.control(replica, pod, token, 'PUT /v1/identity');
    expect(renewed.status).toBe(200);
    expect(renewed.text.toLowerCase()).toContain('sallyport-draining: true');
    const refused = await ground.control(replica, pod, token, `CONNECT localhost:${ground.server.port}`);
    expect(refused.status).toBe(503);
    expect(refused.text).toContain('SPT002');
    expect(await rows(client, 'SELECT count(*) FROM orders')).toEqual([['2']]);
    await rows(client, 'COMMIT').catch(() => []);
    expect((await farewell(client)).C).toBe('57P01');
    if (replica.child.exitCode === null) await once(replica.child, 'close');
    expect(replica.child.exitCode).toBe(0);
  });

  test('one that is killed amid a session ends it cleanly for the client, and its record is whole after a restart', async () => {
    const replica = await ready();
    await using connector = await ground.connector(replica, pod, await ground.token(pod));
    await using client = await signIn(connector);
    expect(await rows(client, 'SELECT count(*) FROM orders')).toEqual([['2']]);
    await replica.stop('SIGKILL');
    await farewell(client);
    const uid = (await ground.cluster.get<{ metadata: { uid: string } }>('pod', replica.name, 'shop')).metadata.uid;
    const state = replica.state.replace(/\/replica$/, '');
    await using again = await ready({ name: replica.name, state, uid });
    const events = await recordedEvents(again.state);
    expect(events.filter(({ e }) => e === 'session.start')).toHaveLength(1);
    expect(events.filter(({ e }) => e === 'session.interrupted')).toHaveLength(1);
    expect((await sallyport(['verify', again.state])).status).toBe(0);
  });

  test('one that was restarted does not go back behind the bundle that it had', async () => {
    await using replica = await ready();
    const old = await ground.cluster.kubectl(['get', 'configmaps', '-n', 'shop', '-o', 'json']);
    const newer = await ground.publish();
    await inForce(replica, newer);
    await replica.stop();
    await putBack(old);
    const uid = (await ground.cluster.get<{ metadata: { uid: string } }>('pod', replica.name, 'shop')).metadata.uid;
    const state = replica.state.replace(/\/replica$/, '');
    await using again = await ground.replica({ name: replica.name, state, uid });
    await again.logged((line) => line['code'] === 'SPX005');
    expect((await again.probe('/readyz')).status).toBe(503);
    bundle = await ground.publish();
    await inForce(again, bundle);
  });

  test('one that starts anew does not take an older bundle than others enforce', async () => {
    await using old = await ready();
    const before = await ground.cluster.kubectl(['get', 'configmaps', '-n', 'shop', '-o', 'json']);
    const newer = await ground.publish();
    await inForce(old, newer);
    await until(async () => (await ground.report(old))?.bundle === newer.hash);
    await putBack(before);
    await old.logged((line) => line['code'] === 'SPX005');
    await using fresh = await ground.replica();
    await fresh.logged((line) => line['code'] === 'SPX005');
    expect((await fresh.probe('/readyz')).status).toBe(503);
    bundle = await ground.publish();
    for (const each of [old, fresh]) await inForce(each, bundle);
  });

  test('go on without an API server: sessions, and new ones of pods that are known, with tokens that it signed', async () => {
    await using replica = await ready();
    const tokens = [await ground.token(pod), await ground.token(pod)] as const;
    await using connector = await ground.connector(replica, pod, tokens[0]);
    await using client = await signIn(connector);
    await ground.cluster.apiServer.kill();
    try {
      expect(await rows(client, 'SELECT count(*) FROM orders')).toEqual([['2']]);
      expect(await denial(client, 'DELETE FROM orders')).toMatchObject({ C: '42501' });
      await using fresh = await ground.connector(replica, pod, tokens[1]);
      await using other = await signIn(fresh);
      expect(await rows(other, 'SELECT count(*) FROM orders')).toEqual([['2']]);
      // From an address that is not the pod's the same token is refused as ever.
      await using stolen = await ground.connector(replica, { ...pod, address: '127.0.0.99' }, tokens[1]);
      expect((await refusal(stolen)).D).toContain('SPI026');
    } finally {
      await ground.cluster.apiServer.start();
    }
  });
});
