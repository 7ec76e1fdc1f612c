/** A replica whose API server is gone for longer than its policy may be old: five minutes, by a clock that the test sets. */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { loadKubeConfig } from '../../kube/access.ts';
import { createKubeClient } from '../../kube/client.ts';
import { createReflector } from '../../kube/reflector.ts';
import { refuseApprovals } from '../../proxy/cluster/no-approvals.ts';
import { startReplica } from '../../proxy/cluster/replica.ts';
import { describeWith, postgresServer } from '../support/requires.ts';
import { controlPlaneNeeds } from './control-plane.ts';
import { denial, refusal, rows, signIn, startProxyGround, until } from './proxy-ground.ts';

const FIVE_MINUTES = 300_000;

describeWith([...controlPlaneNeeds, postgresServer(18)], 'a replica without an API server for five minutes', () => {
  test('denies everything from then on, and nothing any more once it is back', async () => {
    await using ground = await startProxyGround();
    await ground.publish();
    const pod = await ground.pod('agent-1', '127.0.0.11');
    const state = path.join(ground.folder, 'in-process');
    await mkdir(state, { mode: 0o700 });
    let passed = 0;
    const monotonic = (): number => performance.now() + passed;
    const client = createKubeClient({
      access: await loadKubeConfig({ kubeconfig: ground.kubeconfig, env: {} }),
      userAgent: 'test',
    });
    const log = pino({ level: 'silent' });
    const replica = await startReplica({
      client,
      reflector: (type, selection) => createReflector({ client, type, log, now: monotonic, ...selection }),
      pod: { namespace: 'shop', name: 'in-process', uid: '00000000-0000-0000-0000-000000000000' },
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
      now: Date.now,
      monotonic,
      leaseRenewMs: 500,
    });
    await using _replica = { [Symbol.asyncDispose]: () => replica.stop(AbortSignal.timeout(5000)) };
    await until(() => Promise.resolve(replica.notReady() === undefined));
    const at = { tunnel: replica.tunnel.port };
    await using connector = await ground.connector(at, pod, await ground.token(pod));
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
