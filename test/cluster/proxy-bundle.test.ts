/** What is in force at a replica, and what is not taken for it. */

import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '../support/program.ts';
import { describeWith, postgresServer } from '../support/requires.ts';
import { clientProgram } from '../support/server-binaries.ts';
import { WireClient } from '../support/wire-client.ts';
import { controlPlaneNeeds } from './control-plane.ts';
import {
  connection,
  denial,
  farewell,
  inForce,
  type Pod,
  type ProxyGround,
  type ReplicaProcess,
  readPolicy,
  refusal,
  rows,
  signIn,
  startProxyGround,
  until,
} from './proxy-ground.ts';

const run = promisify(execFile);

describeWith([...controlPlaneNeeds, postgresServer(18)], 'the bundle of a replica', () => {
  let ground: ProxyGround;
  let replica: ReplicaProcess;
  let pod: Pod;

  beforeAll(async () => {
    ground = await startProxyGround();
    replica = await ground.replica();
    pod = await ground.pod('agent-1', '127.0.0.11');
  });
  afterAll(() => ground?.[Symbol.asyncDispose]());

  const refused = (code: string) => replica.logged((line) => line['code'] === code);

  test('is waited for: without one it is not ready and serves nobody', async () => {
    expect((await replica.probe('/healthz')).status).toBe(200);
    const ready = await replica.probe('/readyz');
    expect(ready.status).toBe(503);
    const connect = await ground.control(
      replica,
      pod,
      await ground.token(pod),
      `CONNECT localhost:${ground.server.port}`,
    );
    expect(connect.status).toBe(503);
    expect(connect.text).toContain('SPT003');
    await inForce(replica, await ground.publish());
    await until(async () => (await replica.probe('/readyz')).status === 200);
  });

  test('is acknowledged by its hash in the Lease of the replica, which its pod owns', async () => {
    const { hash, sequence } = await ground.publish();
    await inForce(replica, { hash });
    await until(async () => (await ground.report(replica))?.bundle === hash);
    expect(await ground.report(replica)).toMatchObject({ sequence, problems: {}, sessions: {} });
    const lease = await ground.cluster.get<{ metadata: { ownerReferences: { kind: string; name: string }[] } }>(
      'lease',
      replica.name,
      'shop',
    );
    expect(lease.metadata.ownerReferences[0]).toMatchObject({ kind: 'Pod', name: replica.name });
  });

  test('decides the next command of a session that runs', async () => {
    await using connector = await ground.connector(replica, pod, await ground.token(pod));
    await using client = await signIn(connector);
    expect(await denial(client, 'DELETE FROM orders WHERE id = 7')).toMatchObject({ C: '42501' });
    const resources = {
      connections: [connection(ground.server.port)],
      policies: [readPolicy(['Read', 'Delete'])],
      maskingRules: [],
    };
    await inForce(replica, await ground.publish({ resources }));
    expect(await rows(client, 'DELETE FROM orders WHERE id = 7 RETURNING id')).toEqual([]);
    await inForce(replica, await ground.publish());
    expect(await denial(client, 'DELETE FROM orders WHERE id = 7')).toMatchObject({ C: '42501' });
  });

  test('that no longer allows the namespace ends its sessions', async () => {
    await using connector = await ground.connector(replica, pod, await ground.token(pod));
    await using client = await signIn(connector);
    await inForce(replica, await ground.publish({ allowedNamespaces: { orders: ['other'] } }));
    expect((await farewell(client)).D).toContain('SPX011');
    await inForce(replica, await ground.publish());
  });

  test('is not taken with another signature, in another namespace, or when it is older: the last good one stays', async () => {
    const wide = {
      resources: {
        connections: [connection(ground.server.port)],
        policies: [readPolicy(['Read', 'Delete'])],
        maskingRules: [],
      },
    };
    await using connector = await ground.connector(replica, pod, await ground.token(pod));
    await using client = await signIn(connector);
    const { sequence } = await ground.publish();
    await ground.publish(wide, generateKeyPairSync('ed25519').privateKey);
    await refused('SPX003');
    expect(await denial(client, 'DELETE FROM orders WHERE id = 7')).toMatchObject({ C: '42501' });
    await ground.publish({ ...wide, namespace: 'other' });
    await refused('SPX004');
    await ground.publish({ ...wide, sequence: sequence - 1 });
    await refused('SPX005');
    expect(await denial(client, 'DELETE FROM orders WHERE id = 7')).toMatchObject({ C: '42501' });
    expect(await rows(client, 'SELECT count(*) FROM orders')).toEqual([['2']]);
    expect((await ground.report(replica))?.sequence).toBe(sequence);
    await inForce(replica, await ground.publish());
  });

  test('that is broken for longer than maxPolicyStaleness denies everything, and a good one lifts that', async () => {
    const strict = (staleness: string) => ({
      resources: {
        connections: [connection(ground.server.port, { maxPolicyStaleness: staleness })],
        policies: [readPolicy()],
        maskingRules: [],
      },
    });
    await inForce(replica, await ground.publish(strict('10s')));
    await using connector = await ground.connector(replica, pod, await ground.token(pod));
    await using client = await signIn(connector);
    await ground.cluster.kubectl(['delete', 'configmap', 'sallyport-bundle', '-n', 'shop']);
    await refused('SPX001');
    await until(async () => {
      client.send(Buffer.from('Q\0\0\0\x0dSELECT 1\0', 'latin1'));
      const messages = await client.until('Z');
      return messages.some(({ type, body }) => type === 'E' && body.toString('utf8').includes('SPX010'));
    });
    expect((await refusal(connector)).D).toContain('SPX010');
    // The session has outlived it.
    await inForce(replica, await ground.publish(strict('10m')));
    expect(await rows(client, 'SELECT count(*) FROM orders')).toEqual([['2']]);
  });

  test('opens a gateway for agents without a connector: the token is the password, TLS is ours', async () => {
    const port = await freePort();
    const resources = {
      connections: [connection(ground.server.port, { routing: 'Gateway' })],
      policies: [readPolicy()],
      maskingRules: [],
    };
    await inForce(replica, await ground.publish({ resources, gatewayPorts: { orders: port } }));
    const near = await ground.pod('agent-7', '127.0.0.1');
    const target = `host=localhost hostaddr=127.0.0.1 port=${port} user=whoever dbname=app sslmode=verify-full sslrootcert=${path.join(ground.tlsFolder, 'ca.crt')}`;
    const psql = (token: string) =>
      run(clientProgram('psql'), [target, '-XAt', '-c', 'SELECT count(*) FROM orders'], {
        env: { ...process.env, PGPASSWORD: token },
      });
    expect((await psql(await ground.token(near))).stdout).toBe('2\n');
    await expect(psql(await ground.token(pod))).rejects.toThrow('SPI026');
    // Never in the clear.
    await expect(WireClient.connect({ port, database: 'app', password: await ground.token(near) })).rejects.toThrow(
      'SPG108',
    );
  });

  test('says in the report that a credential is missing', async () => {
    const resources = {
      connections: [connection(ground.server.port, { credential: { secretRef: { name: 'nowhere' } } })],
      policies: [readPolicy()],
      maskingRules: [],
    };
    await inForce(replica, await ground.publish({ resources }));
    await until(async () => (await ground.report(replica))?.problems['orders']?.startsWith('SPA008') === true);
  });
});
