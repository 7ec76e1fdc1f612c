/** INSERT, UPDATE, DELETE and MERGE: what is written where, and what comes back. */
import type { CatalogRelation } from '../catalog/types.ts';
import { type AstNode, child, list, tagged, text } from './ast.ts';
import { condition, ownValues } from './guard-equality.ts';
import { columnFields } from './guard-expressions.ts';
import { fromItem, fromItems, tableItem } from './guard-from.ts';
import { columnTitle, isProtectedRelation, type QueryScope } from './guard-inspection.ts';
import { closeWith, inspectSelect, openWith, outputList, type Walk } from './guard-select.ts';
import { refuseCopy } from './guard-targets.ts';
import type { ColumnSet, FromItem, Origin, RangeEntry } from './scope.ts';
import { findRelation, relationTitle } from './scope-relations.ts';
import type { ProtectedColumn } from './types.ts';

const WRITES: ReadonlySet<string> = new Set(['InsertStmt', 'UpdateStmt', 'DeleteStmt', 'MergeStmt']);

export const isWrite = (tag: string): boolean => WRITES.has(tag);

/** @returns columns of RETURNING, or undefined when there is none */
export function inspectWrite(
  walk: Walk,
  tag: string,
  body: AstNode,
  parent: QueryScope | undefined,
): ColumnSet | undefined {
  const scope = openWith(child(body, 'withClause'), parent);
  const target = tableItem(walk, child(body, 'relation') ?? {});
  refuseRules(walk, child(body, 'relation') ?? {});
  const result = byTag(walk, tag, body, scope, target);
  closeWith(walk, scope, parent);
  return result;
}

/** Rules of the target, or of what a view writes through to, that name a protected relation: their rows would come unmasked. */
function refuseRules(walk: Walk, range: AstNode): void {
  const { inspection } = walk;
  const { environment } = inspection;
  const found = findRelation(environment, range);
  if (found.type !== 'relation') return;
  const seen = new Set<number>();
  const visit = (relation: CatalogRelation): void => {
    if (seen.has(relation.oid)) return;
    seen.add(relation.oid);
    for (const oid of relation.rulesName ?? []) {
      const named = environment.catalog?.relationByOid(oid);
      if (named === undefined) continue;
      if (isProtectedRelation(inspection, named))
        inspection.violation('SPG407', 'Writing through a rule', relationTitle(named));
      visit(named);
    }
    for (const oid of relation.dependsOn ?? []) {
      const below = environment.catalog?.relationByOid(oid);
      if (below !== undefined) visit(below);
    }
  };
  visit(found.relation);
}

function byTag(walk: Walk, tag: string, body: AstNode, scope: QueryScope, target: FromItem): ColumnSet | undefined {
  switch (tag) {
    case 'InsertStmt':
      return insert(walk, body, scope, target);
    case 'UpdateStmt': {
      const inner = fromItems(walk, list(body, 'fromClause'), { ...scope, items: [target] });
      assignments(walk, list(body, 'targetList'), inner, target, 'SET');
      condition(walk, child(body, 'whereClause'), inner);
      return returning(walk, body, inner, target);
    }
    case 'DeleteStmt': {
      const inner = fromItems(walk, list(body, 'usingClause'), { ...scope, items: [target] });
      condition(walk, child(body, 'whereClause'), inner);
      return returning(walk, body, inner, target);
    }
    default:
      return merge(walk, body, scope, target);
  }
}

function returning(walk: Walk, body: AstNode, scope: QueryScope, target: FromItem): ColumnSet | undefined {
  const clause = child(body, 'returningClause');
  if (clause === undefined) return undefined;
  const names = { old: 'old', new: 'new' };
  for (const option of list(clause, 'options')) {
    const inner = child(option, 'ReturningOption') ?? {};
    const name = text(inner, 'value');
    if (name !== undefined) names[text(inner, 'option') === 'RETURNING_OPTION_NEW' ? 'new' : 'old'] = name;
  }
  // Since PostgreSQL 18, unless a table has the name already.
  const taken = new Set(scope.items.flatMap((item) => item.entries.map((entry) => entry.name)));
  const versions = [names.old, names.new].filter((name) => !taken.has(name)).map((name) => qualifiedOnly(target, name));
  return outputList(walk, list(clause, 'exprs'), { ...scope, items: [...scope.items, ...versions] });
}

/** The target's row under another name, which unqualified references do not see. */
function qualifiedOnly(target: FromItem, name: string): FromItem {
  const entry: RangeEntry = { ...target.entries[0]!, name, relation: undefined };
  return { ...target, entries: [entry], unqualified: false };
}

function protectedTarget(target: FromItem, name: string): ProtectedColumn | undefined {
  return target.columns.find((column) => column.name === name)?.origin?.column;
}

