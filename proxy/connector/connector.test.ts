import { once } from 'node:events';
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ConnectorTarget } from '../../api/connector-config.ts';
import { type Connector, type ConnectorOptions, startConnector } from './connector.ts';
import { createLog } from './log.ts';
import { createTestAuthority, type ProxyOptions, startTestProxy, type TestProxy } from './proxy.fixture.ts';

const SERVER_NAME = 'sallyport-proxy.shop.svc';
const authority = createTestAuthority();
let folder: string;
let lines: { code?: string; message: string }[];
/** Ends with the test, last first. */
let cleanups: (() => Promise<unknown>)[];
let addresses: readonly string[];
let proxyPort: number;
let onLine: () => void;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'connector-'));
  await writeFile(join(folder, 'ca.crt'), authority.certificate);
  await writeFile(join(folder, 'token'), 'first');
  lines = [];
  onLine = () => {};
  cleanups = [() => rm(folder, { recursive: true })];
  addresses = [];
  proxyPort = 0;
});

afterEach(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

async function proxy(options: Partial<ProxyOptions> = {}): Promise<TestProxy> {
  const address = `127.78.0.${addresses.length + 1}`;
  const started = await startTestProxy({ authority, serverName: SERVER_NAME, address, port: proxyPort, ...options });
  cleanups.push(() => started.kill());
  addresses = [...addresses, address];
  proxyPort = started.port;
  return started;
}

/** A port that is free now on every address of 127.77.0.0/16, most likely. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.77.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}

const targetAt = (port: number, more: Partial<ConnectorTarget> = {}): ConnectorTarget => ({
  connections: ['shop/orders'],
  host: 'orders-db.shop.svc',
  port,
  listen: '127.77.0.1',
  proxy: 'sallyport-proxy-replicas.shop.svc',
  serverName: SERVER_NAME,
  onBypass: 'Report',
  ...more,
});

async function start(
  more: Partial<ConnectorOptions> = {},
  target: Partial<ConnectorTarget> = {},
): Promise<{ connector: Connector; dial: (allowHalfOpen?: boolean) => Promise<Socket> }> {
  const port = target.port ?? (await freePort());
  const connector = await startConnector({
    config: { version: 1, targets: [targetAt(port, target)] },
    version: '0.1.0',
    files: { ca: join(folder, 'ca.crt'), token: join(folder, 'token'), trust: join(folder, 'trust.crt') },
    readiness: { host: '127.0.0.1', port: 0 },
    proxyPort,
    lookup: () => Promise.resolve(addresses),
    resolve: () => Promise.resolve([]),
    log: createLog({
      write: (line) => {
        lines.push(JSON.parse(line));
        onLine();
      },
      now: Date.now,
    }),
    now: Date.now,
    random: () => 0.5,
    ...more,
  });
  cleanups.push(() => connector.drain(0));
  const dial = async (allowHalfOpen = false): Promise<Socket> => {
    const socket = connect({ host: '127.77.0.1', port, allowHalfOpen });
    socket.on('error', () => {});
    cleanups.push(async () => socket.destroy());
    await once(socket, 'connect');
    return socket;
  };
  return { connector, dial };
}

async function read(socket: Socket, length: number): Promise<string> {
  let text = '';
  for await (const [chunk] of on(socket)) {
    text += chunk.toString('latin1');
    if (text.length >= length) return text;
  }
  throw new Error(`closed after ${text.length} bytes`);
}

/** Chunks as they come; unlike the socket's own iterator it does not destroy it. */
async function* on(socket: Socket): AsyncGenerator<[Buffer]> {
  while (!socket.readableEnded && !socket.destroyed) {
    const chunk: Buffer | null = socket.read();
    if (chunk !== null) yield [chunk];
    else await Promise.race([once(socket, 'readable'), once(socket, 'end'), once(socket, 'close')]);
  }
}

/** However it ends: a reset is an end too. */
function closed(socket: Socket): Promise<void> {
  socket.resume();
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    else socket.once('close', () => resolve());
  });
}

async function logged(code: string): Promise<string> {
  for (;;) {
    const line = lines.find((one) => one.code === code);
    if (line !== undefined) return line.message;
    await new Promise<void>((resolve) => {
      onLine = resolve;
    });
  }
}

/** As the kubelet does: whole and at once. */
async function replaceToken(token: string): Promise<void> {
  await writeFile(join(folder, 'token.new'), token);
  await rename(join(folder, 'token.new'), join(folder, 'token'));
}

