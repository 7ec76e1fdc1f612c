/** pgbench and psql, as they come, through Sallyport: the same work done, the same output. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EVERYTHING, writeAllowEverything } from '../support/allow-everything.ts';
import { type Postgres, startPostgres } from '../support/postgres.ts';
import { describeWith, postgresServer, program } from '../support/requires.ts';
import { createToken, type Gateway, startSallyport } from '../support/sallyport.ts';
import { type ClientProgram, clientProgram } from '../support/server-binaries.ts';

const run = promisify(execFile);

const CLIENTS = 4;
const TRANSACTIONS = 50;

/** A database of its own for each side, so that both start from the same state. */
const SIDES = ['direct', 'through'] as const;

const DESCRIBE = String.raw`\l
\dt
\d pgbench_accounts
\d+ things
\di
\dv
\df add_one
\sf add_one
\dn+
\du
\dT
\dp things
\ds
\dx
\sv seen
\z things`;

const SCRIPT = String.raw`\set ON_ERROR_STOP 0
\timing off
SELECT format('SELECT %s AS n', i) FROM generate_series(1, 3) i \gexec
SELECT 1 AS a, 'x' AS b \gset
\echo :a :b
SELECT i, i % 3, i * i FROM generate_series(1, 9) i \crosstabview
SELECT 5 AS five \gdesc
\copy (SELECT * FROM things ORDER BY id LIMIT 3) TO STDOUT
\copy things (id, name) FROM STDIN
101	one hundred and one
102	with \\ backslash
\.
SELECT * FROM things WHERE id > 100 ORDER BY id \gx
\copy things TO 'things.txt'
\copy things FROM 'things.txt'
SELECT count(*) FROM things;
SELECT 1/0;
\errverbose
\if true
SELECT 'in if' AS c;
\endif
\x auto
\pset null '(null)'
SELECT NULL AS d, NULL AS e;
BEGIN;
SELECT nothing;
SELECT 1;
ROLLBACK;
\set AUTOCOMMIT off
INSERT INTO things VALUES (500, 'rolled back');
ROLLBACK;
\set AUTOCOMMIT on
\set FETCH_COUNT 2
SELECT id FROM things ORDER BY id LIMIT 5;
\set FETCH_COUNT 0
\lo_import things.txt
\lo_unlink :LASTOID
SELECT 'é', E'tab\there', '日本';
SELECT $1, $2 \bind one two \g
\c -
SELECT current_database() IS NOT NULL AS connected;`;

