/** Which functions a call may reach, and how each is judged. PostgreSQL manual, section 10.3: function type resolution. */
import type { FunctionTuple } from '../../../../policy/command.ts';
import type { CatalogFunction } from '../catalog/types.ts';
import { isDangerousName, judgeBuiltin } from './dangerous.ts';
import { IMMUTABLE_BUILTINS, STABLE_BUILTINS, VOLATILE_BUILTINS } from './generated/builtins.ts';
import type { NameEnvironment } from './types.ts';

export interface FunctionCandidate {
  readonly schema: string;
  readonly name: string;
  readonly judgement: FunctionTuple['judgement'];
}

function builtinVolatility(name: string): 'i' | 's' | 'v' | undefined {
  if (IMMUTABLE_BUILTINS.has(name)) return 'i';
  if (STABLE_BUILTINS.has(name)) return 's';
  return VOLATILE_BUILTINS.has(name) ? 'v' : undefined;
}

const VOLATILITY_ORDER = { i: 0, s: 1, v: 2 } as const;

function mostVolatile(functions: readonly CatalogFunction[]): 'i' | 's' | 'v' | undefined {
  let worst: 'i' | 's' | 'v' | undefined;
  for (const { volatility } of functions) {
    if (worst === undefined || VOLATILITY_ORDER[volatility] > VOLATILITY_ORDER[worst]) worst = volatility;
  }
  return worst;
}

/** What the target's catalog says counts before the list of PostgreSQL 18: the server may be another version. */
function builtin(name: string, environment: NameEnvironment): FunctionCandidate | undefined {
  const known = environment.catalog?.functions('pg_catalog', name) ?? [];
  // A function that somebody put into pg_catalog (with C, SQL or any other language) is not one of PostgreSQL's own.
  const foreign = known.filter((one) => one.oid >= 16384);
  const own = known.filter((one) => one.oid < 16384);
  if (foreign.length > 0) {
    return { schema: 'pg_catalog', name, judgement: isDangerousName(name) ? 'dangerous' : 'user' };
  }
  const volatility = mostVolatile(own) ?? builtinVolatility(name);
  return volatility === undefined
    ? undefined
    : { schema: 'pg_catalog', name, judgement: judgeBuiltin(name, volatility) };
}

const user = (schema: string, name: string, judgement: 'user' | 'unknown'): FunctionCandidate => ({
  schema,
  name,
  judgement: isDangerousName(name) ? 'dangerous' : judgement,
});

/**
 * Every function that a call by this name may reach: which overload is chosen depends on types that are not known here, so all
 * schemas of the search path count. `stale` when nothing is known by the name although there is a catalog.
 */
export function functionCandidates(
  names: readonly string[],
  environment: NameEnvironment,
  path: readonly string[],
): { readonly candidates: readonly FunctionCandidate[]; readonly stale: boolean } {
  const name = names.at(-1) ?? '';
  const { catalog } = environment;
  const qualifier = names.length > 1 ? names.at(-2) : undefined;
  if (qualifier !== undefined) {
    if (qualifier === 'pg_catalog') {
      const found = builtin(name, environment);
      if (found !== undefined) return { candidates: [found], stale: false };
      return { candidates: [user('pg_catalog', name, 'unknown')], stale: catalog !== undefined };
    }
    const overloads = catalog?.functions(qualifier, name) ?? [];
    const known = catalog === undefined || overloads.length > 0;
    if (qualifier === 'information_schema' && HELPERS.has(name) && known && overloads.every(isOwn))
      return { candidates: [{ schema: qualifier, name, judgement: 'safe' }], stale: false };
    return { candidates: [user(qualifier, name, known ? 'user' : 'unknown')], stale: !known };
  }
  const candidates: FunctionCandidate[] = [];
  const found = builtin(name, environment);
  if (found !== undefined) candidates.push(found);
  if (catalog !== undefined) {
    for (const schema of path) {
      if (schema !== 'pg_catalog' && catalog.functions(schema, name).length > 0) {
        candidates.push(user(schema, name, 'user'));
      }
    }
  }
  if (candidates.length > 0) return { candidates, stale: false };
  return {
    candidates: [user(path.find((schema) => schema !== 'pg_catalog') ?? 'pg_catalog', name, 'unknown')],
    stale: catalog !== undefined,
  };
}

