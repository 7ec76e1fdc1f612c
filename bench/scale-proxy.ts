/**
 * One proxy replica of a cluster with many sessions, each through its own tunnel, before a real PostgreSQL.
 * Options: --idle 1000 --busy 200 --storm 500 (a PostgreSQL session needs some MB of its own: 5,000 take a machine with 24 GiB to spare).
 */
import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import { parseArgs } from 'node:util';
import pg from 'pg';
import {
  connection,
  HOST,
  inForce,
  NAMESPACE,
  type ProxyGround,
  type ReplicaProcess,
  readPolicy,
  signIn,
  startProxyGround,
} from '../test/cluster/proxy-ground.ts';
import { startPostgres } from '../test/support/postgres.ts';
import { memoryBytes } from './process-usage.ts';

const { values } = parseArgs({
  options: {
    idle: { type: 'string', default: '1000' },
    busy: { type: 'string', default: '200' },
    storm: { type: 'string', default: '500' },
  },
});
const [IDLE, BUSY, STORM] = [Number(values.idle), Number(values.busy), Number(values.storm)];
const STATEMENTS = 20;
const AT_ONCE = 16;

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Works through the numbers with so many at a time; counts what failed instead of ending with it. */
async function each(count: number, atOnce: number, work: () => Promise<unknown>): Promise<number> {
  let begun = 0;
  let failed = 0;
  let first: unknown;
  const worker = async (): Promise<void> => {
    while (begun++ < count) {
      try {
        await work();
      } catch (error) {
        first ??= error;
        failed++;
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  if (first !== undefined) say(`  the first that failed: ${String(first)}`);
  return failed;
}

/** A listener that carries each client through a tunnel of its own to a replica, as a connector does. */
async function tunnels(
  ground: ProxyGround,
  replica: ReplicaProcess,
  localAddress: string,
  token: string,
  target: number,
): Promise<AsyncDisposable & { readonly port: number }> {
  const head = `CONNECT ${HOST}:${target} HTTP/1.1\r\nHost: ${HOST}:${target}\r\nAuthorization: Bearer ${token}\r\nSallyport-Connector: scale\r\n\r\n`;
  const listener = net.createServer((client) => {
    const socket = tls.connect({
      ...{ host: '127.0.0.1', port: replica.tunnel, localAddress, ca: ground.authority.ca, minVersion: 'TLSv1.3' },
      servername: `sallyport-proxy.${NAMESPACE}.svc`,
    } as tls.ConnectionOptions);
    const end = (): void => {
      client.destroy();
      socket.destroy();
    };
    for (const one of [client, socket]) {
      one.on('error', end);
      one.once('close', end);
    }
    socket.write(head);
    let answer = '';
    const read = (chunk: Buffer): void => {
      answer += chunk.toString('latin1');
      const at = answer.indexOf('\r\n\r\n');
      if (at < 0) return;
      socket.off('data', read);
      if (!answer.startsWith('HTTP/1.1 200')) {
        end();
        return;
      }
      client.write(Buffer.from(answer.slice(at + 4), 'latin1'));
      socket.pipe(client);
      client.pipe(socket);
    };
    socket.on('data', read);
  });
  listener.listen({ port: 0, host: '127.0.0.1', backlog: 4096 });
  await once(listener, 'listening');
  const address = listener.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    [Symbol.asyncDispose]: async () => void listener.close(),
  };
}

async function main(): Promise<void> {
  await using ground = await startProxyGround();
  await using server = await startPostgres({
    version: 18,
    settings: { max_connections: Math.max(IDLE, BUSY, STORM) + 100, shared_buffers: '32MB' },
    hba: ['host all all 127.0.0.1/32 trust', 'host all all ::1/128 trust'],
  });
  await server.sql('CREATE DATABASE app');
  await server.sql('CREATE TABLE orders (id int); INSERT INTO orders VALUES (1), (2)', undefined, 'app');
  await using replica = await ground.replica({});
  const resources = { connections: [connection(server.port)], policies: [readPolicy()], maskingRules: [] };
  await inForce(replica, await ground.publish({ resources }));
  const pod = await ground.pod('agent', '127.0.0.2');
  const token = await ground.token(pod, { seconds: 3600 });
  await using connector = await tunnels(ground, replica, pod.address, token, server.port);
  // One address may have 4,096 connections: idle sessions are those of two pods.
  const second = await ground.pod('agent-2', '127.0.0.3');
  const secondToken = await ground.token(second, { seconds: 3600 });
  await using another = await tunnels(ground, replica, second.address, secondToken, server.port);
  const pid = replica.child.pid ?? 0;
  const megabytes = (): string => `${(memoryBytes(pid) / 1e6).toFixed(0)} MB`;
  say(`before: ${megabytes()}`);

  const idle: { readonly socket: net.Socket }[] = [];
  let began = performance.now();
  let failed = await each(IDLE, AT_ONCE, async () =>
    idle.push(await signIn(idle.length % 2 === 0 ? connector : another)),
  );
  say(
    `${IDLE} idle sessions: ${megabytes()}, ${failed} failed, made in ${((performance.now() - began) / 1000).toFixed(1)} s`,
  );
  for (const { socket } of idle) socket.destroy();

  began = performance.now();
  failed = await each(BUSY, BUSY, async () => {
    const client = new pg.Client({ host: '127.0.0.1', port: connector.port, user: 'whoever', database: 'app' });
    await client.connect();
    for (let index = 0; index < STATEMENTS; index++) await client.query('SELECT id FROM orders');
    await client.end();
  });
  const seconds = (performance.now() - began) / 1000;
  say(
    `${BUSY} busy sessions at once, ${STATEMENTS} statements each: ${failed} failed, ${((BUSY * STATEMENTS) / seconds).toFixed(0)} statements a second, ${megabytes()}`,
  );

  began = performance.now();
  failed = await each(STORM, STORM, async () => void (await signIn(connector)).socket.destroy());
  say(
    `${STORM} connections at once: ${failed} failed, all served within ${((performance.now() - began) / 1000).toFixed(1)} s, ${megabytes()} afterwards`,
  );
}

await main();