describeWith(
  [postgresServer(15), program('pgbench', 'postgresql'), program('psql', 'postgresql-client')],
  'pgbench and psql',
  () => {
    let server: Postgres & AsyncDisposable;
    let gateway: Gateway & AsyncDisposable;
    let folder: string;
    let environments: Record<(typeof SIDES)[number], NodeJS.ProcessEnv>;

    beforeAll(async () => {
      server = await startPostgres({ version: 15 });
      folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-tpcb-'));
      for (const side of SIDES) {
        await server.sql(`CREATE DATABASE ${side}`);
        await server.sql(
          `CREATE TABLE things (id int, name text); INSERT INTO things SELECT i, 'thing ' || i FROM generate_series(1, 20) i;
           CREATE VIEW seen AS SELECT id FROM things;
           CREATE FUNCTION add_one(int) RETURNS int LANGUAGE sql AS 'SELECT $1 + 1'`,
          undefined,
          side,
        );
      }
      const resources = path.join(folder, 'resources');
      const { port, user, password } = server;
      await writeAllowEverything(resources, { through: { port, database: 'through', username: user, password } });
      const state = path.join(folder, 'state');
      gateway = await startSallyport({ resources: [resources], state, listen: ['default/through=127.0.0.1:0'] });
      const token = await createToken(state, { subject: EVERYTHING, ttl: '1h' });
      const common = { ...process.env, PGHOST: '127.0.0.1', PGUSER: user, PGSSLMODE: 'disable', LC_ALL: 'C.UTF-8' };
      environments = {
        direct: { ...common, PGPORT: String(port), PGDATABASE: 'direct', PGPASSWORD: password },
        through: {
          ...common,
          ...{ PGPORT: String(gateway.connection('through').port), PGDATABASE: 'through', PGPASSWORD: token },
        },
      };
    });
    afterAll(async () => {
      await gateway?.[Symbol.asyncDispose]();
      await server?.[Symbol.asyncDispose]();
      if (folder !== undefined) await rm(folder, { recursive: true, force: true });
    });

    /** Both streams in the order in which they were written. */
    async function output(
      side: (typeof SIDES)[number],
      name: ClientProgram,
      parameters: readonly string[],
    ): Promise<string> {
      const command = [clientProgram(name), ...parameters];
      const options = { env: environments[side], cwd: folder, maxBuffer: 1 << 26 };
      const { stdout } = await run('/bin/sh', ['-c', 'exec "$0" "$@" 2>&1', ...command], options);
      return stdout;
    }

    test('pgbench initialises through Sallyport', async () => {
      for (const side of SIDES) await output(side, 'pgbench', ['-i', '-q', '--foreign-keys']);
      for (const side of SIDES) {
        const counts = await server.sql(
          'SELECT count(*)::int AS n, sum(abalance)::int AS balance FROM pgbench_accounts',
          undefined,
          side,
        );
        expect(counts).toEqual([{ n: 100_000, balance: 0 }]);
      }
    });

    describe.each(['simple', 'extended', 'prepared'] as const)('TPC-B, %s', (mode) => {
      test.each([
        ['on standing connections', []],
        ['on a connection for each transaction', ['-C']],
      ])('%s', async (_name, more) => {
        const history = async (): Promise<number> => {
          const rows = await server.sql('SELECT count(*)::int AS n FROM pgbench_history', undefined, 'through');
          return rows[0]?.['n'] as number;
        };
        const before = await history();
        const transactions = more.length === 0 ? TRANSACTIONS : 10;
        const parameters = ['-n', '-M', mode, '-c', String(CLIENTS), '-j', '2', '-t', String(transactions), ...more];
        const report = await output('through', 'pgbench', parameters);
        const expected = CLIENTS * transactions;
        expect(report).toContain(`number of transactions actually processed: ${expected}/${expected}`);
        expect(report).toContain('number of failed transactions: 0');
        expect((await history()) - before).toBe(expected);
        // What TPC-B promises, whatever was interleaved.
        const sums = await server.sql(
          `SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history) AS accounts,
                  (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(bbalance) FROM pgbench_branches) AS others`,
          undefined,
          'through',
        );
        expect(sums).toEqual([{ accounts: true, others: true }]);
      });
    });

    /** The databases have their own names, which psql prints. */
    const anonymous = (text: string): string =>
      text.replaceAll(/\b(direct|through)\b/g, 'NAME').replaceAll(/^(lo_import|lo_unlink) \d+$/gm, '$1 OID');

    test('psql describes what is there', async () => {
      const file = path.join(folder, 'describe.sql');
      await writeFile(file, `SET search_path = public;\n${DESCRIBE}\n`);
      const [direct, through] = await Promise.all(SIDES.map((side) => output(side, 'psql', ['-X', '-f', file])));
      expect(direct).toContain('add_one');
      expect(anonymous(through!)).toBe(anonymous(direct!));
    });

    test("psql's own commands do what they do directly", async () => {
      const file = path.join(folder, 'script.sql');
      await writeFile(file, `${SCRIPT}\n`);
      const [direct, through] = [
        await output('direct', 'psql', ['-X', '-a', '-f', file]),
        await output('through', 'psql', ['-X', '-a', '-f', file]),
      ];
      expect(direct).toContain('one hundred and one');
      expect(anonymous(through)).toBe(anonymous(direct));
    });
  },
);
