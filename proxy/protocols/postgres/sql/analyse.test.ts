import { describe, expect, test } from 'vitest';
import { catalogOf, environment, NO_MASKS, run, shown, tuples } from './analyse.fixture.ts';
import { analyse, analyseAsync, PARSE_INLINE_LIMIT } from './analyse.ts';
import type { Analysis, StatementEffect } from './types.ts';

const effects = (analysis: Analysis): readonly StatementEffect[] => analysis.statements.flatMap((one) => one.effects);

describe('CTE names', () => {
  test.each([
    ['WITH t AS (SELECT 1) SELECT * FROM t', 'Select'],
    // Without RECURSIVE the query means the table of that name.
    ['WITH t AS (SELECT * FROM t) SELECT * FROM t', 'Select public.t'],
    ['WITH RECURSIVE t AS (SELECT 1 UNION ALL SELECT * FROM t) SELECT * FROM t', 'Select'],
    // A later CTE is not in sight of an earlier one.
    ['WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a, b', 'Select public.b'],
    ['WITH RECURSIVE a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a, b', 'Select'],
    // A name of an inner WITH is not in sight outside of it.
    ['SELECT * FROM (WITH t AS (SELECT 1) SELECT * FROM t) x, t', 'Select public.t'],
    ['SELECT (WITH t AS (SELECT 1) SELECT 1 FROM t) FROM t', 'Select public.t'],
    // A qualified name is never a CTE.
    ['WITH t AS (SELECT 1) SELECT * FROM public.t', 'Select public.t'],
    // The target of a modifying statement is never a CTE.
    ['WITH t AS (SELECT 1) DELETE FROM t', 'Delete public.t'],
    ['WITH t AS MATERIALIZED (SELECT * FROM u) INSERT INTO t SELECT * FROM t', 'Select public.u, Insert public.t'],
    ['WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d', '1:Delete public.t, 1:Select public.t, Select'],
    ['WITH a AS (SELECT 1) SELECT 1 FROM a UNION SELECT 1 FROM b', 'Select public.b'],
    ['SELECT 1 UNION (WITH b AS (SELECT 1) SELECT 1 FROM b) UNION SELECT 1 FROM b', 'Select public.b'],
  ])('%s', (sql, expected) => {
    expect(tuples(sql)).toBe(expected);
  });
});

