/** A database with protected values of many types and in many kinds of relations, and the policy of an agent that may write, too. */
import { connectionYaml, type Target } from '../support/allow-everything.ts';
import { BALANCE, BORN, CODE, PIN, TEXTS, text } from './canaries.ts';

export const DATABASE = 'leak';
export const WRITER = 'system:serviceaccount:default:writer';
export const READER = 'system:serviceaccount:default:reader';

const SCHEMAS = ['public', 'other', 'audit'];

/** Makes everything anew; runs in a database that may hold an earlier one, and what attacks have left in it. */
export const GROUND = `
  ALTER ROLE postgres RESET ALL;
  ALTER DATABASE ${DATABASE} RESET ALL;
  SET search_path = public;
  ${SCHEMAS.map((name) => `DROP SCHEMA IF EXISTS ${name} CASCADE; CREATE SCHEMA ${name};`).join('\n  ')}
  DROP ROLE IF EXISTS weak, thief;
  CREATE TABLE customers (
    id int PRIMARY KEY, name text, ssn text UNIQUE, email text UNIQUE, card text, region text, tags text[],
    pin int, photo bytea, profile jsonb, born date, balance numeric, phones text[], codes int[],
    CONSTRAINT sane CHECK (length(ssn) < 200), EXCLUDE USING btree (card WITH =));
  INSERT INTO customers SELECT i, 'name' || i, '${text(TEXTS.ssn)}' || i, '${text(TEXTS.email)}' || i, '${text(TEXTS.card)}' || i,
    'region' || i % 3, ARRAY['a', 'b'], ${PIN}, convert_to('${text(TEXTS.photo)}', 'utf8'),
    jsonb_build_object('k', '${text(TEXTS.profile)}', 'n', ${PIN}), '${BORN}', ${BALANCE},
    ARRAY['${text(TEXTS.phones)}', 'x'], ARRAY[${CODE}, ${CODE}] FROM generate_series(1, 9) i;
  CREATE TABLE orders (id int PRIMARY KEY, customer_id int REFERENCES customers (id), total numeric, note text, ssn text);
  INSERT INTO orders SELECT i, i % 9 + 1, i * 10, 'note' || i, 'clean' || i FROM generate_series(1, 9) i;
  CREATE TABLE people (id int, ssn text) PARTITION BY LIST (id);
  CREATE TABLE people_one (ssn text, id int);
  ALTER TABLE people ATTACH PARTITION people_one FOR VALUES IN (1);
  CREATE TABLE people_rest PARTITION OF people DEFAULT;
  INSERT INTO people SELECT i, '${text(TEXTS.people)}' || i FROM generate_series(1, 3) i;
  CREATE TABLE base (id int, secret text);
  CREATE TABLE derived (extra text) INHERITS (base);
  INSERT INTO base VALUES (1, 'plain');
  INSERT INTO derived VALUES (2, '${text(TEXTS.derived)}', 'x');
  CREATE VIEW contacts AS SELECT name AS who, ssn AS number, upper(email) AS loud, id FROM customers;
  CREATE VIEW contacts2 AS SELECT c.*, o.total FROM contacts c JOIN orders o ON o.customer_id = c.id;
  CREATE VIEW mixed AS SELECT id, ssn FROM customers UNION ALL SELECT id, ssn FROM orders;
  CREATE VIEW summed AS SELECT region, max(pin) AS top, string_agg(ssn, ',') AS joined, array_agg(born) AS days FROM customers GROUP BY 1;
  CREATE MATERIALIZED VIEW kept AS SELECT id, ssn, pin FROM customers;
  CREATE VIEW plain AS SELECT id, name FROM customers;
  CREATE TABLE other.customers (id int, ssn text, pin int);
  INSERT INTO other.customers VALUES (1, 'clean', 1);
  CREATE FUNCTION all_customers() RETURNS SETOF customers LANGUAGE sql STABLE AS 'SELECT * FROM customers';
  CREATE VIEW through_function AS SELECT f.id, f.card AS shown FROM all_customers() f;
  CREATE FUNCTION pairs(OUT a int, OUT b text) RETURNS SETOF record LANGUAGE sql STABLE AS 'SELECT 1, ''x''';
  CREATE TABLE audit.events (id int PRIMARY KEY, what text);
  INSERT INTO audit.events VALUES (1, '${text(TEXTS.audit)}');
  CREATE SEQUENCE numbers;
  CREATE TABLE ruled (id int, note text);
  INSERT INTO ruled VALUES (1, 'note');
  CREATE RULE also AS ON UPDATE TO ruled DO ALSO SELECT id, ssn FROM customers;
  CREATE VIEW ruled_view AS SELECT id, note FROM ruled;
  CREATE RULE instead AS ON INSERT TO ruled_view DO INSTEAD
    INSERT INTO ruled VALUES (new.id, new.note) RETURNING id, (SELECT max(ssn) FROM customers);
  CREATE FUNCTION one_customer(int) RETURNS customers LANGUAGE sql STABLE AS 'SELECT * FROM public.customers WHERE id = $1';
  CREATE FUNCTION many_customers() RETURNS customers[] LANGUAGE sql STABLE AS 'SELECT array_agg(c) FROM public.customers c';
  CREATE FUNCTION boxed(OUT n int, OUT c customers) LANGUAGE sql STABLE AS 'SELECT 1, c FROM public.customers c WHERE id = 1';
  CREATE FUNCTION buyer(orders) RETURNS customers LANGUAGE sql STABLE AS 'SELECT * FROM public.customers WHERE id = $1.customer_id';
  CREATE TABLE ledger (id int, secret text, tail text GENERATED ALWAYS AS (right(secret, 22)) STORED);
  INSERT INTO ledger (id, secret) VALUES (1, '${text(TEXTS.derived)}');
  ANALYZE;
`;

