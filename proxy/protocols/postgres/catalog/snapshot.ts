/**
 * Reads the system catalog over a control connection: eleven queries in one read-only transaction, whose search_path is empty, so
 * that view definitions come with every name written out. PostgreSQL 13 to 18.
 */
import type { CatalogContent } from './index.ts';
import type { CatalogColumn, CatalogFunction, CatalogRelation, FunctionResult } from './types.ts';

/** Runs one statement and returns its rows as text. NULL comes as an empty string. */
export type CatalogQuery = (sql: string) => Promise<string[][]>;

const SETTINGS = `SELECT pg_catalog.current_setting('server_version_num'),
  (SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'search_path'), current_user`;

const SCHEMAS = `SELECT nspname, pg_catalog.has_schema_privilege(oid, 'USAGE')
  FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_toast'`;

// Indexes and sequences have names to judge, but no columns to read.
const RELATIONS = `SELECT c.oid, n.nspname, c.relname, c.relkind,
    (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(a.attname, a.attnum, a.atttypid) ORDER BY a.attnum)
       FROM pg_catalog.pg_attribute a
      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c'))
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind <> 't' AND n.nspname !~ '^pg_toast' ORDER BY c.oid`;

// A column's own dependency until PostgreSQL 14, that of its expression since.
const GENERATED = `SELECT a.attrelid, a.attnum, pg_catalog.string_agg(DISTINCT d.refobjsubid::pg_catalog.text, ',')
  FROM pg_catalog.pg_attribute a
  LEFT JOIN pg_catalog.pg_attrdef e ON e.adrelid = a.attrelid AND e.adnum = a.attnum
  JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = a.attrelid
    AND d.refobjsubid > 0 AND d.refobjsubid <> a.attnum
    AND (d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid = e.oid
      OR d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = a.attrelid AND d.objsubid = a.attnum)
  WHERE a.attgenerated <> '' AND NOT a.attisdropped
  GROUP BY a.attrelid, a.attnum`;

const INHERITANCE = `SELECT inhrelid, pg_catalog.string_agg(inhparent::pg_catalog.text, ',' ORDER BY inhseqno)
  FROM pg_catalog.pg_inherits GROUP BY inhrelid`;

// System views need no definition: what they show is known by name. Reading one takes a lock on what it selects from, so one whose
// tables an open transaction changes right now is left out: that transaction may be of a session that waits for this snapshot.
const VIEWS = `SELECT c.oid, CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_locks l
      WHERE l.mode = 'AccessExclusiveLock' AND l.relation IN (SELECT c.oid UNION ALL
        SELECT d.refobjid FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
         WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND r.ev_class = c.oid
           AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass))
    THEN '' ELSE pg_catalog.pg_get_viewdef(c.oid) END
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('v', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')`;

/** A lock taken between looking for it and asking for it ends the wait after this time. */
const LOCK_TIMEOUT = `SET LOCAL lock_timeout = '250ms'`;

const DEPENDENCIES = `SELECT r.ev_class, pg_catalog.string_agg(DISTINCT d.refobjid::pg_catalog.text, ',')
  FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
  WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
    AND d.refobjid <> r.ev_class
  GROUP BY r.ev_class`;

// What a write sets off besides: a rule may return rows, and nothing on the wire tells where their values come from.
const RULES = `SELECT r.ev_class, pg_catalog.string_agg(DISTINCT d.refobjid::pg_catalog.text, ',')
  FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
  WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
    AND r.ev_type <> '1' AND d.refobjid <> r.ev_class
  GROUP BY r.ev_class`;

