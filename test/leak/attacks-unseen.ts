/**
 * Attacks whose harm is not in the text that does it: settings that a definition, a cursor or a part of a portal changes later, questions
 * that a constraint answers by its name.
 */
import { type Attack, each, oracles, sessions } from './attack.ts';
import { B, E, extended, P, S, type Step, together } from './wire.ts';

const STOLEN = 'SELECT upper(ssn) FROM customers';
const CLEAN_PATH = 'SET search_path = other';

/** A call that makes customers mean the protected table. */
const MOVE = `set_config('search_path', 'public', false)`;

/** Made under any path; then the path is one under which the name is clean, then something runs what was made. */
const made = (definition: string, ...uses: readonly Step[]): readonly Step[] => [
  definition,
  CLEAN_PATH,
  ...uses,
  STOLEN,
  extended('SELECT pin + 0 FROM customers', 1),
];

/** @param call what moves search_path; `rows` a text that calls it for each of three rows */
const hidden = (call: string): (readonly Step[])[] => {
  const rows = `SELECT ${call} FROM generate_series(1, 3)`;
  return [
    made(`CREATE VIEW public.v AS SELECT ${call} AS x`, 'SELECT x FROM public.v'),
    made(`CREATE VIEW public.v AS SELECT ${call} AS x`, extended('SELECT x FROM public.v')),
    made(`CREATE TEMP VIEW v AS SELECT ${call} AS x`, 'SELECT x FROM pg_temp.v'),
    made(`CREATE TABLE public.d (a int, x text DEFAULT ${call})`, 'INSERT INTO public.d (a) VALUES (1)'),
    made(`CREATE TABLE public.d (a int, x text DEFAULT ${call})`, 'COPY public.d (a) FROM STDIN'),
    made(`ALTER TABLE orders ALTER note SET DEFAULT ${call}`, 'UPDATE public.orders SET note = DEFAULT'),
    made(`ALTER TABLE other.customers ADD x text DEFAULT ${call}`, 'INSERT INTO other.customers (id) VALUES (2)'),
    made(`CREATE TABLE public.d (a int, CHECK (${call} <> 'x'))`, 'INSERT INTO public.d (a) VALUES (1)'),
    made(`CREATE DOMAIN public.dom AS int CHECK (${call} <> 'x')`, 'SELECT 1::public.dom'),
    made(`CREATE DOMAIN public.dom AS text DEFAULT ${call}`, 'CREATE TABLE other.d (a int, b public.dom)'),
    made(`CREATE RULE r AS ON UPDATE TO orders DO ALSO SELECT ${call}`, 'UPDATE public.orders SET note = note'),
    made(
      `CREATE RULE r AS ON INSERT TO orders DO ALSO INSERT INTO other.customers (ssn) VALUES (${call})`,
      'INSERT INTO public.orders (id) VALUES (77)',
    ),
    made(
      `CREATE TRIGGER t BEFORE UPDATE ON orders FOR EACH ROW WHEN (${call} <> 'x') EXECUTE FUNCTION suppress_redundant_updates_trigger()`,
      'UPDATE public.orders SET note = note',
    ),
    made(`CREATE POLICY p ON orders USING (${call} <> 'x')`, 'SELECT id FROM public.orders'),
    [CLEAN_PATH, `EXPLAIN (ANALYZE) SELECT ${call}`, STOLEN],
    [CLEAN_PATH, `COPY (SELECT ${call}) TO STDOUT`, STOLEN],
    [CLEAN_PATH, `PREPARE p AS SELECT ${call}`, 'EXECUTE p', STOLEN],
    [CLEAN_PATH, `PREPARE p AS SELECT ${call}`, `EXECUTE p; ${STOLEN}`],
    [CLEAN_PATH, `SELECT ${call}; ${STOLEN}`],
    [CLEAN_PATH, together(P('', `SELECT ${call}`), B('', ''), E(''), P('', STOLEN), B('', ''), E(''), S)],
    [CLEAN_PATH, 'BEGIN', `DECLARE c CURSOR FOR SELECT ${call}`, CLEAN_PATH, 'FETCH c', STOLEN],
    [CLEAN_PATH, 'BEGIN', `DECLARE c CURSOR FOR ${rows}`, 'FETCH c', CLEAN_PATH, 'MOVE c', STOLEN],
    [CLEAN_PATH, 'BEGIN', together(P('s', rows), B('p', 's'), S), CLEAN_PATH, together(E('p'), S), STOLEN],
    [
      ...[CLEAN_PATH, 'BEGIN', together(P('s', rows), B('p', 's'), E('p', 1), S), CLEAN_PATH],
      ...['SELECT id FROM orders LIMIT 0', together(E('p', 1), S), STOLEN],
    ],
    [
      ...[CLEAN_PATH, 'BEGIN', together(P('s', rows), B('p', 's'), E('p', 1), S), CLEAN_PATH],
      together(E('p', 1), P('', STOLEN), B('', ''), E(''), S),
    ],
  ];
};

