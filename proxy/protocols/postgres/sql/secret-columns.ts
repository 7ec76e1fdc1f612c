/** Whether a statement can reach a secret column of a partly harmless catalog relation (system-relations.ts). */
import { type AstNode, child, isNode, isRangeVar, list, strings, text } from './ast.ts';

/**
 * False only when no column of a secret name is mentioned, and nothing in the statement could stand for one: no `*`, no whole
 * row, no renamed columns, no natural join, no functional notation.
 */
export function reachesColumns(root: AstNode, secret: ReadonlySet<string>): boolean {
  const rows = new Set<string>();
  const mentioned = new Set<string>();
  let open = false;
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) {
      for (const item of value) visit(item);
      return;
    }
    if (!isNode(value)) return;
    const derived = child(value, 'RangeSubselect');
    if (derived !== undefined) {
      // Its row is what its own output list says, which is looked at all the same.
      if (list(child(derived, 'alias') ?? {}, 'colnames').length > 0) open = true;
      visit(derived['subquery']);
      return;
    }
    if (isRangeVar(value)) rows.add(text(value, 'relname') ?? '');
    const alias = text(value, 'aliasname');
    if (alias !== undefined) rows.add(alias);
    if (list(value, 'colnames').length > 0 || list(value, 'aliascolnames').length > 0) open = true;
    if (value['isNatural'] === true || value['A_Star'] !== undefined || value['A_Indirection'] !== undefined)
      open = true;
    const column = child(value, 'ColumnRef');
    if (column !== undefined) for (const name of strings(list(column, 'fields'))) mentioned.add(name);
    const using = list(value, 'usingClause');
    for (const name of strings(using)) mentioned.add(name);
    for (const key in value) visit(value[key]);
  };
  visit(root);
  if (open) return true;
  for (const name of secret) if (mentioned.has(name)) return true;
  return hasWholeRow(root, rows);
}

/** A column reference whose last part is the name of a FROM entry is that entry's whole row. */
function hasWholeRow(value: unknown, rows: ReadonlySet<string>): boolean {
  if (Array.isArray(value)) return value.some((item) => hasWholeRow(item, rows));
  if (!isNode(value)) return false;
  const column = child(value, 'ColumnRef');
  if (column !== undefined && rows.has(strings(list(column, 'fields')).at(-1) ?? '')) return true;
  return Object.values(value).some((item) => hasWholeRow(item, rows));
}
