import { expect, test } from 'vitest';
import { catalogOf, tuples } from './analyse.fixture.ts';
import { judgeFunction } from './functions.ts';

test.each([
  ['lower(a)', 'pg_catalog.lower() safe'],
  ['pg_catalog.lower(a)', 'pg_catalog.lower() safe'],
  ['now()', 'pg_catalog.now() safe'],
  ["nextval('s')", 'pg_catalog.nextval() volatile'],
  ['random()', 'pg_catalog.random() volatile'],
  ["pg_read_file('/etc/passwd')", 'pg_catalog.pg_read_file() dangerous'],
  ["PG_READ_FILE('/etc/passwd')", 'pg_catalog.pg_read_file() dangerous'],
  ['"pg_read_file"(\'x\')', 'pg_catalog.pg_read_file() dangerous'],
  ["pg_catalog.query_to_xml('select 1', true, true, '')", 'pg_catalog.query_to_xml() dangerous'],
  ["database_to_xml(true, true, '')", 'pg_catalog.database_to_xml() dangerous'],
  ["ts_stat('select 1')", 'pg_catalog.ts_stat() dangerous'],
  ['lo_get(1)', 'pg_catalog.lo_get() dangerous'],
  ['setval(a, 1)', 'pg_catalog.setval() dangerous'],
  ['pg_terminate_backend(1)', 'pg_catalog.pg_terminate_backend() dangerous'],
  ['pg_advisory_lock(1)', 'pg_catalog.pg_advisory_lock() dangerous'],
  ['pg_try_advisory_xact_lock_shared(1)', 'pg_catalog.pg_try_advisory_xact_lock_shared() dangerous'],
  ['pg_advisory_unlock(1)', 'pg_catalog.pg_advisory_unlock() volatile'],
  ['pg_stat_get_activity(1)', 'pg_catalog.pg_stat_get_activity() dangerous'],
  ["dblink('x', 'y')", 'public.dblink() dangerous'],
  ["ext.dblink_exec('x')", 'ext.dblink_exec() dangerous'],
  ["get_raw_page('t', 0)", 'public.get_raw_page() dangerous'],
  ['mine(1)', 'public.mine() unknown'],
  ['audit.mine(1)', 'audit.mine() user'],
  ['information_schema._pg_expandarray(a)', 'information_schema._pg_expandarray() safe'],
  ['information_schema._pg_mine(a)', 'information_schema._pg_mine() user'],
])('SELECT %s', (call, expected) => {
  expect(tuples(`SELECT ${call}`)).toBe(`${expected}, Select`);
});

const catalog = catalogOf(
  [
    { schema: 'public', name: 'orders' },
    { schema: 'audit', name: 'x' },
  ],
  [
    { schema: 'public', name: 'lower' },
    { schema: 'public', name: 'reveal' },
    { schema: 'public', name: 'same', language: 'c', volatility: 'i' },
    { schema: 'public', name: 'spy' },
    { schema: 'pg_catalog', name: 'planted', oid: 40000, volatility: 'i' },
    { schema: 'information_schema', name: '_pg_expandarray', oid: 40001, volatility: 'i' },
    { schema: 'pg_catalog', name: 'newer', oid: 9000, volatility: 'v' },
    { schema: 'public', name: 'json_exists' },
  ],
  { '=': ['same'], '<->': ['spy'] },
);

test.each([
  // An overload of the user's may be the better match.
  ['SELECT lower(b) FROM orders', 'pg_catalog.lower() safe, public.lower() user, Select public.orders'],
  // The other way to call a function.
  ['SELECT o.reveal FROM orders o', 'public.reveal() user, Select public.orders'],
  ['SELECT (o).reveal FROM orders o', 'public.reveal() user, Select public.orders'],
  ['SELECT orders.b FROM orders', 'Select public.orders'],
  ['SELECT a OPERATOR(public.<->) b FROM orders', 'public.spy() user, Select public.orders'],
  ['SELECT id <-> b FROM orders', 'public.spy() user, Select public.orders'],
  ['SELECT id FROM orders WHERE id = 1', 'Select public.orders'],
  ['SELECT planted()', 'pg_catalog.planted() user, Select'],
  ['SELECT information_schema._pg_expandarray(1)', 'information_schema._pg_expandarray() user, Select'],
  ['SELECT newer()', 'pg_catalog.newer() dangerous, Select'],
])('%s', (sql, expected) => {
  const sorted = (text: string): string[] => text.split(', ').sort();
  expect(sorted(tuples(sql, { catalog }))).toEqual(sorted(expected));
});

test('a decoy does not hide a call in functional notation', () => {
  const sql = 'SELECT o.reveal FROM orders o, (SELECT 1 AS reveal) x';
  expect(tuples(sql, { catalog })).toContain('public.reveal() user');
});