describe('tunnels', () => {
  test('bytes go both ways, with the host as configured, the token and the version', async () => {
    const one = await proxy();
    const { dial } = await start();
    const socket = await dial();
    socket.write('hello');
    expect(await read(socket, 5)).toBe('hello');
    expect(one.connects).toEqual([
      { host: expect.stringMatching(/^orders-db\.shop\.svc:\d+$/), token: 'first', version: '0.1.0' },
    ]);
  });

  test('the end of one direction leaves the other open', async () => {
    let received = '';
    await proxy({
      target: (stream) => {
        stream.on('data', (chunk) => {
          received += chunk.toString();
        });
        // Speaks only after the client has ended.
        stream.once('end', () => stream.end(`you said ${received}`));
      },
    });
    const { dial } = await start();
    const socket = await dial(true);
    socket.end('all of it');
    expect(await read(socket, 18)).toBe('you said all of it');
    await closed(socket);
  });

  test('the end of the target reaches a client that goes on to send', async () => {
    let received = 0;
    const whole = Promise.withResolvers<void>();
    await proxy({
      target: (stream) => {
        stream.end('bye');
        stream.on('data', (chunk) => {
          received += chunk.length;
        });
        stream.once('end', () => whole.resolve());
      },
    });
    const { dial } = await start();
    const socket = await dial(true);
    expect(await read(socket, 3)).toBe('bye');
    if (!socket.readableEnded) {
      socket.resume();
      await once(socket, 'end');
    }
    socket.end(Buffer.alloc(200_000));
    await whole.promise;
    expect(received).toBe(200_000);
  });

  test('a client that does not read stops the target: nothing is kept without bound', async () => {
    let sent = 0;
    const stuck = Promise.withResolvers<void>();
    const chunk = Buffer.alloc(65_536);
    await proxy({
      target: (stream) => {
        const fill = (): void => {
          while (stream.write(chunk)) sent += chunk.length;
          sent += chunk.length;
          // What is not taken within so long is not going to be.
          const timer = setTimeout(() => stuck.resolve(), 2000);
          stream.once('drain', () => {
            clearTimeout(timer);
            fill();
          });
        };
        fill();
      },
    });
    const { dial } = await start();
    const socket = await dial();
    socket.pause();
    await stuck.promise;
    // Buffers of the kernel on three hops, and two of Node's.
    expect(sent).toBeLessThan(32 * 1024 * 1024);
    expect(sent).toBeGreaterThan(0);
  });

  test('many at once', async () => {
    const one = await proxy();
    const { connector, dial } = await start();
    const sockets = await Promise.all(Array.from({ length: 200 }, () => dial()));
    const texts = await Promise.all(
      sockets.map((socket, index) => {
        socket.write(`client ${String(index).padStart(4, '0')}`);
        return read(socket, 11);
      }),
    );
    expect(texts).toEqual(sockets.map((_, index) => `client ${String(index).padStart(4, '0')}`));
    expect(one.connects).toHaveLength(200);
    expect(connector.openConnections).toBe(200);
  });
});

describe('replicas', () => {
  test('one is kept to', async () => {
    const both = [await proxy(), await proxy()];
    const { dial } = await start();
    for (const text of ['a', 'b', 'c']) {
      const socket = await dial();
      socket.write(text);
      await read(socket, 1);
    }
    expect(both.map(({ connects }) => connects.length).sort()).toEqual([0, 3]);
  });

  test('when it is killed its tunnels end, and the next connection goes to another', async () => {
    const both = [await proxy(), await proxy()];
    const { dial } = await start();
    const socket = await dial();
    socket.write('a');
    await read(socket, 1);
    const first = both.find(({ connects }) => connects.length === 1);
    await first?.kill();
    await closed(socket);
    const next = await dial();
    next.write('b');
    expect(await read(next, 1)).toBe('b');
    expect(both.map(({ connects }) => connects.length)).toEqual([1, 1]);
  });

  test('one that is not ready or stops is passed over, for the same client', async () => {
    const body = { code: 'SPT002', message: 'this replica stops' };
    const stopping = await proxy({ answer: () => ({ status: 503, body }) });
    const { dial } = await start();
    const other = await proxy();
    addresses = [stopping.address, other.address];
    const socket = await dial();
    socket.write('a');
    expect(await read(socket, 1)).toBe('a');
    expect(other.connects).toHaveLength(1);
  });

  test('one that says that it drains gets no new tunnels', async () => {
    let draining = false;
    const both = [await proxy({ draining: () => draining }), await proxy({ draining: () => draining })];
    const { dial } = await start();
    const socket = await dial();
    socket.write('a');
    await read(socket, 1);
    const first = both.find(({ connects }) => connects.length === 1);
    const other = both.find(({ connects }) => connects.length === 0);
    draining = true;
    const told = first?.next('/v1/identity');
    await replaceToken('second');
    await told;
    const next = await dial();
    next.write('b');
    await read(next, 1);
    expect(other?.connects).toHaveLength(1);
  });

  test('a refusal closes the client and is told with what the proxy said', async () => {
    const body = { code: 'SPT001', message: 'no connection is for orders-db.shop.svc' };
    const one = await proxy({ answer: () => ({ status: 404, body }) });
    const { dial } = await start();
    await closed(await dial());
    expect(await logged('SPN008')).toContain('SPT001: no connection is for orders-db.shop.svc');
    expect(one.connects).toHaveLength(1);
  });

  test('without any proxy the client is closed, and the log says why', async () => {
    const one = await proxy();
    const { dial } = await start();
    await one.kill();
    await closed(await dial());
    expect(await logged('SPN007')).toContain('sallyport-proxy-replicas.shop.svc');
    expect(await logged('SPN005')).toContain('ECONNREFUSED');
  });

  test('a proxy of another authority, or with another name, is not trusted', async () => {
    await proxy({ authority: createTestAuthority('somebody else') });
    await proxy({ serverName: 'sallyport-proxy.other.svc' });
    const { dial } = await start();
    await closed(await dial());
    await logged('SPN007');
    expect(lines.filter(({ code }) => code === 'SPN006').length).toBeGreaterThanOrEqual(2);
  });
});

