/** What an unqualified or qualified relation name means now. PostgreSQL manual, section 5.10.3: the schema search path. */
import { SYSTEM_RELATIONS } from './generated/builtins.ts';
import type { NameEnvironment } from './types.ts';

export interface ResolvedName {
  readonly schema: string;
  readonly name: string;
}

/**
 * The relations that a name may mean: one, or two when the session has a temporary relation of that name too. `stale` when there
 * is a catalog and it knows none.
 */
export function resolveRelation(
  schema: string | undefined,
  name: string,
  environment: NameEnvironment,
  path: readonly string[],
): { readonly found: readonly ResolvedName[]; readonly stale: boolean } {
  const { catalog, temporary } = environment;
  if (schema !== undefined) {
    const known =
      catalog === undefined ||
      schema === 'pg_temp' ||
      schema === 'information_schema' ||
      (schema === 'pg_catalog' && SYSTEM_RELATIONS.has(name)) ||
      catalog.relation(schema, name) !== undefined;
    return { found: [{ schema, name }], stale: !known };
  }
  const found: ResolvedName[] = [];
  // pg_catalog is searched first unless the path names it elsewhere; nothing of ours may hide one of its relations.
  if (SYSTEM_RELATIONS.has(name) || catalog?.relation('pg_catalog', name) !== undefined) {
    found.push({ schema: 'pg_catalog', name });
    if (!path.includes('pg_catalog')) return { found, stale: false };
  }
  if (catalog !== undefined) {
    const schemaOf = path.find((candidate) => catalog.relation(candidate, name) !== undefined);
    if (schemaOf !== undefined && schemaOf !== 'pg_catalog') found.push({ schema: schemaOf, name });
  }
  if (temporary.has(name)) found.push({ schema: 'pg_temp', name });
  if (found.length > 0) return { found, stale: false };
  if (catalog === undefined && name.startsWith('pg_')) return { found: [{ schema: 'pg_catalog', name }], stale: false };
  return { found: [{ schema: path[0] ?? 'pg_catalog', name }], stale: catalog !== undefined };
}

/** Where CREATE puts a relation: pg_temp when it is temporary, else the first schema of the path that exists. */
export function creationTarget(
  relation: { readonly schema: string | undefined; readonly name: string; readonly temporary: boolean },
  environment: NameEnvironment,
  path: readonly string[],
): ResolvedName {
  if (relation.schema !== undefined) return { schema: relation.schema, name: relation.name };
  if (relation.temporary) return { schema: 'pg_temp', name: relation.name };
  const { catalog } = environment;
  const schema = catalog === undefined ? path[0] : (path.find((one) => catalog.hasSchema(one)) ?? path[0]);
  return { schema: schema ?? 'pg_catalog', name: relation.name };
}
