/** A catalog in memory, with its look-ups, from plain rows: made by the snapshot, and by tests. */
import type { Catalog, CatalogFunction, CatalogRelation } from './types.ts';

export interface CatalogContent {
  /** False: some view has no definition yet, only because it was locked when the snapshot was read. */
  readonly complete: boolean;
  readonly serverVersion: number;
  readonly defaultSearchPath: string;
  readonly role: string;
  readonly movesNames: boolean;
  readonly schemas: readonly string[];
  /** Those of `schemas` that `role` may not look names up in. */
  readonly unusableSchemas: readonly string[];
  readonly relations: readonly CatalogRelation[];
  readonly functions: readonly CatalogFunction[];
  /** Operator name → OIDs of functions outside pg_catalog under an operator of that name. */
  readonly userOperators: ReadonlyMap<string, readonly number[]>;
}

/** Schema → name → what has the name there. Two maps instead of joined keys: any character may be in a name. */
type ByName<T> = Map<string, Map<string, T>>;

function put<T>(index: ByName<T>, schema: string, name: string, value: T): void {
  const names = index.get(schema);
  if (names === undefined) index.set(schema, new Map([[name, value]]));
  else names.set(name, value);
}

export function createCatalog(content: CatalogContent, generation: number): Catalog {
  const schemas = new Set(content.schemas);
  const unusable = new Set(content.unusableSchemas);
  const relationNames: ByName<CatalogRelation> = new Map();
  const relationOids = new Map<number, CatalogRelation>();
  const functionNames: ByName<CatalogFunction[]> = new Map();
  const functionOids = new Map<number, CatalogFunction>();
  for (const relation of content.relations) {
    put(relationNames, relation.schema, relation.name, relation);
    relationOids.set(relation.oid, relation);
  }
  for (const entry of content.functions) {
    const overloads = functionNames.get(entry.schema)?.get(entry.name);
    if (overloads === undefined) put(functionNames, entry.schema, entry.name, [entry]);
    else overloads.push(entry);
    functionOids.set(entry.oid, entry);
  }
  return {
    generation,
    serverVersion: content.serverVersion,
    defaultSearchPath: content.defaultSearchPath,
    role: content.role,
    movesNames: content.movesNames,
    hasSchema: (name) => schemas.has(name),
    canUseSchema: (name) => schemas.has(name) && !unusable.has(name),
    relation: (schema, name) => relationNames.get(schema)?.get(name),
    relationByOid: (oid) => relationOids.get(oid),
    relations: () => relationOids.values(),
    functions: (schema, name) => functionNames.get(schema)?.get(name) ?? [],
    allFunctions: () => functionOids.values(),
    functionByOid: (oid) => functionOids.get(oid),
    userOperatorFunctions: (operator) =>
      (content.userOperators.get(operator) ?? []).flatMap((oid) => functionOids.get(oid) ?? []),
  };
}
