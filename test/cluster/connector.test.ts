/** The connector with everything else real: API server, replicas of the proxy as processes, PostgreSQL, and stock psql. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Connector, startConnector } from '../../proxy/connector/connector.ts';
import { createLog } from '../../proxy/connector/log.ts';
import { describeWith, postgresServer, program } from '../support/requires.ts';
import { clientProgram } from '../support/server-binaries.ts';
import { controlPlaneNeeds } from './control-plane.ts';
import {
  HOST,
  inForce,
  NAMESPACE,
  type Pod,
  type ProxyGround,
  type ReplicaProcess,
  startProxyGround,
} from './proxy-ground.ts';

const run = promisify(execFile);
const LISTEN = '127.77.9.9';

/** In front of a replica, under an address of its own: the network between pods, in which the pod's address is kept. */
async function startRelay(host: string, port: number, replica: ReplicaProcess, pod: Pod): Promise<net.Server> {
  const relay = net.createServer({ allowHalfOpen: true }, (client) => {
    const upstream = net.connect({
      host: '127.0.0.1',
      port: replica.tunnel,
      localAddress: pod.address,
      allowHalfOpen: true,
    });
    client.on('error', () => upstream.destroy());
    upstream.on('error', () => client.resetAndDestroy());
    client.pipe(upstream).pipe(client);
  });
  relay.listen(port, host);
  await once(relay, 'listening');
  return relay;
}

describeWith(
  [...controlPlaneNeeds, postgresServer(18), program('psql', 'postgresql-client')],
  'the connector of a pod, with real proxies',
  () => {
    let ground: ProxyGround;
    let connector: Connector;
    let pod: Pod;
    let tokenFile: string;
    const replicas = new Map<string, ReplicaProcess>();
    const relays: net.Server[] = [];
    const lines: { message: string; code?: string; replica?: string }[] = [];
    let onLine = (): void => {};

    async function said(message: string): Promise<{ replica?: string }> {
      for (;;) {
        const line = lines.find((one) => one.message.includes(message));
        if (line !== undefined) return line;
        await new Promise<void>((resolve) => {
          onLine = resolve;
        });
      }
    }

    const environment = () => ({
      ...process.env,
      PGHOST: LISTEN,
      PGPORT: String(ground.server.port),
      PGUSER: 'agent',
      PGDATABASE: 'app',
      PGSSLMODE: 'prefer',
      PGCONNECT_TIMEOUT: '30',
    });
    const psql = async (sql: string): Promise<string> =>
      (await run(clientProgram('psql'), ['-XAtw', '-c', sql], { env: environment() })).stdout.trim();

    /** As the kubelet replaces it. */
    async function writeToken(): Promise<void> {
      await writeFile(`${tokenFile}.new`, await ground.token(pod));
      await rename(`${tokenFile}.new`, tokenFile);
    }

    beforeAll(async () => {
      ground = await startProxyGround();
      const published = await ground.publish();
      pod = await ground.pod('agent-1', '127.0.4.1');
      let port = 0;
      for (const address of ['127.80.0.1', '127.80.0.2']) {
        const replica = await ground.replica();
        await inForce(replica, published);
        replicas.set(address, replica);
        const relay = await startRelay(address, port, replica, pod);
        relays.push(relay);
        port = (relay.address() as net.AddressInfo).port;
      }
      const folder = path.join(ground.folder, 'pod');
      await mkdir(folder);
      tokenFile = path.join(folder, 'token');
      await writeFile(path.join(folder, 'ca.crt'), ground.authority.ca);
      await writeToken();
      connector = await startConnector({
        config: {
          version: 1,
          targets: [
            {
              connections: [`${NAMESPACE}/orders`],
              host: HOST,
              port: ground.server.port,
              listen: LISTEN,
              proxy: `sallyport-proxy-replicas.${NAMESPACE}.svc`,
              serverName: `sallyport-proxy.${NAMESPACE}.svc`,
              onBypass: 'Report',
            },
          ],
        },
        version: '0.1.0',
        files: { ca: path.join(folder, 'ca.crt'), token: tokenFile, trust: path.join(folder, 'ca-bundle.crt') },
        readiness: { host: '127.0.0.1', port: 0 },
        proxyPort: port,
        lookup: async () => [...replicas.keys()],
        // Nothing keeps this process from the database: the probe finds it open.
        resolve: async () => ['127.0.0.1'],
        probeTiming: { attempts: [], again: 3_600_000, later: 3_600_000 },
        log: createLog({
          write: (line) => {
            lines.push(JSON.parse(line));
            onLine();
          },
          now: Date.now,
        }),
        now: Date.now,
        random: Math.random,
      });
    });

    afterAll(async () => {
      await connector?.drain(0);
      for (const relay of relays) relay.close();
      await ground?.[Symbol.asyncDispose]();
    });

    test('psql reads through it, and is refused what policy does not allow, in its own protocol', async () => {
      expect(await psql('SELECT count(*) FROM orders')).toBe('2');
      await expect(psql('DROP TABLE orders')).rejects.toMatchObject({
        stderr: expect.stringMatching(/ERROR: .*\n.*HINT:/s),
      });
    });

    test('what the probe found is in the report of a replica', async () => {
      await said('can be reached without Sallyport');
      for (;;) {
        const reports = await Promise.all([...replicas.values()].map((replica) => ground.report(replica)));
        const egress = reports.flatMap((report) => report?.egress['orders']?.open ?? []);
        // The Lease is written again within seconds.
        if (egress.some((name) => name.includes('agent-1'))) break;
      }
    });

    test('a session lives on when the token is renewed, and when its replica is killed the next one works', async () => {
      const session = spawn(clientProgram('psql'), ['-XAtw'], { env: environment() });
      const output = createInterface({ input: session.stdout })[Symbol.asyncIterator]();
      const ask = async (sql: string): Promise<string> => {
        session.stdin.write(`${sql};\n`);
        return (await output.next()).value as string;
      };
      expect(await ask("SELECT 'before'")).toBe('before');
      await writeToken();
      const { replica = '' } = await said('was renewed');
      expect(await ask("SELECT 'after'")).toBe('after');

      const ended = once(session, 'exit');
      await replicas.get(replica)?.stop('SIGKILL');
      session.stdin.end("SELECT 'too late';\n");
      await ended;
      expect(await psql('SELECT count(*) FROM orders')).toBe('2');
      expect(lines.filter(({ code }) => code === 'SPN011')).toEqual([]);
    });

    test('a pod that is deleted is refused', async () => {
      await ground.cluster.kubectl(['delete', 'pod', pod.name, '-n', pod.namespace, '--force', '--grace-period=0']);
      await expect(psql('SELECT 1')).rejects.toMatchObject({ stderr: expect.stringMatching(/FATAL|closed/) });
    });
  },
);
