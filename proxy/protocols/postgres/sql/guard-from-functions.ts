/** Functions as items of FROM: their arguments, and what columns they have (parse_relation.c, addRangeTableEntryForFunction). */
import { type AstNode, child, flag, isNode, list, strings, tagged, text } from './ast.ts';
import { aliased } from './guard-from.ts';
import type { QueryScope } from './guard-inspection.ts';
import type { Walk } from './guard-select.ts';
import type { ColumnSet, FromItem, Origin, ScopeColumn } from './scope.ts';
import { expressionName } from './scope-names.ts';

export function functionItem(walk: Walk, body: AstNode, lateral: QueryScope): FromItem {
  const alias = child(body, 'alias');
  const aliasName = text(alias ?? {}, 'aliasname');
  const calls = list(body, 'functions').map((node) => list(child(node, 'List') ?? {}, 'items'));
  const single = calls.length === 1;
  const columns: ScopeColumn[] = [];
  let open: ColumnSet['open'];
  let ownName: string | undefined;
  for (const [call = {}, definition] of calls) {
    const origin = walk.expressions.walk(call, lateral, 'a function in FROM');
    const definitions = [...columnDefinitions(definition), ...list(body, 'coldeflist')];
    const inner = tagged(call);
    const name =
      inner?.tag === 'FuncCall' ? (strings(list(inner.body, 'funcname')).at(-1) ?? '') : expressionName(call);
    ownName ??= name;
    // After unknown columns of one function, the next function's columns have no known place, but still their names.
    const set = resultColumns(walk, call, definitions, single ? (aliasName ?? name) : name, origin);
    columns.push(...set.columns);
    open ??= set.open;
  }
  if (flag(body, 'ordinality')) columns.push({ name: 'ordinality', origin: undefined });
  // With unknown columns in front, a column list names other columns than those known.
  const set: ColumnSet = open !== undefined && !single ? { columns: [], open } : { columns, open };
  return aliased(set, alias, ownName);
}

function columnDefinitions(node: AstNode | undefined): readonly AstNode[] {
  const items = child(node ?? {}, 'List');
  return items === undefined ? [] : list(items, 'items');
}

function resultColumns(
  walk: Walk,
  call: AstNode,
  definitions: readonly AstNode[],
  scalarName: string,
  origin: Origin | undefined,
): ColumnSet {
  const named = (names: readonly string[]): ColumnSet => ({
    columns: names.map((name) => ({ name, origin })),
    open: undefined,
  });
  if (definitions.length > 0) {
    return named(definitions.map((node) => text(child(node, 'ColumnDef') ?? {}, 'colname') ?? ''));
  }
  const body = child(call, 'FuncCall');
  if (body === undefined) return { columns: [], open: { origin } };
  const result = walk.expressions.functionResult(body);
  switch (result?.type) {
    case 'scalar':
      return named([scalarName]);
    case 'columns':
      return named(result.names);
    case 'row': {
      const relation = walk.inspection.environment.catalog?.relationByOid(result.relation);
      if (relation === undefined) return { columns: [], open: { origin } };
      // The wire tells nothing about them, whatever relation their row type is of.
      const columns = walk.inspection.columnsOf(relation).columns.map((column) => {
        const from = column.origin ?? origin;
        return { name: column.name, origin: from === undefined ? undefined : { column: from.column, bare: false } };
      });
      return { columns, open: undefined };
    }
    default:
      return unnests(body) ? named(list(body, 'args').map(() => scalarName)) : { columns: [], open: { origin } };
  }
}

const SCALARS: ReadonlySet<string> = new Set([
  ...['bool', 'int2', 'int4', 'int8', 'float4', 'float8', 'numeric', 'text', 'varchar', 'bpchar', 'uuid', 'date'],
  ...['time', 'timetz', 'timestamp', 'timestamptz', 'interval', 'bytea', 'json', 'jsonb', 'inet', 'oid', 'name'],
]);

/** `unnest($1::int[])`: one column for each array of a scalar type. Of a row type's array it would be that type's columns. */
function unnests(call: AstNode): boolean {
  const names = strings(list(call, 'funcname'));
  if (names.at(-1) !== 'unnest' || (names.length > 1 && names[0] !== 'pg_catalog')) return false;
  const scalarArrays = list(call, 'args').every((node) => {
    const type = child(child(node, 'TypeCast') ?? {}, 'typeName');
    const typeNames = strings(list(type ?? {}, 'names'));
    const builtin = typeNames.length === 1 || typeNames[0] === 'pg_catalog';
    return type !== undefined && builtin && list(type, 'arrayBounds').length > 0 && SCALARS.has(typeNames.at(-1) ?? '');
  });
  return scalarArrays && list(call, 'args').length > 0;
}

/** Column names of XMLTABLE and JSON_TABLE; those of NESTED come after their siblings (parse_jsontable.c). */
export function tableFunctionColumns(body: AstNode): readonly string[] {
  const names: string[] = [];
  const nested: AstNode[] = [];
  for (const node of list(body, 'columns')) {
    const inner = tagged(node);
    if (inner === undefined) continue;
    if (text(inner.body, 'coltype') === 'JTC_NESTED') nested.push(inner.body);
    else names.push(text(inner.body, 'colname') ?? text(inner.body, 'name') ?? '');
  }
  for (const column of nested) if (isNode(column)) names.push(...tableFunctionColumns(column));
  return names;
}