/** What the views of information_schema are made with (information_schema.sql); JDBC's driver calls some of it itself. */
const HELPERS: ReadonlySet<string> = new Set([
  ...['_pg_expandarray', '_pg_index_position', '_pg_truetypid', '_pg_truetypmod', '_pg_char_max_length'],
  ...['_pg_char_octet_length', '_pg_numeric_precision', '_pg_numeric_precision_radix', '_pg_numeric_scale'],
  ...['_pg_datetime_precision', '_pg_interval_type'],
]);

/** Made by initdb, not by a user. */
const isOwn = (one: CatalogFunction): boolean => one.oid < 16384;

/** One function of the catalog, as the fast path names it by OID. */
export function judgeFunction(one: CatalogFunction): FunctionTuple['judgement'] {
  if (isDangerousName(one.name)) return 'dangerous';
  return one.schema === 'pg_catalog' && one.oid < 16384 ? judgeBuiltin(one.name, one.volatility) : 'user';
}

/** User functions that `value.name`, PostgreSQL's other way to write `name(value)`, may reach (manual, section 8.16.5). */
export function functionalNotation(
  name: string,
  environment: NameEnvironment,
  path: readonly string[],
): readonly FunctionCandidate[] {
  const { catalog } = environment;
  if (catalog === undefined) return [];
  const { candidates } = functionCandidates([name], environment, path);
  return candidates.filter(({ judgement }) => judgement === 'user' || judgement === 'dangerous');
}

/**
 * User functions under an operator of this name. Those that only a superuser can have made, in C or internal, and that neither
 * change with state nor run as their owner are an extension's types at work (`citext = citext`), not a call that somebody wrote
 * a rule for; all others are judged like a call.
 */
export function operatorCandidates(operator: string, environment: NameEnvironment): readonly FunctionCandidate[] {
  const candidates: FunctionCandidate[] = [];
  for (const one of environment.catalog?.userOperatorFunctions(operator) ?? []) {
    const compiled = one.language === 'c' || one.language === 'internal';
    if (compiled && one.volatility !== 'v' && !one.securityDefiner) continue;
    candidates.push(user(one.schema, one.name, 'user'));
  }
  return candidates;
}

/**
 * Syntax of newer grammars that older servers read as a call of a function of that name (PostgreSQL 16: JSON_ARRAY and its
 * family; 17: JSON_TABLE, MERGE_ACTION and theirs).
 */
export const SYNTAX_FUNCTIONS: Readonly<Record<string, readonly string[]>> = {
  JsonFuncExpr: ['json_exists', 'json_query', 'json_value'],
  JsonTable: ['json_table'],
  JsonParseExpr: ['json'],
  JsonScalarExpr: ['json_scalar'],
  JsonSerializeExpr: ['json_serialize'],
  JsonObjectConstructor: ['json_object'],
  JsonArrayConstructor: ['json_array'],
  JsonArrayQueryConstructor: ['json_array'],
  JsonObjectAgg: ['json_objectagg'],
  JsonArrayAgg: ['json_arrayagg'],
  MergeSupportFunc: ['merge_action'],
};

/** User functions that an older server would call for such syntax. */
export function syntaxCandidates(
  tag: string,
  environment: NameEnvironment,
  path: readonly string[],
): readonly FunctionCandidate[] {
  const { catalog } = environment;
  const names = SYNTAX_FUNCTIONS[tag];
  if (names === undefined || catalog === undefined || catalog.serverVersion >= 170000) return [];
  return names.flatMap((name) =>
    path.filter((schema) => catalog.functions(schema, name).length > 0).map((schema) => user(schema, name, 'user')),
  );
}
