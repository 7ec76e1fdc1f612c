/** SELECT, VALUES, set operations and WITH: which output column carries what. */
import { type AstNode, child, flag, list, strings, tagged, text } from './ast.ts';
import { condition } from './guard-equality.ts';
import { columnFields, type Expressions, expressionsOf } from './guard-expressions.ts';
import { fromItems } from './guard-from.ts';
import type { Cte, Inspection, QueryScope } from './guard-inspection.ts';
import { refuseCopy, refuseShadow } from './guard-targets.ts';
import { inspectWrite, isWrite } from './guard-writes.ts';
import {
  type ColumnSet,
  type OpenEnd,
  protectedIn,
  renamed,
  resolveTable,
  type ScopeColumn,
  strictest,
} from './scope.ts';
import { outputName } from './scope-names.ts';

/** What all parts of one inspection share. */
export interface Walk {
  readonly inspection: Inspection;
  readonly expressions: Expressions;
}

export function createWalk(inspection: Inspection): Walk {
  const walk: Walk = {
    inspection,
    expressions: expressionsOf(inspection, (select, parent) => inspectSelect(walk, select, parent)),
  };
  return walk;
}

const NOTHING: ColumnSet = { columns: [], open: undefined };

/** @param onFirstTerm called with the result of the left side of a set operation, for WITH RECURSIVE */
export function inspectSelect(
  walk: Walk,
  select: AstNode,
  parent: QueryScope | undefined,
  onFirstTerm?: (columns: ColumnSet) => void,
): ColumnSet {
  return walk.inspection.deeper(() => {
    const scope = openWith(child(select, 'withClause'), parent);
    const operation = text(select, 'op') ?? 'SETOP_NONE';
    const result =
      operation !== 'SETOP_NONE'
        ? setOperation(walk, select, scope, onFirstTerm)
        : list(select, 'valuesLists').length > 0
          ? values(walk, select, scope)
          : plain(walk, select, scope);
    closeWith(walk, scope, parent);
    const into = child(select, 'intoClause');
    if (into !== undefined) {
      refuseShadow(walk.inspection, child(into, 'rel'));
      refuseCopy(walk.inspection, result, 'a new table');
    }
    return result;
  });
}

/** A scope that sees the WITH queries. Each is inspected at the latest by `closeWith`. */
export function openWith(clause: AstNode | undefined, parent: QueryScope | undefined): QueryScope {
  let scope: QueryScope = { parent, items: [], ctes: undefined };
  if (clause === undefined) return scope;
  const recursive = flag(clause, 'recursive');
  const bodies = list(clause, 'ctes').flatMap((node) => {
    const body = child(node, 'CommonTableExpr');
    return body === undefined ? [] : [body];
  });
  if (recursive) {
    // All of them see each other, also forwards.
    const ctes = new Map<string, Cte>();
    scope = { parent, items: [], ctes };
    for (const body of bodies)
      ctes.set(text(body, 'ctename') ?? '', { body, scope, recursive, state: 'pending', result: undefined });
    return scope;
  }
  for (const body of bodies) {
    const cte: Cte = { body, scope, recursive, state: 'pending', result: undefined };
    scope = { parent: scope, items: [], ctes: new Map([[text(body, 'ctename') ?? '', cte]]) };
  }
  return scope;
}

/** Inspects the WITH queries that nothing has referenced: they run all the same when they write. */
export function closeWith(walk: Walk, scope: QueryScope, parent: QueryScope | undefined): void {
  for (let level: QueryScope | undefined = scope; level !== undefined && level !== parent; level = level.parent) {
    for (const cte of level.ctes?.values() ?? []) cteColumns(walk, cte);
  }
}

export function cteColumns(walk: Walk, cte: Cte): ColumnSet {
  const { inspection } = walk;
  if (cte.state === 'done') return cte.result ?? NOTHING;
  if (cte.state === 'running') {
    if (cte.result === undefined) inspection.unresolved.push(text(cte.body, 'ctename') ?? '');
    return cte.result ?? { columns: [], open: { origin: undefined } };
  }
  cte.state = 'running';
  const names = strings(list(cte.body, 'aliascolnames'));
  const query = tagged(child(cte.body, 'ctequery'));
  const evaluate = (): ColumnSet => {
    if (query === undefined) return NOTHING;
    if (query.tag === 'SelectStmt') {
      const first = (columns: ColumnSet): void => {
        if (cte.recursive) cte.result ??= added(cte.body, renamed(columns, names));
      };
      return inspectSelect(walk, query.body, cte.scope, first);
    }
    if (isWrite(query.tag)) return inspectWrite(walk, query.tag, query.body, cte.scope) ?? NOTHING;
    return NOTHING;
  };
  let result = added(cte.body, renamed(evaluate(), names));
  // What the recursive term adds flows round again: each turn taints at least one more column, or nothing.
  for (let turn = 0; cte.recursive && turn <= result.columns.length && !sameOrigins(cte.result, result); turn++) {
    cte.result = result;
    result = added(cte.body, renamed(evaluate(), names));
  }
  cte.result = result;
  cte.state = 'done';
  return result;
}

