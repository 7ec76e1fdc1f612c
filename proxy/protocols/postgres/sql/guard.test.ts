import { beforeAll, describe, expect, test } from 'vitest';
import type { ColumnMask, MaskPlan } from '../../../../policy/masking.ts';
import { sketchCatalog } from '../catalog/fixture.ts';
import { child } from './ast.ts';
import { type GuardResult, guard } from './guard.ts';
import { parse } from './parse.ts';
import { protect } from './protection.ts';
import type { NameEnvironment } from './types.ts';

const redact: ColumnMask = { transform: { type: 'redact', with: '[gone]' }, allowEquality: false, rules: ['shop/pii'] };
const email: ColumnMask = { transform: { type: 'tokenize' }, allowEquality: true, rules: ['shop/email'] };
const card: ColumnMask = {
  transform: { type: 'partial', keepFirst: 0, keepLast: 4 },
  allowEquality: false,
  rules: ['shop/card'],
};

const masks: MaskPlan = {
  empty: false,
  hasColumns: true,
  column(schema, relation, column) {
    if (schema !== 'public') return undefined;
    if (relation === 'customers') return { ssn: redact, email, card }[column];
    return relation === 'people' && column === 'ssn' ? redact : undefined;
  },
  transforms: [],
  fields: [],
  content: [],
  binaryOutput: 'Search',
  opaqueBodies: 'Deny',
  kubernetes: [],
  hasFiles: false,
  file: () => undefined,
};

const catalog = sketchCatalog(
  [
    { name: 'public.customers', columns: ['id', 'name', 'ssn', 'email', 'card', 'region'] },
    { name: 'public.orders', columns: ['id', 'customer_id', 'total', 'note'] },
    { name: 'public.lookup', columns: ['ssn', 'label'] },
    { name: 'public.people', columns: ['id', 'ssn'], kind: 'p' },
    { name: 'public.people_2024', columns: ['ssn', 'id'], parents: ['public.people'] },
    {
      name: 'public.contacts',
      columns: ['who', 'number'],
      kind: 'v',
      definition: ' SELECT c.name AS who,\n    c.ssn AS number\n   FROM public.customers c;',
      dependsOn: ['public.customers'],
    },
    { name: 'other.customers', columns: ['id', 'ssn'] },
    { name: 'pg_catalog.pg_stats', columns: ['schemaname', 'most_common_vals'], kind: 'v' },
    { name: 'pg_catalog.pg_stat_activity', columns: ['pid', 'state', 'query'], kind: 'v' },
    { name: 'pg_catalog.pg_class', columns: ['oid', 'relname'] },
  ],
  [
    { name: 'pg_catalog.generate_series', result: { type: 'scalar' } },
    { name: 'pg_catalog.jsonb_array_elements', result: { type: 'columns', names: ['value'] } },
    { name: 'public.find_customers', rowsOf: 'public.customers', language: 'sql' },
    { name: 'public.box', result: { type: 'scalar' }, language: 'sql', holds: 'public.customers' },
    { name: 'public.anything', result: { type: 'open' }, language: 'sql' },
  ],
);

let protection: ReturnType<typeof protect>;

beforeAll(() => {
  protection = protect(catalog, masks);
});

const environment: NameEnvironment = {
  searchPath: ['public'],
  role: 'agent',
  catalog,
  temporary: new Set(['scratch']),
  prepared: () => undefined,
};

function judge(sql: string, over: Partial<NameEnvironment> = {}): GuardResult {
  const parsed = parse(sql);
  if (!parsed.ok) throw new Error(`${sql}: ${parsed.message}`);
  const results = parsed.statements.map((statement) =>
    guard(child(statement, 'stmt') ?? {}, 'Select', { ...environment, ...over }, masks, protection),
  );
  return results.find((result) => result.refusal !== undefined) ?? results.at(-1)!;
}

/** Output columns as `relation.column`, `-` for a clean one. */
function shown(sql: string, over: Partial<NameEnvironment> = {}): string {
  const result = judge(sql, over);
  if (result.refusal !== undefined) return `refused: ${result.refusal.code}`;
  if (result.outputs === undefined) return 'no prediction';
  return result.outputs
    .map((column) => (column === null ? '-' : `${column.relation.replace('public.', '')}.${column.column}`))
    .join(' ');
}

