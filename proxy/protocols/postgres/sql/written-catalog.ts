/** Writes that reach the system catalog: a view upon it can be written to, and its rows are names and definitions. */
import type { Catalog } from '../catalog/types.ts';
import { isNode, isRangeVar, text } from './ast.ts';
import type { ResolvedName } from './names.ts';
import { parse } from './parse.ts';

/**
 * Whether rows written to a relation may be written to one of pg_catalog that `wanted` names, through views. initdb records no dependencies on the system catalog, so
 * definitions are looked at; they are read with an empty search_path, under which only names of pg_catalog stand alone.
 */
export function reachesCatalog(
  relation: ResolvedName,
  catalog: Catalog | undefined,
  wanted: (name: string) => boolean,
  depth = 0,
): boolean {
  if (relation.schema === 'pg_catalog') return wanted(relation.name);
  const view = catalog?.relation(relation.schema, relation.name);
  if (view?.kind !== 'v') return false;
  const parsed = view.definition === undefined || depth > MAX_DEPTH ? undefined : parse(view.definition);
  // What cannot be read may be a view upon anything.
  if (parsed?.ok !== true) return true;
  return relationsIn(parsed.statements).some((below) => reachesCatalog(below, catalog, wanted, depth + 1));
}

/** Views upon views upon views: more than this is nobody's. */
const MAX_DEPTH = 32;

function relationsIn(value: unknown): ResolvedName[] {
  if (Array.isArray(value)) return value.flatMap(relationsIn);
  if (!isNode(value)) return [];
  if (isRangeVar(value))
    return [{ schema: text(value, 'schemaname') ?? 'pg_catalog', name: text(value, 'relname') ?? '' }];
  return Object.values(value).flatMap(relationsIn);
}
