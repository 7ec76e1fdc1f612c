import type { EffectPreview } from '../../../ports.ts';
import type { Catalog, CatalogRelation } from '../catalog/types.ts';
import { type ControlConnection, ControlError, createControlConnection, type QueryParameters } from '../control.ts';
import { isNode, strings, text } from '../sql/ast.ts';
import { parse } from '../sql/parse.ts';
import { findRelation } from '../sql/scope-relations.ts';
import { tokensOf } from '../sql/tokens.ts';
import type { NameEnvironment } from '../sql/types.ts';
import type { UpstreamSession } from '../upstream.ts';
import { cascades, FOREIGN_KEYS } from './cascades.ts';
import { readPlan } from './plan.ts';
import type { Shown } from './present.ts';
import { type RowsQuery, rowsQuery } from './rows-query.ts';

/** What a preview is made of. It runs on a connection of its own, under the agent's role and settings, and changes nothing. */
export interface PreviewGround {
  readonly environment: NameEnvironment;
  /** Role that the session has taken on; undefined: it acts as its login, and so does the preview as its own. */
  readonly role: string | undefined;
  /** Settings that the session has, besides search_path and role. */
  readonly settings: Readonly<Record<string, string>>;
  /** Opens a connection with the session's own credential. @throws UpstreamError; Error when too many are open */
  dial(signal: AbortSignal): Promise<UpstreamSession>;
}

/** For plan and catalog together, and for the count. In milliseconds. */
const PLAN_MS = 5000;
const COUNT_MS = 5000;
/** A lock that others hold is not waited for. */
const LOCK_MS = 100;
const TEXT_OID = 25;

/** Types whose input and casts are PostgreSQL's own. A name not in here may be a domain, whose checks run functions. */
const BUILT_IN_TYPES: ReadonlySet<string> = new Set(
  [
    [
      'bool',
      'int2',
      'int4',
      'int8',
      'float4',
      'float8',
      'numeric',
      'text',
      'varchar',
      'bpchar',
      'char',
      'name',
      'bytea',
    ],
    ['date', 'time', 'timetz', 'timestamp', 'timestamptz', 'interval', 'uuid', 'json', 'jsonb', 'inet', 'cidr', 'oid'],
  ].flat(),
);

class NoPreview extends Error {
  override readonly name = 'NoPreview';
}

/** Why not, in words that quote nothing: the server's own text may hold values. */
function reasonOf(error: unknown, signal: AbortSignal): string {
  if (error instanceof NoPreview) return error.message;
  if (signal.aborted) return 'it took too long';
  if (!(error instanceof ControlError)) return 'the target could not be asked';
  if (error.state === '57014') return 'it took too long';
  if (error.state === '55P03') return 'another session holds a lock on a table';
  return `the target refused it with SQLSTATE ${error.state}`;
}

function typeNames(value: unknown, names: Set<string>): void {
  if (Array.isArray(value)) for (const item of value) typeNames(item, names);
  else if (isNode(value)) {
    if (Array.isArray(value['names']) && 'typemod' in value) {
      const parts = strings(value['names'].filter(isNode));
      names.add(parts.length === 2 && parts[0] === 'pg_catalog' ? `${parts[1]}` : parts.join('.'));
    }
    for (const key in value) typeNames(value[key], names);
  }
}

function withChildren(catalog: Catalog, found: readonly CatalogRelation[]): CatalogRelation[] {
  const all = new Map(found.map((relation) => [relation.oid, relation]));
  for (let grown = true; grown; ) {
    grown = false;
    for (const relation of catalog.relations()) {
      if (all.has(relation.oid) || !relation.parents.some((parent) => all.has(parent))) continue;
      all.set(relation.oid, relation);
      grown = true;
    }
  }
  return [...all.values()];
}