test('syntax that an older server reads as a call', () => {
  const sql = "SELECT json_exists(b, '$') FROM orders";
  expect(tuples(sql, { catalog })).toBe('Select public.orders');
  expect(tuples(sql, { catalog: { ...catalog, serverVersion: 150000 } })).toContain('public.json_exists() user');
});

test('the fast path judges as a call does', () => {
  const base = { oid: 764, language: 'internal', volatility: 'v', securityDefiner: false, kind: 'f' } as const;
  expect(judgeFunction({ ...base, schema: 'pg_catalog', name: 'lo_import' })).toBe('dangerous');
  expect(judgeFunction({ ...base, schema: 'pg_catalog', name: 'random' })).toBe('volatile');
  expect(judgeFunction({ ...base, schema: 'pg_catalog', name: 'lower', volatility: 'i' })).toBe('safe');
  expect(judgeFunction({ ...base, schema: 'public', name: 'lower', volatility: 'i' })).toBe('user');
});

test.each([
  ['SELECT oid, relname FROM pg_class', 'Select pg_catalog.pg_class~'],
  ['SELECT 1 FROM information_schema.tables', 'Select information_schema.tables~'],
  ['SELECT 1 FROM information_schema.user_mapping_options', 'Select information_schema.user_mapping_options'],
  ['SELECT 1 FROM pg_authid', 'Select pg_catalog.pg_authid'],
  ['SELECT 1 FROM pg_shadow', 'Select pg_catalog.pg_shadow'],
  ['SELECT 1 FROM pg_stats', 'Select pg_catalog.pg_stats'],
  ['SELECT 1 FROM pg_statistic', 'Select pg_catalog.pg_statistic'],
  ['SELECT stxname FROM pg_statistic_ext', 'Select pg_catalog.pg_statistic_ext~'],
  ['SELECT 1 FROM pg_statistic_ext_data', 'Select pg_catalog.pg_statistic_ext_data'],
  ['SELECT 1 FROM pg_largeobject', 'Select pg_catalog.pg_largeobject'],
  ['SELECT 1 FROM pg_user_mappings', 'Select pg_catalog.pg_user_mappings'],
  ['SELECT pid, state FROM pg_stat_activity', 'Select pg_catalog.pg_stat_activity~'],
  ['SELECT query FROM pg_stat_activity', 'Select pg_catalog.pg_stat_activity'],
  ['SELECT * FROM pg_stat_activity', 'Select pg_catalog.pg_stat_activity'],
  ['SELECT a FROM pg_stat_activity a', 'Select pg_catalog.pg_stat_activity'],
  ['SELECT (a).query FROM pg_stat_activity a', 'Select pg_catalog.pg_stat_activity'],
  ['SELECT pid FROM pg_stat_activity JOIN t USING (query)', 'Select pg_catalog.pg_stat_activity, Select public.t'],
  ['SELECT x FROM pg_stat_activity a (x)', 'Select pg_catalog.pg_stat_activity'],
  ['SELECT 1 FROM pg_stat_activity NATURAL JOIN t', 'Select pg_catalog.pg_stat_activity, Select public.t'],
  [
    'SELECT row_to_json(r) FROM (SELECT pid FROM pg_stat_ssl) r',
    'pg_catalog.row_to_json() safe, Select pg_catalog.pg_stat_ssl~',
  ],
  ['SELECT r FROM (SELECT * FROM pg_stat_ssl) r', 'Select pg_catalog.pg_stat_ssl'],
  ['SELECT r FROM (SELECT s FROM pg_stat_ssl s) r', 'Select pg_catalog.pg_stat_ssl'],
  ['SELECT client_dn FROM (SELECT pid FROM pg_stat_ssl) r (client_dn)', 'Select pg_catalog.pg_stat_ssl'],
  ['SELECT principal FROM pg_stat_gssapi', 'Select pg_catalog.pg_stat_gssapi'],
  [
    'SELECT count(*) FROM pg_subscription WHERE subdbid = 1',
    'pg_catalog.count() safe, Select pg_catalog.pg_subscription~',
  ],
  ['UPDATE pg_class SET relname = 1', 'Update pg_catalog.pg_class, Opaque'],
  ['INSERT INTO pg_proc SELECT 1', 'Insert pg_catalog.pg_proc, Opaque'],
  ['TRUNCATE pg_catalog.pg_depend', 'Truncate pg_catalog.pg_depend, Opaque'],
])('catalog: %s', (sql, expected) => {
  const sorted = (text: string): string[] => text.split(', ').sort();
  expect(sorted(tuples(sql))).toEqual(sorted(expected));
});
