/** For tests: an environment without I/O, and tuples as short text. */
import type { SqlTuple } from '../../../../policy/command.ts';
import type { MaskPlan } from '../../../../policy/masking.ts';
import type { Catalog, CatalogFunction, CatalogRelation } from '../catalog/types.ts';
import { analyse } from './analyse.ts';
import type { Analysis, NameEnvironment } from './types.ts';

export const NO_MASKS: MaskPlan = {
  empty: true,
  hasColumns: false,
  column: () => undefined,
  transforms: [],
  fields: [],
  content: [],
  binaryOutput: 'Search',
  opaqueBodies: 'Deny',
  kubernetes: [],
  hasFiles: false,
  file: () => undefined,
};

export function environment(more: Partial<NameEnvironment> = {}): NameEnvironment {
  return {
    searchPath: ['public'],
    role: 'app',
    catalog: undefined,
    temporary: new Set(),
    prepared: () => undefined,
    ...more,
  };
}

/** `Select public.t`, `Set~` for harmless kinds, `f() user` for functions; `1:` in front from the second sub-statement on. */
export function show(tuple: SqlTuple): string {
  const place = tuple.statement === 0 ? '' : `${tuple.statement}:`;
  switch (tuple.type) {
    case 'relation':
      return `${place}${tuple.kind} ${tuple.schema}.${tuple.name}${tuple.harmlessCatalog === true ? '~' : ''}`;
    case 'kind':
      return `${place}${tuple.kind}${tuple.harmless === true ? '~' : ''}`;
    case 'function':
      return `${place}${tuple.schema}.${tuple.name}() ${tuple.judgement}`;
  }
}

export const shown = (analysis: Analysis): string => analysis.command.tuples.map(show).join(', ');

export const run = (sql: string, more: Partial<NameEnvironment> = {}): Analysis =>
  analyse(sql, environment(more), NO_MASKS, undefined);

export const tuples = (sql: string, more: Partial<NameEnvironment> = {}): string => shown(run(sql, more));

/** A catalog of `schema.name` relations (with columns id and b) and functions. */
export function catalogOf(
  relations: readonly (Partial<CatalogRelation> & { readonly schema: string; readonly name: string })[],
  functions: readonly (Partial<CatalogFunction> & { readonly schema: string; readonly name: string })[] = [],
  operators: Readonly<Record<string, readonly string[]>> = {},
): Catalog {
  const all = relations.map(
    (relation, index): CatalogRelation => ({
      oid: 20000 + index,
      kind: 'r',
      parents: [],
      columns: ['id', 'b'].map((name, at) => ({ name, attnum: at + 1, typeOid: 25 })),
      ...relation,
    }),
  );
  const calls = functions.map(
    (one, index): CatalogFunction => ({
      oid: 30000 + index,
      language: 'plpgsql',
      volatility: 'v',
      securityDefiner: false,
      kind: 'f',
      ...one,
    }),
  );
  return {
    generation: 1,
    serverVersion: 180000,
    defaultSearchPath: 'public',
    role: 'app',
    movesNames: false,
    hasSchema: (name) => all.some((relation) => relation.schema === name),
    canUseSchema: (name) => all.some((relation) => relation.schema === name),
    relation: (schema, name) => all.find((relation) => relation.schema === schema && relation.name === name),
    relationByOid: (oid) => all.find((relation) => relation.oid === oid),
    relations: () => all,
    functions: (schema, name) => calls.filter((one) => one.schema === schema && one.name === name),
    allFunctions: () => calls,
    functionByOid: (oid) => calls.find((one) => one.oid === oid),
    userOperatorFunctions: (operator) => calls.filter((one) => operators[operator]?.includes(one.name) === true),
  };
}
