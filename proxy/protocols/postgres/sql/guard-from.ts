/** Items of FROM, USING and MERGE: tables, sub-selects, functions, joins, and what of them can be named. */
import type { CatalogRelation } from '../catalog/types.ts';
import { type AstNode, child, flag, list, strings, tagged, text } from './ast.ts';
import { functionItem, tableFunctionColumns } from './guard-from-functions.ts';
import type { QueryScope } from './guard-inspection.ts';
import { cteColumns, inspectSelect, type Walk } from './guard-select.ts';
import {
  type ColumnSet,
  type FromItem,
  findCte,
  type OpenEnd,
  protectedIn,
  type RangeEntry,
  renamed,
  type ScopeColumn,
  strictest,
} from './scope.ts';
import { findRelation, laterMeanings, relationTitle } from './scope-relations.ts';

/** The scope in which the rest of the query is read. */
export function fromItems(walk: Walk, nodes: readonly AstNode[], outer: QueryScope): QueryScope {
  let scope = outer;
  for (const node of nodes) scope = { ...scope, items: [...scope.items, fromItem(walk, node, scope)] };
  return scope;
}

/** @param lateral what LATERAL sees: the items to the left, then the outer levels */
export function fromItem(walk: Walk, node: AstNode, lateral: QueryScope): FromItem {
  return walk.inspection.deeper(() => {
    const inner = tagged(node);
    switch (inner?.tag) {
      case 'RangeVar':
        return rangeVar(walk, inner.body, lateral);
      case 'RangeSubselect': {
        const scope = flag(inner.body, 'lateral') ? lateral : withoutItems(lateral);
        const select = tagged(child(inner.body, 'subquery'));
        const columns = select?.tag === 'SelectStmt' ? inspectSelect(walk, select.body, scope) : nothing();
        return aliased(columns, child(inner.body, 'alias'), undefined);
      }
      case 'RangeFunction':
        return functionItem(walk, inner.body, lateral);
      case 'RangeTableFunc':
      case 'JsonTable': {
        const { alias, columns, ...inputs } = inner.body;
        const origin = walk.expressions.walk([inputs, columns], lateral, 'XMLTABLE or JSON_TABLE');
        const names = tableFunctionColumns(inner.body);
        const set: ColumnSet = { columns: names.map((name) => ({ name, origin })), open: undefined };
        const title = inner.tag === 'JsonTable' ? 'json_table' : 'xmltable';
        return aliased(set, child({ alias }, 'alias'), title);
      }
      case 'RangeTableSample': {
        walk.expressions.walk([inner.body.args, inner.body.repeatable], lateral, 'TABLESAMPLE');
        return fromItem(walk, child(inner.body, 'relation') ?? {}, lateral);
      }
      case 'JoinExpr':
        return join(walk, inner.body, lateral);
      default:
        // A kind of FROM item that this version does not know: any name could come from it.
        walk.inspection.violation('SPG414', inner?.tag ?? 'an item of FROM', 'FROM');
        return aliased(nothing(), undefined, undefined);
    }
  });
}

const nothing = (): ColumnSet => ({ columns: [], open: { origin: undefined } });

const withoutItems = (scope: QueryScope): QueryScope => ({ ...scope, items: [] });

/** An item with a single name. */
export function aliased(set: ColumnSet, alias: AstNode | undefined, ownName: string | undefined): FromItem {
  const name = text(alias ?? {}, 'aliasname') ?? ownName;
  const named = renamed(set, strings(list(alias ?? {}, 'colnames')));
  const entry: RangeEntry = { ...named, name, relation: undefined, system: false, title: name ?? 'a sub-select' };
  return { ...named, entries: [entry], unqualified: true };
}

function rangeVar(walk: Walk, range: AstNode, scope: QueryScope): FromItem {
  const name = text(range, 'relname') ?? '';
  if (text(range, 'schemaname') === undefined) {
    const found = findCte(scope, name);
    if (found !== undefined) return aliased(cteColumns(walk, found.cte), child(range, 'alias'), name);
  }
  return tableItem(walk, range);
}