describe('shows protected columns that stay plain output columns', () => {
  test.each([
    ['SELECT ssn FROM customers', 'customers.ssn'],
    ['SELECT id, ssn AS x, total FROM customers JOIN orders USING (id)', '- customers.ssn -'],
    ['SELECT * FROM customers', '- - customers.ssn customers.email customers.card -'],
    ['TABLE customers', '- - customers.ssn customers.email customers.card -'],
    [
      'SELECT c.* FROM customers c JOIN orders o ON o.customer_id = c.id',
      '- - customers.ssn customers.email customers.card -',
    ],
    ['SELECT public.customers.ssn FROM customers', 'customers.ssn'],
    ['SELECT b FROM customers AS t(a, n, b)', 'customers.ssn'],
    ['SELECT x.s FROM (SELECT ssn AS s FROM customers) x', 'customers.ssn'],
    ['WITH x(s) AS (SELECT ssn FROM customers) SELECT s FROM x ORDER BY 1 + 0', 'customers.ssn'],
    ['WITH x AS (UPDATE customers SET name = $1 WHERE id = 2 RETURNING *) SELECT ssn FROM x', 'customers.ssn'],
    [
      'SELECT s.ssn FROM orders o, LATERAL (SELECT c.ssn FROM customers c WHERE c.id = o.customer_id) s',
      'customers.ssn',
    ],
    ['SELECT number FROM contacts', 'contacts.number'],
    ['SELECT ssn FROM people_2024', 'people_2024.ssn'],
    ['SELECT j.ssn FROM (customers c JOIN orders o ON o.customer_id = c.id) j', 'customers.ssn'],
    ['SELECT DISTINCT ON (region) region, ssn FROM customers ORDER BY region', '- customers.ssn'],
    ['SELECT id FROM customers c WHERE EXISTS (SELECT * FROM customers d WHERE d.id = c.id + 1)', '-'],
    ['SELECT count(*), region FROM customers GROUP BY region', '- -'],
    ['INSERT INTO customers (name, ssn) VALUES ($1, $2) RETURNING ssn', 'customers.ssn'],
    [
      'DELETE FROM customers WHERE id = 1 RETURNING old.ssn, *',
      'customers.ssn - - customers.ssn customers.email customers.card -',
    ],
    ['SELECT ssn FROM lookup WHERE ssn = $1', '-'],
    ['SELECT ssn FROM other.customers', '-'],
    ['SELECT o.* FROM customers c, unnest($1::int[]) AS u(id), orders o', '- - - -'],
    ['SELECT c.ssn, g FROM customers c, generate_series(1, 2) g', 'customers.ssn -'],
    ['SELECT pid, state FROM pg_stat_activity', '- -'],
    ['SELECT customers.ctid, ssn FROM customers', '- customers.ssn'],
  ])('%s', (sql, expected) => {
    expect(shown(sql)).toBe(expected);
  });
});

