/**
 * Random exchanges of the simple and the extended protocol: statements that work and that fail, in pipelines, in and out of
 * transactions, with prepared statements, cursors, temporary tables and COPY. The same seed gives the same exchanges.
 */
import * as encode from '../../../proxy/protocols/postgres/wire/encode.ts';
import { bind, raw } from '../../support/wire-client.ts';

export interface Exchange {
  /** What it is, for a person. */
  readonly text: string;
  readonly bytes: Buffer;
}

export const SCHEMA = `CREATE TABLE a (id int PRIMARY KEY, name text, amount numeric, at timestamptz, tags int[]);
INSERT INTO a SELECT i, 'name ' || i, i * 1.5, timestamptz '2024-01-01 00:00Z' + i * interval '1 hour', ARRAY[i, NULL] FROM generate_series(1, 60) i;
CREATE TABLE b (id int REFERENCES a ON DELETE CASCADE, note varchar(12));
INSERT INTO b SELECT 1 + i % 60, 'note ' || i FROM generate_series(1, 90) i;
CREATE VIEW v AS SELECT a.id, a.name, b.note FROM a LEFT JOIN b USING (id);
CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql AS 'SELECT $1 * 2';
CREATE FUNCTION fail(text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'failed: %', $1 USING HINT = 'h', DETAIL = 'd'; END $$;`;

const MOVES_NAMES = /^(SET search_path|RESET (ALL|search_path)|DISCARD|DEALLOCATE ALL)/;

type Random = (below: number) => number;

