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

/** What `ssh.operations` may name, exactly the CRD's enum (AccessPolicy.spec.rules[].ssh.operations). */
export const SSH_OPERATIONS = [
  'Exec',
  'Shell',
  'ReadFile',
  'WriteFile',
  'LocalForward',
  'RemoteForward',
  'AgentForward',
  'X11Forward',
  'Tunnel',
  'Subsystem',
  'Opaque',
] as const;
export type SshOperation = (typeof SSH_OPERATIONS)[number];

interface OfStatement {
  /** Index into `SshCommand.statements`: the part of the command that `when` is judged on. */
  readonly statement: number;
}

/** One simple command: exactly the words that the target's shell will run. */
export interface ExecTuple extends OfStatement {
  readonly type: 'exec';
  readonly operation: 'Exec';
  readonly argv: readonly string[];
  /** It runs what its words say (sudo, sh, xargs, git): opaque unless an Allow rule names its first word. */
  readonly wrapper: boolean;
  /** Why it was not taken for the file transfer that it looks like, in words. */
  readonly unsure?: string;
}

/** One file or folder that is read or written. */
export interface FileTuple extends OfStatement {
  readonly type: 'file';
  readonly operation: 'ReadFile' | 'WriteFile';
  /** Absolute, without `.` and `..` segments, doubled or trailing slashes. */
  readonly path: string;
  /** Everything below the path too, without another decision (rsync; scp when nobody reads its protocol). */
  readonly tree: boolean;
  /** What is read goes to the client or a program as it is: nobody who decides file by file could mask it. */
  readonly unseen?: boolean;
}

/** A forwarded port or Unix socket. */
export interface ForwardTuple extends OfStatement {
  readonly type: 'forward';
  readonly operation: 'LocalForward' | 'RemoteForward';
  /** `host:port` with the host in lower case, `[v6]:port`, or `unix:/path`. RemoteForward: what is listened on, `*` for all addresses. */
  readonly destination: string;
}

/** What needs no more than its name. */
export interface ChannelTuple extends OfStatement {
  readonly type: 'channel';
  readonly operation: 'Shell' | 'AgentForward' | 'X11Forward' | 'Tunnel';
}

/** A subsystem. `sftp` is let in by any rule about files: its requests are decided one by one. */
export interface SubsystemTuple extends OfStatement {
  readonly type: 'subsystem';
  readonly operation: 'Subsystem';
  readonly name: string;
}

/** A command line that the strict splitter does not take: it could do anything. */
export interface OpaqueTuple extends OfStatement {
  readonly type: 'opaque';
  readonly operation: 'Opaque';
  /** What was not taken, in words that complete "cannot be judged: ...". */
  readonly reason: string;
}

export type SshTuple = ExecTuple | FileTuple | ForwardTuple | ChannelTuple | SubsystemTuple | OpaqueTuple;

/** What CEL sees as `command.ssh` for one part of a command. Every field is always present. */
export interface SshFacts {
  readonly operation: SshOperation;
  /** The user on the target. */
  readonly loginUser: string;
  /** Words of a simple command; empty for everything else. */
  readonly argv: readonly string[];
  /** Of ReadFile and WriteFile; else empty. */
  readonly path: string;
  /** Of forwards; else empty. */
  readonly destination: string;
  /** Of Subsystem; else empty. */
  readonly subsystem: string;
  /** A shell, or a command with a terminal. */
  readonly interactive: boolean;
}

/** A file protocol that an exec speaks on its standard streams. */
export type SshTransfer =
  | { readonly type: 'sftp' }
  /** `sink` writes what the client sends (`scp -t`), `source` reads (`scp -f`). Paths as in the tuples. */
  | {
      readonly type: 'scp';
      readonly role: 'sink' | 'source';
      readonly paths: readonly string[];
      readonly recursive: boolean;
    };

export interface SshCommand {
  readonly protocol: 'SSH';
  /** The exact text, shown in CEL as `command.text`; bytes that are not UTF-8 stand as `\xNN`. */
  readonly text: string;
  readonly loginUser: string;
  readonly statements: readonly SshFacts[];
  readonly tuples: readonly SshTuple[];
  /** Set when the whole exec is one file transfer whose protocol the caller said that it decides by itself. */
  readonly transfer?: SshTransfer;
}

/** Other lanes add their members here. */
export type Command = SqlCommand | SshCommand;
export type Tuple = SqlTuple | SshTuple;