describe('refuses any other use', () => {
  test.each([
    ['SELECT upper(ssn) FROM customers', 'SPG401'],
    ['SELECT ssn::text FROM customers', 'SPG401'],
    ['SELECT ssn COLLATE "C" FROM customers', 'SPG401'],
    ['SELECT id FROM customers WHERE ssn = $1', 'SPG401'],
    ['SELECT id FROM customers ORDER BY ssn', 'SPG401'],
    ['SELECT ssn AS s FROM customers ORDER BY s', 'SPG401'],
    ['SELECT id, ssn FROM customers ORDER BY 2', 'SPG401'],
    ['SELECT ssn FROM customers GROUP BY ssn', 'SPG401'],
    ['SELECT DISTINCT ssn FROM customers', 'SPG401'],
    ['SELECT ssn FROM customers UNION ALL SELECT label FROM lookup', 'SPG401'],
    ['SELECT label FROM lookup UNION ALL SELECT ssn FROM customers', 'SPG401'],
    ['SELECT (SELECT ssn FROM customers LIMIT 1)', 'SPG401'],
    ['SELECT ARRAY(SELECT ssn FROM customers)', 'SPG401'],
    ['VALUES ((SELECT ssn FROM customers LIMIT 1))', 'SPG401'],
    ['SELECT c FROM customers c', 'SPG402'],
    ['SELECT row_to_json(c) FROM customers c', 'SPG402'],
    ['SELECT (c).ssn FROM customers c', 'SPG402'],
    ['SELECT (c).* FROM customers c', 'SPG402'],
    ['SELECT ssn(c) FROM customers c', 'SPG402'],
    ['SELECT c.upper FROM customers c', 'SPG402'],
    ['SELECT count(c.*) FROM customers c', 'SPG402'],
    ['SELECT ROW(c.*) FROM customers c', 'SPG402'],
    ['SELECT c IS NULL FROM customers c', 'SPG402'],
    ['SELECT s FROM (SELECT ssn FROM customers) s', 'SPG402'],
    ['SELECT j FROM (customers c JOIN orders o ON true) j', 'SPG402'],
    ['SELECT 1 FROM customers NATURAL JOIN lookup', 'SPG401'],
    ['SELECT 1 FROM customers JOIN lookup USING (ssn)', 'SPG401'],
    ['SELECT 1 FROM customers c JOIN lookup l ON l.ssn = c.ssn', 'SPG401'],
    ['SELECT 1 FROM customers NATURAL JOIN scratch', 'SPG414'],
    ['SELECT * FROM customers, anything()', 'SPG414'],
    ['SELECT rank() OVER (ORDER BY ssn) FROM customers', 'SPG401'],
    ['SELECT count(*) FILTER (WHERE ssn > $1) FROM customers', 'SPG401'],
    ['SELECT id FROM customers LIMIT (SELECT length(ssn) FROM customers LIMIT 1)', 'SPG401'],
    ['SELECT xmlforest(ssn) FROM customers', 'SPG401'],
    ["SELECT * FROM customers c, json_table(c.ssn, '$' COLUMNS (a text PATH '$')) j", 'SPG401'],
    ['INSERT INTO orders (note) SELECT ssn FROM customers', 'SPG405'],
    ['UPDATE orders SET note = ssn FROM customers c WHERE c.id = customer_id', 'SPG401'],
    ['UPDATE customers SET name = ssn', 'SPG401'],
    ['INSERT INTO customers (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET name = customers.ssn', 'SPG401'],
    ['INSERT INTO customers (id) VALUES (1) ON CONFLICT (ssn) DO NOTHING', 'SPG401'],
    ['INSERT INTO customers (id) VALUES (1) ON CONFLICT ON CONSTRAINT c DO NOTHING', 'SPG401'],
    ['ALTER TABLE orders ADD c text REFERENCES customers (ssn)', 'SPG401'],
    ['ALTER TABLE orders ADD c text REFERENCES customers', 'SPG407'],
    ['ALTER TABLE orders ADD c text DEFAULT (SELECT ssn FROM customers)', 'SPG407'],
    ['MERGE INTO orders o USING customers c ON o.id = c.id WHEN MATCHED THEN UPDATE SET note = c.ssn', 'SPG401'],
    ['CREATE TABLE t AS SELECT ssn FROM customers', 'SPG405'],
    ['SELECT ssn INTO t FROM customers', 'SPG405'],
    ['CREATE VIEW v AS SELECT ssn FROM customers', 'SPG405'],
    ['COPY customers TO STDOUT', 'SPG401'],
    ['COPY (SELECT ssn FROM customers) TO STDOUT', 'SPG405'],
    ['COPY customers (ssn) FROM STDIN', 'SPG401'],
    ["COPY orders (note) FROM PROGRAM 'strings base/*/*'", 'SPG408'],
    ["COPY orders (note) FROM '/var/lib/postgresql/data/base/5/16400'", 'SPG408'],
    ["COPY (SELECT 1) TO PROGRAM 'sh'", 'SPG408'],
    ['CREATE INDEX ON customers (ssn)', 'SPG401'],
    ['CREATE INDEX ON customers (id) WHERE ssn > $$4$$', 'SPG401'],
    ['ALTER TABLE customers RENAME ssn TO x', 'SPG407'],
    ['ALTER TABLE customers SET SCHEMA other', 'SPG407'],
    ['ALTER SCHEMA public RENAME TO x', 'SPG407'],
    ['ALTER TABLE customers INHERIT lookup', 'SPG407'],
    ['ALTER TABLE lookup ATTACH PARTITION customers DEFAULT', 'SPG407'],
    ['ALTER TABLE customers ADD CHECK (ssn > $$4$$)', 'SPG401'],
    ['ALTER TABLE customers ALTER name TYPE text USING ssn', 'SPG401'],
    ['ALTER TABLE customers ADD x text GENERATED ALWAYS AS (ssn) STORED', 'SPG401'],
    ['CREATE TABLE t (s text REFERENCES customers (ssn))', 'SPG401'],
    ['CREATE TRIGGER t BEFORE INSERT ON customers FOR EACH ROW EXECUTE FUNCTION f()', 'SPG407'],
    ['CREATE RULE r AS ON INSERT TO orders DO ALSO SELECT ssn FROM customers', 'SPG407'],
    ['CREATE STATISTICS s ON id, ssn FROM customers', 'SPG401'],
    ['CREATE POLICY p ON customers USING (ssn > $$4$$)', 'SPG401'],
    ['CREATE PUBLICATION p FOR TABLE customers', 'SPG407'],
    ['CREATE PUBLICATION p FOR ALL TABLES', 'SPG408'],
    ['CLUSTER customers USING i', 'SPG407'],
    ['DO $$BEGIN END$$', 'SPG408'],
    ['CALL p()', 'SPG408'],
    ["CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT ssn FROM customers'", 'SPG408'],
    ['CREATE TEMP TABLE customers (id int)', 'SPG411'],
    ['EXPLAIN ANALYZE SELECT id FROM customers', 'SPG409'],
    ["EXPLAIN SELECT id FROM customers WHERE email = 'a'", 'SPG409'],
    ["SELECT query_to_xml('SELECT 1', true, true, '')", 'SPG410'],
    ['SELECT ssn FROM find_customers(1)', 'SPG402'],
    ['SELECT find_customers(1)', 'SPG402'],
    ['SELECT box()', 'SPG402'],
    ['SELECT (o.id).find_customers FROM orders o', 'SPG402'],
    ['SELECT o.find_customers FROM orders o', 'SPG402'],
    ['SELECT (o).box FROM orders o', 'SPG402'],
    ['CREATE TABLE t (s text DEFAULT (find_customers(1)).ssn)', 'SPG402'],
    ['ALTER TABLE orders ALTER note SET DEFAULT (find_customers(1)).ssn', 'SPG402'],
    ['ALTER TABLE orders ALTER note TYPE text USING (find_customers(id)).ssn', 'SPG402'],
    ['CREATE DOMAIN d AS int CHECK ((find_customers(value)).id > 1)', 'SPG402'],
    ['CREATE RULE r AS ON INSERT TO orders DO ALSO SELECT f::text FROM find_customers(1) f', 'SPG402'],
    ['CREATE TRIGGER t BEFORE UPDATE ON orders WHEN ((old.find_customers).id > 1) EXECUTE FUNCTION f()', 'SPG402'],
    ['CREATE POLICY p ON orders USING (EXISTS (SELECT FROM customers c WHERE c.ssn > note))', 'SPG401'],
    ['ALTER POLICY p ON orders WITH CHECK (note = (SELECT ssn FROM customers LIMIT 1))', 'SPG401'],
    ['SELECT most_common_vals FROM pg_stats', 'SPG401'],
    ['SELECT * FROM pg_stat_activity', 'SPG401'],
    ['SELECT nothing FROM customers', 'SPG403'],
    ['SELECT 1 FROM nowhere', 'SPG404'],
    ['WITH RECURSIVE r AS (SELECT id, ssn FROM customers UNION ALL SELECT * FROM r) SELECT id FROM r', 'SPG401'],
    ['EXECUTE unknown', 'SPG413'],
    ['WITH x AS (SELECT 1) SELECT 1 WHERE (SELECT ssn FROM customers) = $1', 'SPG401'],
    ['WITH unused AS (SELECT upper(ssn) FROM customers) SELECT 1', 'SPG401'],
    ['SELECT extract FROM customers extract, LATERAL (SELECT extract(year FROM now())) s', 'SPG402'],
  ])('%s', (sql, code) => {
    expect(judge(sql).refusal?.code).toBe(code);
  });
});

