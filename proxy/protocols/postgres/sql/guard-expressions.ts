/** Expressions: everything below an output column, a condition, an argument. A protected column in one is a violation. */
import type { CatalogFunction, FunctionResult } from '../catalog/types.ts';
import { type AstNode, child, isNode, list, strings, tagged, text } from './ast.ts';
import type { Inspection, QueryScope } from './guard-inspection.ts';
import { type ColumnSet, type Origin, protectedIn, resolveColumn, resolveTable } from './scope.ts';
import { isBypass } from './scope-relations.ts';

/** Handed in, because sub-selects hold expressions that hold sub-selects. */
export type SelectInspector = (select: AstNode, parent: QueryScope | undefined) => ColumnSet;

export interface ColumnFields {
  readonly names: readonly string[];
  readonly star: boolean;
}

export function columnFields(reference: AstNode): ColumnFields {
  const fields = list(reference, 'fields');
  const star = tagged(fields.at(-1))?.tag === 'A_Star';
  return { names: strings(star ? fields.slice(0, -1) : fields), star };
}

export const emptyScope: QueryScope = { parent: undefined, items: [], ctes: undefined };

export interface Expressions {
  /** Walks an expression; the result is where its value comes from (always undefined in guard mode: it would have thrown). */
  walk(node: unknown, scope: QueryScope, place: string): Origin | undefined;
  /** A column reference as an output column: bare when it is nothing but the column. */
  output(reference: AstNode, scope: QueryScope, place: string): Origin | undefined;
  /** Refuses calls that could bring protected values, at any depth: in definitions, whose expressions nothing else looks at. */
  refuseCalls(node: unknown): void;
  /** What functions of this name can return, by the snapshot; undefined when they disagree or are not known. */
  functionResult(call: AstNode): FunctionResult | undefined;
}

