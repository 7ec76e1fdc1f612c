/**
 * `a.b` in an expression is a column when `a` has one, and otherwise may be the call b(a). This index answers the first, for one
 * statement, and says yes only when every FROM entry under the name `a` is a relation of the catalog with that column.
 */
import { type AstNode, child, isNode, isRangeVar, list, text } from './ast.ts';
import { resolveRelation } from './names.ts';
import type { NameEnvironment } from './types.ts';

export interface ColumnIndex {
  isColumn(qualifier: string, column: string): boolean;
}

/** Built on first use: most statements never ask. */
export function indexColumns(root: AstNode, environment: NameEnvironment, path: readonly string[]): ColumnIndex {
  let entries: Map<string, (ReadonlySet<string> | undefined)[]> | undefined;
  return {
    isColumn(qualifier, column) {
      // Without a catalog no user function is known, so nothing asks for more than this.
      if (environment.catalog === undefined) return false;
      entries ??= collect(root, environment, path);
      const found = entries.get(qualifier);
      return found?.every((columns) => columns?.has(column) === true) === true;
    },
  };
}

function collect(
  root: AstNode,
  environment: NameEnvironment,
  path: readonly string[],
): Map<string, (ReadonlySet<string> | undefined)[]> {
  const entries = new Map<string, (ReadonlySet<string> | undefined)[]>();
  const ctes = new Set<string>();
  const note = (name: string, columns: ReadonlySet<string> | undefined): void => {
    const known = entries.get(name);
    if (known === undefined) entries.set(name, [columns]);
    else known.push(columns);
  };
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) {
      for (const item of value) visit(item);
      return;
    }
    if (!isNode(value)) return;
    const alias = child(value, 'alias');
    const aliasName = alias === undefined ? undefined : text(alias, 'aliasname');
    const renamed = alias !== undefined && list(alias, 'colnames').length > 0;
    if (isRangeVar(value)) {
      const name = text(value, 'relname') ?? '';
      const schema = text(value, 'schemaname');
      const { found } = resolveRelation(schema, name, environment, path);
      const only = found.length === 1 ? found[0] : undefined;
      const relation = only === undefined ? undefined : environment.catalog?.relation(only.schema, only.name);
      const columns = renamed || relation === undefined ? undefined : new Set(relation.columns.map((one) => one.name));
      note(aliasName ?? name, columns);
      return;
    }
    if (aliasName !== undefined) note(aliasName, undefined);
    const cte = text(value, 'ctename');
    if (cte !== undefined) ctes.add(cte);
    for (const key in value) visit(value[key]);
  };
  visit(root);
  for (const name of ctes) note(name, undefined);
  return entries;
}
