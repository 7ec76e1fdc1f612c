/**
 * Conditions, and values that the agent brings for protected columns. With `allowEquality` a protected column may be compared for
 * equality with such a value, in WHERE, ANDed at the top: any other place would tell more than whether a guess is right.
 */
import { isMaskToken } from '../../../masking/token-format.ts';
import { type AstNode, child, constantText, isNode, list, tagged, text } from './ast.ts';
import { columnFields, isEquality, isOwnValue } from './guard-expressions.ts';
import { columnTitle, type Inspection, type QueryScope } from './guard-inspection.ts';
import type { Walk } from './guard-select.ts';
import { resolveColumn } from './scope.ts';
import type { ProtectedColumn } from './types.ts';

/**
 * Whether a text is what masking shows instead of a value of this column: written back, it would replace the data with its mask.
 * Also for values bound to `protectedParameters`.
 */
export function looksLikeMask(value: string, column: ProtectedColumn): boolean {
  if (isMaskToken(value)) return true;
  const { transform } = column.mask;
  switch (transform.type) {
    case 'nullify':
    case 'tokenize':
      return false;
    case 'redact':
      return value === transform.with;
    case 'partial': {
      const stars = /\*+/.exec(value);
      if (stars === null) return false;
      const before = [...value.slice(0, stars.index)].length;
      const after = [...value.slice(stars.index + stars[0].length)].length;
      return before <= transform.keepFirst && after <= transform.keepLast;
    }
  }
}

/** Every constant and parameter below a node that becomes, or is compared with, a value of a protected column. */
export function ownValues(inspection: Inspection, node: unknown, column: ProtectedColumn): void {
  if (Array.isArray(node)) {
    for (const item of node) ownValues(inspection, item, column);
    return;
  }
  if (!isNode(node)) return;
  const inner = tagged(node);
  if (inner?.tag === 'ParamRef') {
    const number = inner.body.number;
    if (typeof number === 'number') inspection.protectedParameters.push({ number, column });
    return;
  }
  if (inner?.tag === 'A_Const') {
    inspection.literalDependent = true;
    const at = inner.body.location;
    inspection.protectedLiterals.push({ at: typeof at === 'number' ? at : undefined, column });
    const value = constantText(inner.body);
    if (value !== undefined && looksLikeMask(value, column)) inspection.violation('SPG406', columnTitle(column));
    return;
  }
  for (const key in node) if (key !== 'typeName') ownValues(inspection, node[key], column);
}

/** WHERE. */
export function condition(walk: Walk, node: AstNode | undefined, scope: QueryScope): void {
  const inner = tagged(node);
  if (inner === undefined) return;
  if (inner.tag === 'BoolExpr' && text(inner.body, 'boolop') === 'AND_EXPR') {
    for (const item of list(inner.body, 'args')) condition(walk, item, scope);
    return;
  }
  if (inner.tag === 'A_Expr' && allowedEquality(walk, inner.body, scope)) return;
  walk.expressions.walk(node, scope, 'a condition');
}

function allowedEquality(walk: Walk, comparison: AstNode, scope: QueryScope): boolean {
  if (!isEquality(comparison)) return false;
  const left = child(comparison, 'lexpr');
  const right = child(comparison, 'rexpr');
  switch (text(comparison, 'kind')) {
    case 'AEXPR_OP':
      return compare(walk, left, right, scope) || compare(walk, right, left, scope);
    case 'AEXPR_IN': {
      const items = list(child(right ?? {}, 'List') ?? {}, 'items');
      return items.length > 0 && items.every(isOwnValue) && compare(walk, left, items, scope);
    }
    default:
      return false;
  }
}

function compare(
  walk: Walk,
  side: AstNode | undefined,
  value: AstNode | readonly AstNode[] | undefined,
  scope: QueryScope,
): boolean {
  const reference = child(side ?? {}, 'ColumnRef');
  if (reference === undefined || value === undefined) return false;
  if (isNode(value) && !isOwnValue(value)) return false;
  const { names, star } = columnFields(reference);
  if (star || names.length === 0) return false;
  const found = resolveColumn(scope, names);
  if (found.type !== 'column' || found.uncertain || found.origin?.bare !== true) return false;
  const { column } = found.origin;
  if (!column.mask.allowEquality) return false;
  ownValues(walk.inspection, value, column);
  walk.inspection.equalityUsed = true;
  return true;
}
