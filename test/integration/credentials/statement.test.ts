/** A login for each autocommit statement or explicit transaction: what is carried over, what is refused, and that none is left. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import pg from 'pg';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import * as encode from '../../../proxy/protocols/postgres/wire/encode.ts';
import { type CredentialGround, EVERYTHING, startCredentialGround } from '../../support/credential-ground.ts';
import { describeWith, postgresServer, program } from '../../support/requires.ts';
import { clientProgram } from '../../support/server-binaries.ts';
import { cancel, rowOf, shapeOf, unnamed, WireClient } from '../../support/wire-client.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

const run = promisify(execFile);
const LOGIN = /^sallyport_login_[0-9a-f]{24}$/;

async function loginOf(client: pg.Client): Promise<string> {
  return String((await client.query<{ login: string }>('SELECT session_user AS login')).rows[0]?.login);
}

async function errorOf(work: Promise<unknown>): Promise<pg.DatabaseError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof pg.DatabaseError) return error;
    throw error;
  }
  throw new Error('this passed');
}

for (const version of [15, 18] as const) {
  describeWith(
    [postgresServer(version), program('psql', 'postgresql-client')],
    `logins for a statement, PostgreSQL ${version}`,
    () => {
      let ground: CredentialGround;
      beforeAll(async () => {
        ground = await startCredentialGround({
          version,
          rules: EVERYTHING,
          role: '      grantsFromPolicy: true\n      scope: Statement\n',
        });
      });
      afterAll(() => ground[Symbol.asyncDispose]());

      test('each statement and each transaction has a login of its own', async () => {
        const client = await ground.client();
        const names = [await loginOf(client), await loginOf(client), await loginOf(client)];
        expect(new Set(names).size).toBe(3);
        for (const name of names) expect(name).toMatch(LOGIN);
        await client.query('BEGIN');
        const within = [await loginOf(client), await loginOf(client)];
        expect(within[0]).toBe(within[1]);
        expect(await ground.logins()).toEqual([within[0]]);
        await client.query('ROLLBACK');
        await expect.poll(() => ground.logins()).toEqual([]);
        expect(await loginOf(client)).not.toBe(within[0]);
        // Idle, nobody is signed in.
        await expect.poll(() => ground.logins()).toEqual([]);
        await client.end();
        const events = await ground.record();
        const of = (e: string): unknown[] => events.filter((event) => event['e'] === e).map(({ username }) => username);
        for (const name of names) {
          expect(of('credential.issued').filter((each) => each === name)).toHaveLength(1);
          expect(of('credential.used').filter((each) => each === name)).toHaveLength(1);
          await expect
            .poll(async () =>
              (await ground.record()).filter(({ e, username }) => e === 'credential.revoked' && username === name),
            )
            .toHaveLength(1);
        }
      });

      test("parameters, also of functions, and the client's view of them go along", async () => {
        const client = await ground.client();
        await client.query("SET timezone TO 'Asia/Tokyo'; SET work_mem TO '7MB'");
        await client.query('SET search_path TO "Odd ""name""", public');
        expect((await client.query('SHOW timezone')).rows).toEqual([{ TimeZone: 'Asia/Tokyo' }]);
        expect((await client.query('SHOW work_mem')).rows).toEqual([{ work_mem: '7MB' }]);
        expect((await client.query('SHOW search_path')).rows).toEqual([{ search_path: '"Odd ""name""", public' }]);
        await client.query('RESET timezone');
        expect((await client.query('SHOW timezone')).rows).toEqual([{ TimeZone: 'UTC' }]);
        await client.query("BEGIN; SET LOCAL work_mem TO '9MB'; SET statement_timeout TO '33s'; COMMIT");
        expect((await client.query('SHOW work_mem')).rows).toEqual([{ work_mem: '7MB' }]);
        expect((await client.query('SHOW statement_timeout')).rows).toEqual([{ statement_timeout: '33s' }]);
        await client.query("SELECT set_config('lock_timeout', '44s', false)");
        expect((await client.query('SHOW lock_timeout')).rows).toEqual([{ lock_timeout: '44s' }]);
        await client.query('DISCARD ALL');
        expect((await client.query('SHOW lock_timeout')).rows).toEqual([{ lock_timeout: '0' }]);
        // A parameter that would end our own questions is no obstacle.
        await client.query("SET statement_timeout TO '1ms'");
        // The server may find the time to be over for this one too, and says so in its own words.
        const shown = (): Promise<unknown> =>
          client.query('SHOW statement_timeout').then(
            ({ rows }) => rows,
            ({ message }: Error) => message,
          );
        let seen = await shown();
        for (let tries = 0; seen === 'canceling statement due to statement timeout' && tries < 20; tries++)
          seen = await shown();
        expect(seen).toEqual([{ statement_timeout: '1ms' }]);
        await client.end();
      });

      test('named statements of the protocol go along, until they are closed or taken away', async () => {
        const client = await ground.client();
        const named = (n: number): Promise<pg.QueryResult> =>
          client.query({ name: 'by-id', text: 'SELECT total FROM orders WHERE id = $1', values: [n] });
        for (const n of [3, 4, 5]) expect((await named(n)).rows).toEqual([{ total: n * 10 }]);
        await client.query('BEGIN');
        for (const n of [6, 7]) expect((await named(n)).rows).toEqual([{ total: n * 10 }]);
        await client.query('COMMIT');
        expect((await client.query('EXECUTE "by-id" (8)')).rows).toEqual([{ total: 80 }]);
        await client.query('DEALLOCATE "by-id"');
        const gone = await errorOf(named(9));
        expect(gone).toMatchObject({ code: '26000', message: 'prepared statement "by-id" does not exist' });
        await client.end();
      });

      test('an error in a statement, and in a transaction, leaves what a server would', async () => {
        const client = await ground.client();
        expect(await errorOf(client.query('SELECT 1/0'))).toMatchObject({ code: '22012' });
        expect((await client.query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }]);
        await client.query('BEGIN');
        expect(await errorOf(client.query('SELECT $1::int', ['x']))).toMatchObject({ code: '22P02' });
        expect(await errorOf(client.query('SELECT 1'))).toMatchObject({ code: '25P02' });
        await client.query('ROLLBACK');
        await client.query('INSERT INTO orders VALUES (900, 1)');
        await client.query('BEGIN; INSERT INTO orders VALUES (901, 1); ROLLBACK');
        expect((await client.query('SELECT id FROM orders WHERE id >= 900')).rows).toEqual([{ id: 900 }]);
        await client.query('DELETE FROM orders WHERE id = 900');
        await client.end();
      });

      test('a pipeline of several commands: each has its own login, and answers come in order', async () => {
        const password = await ground.token();
        const port = ground.gateway.connection('app').port;
        await using client = await WireClient.connect({ port, database: 'app', password });
        const sql = [
          'SELECT session_user',
          'SELECT 1/0',
          'SELECT session_user',
          'BEGIN',
          'SELECT session_user',
          'COMMIT',
        ];
        client.send(...sql.flatMap((text) => [unnamed(text), encode.sync()]));
        const messages = await client.until('Z', sql.length);
        const shape = shapeOf(messages).filter((each) => /^[ZEC]/.test(each));
        expect(shape).toEqual([
          'C SELECT 1',
          'ZI',
          'E 22012',
          'ZI',
          'C SELECT 1',
          'ZI',
          'C BEGIN',
          'ZT',
          'C SELECT 1',
          'ZT',
          'C COMMIT',
          'ZI',
        ]);
        const names = messages.filter(({ type }) => type === 'D').map((row) => rowOf(row)[0]);
        expect(new Set(names).size).toBe(3);
        // Three of one pipeline are one implicit transaction, with one login; an error in it skips the rest.
        client.send(
          unnamed('SELECT session_user'),
          unnamed('SELECT session_user'),
          unnamed('SELECT 1/0'),
          unnamed('SELECT 2'),
          encode.sync(),
        );
        const one = await client.until('Z');
        const both = one.filter(({ type }) => type === 'D').map((row) => rowOf(row)[0]);
        expect(both).toHaveLength(2);
        expect(both[0]).toBe(both[1]);
        expect(shapeOf(one).at(-1)).toBe('ZI');
      });

      test('COPY in both directions', async () => {
        const psql = clientProgram('psql');
        const environment = { ...process.env, PGPASSWORD: await ground.token(), PGSSLMODE: 'disable' };
        const port = String(ground.gateway.connection('app').port);
        const script = `\\set ON_ERROR_STOP on
CREATE TABLE copied (id int, note text);
COPY copied FROM STDIN;
1\tone
2\ttwo
\\.
COPY copied TO STDOUT;
BEGIN;
COPY copied FROM STDIN;
3\tthree
\\.
SELECT count(*) FROM copied;
ROLLBACK;
SELECT count(*), count(DISTINCT session_user) FROM copied;
DROP TABLE copied;
\\d orders
`;
        const child = run(psql, ['-XAtq', '-h', '127.0.0.1', '-p', port, '-U', 'agent', '-d', 'app', '-f', '-'], {
          env: environment,
        });
        child.child.stdin?.end(script);
        const { stdout } = await child;
        expect(stdout.split('\n').slice(0, 4)).toEqual(['1\tone', '2\ttwo', '3', '2|1']);
        expect(stdout).toContain('total|integer');
        await expect.poll(() => ground.logins()).toEqual([]);
      });

      test('what one statement made, the next may change', async () => {
        const client = await ground.client();
        await client.query('CREATE TABLE step (id int)');
        await client.query('INSERT INTO step VALUES (1)');
        await client.query('ALTER TABLE step ADD COLUMN note text');
        await client.query("UPDATE step SET note = 'x'");
        expect((await client.query('SELECT * FROM step')).rows).toEqual([{ id: 1, note: 'x' }]);
        await client.query('DROP TABLE step');
        await client.end();
      });

      test('what would have to outlive its login is refused, with the reason', async () => {
        const client = await ground.client();
        for (const [sql, what] of [
          ['CREATE TEMP TABLE t (id int)', 'temporary object t'],
          ['DECLARE c CURSOR WITH HOLD FOR SELECT 1', 'cursor c WITH HOLD'],
          ['LISTEN news', 'LISTEN'],
          ['SELECT pg_advisory_lock(1)', 'lock of pg_advisory_lock'],
          ['SELECT pg_catalog.pg_try_advisory_lock(1)', 'lock of pg_try_advisory_lock'],
          ['PREPARE p AS SELECT 1', 'PREPARE p'],
          ["SET app.tenant TO '7'", 'parameter app.tenant'],
          ["SELECT set_config('app.tenant', '7', false)", 'parameter app.tenant'],
        ]) {
          expect(await errorOf(client.query(sql!))).toMatchObject({
            code: '0A000',
            message: expect.stringContaining(what!),
            detail: expect.stringContaining('SPG040'),
          });
        }
        await client.query('UNLISTEN *');
        await client.query('BEGIN');
        await client.query("SET LOCAL app.tenant TO '7'");
        await client.query('SELECT pg_advisory_xact_lock(1)');
        await client.query('DECLARE c CURSOR FOR SELECT id FROM orders ORDER BY id');
        expect((await client.query('FETCH 2 FROM c')).rows).toEqual([{ id: 1 }, { id: 2 }]);
        expect((await client.query("SELECT current_setting('app.tenant') AS t")).rows).toEqual([{ t: '7' }]);
        await client.query('COMMIT');
        await client.end();
      });

      test('cancel reaches the connection of now', async () => {
        const port = ground.gateway.connection('app').port;
        await using client = await WireClient.connect({ port, database: 'app', password: await ground.token() });
        await client.query('SELECT 1');
        await client.query('SELECT 1');
        client.send(encode.query('SELECT pg_sleep(60)'));
        await expect
          .poll(() => ground.server.sql("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"))
          .toHaveLength(1);
        await cancel(port, client.key);
        expect(shapeOf(await client.until('Z')).filter((each) => /^[ZE]/.test(each))).toEqual(['E 57014', 'ZI']);
        expect(shapeOf(await client.query('SELECT 1'))).toContain('C SELECT 1');
      });

      test('a target that is gone ends the session with the reason', async () => {
        const client = await ground.client();
        await client.query('SELECT 1');
        const ended = new Promise<Error>((resolve) => client.once('error', resolve));
        await ground.server.stop();
        try {
          const error = await Promise.race([errorOf(client.query('SELECT 2')), ended]);
          // Ours, the server's own last words, or, where these were read by nobody yet, the end of the connection.
          expect(error.message).toMatch(
            /the target of default\/app|the target closed|terminating connection|Connection terminated|ECONNRESET/,
          );
        } finally {
          await ground.server.start();
        }
        await client.end().catch(() => undefined);
        const again = await ground.client();
        expect((await again.query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }]);
        await again.end();
        await expect.poll(() => ground.logins(), { timeout: 10_000 }).toEqual([]);
      });

      test('large results stream, and many sessions at once', async () => {
        const clients = await Promise.all(Array.from({ length: 10 }, () => ground.client()));
        const sizes = await Promise.all(
          clients.map(async (client) => {
            const { rows } = await client.query("SELECT repeat('x', 1000) AS text FROM generate_series(1, 5000)");
            await client.query('SELECT 1');
            return rows.length;
          }),
        );
        expect(sizes).toEqual(Array.from({ length: 10 }, () => 5000));
        await Promise.all(clients.map((client) => client.end()));
        await expect.poll(() => ground.logins(), { timeout: 10_000 }).toEqual([]);
      });
    },
  );
}