function insert(walk: Walk, body: AstNode, scope: QueryScope, target: FromItem): ColumnSet | undefined {
  const written = list(body, 'cols').map((node) => text(child(node, 'ResTarget') ?? {}, 'name') ?? '');
  const names = written.length > 0 ? written : target.columns.map((column) => column.name);
  for (const node of list(body, 'cols'))
    walk.expressions.walk(child(node, 'ResTarget')?.indirection, scope, 'a target column');
  const select = child(child(body, 'selectStmt') ?? {}, 'SelectStmt');
  if (select !== undefined) {
    refuseCopy(walk.inspection, inspectSelect(walk, select, scope), 'another row');
    const rows = list(select, 'valuesLists');
    names.forEach((name, index) => {
      const column = protectedTarget(target, name);
      if (column === undefined) return;
      // Rows of a sub-select: a value may have come from anywhere in it.
      if (rows.length === 0) ownValues(walk.inspection, select, column);
      for (const row of rows) ownValues(walk.inspection, list(child(row, 'List') ?? {}, 'items')[index], column);
    });
  }
  const conflict = child(body, 'onConflictClause');
  const inner: QueryScope = { ...scope, items: [target] };
  if (conflict !== undefined) onConflict(walk, conflict, inner, target);
  return returning(walk, body, inner, target);
}

function onConflict(walk: Walk, clause: AstNode, scope: QueryScope, target: FromItem): void {
  const infer = child(clause, 'infer');
  if (infer !== undefined) {
    // Which columns a constraint has, the snapshot does not tell.
    const untold =
      text(infer, 'conname') === undefined ? undefined : target.columns.find(({ origin }) => !allowsEquality(origin));
    walk.inspection.use(untold?.origin, 'ON CONFLICT ON CONSTRAINT');
    for (const node of list(infer, 'indexElems')) {
      const element = child(node, 'IndexElem') ?? {};
      const column = target.columns.find(({ name }) => name === text(element, 'name'));
      // Whether a value exists already is what "allowEquality" gives away, and nothing less does.
      if (!allowsEquality(column?.origin)) walk.inspection.use(column?.origin, 'ON CONFLICT');
      walk.expressions.walk(element.expr, scope, 'ON CONFLICT');
    }
    walk.expressions.walk(infer.whereClause, scope, 'ON CONFLICT');
  }
  const inner: QueryScope = { ...scope, items: [...scope.items, qualifiedOnly(target, 'excluded')] };
  assignments(walk, list(clause, 'targetList'), inner, target, 'ON CONFLICT DO UPDATE');
  condition(walk, child(clause, 'whereClause'), inner);
}

const allowsEquality = (origin: Origin | undefined): boolean =>
  origin === undefined || origin.column.mask.allowEquality;

/** SET lists. A protected column takes values that the agent brings, never stored ones. */
function assignments(
  walk: Walk,
  targets: readonly AstNode[],
  scope: QueryScope,
  target: FromItem,
  place: string,
): void {
  for (const node of targets) {
    const assignment = child(node, 'ResTarget');
    if (assignment === undefined) continue;
    const name = text(assignment, 'name') ?? '';
    const column = protectedTarget(target, name);
    walk.expressions.walk(assignment.indirection, scope, place);
    if (column !== undefined && list(assignment, 'indirection').length > 0) {
      // Replacing a part of a value leaves the rest: parts could be tried one by one.
      walk.inspection.violation('SPG401', columnTitle(column), 'an assignment to a part of it');
    }
    if (column !== undefined && place !== 'SET' && isExcluded(child(assignment, 'val'), name)) continue;
    walk.expressions.walk(assignment.val, scope, place);
    if (column !== undefined) ownValues(walk.inspection, assignment.val, column);
  }
}

/** `SET c = excluded.c`: the value that this INSERT brings for the same column. */
function isExcluded(node: AstNode | undefined, column: string): boolean {
  const reference = tagged(node);
  if (reference?.tag !== 'ColumnRef') return false;
  const { names, star } = columnFields(reference.body);
  return !star && names.length === 2 && names[0] === 'excluded' && names[1] === column;
}

function merge(walk: Walk, body: AstNode, scope: QueryScope, target: FromItem): ColumnSet | undefined {
  const source = fromItem(walk, child(body, 'sourceRelation') ?? {}, scope);
  const inner: QueryScope = { ...scope, items: [source, target] };
  walk.expressions.walk(body.joinCondition, inner, 'the condition of MERGE');
  for (const node of list(body, 'mergeWhenClauses')) {
    const when = child(node, 'MergeWhenClause') ?? {};
    walk.expressions.walk(when.condition, inner, 'a condition of MERGE');
    const targets = list(when, 'targetList');
    if (text(when, 'commandType') !== 'CMD_INSERT') {
      assignments(walk, targets, inner, target, 'SET');
      continue;
    }
    const written = targets.map((item) => text(child(item, 'ResTarget') ?? {}, 'name') ?? '');
    const names = written.length > 0 ? written : target.columns.map((column) => column.name);
    list(when, 'values').forEach((value, index) => {
      walk.expressions.walk(value, inner, 'INSERT');
      const column = protectedTarget(target, names[index] ?? '');
      if (column !== undefined) ownValues(walk.inspection, value, column);
    });
  }
  return returning(walk, body, inner, target);
}
