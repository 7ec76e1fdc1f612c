/** Catalogs for unit tests, from a few lines. Not used outside tests. */
import { createCatalog } from './index.ts';
import type { Catalog, CatalogFunction, CatalogRelation } from './types.ts';

export interface RelationSketch {
  /** `schema.name`. */
  readonly name: string;
  readonly columns: readonly string[];
  readonly kind?: string;
  /** Names of inheritance parents. */
  readonly parents?: readonly string[];
  readonly definition?: string;
  readonly dependsOn?: readonly string[];
  /** Generated column → numbers of those that it is made of. */
  readonly generated?: Readonly<Record<string, readonly number[]>>;
}

export interface FunctionSketch {
  readonly name: string;
  readonly result?: CatalogFunction['result'];
  readonly language?: string;
  readonly volatility?: 'i' | 's' | 'v';
  /** Sets the result to the rows of this relation. */
  readonly rowsOf?: string;
  /** The result holds rows of this relation in an array, a domain or an OUT parameter. */
  readonly holds?: string;
}

const FIRST_USER_OID = 16_384;

/** OIDs are given in order of appearance, so they are stable in a test. */
export function sketchCatalog(
  relations: readonly RelationSketch[],
  functions: readonly FunctionSketch[] = [],
  movesNames = false,
): Catalog {
  const oid = (name: string): number => {
    const index = relations.findIndex((relation) => relation.name === name);
    if (index < 0) throw new Error(`no relation ${name} in this sketch`);
    return FIRST_USER_OID + index;
  };
  const split = (name: string): { schema: string; name: string } => {
    const dot = name.indexOf('.');
    return { schema: name.slice(0, dot), name: name.slice(dot + 1) };
  };
  const made = relations.map((sketch): CatalogRelation => {
    const kind = sketch.kind ?? 'r';
    return {
      ...split(sketch.name),
      oid: oid(sketch.name),
      kind,
      columns: sketch.columns.map((name, index) => {
        const from = sketch.generated?.[name];
        return { name, attnum: index + 1, typeOid: 25, ...(from === undefined ? {} : { generatedFrom: from }) };
      }),
      parents: (sketch.parents ?? []).map(oid),
      ...(sketch.definition === undefined ? {} : { definition: sketch.definition }),
      ...(kind === 'v' || kind === 'm' ? { dependsOn: (sketch.dependsOn ?? []).map(oid) } : {}),
    };
  });
  const madeFunctions = functions.map((sketch, index): CatalogFunction => {
    const holds = sketch.rowsOf ?? sketch.holds;
    const result = sketch.rowsOf === undefined ? sketch.result : { type: 'row' as const, relation: oid(sketch.rowsOf) };
    return {
      ...split(sketch.name),
      oid: 90_000 + index,
      language: sketch.language ?? 'internal',
      volatility: sketch.volatility ?? 'i',
      securityDefiner: false,
      kind: 'f',
      ...(result === undefined ? {} : { result }),
      ...(holds === undefined ? {} : { rowsOf: [oid(holds)] }),
    };
  });
  return createCatalog(
    {
      complete: true,
      serverVersion: 180_000,
      defaultSearchPath: '"$user", public',
      role: 'agent',
      movesNames,
      schemas: [...new Set(made.map((relation) => relation.schema)), 'pg_catalog'],
      unusableSchemas: [],
      relations: made,
      functions: madeFunctions,
      userOperators: new Map(),
    },
    1,
  );
}
