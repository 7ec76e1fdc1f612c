-- A small shop: customers with cards, orders, and an audit schema that only backups may read.
CREATE TABLE customers (
  id integer PRIMARY KEY,
  name text NOT NULL,
  email text NOT NULL,
  city text NOT NULL
);
CREATE TABLE cards (
  id integer PRIMARY KEY,
  customer_id integer NOT NULL REFERENCES customers,
  card_number text NOT NULL,
  expires date NOT NULL
);
CREATE TABLE orders (
  id integer PRIMARY KEY,
  customer_id integer NOT NULL REFERENCES customers,
  placed date NOT NULL,
  cents integer NOT NULL
);
CREATE TABLE order_items (
  order_id integer NOT NULL REFERENCES orders ON DELETE CASCADE,
  article text NOT NULL
);
CREATE SCHEMA audit;
CREATE TABLE audit.events (
  id integer PRIMARY KEY,
  at timestamptz NOT NULL,
  actor text NOT NULL,
  what text NOT NULL
);

INSERT INTO customers VALUES
  (1, 'Ada Lovelace', 'ada@example.com', 'London'),
  (2, 'Grace Hopper', 'grace@example.com', 'New York'),
  (3, 'Katherine Johnson', 'katherine@example.com', 'Hampton');
INSERT INTO cards VALUES
  (1, 1, '4111111111111111', '2028-04-30'),
  (2, 2, '5555555555554444', '2027-11-30'),
  (3, 3, '378282246310005', '2029-01-31');
INSERT INTO orders
  SELECT n, 1 + n % 3, date '2026-01-01' + n, 500 + n * 37 FROM generate_series(1, 60) AS n;
INSERT INTO order_items
  SELECT 1 + n % 60, 'article ' || n FROM generate_series(1, 120) AS n;
INSERT INTO audit.events VALUES
  (1, '2026-01-05 09:12:00+00', 'grace', 'changed the refund limit'),
  (2, '2026-01-09 17:40:00+00', 'ada', 'exported the customer list');

ANALYZE;

-- The role that Sallyport signs in with. What an agent may do is decided by policy; this is the outer fence.
GRANT USAGE ON SCHEMA public, audit TO shop;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO shop;
GRANT SELECT ON ALL TABLES IN SCHEMA audit TO shop;
