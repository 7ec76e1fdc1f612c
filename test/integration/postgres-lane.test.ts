/** A PostgreSQL session through Sallyport: simple queries, cancel, notifications, limits, and the ends that a session can have. */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import * as encode from '../../proxy/protocols/postgres/wire/encode.ts';
import { type LaneGround, startLaneGround } from '../support/lane-ground.ts';
import { recordedEvents, recordedTexts } from '../support/recorded.ts';
import { describeWith, postgresServer } from '../support/requires.ts';
import { createToken } from '../support/sallyport.ts';
import type { PostgresVersion } from '../support/server-binaries.ts';
import { cancel, fieldsOf, rowOf, shapeOf, unnamed, WireClient, type WireMessage } from '../support/wire-client.ts';
import { type Step, transcript } from '../support/wire-compare.ts';

const { query, sync, terminate, parse, execute } = encode;
const all = (...parts: Uint8Array[]): Buffer => Buffer.concat(parts);
const step = (...parts: Uint8Array[]): Step => ({ send: all(...parts) });

const SCHEMA = `CREATE TABLE items (id int PRIMARY KEY, name text NOT NULL);
INSERT INTO items SELECT i, 'item ' || i FROM generate_series(1, 100) i;
CREATE TABLE log (line text);
CREATE FUNCTION warn() RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE WARNING 'careful'; RAISE NOTICE 'n'; RETURN 1; END$$;`;

const rule = (account: string, limits: string): string => `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: ${account}}
spec:
  connections: {names: [limited]}
  subjects: [{serviceAccount: {name: ${account}}}]
  rules:
    - name: all
      effect: Allow
      sql: {statements: ["*"], relations: ["*.*"], functions: ["*.*"]}
      limits: {${limits}}
`;

const open = (name: string, subject: string, more: string): string => `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: ${name}}
spec:
  connections: {names: [${name}]}
  subjects: [{serviceAccount: {name: ${subject}}}]
  rules:
    - name: read
      effect: Allow
      sql: {statements: [Read], relations: ["public.*"]}
${more}`;

const RESOURCES = {
  'limits.yaml': [
    rule('rows', 'maxRowsReturned: 5'),
    rule('bytes', 'maxBytesReturned: 2000'),
    rule('changes', 'maxRowsAffected: 3'),
    rule('duration', 'maxDuration: 1s'),
    rule('rate', 'commandsPerMinute: 5'),
    open('few', 'reader', ''),
  ].join('---\n'),
  'observe.yaml': open(
    'observe',
    'reader',
    `    - name: never-truncate
      effect: Deny
      sql: {statements: [Truncate]}
`,
  ),
  'reader.yaml': open(
    'reader',
    'reader',
    `    - name: deletes
      effect: Allow
      sql: {statements: [Delete], relations: [public.log]}
    - name: people-decide
      effect: RequireApproval
      sql: {statements: [Delete]}
      approval: {approvers: {groups: [dba]}}
`,
  ),
};