describe('every place a relation can hide in', () => {
  test.each([
    'SELECT (SELECT a FROM s)',
    'SELECT 1 WHERE EXISTS (SELECT a FROM s)',
    'SELECT 1 FROM x JOIN s USING (a)',
    'SELECT 1 FROM x, LATERAL (SELECT a FROM s) y',
    'SELECT 1 GROUP BY (SELECT a FROM s)',
    'SELECT 1 HAVING (SELECT a FROM s) = 1',
    'SELECT 1 ORDER BY (SELECT a FROM s)',
    'SELECT 1 LIMIT (SELECT a FROM s)',
    'SELECT 1 OFFSET (SELECT a FROM s)',
    'SELECT DISTINCT ON ((SELECT a FROM s)) 1',
    'SELECT count(*) FILTER (WHERE (SELECT a FROM s)) FROM x',
    'SELECT count(*) OVER (PARTITION BY (SELECT a FROM s)) FROM x',
    'SELECT count(*) OVER w FROM x WINDOW w AS (ORDER BY (SELECT a FROM s))',
    'SELECT string_agg(a, b ORDER BY (SELECT a FROM s)) FROM x',
    'SELECT CASE WHEN (SELECT a FROM s) THEN 1 END',
    'SELECT COALESCE(1, (SELECT a FROM s))',
    'SELECT ARRAY(SELECT a FROM s)',
    'SELECT ARRAY[(SELECT a FROM s)]',
    'SELECT ROW((SELECT a FROM s))',
    'SELECT a[(SELECT a FROM s)] FROM x',
    'SELECT 1 IN (SELECT a FROM s)',
    'SELECT 1 = ANY (SELECT a FROM s)',
    'SELECT (SELECT a FROM s)::text',
    'SELECT xmlelement(name a, (SELECT a FROM s))',
    'SELECT json_object(1 : (SELECT a FROM s))',
    'SELECT json_array(SELECT a FROM s)',
    "SELECT json_value((SELECT a FROM s), '$')",
    "SELECT 1 FROM json_table((SELECT a FROM s), '$' COLUMNS (b int)) j",
    "SELECT 1 FROM xmltable('/a' PASSING (SELECT a FROM s) COLUMNS b int) j",
    'SELECT 1 FROM generate_series(1, (SELECT a FROM s)) g',
    'SELECT 1 FROM ROWS FROM (generate_series(1, (SELECT a FROM s))) g',
    'SELECT 1 FROM x TABLESAMPLE system ((SELECT a FROM s))',
    'VALUES ((SELECT a FROM s))',
    'TABLE s',
    'SELECT 1 UNION ALL SELECT a FROM s',
    'INSERT INTO x VALUES ((SELECT a FROM s))',
    'INSERT INTO x VALUES (1) ON CONFLICT (a) DO UPDATE SET a = (SELECT a FROM s)',
    'INSERT INTO x VALUES (1) RETURNING (SELECT a FROM s)',
    'UPDATE x SET a = (SELECT a FROM s)',
    'UPDATE x SET (a, b) = (SELECT a, b FROM s)',
    'DELETE FROM x WHERE a IN (SELECT a FROM s)',
    'MERGE INTO x USING s ON x.a = s.a WHEN MATCHED THEN DELETE',
    'MERGE INTO x USING y ON x.a = y.a WHEN MATCHED AND (SELECT a FROM s) THEN DELETE',
    'DECLARE c CURSOR FOR SELECT a FROM s',
    'PREPARE p AS SELECT a FROM s',
    'CREATE VIEW v AS SELECT a FROM s',
    'CREATE MATERIALIZED VIEW v AS SELECT a FROM s',
    'CREATE TABLE x AS SELECT a FROM s',
    'CREATE TABLE x AS TABLE s',
    'CREATE INDEX ON x (a) WHERE (SELECT a FROM s)',
    'CREATE RULE r AS ON SELECT TO x DO INSTEAD SELECT a FROM s',
    'CREATE TRIGGER g BEFORE UPDATE ON x FOR EACH ROW WHEN ((SELECT a FROM s)) EXECUTE FUNCTION f()',
    'CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT a FROM s; END',
    'CREATE FUNCTION f(a int DEFAULT (SELECT a FROM s)) RETURNS int RETURN 1',
    'COPY (SELECT a FROM s) TO STDOUT',
    'CALL p((SELECT a FROM s))',
    'EXPLAIN SELECT a FROM s',
    'EXECUTE p((SELECT a FROM s))',
    'ALTER TABLE x ALTER a SET DEFAULT (SELECT a FROM s)',
    'ALTER TABLE x ALTER a TYPE int USING (SELECT a FROM s)',
    'CREATE TABLE x (a int DEFAULT (SELECT a FROM s))',
    'CREATE TABLE x (a int REFERENCES s)',
    'CREATE TABLE x (LIKE s INCLUDING ALL)',
  ])('%s', (sql) => {
    expect(tuples(sql)).toMatch(/(?:^|\W)Select public\.s(?:,|$)/);
  });
});

test('a statement keeps its own kind beside what it reads', () => {
  expect(tuples('CREATE FUNCTION f() RETURNS int RETURN (SELECT a FROM t)')).toBe('Select public.t, CreateFunction');
  expect(tuples('CREATE DOMAIN d AS int CHECK ((SELECT a FROM t) = 1)')).toBe('Select public.t, CreateType');
});

