/** What node-postgres does, check by check: the caller compares the results between a direct and a gated session. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import pg from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import Cursor from 'pg-cursor';
import type { Access } from './ground.ts';

export function configOf(access: Access): pg.ClientConfig {
  const { host, port, user, password, database, caFile } = access;
  return {
    ...{ host, port, user, password, database },
    ...(caFile === undefined ? {} : { ssl: { ca: readFileSync(caFile, 'utf8') } }),
  };
}

type Check = (client: pg.Client, access: Access) => Promise<unknown>;

async function errorOf(action: Promise<unknown>): Promise<unknown> {
  try {
    await action;
    return 'no error';
  } catch (error) {
    if (!(error instanceof pg.DatabaseError)) throw error;
    const { code, severity, message, detail, hint, position, constraint, table } = error;
    return { code, severity, message, detail, hint, position, constraint, table };
  }
}

async function text(stream: Readable): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}

export const CHECKS: Readonly<Record<string, Check>> = {
  async 'simple, extended and prepared'(client) {
    const simple: unknown = await client.query("SELECT 1 AS a; SELECT 'b' AS b, NULL AS c");
    const extended = await client.query('SELECT $1::int + 1 AS sum, $2::text AS t, $3::jsonb AS j', [
      41,
      'ü\\',
      { a: 1 },
    ]);
    const prepared = [];
    for (const id of [1, 2, 3]) {
      const query = { name: 'by id', text: 'SELECT * FROM people WHERE id = $1', values: [id] };
      prepared.push((await client.query(query)).rows);
    }
    return {
      simple: (simple as pg.QueryResult[]).map(({ rows, command, rowCount }) => ({ rows, command, rowCount })),
      extended: [extended.rows, extended.fields.map(({ name, dataTypeID, format }) => [name, dataTypeID, format])],
      prepared,
    };
  },

  async 'binary results'(client) {
    const query = {
      text: 'SELECT id, name, data FROM people LEFT JOIN notes USING (id) WHERE id < $1 ORDER BY id',
      values: [4],
      binary: true,
    };
    const { rows, fields } = await client.query(query);
    return [rows, fields.map(({ format }) => format)];
  },

  async transactions(client) {
    await client.query('BEGIN');
    await client.query("INSERT INTO notes (id, body) VALUES (7001, 'x')");
    await client.query('SAVEPOINT s');
    const failed = await errorOf(client.query('SELECT 1/0'));
    const aborted = await errorOf(client.query('SELECT 1'));
    await client.query('ROLLBACK TO s');
    const inside = (await client.query('SELECT count(*) FROM notes WHERE id = 7001')).rows;
    await client.query('ROLLBACK');
    const after = (await client.query('SELECT count(*) FROM notes WHERE id = 7001')).rows;
    return { failed, aborted, inside, after };
  },

  async errors(client) {
    const statements: [string, unknown[]?][] = [
      ['SELEC 1'],
      ['SELECT * FROM missing WHERE a = $1', [1]],
      ["INSERT INTO people (id, name) VALUES (1, 'again')"],
      ['SELECT $1::int', ['no number']],
      ["SELECT 'unterminated"],
      ['SELECT 1; SELECT 2 FROM missing; SELECT 3'],
      ['SELECT $1', []],
    ];
    const found = [];
    for (const [sql, values] of statements) found.push(await errorOf(client.query(sql, values)));
    return [found, (await client.query("SELECT 'usable' AS u")).rows];
  },

  async cursor(client) {
    const cursor = client.query(new Cursor('SELECT id FROM people WHERE id > $1 ORDER BY id', [10]));
    const first = await cursor.read(3);
    const second = await cursor.read(100);
    await cursor.close();
    const whole = client.query(new Cursor('SELECT 1 AS one'));
    const all = await whole.read(10);
    const end = await whole.read(10);
    await whole.close();
    return [first, second.length, second.at(-1), all, end];
  },

  async 'COPY both ways'(client) {
    await client.query('CREATE TABLE copied (id int, body text)');
    const lines = Array.from({ length: 20_000 }, (_, index) => `${index}\tline ${index} ${'x'.repeat(index % 200)}\n`);
    await pipeline(Readable.from(lines), client.query(copyFrom('COPY copied FROM STDIN')));
    const out = await text(
      client.query(copyTo('COPY (SELECT * FROM copied WHERE id % 4000 = 0 ORDER BY id) TO STDOUT')),
    );
    const size = (await text(client.query(copyTo('COPY copied TO STDOUT (FORMAT binary)')))).length;
    const refused = await errorOf(
      pipeline(Readable.from(['no number\tx\n']), client.query(copyFrom('COPY copied FROM STDIN'))),
    );
    const count = (await client.query('SELECT count(*) FROM copied')).rows;
    await client.query('DROP TABLE copied');
    return { out, size, refused, count };
  },

  async 'LISTEN and NOTIFY'(client, access) {
    await client.query('LISTEN news');
    const other = new pg.Client(configOf(access));
    await other.connect();
    const arrived = once(client, 'notification') as Promise<[pg.Notification]>;
    await other.query("NOTIFY news, 'payload'");
    const [{ channel, payload }] = await arrived;
    await other.end();
    return { channel, payload };
  },

  async cancel(client, access) {
    const pid = (await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0]!.pid;
    const sleeping = errorOf(client.query('SELECT pg_sleep(30)'));
    const other = new pg.Client(configOf(access));
    await other.connect();
    const active = "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND query LIKE '%pg_sleep(30)%' AND state = 'active'";
    while ((await other.query(active, [pid])).rowCount === 0);
    await other.query('SELECT pg_cancel_backend($1)', [pid]);
    await other.end();
    return [await sleeping, (await client.query('SELECT 1 AS one')).rows];
  },

  async 'a pool'(_client, access) {
    const pool = new pg.Pool({ ...configOf(access), max: 5 });
    const wanted = Array.from({ length: 100 }, (_, index) =>
      pool.query('SELECT $1::int AS i, name FROM people WHERE id = $1', [index + 1]),
    );
    const rows = (await Promise.all(wanted)).map((result) => result.rows[0] as unknown);
    await pool.end();
    return rows;
  },

  async 'a large result and large parameters'(client) {
    const sum = await client.query("SELECT i, repeat('y', 1000) AS y FROM generate_series(1, 20000) i");
    const long = 'é'.repeat(400_000);
    const back = await client.query('SELECT length($1) AS n, $1 = $2 AS same', [long, long]);
    return [sum.rowCount, sum.rows.at(-1), back.rows];
  },

  async notices(client) {
    const found: unknown[] = [];
    client.on('notice', ({ severity, message, code }) => found.push({ severity, message, code }));
    await client.query("DO $$ BEGIN RAISE NOTICE 'hello'; RAISE WARNING 'careful'; END $$");
    await client.query('DROP TABLE IF EXISTS nothing_here');
    client.removeAllListeners('notice');
    return found;
  },
};

/** Each check on a session of its own. */
export async function runCheck(name: string, access: Access): Promise<unknown> {
  const client = new pg.Client(configOf(access));
  await client.connect();
  try {
    return await CHECKS[name]!(client, access);
  } finally {
    await client.end();
  }
}