/** Functions that planning (and, for a count, running) it would call must be PostgreSQL's own. */
function checkFunctions({ analysis }: Shown, counted: boolean): void {
  for (const tuple of analysis.command.tuples) {
    if (tuple.type !== 'function') continue;
    const fine = tuple.judgement === 'safe' || (!counted && tuple.judgement === 'volatile');
    if (!fine) throw new NoPreview(`it calls ${tuple.schema}.${tuple.name}, which could run code of its own`);
  }
}

function checkTypes(query: string): void {
  const outcome = parse(query);
  if (!outcome.ok) throw new NoPreview('it does not parse');
  const names = new Set<string>();
  typeNames(outcome.statements, names);
  const other = [...names].find((name) => !BUILT_IN_TYPES.has(name));
  if (other !== undefined) throw new NoPreview(`it casts to ${other}, whose checks could run code of their own`);
}

function relationsOf({ analysis }: Shown, catalog: Catalog): CatalogRelation[] {
  const found: CatalogRelation[] = [];
  for (const tuple of analysis.command.tuples) {
    if (tuple.type !== 'relation') continue;
    const relation = catalog.relation(tuple.schema, tuple.name);
    if (relation === undefined) throw new NoPreview(`${tuple.schema}.${tuple.name} is not in the catalog`);
    found.push(relation);
  }
  const all = withChildren(catalog, found);
  for (const { kind, schema, name } of all) {
    if (kind === 'v') throw new NoPreview(`${schema}.${name} is a view, which could run code of its own`);
    if (kind === 'f') throw new NoPreview(`${schema}.${name} is on another server`);
  }
  return all;
}

/** Row security is part of the plan: its policies may call functions, or read relations that nobody looked at here. */
const POLICIES = (oids: readonly number[]): string => `SELECT 1 FROM pg_catalog.pg_policy p
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass AND d.objid = p.oid
 WHERE p.polrelid IN (${oids.join(', ')}) AND (
   d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass)
   OR (d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> p.polrelid)) LIMIT 1`;

const quoted = (value: string): string => `'${value.replaceAll("'", "''")}'`;

/** The values of a query that may use only some of them: the others get a type, since the server could not find out. */
function parametersFor(query: string, shown: Shown): QueryParameters | undefined {
  if (shown.parameters.length === 0) return undefined;
  const used = new Set<number>();
  for (const token of tokensOf(query) ?? []) if (token.type === 'parameter') used.add(Number(token.text.slice(1)));
  const values = shown.parameters.map((value, index) => (used.has(index + 1) ? value : null));
  const types = values.map((_, index) => (used.has(index + 1) ? (shown.types[index] ?? 0) : TEXT_OID));
  return { values, formats: shown.formats, types };
}

/**
 * Runs `work` in a transaction that only reads and that is rolled back. Names mean pg_catalog's until `work` calls `enter`: from
 * there on they mean what they mean to the agent.
 */
async function reading<T>(
  ground: PreviewGround,
  limitMs: number,
  signal: AbortSignal,
  work: (control: ControlConnection, enter: () => Promise<void>) => Promise<T>,
): Promise<T> {
  const { wire } = await ground.dial(signal);
  const control = createControlConnection(wire);
  const stop = (): void => void wire.destroy();
  signal.addEventListener('abort', stop, { once: true });
  try {
    await control.query(
      `BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL search_path = ''; SET LOCAL statement_timeout = ${limitMs}; SET LOCAL lock_timeout = ${LOCK_MS}`,
    );
    const result = await work(control, async () => {
      const path = ground.environment.searchPath.map((name) => `"${name.replaceAll('"', '""')}"`).join(', ');
      const role = ground.role === undefined ? {} : { role: ground.role };
      const settings = { ...ground.settings, search_path: path, ...role };
      for (const [name, value] of Object.entries(settings))
        await control.query(`SELECT pg_catalog.set_config(${quoted(name)}, ${quoted(value)}, true)`);
    });
    await control.query('ROLLBACK');
    return result;
  } finally {
    signal.removeEventListener('abort', stop);
    control.close();
  }
}

