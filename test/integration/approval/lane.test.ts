/** Commands of the PostgreSQL lane that wait for people: what the client sees, what runs, and what is written down. */
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import * as encode from '../../../proxy/protocols/postgres/wire/encode.ts';
import { type ApprovalGround, startApprovalGround, stateOf } from '../../support/approval-ground.ts';
import { recordedEvents } from '../../support/recorded.ts';
import { describeWith, postgresServer } from '../../support/requires.ts';
import { bind, cancel, fieldsOf, raw, shapeOf, unnamed, type WireClient } from '../../support/wire-client.ts';

const { query, sync, parse, execute, describe: describeMessage, flush, terminate } = encode;

const SCHEMA = `CREATE TABLE orders (id int PRIMARY KEY, customer text, email text);
CREATE TABLE lines (id int PRIMARY KEY, order_id int REFERENCES orders ON DELETE CASCADE);
CREATE TABLE notes (id int PRIMARY KEY, line_id int REFERENCES lines ON DELETE SET NULL, body text);
CREATE FUNCTION tricky(int) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RETURN true; END$$;`;

const POLICY = `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: agent}
spec:
  connections: {names: [orders]}
  subjects: [{serviceAccount: {name: agent}}, {serviceAccount: {name: other}}]
  rules:
    - {name: all, effect: Allow, sql: {statements: ["*", CopyFrom], relations: ["*.*"], functions: ["*.*", pg_catalog.lo_unlink]}}
    - name: deletes
      effect: RequireApproval
      message: Deletes are looked at.
      sql: {statements: [Delete, CopyFrom]}
      approval: {approvers: {groups: [dba]}}
    - name: updates
      effect: RequireApproval
      sql: {statements: [Update]}
      approval: {hold: Reject}
    - name: large-objects
      effect: RequireApproval
      sql: {functions: [pg_catalog.lo_unlink]}
      approval: {}
`;

const DELETE = 'DELETE FROM orders WHERE id = 1';