/** mulberry32: small, and the same everywhere. */
function randomOf(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

class Generator {
  readonly #random: Random;

  constructor(seed: number) {
    this.#random = randomOf(seed);
  }

  below(limit: number): number {
    return this.#random(limit);
  }

  pick<T>(items: readonly T[]): T {
    return items[this.#random(items.length)]!;
  }

  #number(): string {
    return String(this.below(70));
  }

  #scalar(depth = 2): string {
    if (depth === 0 || this.below(3) === 0)
      return this.pick([this.#number(), 'a.id', 'a.amount', 'length(a.name)', 'NULL', '-1', '2.50', '1e3', '0']);
    const inner = (): string => this.#scalar(depth - 1);
    return this.pick([
      () => `(${inner()} + ${inner()})`,
      () => `(${inner()} * ${inner()})`,
      () => `(${inner()} / ${inner()})`,
      () => `coalesce(${inner()}, ${inner()})`,
      () => `CASE WHEN ${this.#condition(1)} THEN ${inner()} ELSE ${inner()} END`,
      () => `twice(${this.#number()})`,
      () => `greatest(${inner()}, ${inner()})`,
      () => `round(${inner()}::numeric, 3)`,
    ])();
  }

  #textual(): string {
    return this.pick([
      'a.name',
      "'x'",
      "E'\\\\t\\n'",
      "'it''s'",
      'upper(a.name)',
      "a.name || 'é'",
      '$q$dollar$q$',
      'a.at::text',
      'a.tags::text',
      "U&'\\0441'",
    ]);
  }

  #condition(depth = 2): string {
    if (depth === 0) return this.pick(['a.id = 5', 'a.id < 10', 'true', 'a.name IS NOT NULL', "a.name LIKE 'name 1%'"]);
    return this.pick([
      () => `a.id ${this.pick(['=', '<', '>=', '<>'])} ${this.#number()}`,
      () => `(${this.#condition(depth - 1)} AND ${this.#condition(depth - 1)})`,
      () => `(${this.#condition(depth - 1)} OR NOT ${this.#condition(depth - 1)})`,
      () => `a.id IN (SELECT id FROM b WHERE b.id > ${this.#number()})`,
      () => `EXISTS (SELECT 1 FROM b WHERE b.id = a.id)`,
      () => `a.id BETWEEN ${this.#number()} AND ${this.#number()}`,
    ])();
  }

  #select(): string {
    return this.pick([
      () => `SELECT ${this.#scalar()}, ${this.#textual()} AS t FROM a WHERE ${this.#condition()} ORDER BY a.id LIMIT 7`,
      () => `SELECT a.*, b.note FROM a JOIN b USING (id) WHERE ${this.#condition()} ORDER BY 1, b.note LIMIT 5`,
      () => `SELECT count(*), sum(${this.#scalar(1)}) FROM a WHERE ${this.#condition()}`,
      () => `WITH w AS (SELECT a.id AS x FROM a WHERE ${this.#condition(1)}) SELECT * FROM w ORDER BY x LIMIT 4`,
      () => `SELECT note, count(*) FROM v GROUP BY note HAVING count(*) > 0 ORDER BY note LIMIT 3`,
      () => `SELECT a.id, row_number() OVER (ORDER BY a.id DESC) FROM a ORDER BY a.id LIMIT 3 OFFSET ${this.#number()}`,
      () => `VALUES (1, 'one'), (${this.#number()}, NULL)`,
      () => `SELECT a FROM a WHERE a.id = ${this.#number()}`,
      () => `(SELECT 1 UNION SELECT ${this.#number()}) ORDER BY 1`,
      () => `SELECT ${this.#number()} AS "Quoted ""name""", /* a ; comment */ 2 -- and ; another`,
      () => `TABLE b ORDER BY id, note LIMIT ${this.#number()}`,
      () => `SELECT`,
    ])();
  }

  #write(): string {
    const id = this.#number();
    return this.pick([
      `INSERT INTO b VALUES (${id}, 'new') RETURNING *`,
      `INSERT INTO a (id, name) VALUES (${id}, 'again') ON CONFLICT (id) DO UPDATE SET name = excluded.name RETURNING id, name`,
      `INSERT INTO a (id) VALUES (${id})`,
      `UPDATE a SET amount = amount + 1 WHERE id = ${id} RETURNING amount`,
      `UPDATE b SET note = 'longer than it may be' WHERE id = ${id}`,
      `DELETE FROM b WHERE id = ${id}`,
      `DELETE FROM b USING a WHERE a.id = b.id AND a.id = ${id} RETURNING b.*`,
    ]);
  }

  #broken(): string {
    return this.pick([
      'SELEC 1',
      "SELECT 'unterminated",
      'SELECT * FROM nowhere',
      'SELECT nothing FROM a',
      'SELECT 1/0',
      "SELECT 'x'::int",
      "SELECT fail('on purpose')",
      'SELECT no_such(1)',
      'INSERT INTO b VALUES (12345)',
      'DROP TABLE nowhere',
      'SELECT ) FROM (',
      "SELECT date '2024-13-01'",
      'EXECUTE never_made',
      'FETCH never_made',
      'ROLLBACK TO never_made',
      'SET nothing.at_all = 1; SHOW nothing.at_most',
      'ALTER TABLE a ADD COLUMN name text',
      'VACUUM nowhere',
    ]);
  }

  #session(): string {
    const name = this.pick(['p1', 'p2', 'P3']);
    const cursor = this.pick(['c1', 'c2']);
    const table = this.pick(['t1', 't2']);
    return this.pick([
      ...['BEGIN', 'COMMIT', 'ROLLBACK', 'SAVEPOINT s', 'ROLLBACK TO s', 'RELEASE s', 'START TRANSACTION READ ONLY'],
      ...['COMMIT AND CHAIN', 'ABORT', 'END'],
      ...[
        'SHOW DateStyle',
        "SET DateStyle = 'German'",
        'RESET DateStyle',
        'SET LOCAL work_mem = 1000',
        'SHOW work_mem',
      ],
      ...["SET TIME ZONE 'Asia/Tokyo'", 'RESET ALL', "SELECT set_config('extra_float_digits', '0', false)"],
      ...['SET search_path = pg_catalog, public', 'SHOW search_path', 'RESET search_path', 'DISCARD PLANS'],
      `PREPARE ${name} (int) AS SELECT a.id, a.name FROM a WHERE a.id < $1 ORDER BY a.id LIMIT 3`,
      ...[`EXECUTE ${name} (${this.#number()})`, `DEALLOCATE ${name}`, 'DEALLOCATE ALL'],
      ...[`DECLARE ${cursor} SCROLL CURSOR FOR SELECT id, name FROM a ORDER BY id`, `FETCH 2 FROM ${cursor}`],
      ...[`FETCH BACKWARD 1 FROM ${cursor}`, `MOVE ALL IN ${cursor}`, `CLOSE ${cursor}`, 'CLOSE ALL'],
      ...[
        `CREATE TEMP TABLE ${table} (x int, y text)`,
        `INSERT INTO ${table} VALUES (1, 'y')`,
        `SELECT * FROM ${table}`,
      ],
      ...[
        `DROP TABLE IF EXISTS ${table}`,
        `CREATE TEMP TABLE ${table} AS SELECT id FROM a WHERE id < 4`,
        'DISCARD TEMP',
      ],
      ...[`TRUNCATE ${table}`, `ALTER TABLE ${table} ADD COLUMN z int DEFAULT 5`],
      ...["DO $$ BEGIN RAISE NOTICE 'hello'; END $$", 'EXPLAIN (COSTS OFF) SELECT * FROM a WHERE id = 1'],
      ...['LISTEN news', "NOTIFY news, 'x'", 'UNLISTEN *', 'LOCK TABLE b IN SHARE MODE', "COMMENT ON TABLE b IS 'c'"],
      ...['', ';', ' ; ; ', '-- nothing'],
    ]);
  }

  statement(): string {
    const kind = this.below(20);
    if (kind < 8) return this.#select();
    if (kind < 12) return this.#write();
    if (kind < 14) return this.#broken();
    return this.#session();
  }

  #simple(): Exchange {
    const count = this.pick([1, 1, 1, 2, 3]);
    const statements = Array.from({ length: count }, () => this.statement());
    // What moves names is refused before other statements of one text (docs/compatibility.md), so it is sent alone.
    const text = statements.find((one) => MOVES_NAMES.test(one)) ?? statements.join('; ');
    return { text: `simple: ${text}`, bytes: encode.query(text) };
  }

  #copy(): Exchange {
    const table = this.pick(['b', 't1', 'b (id)', 'nowhere']);
    const lines = this.pick(['1\tcopied\n2\t\\N\n', '3\n', 'x\ty\n', '', '4\tlonger than it may be\n']);
    const end = this.below(4) === 0 ? raw('f', 'the client gives up\0') : raw('c', '');
    const text = `COPY ${table} FROM STDIN`;
    return {
      text: `${text} ${JSON.stringify(lines)} ${end.toString('latin1', 0, 1)}`,
      bytes: Buffer.concat([encode.query(text), raw('d', lines), end]),
    };
  }

  #copyOut(): Exchange {
    const text = this.pick([
      'COPY (SELECT id, name FROM a ORDER BY id LIMIT 9) TO STDOUT',
      'COPY b TO STDOUT (FORMAT csv, HEADER)',
      'COPY (SELECT id FROM a ORDER BY id LIMIT 3) TO STDOUT (FORMAT binary)',
      'COPY nowhere TO STDOUT',
      'COPY (SELECT 1/0) TO STDOUT; SELECT 1',
    ]);
    return { text, bytes: encode.query(text) };
  }

  #parameters(): { readonly sql: string; readonly values: readonly (string | null)[] } {
    const number = this.pick(['5', '17', '-3', 'x', null]);
    return this.pick([
      { sql: 'SELECT id, name, amount FROM a WHERE id < $1::int ORDER BY id LIMIT 4', values: [number] },
      { sql: 'SELECT $1::text || $2, $3::int + 1', values: ['é\\', null, number] },
      { sql: 'INSERT INTO b VALUES ($1, $2) RETURNING id', values: [number, 'bound'] },
      { sql: 'UPDATE a SET name = $2 WHERE id = $1', values: [number, 'by value'] },
      { sql: 'SELECT 10 / $1::int', values: [this.pick(['0', '2'])] },
      { sql: 'SELECT $1', values: [] },
      { sql: this.statement(), values: [] },
    ]);
  }

  #pipeline(): Exchange {
    const parts: Buffer[] = [];
    const text: string[] = [];
    const add = (words: string, ...bytes: Buffer[]): void => {
      text.push(words);
      parts.push(...bytes);
    };
    for (let left = 1 + this.below(5); left > 0; left--) {
      // What stood under a name before a Parse or Bind that an error skipped is no client's business: the empty name is used where
      // it was just made, and a portal is closed before it is made again.
      const again = encode.close('P', 'o1');
      const named = this.pick(['s1', 's2']);
      const statement = this.pick(['', '', 's1', 's2']);
      const portal = this.pick(['', '', 'o1']);
      const { sql, values } = this.#parameters();
      const results = this.pick([[], [], [0], [1]]);
      const max = this.pick([0, 0, 0, 2]);
      switch (this.below(9)) {
        case 0:
          add(`Parse ${statement}: ${sql}`, encode.parse(statement, sql));
          break;
        case 1:
          add(`Bind o1=${named} ${values}`, again, bind({ portal: 'o1', statement: named, values, results }));
          break;
        case 2:
          add(`Execute o1 ${max}`, encode.execute('o1', max));
          break;
        case 3:
          add(`Close S ${statement}, P ${portal}`, encode.close('S', statement), encode.close('P', portal));
          break;
        case 4:
          add(`Describe S ${named}`, encode.describe('S', named));
          break;
        case 5:
          add('Flush', encode.flush());
          break;
        default:
          add(
            `${statement}/${portal} max ${max}: ${sql} ${JSON.stringify(values)} as ${results}`,
            portal === '' ? Buffer.alloc(0) : again,
            encode.parse(statement, sql),
            this.below(2) === 0 ? encode.describe('S', statement) : Buffer.alloc(0),
            bind({ portal, statement, values, results }),
            this.below(2) === 0 ? encode.describe('P', portal) : Buffer.alloc(0),
            encode.execute(portal, max),
            max > 0 ? encode.execute(portal, 0) : Buffer.alloc(0),
          );
      }
    }
    return { text: `pipeline: ${text.join(' | ')}`, bytes: Buffer.concat([...parts, encode.sync()]) };
  }

  exchange(): Exchange {
    const kind = this.below(20);
    // Often enough that most exchanges find no failed transaction.
    if (kind < 3) return { text: 'end of transaction', bytes: encode.query(this.pick(['ROLLBACK', 'COMMIT'])) };
    if (kind < 9) return this.#simple();
    if (kind < 18) return this.#pipeline();
    return kind === 18 ? this.#copy() : this.#copyOut();
  }
}

export function exchanges(seed: number, count: number): Exchange[] {
  const generator = new Generator(seed);
  return Array.from({ length: count }, () => generator.exchange());
}
