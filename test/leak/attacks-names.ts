/** Attacks on what a name means: spellings of search_path, rights of roles, functions that hand out rows, generated columns. */
import { type Attack, each, oracles, sessions } from './attack.ts';
import { B, E, extended, P, S, together } from './wire.ts';

const STOLEN = 'SELECT upper(ssn) FROM customers';

/** Each hides that the server skips the first element, or reads it as another: the name then means public.customers. */
const PATHS = [
  '\u00a0other, public',
  'other\u00a0, public',
  '\u2003other, public',
  'other\u000b, public',
  '\ufeffother, public',
  'o\u017fher, other\u2028, public',
  'x"y, other, public',
  `"${'a'.repeat(70)}", other, public`,
  'nothing, "Other", public',
  '"other", public',
  'OTHER, PUBLIC',
  'pg_temp, other, public',
  'other, pg_catalog, public',
];

const SEARCH_PATHS = sessions('search_path and roles', [
  ...PATHS.map((path) => [`SELECT set_config($$search_path$$, $$${path}$$, false)`, STOLEN]),
  ...PATHS.slice(0, 3).map((path) => [
    'BEGIN',
    `SELECT set_config($$search_path$$, $$${path}$$, true)`,
    together(P('', STOLEN), B('', '', [], 1), E(''), S),
    'COMMIT',
  ]),
  [
    'CREATE SCHEMA keep CREATE TABLE customers (id int, ssn text, pin int)',
    'SELECT set_config($$search_path$$, $$\u212aeep, public$$, false)',
    STOLEN,
    'DROP SCHEMA keep CASCADE',
  ],
  // A role without USAGE on a schema does not see it in its path.
  ...['SET ROLE weak', 'SET SESSION AUTHORIZATION weak'].map((become) => [
    'CREATE ROLE weak',
    'GRANT USAGE ON SCHEMA public TO weak',
    'GRANT SELECT ON ALL TABLES IN SCHEMA public TO weak',
    'SET search_path = other, public',
    become,
    STOLEN,
    extended('SELECT pin + 0 FROM customers', 1),
    'RESET ROLE',
    'RESET SESSION AUTHORIZATION',
    'DROP OWNED BY weak',
    'REVOKE ALL ON ALL TABLES IN SCHEMA public FROM weak',
    'REVOKE ALL ON SCHEMA public FROM weak',
    'DROP ROLE weak',
  ]),
  [
    'SET search_path = other, public',
    'BEGIN',
    'REVOKE ALL ON SCHEMA other FROM CURRENT_USER, PUBLIC',
    STOLEN,
    'ROLLBACK',
  ],
  // Judged before, run after: another session could drop it between.
  ['SET search_path = other, public', STOLEN],
  [
    'SET search_path = soon, public',
    'SELECT id FROM orders',
    'CREATE SCHEMA soon CREATE VIEW customers AS SELECT id, note AS ssn FROM public.orders',
    'SELECT upper(ssn) FROM customers',
    'DROP SCHEMA soon CASCADE',
    STOLEN,
  ],
]);

const FUNCTIONS = [
  'SELECT (1).one_customer',
  'SELECT ((SELECT 1)).one_customer',
  'SELECT (o.id).one_customer.ssn FROM orders o',
  'SELECT (one_customer(o.id)).* FROM orders o',
  'SELECT (many_customers())[1].ssn',
  'SELECT u.ssn FROM unnest(many_customers()) u',
  'SELECT (boxed()).c.ssn',
  'SELECT c FROM boxed()',
  'SELECT * FROM ROWS FROM (boxed(), all_customers()) r',
  'SELECT o.buyer FROM orders o',
  'SELECT (o.buyer).ssn FROM orders o',
  'SELECT public.orders.buyer FROM public.orders',
  'SELECT y.x.buyer FROM (SELECT o FROM orders o) y (x)',
  'SELECT (x).buyer FROM (SELECT o FROM orders o) y (x)',
  'WITH o AS (TABLE orders) SELECT o.buyer FROM o',
  'SELECT (ROW(1, 1, 1, $$$$, $$$$)::orders).buyer.pin',
  'SELECT id FROM orders o WHERE (o.buyer).pin > 5',
  'SELECT id FROM orders o ORDER BY o.buyer',
  'UPDATE orders SET note = (orders.buyer).ssn WHERE id = 1 RETURNING note',
  'INSERT INTO orders (id, note) VALUES (77, (one_customer(1)).ssn) RETURNING note',
  'COPY orders (id, note) FROM STDIN WHERE (orders.buyer).pin > 5',
  'CREATE TABLE mine (s text DEFAULT (one_customer(1)).ssn)',
  'CREATE TABLE mine (a int, CHECK ((one_customer(a)).pin > 5))',
  'ALTER TABLE orders ADD s text DEFAULT (one_customer(1)).ssn',
  'ALTER TABLE orders ALTER note SET DEFAULT (one_customer(1)).ssn',
  'ALTER TABLE orders ALTER note TYPE text USING (one_customer(id)).ssn',
  'ALTER TABLE orders ADD CHECK ((orders.buyer).pin > 5)',
  'CREATE INDEX ON orders (((orders.buyer).ssn))',
  'CREATE STATISTICS s ON id, ((orders.buyer).ssn) FROM orders',
  'CREATE DOMAIN d AS int DEFAULT (one_customer(1)).pin',
  'CREATE DOMAIN d AS int CHECK (value <> 5 OR (one_customer(1)).pin > 5)',
  'CREATE RULE r AS ON UPDATE TO orders DO ALSO SELECT f::text FROM all_customers() f',
  'CREATE RULE r AS ON UPDATE TO orders DO ALSO UPDATE other.customers SET ssn = (one_customer(1)).ssn',
  'CREATE TRIGGER t BEFORE UPDATE ON orders FOR EACH ROW WHEN ((old.buyer).pin > 5) EXECUTE FUNCTION suppress_redundant_updates_trigger()',
  'CREATE POLICY p ON orders USING (EXISTS (SELECT FROM customers WHERE pin > 5))',
  'CREATE POLICY p ON orders WITH CHECK (note = (SELECT ssn FROM customers LIMIT 1))',
  'CREATE VIEW mine AS SELECT (o.buyer).ssn FROM orders o',
];

