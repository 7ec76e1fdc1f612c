/** The extended query protocol through Sallyport: every reply as the server itself gives it, in every order of messages. */
import { once } from 'node:events';
import net from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import * as encode from '../../proxy/protocols/postgres/wire/encode.ts';
import { connectionYaml } from '../support/allow-everything.ts';
import { type LaneGround, startLaneGround } from '../support/lane-ground.ts';
import { describeWith, postgresServer } from '../support/requires.ts';
import type { PostgresVersion } from '../support/server-binaries.ts';
import {
  bind,
  fieldsOf,
  raw,
  rowOf,
  shapeOf,
  unnamed,
  type WireClient,
  type WireMessage,
} from '../support/wire-client.ts';
import { order, type Step, transcript } from '../support/wire-compare.ts';

const { parse, describe: describing, execute, close, sync, flush, query } = encode;
const all = (...parts: Uint8Array[]): Buffer => Buffer.concat(parts);
const step = (...parts: Uint8Array[]): Step => ({ send: all(...parts) });

const SCHEMA = `CREATE TABLE items (id int PRIMARY KEY, name text NOT NULL, price numeric(10,2));
INSERT INTO items SELECT i, 'item ' || i, i * 1.5 FROM generate_series(1, 300) i;
CREATE TABLE people (id int PRIMARY KEY, email text, note text);
INSERT INTO people SELECT i, 'person' || i || '@example.com', 'note ' || i FROM generate_series(1, 20) i;
CREATE SCHEMA other; CREATE TABLE other.items (id int, secret text); INSERT INTO other.items VALUES (1, 'hidden');`;

const READER = `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: reader}
spec:
  connections: {names: [reader]}
  subjects: [{serviceAccount: {name: reader}}]
  rules:
    - name: read
      effect: Allow
      sql: {statements: [Read], relations: ["public.*"]}
---
apiVersion: sallyport.dev/v1alpha1
kind: MaskingRule
metadata: {name: pii}
spec:
  connections: {names: [reader]}
  columns:
    - match: ["public.people.email"]
`;