describe('identity', () => {
  test('a token that changed is shown to the replica of the tunnels, which live on', async () => {
    const one = await proxy();
    const { dial } = await start();
    const socket = await dial();
    socket.write('a');
    await read(socket, 1);
    const told = one.next('/v1/identity');
    await replaceToken('second');
    await told;
    const shown = one.puts.filter(({ path }) => path === '/v1/identity');
    expect(shown).toEqual([{ path: '/v1/identity', token: 'second', body: '' }]);
    socket.write('b');
    expect(await read(socket, 1)).toBe('b');
  });

  test('new tunnels use the new token at once', async () => {
    const one = await proxy();
    const { dial } = await start();
    await replaceToken('second');
    const socket = await dial();
    socket.write('a');
    await read(socket, 1);
    expect(one.connects.map(({ token }) => token)).toEqual(['second']);
  });

  test('the trust bundle has the roots of the system and ours, and follows a rotation', async () => {
    await proxy();
    await start();
    const bundle = await readFile(join(folder, 'trust.crt'), 'utf8');
    expect(bundle.match(/BEGIN CERTIFICATE/g)?.length).toBeGreaterThan(100);
    expect(bundle).toContain(authority.certificate.trim());
  });
});

describe('the probe', () => {
  const quick = { attempts: [1], again: 1, later: 3_600_000 };

  async function openTarget(): Promise<number> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    cleanups.push(async () => server.close());
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  test('a target that answers is reported, and the agent starts under Report', async () => {
    const one = await proxy();
    const port = await openTarget();
    const told = one.next('/v1/probe');
    const { connector } = await start({ resolve: async () => ['127.0.0.1'], probeTiming: quick }, { port });
    await told;
    expect(one.puts[0]).toMatchObject({ path: '/v1/probe', token: 'first' });
    expect(JSON.parse(one.puts[0]?.body ?? '')).toEqual({ host: 'orders-db.shop.svc', port, reachable: true });
    expect(connector.notReady()).toBeUndefined();
    expect(await logged('SPN012')).toContain('127.0.0.1');
  });

  test('under Refuse the agent does not start, and /readyz says why, until the way is closed', async () => {
    const one = await proxy();
    const port = await openTarget();
    let open = ['127.0.0.1'];
    const first = one.next('/v1/probe');
    const { connector } = await start({ resolve: async () => open, probeTiming: quick }, { port, onBypass: 'Refuse' });
    const url = `http://127.0.0.1:${connector.readinessPort}/readyz`;
    await first;
    const refused = await fetch(url);
    expect(refused.status).toBe(503);
    expect(await refused.text()).toContain('SPN012');
    const second = one.next('/v1/probe');
    open = [];
    await second;
    expect(JSON.parse(one.puts.at(-1)?.body ?? '')).toMatchObject({ reachable: false });
    expect((await fetch(url)).status).toBe(200);
  });

  test('connections that say nothing keep no kubelet from asking', async () => {
    await proxy();
    const { connector } = await start();
    const silent = await Promise.all(
      Array.from({ length: 40 }, async () => {
        const socket = connect(connector.readinessPort, '127.0.0.1');
        socket.on('error', () => undefined);
        await once(socket, 'connect');
        return socket;
      }),
    );
    const answer = await fetch(`http://127.0.0.1:${connector.readinessPort}/readyz`);
    expect(answer.status).toBe(200);
    for (const socket of silent) socket.destroy();
  });

  test('under Refuse a target that cannot be looked up keeps the agent from starting', async () => {
    await proxy();
    const { connector } = await start(
      { resolve: () => Promise.reject(new Error('queryA ETIMEOUT')), probeTiming: quick },
      { onBypass: 'Refuse' },
    );
    expect(connector.notReady()).toContain('SPN013');
    await logged('SPN013');
    expect(connector.notReady()).toContain('queryA ETIMEOUT');
  });
});

describe('the end', () => {
  test('draining takes nobody new and waits for those that are there', async () => {
    await proxy();
    const { connector, dial } = await start();
    const socket = await dial();
    socket.write('a');
    await read(socket, 1);
    const drained = connector.drain(60_000);
    await expect(dial()).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    socket.write('b');
    expect(await read(socket, 1)).toBe('b');
    socket.end();
    await drained;
    expect(connector.openConnections).toBe(0);
  });

  test('a missing file is told by its name', async () => {
    await rm(join(folder, 'ca.crt'));
    await expect(start()).rejects.toMatchObject({ code: 'SPN002', message: expect.stringContaining('ca.crt') });
  });
});