export function expressionsOf(inspection: Inspection, inspectSelect: SelectInspector): Expressions {
  function row(set: ColumnSet, title: string, place: string): Origin | undefined {
    const origin = protectedIn(set);
    if (origin === undefined) return undefined;
    inspection.violation('SPG402', title, place);
    return { column: origin.column, bare: false };
  }

  function unresolved(names: readonly string[]): undefined {
    inspection.unresolved.push(names.join('.'));
    return undefined;
  }

  function output(reference: AstNode, scope: QueryScope, place: string): Origin | undefined {
    const { names, star } = columnFields(reference);
    if (star || names.length === 0) {
      const entry = names.length === 0 ? undefined : resolveTable(scope, names);
      if (entry !== undefined) return row(entry, entry.title, place);
      const all = scope.items.map((item) => row(item, names.join('.') || '*', place));
      return all.find((origin) => origin !== undefined) ?? (names.length === 0 ? undefined : unresolved(names));
    }
    const found = resolveColumn(scope, names);
    // `a.b` is also the call b(a), where `a` has no such column.
    const called =
      found.type === 'column' && !found.uncertain ? undefined : names.slice(1).map((name) => rowsOf([name]));
    switch (found.type) {
      case 'unresolved':
        return called?.find((origin) => origin !== undefined) ?? unresolved(names);
      case 'row':
        return called?.find((origin) => origin !== undefined) ?? row(found.entry, found.entry.title, place);
      case 'column': {
        if (found.origin === undefined) return undefined;
        if (!found.uncertain) return found.origin;
        inspection.violation('SPG403', names.join('.'));
        return { column: found.origin.column, bare: false };
      }
    }
  }

  function candidates(names: readonly string[]) {
    const name = names.at(-1) ?? '';
    const { catalog, searchPath } = inspection.environment;
    if (catalog === undefined) return [];
    if (names.length > 1) return catalog.functions(names.at(-2) ?? '', name);
    const path = searchPath.includes('pg_catalog') ? searchPath : ['pg_catalog', ...searchPath];
    return path.flatMap((schema) => catalog.functions(schema, name));
  }

  function functionResult(call: AstNode): FunctionResult | undefined {
    const results = candidates(strings(list(call, 'funcname'))).map(
      (candidate) => candidate.result ?? { type: 'open' as const },
    );
    const first = results[0];
    if (first === undefined) return undefined;
    const key = JSON.stringify(first);
    return results.every((result) => JSON.stringify(result) === key) ? first : undefined;
  }

  function call(body: AstNode, scope: QueryScope, place: string): Origin | undefined {
    const origin = children(body, scope, place);
    return refuseCall(body) ?? origin;
  }

  function refuseCall(body: AstNode): Origin | undefined {
    const names = strings(list(body, 'funcname'));
    const name = names.at(-1) ?? '';
    if (isBypass(name, list(body, 'args').length)) inspection.violation('SPG410', names.join('.'));
    return rowsOf(names);
  }

  /** Refuses a function whose result holds rows of a protected relation. */
  function rowsOf(names: readonly string[]): Origin | undefined {
    return protectedResult(candidates(names), names.at(-1) ?? '');
  }

  function protectedResult(called: readonly CatalogFunction[], name: string): Origin | undefined {
    for (const { rowsOf: relations } of called) {
      for (const relation of relations ?? []) {
        const column = inspection.protectedColumns(relation)?.values().next().value;
        if (column === undefined) continue;
        inspection.touchesProtected = true;
        inspection.violation('SPG402', column.relation, `the result of function ${name}`);
        return { column, bare: false };
      }
    }
    return undefined;
  }

  /** `(value).name` is the call name(value) where the value has no such field. */
  function fields(body: AstNode): Origin | undefined {
    for (const name of strings(list(body, 'indirection'))) {
      const origin = rowsOf([name]);
      if (origin !== undefined) return origin;
    }
    return undefined;
  }

  function operator(body: AstNode): Origin | undefined {
    const name = strings(list(body, 'name')).at(-1) ?? '';
    return protectedResult(inspection.environment.catalog?.userOperatorFunctions(name) ?? [], name);
  }

  function subLink(body: AstNode, scope: QueryScope, place: string): Origin | undefined {
    const test = walk(body.testexpr, scope, place);
    const select = tagged(child(body, 'subselect'));
    if (select?.tag !== 'SelectStmt') return test;
    const result = inspectSelect(select.body, scope);
    // The output list of EXISTS is not even evaluated (manual, 9.24.1).
    if (text(body, 'subLinkType') === 'EXISTS_SUBLINK') return test;
    return test ?? inspection.use(protectedIn(result), 'a sub-select used as a value');
  }

  function children(body: AstNode, scope: QueryScope, place: string): Origin | undefined {
    let origin: Origin | undefined;
    for (const key in body) {
      // Type modifiers may be written as column references, such as geometry(point).
      if (key !== 'typeName') origin = strictestOrigin(origin, walk(body[key], scope, place));
    }
    return origin;
  }

  function tag(name: string, body: AstNode, scope: QueryScope, place: string): Origin | undefined {
    switch (name) {
      case 'ColumnRef': {
        const origin = output(body, scope, place);
        return inspection.use(origin, place);
      }
      case 'SubLink':
        return subLink(body, scope, place);
      case 'SelectStmt':
        return inspection.use(protectedIn(inspectSelect(body, scope)), place);
      case 'FuncCall':
        return call(body, scope, `an argument of function ${strings(list(body, 'funcname')).at(-1) ?? ''}`);
      case 'A_Indirection':
        return strictestOrigin(fields(body), children(body, scope, place));
      case 'A_Expr':
        return strictestOrigin(operator(body), children(body, scope, place));
      case 'TypeCast':
        return children(body, scope, place === 'an output expression' ? 'a cast' : place);
      case 'TypeName':
        return undefined;
      default:
        return children(body, scope, place);
    }
  }

  function walk(node: unknown, scope: QueryScope, place: string): Origin | undefined {
    if (typeof node !== 'object' || node === null) return undefined;
    return inspection.deeper(() => {
      if (Array.isArray(node)) {
        let origin: Origin | undefined;
        for (const item of node) origin = strictestOrigin(origin, walk(item, scope, place));
        return origin;
      }
      if (!isNode(node)) return undefined;
      const inner = tagged(node);
      return inner === undefined ? children(node, scope, place) : tag(inner.tag, inner.body, scope, place);
    });
  }

  function refuseCalls(node: unknown): void {
    if (typeof node !== 'object' || node === null) return;
    inspection.deeper(() => {
      if (Array.isArray(node)) {
        for (const item of node) refuseCalls(item);
        return;
      }
      if (!isNode(node)) return;
      const inner = tagged(node);
      if (inner?.tag === 'FuncCall') refuseCall(inner.body);
      else if (inner?.tag === 'A_Indirection') fields(inner.body);
      else if (inner?.tag === 'A_Expr') operator(inner.body);
      else if (inner?.tag === 'ColumnRef') for (const name of columnFields(inner.body).names.slice(1)) rowsOf([name]);
      for (const key in node) refuseCalls(node[key]);
    });
  }

  return { walk, output, functionResult, refuseCalls };
}

/** A computed value shows the stricter of what went in; which one only matters for its title. */
function strictestOrigin(left: Origin | undefined, right: Origin | undefined): Origin | undefined {
  if (left === undefined) return right;
  if (right === undefined) return left;
  const rank = { nullify: 3, redact: 2, tokenize: 1, partial: 0 } as const;
  return rank[right.column.mask.transform.type] > rank[left.column.mask.transform.type] ? right : left;
}

/** True for a constant or parameter, through casts: a value that the agent itself brings. */
export function isOwnValue(node: AstNode | undefined): boolean {
  const inner = tagged(node);
  switch (inner?.tag) {
    case 'A_Const':
    case 'ParamRef':
      return true;
    case 'TypeCast':
      return isOwnValue(child(inner.body, 'arg'));
    default:
      return false;
  }
}

/** `=` of pg_catalog, not another operator of that name. */
export function isEquality(operator: AstNode): boolean {
  const names = strings(list(operator, 'name'));
  return names.at(-1) === '=' && (names.length === 1 || (names.length === 2 && names[0] === 'pg_catalog'));
}