/** Nothing is set after all, though the text says so: what names mean stays what it was. */
const NOT_SET = [
  `SELECT set_config('search_path', 'other', false) WHERE false`,
  `SELECT CASE WHEN false THEN set_config('search_path', 'other', false) END`,
  `SELECT set_config('search_path', 'other', false) LIMIT 0`,
  `SELECT coalesce('x', set_config('search_path', 'other', false))`,
  `SELECT set_config('search_path', 'other', false), set_config('search_path', 'public', false)`,
  `EXPLAIN SELECT set_config('search_path', 'other', false)`,
  `WITH x AS (SELECT set_config('search_path', 'other', false)) SELECT 1`,
  `SELECT EXISTS (SELECT set_config('search_path', 'other', false))`,
  `PREPARE p AS SELECT set_config('search_path', 'other', false)`,
  `SELECT set_config('search_path', 'other', false), 1 / 0`,
].map((text): readonly Step[] => ['SET search_path = public', text, STOLEN]);

/** A rule of pg_settings calls set_config for each row that is updated. */
const KNOBS = [
  `UPDATE pg_settings SET setting = 'public' WHERE name = 'search_path'`,
  `UPDATE pg_catalog.pg_settings AS s SET setting = 'public' FROM public.orders WHERE s.name = 'search_path'`,
  `WITH u AS (UPDATE pg_settings SET setting = 'public' WHERE name = 'search_path') SELECT 1`,
  `EXPLAIN ANALYZE UPDATE pg_settings SET setting = 'public' WHERE name = 'search_path'`,
];

const SETTINGS_VIEW: readonly (readonly Step[])[] = [
  ...KNOBS.map((text) => [CLEAN_PATH, text, STOLEN]),
  [CLEAN_PATH, extended(KNOBS[0]!), STOLEN],
  [CLEAN_PATH, 'BEGIN', KNOBS[0]!, STOLEN, 'COMMIT'],
  [
    ...['CREATE VIEW knobs AS SELECT name, setting FROM pg_settings', 'CREATE VIEW knobs2 AS TABLE knobs', CLEAN_PATH],
    ...[`UPDATE public.knobs2 SET setting = 'public' WHERE name = 'search_path'`, STOLEN],
  ],
  [
    `UPDATE pg_settings SET setting = 'off' WHERE name = 'standard_conforming_strings'`,
    `SELECT '\\' || ssn FROM customers --'`,
  ],
];

const GUESS = `'guess'`;