const SCRIPTS: Readonly<Record<string, readonly Step[]>> = {
  'rows, nothing, an empty string': [
    step(query('SELECT * FROM items ORDER BY id')),
    step(query('SELECT FROM items LIMIT 2')),
    step(query('')),
    step(query('-- only a comment')),
    step(query(';;')),
  ],
  'several statements in one string': [
    step(query('SELECT 1; SELECT 2, 3; SET application_name = x; SHOW application_name')),
    step(query('SELECT 1; SELECT 1/0; SELECT 2')),
    step(query('BEGIN; SELECT 1; COMMIT; SELECT 2')),
    step(query('INSERT INTO log VALUES (1); SELECT 1/0')),
    step(query('SELECT count(*) FROM log')),
  ],
  'transactions and their status': [
    { send: all(...['BEGIN', 'SELECT 1', 'SELECT 1/0', 'SELECT 1', 'ROLLBACK', 'COMMIT'].map(query)), count: 6 },
    step(query('BEGIN; SELECT 1/0')),
    step(query('COMMIT AND CHAIN')),
    step(query('ROLLBACK')),
  ],
  'errors of every kind': [
    step(query('SELEC 1')),
    step(query('SELECT nothing')),
    step(query('SELECT * FROM nowhere')),
    step(query("SELECT 'abc'::int")),
    step(query("INSERT INTO items VALUES (1, 'x')")),
    step(query('SELECT no_such_function(1)')),
  ],
  'notices and warnings': [
    step(query('SELECT warn()')),
    step(query('DROP TABLE IF EXISTS nowhere')),
    step(query("SET client_min_messages TO debug1; DO $$BEGIN RAISE DEBUG 'x'; END$$; RESET client_min_messages")),
    step(query('COMMIT')),
  ],
  'changed rows': [
    step(query('BEGIN')),
    step(query("INSERT INTO items SELECT i, 'x' FROM generate_series(1000, 1010) i RETURNING id")),
    step(query("UPDATE items SET name = 'y' WHERE id > 1000")),
    step(query('DELETE FROM items WHERE id >= 1000')),
    step(query('CREATE TABLE made AS SELECT 1 AS one')),
    step(query('ROLLBACK')),
  ],
  parameters: [
    step(query("SET TimeZone TO 'Europe/Berlin'; SELECT now() > 'epoch'; RESET TimeZone")),
    step(query("SET application_name TO 'ä'; SHOW application_name")),
    step(query('SET search_path TO pg_catalog; SHOW search_path')),
  ],
  'LISTEN and NOTIFY': [
    step(query('LISTEN there')),
    step(query("NOTIFY there, 'first'; NOTIFY there")),
    step(query('BEGIN')),
    step(query("SELECT pg_notify('there', 'second')")),
    step(query('COMMIT')),
    step(query('UNLISTEN *')),
  ],
  'many without waiting': [
    {
      send: all(...Array.from({ length: 300 }, (_, i) => query(i % 11 === 5 ? 'SELECT 1/0' : `SELECT ${i}, 'x'`))),
      count: 300,
    },
  ],
  'rows of odd sizes': [
    step(query("SELECT repeat('x', n) FROM generate_series(1, 70000, 9973) n")),
    step(query("SELECT repeat('y', 65530), repeat('z', 65536), NULL, ''")),
  ],
};

const VERSIONS: readonly PostgresVersion[] = [15, 18];