describe('hostile spellings', () => {
  test.each([
    ['SELECT 1 -- x\rFROM a', 'Select public.a'],
    ['SELECT 1 /* /* */ FROM a -- */ FROM b', 'Select public.b'],
    ['SELECT * FROM a$b', 'Select public.a$b'],
    ['SELECT * FROM U&"\\0061udit"', 'Select public.audit'],
    ['SELECT * FROM U&"!0061udit" UESCAPE \'!\'', 'Select public.audit'],
    ['SELECT * FROM "Audit"."L"', 'Select Audit.L'],
    ['SELECT * FROM AUDIT.L', 'Select audit.l'],
    ['SELECT $a$ FROM x $a$ FROM b', 'Select public.b'],
    ["SELECT E'\\' FROM x' FROM b", 'Select public.b'],
    ['SELECT * FROM ONLY (a)', 'Select public.a'],
    ['SELECT * FROM a *', 'Select public.a'],
    ['TABLE a', 'Select public.a'],
    ['((SELECT * FROM a))', 'Select public.a'],
    ['SELECT * FROM db.audit.l', 'Select audit.l'],
    ['EXPLAIN (ANALYZE) DELETE FROM a', 'Explain, 1:Delete public.a'],
    ['explain Analyze verbose DELETE FROM a', 'Explain, 1:Delete public.a'],
    ['EXPLAIN ("analyze" TRUE) DELETE FROM a', 'Explain, 1:Delete public.a'],
    ["EXPLAIN (analyze 'on') DELETE FROM a", 'Explain, 1:Delete public.a'],
    ['EXPLAIN (analyze 1) DELETE FROM a', 'Explain, 1:Delete public.a'],
    ['EXPLAIN (analyze off, ANALYZE) DELETE FROM a', 'Explain, 1:Delete public.a'],
    ['EXPLAIN (analyze, analyze off) DELETE FROM a', 'Explain, 1:Delete public.a'],
    ['EXPLAIN (analyze 2) DELETE FROM a', 'Explain, 1:Delete public.a'],
    ['EXPLAIN (ANALYZE off) DELETE FROM a', 'Explain, Select public.a'],
    ['EXPLAIN (ANALYZE 0) DELETE FROM a', 'Explain, Select public.a'],
    ['EXPLAIN (COSTS off) DELETE FROM a', 'Explain, Select public.a'],
  ])('%s', (sql, expected) => {
    expect(tuples(sql)).toBe(expected);
  });

  test('what does not parse is one Unknown tuple, with the position', () => {
    const analysis = run('SELECT 1; DROP TABL x');
    expect(shown(analysis)).toBe('Unknown');
    expect(analysis.parseError?.message).toContain('syntax error');
    expect(analysis.parseError?.position).toBe(16);
    expect(analysis.shapeStable).toBe(false);
  });

  test('a NUL is not the end of the text', () => {
    expect(run('SELECT 1\0; DROP TABLE x').parseError?.message).toContain('NUL');
  });

  test('5,000 levels of nesting are a clean error on both paths, and the parser stays sane', async () => {
    const bombs = [
      `SELECT ${'(SELECT '.repeat(5000)}1${')'.repeat(5000)}`,
      `SELECT ${'(SELECT '.repeat(3000)}1${')'.repeat(3000)}`,
      `SELECT 1${' + 1'.repeat(30_000)}`,
      `SELECT 1${' UNION SELECT 1'.repeat(12_000)}`,
      `SELECT ${'ARRAY['.repeat(5000)}1${']'.repeat(5000)}`,
    ];
    for (const bomb of bombs) {
      expect(run(bomb).parseError?.message).toMatch(/nested too deeply|memory exhausted/);
      const other = await analyseAsync(bomb, environment(), NO_MASKS, undefined);
      expect(other.parseError?.message).toMatch(/nested too deeply|memory exhausted/);
      expect(
        shown(
          await analyseAsync(`SELECT ${' '.repeat(PARSE_INLINE_LIMIT)} 1 FROM a`, environment(), NO_MASKS, undefined),
        ),
      ).toBe('Select public.a');
    }
    // A spent instance is replaced behind the scenes; the one in use answers as ever.
    expect(tuples('SELECT * FROM a, b WHERE c = 1')).toBe('Select public.a, Select public.b');
  });

  test('a large statement goes through the worker', async () => {
    const rows = Array.from({ length: 5000 }, (_, index) => `(${index}, 'x')`).join(', ');
    const analysis = await analyseAsync(`INSERT INTO t VALUES ${rows}`, environment(), NO_MASKS, undefined);
    expect(shown(analysis)).toBe('Insert public.t');
  });

  test('an ended session does not wait for the worker', async () => {
    const text = `SELECT ${' '.repeat(PARSE_INLINE_LIMIT)} 1`;
    const analysis = await analyseAsync(text, environment(), NO_MASKS, undefined, AbortSignal.abort());
    expect(analysis.parseError?.message).toBe('the session ended');
  });
});