const BY_NAME = [
  `INSERT INTO customers (id, ssn) VALUES (100, ${GUESS}) ON CONFLICT ON CONSTRAINT customers_ssn_key DO UPDATE SET region = 'hit' RETURNING id`,
  `INSERT INTO customers (id, ssn) VALUES (100, ${GUESS}) ON CONFLICT ON CONSTRAINT customers_ssn_key DO NOTHING RETURNING id`,
  `INSERT INTO customers (id, card) VALUES (100, 'x') ON CONFLICT ON CONSTRAINT customers_card_excl DO NOTHING`,
  `INSERT INTO customers (id, ssn) VALUES (100, ${GUESS}) ON CONFLICT (ssn) DO UPDATE SET region = 'hit' RETURNING id`,
  `MERGE INTO customers c USING (VALUES (${GUESS})) v(x) ON c.ssn = v.x WHEN MATCHED THEN UPDATE SET region = 'hit'`,
  'CREATE TABLE mine (s text REFERENCES customers (ssn))',
  'ALTER TABLE orders ADD c text REFERENCES customers (ssn)',
  'ALTER TABLE orders ADD c text REFERENCES customers',
];

/** Rows of the system catalog are names and definitions: written there, they pass by ALTER TABLE and all that judges it. */
const REWRITTEN = [
  `UPDATE pg_class SET relname = 'open' WHERE oid = 'public.customers'::regclass`,
  `UPDATE pg_catalog.pg_attribute SET attname = 'open' WHERE attname = 'ssn'`,
  `UPDATE pg_namespace SET nspname = 'open' WHERE nspname = 'public'`,
  `UPDATE pg_proc SET provolatile = 'i', proname = 'open' WHERE proname = 'query_to_xml'`,
  'DELETE FROM pg_inherits',
  'INSERT INTO pg_depend SELECT * FROM pg_depend',
  'TRUNCATE pg_rewrite',
  'COPY pg_rewrite FROM STDIN',
  `MERGE INTO pg_class c USING pg_class d ON c.oid = d.oid AND c.relname = 'kept' WHEN MATCHED THEN UPDATE SET relname = 'open'`,
  `WITH u AS (UPDATE pg_class SET relname = 'open' WHERE relname = 'kept') SELECT 1`,
  `EXPLAIN ANALYZE UPDATE pg_class SET relname = 'open' WHERE relname = 'kept'`,
];

/** From one protected column into another with a weaker mask. */
const WEAKER = [
  'UPDATE customers SET email = ssn WHERE id = 1',
  'UPDATE customers SET email = card, card = email',
  'INSERT INTO customers (id, email) SELECT id + 100, ssn FROM customers',
  'MERGE INTO people p USING customers c ON p.id = c.id WHEN MATCHED THEN UPDATE SET ssn = c.ssn',
  'UPDATE people_one SET ssn = c.email FROM customers c',
];

export const UNSEEN_ATTACKS: readonly Attack[] = [
  ...sessions('settings changed unseen', [...hidden(MOVE), ...NOT_SET, ...SETTINGS_VIEW]),
  ...oracles('constraints as oracles', BY_NAME),
  ...oracles('the system catalog written to', REWRITTEN),
  ...sessions('the system catalog written to', [
    [
      ...['CREATE VIEW names AS SELECT oid, relname FROM pg_class', 'CREATE VIEW names2 AS TABLE names'],
      ...[`UPDATE names2 SET relname = 'open' WHERE oid = 'customers'::regclass`, 'SELECT ssn FROM open'],
    ],
    [
      'CREATE RULE r AS ON UPDATE TO orders DO ALSO UPDATE pg_class SET relname = $$open$$ WHERE relname = $$kept$$',
      'UPDATE orders SET note = note',
      'SELECT upper(ssn) FROM open',
    ],
  ]),
  ...each('into a weaker mask', WEAKER),
];

/** Of the owner: a function that moves search_path, as those of applications with a schema for each tenant do. */
export const MOVER = `CREATE SCHEMA tools;
  CREATE FUNCTION tools.move(path text) RETURNS text LANGUAGE sql AS $$SELECT set_config('search_path', path, false)$$`;

/** With MOVER in the database. */
export const MOVER_ATTACKS: readonly Attack[] = sessions('functions that move names', hidden(`tools.move('public')`));