function sameOrigins(before: ColumnSet | undefined, after: ColumnSet): boolean {
  if (before === undefined) return true;
  return before.columns.every((column, index) => column.origin?.column === after.columns[index]?.origin?.column);
}

/** Columns that SEARCH and CYCLE add: the sequence, the mark and the path hold values of the listed columns. */
function added(cte: AstNode, set: ColumnSet): ColumnSet {
  const search = child(cte, 'search_clause');
  const cycle = child(cte, 'cycle_clause');
  const columns: ScopeColumn[] = [...set.columns];
  const origin = protectedIn(set);
  const computed = origin === undefined ? undefined : { column: origin.column, bare: false };
  const add = (name: string | undefined): void => {
    if (name !== undefined) columns.push({ name, origin: computed });
  };
  add(text(search ?? {}, 'search_seq_column'));
  add(text(cycle ?? {}, 'cycle_mark_column'));
  add(text(cycle ?? {}, 'cycle_path_column'));
  return { columns, open: set.open };
}

function setOperation(
  walk: Walk,
  select: AstNode,
  scope: QueryScope,
  onFirstTerm: ((columns: ColumnSet) => void) | undefined,
): ColumnSet {
  const left = inspectSelect(walk, child(select, 'larg') ?? {}, scope);
  onFirstTerm?.(left);
  const right = inspectSelect(walk, child(select, 'rarg') ?? {}, scope);
  const place = 'UNION, INTERSECT or EXCEPT';
  // The wire tells no origin for these columns, so their values could not be masked.
  const columns = left.columns.map((column, index) => {
    const origin = walk.inspection.use(column.origin ?? right.columns[index]?.origin ?? right.open?.origin, place);
    return { name: column.name, origin };
  });
  for (const column of right.columns) walk.inspection.use(column.origin, place);
  const result: ColumnSet = { columns, open: strictest(left.open, right.open) };
  for (const item of list(select, 'sortClause'))
    sortKey(walk, child(child(item, 'SortBy') ?? {}, 'node'), result, scope, 'ORDER BY');
  limits(walk, select, scope);
  return result;
}

function values(walk: Walk, select: AstNode, scope: QueryScope): ColumnSet {
  const columns: ScopeColumn[] = [];
  for (const row of list(select, 'valuesLists')) {
    list(child(row, 'List') ?? {}, 'items').forEach((item, index) => {
      const origin = walk.expressions.walk(item, scope, 'VALUES');
      columns[index] = { name: `column${index + 1}`, origin: columns[index]?.origin ?? origin };
    });
  }
  const result: ColumnSet = { columns, open: undefined };
  for (const item of list(select, 'sortClause'))
    sortKey(walk, child(child(item, 'SortBy') ?? {}, 'node'), result, scope, 'ORDER BY');
  limits(walk, select, scope);
  return result;
}

function limits(walk: Walk, select: AstNode, scope: QueryScope): void {
  walk.expressions.walk(select.limitCount, scope, 'LIMIT');
  walk.expressions.walk(select.limitOffset, scope, 'OFFSET');
}

function plain(walk: Walk, select: AstNode, outer: QueryScope): ColumnSet {
  const { expressions, inspection } = walk;
  const scope = fromItems(walk, list(select, 'fromClause'), outer);
  const result = outputList(walk, list(select, 'targetList'), scope);
  condition(walk, child(select, 'whereClause'), scope);
  for (const item of list(select, 'groupClause')) groupKey(walk, item, result, scope);
  expressions.walk(select.havingClause, scope, 'HAVING');
  expressions.walk(select.windowClause, scope, 'a window definition');
  for (const item of list(select, 'distinctClause')) {
    // SELECT DISTINCT is a list of one empty node.
    if (tagged(item) === undefined) inspection.use(protectedIn(result), 'DISTINCT');
    else sortKey(walk, item, result, scope, 'DISTINCT ON');
  }
  for (const item of list(select, 'sortClause')) {
    sortKey(walk, child(child(item, 'SortBy') ?? {}, 'node'), result, scope, 'ORDER BY');
  }
  limits(walk, select, scope);
  return result;
}

