/** Random SELECTs over protected relations: mostly plain columns, brought through many levels, with now and then more than that. */
import fc from 'fast-check';

/** Columns by relation; all of them text or castable to it. */
const RELATIONS: Readonly<Record<string, readonly string[]>> = {
  customers: [
    'id',
    'name',
    'ssn',
    'email',
    'card',
    'region',
    'pin',
    'born',
    'balance',
    'profile',
    'photo',
    'phones',
    'codes',
  ],
  people: ['id', 'ssn'],
  people_one: ['ssn', 'id'],
  kept: ['id', 'ssn', 'pin'],
  contacts: ['who', 'number', 'loud', 'id'],
  contacts2: ['who', 'number', 'loud', 'id', 'total'],
  summed: ['region', 'top', 'joined', 'days'],
  mixed: ['id', 'ssn'],
  base: ['id', 'secret'],
  derived: ['id', 'secret', 'extra'],
  through_function: ['id', 'shown'],
  orders: ['id', 'customer_id', 'note', 'ssn'],
  'other.customers': ['id', 'ssn'],
  'all_customers()': ['id', 'ssn', 'pin', 'card'],
};

interface Item {
  readonly sql: string;
  readonly alias: string;
  readonly columns: readonly string[];
}

/** Draws a whole number below `count`. */
type Draw = (count: number) => number;

export const statement: fc.Arbitrary<string> = fc
  .infiniteStream(fc.nat(9999))
  .map((stream) => select((count) => (stream.next().value ?? 0) % count, 3).sql);

const pick = <T>(draw: Draw, from: readonly T[]): T => from[draw(from.length)]!;

/** Names need to differ only within one statement, mostly: where they do not, the server says so. */
const fresh = (draw: Draw): string => `t${draw(5000)}`;

function item(draw: Draw, depth: number): Item {
  const alias = fresh(draw);
  const kind = depth === 0 ? 0 : draw(6);
  if (kind < 3) {
    const relation = pick(draw, Object.keys(RELATIONS));
    const known = RELATIONS[relation]!;
    if (draw(6) > 0) return { sql: `${relation} AS ${alias}`, alias, columns: known };
    const renamed = known.map((_, index) => `c${index}`);
    return {
      sql: `${relation} AS ${alias} (${renamed.join(', ')})`,
      alias,
      columns: relation === 'customers' ? ['c0'] : renamed,
    };
  }
  const inner = select(draw, depth - 1);
  return { sql: `${draw(4) === 0 ? 'LATERAL ' : ''}(${inner.sql}) AS ${alias}`, alias, columns: inner.columns };
}

const WRAPS: readonly ((value: string) => string)[] = [
  (value) => `(${value})::text`,
  (value) => `coalesce(${value}, ${value})`,
  (value) => `upper(${value}::text)`,
  (value) => `max(${value}::text) OVER ()`,
  (value) => `(ARRAY[${value}])[1]`,
  (value) => `(SELECT ${value})`,
  (value) => `CASE WHEN true THEN ${value} END`,
  (value) => `to_json(${value})`,
  (value) => `ROW(${value})`,
  (value) => `(VALUES (${value}))`,
];

function output(draw: Draw, from: readonly Item[], index: number): { sql: string; column: string } {
  const source = pick(draw, from);
  const column = pick(draw, source.columns);
  const alias = draw(3) === 0 ? pick(draw, ['id', 'name', 'ssn', 'x']) : `o${index}`;
  const plain = draw(3) === 0 && from.length === 1 ? column : `${source.alias}.${column}`;
  const kind = draw(30);
  if (kind === 0) return { sql: `${source.alias} AS ${alias}`, column: alias };
  if (kind === 1) return { sql: `(${source.alias}).${column} AS ${alias}`, column: alias };
  if (kind <= 3) return { sql: `${pick(draw, WRAPS)(plain)} AS ${alias}`, column: alias };
  return { sql: `${plain} AS ${alias}`, column: alias };
}

function select(draw: Draw, depth: number): { sql: string; columns: readonly string[] } {
  const withQuery = depth > 0 && draw(5) === 0 ? select(draw, depth - 1) : undefined;
  const from = [item(draw, depth)];
  if (draw(3) === 0) from.push(item(draw, Math.max(0, depth - 1)));
  if (withQuery !== undefined) from.push({ sql: 'w', alias: 'w', columns: withQuery.columns });
  const outputs = Array.from({ length: 1 + draw(3) }, (_, index) => output(draw, from, index));
  const unique = new Map(outputs.map((one) => [one.column, one.sql]));
  const join = pick(draw, [', ', ' CROSS JOIN ']);
  const clauses = [
    withQuery === undefined
      ? ''
      : `WITH w AS ${pick(draw, ['', 'MATERIALIZED ', 'NOT MATERIALIZED '])}(${withQuery.sql})`,
    `SELECT ${[...unique.values()].join(', ')} FROM ${from.map(({ sql }) => sql).join(join)}`,
    draw(12) === 0 ? `WHERE ${from[0]!.alias}.${pick(draw, from[0]!.columns)} IS NOT NULL` : '',
  ].filter((part) => part !== '');
  const core = clauses.join(' ');
  const ended = [`${core} UNION ALL ${core}`, `${core} ORDER BY 1`][draw(30)] ?? core;
  return { sql: `${ended} LIMIT ${1 + draw(5)}`, columns: [...unique.keys()] };
}