describeWith([postgresServer(18)], 'held commands', () => {
  let folder: string;
  let ground: ApprovalGround;
  let port: number;

  beforeAll(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-held-'));
    ground = await startApprovalGround({
      version: 18,
      folder,
      schema: SCHEMA,
      settings: { log_statement: 'all' },
      connections: { orders: '' },
      resources: { 'agent.yaml': POLICY },
    });
    port = ground.lane.port('orders');
  });
  afterAll(async () => {
    await ground[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });
  beforeEach(async () => {
    // A client hears of its cancel before the file says so.
    const left = async (): Promise<string[]> =>
      (await ground.requests()).filter((one) => stateOf(one) === 'Pending').map(({ metadata }) => metadata.name);
    await expect.poll(left).toEqual([]);
    await ground.lane.server.sql(
      `TRUNCATE orders CASCADE; INSERT INTO orders SELECT i, 'c' || i, 'c' || i || '@example.com' FROM generate_series(1, 20) i;
       INSERT INTO lines SELECT i, i FROM generate_series(1, 20) i`,
      undefined,
      'app',
    );
  });

  const open = (account = 'agent'): Promise<WireClient> => ground.lane.through('orders', account);
  const orders = async (): Promise<number> => {
    const [row] = await ground.lane.server.sql('SELECT count(*)::int AS n FROM orders', undefined, 'app');
    return (row as { n: number }).n;
  };
  const ended = (name: string, state: string): Promise<unknown> =>
    ground.request((request) => request.metadata.name === name && stateOf(request) === state);
  const reached = (text: string): number =>
    ground.lane.server
      .log()
      .split('\n')
      .filter((line) => /(statement|execute [^:]*): /.test(line) && line.includes(text)).length;

  describe('hold: Wait', () => {
    test('a simple query is announced, waits, and runs exactly once when it was approved', async () => {
      await using client = await open();
      client.send(query(`/* once */ ${DELETE}`));
      const [notice] = await client.until('N');
      const fields = fieldsOf(notice!);
      expect(fields.M).toContain('Deletes are looked at.');
      const request = await ground.pending();
      expect(fields.D).toContain(request.metadata.name);
      expect(fields.D).toContain('group dba');
      expect(fields.H).toContain(`sallyport approve ${request.metadata.name} -n default`);
      expect(reached('/* once */')).toBe(0);
      await ground.vote(request);
      expect(shapeOf(await client.until('Z'))).toEqual(['C DELETE 1', 'ZI']);
      expect(reached('/* once */')).toBe(1);
      expect(await orders()).toBe(19);
      await ended(request.metadata.name, 'Executed');
      // The approval is used up: the same again is a new request.
      client.send(query(`/* once */ ${DELETE}`));
      await client.until('N');
      const second = await ground.pending();
      expect(second.metadata.name).not.toBe(request.metadata.name);
      await ground.vote(second, ground.ben, 'Deny');
      const error = fieldsOf((await client.until('Z')).find(({ type }) => type === 'E')!);
      expect(error).toMatchObject({ C: '42501', M: expect.stringContaining('denied') });
      expect(reached('/* once */')).toBe(1);
    });

    test('the record says held before the client is told, who approved before it runs, and what came of it', async () => {
      await using client = await open();
      client.send(query(`/* recorded */ ${DELETE}`));
      await client.until('N');
      const of = async () => {
        const events = await recordedEvents(ground.lane.state);
        const received = events.find(
          ({ e, text }) => e === 'command.received' && String(text).includes('/* recorded */'),
        );
        return events.filter(({ session, seq }) => session === received?.session && seq === received?.seq);
      };
      expect((await of()).map(({ e }) => e)).toEqual(['command.received', 'command.held']);
      const request = await ground.approve();
      await client.until('Z');
      await expect
        .poll(async () => (await of()).map(({ e }) => e))
        .toEqual(['command.received', 'command.held', 'command.released', 'command.executed']);
      const [, held, released] = await of();
      expect(held).toMatchObject({ request: request.metadata.name, hash: request.spec.request.hash });
      expect(released).toMatchObject({ state: 'Consumed', votes: [{ voter: 'ada' }], hash: request.spec.request.hash });
    });

    test('a driver with bound values waits at Execute, and holds no lock meanwhile', async () => {
      const client = new pg.Client({
        ...{ host: '127.0.0.1', port, database: 'app', user: 'x', password: await ground.lane.token('agent') },
      });
      await client.connect();
      const notices: string[] = [];
      client.on('notice', ({ message }) => notices.push(String(message)));
      const running = client.query('DELETE FROM orders WHERE id = $1 RETURNING customer', [7]);
      const request = await ground.pending();
      expect(request.spec.request.display).toBe("DELETE FROM orders\nWHERE id = '7'\nRETURNING customer");
      const locks = await ground.lane.server.sql(
        `SELECT mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE c.relname = 'orders'`,
        undefined,
        'app',
      );
      expect(locks).toEqual([]);
      await ground.vote(request);
      expect((await running).rows).toEqual([{ customer: 'c7' }]);
      expect(notices).toHaveLength(1);
      await ended(request.metadata.name, 'Executed');
      await client.end();
    });

    test('what is pipelined behind waits and goes on', async () => {
      await using client = await open();
      client.send(query(DELETE), query("SELECT 'behind'"), unnamed('SELECT $1::text', ['last']), sync());
      await client.until('N');
      await ground.approve();
      const rest = await client.until('Z', 3);
      expect(shapeOf(rest)).toEqual([
        'C DELETE 1',
        'ZI',
        'T',
        'D',
        'C SELECT 1',
        'ZI',
        '1',
        '2',
        'T',
        'D',
        'C SELECT 1',
        'ZI',
      ]);
    });

    test('what came before is answered first', async () => {
      await using client = await open();
      client.send(
        parse('s', 'DELETE FROM orders WHERE id = $1'),
        describeMessage('S', 's'),
        bind({ statement: 's', values: ['3'] }),
      );
      client.send(execute(''), sync());
      expect(shapeOf(await client.until('N'))).toEqual(['1', 't', 'n', '2', 'N']);
      await ground.approve();
      expect(shapeOf(await client.until('Z'))).toEqual(['C DELETE 1', 'ZI']);
      expect(await orders()).toBe(19);
      // The statement is still there, and another value is another request.
      client.send(bind({ statement: 's', values: ['4'] }), execute(''), sync());
      expect(shapeOf(await client.until('N'))).toEqual(['2', 'N']);
      await ground.approve();
      expect(shapeOf(await client.until('Z'))).toEqual(['C DELETE 1', 'ZI']);
      expect(await orders()).toBe(18);
    });

    test('rows come in parts of one approved portal', async () => {
      await using client = await open();
      client.send(unnamed('DELETE FROM orders WHERE id < 6 RETURNING id', [], 2), execute('', 2), flush());
      await client.until('N');
      await ground.approve();
      expect(shapeOf(await client.until('s', 2)).filter((type) => type !== 'T')).toEqual([
        'D',
        'D',
        's',
        'D',
        'D',
        's',
      ]);
      client.send(sync());
      await client.until('Z');
      expect(await orders()).toBe(15);
    });

    test('a failure of the command is the outcome of its request', async () => {
      await using client = await open();
      client.send(query('DELETE FROM orders WHERE id = 1 / (id - id)'));
      await client.until('N');
      const { metadata } = await ground.approve();
      expect(shapeOf(await client.until('Z'))).toEqual(['E 22012', 'ZI']);
      await ended(metadata.name, 'Failed');
    });

    test('what fails later in the pipeline undoes it: Failed', async () => {
      await using client = await open();
      client.send(unnamed(DELETE), unnamed('SELECT 1/0'), sync());
      await client.until('N');
      const { metadata } = await ground.approve();
      expect(shapeOf(await client.until('Z'))).toContain('E 22012');
      await ended(metadata.name, 'Failed');
      expect(await orders()).toBe(20);
    });

    test('a cancel withdraws it and the session lives on', async () => {
      await using client = await open();
      client.send(query(DELETE));
      await client.until('N');
      const { metadata } = await ground.pending();
      await cancel(port, client.key);
      const messages = await client.until('Z');
      expect(shapeOf(messages)).toEqual(['E 57014', 'ZI']);
      expect(fieldsOf(messages[0]!).M).toBe('canceling statement due to user request');
      await ended(metadata.name, 'Withdrawn');
      client.send(unnamed(DELETE), sync());
      await client.until('N');
      await cancel(port, client.key);
      expect(shapeOf(await client.until('Z'))).toEqual(['E 57014', 'ZI']);
      expect(shapeOf(await client.query('SELECT 1'))).toEqual(['T', 'D', 'C SELECT 1', 'ZI']);
      expect(await orders()).toBe(20);
    });

    test.each([
      ['closes', (client: WireClient) => client.socket.end()],
      ['resets', (client: WireClient) => client.socket.resetAndDestroy()],
      ['says goodbye', (client: WireClient) => client.send(terminate()).socket.end()],
      [
        'sends more and closes',
        (client: WireClient) => client.send(Buffer.concat(Array(50).fill(query('SELECT 1')))).socket.end(),
      ],
    ])('a client that %s withdraws it', async (_how, leave) => {
      const client = await open();
      client.send(query(DELETE));
      await client.until('N');
      const { metadata } = await ground.pending();
      leave(client);
      await ended(metadata.name, 'Withdrawn');
      await client.toEnd();
      const told = async () => {
        const events = await recordedEvents(ground.lane.state);
        return events.filter(({ request }) => request === metadata.name).map(({ e, state }) => [e, state]);
      };
      await expect.poll(told).toEqual([
        ['command.held', undefined],
        ['command.released', 'Withdrawn'],
      ]);
    });

    test('the same command of the same requester twice is one request, and one approval runs it once', async () => {
      await using one = await open();
      await using two = await open();
      one.send(query(DELETE));
      two.send(query(DELETE));
      await one.until('N');
      await two.until('N');
      expect((await ground.requests()).filter((request) => stateOf(request) === 'Pending')).toHaveLength(1);
      await ground.approve();
      const shapes = [shapeOf(await one.until('Z')), shapeOf(await two.until('Z'))].map(([first]) => first);
      expect(shapes.sort()).toEqual(['C DELETE 1', 'E 42501']);
      expect(await orders()).toBe(19);
    });
  });

  describe('hold: Reject', () => {
    const UPDATE = "UPDATE orders SET customer = 'x' WHERE id = 2";

    test('is refused with the name of its request, and passes once after approval', async () => {
      await using client = await open();
      const error = await client.errorOf(UPDATE);
      const request = await ground.pending();
      expect(error).toMatchObject({ C: '42501' });
      expect(error.D).toContain(request.metadata.name);
      expect(error.H).toContain('send the identical statement again');
      // Asking again is the same request.
      expect((await client.errorOf(UPDATE)).D).toContain(request.metadata.name);
      await ground.vote(request);
      // Another value is another command.
      const other = await client.errorOf("UPDATE orders SET customer = 'y' WHERE id = 2");
      expect(other.D).not.toContain(`${request.metadata.name},`);
      // Another subject has no part in it.
      await using stranger = await open('other');
      expect((await stranger.errorOf(UPDATE)).D).not.toContain(`${request.metadata.name},`);
      expect(shapeOf(await client.query(UPDATE))).toEqual(['C UPDATE 1', 'ZI']);
      expect((await client.errorOf(UPDATE)).D).not.toContain(`${request.metadata.name},`);
      for (const left of await ground.requests())
        if (stateOf(left) === 'Pending') await ground.vote(left, ground.ben, 'Deny');
      await expect.poll(async () => (await ground.requests()).map(stateOf)).not.toContain('Pending');
    });
  });

  describe('never passes', () => {
    const withdrawn = async (client: WireClient): Promise<void> => {
      await client.until('N');
      await cancel(port, client.key);
      await client.until('Z');
    };

    test('inside an open transaction, explicit or of a pipeline', async () => {
      await using client = await open();
      await client.query('BEGIN');
      expect(await client.errorOf(DELETE)).toMatchObject({
        C: '42501',
        M: expect.stringContaining('transaction is open'),
      });
      expect(shapeOf(await client.query('ROLLBACK'))).toEqual(['C ROLLBACK', 'ZI']);
      client.send(query('BEGIN'), query(DELETE), query('ROLLBACK'));
      expect(shapeOf(await client.until('Z', 3))).toEqual(['C BEGIN', 'ZT', 'E 42501', 'ZE', 'C ROLLBACK', 'ZI']);
      client.send(unnamed("INSERT INTO notes VALUES (1, NULL, 'x')"), unnamed(DELETE), sync());
      expect(shapeOf(await client.until('Z')).slice(-2)).toEqual(['E 42501', 'ZI']);
      const notes = await ground.lane.server.sql('SELECT * FROM notes', undefined, 'app');
      expect(notes).toEqual([]);
      expect(await orders()).toBe(20);
    });

    test('in a string of several statements: it is one command, held before any of it runs', async () => {
      await using client = await open();
      client.send(query(`BEGIN; ${DELETE}; COMMIT`));
      await client.until('N');
      expect(await orders()).toBe(20);
      await ground.approve();
      expect(shapeOf(await client.until('Z'))).toEqual(['C BEGIN', 'C DELETE 1', 'C COMMIT', 'ZI']);
      expect(await orders()).toBe(19);
    });

    test('EXECUTE of a prepared statement shows what it runs', async () => {
      await using client = await open();
      client.send(query('PREPARE p(int) AS DELETE FROM orders WHERE id = $1'));
      await client.until('N');
      await ground.approve();
      await client.until('Z');
      client.send(query('EXECUTE p(5)'));
      await client.until('N');
      const request = await ground.approve();
      expect(request.spec.request.display).toContain('EXECUTE p(5)');
      expect(request.spec.request.display).toContain('DELETE FROM orders\nWHERE id = $1');
      expect(shapeOf(await client.until('Z'))).toEqual(['C DELETE 1', 'ZI']);
    });

    test('COPY FROM STDIN is refused: nobody could see its rows', async () => {
      await using client = await open();
      expect(await client.errorOf('COPY notes FROM STDIN')).toMatchObject({
        C: '42501',
        M: expect.stringContaining('COPY FROM STDIN'),
      });
    });

    test('a function call of the fast path', async () => {
      await using client = await open();
      const [found] = await ground.lane.server.sql(
        "SELECT 'lo_unlink'::regproc::int AS oid FROM lo_create(4711)",
        undefined,
        'app',
      );
      const call = Buffer.alloc(18);
      call.writeUInt32BE((found as { oid: number }).oid, 0);
      call.writeUInt16BE(1, 4);
      call.writeUInt16BE(1, 6);
      call.writeUInt16BE(1, 8);
      call.writeUInt32BE(4, 10);
      call.writeUInt32BE(4711, 14);
      client.send(raw('F', Buffer.concat([call, Buffer.from([0, 1])])));
      await client.until('N');
      const request = await ground.approve();
      expect(request.spec.request.display).toContain('lo_unlink');
      expect(request.spec.request.display).toContain('00001267');
      expect(shapeOf(await client.until('Z'))).toEqual(['V', 'ZI']);
      await ended(request.metadata.name, 'Executed');
    });

    test('a cursor over what needs approval, and rows that are written by a WITH query', async () => {
      await using client = await open();
      client.send(query('WITH gone AS (DELETE FROM orders WHERE id = 9 RETURNING id) SELECT * FROM gone'));
      await withdrawn(client);
      await client.query('BEGIN');
      expect(await client.errorOf('DECLARE c CURSOR FOR SELECT 1; DELETE FROM orders')).toMatchObject({ C: '42501' });
      await client.query('ROLLBACK');
      expect(await orders()).toBe(20);
    });

    test('a command too large to be shown', async () => {
      await using client = await open();
      const error = await client.errorOf(`DELETE FROM orders WHERE customer = '${'x'.repeat(66_000)}'`);
      expect(error).toMatchObject({ C: '54000', D: expect.stringContaining('SPG029') });
    });
  });

  describe('what the approver sees', () => {
    test('the estimate, cascades, and the exact count on request; nothing is locked or changed', async () => {
      await using client = await open();
      client.send(query('DELETE FROM orders WHERE id <= 5'));
      await client.until('N');
      const { metadata } = await ground.pending();
      const request = await ground.request(
        (found) => found.metadata.name === metadata.name && found.spec.preview?.estimate !== undefined,
      );
      expect(request.spec.preview?.estimate?.rows).toBeGreaterThan(0);
      expect(request.spec.preview?.estimate?.plan).toContain('on orders');
      expect(request.spec.preview?.cascades).toEqual([
        'ON DELETE CASCADE: public.lines(order_id)',
        'ON DELETE SET NULL: public.notes(line_id)',
      ]);
      expect(request.spec.request.effects).toContain('Delete on public.orders');
      await cancel(port, client.key);
      await client.until('Z');
    });

    test('no estimate where planning could run code of its own', async () => {
      await using client = await open();
      client.send(query('DELETE FROM orders WHERE tricky(id)'));
      await client.until('N');
      const { metadata } = await ground.pending();
      const request = await ground.request(
        (found) => found.metadata.name === metadata.name && found.spec.preview?.unavailable !== undefined,
      );
      expect(request.spec.preview?.unavailable).toContain('public.tricky');
      await cancel(port, client.key);
      await client.until('Z');
    });

    test('binary values by their types', async () => {
      await using client = await open();
      client.send(
        parse('', 'DELETE FROM orders WHERE id = $1'),
        bind({ values: [Buffer.from([0, 0, 0, 12])], formats: [1] }),
      );
      client.send(execute(''), sync());
      await client.until('N');
      const request = await ground.approve();
      expect(request.spec.request.display).toBe("DELETE FROM orders\nWHERE id = '12'");
      expect(shapeOf(await client.until('Z'))).toEqual(['C DELETE 1', 'ZI']);
    });
  });
});
