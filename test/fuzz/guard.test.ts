import fc from 'fast-check';
import { expect, test } from 'vitest';
import { sketchCatalog } from '../../proxy/protocols/postgres/catalog/fixture.ts';
import { child } from '../../proxy/protocols/postgres/sql/ast.ts';
import { type GuardResult, guard } from '../../proxy/protocols/postgres/sql/guard.ts';
import { parse } from '../../proxy/protocols/postgres/sql/parse.ts';
import { protect } from '../../proxy/protocols/postgres/sql/protection.ts';
import type { NameEnvironment } from '../../proxy/protocols/postgres/sql/types.ts';
import { ATTACKS, BENIGN } from '../integration/guard-attacks.ts';
import { masks } from '../integration/guard-ground.ts';

const catalog = sketchCatalog([
  { name: 'public.customers', columns: ['id', 'name', 'ssn', 'email', 'card', 'region', 'tags'] },
  { name: 'public.orders', columns: ['id', 'customer_id', 'total', 'note', 'ssn'] },
  { name: 'public.people', columns: ['id', 'ssn'] },
]);
const protection = protect(catalog, masks);
const environment: NameEnvironment = {
  searchPath: ['public'],
  role: 'agent',
  catalog,
  temporary: new Set(),
  prepared: () => undefined,
};

/** Undefined when the text does not parse. */
function judge(sql: string): GuardResult[] | undefined {
  const parsed = parse(sql);
  if (!parsed.ok) return undefined;
  return parsed.statements.map((statement) =>
    guard(child(statement, 'stmt') ?? {}, 'Select', environment, masks, protection),
  );
}

const accepted = (sql: string): boolean => judge(sql)?.every((result) => result.refusal === undefined) === true;

const texts = [...ATTACKS.flat(), ...BENIGN];
const tokens = [...new Set(texts.flatMap((sql) => sql.match(/\w+|\s+|[^\w\s]/g) ?? []))];

test('any statement made of pieces of others is judged without an exception', () => {
  let judged = 0;
  fc.assert(
    fc.property(
      fc.constantFrom(...texts),
      fc.nat(),
      fc.nat(3),
      fc.array(fc.constantFrom(...tokens), { maxLength: 3 }),
      (sql, at, cut, put) => {
        const parts = sql.match(/\w+|\s+|[^\w\s]/g) ?? [];
        const position = at % (parts.length + 1);
        const changed = [...parts.slice(0, position), ...put, ...parts.slice(position + cut)].join('');
        if (judge(changed) !== undefined) judged++;
      },
    ),
    { numRuns: 4000 },
  );
  expect(judged).toBeGreaterThan(200);
});

/** Wrapping cannot launder: what is refused alone is refused inside. */
test('a refused query stays refused inside any query around it', () => {
  const refused = texts.filter(
    (sql) => /^(SELECT|VALUES|WITH|TABLE)/.test(sql) && judge(sql)?.length === 1 && !accepted(sql),
  );
  expect(refused.length).toBeGreaterThan(100);
  fc.assert(
    fc.property(
      fc.constantFrom(...refused),
      fc.constantFrom(
        (q: string) => `SELECT * FROM (${q}) AS q`,
        (q: string) => `SELECT 1 FROM orders, LATERAL (${q}) AS q`,
        (q: string) => `WITH q AS (${q}) SELECT 1`,
        (q: string) => `WITH RECURSIVE q AS (${q}) SELECT 1`,
        (q: string) => `SELECT EXISTS (${q})`,
        (q: string) => `INSERT INTO orders (note) (${q})`,
        (q: string) => `EXPLAIN ${q}`,
        (q: string) => `COPY (${q}) TO STDOUT`,
        (q: string) => `PREPARE p AS ${q}`,
        (q: string) => `DECLARE c CURSOR FOR ${q}`,
        (q: string) => `CREATE TABLE t AS ${q}`,
        (q: string) => `SELECT 1 UNION ALL (${q})`,
        (q: string) => `DELETE FROM orders WHERE id IN (${q})`,
      ),
      (sql, wrap) => {
        const result = judge(wrap(sql));
        if (result !== undefined) expect(accepted(wrap(sql)), wrap(sql)).toBe(false);
      },
    ),
    { numRuns: 3000 },
  );
});

/** A protected column in one of these places is refused whatever query brings it there. */
test('an accepted query that shows a protected column may be wrapped in queries, but not computed with', () => {
  const showing = texts.filter(
    (sql) => /^(SELECT|WITH|TABLE)/.test(sql) && judge(sql)?.[0]?.outputs?.some((column) => column !== null) === true,
  );
  expect(showing.length).toBeGreaterThan(5);
  for (const sql of showing) {
    expect(accepted(`SELECT * FROM (${sql}) AS q`), sql).toBe(true);
    for (const wrapped of [
      `SELECT q FROM (${sql}) AS q`,
      `SELECT q::text FROM (${sql}) AS q`,
      `SELECT DISTINCT * FROM (${sql}) AS q`,
      `SELECT row_to_json(q) FROM (${sql}) AS q`,
      `SELECT count(q.*) FROM (${sql}) AS q`,
      `SELECT * FROM (${sql}) AS q UNION ALL (${sql})`,
      `SELECT ARRAY(${sql})`,
      `COPY (${sql}) TO STDOUT`,
      `CREATE TEMP TABLE t AS ${sql}`,
      `WITH w AS (${sql}) SELECT w FROM w`,
      `SELECT * FROM (${sql}) AS a NATURAL JOIN (${sql}) AS b`,
    ]) {
      expect(accepted(wrapped), wrapped).toBe(false);
    }
  }
});