/** $n that hold values of protected columns. */
const parameters = (sql: string): number[] =>
  judge(sql)
    .protectedParameters.map(({ number }) => number)
    .sort((a, b) => a - b);

describe('values for protected columns', () => {
  test('reports parameters that are written or compared', () => {
    expect(parameters('INSERT INTO customers VALUES ($1, $2, $3, $4, $5, $6)')).toEqual([3, 4, 5]);
    expect(parameters('UPDATE customers SET ssn = $2, name = $1 WHERE email = $3 AND id = $4')).toEqual([2, 3]);
    expect(parameters('INSERT INTO customers (ssn) SELECT v FROM (SELECT $1 AS v) s')).toEqual([1]);
  });

  test('equality is allowed where the rule says so, and nowhere else', () => {
    expect(judge("SELECT id FROM customers WHERE id > 1 AND email = 'a@b.c'").refusal).toBeUndefined();
    expect(judge('SELECT id FROM customers WHERE $1::text = email').refusal).toBeUndefined();
    expect(parameters('SELECT id FROM customers WHERE email IN ($1, $2)')).toEqual([1, 2]);
    for (const sql of [
      'SELECT id FROM customers WHERE email = $1 OR id = 1',
      'SELECT id FROM customers WHERE NOT email = $1',
      'SELECT id FROM customers WHERE email <> $1',
      'SELECT id FROM customers WHERE email NOT IN ($1)',
      'SELECT id FROM customers WHERE email = name',
      'SELECT email = $1 FROM customers',
      'SELECT id FROM customers WHERE email OPERATOR(public.=) $1',
      'SELECT id FROM customers JOIN orders ON email = $1',
    ]) {
      expect(judge(sql).refusal?.code, sql).toBe('SPG401');
    }
  });

  test.each([
    `INSERT INTO customers (email) VALUES ('sptok_${'a'.repeat(26)}')`,
    "UPDATE customers SET ssn = '[gone]'",
    "UPDATE customers SET card = '************1234'",
    `SELECT id FROM customers WHERE email = 'sptok_${'a'.repeat(26)}'`,
    "INSERT INTO customers (ssn) SELECT '[gone]'",
  ])('refuses a mask: %s', (sql) => {
    expect(judge(sql).refusal?.code).toBe('SPG406');
  });

  test('an upsert keeps its own value', () => {
    const sql = 'INSERT INTO customers (id, ssn) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET ssn = excluded.ssn';
    expect(judge(sql)).toMatchObject({ protectedParameters: [{ number: 1 }], touchesProtected: true });
    expect(judge(sql).refusal).toBeUndefined();
    expect(judge(sql.replace('SET ssn', 'SET name')).refusal?.code).toBe('SPG401');
  });
});

