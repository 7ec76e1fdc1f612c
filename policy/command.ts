/**
 * A command as policy sees it: a list of access tuples, each judged whole by one rule (docs/policy.md).
 * The protocol lanes produce these; nothing here knows how.
 */

/** Statement kinds, exactly the single kinds of the CRD's enum (AccessPolicy.spec.rules[].sql.statements). */
export const STATEMENT_KINDS = [
  'Select',
  'Insert',
  'Update',
  'Delete',
  'Merge',
  'Truncate',
  'CopyTo',
  'CopyFrom',
  'CopyProgram',
  'CreateTable',
  'AlterTable',
  'DropTable',
  'CreateView',
  'DropView',
  'CreateIndex',
  'DropIndex',
  'CreateSchema',
  'DropSchema',
  'CreateDatabase',
  'AlterDatabase',
  'DropDatabase',
  'CreateFunction',
  'AlterFunction',
  'DropFunction',
  'CreateTrigger',
  'DropTrigger',
  'CreateSequence',
  'AlterSequence',
  'DropSequence',
  'CreateType',
  'AlterType',
  'DropType',
  'CreateExtension',
  'DropExtension',
  'CreateRole',
  'AlterRole',
  'DropRole',
  'CreateOther',
  'AlterOther',
  'DropOther',
  'Grant',
  'Revoke',
  'Transaction',
  'Set',
  'Show',
  'Listen',
  'Notify',
  'Lock',
  'Explain',
  'Vacuum',
  'Analyze',
  'Reindex',
  'RefreshView',
  'Comment',
  'AlterSystem',
  'Opaque',
  'Unknown',
] as const; // prettier-ignore
export type StatementKind = (typeof STATEMENT_KINDS)[number];

/** One relation that one (sub-)statement touches. A relation that is only read has kind `Select` whatever the statement. */
export interface RelationTuple {
  readonly type: 'relation';
  readonly kind: StatementKind;
  readonly schema: string;
  readonly name: string;
  /** Index into `SqlCommand.statements`: the sub-statement that `when` is judged on. */
  readonly statement: number;
  /** True for catalog relations that need no rule of their own (policy.md, semantics 8). */
  readonly harmlessCatalog?: boolean;
}

/** A (sub-)statement that touches no relation: its kind alone is judged. */
export interface KindTuple {
  readonly type: 'kind';
  readonly kind: StatementKind;
  readonly statement: number;
  /** True for what needs no rule of its own: transaction control, SHOW, DISCARD, SET of a listed harmless parameter. */
  readonly harmless?: boolean;
}

/** One function that is called (or an operator's, cast's underlying user function). All resolution candidates appear. */
export interface FunctionTuple {
  readonly type: 'function';
  readonly schema: string;
  readonly name: string;
  readonly statement: number;
  /**
   * `safe`: built in, immutable or stable, not on the dangerous list: covered by any Allow rule, with or without `functions`.
   * `volatile`: built in but volatile (nextval, random, ...) and harmless to other people: covered as `safe` is.
   * `dangerous`: on the dangerous list: only covered by its exact name in `functions`.
   * `user`: anything outside pg_catalog: covered by a pattern in `functions` only.
   * `unknown`: no such function is known: judged as `user`.
   */
  readonly judgement: 'safe' | 'volatile' | 'dangerous' | 'user' | 'unknown';
}

export type SqlTuple = RelationTuple | KindTuple | FunctionTuple;

/** What CEL sees as `command.sql` for one sub-statement. Every field is always present. */
export interface SqlStatementFacts {
  readonly kind: StatementKind;
  /** DELETE, UPDATE and SELECT: a WHERE clause is there (any, even `WHERE true`). False for others. */
  readonly hasWhere: boolean;
  readonly hasLimit: boolean;
  /** True when a literal, not only parameters and columns, stands in the statement. */
  readonly hasLiterals: boolean;
  /** Relations as `schema.table`, in order of appearance, without repeats. */
  readonly relations: readonly string[];
  readonly functions: readonly string[];
}

export interface SqlCommand {
  readonly protocol: 'Postgres';
  /** The exact text, shown in CEL as `command.text`. */
  readonly text: string;
  readonly statements: readonly SqlStatementFacts[];
  readonly tuples: readonly SqlTuple[];
}

/** Other lanes add their members here. */
export type Command = SqlCommand;