const FUNCTIONS = `SELECT p.oid, n.nspname, p.proname, l.lanname, p.provolatile, p.prosecdef, p.prokind, t.typtype, t.typrelid,
    CASE WHEN p.proargmodes IS NOT NULL THEN
      (SELECT pg_catalog.json_agg(outs.name ORDER BY outs.i) FROM (
         SELECT COALESCE(x.name, '') AS name, x.i
           FROM ROWS FROM (pg_catalog.unnest(p.proargmodes), pg_catalog.unnest(p.proargnames)) WITH ORDINALITY AS x(mode, name, i)
          WHERE x.mode IN ('o', 'b', 't')) outs) END,
    CASE WHEN p.oid >= 16384 THEN
      (SELECT pg_catalog.string_agg(DISTINCT COALESCE(NULLIF(x.typrelid, 0), e.typrelid)::pg_catalog.text, ',')
         FROM (SELECT p.prorettype AS type UNION ALL
               SELECT o.type FROM ROWS FROM (pg_catalog.unnest(p.proallargtypes), pg_catalog.unnest(p.proargmodes)) AS o(type, mode)
                WHERE o.mode IN ('o', 'b', 't')) r
         JOIN pg_catalog.pg_type x ON x.oid = r.type
         LEFT JOIN pg_catalog.pg_type e ON e.oid = CASE WHEN x.typtype = 'd' THEN x.typbasetype ELSE x.typelem END
        WHERE x.typrelid <> 0 OR e.typrelid <> 0) END
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang
  JOIN pg_catalog.pg_type t ON t.oid = p.prorettype ORDER BY p.oid`;

// What stands in the source of a function that sets search_path or the role for its session. A SET clause ends with the function and is not
// source. An SQL body has no source, but a tree in which set_config is 2078. Extensions put back what they change.
const MOVERS = `SELECT EXISTS (SELECT FROM pg_catalog.pg_proc p WHERE p.oid >= 16384
    AND (p.prosrc ~* 'search_path|session_authorization|set_config[[:space:]]*[(][[:space:]]*[^''[:space:]]|set[[:space:]]+(session[[:space:]]+|local[[:space:]]+)?(session[[:space:]]+authorization|role|schema)[[:>:]]'
      OR p.prosrc = '' AND pg_catalog.to_json(p)->>'prosqlbody' LIKE '%:funcid 2078 %')
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
      AND d.objid = p.oid AND d.deptype = 'e'))`;

const OPERATORS = `SELECT o.oprname, pg_catalog.string_agg(o.oprcode::pg_catalog.oid::pg_catalog.text, ',')
  FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode::pg_catalog.oid
  WHERE p.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace GROUP BY o.oprname`;

const SYSTEM_SCHEMAS: ReadonlySet<string> = new Set(['pg_catalog', 'information_schema']);

const numbers = (text: string): number[] => (text === '' ? [] : text.split(',').map(Number));

/** Definitions by view; empty where one could not be read without waiting. */
async function readViews(query: CatalogQuery): Promise<Map<string, string>> {
  await query('SAVEPOINT views');
  try {
    const rows = await query(VIEWS);
    return new Map(rows.map(([oid = '', definition = '']) => [oid, definition]));
  } catch (error) {
    // Without definitions every column of these views counts as protected until the next read. A connection that is gone fails here.
    try {
      await query('ROLLBACK TO SAVEPOINT views');
    } catch (second) {
      throw new AggregateError([error, second], error instanceof Error ? error.message : String(error));
    }
    return new Map();
  }
}

/**
 * @returns `complete` is false when a view's definition could not be read now: read again soon
 * @throws what `query` throws; the transaction is then rolled back
 */