describe('names', () => {
  test('search_path decides which relation is meant', () => {
    expect(shown('SELECT ssn FROM customers', { searchPath: ['other'] })).toBe('-');
    expect(shown('SELECT ssn FROM customers', { searchPath: ['public', 'other'] })).toBe('customers.ssn');
  });

  test('a name that would mean a protected relation were another dropped is refused', () => {
    expect(shown('SELECT ssn FROM customers', { searchPath: ['other', 'public'] })).toBe('refused: SPG415');
    expect(shown('SELECT ssn FROM other.customers', { searchPath: ['other', 'public'] })).toBe('-');
    expect(shown('CREATE INDEX ON customers (ssn)', { searchPath: ['other', 'public'] })).toBe('refused: SPG401');
  });

  test('a WITH query hides a table of its name', () => {
    expect(shown('WITH customers AS (SELECT 1 AS ssn) SELECT upper(ssn::text) FROM customers')).toBe('-');
    expect(
      shown(
        'WITH x AS (SELECT ssn FROM customers), customers AS (SELECT 2 AS ssn) SELECT x.ssn, customers.ssn FROM x, customers',
      ),
    ).toBe('customers.ssn -');
  });

  test('a temporary relation in the place of a protected one is refused', () => {
    expect(judge('SELECT ssn FROM customers', { temporary: new Set(['customers']) }).refusal?.code).toBe('SPG411');
  });

  test('what is not found is reported as stale', () => {
    expect(judge('SELECT 1 FROM nowhere').stale).toBe(true);
    expect(judge('SELECT nothing FROM customers').stale).toBe(true);
    expect(judge('SELECT id FROM customers').stale).toBe(false);
  });

  test('an unresolved name alone, with nothing protected in sight, is left to the server', () => {
    expect(judge('SELECT nothing FROM orders').refusal).toBeUndefined();
  });
});

test('a result depends on literals when one was judged', () => {
  expect(judge('SELECT id FROM customers WHERE id = 5').literalDependent).toBe(false);
  expect(judge('SELECT id FROM customers ORDER BY 1').literalDependent).toBe(true);
  expect(judge("UPDATE customers SET ssn = 'x'").literalDependent).toBe(true);
});

test('deep nesting is refused, not a crash', () => {
  expect(judge(`SELECT ${'('.repeat(0)}${Array(3000).fill('1').join('+')} FROM customers`).refusal?.code).toBe(
    'SPG412',
  );
});
