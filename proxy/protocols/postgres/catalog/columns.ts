import type { CatalogColumnName } from '../../../../policy/masking-coverage.ts';
import type { Catalog } from './types.ts';

/** Tables, partitioned tables, views, materialised views, foreign tables (pg_class.relkind): what people read columns of. */
const READ = new Set(['r', 'p', 'v', 'm', 'f']);
const listed = new WeakMap<Catalog, readonly CatalogColumnName[]>();

/** The columns of a database without those of PostgreSQL itself: the same array for the same catalog. */
export function catalogColumns(catalog: Catalog): readonly CatalogColumnName[] {
  const known = listed.get(catalog);
  if (known !== undefined) return known;
  const columns: CatalogColumnName[] = [];
  for (const { schema, name: relation, kind, columns: own } of catalog.relations()) {
    if (!READ.has(kind) || schema === 'information_schema' || schema.startsWith('pg_')) continue;
    for (const { name: column } of own) columns.push({ schema, relation, column });
  }
  listed.set(catalog, columns);
  return columns;
}