export async function readCatalog(query: CatalogQuery): Promise<CatalogContent> {
  await query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  try {
    // Before search_path changes; reset_val is what a fresh session of the role has.
    const [settings = []] = await query(SETTINGS);
    await query(`SET LOCAL search_path = ''`);
    const schemas = await query(SCHEMAS);
    const relations = await query(RELATIONS);
    const parents = new Map((await query(INHERITANCE)).map(([oid = '', list = '']) => [oid, numbers(list)]));
    const generated = new Map(
      (await query(GENERATED)).map(([oid, column, list = '']) => [`${oid} ${column}`, numbers(list)]),
    );
    await query(LOCK_TIMEOUT);
    const definitions = await readViews(query);
    const dependencies = new Map((await query(DEPENDENCIES)).map(([oid = '', list = '']) => [oid, numbers(list)]));
    const rules = new Map((await query(RULES)).map(([oid = '', list = '']) => [oid, numbers(list)]));
    const functions = await query(FUNCTIONS);
    const operators = await query(OPERATORS);
    const [[movers] = []] = await query(MOVERS);
    await query('COMMIT');
    const isOpenView = ([oid = '', schema = '', , kind]: string[]): boolean =>
      (kind === 'v' || kind === 'm') && !SYSTEM_SCHEMAS.has(schema) && (definitions.get(oid) ?? '') === '';
    return {
      complete: !relations.some(isOpenView),
      serverVersion: Number(settings[0]),
      defaultSearchPath: settings[1] ?? '',
      role: settings[2] ?? '',
      movesNames: movers !== 'f',
      schemas: schemas.map((row) => row[0] ?? ''),
      unusableSchemas: schemas.filter((row) => row[1] !== 't').map((row) => row[0] ?? ''),
      relations: relations.map((row) => toRelation(row, parents, definitions, dependencies, rules, generated)),
      functions: functions.map(toFunction),
      userOperators: new Map(operators.map(([name = '', list = '']) => [name, numbers(list)])),
    };
  } catch (error) {
    // The connection may be what failed; then this fails too, and the first error is the one that tells why.
    await query('ROLLBACK').catch((second: unknown) => {
      throw new AggregateError([error, second], error instanceof Error ? error.message : String(error));
    });
    throw error;
  }
}

function toRelation(
  [oid = '', schema = '', name = '', kind = '', columns = '']: string[],
  parents: ReadonlyMap<string, number[]>,
  definitions: ReadonlyMap<string, string>,
  dependencies: ReadonlyMap<string, number[]>,
  rules: ReadonlyMap<string, number[]>,
  generated: ReadonlyMap<string, number[]>,
): CatalogRelation {
  const rulesName = rules.get(oid);
  const definition = definitions.get(oid);
  const isView = kind === 'v' || kind === 'm';
  return {
    oid: Number(oid),
    schema,
    name,
    kind,
    columns:
      columns === '' ? [] : (JSON.parse(columns) as [string, number, number | string][]).map(toColumn(oid, generated)),
    parents: parents.get(oid) ?? [],
    ...(definition === undefined || definition === '' ? {} : { definition }),
    ...(isView ? { dependsOn: dependencies.get(oid) ?? [] } : {}),
    ...(rulesName === undefined ? {} : { rulesName }),
  };
}

/** JSON has OIDs as numbers since PostgreSQL made oid a numeric category type; read both. */
function toColumn(relation: string, generated: ReadonlyMap<string, number[]>) {
  return ([name, attnum, typeOid]: [string, number, number | string]): CatalogColumn => {
    const from = generated.get(`${relation} ${attnum}`);
    return { name, attnum, typeOid: Number(typeOid), ...(from === undefined ? {} : { generatedFrom: from }) };
  };
}

const VOLATILITY = { i: 'i', s: 's', v: 'v' } as const;
const KIND = { f: 'f', p: 'p', a: 'a', w: 'w' } as const;

function toFunction(row: string[]): CatalogFunction {
  const [
    oid = '',
    schema = '',
    name = '',
    language = '',
    volatility = '',
    definer = '',
    kind = '',
    type = '',
    relation = '',
    outs = '',
    rowsOf = '',
  ] = row;
  return {
    oid: Number(oid),
    schema,
    name,
    language,
    // A letter of a later version counts as the worst that we know.
    volatility: VOLATILITY[volatility as keyof typeof VOLATILITY] ?? 'v',
    securityDefiner: definer === 't',
    kind: KIND[kind as keyof typeof KIND] ?? 'f',
    result: toResult(type, Number(relation), outs === '' ? [] : (JSON.parse(outs) as string[])),
    ...(rowsOf === '' ? {} : { rowsOf: numbers(rowsOf) }),
  };
}

/** @param type pg_type.typtype of the result */
function toResult(type: string, relation: number, outs: readonly string[]): FunctionResult {
  // Without a name the column is called after its position or the function, by rules not worth repeating.
  if (outs.length > 0) return outs.every((name) => name !== '') ? { type: 'columns', names: outs } : { type: 'open' };
  switch (type) {
    case 'b':
    case 'e':
    case 'r':
    case 'm':
      return { type: 'scalar' };
    case 'c':
      return relation === 0 ? { type: 'open' } : { type: 'row', relation };
    default:
      return { type: 'open' };
  }
}
