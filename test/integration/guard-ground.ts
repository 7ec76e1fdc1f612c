/** A database with protected columns, its snapshot, and a judge: shared by the tests of layer A against real servers. */
import type pg from 'pg';
import type { ColumnMask, MaskPlan } from '../../policy/masking.ts';
import { type CatalogContent, createCatalog } from '../../proxy/protocols/postgres/catalog/index.ts';
import { type CatalogQuery, readCatalog } from '../../proxy/protocols/postgres/catalog/snapshot.ts';
import type { Catalog } from '../../proxy/protocols/postgres/catalog/types.ts';
import { child } from '../../proxy/protocols/postgres/sql/ast.ts';
import { type GuardResult, guard } from '../../proxy/protocols/postgres/sql/guard.ts';
import { parse } from '../../proxy/protocols/postgres/sql/parse.ts';
import { protect } from '../../proxy/protocols/postgres/sql/protection.ts';
import type { NameEnvironment, Protection } from '../../proxy/protocols/postgres/sql/types.ts';

/** In every protected value, so that any appearance is a leak. */
export const CANARY = 'kanarienvogel';

export const SCHEMA = `
  CREATE SCHEMA other;
  CREATE TABLE customers (id int PRIMARY KEY, name text, ssn text UNIQUE, email text, card text, region text, tags text[]);
  INSERT INTO customers SELECT i, 'name' || i, '${CANARY}-ssn-' || i, '${CANARY}-' || i || '@example.org', '${CANARY}-card-' || i,
    'region' || i % 3, ARRAY['a', 'b'] FROM generate_series(1, 9) i;
  CREATE TABLE orders (id int PRIMARY KEY, customer_id int, total numeric, note text, ssn text);
  INSERT INTO orders SELECT i, i % 9 + 1, i * 10, 'note' || i, 'clean' || i FROM generate_series(1, 9) i;
  CREATE TABLE people (id int, ssn text) PARTITION BY LIST (id);
  CREATE TABLE people_one (ssn text, id int);
  ALTER TABLE people ATTACH PARTITION people_one FOR VALUES IN (1);
  CREATE TABLE people_rest PARTITION OF people DEFAULT;
  INSERT INTO people SELECT i, '${CANARY}-people-' || i FROM generate_series(1, 3) i;
  CREATE TABLE base (id int, secret text);
  CREATE TABLE derived (extra text) INHERITS (base);
  INSERT INTO base VALUES (1, 'plain');
  INSERT INTO derived VALUES (2, '${CANARY}-derived', 'x');
  CREATE VIEW contacts AS SELECT name AS who, ssn AS number, upper(email) AS loud, id FROM customers;
  CREATE VIEW contacts2 AS SELECT c.*, o.total FROM contacts c JOIN orders o ON o.customer_id = c.id;
  CREATE VIEW mixed AS SELECT id, ssn FROM customers UNION ALL SELECT id, ssn FROM orders;
  CREATE MATERIALIZED VIEW kept AS SELECT id, ssn FROM customers;
  CREATE VIEW plain AS SELECT id, name FROM customers;
  CREATE TABLE other.customers (id int, ssn text);
  INSERT INTO other.customers VALUES (1, 'clean');
  CREATE FUNCTION all_customers() RETURNS SETOF customers LANGUAGE sql STABLE AS 'SELECT * FROM customers';
  CREATE VIEW through_function AS SELECT f.id, f.card AS shown FROM all_customers() f;
  CREATE FUNCTION pairs(OUT a int, OUT b text) RETURNS SETOF record LANGUAGE sql STABLE AS 'SELECT 1, ''x''';
  ANALYZE;
`;

const redact: ColumnMask = { transform: { type: 'redact', with: '[gone]' }, allowEquality: false, rules: ['shop/pii'] };
const email: ColumnMask = { transform: { type: 'tokenize' }, allowEquality: true, rules: ['shop/email'] };
const card: ColumnMask = {
  transform: { type: 'partial', keepFirst: 0, keepLast: 2 },
  allowEquality: false,
  rules: ['shop/card'],
};

const MASKED = new Map<string, ColumnMask>([
  ['public.customers.ssn', redact],
  ['public.customers.email', email],
  ['public.customers.card', card],
  ['public.people.ssn', redact],
  ['public.derived.secret', redact],
]);

export const masks: MaskPlan = {
  empty: false,
  hasColumns: true,
  column: (schema, relation, column) => MASKED.get(`${schema}.${relation}.${column}`),
  transforms: [...new Set([...MASKED.values()].map((mask) => mask.transform))],
  fields: [],
  content: [],
  binaryOutput: 'Search',
  opaqueBodies: 'Deny',
  kubernetes: [],
  hasFiles: false,
  file: () => undefined,
};

/** Every value as the text that is on the wire. */
export function textQuery(client: pg.Client): CatalogQuery {
  return async (sql) => {
    const result = await client.query<(string | null)[]>({
      text: sql,
      rowMode: 'array',
      types: { getTypeParser: () => (value: string) => value },
    });
    return result.rows.map((row) => row.map((value) => value ?? ''));
  };
}

export interface Ground {
  readonly client: pg.Client;
  readonly catalog: Catalog;
  readonly protection: Protection;
  readonly content: CatalogContent;
  judge(sql: string, names?: Partial<NameEnvironment>): GuardResult[];
}

export async function prepareGround(client: pg.Client): Promise<Ground> {
  await client.query(SCHEMA);
  const content = await readCatalog(textQuery(client));
  const catalog = createCatalog(content, 1);
  const protection = protect(catalog, masks);
  const environment: NameEnvironment = {
    searchPath: ['public'],
    role: content.role,
    catalog,
    temporary: new Set(),
    prepared: () => undefined,
  };
  return {
    client,
    catalog,
    protection,
    content,
    judge(sql, names = {}) {
      const parsed = parse(sql);
      if (!parsed.ok) throw new Error(`${sql}: ${parsed.message}`);
      return parsed.statements.map((statement) =>
        guard(child(statement, 'stmt') ?? {}, 'Select', { ...environment, ...names }, masks, protection),
      );
    },
  };
}