for (const version of VERSIONS) {
  describeWith([postgresServer(version)], `PostgreSQL ${version}`, () => {
    let ground: LaneGround;
    beforeAll(async () => {
      ground = await startLaneGround({
        version,
        schema: SCHEMA,
        connections: {
          reader: '',
          limited: '',
          observe: 'mode: Observe',
          few: 'limits: {maxSessions: 2}',
        },
        resources: RESOURCES,
      });
    });
    afterAll(() => ground[Symbol.asyncDispose]());

    const connection = async (name: string, account: string): Promise<pg.Client> => {
      const password = await ground.token(account);
      const client = new pg.Client({
        host: '127.0.0.1',
        port: ground.port(name),
        user: 'x',
        database: 'app',
        password,
      });
      await client.connect();
      return client;
    };

    describe('is the same byte for byte', () => {
      test.for(Object.entries(SCRIPTS))('%s', async ([, steps]) => {
        await using direct = await ground.direct();
        const expected = await transcript(direct, steps);
        await using through = await ground.through();
        const own = through.key.readInt32BE(0);
        expect(await transcript(through, steps)).toEqual(expected);
        // The process id in the key is the server's own, as NOTIFY and the isolation of sessions need it.
        const known = await ground.server.sql('SELECT 1 FROM pg_stat_activity WHERE pid = $1', [own]);
        expect(known).toHaveLength(1);
      });

      test.for([0, 2])('start-up of protocol 3.%d', async (minor) => {
        const shown = (client: WireClient): string[] =>
          client.messages
            .filter(({ type }) => type === 'S' || type === 'Z' || type === 'v')
            .map(({ type, body }) => `${type} ${body.toString()}`);
        const options = { minor, parameters: { application_name: 'me', TimeZone: 'UTC', search_path: 'pg_catalog' } };
        await using direct = await ground.direct(version >= 18 ? options : { ...options, minor: 0 });
        await using through = await ground.through(undefined, undefined, options);
        expect(shown(through)).toEqual(shown(direct));
        expect(through.key.length).toBe(minor === 2 ? 36 : 8);
        expect(await transcript(through, [step(query('SHOW search_path'))])).toEqual(
          await transcript(direct, [step(query('SHOW search_path'))]),
        );
      });

      test('a value of 50 MB', async () => {
        const sql = "SELECT repeat('0123456789', 5000000) AS large, 1 AS small";
        await using through = await ground.through();
        const messages = await through.query(sql);
        expect(shapeOf(messages)).toEqual(['T', 'D', 'C SELECT 1', 'ZI']);
        const body = messages[1]!.body;
        expect(body.length).toBe(2 + 4 + 50_000_000 + 4 + 1);
        expect(body.subarray(6, 6 + 50_000_000).equals(Buffer.alloc(50_000_000, '0123456789'))).toBe(true);
      });

      test('a session that the server ends', async () => {
        const kill = async (client: WireClient): Promise<string[]> => {
          await ground.server.sql('SELECT pg_terminate_backend($1)', [client.key.readInt32BE(0)]);
          return (await client.toEnd()).map(({ type, body }) => `${type} ${fieldsOf({ type, body }).M}`);
        };
        await using direct = await ground.direct();
        await using through = await ground.through();
        expect(await kill(through)).toEqual(await kill(direct));
      });

      test('what was sent before Terminate is done and answered', async () => {
        const run = async (client: WireClient): Promise<string[]> => {
          client.send(query("INSERT INTO log VALUES ('before the end')"), unnamed('SELECT 2'), sync(), terminate());
          return shapeOf(await client.toEnd());
        };
        await using direct = await ground.direct();
        await using through = await ground.through();
        expect(await run(through)).toEqual(await run(direct));
        expect(
          await ground.server.sql("SELECT 1 FROM log WHERE line = 'before the end'", undefined, 'app'),
        ).toHaveLength(2);
      });
    });

    describe('cancel', () => {
      test('reaches the statement, as fast as directly', async () => {
        const time = async (client: WireClient, port: number): Promise<number> => {
          const done = client.query('SELECT pg_sleep(30)');
          await expect.poll(() => running(client)).toBe(1);
          const started = performance.now();
          await cancel(port, client.key);
          const messages = await done;
          expect(shapeOf(messages)).toEqual(['T', 'E 57014', 'ZI']);
          return performance.now() - started;
        };
        const running = async (client: WireClient): Promise<number> => {
          const sql = "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'";
          return (await ground.server.sql(sql, [client.key.readInt32BE(0)])).length;
        };
        await using direct = await ground.direct();
        await using through = await ground.through();
        const directly = await time(direct, ground.server.port);
        expect(await time(through, ground.port())).toBeLessThan(directly + 250);
        expect(shapeOf(await through.query('SELECT 1'))).toEqual(['T', 'D', 'C SELECT 1', 'ZI']);
      });

      test('with a wrong secret does nothing', async () => {
        await using through = await ground.through();
        const done = through.query("SELECT pg_sleep(0.5), 'not cancelled'");
        const wrong = Buffer.from(through.key);
        wrong[7] = wrong[7]! ^ 1;
        await cancel(ground.port(), wrong);
        expect(shapeOf(await done)).toEqual(['T', 'D', 'C SELECT 1', 'ZI']);
      });
    });

    describe('notifications between sessions', () => {
      test('come while nothing is asked', async () => {
        await using listening = await ground.through();
        await using speaking = await ground.through();
        await listening.query('LISTEN there');
        await speaking.query("NOTIFY there, 'hello'");
        const [message] = await listening.until('A');
        expect(message!.body.readInt32BE(0)).toBe(speaking.key.readInt32BE(0));
        expect(message!.body.toString('utf8', 4)).toBe('there\0hello\0');
      });
    });

    describe('SHOW', () => {
      const column = (messages: readonly WireMessage[]): (string | null)[][] =>
        messages.filter(({ type }) => type === 'D').map(rowOf);

      test('sallyport.session and sallyport.permissions, within a transaction too, and not in a failed one', async () => {
        await using client = await ground.through('reader', 'reader');
        const rows = new Map(column(await client.query('SHOW sallyport.session')) as [string, string][]);
        expect(rows.get('subject')).toBe('system:serviceaccount:default:reader');
        expect(rows.get('connection')).toBe('default/reader');
        const permissions = column(await client.query('show "sallyport.permissions"'));
        expect(permissions.map((row) => row[5])).toEqual(
          expect.arrayContaining(['default/reader/read', 'default/reader/people-decide']),
        );
        await client.query('BEGIN');
        expect(column(await client.query('SHOW sallyport.session'))).toContainEqual(['session', rows.get('session')]);
        await client.query('SELECT 1/0');
        expect(shapeOf(await client.query('SHOW sallyport.session'))).toEqual(['E 25P02', 'ZE']);
      });
    });

    describe('limits', () => {
      test('on rows returned, in both protocols, within a transaction, and the session goes on', async () => {
        await using client = await ground.through('limited', 'rows');
        for (let round = 0; round < 60; round++) {
          const error = await client.errorOf(`SELECT n, ${round} FROM generate_series(1, ${round % 2 ? 20000 : 6}) n`);
          expect(error).toMatchObject({ C: '54000', D: expect.stringContaining('SPG009') });
          // A cancel that comes late must not hit the next statement.
          expect(shapeOf(await client.query('SELECT 1'))).toEqual(['T', 'D', 'C SELECT 1', 'ZI']);
        }
        expect(shapeOf(await client.query('SELECT n FROM generate_series(1, 5) n')).at(-2)).toBe('C SELECT 5');
        client.send(unnamed('SELECT n FROM generate_series(1, 6) n'), unnamed('SELECT 2'), sync());
        const pipeline = shapeOf(await client.until('Z'));
        expect(pipeline.filter((line) => line.startsWith('E') || line.startsWith('C'))).toEqual(['E 54000']);
        await client.query('BEGIN');
        expect(shapeOf(await client.query('SELECT n FROM generate_series(1, 30000) n')).at(-2)).toBe('E 54000');
        expect(shapeOf(await client.query('ROLLBACK'))).toEqual(['C ROLLBACK', 'ZI']);
      });

      test('on rows returned, by one of several statements: one error, and nothing behind it', async () => {
        await using client = await ground.through('limited', 'rows');
        const messages = await client.query('SELECT 1; SELECT n FROM generate_series(1, 6) n; SELECT 2; SELECT 3');
        const shape = shapeOf(messages);
        expect(shape.filter((line) => line.startsWith('E'))).toEqual(['E 54000']);
        expect(shape.at(-2)).toBe('E 54000');
        expect(shape.filter((line) => line.startsWith('C'))).toEqual(['C SELECT 1']);
      });

      test('on bytes returned', async () => {
        await using client = await ground.through('limited', 'bytes');
        expect(await client.errorOf("SELECT repeat('x', 3000)")).toMatchObject({
          D: expect.stringContaining('SPG010'),
        });
        expect(shapeOf(await client.query("SELECT repeat('x', 500)"))).toEqual(['T', 'D', 'C SELECT 1', 'ZI']);
      });

      test('on rows affected, in both protocols and within a transaction: nothing of it stays', async () => {
        await using client = await ground.through('limited', 'changes');
        const count = async (): Promise<unknown> =>
          (await ground.server.sql('SELECT count(*)::int AS n FROM items', undefined, 'app'))[0]?.['n'];
        expect(await client.errorOf('DELETE FROM items WHERE id <= 4')).toMatchObject({
          C: '54000',
          D: expect.stringContaining('SPG011'),
        });
        expect(await count()).toBe(100);
        client.send(unnamed('DELETE FROM items WHERE id <= 4 RETURNING id'), sync());
        expect(shapeOf(await client.until('Z')).slice(-2)).toEqual(['E 54000', 'ZI']);
        expect(await count()).toBe(100);
        client.send(query('BEGIN'), query('DELETE FROM items WHERE id <= 4'), query('SELECT 1'), query('COMMIT'));
        expect(shapeOf(await client.until('Z', 4)).slice(2)).toEqual([
          'E 54000',
          'ZE',
          'E 25P02',
          'ZE',
          'C ROLLBACK',
          'ZI',
        ]);
        expect(await count()).toBe(100);
        expect(shapeOf(await client.query('UPDATE items SET name = name WHERE id <= 3'))).toEqual(['C UPDATE 3', 'ZI']);
        client.send(unnamed('UPDATE items SET name = name WHERE id <= 3 RETURNING id'), unnamed('SELECT 1'), sync());
        expect(shapeOf(await client.until('Z'))).toEqual([
          '1',
          '2',
          'T',
          'D',
          'D',
          'D',
          'C UPDATE 3',
          '1',
          '2',
          'T',
          'D',
          'C SELECT 1',
          'ZI',
        ]);
        expect(shapeOf(await client.query('INSERT INTO log VALUES (1) RETURNING line'))).toEqual([
          'T',
          'D',
          'C INSERT 0 1',
          'ZI',
        ]);
        expect(shapeOf(await client.query("INSERT INTO items VALUES (1, 'taken')"))).toEqual(['E 23505', 'ZI']);
        expect(await client.errorOf('DELETE FROM items WHERE id = 1; SELECT 1')).toMatchObject({
          C: '0A000',
          D: expect.stringContaining('SPG020'),
        });
      });

      test('on the duration', async () => {
        await using client = await ground.through('limited', 'duration');
        const error = await client.errorOf('SELECT pg_sleep(20)');
        expect(error).toMatchObject({ C: '57014', D: expect.stringContaining('SPG012') });
        expect(shapeOf(await client.query('SELECT pg_sleep(0.1)'))).toEqual(['T', 'D', 'C SELECT 1', 'ZI']);
      });

      test('on the duration: what stands before it in a pipeline is not cancelled for it', async () => {
        await using client = await ground.through('limited', 'duration');
        client.send(...Array.from({ length: 3 }, () => query('SELECT pg_sleep(0.6)')));
        expect(shapeOf(await client.until('Z', 3)).filter((line) => /^[CE]/.test(line))).toEqual(
          Array(3).fill('C SELECT 1'),
        );
      });

      test('on commands in a minute', async () => {
        await using client = await ground.through('limited', 'rate');
        const codes: (string | undefined)[] = [];
        for (let i = 0; i < 7; i++) codes.push(shapeOf(await client.query(`SELECT ${i}`)).at(-2));
        expect(codes.filter((code) => code === 'C SELECT 1').length).toBeLessThanOrEqual(5);
        expect(codes.at(-1)).toBe('E 53400');
      });

      test('on sessions', async () => {
        await using first = await ground.through('few', 'reader');
        await using second = await ground.through('few', 'reader');
        await expect(ground.through('few', 'reader')).rejects.toMatchObject({ fields: { C: '53300' } });
        expect(shapeOf(await second.query('SELECT 1')).at(-1)).toBe('ZI');
        first.send(terminate());
        await first.toEnd();
        await using third = await ground.through('few', 'reader');
        expect(shapeOf(await third.query('SELECT 1')).at(-1)).toBe('ZI');
      });
    });

    describe('rules', () => {
      test('Observe lets pass what no rule allows, and not what one denies', async () => {
        await using client = await ground.through('observe', 'reader');
        expect(shapeOf(await client.query("INSERT INTO log VALUES ('observed')"))).toEqual(['C INSERT 0 1', 'ZI']);
        expect(await client.errorOf('TRUNCATE log')).toMatchObject({
          C: '42501',
          D: expect.stringContaining('never-truncate'),
        });
        await expect(ground.through('observe', 'stranger')).rejects.toThrow('SPG022');
      });

      test('RequireApproval where nobody can approve is refused, with the name of the rule', async () => {
        await using client = await ground.through('reader', 'reader');
        const error = await client.errorOf('DELETE FROM log');
        expect(error).toMatchObject({ C: '42501', M: expect.stringContaining('default/reader/people-decide') });
        expect(error.D).toContain('SPG032');
        client.send(unnamed('DELETE FROM log'), sync());
        expect(shapeOf(await client.until('Z')).slice(-2)).toEqual(['E 42501', 'ZI']);
      });

      test('who only reads runs under READ ONLY, whatever gets past the rules', async () => {
        await using client = await ground.through('few', 'reader');
        expect(
          (await client.query('SHOW transaction_read_only')).map((message) => message.type === 'D' && rowOf(message)),
        ).toContainEqual(['on']);
        for (const sql of [
          'SET transaction_read_only = off',
          'BEGIN READ WRITE',
          'SET default_transaction_read_only TO 0',
        ])
          expect(await client.errorOf(sql)).toMatchObject({ C: '42501' });
      });

      test('a role and settings that change what is read are refused', async () => {
        await using client = await ground.through('reader', 'reader');
        for (const sql of [
          'SET ROLE pg_monitor',
          'SET SESSION AUTHORIZATION postgres',
          "SET client_encoding TO 'LATIN1'",
          "SET NAMES 'LATIN1'",
          'SET standard_conforming_strings = off',
          "SELECT set_config('client_encoding', 'LATIN1', false)",
          "SELECT set_config('role', 'pg_monitor', false)",
          'SET session_replication_role = replica',
        ])
          expect(await client.errorOf(sql), sql).toMatchObject({ C: '42501' });
      });

      test('what the server is made to report of its encoding ends the session', async () => {
        await ground.server.sql(
          "CREATE OR REPLACE FUNCTION sneak() RETURNS text LANGUAGE sql AS $$SELECT set_config('client_encoding', 'LATIN1', false)$$",
          undefined,
          'app',
        );
        await using client = await ground.through();
        const messages = client.send(query('SELECT sneak()')).toEnd();
        expect(fieldsOf((await messages).at(-1)!)).toMatchObject({ S: 'FATAL', D: expect.stringContaining('SPG019') });
      });

      test('access that is withdrawn ends the session; another session of somebody else goes on', async () => {
        await using other = await ground.through();
        await using client = await ground.through('reader', 'reader');
        try {
          await ground.edit('reader.yaml', RESOURCES['reader.yaml'].replace('{name: reader}}]', '{name: somebody}}]'));
          const [end] = await client.toEnd();
          expect(fieldsOf(end!)).toMatchObject({ S: 'FATAL', C: '57P01', M: expect.stringContaining('withdrawn') });
          await expect(ground.through('reader', 'reader')).rejects.toThrow('SPG022');
          expect(shapeOf(await other.query('SELECT 1')).at(-1)).toBe('ZI');
        } finally {
          await ground.edit('reader.yaml', RESOURCES['reader.yaml']);
        }
        await using again = await ground.through('reader', 'reader');
        expect(shapeOf(await again.query('SELECT 1')).at(-1)).toBe('ZI');
      });

      test('a token that expires ends the session', async () => {
        const password = await createToken(ground.state, {
          subject: 'system:serviceaccount:default:reader',
          ttl: '3s',
        });
        await using client = await WireClient.connect({ port: ground.port('reader'), database: 'app', password });
        const [end] = await client.toEnd();
        expect(fieldsOf(end!)).toMatchObject({
          S: 'FATAL',
          C: '28000',
          M: expect.stringContaining('token has expired'),
        });
      });
    });

    test('20,000 statements from 8 clients are in the record whole', async () => {
      const clients = await Promise.all(Array.from({ length: 8 }, () => connection('everything', 'everything')));
      await Promise.all(
        clients.map(async (client, c) => {
          for (let i = 0; i < 2500; i += 50) {
            const batch = Array.from({ length: 50 }, (_, k) =>
              k % 2 === 0
                ? client.query(`SELECT 'burst ${c}.${i + k}'`)
                : client.query('SELECT $1::text', [`burst ${c}.${i + k}`]),
            );
            await Promise.all(batch);
          }
        }),
      );
      await Promise.all(clients.map((client) => client.end()));
      const events = (await recordedEvents(ground.state)).filter(({ e }) => e === 'command.received');
      const found = new Set(
        events.flatMap(
          (event) =>
            /burst \d+\.\d+/.exec(`${event['text']} ${JSON.stringify(event['parameters'] ?? event['values'])}`) ?? [],
        ),
      );
      expect(found.size).toBe(20_000);
    });

    test('the command that is denied stands in the record before its answer is read', async () => {
      await using client = await ground.through('reader', 'reader');
      await client.errorOf('DROP TABLE items -- marked');
      expect(await recordedTexts(ground.state)).toContain('DROP TABLE items -- marked');
    });

    test('Execute without Parse, Parse without Sync, then a simple Query', async () => {
      await using client = await ground.through();
      client.send(execute('x'), sync(), parse('a', 'SELECT 1'), query('SELECT 2'));
      expect(shapeOf(await client.until('Z', 2))).toEqual(['E 34000', 'ZI', '1', 'T', 'D', 'C SELECT 1', 'ZI']);
    });
  });
}