/** Relations that may hold protected values; in any other, one that an attack brought there has been laundered. */
export const PROTECTED_RELATIONS: readonly string[] = [
  ...['public.customers', 'public.people', 'public.people_one', 'public.people_rest', 'public.base', 'public.derived'],
  ...['public.contacts', 'public.contacts2', 'public.mixed', 'public.summed', 'public.kept', 'public.through_function'],
  'public.ledger',
  'audit.events',
];

const REDACTED = ['ssn', 'pin', 'photo', 'profile', 'born', 'balance', 'phones', 'codes'];

/** Of public.customers. */
export const MASKED_COLUMNS: readonly string[] = [...REDACTED, 'card', 'email'];

/** Both agents, one connection to the database; the writer may do everything that can be allowed without naming it. */
export function groundYaml(target: Target): string {
  return `${connectionYaml('leak', target)}---
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata:
  name: writer
spec:
  connections: {all: true}
  subjects:
    - serviceAccount: {name: writer}
  rules:
    - name: everything
      effect: Allow
      sql: {statements: ["*", CopyTo, CopyFrom, CopyProgram], relations: ["*.*"], functions: ["*.*", "pg_catalog.set_config", "pg_catalog.pg_notify"]}
    - name: no-audit
      effect: Deny
      message: The audit schema is closed.
      sql: {relations: ["audit.*"]}
---
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata:
  name: reader
spec:
  connections: {all: true}
  subjects:
    - serviceAccount: {name: reader}
  rules:
    - name: read
      effect: Allow
      sql: {statements: [Read], relations: ["public.*"]}
---
apiVersion: sallyport.dev/v1alpha1
kind: MaskingRule
metadata:
  name: pii
spec:
  connections: {names: [leak]}
  columns:
    - match: [${REDACTED.map((column) => `"public.customers.${column}"`).join(', ')}, "public.people.ssn", "public.derived.secret", "public.ledger.secret"]
    - match: ["public.customers.card"]
      transform: {partial: {keepLast: 2}}
    - match: ["public.customers.email"]
      transform: {tokenize: {}}
      allowEquality: true
`;
}
