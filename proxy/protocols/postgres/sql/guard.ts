/**
 * Layer A of masking: decides on the tree, before anything is forwarded, whether a statement does nothing with protected columns but
 * show them. What it lets through, the wire layer can mask by the origin that the server itself reports.
 *
 * A protected column may be a plain column of an output list, through any number of sub-selects and WITH queries. In an
 * expression, a condition, an ordering, a set operation, a whole row, a write or a definition it is refused; with `allowEquality`,
 * `column = value` and `column IN (values)` are allowed in WHERE. A name that cannot be resolved with certainty is refused as soon
 * as the statement touches a protected relation; a relation that is not known is always refused, for it could be a view.
 *
 * What stays possible and is documented: INSERT into a protected column with a unique index tells by SQLSTATE 23505 whether a
 * value exists; `count(*)` and clean columns of the same row stay visible.
 */
import type { StatementKind } from '../../../../policy/command.ts';
import type { MaskPlan } from '../../../../policy/masking.ts';
import type { AstNode } from './ast.ts';
import { GuardError } from './guard-errors.ts';
import { Inspection } from './guard-inspection.ts';
import { createWalk } from './guard-select.ts';
import { inspectStatement } from './guard-statements.ts';
import { protectedIn } from './scope.ts';
import type {
  GuardRefusal,
  NameEnvironment,
  ProtectedColumn,
  ProtectedLiteral,
  ProtectedParameter,
  Protection,
} from './types.ts';

export { looksLikeMask } from './guard-equality.ts';

export interface GuardResult {
  /** Set: never forwarded, whatever the rules say. */
  readonly refusal?: GuardRefusal;
  readonly touchesProtected: boolean;
  /**
   * Per output column the protected column that it carries bare, or null. Undefined: returns no rows, or (never for a protected
   * column) how many columns a star stands for is not known.
   */
  readonly outputs?: readonly (ProtectedColumn | null)[];
  /** $n that become, or are compared with, values of protected columns. */
  readonly protectedParameters: readonly ProtectedParameter[];
  /** Constants that do. */
  readonly protectedLiterals: readonly ProtectedLiteral[];
  /** A literal mattered: the result does not hold for other texts of the same shape. */
  readonly literalDependent: boolean;
  /** A relation or column was not in the snapshot: refresh it and judge again before believing a refusal. */
  readonly stale: boolean;
}

const NOTHING_PROTECTED: GuardResult = {
  touchesProtected: false,
  protectedParameters: [],
  protectedLiterals: [],
  literalDependent: false,
  stale: false,
};

/**
 * @param statement an element of the parser's `stmts[].stmt`, or the query inside PREPARE, DECLARE or EXPLAIN
 * @param protection of `masks` over `environment.catalog`
 */
export function guard(
  statement: AstNode,
  _kind: StatementKind,
  environment: NameEnvironment,
  _masks: MaskPlan,
  protection: Protection,
): GuardResult {
  if (protection.empty) return NOTHING_PROTECTED;
  const inspection = new Inspection(environment, 'guard', (oid) => protection.columns(oid));
  const common = () => ({
    touchesProtected: inspection.touchesProtected,
    protectedParameters: inspection.protectedParameters,
    protectedLiterals: inspection.protectedLiterals,
    literalDependent: inspection.literalDependent,
    stale: inspection.unresolved.length > 0 || inspection.unknownRelations.length > 0,
  });
  try {
    const result = inspectStatement(createWalk(inspection), statement);
    const [unknown] = inspection.unknownRelations;
    if (unknown !== undefined) throw new GuardError('SPG404', unknown);
    const [unresolved] = inspection.unresolved;
    if (unresolved !== undefined && inspection.touchesProtected) throw new GuardError('SPG403', unresolved);
    if (result === undefined || result.open !== undefined) {
      // outputList refuses a star of unknown width beside a protected column; this holds the line if that is ever changed.
      if (result !== undefined && protectedIn(result) !== undefined)
        throw new GuardError('SPG414', 'an item of FROM', '*');
      return common();
    }
    return { ...common(), outputs: result.columns.map((column) => column.origin?.column ?? null) };
  } catch (error) {
    if (error instanceof GuardError) return { ...common(), refusal: error.refusal };
    // The engine's own stack limit, reached before ours: too deep as well.
    if (error instanceof RangeError) return { ...common(), refusal: new GuardError('SPG412').refusal };
    throw error;
  }
}
