/** What is left when a part dies, stalls or breaks in the middle of a command: nothing unrecorded, and everybody else unharmed. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, statfs, writeFile } from 'node:fs/promises';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import * as encode from '../../proxy/protocols/postgres/wire/encode.ts';
import { connectionYaml } from '../support/allow-everything.ts';
import { type LaneGround, startLaneGround } from '../support/lane-ground.ts';
import { recordedEvents, recordedTexts } from '../support/recorded.ts';
import { describeWith, postgresServer, root } from '../support/requires.ts';
import { sallyport } from '../support/sallyport.ts';
import { fieldsOf, shapeOf, unnamed, type WireClient } from '../support/wire-client.ts';

const run = promisify(execFile);
const { query, sync } = encode;

describeWith([postgresServer(18)], 'faults', () => {
  let ground: LaneGround;
  beforeEach(async () => {
    ground = await startLaneGround({
      version: 18,
      schema: 'CREATE TABLE log (line text)',
      settings: { log_statement: 'all', log_parameter_max_length: 100 },
    });
  });
  afterEach(() => ground[Symbol.asyncDispose]());

  /** Texts that the server says it was given, of those that this test marked. */
  const reachedServer = (): Set<string> => new Set(ground.server.log().match(/marked \d+\.\d+/g));

  const states = async (): Promise<string[]> => {
    const { stdout } = await sallyport(['sessions', 'list', '--state', ground.state, '-o', 'json']);
    const lines = stdout.trim().split('\n');
    return lines.map((line) => (JSON.parse(line) as { state: string }).state);
  };

  test('kill -9 of the gateway under load, again and again: what reached the server is in the record', async () => {
    for (let round = 0; round < 5; round++) {
      const clients = await Promise.all(Array.from({ length: 4 }, () => ground.through()));
      const died = clients.map((client) => client.toEnd());
      // Reads, whose record is only written, and writes, whose record is on disk before they leave, in both protocols.
      for (let i = 0; i < 400; i++) {
        const mark = `marked ${round}.${i}`;
        const client = clients[i % 4]!;
        if (i % 3 === 0) client.send(query(`INSERT INTO log VALUES ('${mark}')`));
        else if (i % 3 === 1) client.send(query(`SELECT '${mark}'`));
        else client.send(unnamed(`SELECT '${mark}'`), sync());
        if (i === 40 + round * 80) await once(clients[0]!.socket, 'data');
      }
      await ground.gateway.stop('SIGKILL');
      await Promise.all(died);
      await ground.restart();
      const recorded = new Set(
        (await recordedTexts(ground.state)).flatMap((text) => /marked \d+\.\d+/.exec(text) ?? []),
      );
      const parsed = (await recordedEvents(ground.state)).filter(({ e }) => e === 'statement.parsed');
      for (const event of parsed)
        for (const mark of String(event['text']).match(/marked \d+\.\d+/) ?? []) recorded.add(mark);
      const missing = [...reachedServer()].filter((mark) => !recorded.has(mark));
      expect(missing).toEqual([]);
      for (const client of clients) client.socket.destroy();
    }
    expect(reachedServer().size).toBeGreaterThan(20);
    expect((await states()).filter((state) => state === 'interrupted')).toHaveLength(20);
  });

  test('kill -9 of the gateway while a command runs: the session is told as interrupted, the command as received', async () => {
    const client = await ground.through();
    client.send(query("SELECT pg_sleep(30), 'still running'"));
    await expect.poll(() => ground.server.log()).toContain('still running');
    await ground.gateway.stop('SIGKILL');
    await client.toEnd();
    await ground.restart();
    expect(await states()).toEqual(['interrupted']);
    const events = await recordedEvents(ground.state);
    expect(events.find((event) => String(event['text']).includes('still running'))).toBeDefined();
    expect(events.filter(({ e }) => e === 'command.executed')).toEqual([]);
    await using again = await ground.through();
    expect(shapeOf(await again.query('SELECT 1'))).toEqual(['T', 'D', 'C SELECT 1', 'ZI']);
  });

  test('kill -9 of the server amid a result: the client is told, and can connect when the server is back', async () => {
    await using client = await ground.through();
    client.send(query("SELECT repeat('x', 1000) FROM generate_series(1, 10000000)"));
    await client.until('D', 10);
    await using idle = await ground.through();
    await ground.server.kill9();
    const rows = (await client.toEnd()).filter(({ type }) => type === 'D');
    // Nothing of ours stands within a value that was cut.
    expect(rows.filter(({ body }) => body.includes('SPG016'))).toEqual([]);
    await expect(ground.through()).rejects.toMatchObject({ fields: { S: 'FATAL' } });
    // A backend that still sees the postmaster go says so itself.
    const [end] = await idle.toEnd();
    expect(fieldsOf(end!)).toMatchObject({ S: 'FATAL', C: expect.stringMatching(/^(08006|57P\d\d)$/) });
    await ground.server.start();
    await using again = await ground.through();
    expect(shapeOf(await again.query('SELECT 1'))).toEqual(['T', 'D', 'C SELECT 1', 'ZI']);
    const events = await recordedEvents(ground.state);
    expect(events.filter(({ e }) => e === 'session.end').map((event) => event['reason'])).toContainEqual(
      expect.stringContaining('SPG016'),
    );
  });

  /** Resident memory of the gateway, in MB. */
  const memory = async (): Promise<number> => {
    const status = await readFile(`/proc/${ground.gateway.pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
  };

  test('a client that does not read a huge result costs no memory and hinders nobody', async () => {
    await using warm = await ground.through();
    await warm.query("SELECT repeat('x', 1000) FROM generate_series(1, 20000)");
    const before = await memory();
    const stalled = await Promise.all(Array.from({ length: 4 }, () => ground.through()));
    for (const client of stalled) {
      client.socket.pause();
      client.send(query("SELECT repeat('x', 100000) FROM generate_series(1, 3000)"));
    }
    const waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'ClientWrite'";
    await expect.poll(async () => (await ground.server.sql(waiting)).length, { timeout: 20_000 }).toBe(4);
    for (let i = 0; i < 200; i++) await warm.query(`SELECT ${i}`);
    expect((await memory()) - before).toBeLessThan(60);
    // Who reads again gets everything.
    stalled[0]!.socket.resume();
    expect((await stalled[0]!.until('Z')).filter(({ type }) => type === 'D')).toHaveLength(3000);
    // Who goes away, with or without a goodbye, is gone on the server too.
    stalled[1]!.send(encode.terminate());
    for (const client of stalled) client.socket.destroy();
    await expect.poll(async () => (await ground.server.sql(waiting)).length, { timeout: 20_000 }).toBe(0);
  });

  test('a client that sends without end while the server waits for a lock costs no memory', async () => {
    await using holder = await ground.direct();
    await holder.query('BEGIN; LOCK TABLE log');
    await using client = await ground.through();
    client.send(query('INSERT INTO log VALUES (1)'));
    const before = await memory();
    const large = Buffer.concat([unnamed('SELECT length($1)', ['x'.repeat(200_000)]), sync()]);
    // 120 MB: more than the kernel keeps, and more than the gateway may.
    for (let i = 0; i < 600; i++) client.socket.write(large);
    await using other = await ground.through();
    for (let i = 0; i < 100; i++) await other.query(`SELECT ${i}`);
    expect((await memory()) - before).toBeLessThan(60);
    await holder.query('ROLLBACK');
    expect(shapeOf(await client.until('Z'))).toEqual(['C INSERT 0 1', 'ZI']);
    expect((await client.until('Z', 600)).filter(({ type }) => type === 'D')).toHaveLength(600);
  });

  describe('a target of bytes', () => {
    /** What stands in the server's place; each test says how it behaves. */
    async function withTarget(
      serve: (socket: net.Socket) => void,
      tls: string,
      body: (connect: () => Promise<WireClient>) => Promise<void>,
    ): Promise<void> {
      const target = net.createServer(serve).listen(0, '127.0.0.1');
      await once(target, 'listening');
      try {
        await replaceTarget((target.address() as net.AddressInfo).port, tls);
        await body(() => ground.through());
      } finally {
        target.close();
      }
    }

    async function replaceTarget(port: number, tls = 'Disable'): Promise<void> {
      const yaml = connectionYaml('everything', { port, database: 'app', username: 'postgres', password: 'x' });
      await ground.edit('connection-everything.yaml', yaml.replace('mode: Disable', `mode: ${tls}`));
    }

    /** The real server, up to the first command that says `misbehave`. */
    const answering =
      (reply: (socket: net.Socket) => void) =>
      (socket: net.Socket): void => {
        const server = net.connect(ground.server.port, '127.0.0.1');
        const end = (): void => {
          socket.destroy();
          server.destroy();
        };
        for (const one of [socket, server]) one.on('error', end).on('close', end);
        server.on('data', (chunk) => socket.write(chunk));
        socket.on('data', (chunk: Buffer) => {
          if (chunk.includes('misbehave')) reply(socket);
          else server.write(chunk);
        });
      };

    test('that refuses, and one that is not there', async () => {
      await withTarget(
        (socket) => socket.resetAndDestroy(),
        'Disable',
        async (connect) => {
          await expect(connect()).rejects.toMatchObject({
            fields: { S: 'FATAL', D: expect.stringMatching(/SP[A-Z]\d{3}/) },
          });
        },
      );
      await replaceTarget(1);
      await expect(ground.through()).rejects.toMatchObject({
        fields: { S: 'FATAL', D: expect.stringMatching(/SP[A-Z]\d{3}/) },
      });
      // A wrong target is no reason to be unready for the others.
      await replaceTarget(ground.server.port);
      await using good = await ground.through();
      expect(shapeOf(await good.query('SELECT 1'))).toEqual(['T', 'D', 'C SELECT 1', 'ZI']);
    });

    test.for<[string, (socket: net.Socket) => void, string]>([
      ['resets amid a result', (socket) => socket.resetAndDestroy(), 'SPG016'],
      ['closes amid a message', (socket) => socket.end(Buffer.from([0x54, 0, 0, 1, 0, 0, 1])), 'SPG016'],
      ['sends what nobody asked for', (socket) => socket.write(Buffer.from([0x31, 0, 0, 0, 4])), 'SPG017'],
      ['sends a message of impossible length', (socket) => socket.write(Buffer.from([0x54, 0, 0, 0, 1, 0])), 'SPG017'],
      ['sends a message of unknown type', (socket) => socket.write(Buffer.from([0x57, 0, 0, 0, 4])), 'SPG017'],
      ['asks for a password again', (socket) => socket.write(Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 3])), 'SPG017'],
      [
        'speaks another encoding',
        (socket) => socket.write(encode.parameterStatus('client_encoding', 'LATIN1')),
        'SPG019',
      ],
    ])('that %s', async ([, reply, code]) => {
      await withTarget(answering(reply), 'Disable', async (connect) => {
        await using client = await connect();
        client.send(query("SELECT 'misbehave'"));
        const messages = await client.toEnd();
        expect(fieldsOf(messages.at(-1)!)).toMatchObject({ S: 'FATAL', D: expect.stringContaining(code) });
        expect(shapeOf(messages).filter((line) => line.startsWith('E'))).toHaveLength(1);
      });
    });

    test('that closes amid a value: what the client has of it is not filled up with an error', async () => {
      const cut = answering((socket) => socket.end(Buffer.from([0x44, 0, 0, 1, 0, 0, 1, 0, 0, 0, 250, 65])));
      await withTarget(cut, 'Disable', async (connect) => {
        await using client = await connect();
        const bytes: Buffer[] = [];
        client.socket.on('data', (chunk: Buffer) => bytes.push(chunk));
        client.send(query("SELECT 'misbehave'"));
        expect(await client.toEnd()).toEqual([]);
        expect(Buffer.concat(bytes)).toEqual(Buffer.from([0x44, 0, 0, 1, 0, 0, 1, 0, 0, 0, 250, 65]));
      });
    });

    test('that has no TLS, or a certificate that nobody vouches for', async () => {
      await withTarget(
        (socket) => socket.once('data', () => socket.write('N')),
        'VerifyFull',
        async (connect) => {
          await expect(connect()).rejects.toMatchObject({ fields: { D: expect.stringMatching(/SP[A-Z]\d{3}/) } });
        },
      );
    });

    test('that stalls: others go on, and the client may leave', async () => {
      await using before = await ground.through();
      await withTarget(
        answering(() => {}),
        'Disable',
        async (connect) => {
          await using client = await connect();
          client.send(query("SELECT 'misbehave'"));
          expect(shapeOf(await before.query('SELECT 1'))).toEqual(['T', 'D', 'C SELECT 1', 'ZI']);
        },
      );
      await expect
        .poll(async () => (await recordedEvents(ground.state)).filter(({ e }) => e === 'session.end').length)
        .toBe(1);
    });
  });
});

describeWith([postgresServer(18), root], 'a full disk', () => {
  test('stops commands with a clear error, and nothing unrecorded passes; with space it goes on', async () => {
    const mount = await mkdtemp(path.join(os.tmpdir(), 'sallyport-full-'));
    await run('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', mount]);
    try {
      const state = path.join(mount, 'state');
      await mkdir(state, { mode: 0o700 });
      await using ground = await startLaneGround({
        version: 18,
        schema: 'CREATE TABLE log (line text)',
        settings: { log_statement: 'all' },
        gateway: { state },
      });
      await using client = await ground.through();
      await client.query("INSERT INTO log VALUES ('before')");
      const ballast = path.join(mount, 'ballast');
      const { bavail, bsize } = await statfs(mount);
      await writeFile(ballast, Buffer.alloc(bavail * bsize));
      let last: Awaited<ReturnType<WireClient['query']>> = [];
      let sent = 0;
      // A page of the segment may have room for some more.
      for (; sent < 1000 && last.at(-1)?.type !== 'E'; sent++) {
        client.send(query(`SELECT 'full ${sent}', '${'x'.repeat(200)}'`));
        last = [];
        for (let message = await client.next(); message !== undefined; message = await client.next()) {
          last.push(message);
          if (message.type === 'Z' || (message.type === 'E' && fieldsOf(message).S === 'FATAL')) break;
        }
      }
      expect(fieldsOf(last.at(-1)!)).toMatchObject({ S: 'FATAL', C: '58030', D: expect.stringContaining('SPG015') });
      await expect(ground.through()).rejects.toMatchObject({ fields: { S: 'FATAL', C: '58030' } });
      const response = await fetch(ground.gateway.metrics!.replace('/metrics', '/readyz'));
      expect(response.status).toBe(503);
      const reached = new Set(ground.server.log().match(/full \d+/g));
      await rm(ballast);
      await expect
        .poll(async () => (await fetch(ground.gateway.metrics!.replace('/metrics', '/readyz'))).status, {
          timeout: 15_000,
        })
        .toBe(200);
      await using again = await ground.through();
      expect(shapeOf(await again.query("INSERT INTO log VALUES ('after')"))).toEqual(['C INSERT 0 1', 'ZI']);
      const recorded = new Set((await recordedTexts(state)).flatMap((text) => /full \d+/.exec(text) ?? []));
      expect([...reached].filter((mark) => !recorded.has(mark))).toEqual([]);
      expect(reached.has(`full ${sent - 1}`)).toBe(false);
    } finally {
      await run('umount', ['-l', mount]);
      await rm(mount, { recursive: true, force: true });
    }
  });
});
