/**
 * What PostgreSQL's types hold, as far as masking must know: which of them can show any text in place of a value, and where text or
 * digits may stand inside one. OIDs of built-in types are fixed (src/include/catalog/pg_type.dat of PostgreSQL).
 */

/**
 * - `text`: the value is text, the same in both formats.
 * - `paddedText`: as text, with trailing blanks that mean nothing (bpchar).
 * - `bytea`, `json`, `jsonb`, `xml`: as their names say.
 * - `smallInteger`, `integer`, `numeric`, `float`: digits; all but the first could be an account number.
 * - `network`: inet, cidr.
 * - `uuid`: hexadecimal digits.
 * - `scalar`: no text and no long digits inside: dates, times, booleans, short integers, geometry.
 * - `textContainer`: text inside that can be replaced in the text format: arrays of text, records, types that are not built in.
 * - `container`: other types that may hold text or digits inside; a find makes the whole value NULL.
 * - `opaque`: text inside whose binary form is not read: NULL in binary.
 */
export type ValueClass =
  | 'text'
  | 'paddedText'
  | 'bytea'
  | 'json'
  | 'jsonb'
  | 'xml'
  | 'smallInteger'
  | 'integer'
  | 'numeric'
  | 'float'
  | 'network'
  | 'uuid'
  | 'scalar'
  | 'textContainer'
  | 'container'
  | 'opaque';

const CLASSES: ReadonlyMap<number, ValueClass> = new Map<number, ValueClass>([
  [25, 'text'], // text
  [1043, 'text'], // varchar
  [19, 'text'], // name
  [705, 'text'], // unknown
  [2275, 'text'], // cstring
  [1790, 'text'], // refcursor: the name of a cursor, chosen by whoever opened it
  [1042, 'paddedText'], // bpchar
  [17, 'bytea'],
  [114, 'json'],
  [3802, 'jsonb'],
  [142, 'xml'],
  [21, 'smallInteger'], // int2
  [23, 'smallInteger'], // int4
  [20, 'integer'], // int8
  [1700, 'numeric'],
  [701, 'float'], // float8
  [869, 'network'], // inet
  [650, 'network'], // cidr
  [2950, 'uuid'],
  [16, 'scalar'], // bool
  [26, 'scalar'], // oid
  [700, 'scalar'], // float4 has six digits
  [1082, 'scalar'], // date
  [1083, 'scalar'], // time
  [1266, 'scalar'], // timetz
  [1114, 'scalar'], // timestamp
  [1184, 'scalar'], // timestamptz
  [1186, 'scalar'], // interval
  [27, 'scalar'], // tid
  [28, 'scalar'], // xid
  [29, 'scalar'], // cid
  [5069, 'scalar'], // xid8
  [3220, 'scalar'], // pg_lsn
  [2278, 'scalar'], // void
  [829, 'scalar'], // macaddr
  [774, 'scalar'], // macaddr8
  [600, 'scalar'], // point
  [601, 'scalar'], // lseg
  [602, 'scalar'], // path
  [603, 'scalar'], // box
  [604, 'scalar'], // polygon
  [628, 'scalar'], // line
  [718, 'scalar'], // circle
  [18, 'scalar'], // "char", one byte
  [790, 'scalar'], // money
  [1560, 'scalar'], // bit
  [1562, 'scalar'], // varbit
  [3614, 'opaque'], // tsvector: positions stand right before the next word
  [3615, 'opaque'], // tsquery
  [1009, 'textContainer'], // text[]
  [1015, 'textContainer'], // varchar[]
  [1014, 'textContainer'], // bpchar[]
  [1003, 'textContainer'], // name[]
  [2249, 'textContainer'], // record
  [2287, 'textContainer'], // record[]
]);

/** OIDs below are built in, or of information_schema's own types, and never change meaning. */
const FIRST_UNPINNED_OID = 12_000;

/** @param holdsText what the catalog says of a type without a fixed OID */
export function classify(typeOid: number, holdsText: boolean): ValueClass {
  const known = CLASSES.get(typeOid);
  if (known !== undefined) return known;
  if (holdsText) return 'text';
  // Not built in: an enum, a citext, a composite. Their text form can hold a replaced part, as an array's can.
  return typeOid >= FIRST_UNPINNED_OID ? 'textContainer' : 'container';
}