describe('names', () => {
  const catalog = catalogOf([
    { schema: 'audit', name: 'log' },
    { schema: 'public', name: 'orders' },
    { schema: 'public', name: 'log' },
  ]);

  test.each([
    [['public'], 'SELECT * FROM log', 'Select public.log'],
    [['audit', 'public'], 'SELECT * FROM log', 'Select audit.log'],
    [['missing', 'public'], 'SELECT * FROM orders', 'Select public.orders'],
    [['public'], 'SELECT relname FROM pg_class', 'Select pg_catalog.pg_class~'],
  ])('%j %s', (searchPath, sql, expected) => {
    const analysis = run(sql, { catalog, searchPath });
    expect(shown(analysis)).toBe(expected);
    expect(analysis.staleCatalog).toBe(false);
  });

  test('an unknown name asks for a fresh snapshot', () => {
    const analysis = run('SELECT * FROM nowhere', { catalog });
    expect(analysis.staleCatalog).toBe(true);
    expect(shown(analysis)).toBe('Select public.nowhere');
  });

  test('a temporary relation beside a permanent one counts as both', () => {
    const more = { catalog, temporary: new Set(['orders', 'scratch']) };
    expect(tuples('SELECT * FROM scratch', more)).toBe('Select pg_temp.scratch');
    expect(tuples('SELECT * FROM orders', more)).toBe('Select public.orders, Select pg_temp.orders');
  });

  test('SET search_path counts for the statements behind it in the same text', () => {
    expect(tuples('SET search_path = audit, public; SELECT * FROM log', { catalog })).toBe('Set~, 1:Select audit.log');
    expect(tuples("SELECT set_config('search_path', 'audit', false); SELECT * FROM log", { catalog })).toBe(
      'Set~, Select, 1:Select audit.log',
    );
  });

  test.each([
    'BEGIN; SET search_path = audit; ROLLBACK; SELECT * FROM log',
    'SET ROLE other; SELECT * FROM log',
    'RESET search_path; SELECT * FROM log',
    'DISCARD ALL; SELECT * FROM log',
  ])('refused because its names cannot be judged now: %s', (sql) => {
    expect(run(sql, { catalog }).refusal?.code).toBe('SPG020');
  });

  test('names that may mean several relations are refused only where rules tell relations apart', () => {
    const several = 'RESET search_path; SELECT * FROM log';
    expect(run(several, { catalog, relationsAlike: true }).refusal).toBeUndefined();
    const two = { catalog, searchPath: ['public', 'audit'], uncommitted: true };
    expect(run('SELECT * FROM public.log', two).refusal?.code).toBe('SPG020');
    expect(run('SELECT * FROM public.log', { ...two, relationsAlike: true }).refusal).toBeUndefined();
  });

  test('a cascade that the catalog knows reaches policy', () => {
    const known = catalogOf([
      { schema: 'public', name: 'parent', oid: 1 },
      { schema: 'public', name: 'part', oid: 2, parents: [1] },
      { schema: 'public', name: 'report', oid: 3, kind: 'v', dependsOn: [2] },
    ]);
    expect(tuples('DROP TABLE parent', { catalog: known })).toBe('DropTable public.parent, DropTable public.part');
    expect(tuples('DROP TABLE parent CASCADE', { catalog: known })).toContain('DropView public.report');
    expect(tuples('DROP SCHEMA public CASCADE', { catalog: known })).toContain('DropTable public.parent');
  });
});

describe('prepared statements', () => {
  test('PREPARE and EXECUTE in one text', () => {
    expect(tuples('PREPARE p AS DELETE FROM t; EXECUTE p')).toBe('Delete public.t, 1:Delete public.t');
    expect(run('PREPARE p AS DELETE FROM t').statements[0]?.writes).toBe(false);
    expect(run('PREPARE p AS DELETE FROM t; EXECUTE p').statements[1]?.writes).toBe(true);
  });

  test('EXECUTE of a name from before', () => {
    const inner = run('DELETE FROM t');
    const analysis = run('EXECUTE p', { prepared: (name) => (name === 'p' ? inner : undefined) });
    expect(shown(analysis)).toBe('Delete public.t');
    expect(analysis.statements[0]).toMatchObject({ kind: 'Delete', writes: true, modifiesRows: true });
  });

  test('EXECUTE of an unknown or deallocated name is Unknown', () => {
    expect(tuples('EXECUTE p')).toBe('Unknown');
    const inner = run('SELECT 1');
    expect(tuples('DEALLOCATE p; EXECUTE p', { prepared: () => inner })).toContain('1:Unknown');
  });

  test('EXPLAIN ANALYZE EXECUTE runs it', () => {
    const inner = run('DELETE FROM t');
    const analysis = run('EXPLAIN ANALYZE EXECUTE p', { prepared: () => inner });
    expect(shown(analysis)).toBe('Explain, 1:Delete public.t');
    expect(analysis.statements[0]?.writes).toBe(true);
  });
});

