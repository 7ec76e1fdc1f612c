import type { SqlCommand, StatementKind } from '../../../../policy/command.ts';
import type { ColumnMask, MaskPlan } from '../../../../policy/masking.ts';
import type { CopyFormat } from '../../../masking/copy.ts';
import type { Catalog } from '../catalog/types.ts';

/** What a name means now: part of every verdict and of every cache key (docs/postgres.md, names). */
export interface NameEnvironment {
  /** Effective schemas in order, `"$user"` expanded, without the implicit pg_catalog and pg_temp. */
  readonly searchPath: readonly string[];
  /** current_user. */
  readonly role: string;
  /** Undefined when no verdict depends on names (PolicyScope.nameSensitive is false) or none could be read (offline explain). */
  readonly catalog: Catalog | undefined;
  /** Temporary relations that this session made, by name, with the columns' origin unknown. */
  readonly temporary: ReadonlySet<string>;
  /** The open transaction has changed definitions, which no snapshot shows before it ends: a name may mean the next in the path. */
  readonly uncommitted?: boolean;
  /** No rule and no mask tells one relation from another: which of several a name means changes no verdict. */
  readonly relationsAlike?: boolean;
  /** SQL-level and protocol-level prepared statements share one namespace. */
  prepared(name: string): Analysis | undefined;
}

/** A protected column of the closure: a base column, or that of a view, child or partition over one. */
export interface ProtectedColumn {
  readonly relation: string;
  readonly column: string;
  readonly mask: ColumnMask;
}

/** A parameter, $n, that becomes, or is compared with, a value of a protected column. */
export interface ProtectedParameter {
  readonly number: number;
  readonly column: ProtectedColumn;
}

/** A constant of the text that becomes, or is compared with, a value of a protected column. */
export interface ProtectedLiteral {
  /** Byte of the text at which it begins; undefined when the parser does not say. */
  readonly at: number | undefined;
  readonly column: ProtectedColumn;
}

/** The closure of a mask plan over a catalog. Made once per (catalog generation, mask plan). */
export interface Protection {
  /** attnum → protected column, or undefined when nothing of that relation is protected. */
  columns(relationOid: number): ReadonlyMap<number, ProtectedColumn> | undefined;
  readonly empty: boolean;
}

/** What one sub-statement asks the session to do, besides returning rows. The lane acts on these. */
export type StatementEffect =
  | {
      readonly type: 'transaction';
      readonly action: 'begin' | 'commit' | 'rollback' | 'savepoint' | 'release' | 'rollbackTo' | 'prepare' | 'other';
    }
  /** SET, RESET, SET LOCAL and `set_config` with literals. `value` undefined: RESET or DEFAULT. `name` 'all': RESET ALL. */
  | { readonly type: 'set'; readonly name: string; readonly value: string | undefined; readonly local: boolean }
  | { readonly type: 'show'; readonly name: string }
  | { readonly type: 'discard'; readonly target: 'ALL' | 'PLANS' | 'SEQUENCES' | 'TEMP' }
  | { readonly type: 'prepare'; readonly name: string; readonly inner: Analysis }
  | { readonly type: 'execute'; readonly name: string }
  | { readonly type: 'deallocate'; readonly name: string | undefined }
  | { readonly type: 'declare'; readonly cursor: string; readonly hold?: true }
  | { readonly type: 'fetch'; readonly cursor: string }
  | { readonly type: 'close'; readonly cursor: string | undefined }
  | {
      readonly type: 'copy';
      readonly direction: 'from' | 'to';
      readonly via: 'stdio' | 'file' | 'program';
      /** As its options say. */
      readonly format: CopyFormat;
    }
  | { readonly type: 'createTemporary'; readonly name: string }
  | { readonly type: 'ddl' };

export interface AnalysedStatement {
  readonly kind: StatementKind;
  /** Changes state (or may, through a volatile function): durable in the record before it is forwarded. */
  readonly writes: boolean;
  /** Changes rows: limits on rows affected apply. */
  readonly modifiesRows: boolean;
  readonly returnsRows: boolean;
  readonly effects: readonly StatementEffect[];
  /** Reads, writes or names a relation with a protected column: errors and notices of it are redacted. */
  readonly touchesProtected: boolean;
  /**
   * Layer A's prediction for the result: per output column the protected column that it carries bare, or null. Undefined when the
   * statement returns no rows, or when it was not computed because nothing is protected.
   */
  readonly outputs?: readonly (ProtectedColumn | null)[];
  /**
   * Parameters that are compared with, or written into, protected columns: mask tokens are refused in their values.
   */
  readonly protectedParameters: readonly ProtectedParameter[];
  /** Constants that are compared with, or written into, protected columns: approvers see the mask in their place. */
  readonly protectedLiterals: readonly ProtectedLiteral[];
}

/** Why layer A refuses: never forwarded, whatever the rules say. */
export interface GuardRefusal {
  /** Key of the error table in errors.ts. */
  readonly code: string;
  readonly reason: string;
  readonly hint: string;
}

export interface Analysis {
  readonly command: SqlCommand;
  readonly statements: readonly AnalysedStatement[];
  /** Set when the text is not PostgreSQL's grammar: the command is then one `Unknown` tuple. */
  readonly parseError?: { readonly message: string; readonly position?: number };
  /** Layer A. Undefined: nothing to refuse. */
  readonly refusal?: GuardRefusal;
  /** True when the result holds for any text of the same shape (no literal mattered): see shape.ts. */
  readonly shapeStable: boolean;
  /** True when a name could not be found in the snapshot: refresh it and analyse again before refusing. */
  readonly staleCatalog: boolean;
}

/** `analyse.ts` exports this. Pure apart from the parser; throws nothing: any parser failure is `parseError`. */
export type Analyse = (
  text: string,
  environment: NameEnvironment,
  masks: MaskPlan,
  protection: Protection | undefined,
) => Analysis;
