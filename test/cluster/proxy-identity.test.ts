/** Who a pod is: which tokens are taken, from where, and what ends the sessions that they began. */

import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { recordedEvents } from '../support/recorded.ts';
import { describeWith, postgresServer } from '../support/requires.ts';
import { clientProgram } from '../support/server-binaries.ts';
import type { WireClient } from '../support/wire-client.ts';
import { controlPlaneNeeds } from './control-plane.ts';
import {
  AGENTS,
  denial,
  farewell,
  inForce,
  type Pod,
  type ProxyGround,
  type ReplicaProcess,
  refusal,
  rows,
  signIn,
  startProxyGround,
  until,
} from './proxy-ground.ts';

const run = promisify(execFile);

describeWith([...controlPlaneNeeds, postgresServer(18)], 'a pod that comes through its connector', () => {
  let ground: ProxyGround;
  let replica: ReplicaProcess;
  let pod: Pod;

  beforeAll(async () => {
    ground = await startProxyGround();
    const bundle = await ground.publish();
    replica = await ground.replica();
    await inForce(replica, bundle);
    pod = await ground.pod('agent-1', '127.0.0.11');
    await until(async () => (await replica.probe('/readyz')).status === 200);
  });
  afterAll(() => ground?.[Symbol.asyncDispose]());

  test('runs stock psql without a password, and is named in the record with its pod', async () => {
    await using connector = await ground.connector(replica, pod, await ground.token(pod));
    const { stdout } = await run(clientProgram('psql'), [
      ...['-h', '127.0.0.1', '-p', String(connector.port), '-U', 'whoever', '-d', 'app', '-XAt'],
      ...['-c', 'SELECT id FROM orders ORDER BY id'],
    ]);
    expect(stdout).toBe('1\n2\n');
    await until(async () => (await recordedEvents(replica.state)).some(({ e }) => e === 'session.end'));
    const start = (await recordedEvents(replica.state)).find(({ e }) => e === 'session.start');
    expect(start?.['who']).toMatchObject({
      username: `system:serviceaccount:${AGENTS}:agent`,
      pod: { namespace: AGENTS, name: 'agent-1', uid: pod.uid },
    });
  });

  test('gets TLS inside of its tunnel with a certificate for the host that it dialled', async () => {
    await using connector = await ground.connector(replica, pod, await ground.token(pod));
    const caPath = path.join(ground.tlsFolder, 'ca.crt');
    const { stdout } = await run(clientProgram('psql'), [
      `host=localhost hostaddr=127.0.0.1 port=${connector.port} user=whoever dbname=app sslmode=verify-full sslrootcert=${caPath}`,
      ...['-XAt', '-c', 'SELECT count(*) FROM orders'],
    ]);
    expect(stdout).toBe('2\n');
  });

  test('is denied what policy denies, in words of the lane', async () => {
    await using connector = await ground.connector(replica, pod, await ground.token(pod));
    await using client = await signIn(connector);
    expect(await denial(client, 'DELETE FROM orders')).toMatchObject({ C: '42501' });
  });

  test('is refused with a token for another audience', async () => {
    const token = await ground.token(pod, { audience: 'another' });
    await using connector = await ground.connector(replica, pod, token);
    expect((await refusal(connector)).D).toContain('SPI011');
  });

  test('is refused with a token that is bound to no pod', async () => {
    const token = await ground.cluster.kubectl([
      ...['create', 'token', 'agent', '-n', AGENTS, '--audience', 'sallyport', '--duration', '600s'],
    ]);
    await using connector = await ground.connector(replica, pod, token.trim());
    expect((await refusal(connector)).D).toContain('SPI024');
  });

  test('is refused with a token that was copied from another pod', async () => {
    const other = await ground.pod('agent-2', '127.0.0.12');
    const token = await ground.token(other);
    await using own = await ground.connector(replica, other, token);
    await using client = await signIn(own);
    expect(await rows(client, 'SELECT 1')).toEqual([['1']]);
    // Also while the success is remembered.
    await using stolen = await ground.connector(replica, pod, token);
    expect((await refusal(stolen)).D).toContain('SPI026');
  });

  test('is refused in a namespace that the connection does not allow, whatever policies say', async () => {
    const elsewhere = await ground.pod('agent-3', '127.0.0.13', 'other');
    await using connector = await ground.connector(replica, elsewhere, await ground.token(elsewhere));
    expect((await refusal(connector)).D).toContain('SPI033');
    // Nor is anything set up for it.
    const control = await ground.control(replica, elsewhere, await ground.token(elsewhere), 'PUT /v1/identity');
    expect([control.status, control.text]).toEqual([401, expect.stringContaining('SPI033')]);
    expect((await replica.probe('/metrics')).text).not.toContain('namespace="other"');
  });

  test('loses its sessions when it is deleted, and a token of it opens no other', async () => {
    const doomed = await ground.pod('agent-4', '127.0.0.14');
    const token = await ground.token(doomed);
    await using connector = await ground.connector(replica, doomed, token);
    await using client = await signIn(connector);
    expect(await rows(client, 'SELECT 1')).toEqual([['1']]);
    await ground.cluster.kubectl(['delete', 'pod', 'agent-4', '-n', AGENTS, '--wait=false']);
    const goodbye = await farewell(client);
    expect(goodbye).toMatchObject({ S: 'FATAL', C: '28000' });
    expect(goodbye.D).toContain('SPI025');
    expect((await refusal(connector)).D).toMatch(/SPI025|SPI028/);
  });

  test('loses its sessions when it is put into quarantine, and gets new ones after it', async () => {
    const suspect = await ground.pod('agent-5', '127.0.0.15');
    await using connector = await ground.connector(replica, suspect, await ground.token(suspect));
    await using client = await signIn(connector);
    expect(await rows(client, 'SELECT 1')).toEqual([['1']]);
    const label = (value: string): Promise<string> =>
      ground.cluster.kubectl(['label', 'pod', 'agent-5', '-n', AGENTS, `sallyport.dev/quarantine${value}`]);
    await label('=true');
    expect((await farewell(client)).D).toContain('SPI027');
    expect((await refusal(connector)).D).toContain('SPI027');
    await label('-');
    let again: WireClient | undefined;
    await until(async () => {
      again = await signIn(connector).catch(() => undefined);
      return again !== undefined;
    });
    expect(await rows(again!, 'SELECT 1')).toEqual([['1']]);
    again?.socket.destroy();
  });

  test('renews its sessions with a fresh token, and only with one of its own', async () => {
    await using connector = await ground.connector(replica, pod, await ground.token(pod));
    await using client = await signIn(connector);
    const expires = async (): Promise<string | null | undefined> =>
      (await rows(client, 'SHOW sallyport.session')).find(([name]) => name === 'expires_at')?.[1];
    const before = await expires();
    const renewed = await ground.control(replica, pod, await ground.token(pod, { seconds: 3600 }), 'PUT /v1/identity');
    expect(renewed.status).toBe(200);
    expect(Date.parse((await expires()) ?? '')).toBeGreaterThan(Date.parse(before ?? '') + 1_000_000);
    const other = await ground.pod('agent-6', '127.0.0.16');
    const stolen = await ground.control(replica, other, await ground.token(pod), 'PUT /v1/identity');
    expect(stolen.status).toBe(401);
    expect(stolen.text).toContain('SPI026');
  });

  test('tells what it reaches past Sallyport, and the report of the replica names it', async () => {
    const body = { host: 'localhost', port: ground.server.port, reachable: true };
    expect((await ground.control(replica, pod, await ground.token(pod), 'PUT /v1/probe', body)).status).toBe(200);
    await until(async () => (await ground.report(replica))?.egress['orders']?.open[0] === `${AGENTS}/agent-1`);
    const shut = { ...body, reachable: false };
    expect((await ground.control(replica, pod, await ground.token(pod), 'PUT /v1/probe', shut)).status).toBe(200);
    await until(async () => (await ground.report(replica))?.egress['orders']?.open.length === 0);
  });

  test('finds nothing behind a host that is no target, and nothing without a token', async () => {
    const token = await ground.token(pod);
    expect((await ground.control(replica, pod, token, 'CONNECT elsewhere:5432')).status).toBe(404);
    expect((await ground.control(replica, pod, token, 'GET /metrics')).status).toBe(404);
    const refused = await ground.control(replica, pod, '', `CONNECT localhost:${ground.server.port}`);
    expect(refused.status).toBe(401);
    expect(refused.text).toContain('SPT004');
  });

  test('leaves its token nowhere', async () => {
    const token = await ground.token(pod);
    await using connector = await ground.connector(replica, pod, token);
    await using client = await signIn(connector);
    await rows(client, 'SELECT 1');
    const signature = token.split('.')[2]!;
    expect(replica.output()).not.toContain(signature);
    const { stdout } = await run('grep', ['-rl', signature, replica.state]).catch((error: { stdout: string }) => error);
    expect(stdout).toBe('');
  });
});