const GENERATED = [
  'SELECT tail FROM ledger',
  'SELECT * FROM ledger',
  'SELECT upper(tail) FROM ledger',
  'SELECT l FROM ledger l',
  'SELECT id FROM ledger WHERE tail > $$k$$',
  'COPY ledger TO STDOUT',
  'UPDATE ledger SET id = 1 RETURNING tail, secret',
  'CREATE TABLE mine AS SELECT tail FROM ledger',
];

const LATE_GRAMMAR = [
  ...[
    'JSON_QUERY(profile, $$$.k$$)',
    'JSON_EXISTS(profile, $$$.k ? (@ like_regex "^z")$$)',
    'JSON_VALUE(profile, $$$.k$$ RETURNING text DEFAULT $$x$$ ON ERROR)',
    'JSON_VALUE($${}$$, $$$.k$$ DEFAULT ssn ON EMPTY)',
    'JSON_VALUE($${"a":1}$$, $$$.a ? (@ == $x)$$ PASSING pin AS x)',
    'ssn IS JSON',
    'JSON_SCALAR(pin)',
    'JSON_SERIALIZE(profile)',
    'JSON(ssn)',
    'JSON_OBJECT($$a$$: ssn)',
    'JSON_ARRAY(ssn)',
    'JSON_ARRAYAGG(id ORDER BY pin)',
    'JSON_OBJECTAGG(id: pin)',
    'GROUPING(pin)',
    'sum(id) OVER (ORDER BY id ROWS pin PRECEDING)',
  ].map((expression) => `SELECT ${expression} FROM customers`),
  'SELECT JSON_ARRAY(SELECT ssn FROM customers)',
  'SELECT jt.* FROM customers c, JSON_TABLE(c.profile, $$$$ COLUMNS (k text)) jt',
  'SELECT pin FROM customers GROUP BY ROLLUP (1)',
  'SELECT pin, id FROM customers GROUP BY (1, 2)',
  'SELECT region FROM customers GROUP BY DISTINCT CUBE (region, (pin))',
  'SELECT id FROM customers ORDER BY customers',
  'SELECT id FROM customers FETCH FIRST (SELECT pin FROM customers LIMIT 1) ROWS ONLY',
  'SELECT * FROM orders TABLESAMPLE bernoulli ((SELECT pin FROM customers LIMIT 1))',
  'SELECT upper(b) FROM customers AS a (a, c, b)',
  'WITH x (id, ssn, name) AS (TABLE customers) SELECT upper(name) FROM x',
  'SELECT upper(j.b) FROM (customers c JOIN orders o ON o.customer_id = c.id) AS j (a, n, b)',
  'SELECT l.y || $$$$ FROM customers c, LATERAL (SELECT c.ssn AS y) l',
  'MERGE INTO orders o USING customers c ON o.id = c.id WHEN NOT MATCHED BY SOURCE THEN DELETE RETURNING c.ssn, merge_action()',
  'MERGE INTO customers c USING orders o ON o.id = c.id WHEN MATCHED THEN UPDATE SET name = $$x$$ RETURNING old.ssn, new.pin, c.card, *',
  'INSERT INTO orders (id, note) VALUES (1, $$x$$) ON CONFLICT (id) DO UPDATE SET note = (SELECT ssn FROM customers LIMIT 1) RETURNING old.note, new.note',
];

/** Past the tables: files of the server, where the rows are, and what only it should know. */
const AROUND = [
  'COPY orders (note) FROM PROGRAM $$strings base/*/*$$',
  'COPY orders (note) FROM $$/etc/hostname$$',
  'COPY (SELECT 1) TO PROGRAM $$cat >/dev/null$$',
  'COPY orders TO $$/tmp/sallyport-leak-harness$$',
  'SELECT rolpassword FROM pg_authid',
  'SELECT passwd FROM pg_shadow',
  'SELECT s FROM pg_shadow s',
  'SELECT umoptions FROM pg_user_mappings',
  'ALTER ROLE postgres SET session_preload_libraries = $$auto_explain$$',
  'ALTER DATABASE leak SET local_preload_libraries = $$auto_explain$$',
];

export const NAME_ATTACKS: readonly Attack[] = [
  ...SEARCH_PATHS,
  ...each('functions that hand out rows', FUNCTIONS),
  ...sessions('functions that hand out rows', [
    [
      'CREATE TABLE mine (a int, s text DEFAULT (one_customer(1)).ssn)',
      'INSERT INTO mine (a) VALUES (1)',
      'SELECT s FROM mine',
    ],
    ['ALTER TABLE orders ADD s text DEFAULT (one_customer(1)).ssn', 'SELECT s FROM orders'],
    [
      'CREATE RULE r AS ON UPDATE TO orders DO ALSO SELECT f::text FROM all_customers() f',
      'UPDATE orders SET note = note',
    ],
  ]),
  ...each('generated columns', GENERATED),
  ...each('newer grammar', LATE_GRAMMAR),
  ...oracles('files and credentials of the server', AROUND),
];
