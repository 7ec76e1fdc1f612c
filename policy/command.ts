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
  /** Shell: for a command that has a terminal. What is typed into it is judged no more than what is typed into a shell. */
  readonly terminal?: boolean;
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

/** What `kubernetes.operations` may name, exactly the CRD's enum (AccessPolicy.spec.rules[].kubernetes.operations). */
export const KUBERNETES_OPERATIONS = [
  'Scale',
  'ScaleOut',
  'ScaleIn',
  'Exec',
  'PortForward',
  'ReadSecret',
  'ChangeRBAC',
  'Evict',
  'Impersonate',
  'PrivilegedPod',
  'UseServiceAccount',
  'Opaque',
] as const;
export type KubernetesOperation = (typeof KUBERNETES_OPERATIONS)[number];

/**
 * The object, or the collection, that something is done to. Everything as the API server's RequestInfo has it: `group` empty for the
 * core group, `namespace` empty for cluster-scoped objects and for all namespaces (but its own name for a Namespace), `name` empty for
 * a collection. Only for `create` the name is that of the body, which RequestInfo does not know; empty with generateName.
 */
export interface KubernetesTarget {
  readonly group: string;
  readonly resource: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
}

/** A request on a resource, in the words of RBAC. */
export interface ApiTuple extends OfStatement, KubernetesTarget {
  readonly type: 'api';
  /** `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`. */
  readonly verb: string;
}

/** A URL that is no resource: `/version`, `/apis/apps/v1`, `/metrics`. */
export interface PathTuple extends OfStatement {
  readonly type: 'path';
  /** The HTTP method in lower case, as RBAC has it. */
  readonly verb: string;
  /** Decoded, as RequestInfo has it. */
  readonly path: string;
}

/**
 * What a request means beyond its verb. Where the request is nothing else (exec, the scale subresource, a patch that changes only
 * replicas), this tuple stands alone; where it does more, it stands beside the `api` tuple and both have to be covered.
 */
export interface OperationTuple extends OfStatement, KubernetesTarget {
  readonly type: 'operation';
  /** `Scale`: one whose direction is not known; `ScaleOut` and `ScaleIn`: one whose direction is. */
  readonly operation: Exclude<KubernetesOperation, 'Opaque'>;
  /** Of the request: rules with verbs hit operations too. The target is what the operation acts on: of an autoscaler, what it scales. */
  readonly verb: string;
  /** Exec, always; else never. */
  readonly exec?: KubernetesExec;
}

/** One simple command that is run in a container. */
export interface KubernetesExec {
  /** Empty: what runs cannot be known (attach, a debug container without a command). */
  readonly argv: readonly string[];
  /** It runs what its words say, as in `ExecTuple`. */
  readonly wrapper: boolean;
  /** Set for a command of a script: the words of the shell that runs it, `sh -c SCRIPT`. */
  readonly shell?: readonly string[];
}

/** What was not understood: it could do anything. Members of the target are empty where even they are not known. */
export interface UnknownTuple extends OfStatement, KubernetesTarget {
  readonly type: 'unknown';
  readonly verb: string;
  /** In words that complete "cannot be judged: ...". */
  readonly reason: string;
}

export type KubernetesTuple = ApiTuple | PathTuple | OperationTuple | UnknownTuple;

/** What CEL sees as `command.kubernetes` for one tuple. Members without `?` are always present. */
export interface KubernetesFacts extends KubernetesTarget {
  /** Empty for what is no operation. */
  readonly operation: KubernetesOperation | '';
  readonly verb: string;
  readonly version: string;
  /** Of a URL that is no resource; else empty. */
  readonly path: string;
  /** Of exec, attach, logs and debug; empty where the request leaves it to the API server. */
  readonly container: string;
  /** Words of the command in question; empty for everything but Exec. */
  readonly argv: readonly string[];
  readonly stdin: boolean;
  readonly tty: boolean;
  /** `dryRun=All`: nothing is changed. It is judged all the same. */
  readonly dryRun: boolean;
  /** Of scaling, where they are known: what is asked for, and what is there. */
  readonly replicas?: number;
  readonly previousReplicas?: number;
  /** JSON of the object as it will be; absent where there is none, or it was not read. */
  readonly object?: unknown;
}

export interface KubernetesCommand {
  readonly protocol: 'Kubernetes';
  /** Method and URL, shown in CEL as `command.text`: `PATCH /apis/apps/v1/namespaces/shop/deployments/web`. */
  readonly text: string;
  readonly statements: readonly KubernetesFacts[];
  readonly tuples: readonly KubernetesTuple[];
}

/** One request of HTTP. */
export interface HttpTuple extends OfStatement {
  readonly type: 'http';
  readonly method: string;
  /** `host[:port]` in lower case. */
  readonly host: string;
  /** Decoded once: begins with a slash, without dot segments and doubled slashes. */
  readonly path: string;
}

/** One message of the Model Context Protocol, at a path that the connection declares for it. */
export interface McpTuple extends OfStatement {
  readonly type: 'mcp';
  /** Of HTTP: POST; GET for the stream of the server's messages, DELETE for the end of the session. */
  readonly httpMethod: string;
  readonly host: string;
  readonly path: string;
  /** Of JSON-RPC, such as `tools/call`; empty where there is no message, and for an answer to a request of the server. */
  readonly method: string;
  /** `params.name` of `tools/call`; else empty. */
  readonly tool: string;
}

export type WebTuple = HttpTuple | McpTuple;

/** What CEL sees as `command.http` for one tuple, and as `command.mcp`. Members without `?` are always present. */
export interface HttpFacts {
  readonly method: string;
  readonly host: string;
  readonly path: string;
  /** Each name with its values, in order. */
  readonly query: Readonly<Record<string, readonly string[]>>;
  /** Lower-case names, repeated ones joined by `, `; without what identifies the caller. */
  readonly headers: Readonly<Record<string, string>>;
  /** The media type in lower case, without parameters; empty where there is none. */
  readonly contentType: string;
  /** JSON; absent where it is not JSON, or was not read (`PolicyScope.needs`). */
  readonly body?: unknown;
  readonly mcp?: {
    readonly method: string;
    readonly tool: string;
    /** `params.arguments` of `tools/call`; else absent. */
    readonly arguments?: unknown;
  };
}

export interface HttpCommand {
  readonly protocol: 'HTTP';
  /** Method and URL, shown in CEL as `command.text`: `GET https://api.example.com/v1/charges?limit=3`. */
  readonly text: string;
  /** One, but for a batch of MCP messages. */
  readonly statements: readonly HttpFacts[];
  readonly tuples: readonly WebTuple[];
}

export type Command = SqlCommand | SshCommand | KubernetesCommand | HttpCommand;
export type Tuple = SqlTuple | SshTuple | KubernetesTuple | WebTuple;
