/** Rules about where rows go: nothing protected may be copied, and no name may come to mean something else. */
import { type AstNode, child, text } from './ast.ts';
import { columnTitle, type Inspection } from './guard-inspection.ts';
import { type ColumnSet, protectedIn } from './scope.ts';
import { visibleRelation } from './scope-relations.ts';

export function refuseCopy(inspection: Inspection, rows: ColumnSet, place: string): void {
  const origin = protectedIn(rows);
  if (origin !== undefined) inspection.violation('SPG405', columnTitle(origin.column), place);
}

export const isTemporary = (range: AstNode): boolean =>
  text(range, 'relpersistence') === 't' || text(range, 'schemaname') === 'pg_temp';

/** A new temporary relation must not take the name of a relation that unqualified names mean now. */
export function refuseShadow(inspection: Inspection, range: AstNode | undefined): void {
  if (range === undefined || !isTemporary(range)) return;
  const name = text(range, 'relname') ?? '';
  if (visibleRelation(inspection.environment, name) !== undefined) inspection.violation('SPG411', name);
}

/** Options of EXPLAIN that run the statement. `ANALYZE false` does not; anything that is not plainly false does. */
export function explainRuns(statement: AstNode): boolean {
  const options = Array.isArray(statement.options) ? statement.options : [];
  return options.some((option: unknown) => {
    const element = typeof option === 'object' && option !== null ? child(option as AstNode, 'DefElem') : undefined;
    if (element === undefined || text(element, 'defname') !== 'analyze') return false;
    const argument = child(element, 'arg');
    if (argument === undefined) return true;
    const word = text(child(argument, 'String') ?? {}, 'sval')?.toLowerCase();
    return word !== 'false' && word !== 'off';
  });
}