/** ORDER BY and DISTINCT ON: an output column's name or number, or else an expression over FROM (findTargetlistEntrySQL92). */
function sortKey(walk: Walk, node: AstNode | undefined, outputs: ColumnSet, scope: QueryScope, place: string): void {
  const inner = tagged(node);
  if (inner?.tag === 'ColumnRef') {
    const { names, star } = columnFields(inner.body);
    if (!star && names.length === 1) {
      const hits = outputs.columns.filter((column) => column.name === names[0]);
      for (const hit of hits) walk.inspection.use(hit.origin, place);
      if (hits.length > 0) return;
    }
  }
  if (ordinal(walk, node, outputs, place)) return;
  walk.expressions.walk(node, scope, place);
}

function ordinal(walk: Walk, node: AstNode | undefined, outputs: ColumnSet, place: string): boolean {
  const constant = child(node ?? {}, 'A_Const');
  if (constant === undefined) return false;
  const position = child(constant, 'ival')?.ival;
  walk.inspection.literalDependent = true;
  const column = typeof position === 'number' && outputs.open === undefined ? outputs.columns[position - 1] : undefined;
  walk.inspection.use(outputs.open === undefined ? column?.origin : protectedIn(outputs), place);
  return true;
}

function groupKey(walk: Walk, node: AstNode, outputs: ColumnSet, scope: QueryScope): void {
  const inner = tagged(node);
  if (inner?.tag === 'GroupingSet') {
    for (const item of list(inner.body, 'content')) groupKey(walk, item, outputs, scope);
    return;
  }
  if (inner?.tag === 'RowExpr') {
    for (const item of list(inner.body, 'args')) groupKey(walk, item, outputs, scope);
    return;
  }
  // An input column goes before an output column of the same name here; both readings have to be harmless.
  sortKey(walk, node, outputs, scope, 'GROUP BY');
  if (inner?.tag !== 'ColumnRef') return;
  const { names } = columnFields(inner.body);
  if (outputs.columns.some((column) => column.name === names[0]) && names.length === 1) {
    const unresolved = walk.inspection.unresolved.length;
    walk.expressions.walk(node, scope, 'GROUP BY');
    walk.inspection.unresolved.length = unresolved;
  }
}

/** Output columns of SELECT and RETURNING. */
export function outputList(walk: Walk, targets: readonly AstNode[], scope: QueryScope): ColumnSet {
  const columns: ScopeColumn[] = [];
  let open: OpenEnd | undefined;
  const addAll = (set: ColumnSet): void => {
    columns.push(...set.columns);
    open = strictest(open, set.open);
  };
  for (const node of targets) {
    const target = child(node, 'ResTarget');
    if (target === undefined) continue;
    const value = tagged(child(target, 'val'));
    if (value?.tag === 'ColumnRef') {
      const { names, star } = columnFields(value.body);
      if (!star) {
        columns.push({ name: outputName(target), origin: outputOrigin(walk, value.body, scope) });
      } else if (names.length === 0) {
        for (const item of scope.items.filter((candidate) => candidate.unqualified)) addAll(item);
      } else {
        const entry = resolveTable(scope, names);
        if (entry === undefined) walk.inspection.unresolved.push(`${names.join('.')}.*`);
        addAll(entry ?? { columns: [], open: { origin: undefined } });
      }
      continue;
    }
    const origin = walk.expressions.walk(child(target, 'val'), scope, 'an output expression');
    if (value?.tag === 'A_Indirection' && tagged(list(value.body, 'indirection').at(-1))?.tag === 'A_Star') {
      open = strictest(open, { origin });
    } else {
      columns.push({ name: outputName(target), origin });
    }
  }
  for (const column of columns) {
    // Something computed is never bare again; in guard mode it must not leave its level.
    if (column.origin?.bare === false) walk.inspection.use(column.origin, 'an output list');
  }
  if (open !== undefined) {
    const origin = protectedIn({ columns, open });
    if (origin !== undefined) walk.inspection.violation('SPG414', 'an item of FROM', 'an output list with *');
  }
  return { columns, open };
}

function outputOrigin(walk: Walk, reference: AstNode, scope: QueryScope) {
  return walk.expressions.output(reference, scope, 'an output column');
}