/** Scripts whose replies have to be the same, byte for byte. */
const SCRIPTS: Readonly<Record<string, readonly Step[]>> = {
  'unnamed statement, text results': [step(unnamed('SELECT id, name, price FROM items ORDER BY id LIMIT 3'), sync())],
  'values and binary results': [
    step(
      parse('', 'SELECT $1::int + 1, $2::text, $3::bytea'),
      bind({ values: [Buffer.from([0, 0, 0, 41]), 'ä', null], formats: [1, 0, 0], results: [1, 0, 1] }),
      describing('P', ''),
      execute(''),
      sync(),
    ),
  ],
  'Describe of a statement': [
    step(parse('d', 'SELECT * FROM items WHERE id = $1'), describing('S', 'd'), sync()),
    step(parse('e', 'DELETE FROM items WHERE id = $1'), describing('S', 'e'), sync()),
    step(parse('f', ''), describing('S', 'f'), bind({ statement: 'f' }), execute(''), sync()),
  ],
  'Describe of a portal that returns nothing': [step(unnamed('SET application_name = x'), sync())],
  'a named statement lives across Sync': [
    step(parse('s', 'SELECT name FROM items WHERE id = $1'), sync()),
    step(bind({ statement: 's', values: ['7'] }), execute(''), sync()),
    step(bind({ statement: 's', values: ['8'] }), execute(''), sync()),
    step(close('S', 's'), sync()),
  ],
  'a name that is taken': [
    step(parse('s', 'SELECT 1'), sync()),
    step(parse('s', 'SELECT 2'), bind({ statement: 's' }), execute(''), sync()),
    step(bind({ statement: 's' }), execute(''), sync()),
  ],
  'Close and the same name again at once': [
    step(parse('s', 'SELECT 1'), sync()),
    step(close('S', 's'), parse('s', 'SELECT 2'), bind({ statement: 's' }), execute(''), sync()),
    step(close('S', 'never there'), close('P', 'never there'), sync()),
  ],
  'Close of the unnamed ones, then new ones, executed later': [
    step(query('BEGIN')),
    { send: all(close('S', ''), close('P', ''), parse('', 'SELECT 5'), bind(), flush()), until: '2' },
    step(execute(''), sync()),
    step(query('COMMIT')),
  ],
  'rows in parts': [
    step(query('BEGIN')),
    step(parse('', 'SELECT id FROM items ORDER BY id LIMIT 10'), bind({ portal: 'p' }), execute('p', 4), sync()),
    step(execute('p', 4), sync()),
    { send: all(execute('p', 1), flush()), until: 's' },
    step(execute('p'), sync()),
    step(execute('p'), sync()),
    step(close('P', 'p'), sync()),
    step(query('COMMIT')),
  ],
  'a portal ends with its transaction': [
    step(query('BEGIN'), parse('', 'SELECT 1'), bind({ portal: 'p' }), sync()).send,
  ].map((send) => ({ send, count: 2 })),
  'an error skips to Sync': [
    step(
      unnamed('SELECT 1/0'),
      parse('x', 'SELECT 1'),
      bind({ statement: 'x' }),
      execute(''),
      describing('S', 'x'),
      close('S', 'x'),
      sync(),
    ),
    step(parse('x', 'SELECT 3'), bind({ statement: 'x' }), execute(''), sync()),
  ],
  'an error in the middle of many pipelines': [
    {
      send: all(
        ...Array.from({ length: 40 }, (_, i) =>
          all(unnamed(i % 7 === 3 ? 'SELECT 1/0' : `SELECT ${i}`), unnamed(`SELECT 'second ${i}'`), sync()),
        ),
      ),
      count: 40,
    },
  ],
  'an error of Parse, of Bind, and of Execute, each with something behind it': [
    step(parse('', 'SELECT nothing FROM nowhere'), bind(), execute(''), sync()),
    step(parse('', 'SELEC 1'), bind(), execute(''), sync()),
    step(parse('', 'SELECT $1::int'), bind({ values: ['x'] }), execute(''), sync()),
    step(parse('', 'SELECT $1::int'), bind({ values: ['1', '2'] }), execute(''), sync()),
    step(parse('', 'SELECT 1/$1::int'), bind({ values: ['0'] }), execute(''), sync()),
  ],
  'an implicit transaction is rolled back whole': [
    step(query('CREATE TEMP TABLE t (i int UNIQUE)')),
    step(unnamed('INSERT INTO t VALUES (1)'), unnamed('INSERT INTO t VALUES (1)'), sync()),
    step(query('SELECT count(*) FROM t')),
    step(query('DROP TABLE t')),
  ],
  'a failed transaction': [
    step(query('BEGIN')),
    step(unnamed('SELECT 1/0'), sync()),
    step(unnamed('SELECT 1'), sync()),
    step(query('SELECT 1')),
    step(unnamed('ROLLBACK'), sync()),
  ],
  'savepoints in pipelines': [
    {
      send: all(
        ...['BEGIN', 'SAVEPOINT a', 'SELECT 1', 'ROLLBACK TO a', 'RELEASE a', 'COMMIT'].map((sql) =>
          all(unnamed(sql), sync()),
        ),
      ),
      count: 6,
    },
    step(query('BEGIN; SAVEPOINT a')),
    step(unnamed('SELECT 1/0'), sync()),
    step(unnamed('ROLLBACK TO a'), sync()),
    step(unnamed('SELECT 2'), sync()),
    step(query('COMMIT')),
  ],
  'SQL and protocol share the names of statements': [
    step(query('PREPARE s (int) AS SELECT name FROM items WHERE id = $1')),
    step(bind({ statement: 's', values: ['3'] }), execute(''), sync()),
    step(describing('S', 's'), sync()),
    step(parse('s', 'SELECT 1'), sync()),
    step(query('DEALLOCATE s')),
    step(parse('s', 'SELECT $1::int * 2'), sync()),
    step(query('EXECUTE s(21)')),
    step(query('PREPARE s AS SELECT 1')),
    step(query('DEALLOCATE ALL')),
    step(bind({ statement: 's', values: ['3'] }), sync()),
    step(query('EXECUTE s(21)')),
  ],
  'PREPARE, EXECUTE and DEALLOCATE in pipelines': [
    {
      send: all(
        ...[
          'PREPARE q AS SELECT 1',
          'EXECUTE q',
          'DEALLOCATE q',
          'EXECUTE q',
          'PREPARE q AS SELECT 2',
          'EXECUTE q',
        ].map((sql) => all(unnamed(sql), sync())),
      ),
      count: 6,
    },
    step(query('DEALLOCATE q; PREPARE q AS SELECT 3; EXECUTE q; DEALLOCATE q')),
  ],
  'DISCARD ALL forgets everything': [
    step(parse('s', 'SELECT 1'), sync()),
    step(query('PREPARE t AS SELECT 2; CREATE TEMP TABLE mine (i int)')),
    step(query('DISCARD ALL')),
    step(bind({ statement: 's' }), sync()),
    step(query('EXECUTE t')),
    step(query('SELECT * FROM mine')),
  ],
  'cursors of SQL': [
    step(query('BEGIN')),
    step(query('DECLARE c CURSOR FOR SELECT id, name FROM items ORDER BY id')),
    step(describing('P', 'c'), sync()),
    step(query('FETCH 2 FROM c')),
    step(unnamed('FETCH FORWARD 2 FROM c'), sync()),
    step(unnamed('MOVE 10 IN c'), sync()),
    step(query('FETCH c')),
    step(query('CLOSE c')),
    step(query('COMMIT')),
    step(query('BEGIN; DECLARE h CURSOR WITH HOLD FOR SELECT id FROM items WHERE id < 4 ORDER BY id; COMMIT')),
    step(query('FETCH ALL FROM h')),
    step(query('CLOSE ALL')),
  ],
  'names that are not there': [
    step(bind({ statement: 'nope' }), execute(''), sync()),
    step(execute('nope'), sync()),
    step(describing('S', 'nope'), sync()),
    step(describing('P', 'nope'), sync()),
    step(bind(), sync()),
    step(query('EXECUTE nope')),
  ],
  'a Query ends the unnamed statement': [
    step(parse('', 'SELECT 1'), sync()),
    step(query('SELECT 2')),
    step(bind(), execute(''), sync()),
  ],
  'a Query within a pipeline': [
    { send: all(unnamed('SELECT 1'), query('SELECT 2'), unnamed('SELECT 3'), sync()), count: 2 },
    { send: all(unnamed('SELECT 1/0'), query('SELECT 2'), sync(), query('SELECT 3')), count: 2 },
  ],
  'Sync alone, Flush alone': [
    { send: all(sync(), sync(), flush(), sync()), count: 3 },
    { send: all(parse('', 'SELECT 1'), flush()), until: '1' },
    { send: all(bind(), flush()), until: '2' },
    { send: all(describing('P', ''), flush()), until: 'T' },
    { send: all(execute(''), flush()), until: 'C' },
    step(sync()),
  ],
  'a large object by FunctionCall': [
    step(query('BEGIN')),
    // lo_create(oid) is 715, loread(int, int) 954, lowrite 955, lo_open 952, lo_unlink 964.
    step(functionCall(715, [int32(424242)])),
    step(functionCall(952, [int32(424242), int32(0x60000)])),
    step(functionCall(955, [int32(0), Buffer.from('large \0 object')])),
    step(functionCall(956, [int32(0), int32(0), int32(0)])),
    step(functionCall(954, [int32(0), int32(100)])),
    step(functionCall(964, [int32(424242)])),
    step(query('ROLLBACK')),
  ],
  'Parse with types, a function that raises notices': [
    step(parse('', 'SELECT $1, $2', Buffer.from([0, 2, 0, 0, 0, 23, 0, 0, 0, 25])), describing('S', ''), sync()),
    step(unnamed('DROP TABLE IF EXISTS never_there'), sync()),
  ],
};

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