describe('effects', () => {
  test.each([
    ['SET statement_timeout = 5', [{ type: 'set', name: 'statement_timeout', value: '5', local: false }]],
    ['SET LOCAL search_path = a, "B c"', [{ type: 'set', name: 'search_path', value: 'a, "B c"', local: true }]],
    ['RESET search_path', [{ type: 'set', name: 'search_path', value: undefined, local: false }]],
    [
      "SELECT set_config('Application_Name', 'x', true)",
      [{ type: 'set', name: 'application_name', value: 'x', local: true }],
    ],
    ['SHOW Work_Mem', [{ type: 'show', name: 'work_mem' }]],
    ['DISCARD TEMP', [{ type: 'discard', target: 'TEMP' }]],
    ['DECLARE c CURSOR FOR SELECT 1', [{ type: 'declare', cursor: 'c' }]],
    ['DECLARE c CURSOR WITH HOLD FOR SELECT 1', [{ type: 'declare', cursor: 'c', hold: true }]],
    ['FETCH ALL FROM c', [{ type: 'fetch', cursor: 'c' }]],
    ['CLOSE ALL', [{ type: 'close', cursor: undefined }]],
    [
      'COPY t FROM STDIN (FORMAT BINARY)',
      [{ type: 'copy', direction: 'from', via: 'stdio', format: { format: 'binary' } }],
    ],
    [
      "COPY t TO PROGRAM 'x' (FORMAT 'csv')",
      [{ type: 'copy', direction: 'to', via: 'program', format: { format: 'csv' } }],
    ],
    ['CREATE TEMP VIEW v AS SELECT 1', [{ type: 'createTemporary', name: 'v' }, { type: 'ddl' }]],
    ['ROLLBACK TO s', [{ type: 'transaction', action: 'rollbackTo' }]],
  ])('%s', (sql, expected) => {
    expect(effects(run(sql))).toEqual(expected);
  });

  test.each([
    "SET client_encoding = 'LATIN1'",
    "SET NAMES 'SQL_ASCII'",
    'SET standard_conforming_strings = off',
    "SELECT set_config('client_encoding', 'LATIN1', false)",
    "SELECT set_config('client' || '_encoding', 'LATIN1', false)",
    'SELECT set_config(a, b, false) FROM t',
    "SELECT set_config(name, 'LATIN1', false) FROM pg_settings WHERE name = 'client_encoding'",
    "SELECT set_config(name, 'x', false) FROM pg_settings WHERE name <> 'application_name'",
    "SELECT set_config(name, 'x', false) FROM pg_settings, t WHERE name = 'application_name'",
    "SELECT (SELECT set_config(name, 'x', false) FROM t) FROM pg_settings WHERE name = 'application_name'",
    "WITH pg_settings AS (SELECT 'client_encoding' AS name) SELECT set_config(name, 'x', false) FROM pg_settings WHERE name = 'work_mem'",
    "SELECT * FROM set_config('standard_conforming_strings', 'off', true)",
    "SELECT set_config('search_path', $1, false)",
    "SELECT set_config('default_transaction_read_only', $1, false)",
    "SELECT set_config('jit', $1, $2)",
    "SELECT set_config('search_path', '\u00a0a, b', false)",
    "SET search_path = 'a', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'",
    "ALTER ROLE r SET session_preload_libraries = 'auto_explain'",
    "ALTER DATABASE d SET local_preload_libraries TO 'x'",
    "CREATE VIEW v AS SELECT set_config('search_path', 'a', false)",
    "CREATE MATERIALIZED VIEW v AS SELECT set_config('search_path', 'a', false)",
    "CREATE TABLE d (a text DEFAULT set_config('role', 'a', false))",
    "CREATE SCHEMA s CREATE TABLE d (a text DEFAULT set_config('search_path', 'a', false))",
    "CREATE RULE r AS ON UPDATE TO t DO ALSO SELECT set_config('search_path', 'a', false)",
    "CREATE FUNCTION f() RETURNS text LANGUAGE sql RETURN set_config('search_path', 'a', false)",
    "DECLARE c CURSOR FOR SELECT set_config('SEARCH_PATH', 'a', false)",
    "UPDATE pg_settings SET setting = 'a' WHERE name = 'search_path'",
    "UPDATE pg_catalog.pg_settings SET setting = 'a'",
    "WITH u AS (UPDATE pg_settings SET setting = 'a') SELECT 1",
    "EXPLAIN ANALYZE UPDATE pg_settings SET setting = 'a'",
  ])('refused: %s', (sql) => {
    expect(run(sql).refusal?.code).toBe('SPG019');
  });

  test.each([
    "SET client_encoding = 'UTF8'",
    "SET NAMES 'utf-8'",
    'SET standard_conforming_strings = on',
    'RESET client_encoding',
  ])('harmless: %s', (sql) => {
    expect(run(sql).refusal).toBeUndefined();
    expect(tuples(sql)).toBe('Set~');
  });
});