/** A table by its name: also the target of INSERT, UPDATE, DELETE, MERGE and COPY, which never means a WITH query. */
export function tableItem(walk: Walk, range: AstNode): FromItem {
  const { inspection } = walk;
  const name = text(range, 'relname') ?? '';
  const alias = child(range, 'alias');
  const found = findRelation(inspection.environment, range);
  switch (found.type) {
    case 'unknown':
      return aliased({ columns: [], open: inspection.unknownRelation(name) }, alias, name);
    case 'temporary': {
      // Its own columns are clean, since nothing protected can be copied. But with another search_path the name is the table's.
      if (found.shadows !== undefined && inspection.protectedColumns(found.shadows.oid) !== undefined) {
        inspection.touch(found.shadows);
        inspection.violation('SPG411', name);
      }
      return aliased({ columns: [], open: { origin: undefined } }, alias, name);
    }
    case 'relation': {
      const { relation } = found;
      refuseAmbiguous(walk, range, relation);
      const set = inspection.columnsOf(relation);
      const item = aliased(set, alias, relation.name);
      const entry: RangeEntry = {
        ...item.entries[0]!,
        relation: alias === undefined ? relation : undefined,
        system: relation.kind !== 'v',
        title: relationTitle(relation),
      };
      return { ...item, entries: [entry] };
    }
  }
}

/** A name that could come to mean a relation with more protected columns, before the statement runs. */
function refuseAmbiguous({ inspection }: Walk, range: AstNode, relation: CatalogRelation): void {
  const covered = new Set([...(inspection.protectedColumns(relation.oid)?.values() ?? [])].map(({ column }) => column));
  for (const later of laterMeanings(inspection.environment, range)) {
    const columns = [...(inspection.protectedColumns(later.oid)?.values() ?? [])];
    if (columns.every(({ column }) => covered.has(column))) continue;
    inspection.touch(later);
    inspection.violation('SPG415', relation.name, relationTitle(later), relationTitle(relation));
  }
}

function join(walk: Walk, body: AstNode, lateral: QueryScope): FromItem {
  const left = fromItem(walk, child(body, 'larg') ?? {}, lateral);
  const right = fromItem(walk, child(body, 'rarg') ?? {}, { ...lateral, items: [...lateral.items, left] });
  const merged = mergedColumns(walk, body, left, right);
  const rest = (item: FromItem): readonly ScopeColumn[] =>
    item.columns.filter((column) => !merged.some((other) => other.name === column.name));
  const set: ColumnSet = {
    columns: [...merged, ...rest(left), ...rest(right)],
    open: strictest(left.open, right.open),
  };
  walk.expressions.walk(body.quals, { ...lateral, items: [left, right] }, 'a join condition');
  const alias = child(body, 'alias');
  // An alias hides the names of both sides.
  if (alias !== undefined) return aliased(set, alias, undefined);
  const using = child(body, 'join_using_alias');
  const usingEntries =
    using === undefined ? [] : aliased({ columns: merged, open: undefined }, using, undefined).entries;
  return { ...set, entries: [...left.entries, ...right.entries, ...usingEntries], unqualified: true };
}

/** USING and NATURAL compare the columns of the name on both sides, and show one in place of two. */
function mergedColumns(walk: Walk, body: AstNode, left: FromItem, right: FromItem): readonly ScopeColumn[] {
  const natural = flag(body, 'isNatural');
  const names = natural
    ? left.columns.map((column) => column.name).filter((name) => right.columns.some((column) => column.name === name))
    : strings(list(body, 'usingClause'));
  const place = natural ? 'a NATURAL JOIN' : 'JOIN … USING';
  if (natural) {
    // Unknown columns on one side could pair with any on the other.
    refuseUnknownPairs(walk, left.open, right);
    refuseUnknownPairs(walk, right.open, left);
  }
  return [...new Set(names)].map((name) => {
    const both = [...left.columns, ...right.columns].filter((column) => column.name === name);
    const known = [left, right].every(
      (side) => side.open !== undefined || side.columns.some((column) => column.name === name),
    );
    if (!known) walk.inspection.unresolved.push(name);
    const origin =
      both.find((column) => column.origin !== undefined)?.origin ?? left.open?.origin ?? right.open?.origin;
    return { name, origin: walk.inspection.use(origin, place) };
  });
}

function refuseUnknownPairs(walk: Walk, open: OpenEnd | undefined, other: FromItem): void {
  if (open !== undefined && protectedIn(other) !== undefined) {
    walk.inspection.violation('SPG414', 'one side', 'a NATURAL JOIN');
  }
}
