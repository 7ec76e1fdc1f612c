/**
 * Names in one query level, as PostgreSQL's parser sees them (parse_relation.c, parse_expr.c): which table and column a
 * reference means, innermost level first. Pure look-ups: what a hit is worth is decided elsewhere.
 */
import type { CatalogRelation } from '../catalog/types.ts';
import type { ProtectedColumn } from './types.ts';

/**
 * Where the values of an output column come from. Undefined: from nothing protected. `bare`: the protected column itself, through
 * nothing but output lists, so that the wire tells its origin. Otherwise something computed from it.
 */
export interface Origin {
  readonly column: ProtectedColumn;
  readonly bare: boolean;
}

export interface ScopeColumn {
  readonly name: string;
  readonly origin: Origin | undefined;
}

/** More columns may exist than are known; `origin` is where their values come from. */
export interface OpenEnd {
  readonly origin: Origin | undefined;
}

/** The columns of a query level's result, of a table, or of an item of FROM. */
export interface ColumnSet {
  readonly columns: readonly ScopeColumn[];
  readonly open: OpenEnd | undefined;
}

/** One name that a qualified reference can mean. */
export interface RangeEntry extends ColumnSet {
  /** Alias, or the relation's own name; undefined for an unnamed sub-select. */
  readonly name: string | undefined;
  /** Set when there is no alias: then `schema.relation.column` means it too. */
  readonly relation: CatalogRelation | undefined;
  /** Has ctid, xmin and the like. */
  readonly system: boolean;
  /** For messages. */
  readonly title: string;
}

/** An item of FROM: the names it brings, and the columns that unqualified references and `*` see. */
export interface FromItem extends ColumnSet {
  readonly entries: readonly RangeEntry[];
  /** False for EXCLUDED-like items that only qualified names reach. */
  readonly unqualified: boolean;
}

export interface Scope<C = unknown> {
  readonly parent: Scope<C> | undefined;
  readonly items: readonly FromItem[];
  /** WITH queries that begin at this level. */
  readonly ctes: ReadonlyMap<string, C> | undefined;
}

export const SYSTEM_COLUMNS: ReadonlySet<string> = new Set(['tableoid', 'ctid', 'xmin', 'cmin', 'xmax', 'cmax']);

/** What a column reference means. `uncertain`: an item with unknown columns could have it as well. */
export type Resolution =
  | { readonly type: 'column'; readonly origin: Origin | undefined; readonly uncertain: boolean }
  | { readonly type: 'row'; readonly entry: RangeEntry; readonly uncertain: boolean }
  | { readonly type: 'unresolved' };

/** The strictest reading of several: any protected one counts. */
function pick(columns: readonly ScopeColumn[]): Origin | undefined {
  return columns.find((column) => column.origin !== undefined)?.origin;
}

export function findCte<C>(
  scope: Scope<C> | undefined,
  name: string,
): { readonly cte: C; readonly at: Scope<C> } | undefined {
  for (let level = scope; level !== undefined; level = level.parent) {
    const cte = level.ctes?.get(name);
    if (cte !== undefined) return { cte, at: level };
  }
  return undefined;
}

function findEntry(scope: Scope, qualifier: readonly string[]): RangeEntry | undefined {
  // A database name in front must be the current one: the server checks that.
  const [schema, name] = qualifier.length > 1 ? qualifier.slice(-2) : [undefined, qualifier[0]];
  for (let level: Scope | undefined = scope; level !== undefined; level = level.parent) {
    for (const item of level.items) {
      for (const entry of item.entries) {
        const hit =
          schema === undefined
            ? entry.name === name
            : entry.relation !== undefined && entry.relation.schema === schema && entry.relation.name === name;
        if (hit) return entry;
      }
    }
  }
  return undefined;
}

function unqualified(scope: Scope, name: string): Resolution {
  let openEnd: OpenEnd | undefined;
  for (let level: Scope | undefined = scope; level !== undefined; level = level.parent) {
    const items: readonly FromItem[] = level.items.filter((item) => item.unqualified);
    const hits = items.flatMap((item) => item.columns.filter((column) => column.name === name));
    if (hits.length > 0) {
      const origin = pick(hits);
      const row = origin === undefined ? findEntry(scope, [name]) : undefined;
      // What an unnamed expression is called has changed between versions: then the name could mean the row instead.
      if (row !== undefined && protectedIn(row) !== undefined) return { type: 'row', entry: row, uncertain: true };
      return { type: 'column', origin, uncertain: openEnd !== undefined };
    }
    if (SYSTEM_COLUMNS.has(name) && items.some((item) => item.entries.some((entry) => entry.system))) {
      return { type: 'column', origin: undefined, uncertain: false };
    }
    for (const item of items) openEnd = strictest(openEnd, item.open);
  }
  const entry = findEntry(scope, [name]);
  if (entry !== undefined) return { type: 'row', entry, uncertain: openEnd !== undefined };
  if (openEnd !== undefined) return { type: 'column', origin: openEnd.origin, uncertain: true };
  return { type: 'unresolved' };
}

export function strictest(left: OpenEnd | undefined, right: OpenEnd | undefined): OpenEnd | undefined {
  if (left === undefined) return right;
  if (right === undefined) return left;
  return left.origin !== undefined ? left : right;
}

/** @param fields the parts of a column reference without a star, at least one */
export function resolveColumn(scope: Scope, fields: readonly string[]): Resolution {
  const name = fields[fields.length - 1]!;
  if (fields.length === 1) return unqualified(scope, name);
  const entry = findEntry(scope, fields.slice(0, -1));
  if (entry === undefined) return { type: 'unresolved' };
  const hits = entry.columns.filter((column) => column.name === name);
  if (hits.length > 0) return { type: 'column', origin: pick(hits), uncertain: false };
  if (entry.system && SYSTEM_COLUMNS.has(name)) return { type: 'column', origin: undefined, uncertain: false };
  // `t.f` also means f(t), with the whole row as argument, when t has no column f.
  return { type: 'row', entry, uncertain: entry.open !== undefined };
}

/** The table of `t.*` or `schema.t.*`. */
export function resolveTable(scope: Scope, qualifier: readonly string[]): RangeEntry | undefined {
  return findEntry(scope, qualifier);
}

/** Any protected origin among the columns, known or not. */
export function protectedIn(set: ColumnSet): Origin | undefined {
  return set.columns.find((column) => column.origin !== undefined)?.origin ?? set.open?.origin;
}

/** Renames the first columns, as an alias with a column list does. */
export function renamed(set: ColumnSet, names: readonly string[]): ColumnSet {
  if (names.length === 0) return set;
  const columns = set.columns.map((column, index) => ({ name: names[index] ?? column.name, origin: column.origin }));
  const more = set.open === undefined ? [] : names.slice(columns.length);
  return { columns: [...columns, ...more.map((name) => ({ name, origin: set.open?.origin }))], open: set.open };
}