test.each([
  "CREATE VIEW v AS SELECT set_config('app.tenant', 'a', false)",
  "PREPARE p AS SELECT set_config('search_path', 'a', false)",
  "CREATE TABLE d AS SELECT set_config('search_path', 'a', false)",
  "EXPLAIN ANALYZE SELECT set_config('search_path', 'a', false)",
  "COPY (SELECT set_config('search_path', 'a', false)) TO STDOUT",
  "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = a AS 'SELECT 1'",
  "EXPLAIN UPDATE pg_settings SET setting = 'a'",
])('a setting that changes with its statement, or changes no name, is not refused: %s', (sql) => {
  expect(run(sql).refusal).toBeUndefined();
});

test('a harmless setting may be put back by a parameter', () => {
  expect(tuples("SELECT set_config('jit', $1, false)")).toBe('Set~, Select');
  expect(run("SELECT set_config('jit', $1, false)").refusal).toBeUndefined();
});

test('what pg_dump sets by way of pg_settings is a harmless SET', () => {
  const sql =
    "SELECT set_config(name, 'view, foreign-table', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'";
  expect(tuples(sql)).toBe('Set~, Select pg_catalog.pg_settings~');
  expect(run(sql).refusal).toBeUndefined();
});

test('an empty text runs nothing', () => {
  for (const sql of ['', ' ', ';', '-- x', ';;']) {
    const analysis = analyse(sql, environment(), NO_MASKS, undefined);
    expect(analysis.statements).toEqual([]);
    expect(shown(analysis)).toBe('Transaction~');
  }
});

test.each([
  ['SELECT a FROM t WHERE b = 1', true],
  ['SELECT a FROM t ORDER BY 1', false],
  ['SELECT a FROM t ORDER BY b', true],
  ['SELECT a, count(*) FROM t GROUP BY 1', false],
  ['SELECT DISTINCT ON (1) a FROM t', false],
  ['SELECT a FROM t LIMIT 5', true],
  ["SELECT set_config('work_mem', '1', true)", false],
  ['SET work_mem = 1', false],
  ["INSERT INTO t VALUES (1, 'x')", true],
])('shape: %s is stable: %s', (sql, stable) => {
  expect(run(sql).shapeStable).toBe(stable);
});

test('facts of sub-statements', () => {
  const { statements } = run(
    'WITH d AS (DELETE FROM t WHERE a = 1 RETURNING a) SELECT f(a) FROM d, s.x LIMIT 1',
  ).command;
  expect(statements).toEqual([
    { kind: 'Select', hasWhere: false, hasLimit: true, hasLiterals: true, relations: ['s.x'], functions: ['public.f'] },
    { kind: 'Delete', hasWhere: true, hasLimit: false, hasLiterals: true, relations: ['public.t'], functions: [] },
  ]);
});
