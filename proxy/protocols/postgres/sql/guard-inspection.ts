/**
 * One inspection of one statement: what it may use, what was found. Two strictnesses share the walk over the tree. `guard` throws at
 * the first use of a protected column that is more than showing it; `trace` only follows values, to find out which columns of an
 * existing view carry or derive from protected ones.
 */
import type { CatalogRelation } from '../catalog/types.ts';
import type { AstNode } from './ast.ts';
import { GuardError, type GuardErrorCode } from './guard-errors.ts';
import type { ColumnSet, OpenEnd, Origin, Scope } from './scope.ts';
import { hiddenColumn, isHidden } from './scope-relations.ts';
import type { NameEnvironment, ProtectedColumn, ProtectedLiteral, ProtectedParameter } from './types.ts';

/** A WITH query, evaluated when it is first referenced. */
export interface Cte {
  readonly body: AstNode;
  /** Where its text stands: what it sees. */
  scope: Scope<Cte>;
  readonly recursive: boolean;
  state: 'pending' | 'running' | 'done';
  /** While running: of the non-recursive term, once known. */
  result: ColumnSet | undefined;
}

export type QueryScope = Scope<Cte>;

/** Levels of the tree. A stack frame here is some 200 bytes, several to a level: far below Node's default stack. */
const MAX_DEPTH = 1200;

export type ProtectedColumns = (relationOid: number) => ReadonlyMap<number, ProtectedColumn> | undefined;

export class Inspection {
  readonly environment: NameEnvironment;
  readonly mode: 'guard' | 'trace';
  readonly protectedColumns: ProtectedColumns;
  touchesProtected = false;
  /** A condition compares a protected column with a value, because its rule allows that. */
  equalityUsed = false;
  literalDependent = false;
  readonly protectedParameters: ProtectedParameter[] = [];
  readonly protectedLiterals: ProtectedLiteral[] = [];
  readonly unresolved: string[] = [];
  readonly unknownRelations: string[] = [];
  private depth = 0;

  constructor(environment: NameEnvironment, mode: 'guard' | 'trace', protectedColumns: ProtectedColumns) {
    this.environment = environment;
    this.mode = mode;
    this.protectedColumns = protectedColumns;
  }

  /** @throws GuardError in guard mode; in trace mode the value is followed instead. */
  violation(code: GuardErrorCode, ...fill: readonly string[]): void {
    if (this.mode === 'guard') throw new GuardError(code, ...fill);
  }

  /** Use of a protected value in anything but an output list: a violation, or a computed origin. */
  use(origin: Origin | undefined, place: string): Origin | undefined {
    if (origin === undefined) return undefined;
    this.violation('SPG401', columnTitle(origin.column), place);
    return origin.bare ? { column: origin.column, bare: false } : origin;
  }

  touch(relation: CatalogRelation): void {
    if (this.protectedColumns(relation.oid) !== undefined) this.touchesProtected = true;
  }

  /** Columns of a relation with their origins. */
  columnsOf(relation: CatalogRelation): ColumnSet {
    this.touch(relation);
    const covered = this.protectedColumns(relation.oid);
    const columns = relation.columns.map(({ name, attnum }) => {
      const column = covered?.get(attnum);
      if (column !== undefined) return { name, origin: { column, bare: true } };
      if (isHidden(relation, name)) return { name, origin: { column: hiddenColumn(relation, name), bare: false } };
      return { name, origin: undefined };
    });
    return { columns, open: undefined };
  }

  /** A relation that the snapshot does not know may be a view on anything. */
  unknownRelation(name: string): OpenEnd {
    this.unknownRelations.push(name);
    return { origin: undefined };
  }

  deeper<T>(walk: () => T): T {
    if (++this.depth > MAX_DEPTH) throw new GuardError('SPG412');
    try {
      return walk();
    } finally {
      this.depth--;
    }
  }
}

export const columnTitle = (column: ProtectedColumn): string => `${column.relation}.${column.column}`;

export const isProtectedRelation = (inspection: Inspection, relation: CatalogRelation): boolean =>
  inspection.protectedColumns(relation.oid) !== undefined;
