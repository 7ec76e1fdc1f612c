/**
 * A text that changes when the catalog has changed: for a poll every few seconds. Row versions (xmin, ctid) of what a snapshot
 * holds; OIDs below 16384 are the server's own and change only with DDL on them, which counts in pg_class' and pg_proc's sums.
 */
import type { CatalogQuery } from './snapshot.ts';

/** xmin as a number; the sum over all rows changes with every insert, update and delete, but for accidents of 2^-32. */
const version = (alias: string): string =>
  `COALESCE(pg_catalog.sum(pg_catalog.hashint8(${alias}.xmin::pg_catalog.text::pg_catalog.int8 * 65536 + ${alias}.oid::pg_catalog.int8)), 0)`;

const FINGERPRINT = `SELECT
  (SELECT pg_catalog.count(*) || ':' || ${version('c')} FROM pg_catalog.pg_class c
    WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c', 'S', 'i', 'I') AND c.relpersistence <> 't'),
  (SELECT pg_catalog.count(*) || ':' || COALESCE(pg_catalog.sum(pg_catalog.hashint8(
      a.xmin::pg_catalog.text::pg_catalog.int8 * 65536 + a.attnum + a.attrelid::pg_catalog.int8)), 0)
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    WHERE a.attrelid >= 16384 AND a.attnum > 0 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND c.relpersistence <> 't'),
  (SELECT pg_catalog.count(*) || ':' || ${version('p')} FROM pg_catalog.pg_proc p),
  (SELECT pg_catalog.count(*) || ':' || ${version('n')} FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_(toast|temp)'),
  (SELECT pg_catalog.count(*) || ':' || COALESCE(pg_catalog.sum(n.oid::pg_catalog.int8), 0) FROM pg_catalog.pg_namespace n
    WHERE NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE')),
  (SELECT pg_catalog.count(*) || ':' || ${version('r')} FROM pg_catalog.pg_rewrite r WHERE r.oid >= 16384),
  (SELECT pg_catalog.count(*) || ':' || ${version('o')} FROM pg_catalog.pg_operator o WHERE o.oid >= 16384),
  (SELECT pg_catalog.count(*) || ':' || COALESCE(pg_catalog.sum(pg_catalog.hashint8(
      i.xmin::pg_catalog.text::pg_catalog.int8 * 65536 + i.inhrelid::pg_catalog.int8)), 0) FROM pg_catalog.pg_inherits i),
  (SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'search_path')`;

/** @throws what `query` throws */
export async function catalogFingerprint(query: CatalogQuery): Promise<string> {
  const [row = []] = await query(FINGERPRINT);
  return row.join(' ');
}
