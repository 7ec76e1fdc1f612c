import type pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Postgres, startPostgres } from '../support/postgres.ts';
import { describeWith, postgresServer } from '../support/requires.ts';
import { CANARY, type Ground, prepareGround } from './guard-ground.ts';

/** Deterministic: a failure names the query, and the same queries run each time (mulberry32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

interface Item {
  readonly sql: string;
  readonly alias: string;
  readonly columns: readonly string[];
}

/** Queries of nested sub-selects, joins, WITH, RETURNING and views, most of which are valid and many of which are accepted. */
function generator(next: () => number) {
  let names = 0;
  const pick = <T>(values: readonly T[]): T => values[Math.floor(next() * values.length)]!;
  const chance = (p: number): boolean => next() < p;

  const tables: readonly (readonly [string, readonly string[]])[] = [
    ['customers', ['id', 'name', 'ssn', 'email', 'card', 'region']],
    ['public.customers', ['id', 'ssn', 'card']],
    ['orders', ['id', 'customer_id', 'total', 'note', 'ssn']],
    ['people', ['id', 'ssn']],
    ['people_one', ['id', 'ssn']],
    ['base', ['id', 'secret']],
    ['ONLY derived', ['id', 'secret', 'extra']],
    ['contacts', ['who', 'number', 'loud', 'id']],
    ['contacts2', ['who', 'number', 'id', 'total']],
    ['mixed', ['id', 'ssn']],
    ['kept', ['id', 'ssn']],
    ['plain', ['id', 'name']],
    ['through_function', ['id', 'shown']],
    ['other.customers', ['id', 'ssn']],
    ['generate_series(1, 2)', []],
    ['pairs()', ['a', 'b']],
    ['(VALUES (1, 2))', ['column1', 'column2']],
  ];

  function fromItem(depth: number): Item {
    const alias = `t${names++}`;
    if (depth > 0 && chance(0.35)) {
      const query = select(depth - 1);
      const lateral = chance(0.2) ? 'LATERAL ' : '';
      return { sql: `${lateral}(${query.sql}) ${alias}`, alias, columns: query.columns };
    }
    const [table, columns] = pick(tables);
    if (columns.length > 1 && chance(0.2)) {
      const renamed = columns.map((_, index) => `r${index}`);
      const all = table === 'customers' || table === 'orders' || table.includes('VALUES') || table === 'people';
      if (all) return { sql: `${table} AS ${alias}(${renamed.join(', ')})`, alias, columns: renamed };
    }
    return { sql: `${table} AS ${alias}`, alias, columns: columns.length === 0 ? [alias] : columns };
  }

  function select(depth: number): { sql: string; columns: string[] } {
    const items = [fromItem(depth)];
    let from = items[0]!.sql;
    while (chance(0.35)) {
      const item = fromItem(depth);
      const shared = items[0]!.columns.includes('id') && item.columns.includes('id') && items.length === 1;
      const form = chance(0.3) ? 'comma' : shared && chance(0.4) ? 'using' : 'join';
      if (form === 'comma') from += `, ${item.sql}`;
      else if (form === 'using') from += ` ${pick(['JOIN', 'LEFT JOIN', 'FULL JOIN'])} ${item.sql} USING (id)`;
      else from += ` ${pick(['JOIN', 'LEFT JOIN', 'RIGHT JOIN'])} ${item.sql} ON true`;
      items.push(item);
      if (items.length > 3) break;
    }
    const targets: string[] = [];
    const columns: string[] = [];
    const count = 1 + Math.floor(next() * 4);
    for (let i = 0; i < count; i++) {
      const item = pick(items);
      const name = `c${names++}`;
      if (chance(0.12) && depth === 2) {
        targets.push(chance(0.5) ? '*' : `${item.alias}.*`);
      } else if (chance(0.15)) {
        targets.push(`${pick(['1', "'x'::text", '(SELECT 1)', 'now()'])} AS ${name}`);
        columns.push(name);
      } else {
        targets.push(`${item.alias}.${pick(item.columns)} AS ${name}`);
        columns.push(name);
      }
    }
    const limit = depth === 2 || chance(0.5) ? ' LIMIT 3' : '';
    return { sql: `SELECT ${targets.join(', ')} FROM ${from}${limit}`, columns };
  }

  return (): string => {
    names = 0;
    const query = select(2);
    if (chance(0.2)) return `WITH w AS (${query.sql}) SELECT * FROM w`;
    if (chance(0.1))
      return `WITH w AS MATERIALIZED (SELECT * FROM customers) SELECT w.ssn, q.* FROM w, (${query.sql}) q`;
    return query.sql;
  };
}