/** FunctionCall with binary values and a binary result. */
function functionCall(oid: number, values: readonly Buffer[]): Buffer {
  const parts = values.flatMap((value) => [int32(value.length), value]);
  return raw(
    'F',
    Buffer.concat([int32(oid), Buffer.from([0, 1, 0, 1, 0, values.length]), ...parts, Buffer.from([0, 1])]),
  );
}

const VERSIONS: readonly PostgresVersion[] = [15, 18];

for (const version of VERSIONS) {
  describeWith([postgresServer(version)], `PostgreSQL ${version}, extended protocol`, () => {
    let ground: LaneGround;
    beforeAll(async () => {
      ground = await startLaneGround({
        version,
        schema: SCHEMA,
        connections: { reader: '' },
        resources: { 'reader.yaml': READER },
      });
    });
    afterAll(() => ground[Symbol.asyncDispose]());

    describe('is the same byte for byte', () => {
      test.for(Object.entries(SCRIPTS))('%s', async ([, steps]) => {
        await using direct = await ground.direct();
        const expected = await transcript(direct, steps);
        await using through = await ground.through();
        expect(await transcript(through, steps)).toEqual(expected);
        await using split = await ground.through();
        expect(await transcript(split, steps, 3)).toEqual(expected);
      });
    });

    describe('a denied statement is answered in the order of a real error', () => {
      /** What fails in the same place: one that is denied, and one that the server itself refuses. */
      const scripts: Readonly<Record<string, (bad: string) => readonly Step[]>> = {
        alone: (bad) => [step(unnamed(bad), sync()), step(unnamed('SELECT 1'), sync())],
        'in the middle of a pipeline': (bad) => [
          step(unnamed('SELECT 1'), unnamed(bad), unnamed('SELECT 2'), sync()),
          step(unnamed('SELECT 3'), sync()),
        ],
        'in the middle of many pipelines': (bad) => [
          {
            send: all(...Array.from({ length: 30 }, (_, i) => all(unnamed(i % 5 === 2 ? bad : `SELECT ${i}`), sync()))),
            count: 30,
          },
        ],
        'in a transaction': (bad) => [
          step(query('BEGIN')),
          step(unnamed(bad), sync()),
          step(unnamed('SELECT 1'), sync()),
          step(query(bad)),
          step(query('ROLLBACK')),
          step(query('SELECT 1')),
        ],
        'simple, in a transaction': (bad) => [
          step(query('BEGIN')),
          step(query(bad)),
          step(query('SELECT 1')),
          step(query('COMMIT')),
        ],
        'simple, many at once': (bad) => [
          {
            send: all(query('SELECT 1'), query(bad), query('SELECT 2'), query(bad), query(bad), query('SELECT 3')),
            count: 6,
          },
        ],
        'simple, many at once, in a transaction': (bad) => [
          { send: all(query('BEGIN'), query(bad), query('SELECT 2'), query('ROLLBACK'), query('SELECT 3')), count: 5 },
        ],
        'with a savepoint to go back to': (bad) => [
          step(query('BEGIN; SAVEPOINT a')),
          step(unnamed(bad), sync()),
          step(query('ROLLBACK TO a')),
          step(unnamed('SELECT 1'), sync()),
          step(query('COMMIT')),
        ],
        'as a named statement': (bad) => [
          step(parse('n', bad), describing('S', 'n'), bind({ statement: 'n' }), execute(''), sync()),
          step(bind({ statement: 'n' }), execute(''), sync()),
          step(parse('n', 'SELECT 1'), bind({ statement: 'n' }), execute(''), sync()),
        ],
        'by PREPARE': (bad) => [
          step(query(`PREPARE n AS ${bad}`)),
          step(query('EXECUTE n')),
          step(parse('n', 'SELECT 1'), bind({ statement: 'n' }), execute(''), sync()),
        ],
        'with Flush instead of Sync': (bad) => [
          { send: all(unnamed('SELECT 1'), parse('', bad), flush()), until: 'E' },
          step(bind(), execute(''), sync()),
        ],
        'and a Query that is skipped': (bad) => [
          { send: all(parse('', bad), flush()), until: 'E' },
          step(query('SELECT 1'), sync()),
        ],
      };
      test.for(Object.entries(scripts))('%s', async ([, script]) => {
        await using direct = await ground.direct();
        const expected = await order(direct, script('SELECT * FROM never_there'));
        await using through = await ground.through('reader', 'reader');
        expect(await order(through, script('DELETE FROM items'))).toEqual(expected);
        expect(await ground.server.sql('SELECT count(*)::int AS n FROM items', undefined, 'app')).toEqual([{ n: 300 }]);
      });
    });

    test('a string of several statements is denied whole', async () => {
      await using through = await ground.through('reader', 'reader');
      expect(shapeOf(await through.query('SELECT 1; DELETE FROM items'))).toEqual(['E 42501', 'ZI']);
      expect(shapeOf(await through.query('BEGIN; DELETE FROM items; COMMIT'))).toEqual(['E 42501', 'ZI']);
    });

    test('pipelines that are sent while earlier ones fail keep their statements and portals', async () => {
      const run = async (client: WireClient): Promise<string[]> => {
        // The first pipeline waits for a lock's worth of time on the server, so that its error comes when the others are under way.
        client.send(unnamed('SELECT pg_sleep(0.2), 1/0'), sync(), query('BEGIN'));
        client.send(parse('late', 'SELECT 1 AS late'), bind({ portal: 'p', statement: 'late' }), sync());
        const first = await client.until('Z');
        client.send(execute('p'), bind({ portal: 'q', statement: 'late' }), execute('q'), sync(), query('COMMIT'));
        return shapeOf([...first, ...(await client.until('Z', 4))]);
      };
      await using direct = await ground.direct();
      await using through = await ground.through();
      expect(await run(through)).toEqual(await run(direct));
    });

    test('rows are masked by the statement that the server runs, whatever answers are still under way', async () => {
      await using holder = await ground.direct();
      await holder.query('BEGIN; LOCK TABLE people');
      await using client = await ground.through('reader', 'reader');
      // The answer to the first Parse comes after the second was sent; the server takes both names for the unnamed statement.
      client.send(parse('', 'SELECT id, name FROM items WHERE id = 1'), describing('S', ''), flush());
      client.send(parse('', 'SELECT id, email FROM people WHERE id = 1'), flush());
      await client.until('T');
      client.send(bind(), execute(''), sync());
      await holder.query('ROLLBACK');
      const messages = await client.until('Z');
      expect(Buffer.concat(messages.map(({ body }) => body)).toString('latin1')).not.toContain('example.com');
      expect(messages.filter(({ type }) => type === 'D').map(rowOf)).toEqual([['1', '***']]);
    });

    test('rows are masked alike wherever the bytes of the server are cut', async () => {
      let cut = Number.POSITIVE_INFINITY;
      let answered = 0;
      const relay = net.createServer({ noDelay: true }, (socket) => {
        const server = net.connect(ground.server.port, '127.0.0.1');
        const end = (): void => {
          socket.destroy();
          server.destroy();
        };
        for (const one of [socket, server]) one.on('error', end).on('close', end);
        socket.on('data', (chunk: Buffer) => server.write(chunk));
        server.on('data', (chunk: Buffer) => {
          answered = chunk.length;
          socket.write(chunk.subarray(0, cut), () => {
            if (cut < chunk.length) setImmediate(() => socket.write(chunk.subarray(cut)));
          });
        });
      });
      relay.listen(0, '127.0.0.1');
      await once(relay, 'listening');
      const target = { database: 'app', username: 'postgres', password: ground.server.password };
      const yaml = (port: number): string => connectionYaml('reader', { ...target, port });
      await ground.edit('connection-reader.yaml', yaml((relay.address() as net.AddressInfo).port));
      try {
        await using client = await ground.through('reader', 'reader');
        const ask = (): Promise<WireMessage[]> =>
          client.query('SELECT id, email, note FROM people WHERE id < 5 ORDER BY id');
        const whole = await ask();
        const length = answered;
        expect(whole.filter(({ type }) => type === 'D').map(rowOf)).toEqual(
          [1, 2, 3, 4].map((id) => [`${id}`, '***', `note ${id}`]),
        );
        for (cut = 1; cut < length; cut++) expect(await ask(), `cut at ${cut}`).toEqual(whole);
      } finally {
        relay.close();
        await ground.edit('connection-reader.yaml', yaml(ground.server.port));
      }
    });

    test('search_path moves: what is prepared is judged again at Bind and Execute', async () => {
      await using client = await ground.through('reader', 'reader');
      client.send(parse('s', 'SELECT * FROM items WHERE id = 1'), bind({ statement: 's' }), execute(''), sync());
      expect(shapeOf(await client.until('Z'))).toEqual(['1', '2', 'D', 'C SELECT 1', 'ZI']);
      await client.query('SET search_path TO other, public');
      client.send(bind({ statement: 's' }), execute(''), sync());
      const [error, ready] = await client.until('Z');
      expect(fieldsOf(error!)).toMatchObject({ C: '42501', M: expect.stringContaining('other.items') });
      expect(ready!.body.toString()).toBe('I');
      // All at once: the SET is not answered when the Bind arrives.
      client.send(query('SET search_path TO public'), bind({ statement: 's' }), execute(''), sync());
      expect(shapeOf(await client.until('Z', 2)).slice(-4)).toEqual(['2', 'D', 'C SELECT 1', 'ZI']);
      client.send(
        query('BEGIN'),
        query('SET LOCAL search_path TO other'),
        bind({ statement: 's' }),
        execute(''),
        sync(),
      );
      // PostgreSQL 18 reports the search_path, and that it went back.
      const refused = shapeOf(await client.until('Z', 3)).filter((line) => line !== 'S');
      expect(refused.slice(-2)).toEqual(['E 42501', 'ZE']);
      await client.query('ROLLBACK');
      client.send(bind({ statement: 's' }), execute(''), sync());
      expect(shapeOf(await client.until('Z'))).toEqual(['2', 'D', 'C SELECT 1', 'ZI']);
    });

    test('the policy changes: what is prepared is judged again, and the next command obeys', async () => {
      await using client = await ground.through('reader', 'reader');
      client.send(
        query('BEGIN'),
        parse('s', 'SELECT id FROM items WHERE id = 1'),
        bind({ portal: 'p', statement: 's' }),
        sync(),
      );
      await client.until('Z', 2);
      try {
        const { changed } = await ground.edit('reader.yaml', READER.replace('"public.*"', 'public.people'));
        expect(changed).toBe(true);
        client.send(execute('p'), sync());
        expect(shapeOf(await client.until('Z'))).toEqual(['E 42501', 'ZE']);
        await client.query('ROLLBACK');
        client.send(bind({ statement: 's' }), sync());
        expect(shapeOf(await client.until('Z'))).toEqual(['E 42501', 'ZI']);
        expect(shapeOf(await client.query('SELECT id FROM items WHERE id = 1'))).toEqual(['E 42501', 'ZI']);
      } finally {
        await ground.edit('reader.yaml', READER);
      }
      client.send(bind({ statement: 's' }), execute(''), sync());
      expect(shapeOf(await client.until('Z'))).toEqual(['2', 'D', 'C SELECT 1', 'ZI']);
    });

    test('SHOW sallyport.session in the extended protocol, described and in binary', async () => {
      await using client = await ground.through('reader', 'reader');
      for (const results of [[0], [1]]) {
        client.send(parse('', 'SHOW sallyport.session'), describing('S', ''), bind({ results }), execute(''), sync());
        const messages = await client.until('Z');
        const rows = new Map(messages.filter(({ type }) => type === 'D').map(rowOf) as [string, string][]);
        expect(rows.get('subject')).toBe('system:serviceaccount:default:reader');
        expect(rows.get('connection')).toBe('default/reader');
      }
      client.send(unnamed('SHOW sallyport.permissions'), sync());
      const permissions = (await client.until('Z')).filter(({ type }) => type === 'D').map(rowOf);
      expect(permissions[0]?.[5]).toContain('default/reader/read');
    });

    test('FunctionCall of a function that does not exist fails as it does directly', async () => {
      const steps = [step(query('BEGIN')), step(functionCall(999999, [])), step(query('ROLLBACK'))];
      await using direct = await ground.direct();
      await using through = await ground.through();
      expect(await order(through, steps)).toEqual(await order(direct, steps));
    });

    test('FunctionCall is refused where something is masked, and by the rules where nothing is', async () => {
      await using client = await ground.through('reader', 'reader');
      client.send(functionCall(715, [int32(7)]));
      expect(shapeOf(await client.until('Z'))).toEqual(['E 42501', 'ZI']);
      expect(shapeOf(await client.query('SELECT 1'))).toEqual(['T', 'D', 'C SELECT 1', 'ZI']);
    });
  });
}