function limited(outer: AbortSignal, milliseconds: number): AbortSignal {
  return AbortSignal.any([outer, AbortSignal.timeout(milliseconds)]);
}

async function checked(control: ControlConnection, relations: readonly CatalogRelation[]): Promise<void> {
  if (relations.length === 0) return;
  const [policy] = await control.query(POLICIES(relations.map(({ oid }) => oid)));
  if (policy !== undefined) throw new NoPreview('a row security policy could run code of its own');
}

async function cascadesOf(
  control: ControlConnection,
  query: RowsQuery,
  ground: PreviewGround,
  catalog: Catalog,
): Promise<string[]> {
  if (query.type !== 'query' || query.target === undefined) return [];
  if (query.action !== 'delete' && query.action !== 'update') return [];
  const found = findRelation(ground.environment, query.target);
  if (found.type !== 'relation') return [];
  const rows = await control.query(FOREIGN_KEYS);
  return cascades(rows, withChildren(catalog, [found.relation]), query.action, query.columns ?? []);
}

/** Plan, estimate and cascades. Never rejects: what could not be found out is said in `unavailable`. */
export async function preview(shown: Shown, ground: PreviewGround, outer: AbortSignal): Promise<EffectPreview> {
  const signal = limited(outer, PLAN_MS);
  const { catalog } = ground.environment;
  let carried: string[] = [];
  try {
    const query = rowsQuery(shown.text);
    if (query.type === 'none') throw new NoPreview(query.why);
    if (catalog === undefined) throw new NoPreview('the catalog is not known');
    if (query.type === 'rows') {
      const name = text(query.target, 'relname') ?? '';
      return {
        estimate: { rows: query.rows, plan: `Insert on ${name}\n  Values  (${query.rows} rows)` },
        cascades: [],
      };
    }
    const relations = relationsOf(shown, catalog);
    return await reading(ground, PLAN_MS, signal, async (control, enter) => {
      carried = await cascadesOf(control, query, ground, catalog);
      checkFunctions(shown, false);
      checkTypes(query.plan);
      await checked(control, relations);
      await enter();
      const rows = await control.query(`EXPLAIN (FORMAT JSON) ${query.plan}`, parametersFor(query.plan, shown));
      const estimate = readPlan(rows.map(([line = '']) => line).join('\n'));
      if (estimate === undefined) throw new NoPreview('the plan could not be read');
      return { estimate, cascades: carried };
    });
  } catch (error) {
    return { cascades: carried, unavailable: `no estimate: ${reasonOf(error, signal)}` };
  }
}

/** Counts the rows that UPDATE or DELETE would change. Never rejects: `known` comes back with the count, or with why there is none. */
export async function measure(
  shown: Shown,
  ground: PreviewGround,
  known: EffectPreview,
  outer: AbortSignal,
): Promise<EffectPreview> {
  const signal = limited(outer, COUNT_MS + PLAN_MS);
  const { catalog } = ground.environment;
  try {
    const query = rowsQuery(shown.text);
    if (query.type === 'none') throw new NoPreview(query.why);
    if (query.type === 'rows' || query.count === undefined) throw new NoPreview('only UPDATE and DELETE are counted');
    if (catalog === undefined) throw new NoPreview('the catalog is not known');
    const relations = relationsOf(shown, catalog);
    checkFunctions(shown, true);
    checkTypes(query.count);
    const { count } = query;
    const started = performance.now();
    const rows = await reading(ground, COUNT_MS, signal, async (control, enter) => {
      await checked(control, relations);
      await enter();
      return control.query(count, parametersFor(count, shown));
    });
    const measured = {
      rows: Number(rows[0]?.[0]),
      at: new Date().toISOString(),
      durationMs: Math.round(performance.now() - started),
    };
    return { ...known, measured };
  } catch (error) {
    return { ...known, unavailable: `no count: ${reasonOf(error, signal)}` };
  }
}