const FORMS = [
  'SELECT c.ssn, count(*) FROM customers c JOIN orders o ON o.customer_id = c.id GROUP BY c.id',
  'SELECT DISTINCT ON (region) region, ssn FROM customers ORDER BY region',
  'SELECT ssn, row_number() OVER (ORDER BY id), generate_series(1, 2) FROM customers',
  'SELECT j.x, j.c FROM (customers AS c(a, b, c) CROSS JOIN (SELECT 1 AS x) s) AS j',
  'SELECT ssn FROM customers TABLESAMPLE bernoulli (50) REPEATABLE (1)',
  'SELECT c.*, t FROM customers c, unnest(c.tags) WITH ORDINALITY AS t(tag, n)',
  'SELECT * FROM customers c, jsonb_array_elements($$[1]$$) e',
  'SELECT * FROM customers c, ROWS FROM (generate_series(1, 2), pairs()) AS r',
  'SELECT * FROM customers c, json_to_record($${}$$) AS r(a int, b text)',
  'SELECT * FROM customers c, xmltable($$/a$$ PASSING xmlparse(document $$<a/>$$) COLUMNS a int, n FOR ORDINALITY) x',
  'SELECT (SELECT count(*) FROM orders), c.* FROM customers c FOR UPDATE OF c',
  'SELECT ssn FROM customers ORDER BY id OFFSET 1 ROWS FETCH FIRST 2 ROWS ONLY',
  'WITH a AS (SELECT * FROM customers), b AS (SELECT a.ssn AS z, * FROM a), c(y) AS (SELECT z FROM b) SELECT y, b.* FROM c, b',
  'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3), c AS (SELECT * FROM customers) SELECT c.* FROM n JOIN c ON c.id = n.i',
  'SELECT q.* FROM orders o LEFT JOIN LATERAL (SELECT c.ssn, o.note FROM customers c WHERE c.id = o.customer_id LIMIT 1) q ON true',
  'TABLE contacts2',
];

const WRITES = [
  'UPDATE customers SET name = name RETURNING *',
  'UPDATE customers c SET name = o.note FROM orders o WHERE o.id = c.id RETURNING c.ssn, o.*',
  'DELETE FROM orders USING customers c WHERE c.id = orders.id RETURNING *',
  "INSERT INTO customers (id, ssn) VALUES (100, 'x') RETURNING ssn, id, customers.card",
  "INSERT INTO customers AS k (id, ssn) VALUES (100, 'x') ON CONFLICT (id) DO UPDATE SET ssn = excluded.ssn RETURNING k.*",
  'WITH d AS (DELETE FROM people RETURNING *) SELECT ssn, id FROM d',
  'INSERT INTO plain (id, name) VALUES (200, $$n$$) RETURNING *',
  'UPDATE contacts SET number = $$x$$ WHERE id = 1 RETURNING *',
  'UPDATE base SET id = id RETURNING *',
];

const MERGES = [
  'MERGE INTO orders o USING customers c ON c.id = o.id WHEN MATCHED THEN UPDATE SET note = c.name RETURNING *',
  'MERGE INTO customers c USING orders o ON c.id = o.id WHEN MATCHED THEN UPDATE SET name = o.note RETURNING merge_action(), c.ssn, o.*',
];

const OLD_AND_NEW = [
  'UPDATE customers SET name = name RETURNING old.ssn, new.*, id',
  'UPDATE customers SET name = name RETURNING WITH (OLD AS o, NEW AS n) o.*, n.card, ssn',
  'DELETE FROM customers WHERE id = 1 RETURNING old.email, new.email',
];

for (const version of [15, 17, 18] as const) {
  describeWith([postgresServer(version)], `layer A's prediction and PostgreSQL ${version}'s RowDescription`, () => {
    let server: Postgres & AsyncDisposable;
    let client: pg.Client;
    let ground: Ground;

    beforeAll(async () => {
      server = await startPostgres({ version });
      client = await server.connect({ statement_timeout: 2000 });
      ground = await prepareGround(client);
    });

    afterAll(async () => {
      await client.end();
      await server[Symbol.asyncDispose]();
    });

    /** @returns whether it was accepted; throws where prediction and wire differ, or a canary shows in an unmasked column */
    async function compare(sql: string): Promise<'refused' | 'invalid' | 'same'> {
      const [verdict] = ground.judge(sql);
      if (verdict?.refusal !== undefined) return 'refused';
      await client.query('BEGIN');
      try {
        let result: pg.QueryArrayResult<unknown[]>;
        try {
          result = await client.query<unknown[]>({ text: sql, rowMode: 'array' });
        } catch (error) {
          if (error instanceof Error && 'code' in error && /^(42|21|0A|55|57014)/.test(String(error.code)))
            return 'invalid';
          throw error;
        }
        const wire = result.fields.map(
          ({ tableID, columnID }) => ground.protection.columns(tableID)?.get(columnID) ?? null,
        );
        const title = (column: (typeof wire)[number]) =>
          column === null ? '-' : `${column.relation}.${column.column}`;
        if (verdict?.outputs !== undefined) expect(verdict.outputs.map(title), sql).toEqual(wire.map(title));
        else
          expect(
            wire.every((column) => column === null),
            sql,
          ).toBe(true);
        for (const row of result.rows) {
          row.forEach((value, index) => {
            if (wire[index] === null) expect(JSON.stringify(value) ?? '', sql).not.toMatch(new RegExp(CANARY, 'i'));
          });
        }
        return 'same';
      } finally {
        await client.query('ROLLBACK');
      }
    }

    test('agree on generated queries', async () => {
      const query = generator(random(version * 7919));
      const seen = { refused: 0, invalid: 0, same: 0 };
      for (let i = 0; i < 600; i++) seen[await compare(query())]++;
      expect(seen.same).toBeGreaterThan(300);
    });

    test.each(FORMS)('agree on %s', async (sql) => {
      expect(await compare(sql)).toBe('same');
    });

    test.each(WRITES)('agree on %s', async (sql) => {
      expect(await compare(sql)).toBe('same');
    });

    if (version >= 17)
      test.each(MERGES)('agree on %s', async (sql) => {
        expect(await compare(sql)).toBe('same');
      });

    if (version >= 18)
      test.each(OLD_AND_NEW)('agree on %s', async (sql) => {
        expect(await compare(sql)).toBe('same');
      });
  });
}
