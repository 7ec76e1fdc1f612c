/** A replica with clocks that the test sets: those of its node are wrong, or its API server is gone for longer than its policy may be old. */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadKubeConfig } from '../../kube/access.ts';
import { createKubeClient } from '../../kube/client.ts';
import { createReflector } from '../../kube/reflector.ts';
import { refuseApprovals } from '../../proxy/cluster/no-approvals.ts';
import { startReplica } from '../../proxy/cluster/replica.ts';
import { describeWith, postgresServer } from '../support/requires.ts';
import { controlPlaneNeeds } from './control-plane.ts';
import { denial, type Pod, type ProxyGround, refusal, rows, signIn, startProxyGround, until } from './proxy-ground.ts';

const FIVE_MINUTES = 300_000;

interface Clocks {
  /** Milliseconds since 1970, as the node has it. */
  readonly now: () => number;
  readonly monotonic: () => number;
}

/** A replica in this process, with clocks of the test. */
async function replicaWith(ground: ProxyGround, name: string, { now, monotonic }: Clocks) {
  const state = path.join(ground.folder, name);
  await mkdir(state, { mode: 0o700 });
  const client = createKubeClient({
    access: await loadKubeConfig({ kubeconfig: ground.kubeconfig, env: {} }),
    userAgent: 'test',
  });
  const log = pino({ level: 'silent' });
  const replica = await startReplica({
    client,
    reflector: (type, selection) => createReflector({ client, type, log, now: monotonic, ...selection }),
    pod: { namespace: 'shop', name, uid: '00000000-0000-0000-0000-000000000000' },
    trustedKeys: [ground.trustedKey],
    state,
    credentials: ground.credentials,
    tokenKeyFile: ground.tokenKeyFile,
    tls: ground.tlsFolder,
    tokenIssuer: undefined,
    issuers: [],
    host: '127.0.0.1',
    tunnelPort: 0,
    limits: { maxStatementBytes: 262_144, maxMessageBytes: 1_048_576, authenticationTimeoutMs: 10_000 },
    syncReads: false,
    approvals: refuseApprovals,
    pid: process.pid,
    log,
    now,
    monotonic,
    leaseRenewMs: 500,
  });
  await until(() => Promise.resolve(replica.notReady() === undefined));
  return {
    tunnel: replica.tunnel.port,
    async [Symbol.asyncDispose]() {
      await replica.stop(AbortSignal.timeout(5000));
      client.close();
    },
  };
}

describeWith([...controlPlaneNeeds, postgresServer(18)], 'a replica', () => {
  let ground: ProxyGround;
  let pod: Pod;

  beforeAll(async () => {
    ground = await startProxyGround();
    await ground.publish();
    pod = await ground.pod('agent-1', '127.0.0.11');
  });
  afterAll(() => ground?.[Symbol.asyncDispose]());

  test.each([
    ['a little behind', -8, 'let in'],
    ['five minutes behind', -300, 'SPI009'],
    ['five minutes ahead', 300, 'let in'],
    ['fifteen minutes ahead', 900, 'SPI008'],
  ])('whose node has a clock that is %s', async (what, seconds, outcome) => {
    const now = (): number => Date.now() + seconds * 1000;
    await using replica = await replicaWith(ground, what.replaceAll(' ', '-'), {
      now,
      monotonic: () => performance.now(),
    });
    await using connector = await ground.connector(replica, pod, await ground.token(pod));
    if (outcome === 'let in') {
      await using client = await signIn(connector);
      expect(await rows(client, 'SELECT count(*) FROM orders')).toEqual([['2']]);
    } else {
      const said = await refusal(connector);
      expect([said.D, said.H]).toEqual([expect.stringContaining(outcome), expect.any(String)]);
    }
  });

  test('without an API server for five minutes denies everything from then on, and nothing once it is back', async () => {
    let passed = 0;
    await using replica = await replicaWith(ground, 'alone', {
      now: Date.now,
      monotonic: () => performance.now() + passed,
    });
    await using connector = await ground.connector(replica, pod, await ground.token(pod));
    await using client1 = await signIn(connector);
    expect(await rows(client1, 'SELECT count(*) FROM orders')).toEqual([['2']]);

    await ground.cluster.apiServer.kill();
    passed = FIVE_MINUTES - 60_000;
    expect(await rows(client1, 'SELECT count(*) FROM orders')).toEqual([['2']]);
    passed = FIVE_MINUTES + 60_000;
    expect((await denial(client1, 'SELECT count(*) FROM orders')).D).toContain('SPX010');
    expect((await refusal(connector)).D).toMatch(/SPX010|SPI029/);

    await ground.cluster.apiServer.start();
    await until(async () => {
      client1.send(Buffer.from('Q\0\0\0\x0dSELECT 1\0', 'latin1'));
      return (await client1.until('Z')).some(({ type }) => type === 'D');
    });
    expect(await rows(client1, 'SELECT count(*) FROM orders')).toEqual([['2']]);
  });
});