describeWith([postgresServer(18)], 'with two workers', () => {
  test('a cancel finds the worker that has the session', async () => {
    await using ground = await startLaneGround({ version: 18, gateway: { workers: 2 } });
    for (let round = 0; round < 4; round++) {
      await using client = await ground.through();
      const done = client.query('SELECT pg_sleep(20)');
      const sleeping = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
      await expect.poll(async () => (await ground.server.sql(sleeping)).length).toBe(1);
      // New connections go round the workers, so that most of these arrive at the other one.
      await cancel(ground.port(), client.key);
      expect(shapeOf(await done)).toEqual(['T', 'E 57014', 'ZI']);
    }
  });
});

// The shortest times that a connection can be given: both are waited for at once.
describeWith([postgresServer(18)], 'sessions that last too long', () => {
  let ground: LaneGround;
  beforeAll(async () => {
    ground = await startLaneGround({
      version: 18,
      connections: { idle: 'limits: {idleTimeout: 10s}', short: 'limits: {maxSessionDuration: 1m}' },
      resources: { 'limits.yaml': `${open('idle', 'reader', '')}---\n${open('short', 'reader', '')}` },
    });
  });
  afterAll(() => ground[Symbol.asyncDispose]());

  test.concurrent('are ended when idle, which a running statement is not', { timeout: 90_000 }, async ({ expect }) => {
    await using client = await ground.through('idle', 'reader');
    const busy = await client.query('SELECT pg_sleep(12)');
    expect(shapeOf(busy)).toEqual(['T', 'D', 'C SELECT 1', 'ZI']);
    expect(shapeOf(await client.query('SELECT 1')).at(-1)).toBe('ZI');
    const [end] = await client.toEnd();
    expect(fieldsOf(end!)).toMatchObject({ S: 'FATAL', C: '57P01', M: expect.stringContaining('idle') });
  });

  test.concurrent('are ended whatever they do', { timeout: 90_000 }, async ({ expect }) => {
    await using client = await ground.through('short', 'reader');
    const started = performance.now();
    client.send(query('SELECT pg_sleep(300)'));
    const end = (await client.toEnd()).at(-1);
    expect(fieldsOf(end!)).toMatchObject({ S: 'FATAL', C: '57P01', M: expect.stringContaining('lasted longer') });
    expect(performance.now() - started).toBeGreaterThan(55_000);
    const running = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE '%300%'";
    await expect.poll(async () => (await ground.server.sql(running)).length, { timeout: 10_000 }).toBe(0);
  });
});
