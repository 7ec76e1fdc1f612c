/** The real connector in front of two replicas: tunnels, fresh tokens, probes, and the way to another replica. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Connector, startConnector } from '../../proxy/connector/connector.ts';
import { createLog } from '../../proxy/connector/log.ts';
import { freePort } from '../support/program.ts';
import { describeWith, postgresServer } from '../support/requires.ts';
import { clientProgram } from '../support/server-binaries.ts';
import { WireClient } from '../support/wire-client.ts';
import { controlPlaneNeeds } from './control-plane.ts';
import {
  HOST,
  inForce,
  type Pod,
  type ProxyGround,
  type ReplicaProcess,
  rows,
  startProxyGround,
  until,
} from './proxy-ground.ts';

const run = promisify(execFile);
/** The connector dials from the address that the system takes for loopback: it is the pod's. */
const ADDRESS = '127.0.0.1';
const LISTEN = '127.77.0.2';

describeWith([...controlPlaneNeeds, postgresServer(18)], 'the connector and its proxies', () => {
  let ground: ProxyGround;
  let folder: string;
  let pod: Pod;
  let replicas: ReplicaProcess[];
  let connector: Connector;

  beforeAll(async () => {
    ground = await startProxyGround();
    folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-connector-'));
    const bundle = await ground.publish();
    const tunnel = await freePort();
    const parameters = ['--tunnel-port', String(tunnel)];
    replicas = [
      await ground.replica({ listen: '127.0.0.21', parameters }),
      await ground.replica({ listen: '127.0.0.22', parameters }),
    ];
    for (const replica of replicas) {
      await inForce(replica, bundle);
      await until(async () => (await replica.probe('/readyz')).status === 200);
    }
    pod = await ground.pod('agent-1', ADDRESS);
    await writeFile(path.join(folder, 'token'), await ground.token(pod));
    connector = await startConnector({
      config: {
        version: 1,
        targets: [
          {
            connections: ['shop/orders'],
            host: HOST,
            port: ground.server.port,
            listen: LISTEN,
            proxy: 'sallyport-proxy-replicas.shop.svc',
            serverName: 'sallyport-proxy.shop.svc',
            onBypass: 'Report',
          },
        ],
      },
      version: 'test',
      files: {
        ca: path.join(ground.tlsFolder, 'ca.crt'),
        token: path.join(folder, 'token'),
        trust: path.join(folder, 'trust.crt'),
      },
      readiness: { host: '127.0.0.1', port: 0 },
      proxyPort: tunnel,
      lookup: () => Promise.resolve(['127.0.0.21', '127.0.0.22']),
      resolve: () => Promise.resolve(['127.0.0.1']),
      log: createLog({ write: () => undefined, now: Date.now }),
      now: Date.now,
      random: Math.random,
    });
  });
  afterAll(async () => {
    await connector?.drain(0);
    await ground?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  const psql = async (sql: string): Promise<string> => {
    const target = ['-h', LISTEN, '-p', String(ground.server.port), '-U', 'whoever', '-d', 'app', '-XAt'];
    return (await run(clientProgram('psql'), [...target, '-c', sql])).stdout;
  };

  test('let stock psql through, without a password', async () => {
    expect(await psql('SELECT count(*) FROM orders')).toBe('2\n');
  });

  test('renew a session when the kubelet has written a fresh token', async () => {
    await using client = await WireClient.connect({ host: LISTEN, port: ground.server.port, database: 'app' });
    const expires = async (): Promise<number> => {
      const facts = await rows(client, 'SHOW sallyport.session');
      return Date.parse(facts.find(([name]) => name === 'expires_at')?.[1] ?? '');
    };
    const before = await expires();
    await writeFile(path.join(folder, 'token'), await ground.token(pod, { seconds: 3600 }));
    await until(async () => (await expires()) > before + 1_000_000);
  });

  test('know that this pod reaches the target without Sallyport', async () => {
    const open = async (): Promise<boolean> => {
      const reports = await Promise.all(replicas.map((replica) => ground.report(replica)));
      return reports.some((report) => report?.egress['orders']?.open.includes('agents/agent-1') === true);
    };
    await until(open);
  });

  test('go on with the other replica when one stops', async () => {
    const [first, second] = replicas as [ReplicaProcess, ReplicaProcess];
    await first.stop();
    expect(await psql('SELECT count(*) FROM orders')).toBe('2\n');
    expect((await second.probe('/metrics')).text).toMatch(
      /sallyport_sessions_total\{connection="shop\/orders"\} [1-9]/,
    );
  });
});
