/** All attacks, in the order of the report. */
import { ATTACKS, BENIGN as GUARD_BENIGN } from '../integration/guard-attacks.ts';
import { type Attack, sessions } from './attack.ts';
import { NAME_ATTACKS } from './attacks-names.ts';
import { ORACLES, ROW_ATTACKS } from './attacks-rows.ts';
import { SIDE_ATTACKS } from './attacks-side.ts';
import { STATE_ATTACKS } from './attacks-state.ts';
import { UNSEEN_ATTACKS } from './attacks-unseen.ts';

export const CORPUS: readonly Attack[] = [
  ...STATE_ATTACKS,
  ...ROW_ATTACKS,
  ...ORACLES,
  ...SIDE_ATTACKS,
  ...NAME_ATTACKS,
  ...UNSEEN_ATTACKS,
  ...sessions('those that layer A is tested with', ATTACKS),
];

/** What agents do all day beside masked columns: hardly any of it may be refused. */
export const BENIGN: readonly string[] = [
  ...GUARD_BENIGN.filter((statement) => statement !== 'BEGIN'),
  'SELECT id, ssn, email FROM customers WHERE email = $$nobody@example.org$$',
  'SELECT region, count(*), min(name) FROM customers GROUP BY region HAVING count(*) > 1',
  'SELECT c.id, c.ssn, o.note FROM customers c JOIN orders o ON o.customer_id = c.id WHERE o.total > 20 ORDER BY o.id LIMIT 4',
  'WITH recent AS (SELECT * FROM orders ORDER BY id DESC LIMIT 3) SELECT r.id, c.name, c.pin FROM recent r JOIN customers c ON c.id = r.customer_id',
  'SELECT pin, born, balance, phones, codes, profile, photo FROM customers WHERE id = 1',
  'UPDATE customers SET ssn = $$123$$, pin = 7, born = $$2000-01-01$$ WHERE id = 9 RETURNING id, ssn',
  'SELECT coalesce(note, $$none$$), round(total / 3, 2) FROM orders ORDER BY total DESC',
  'SELECT o.note, lag(o.note) OVER (ORDER BY o.id) FROM orders o',
];
