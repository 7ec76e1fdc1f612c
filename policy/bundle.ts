import type { Command, SshOperation } from './command.ts';
import type { Decision } from './decision.ts';
import type { MaskPlan } from './masking.ts';
import type { Rights } from './rights.ts';
import type { Subject } from './subject.ts';

/** What `when` may look at besides the command. */
export interface SessionFacts {
  readonly id: string;
  readonly startedAt: Date;
  readonly clientAddress: string;
  readonly applicationName: string;
  /** Commands so far. */
  readonly commands: number;
}

export interface DecideContext {
  readonly now: Date;
  readonly session: SessionFacts;
}

/** A connection as compiled: what the proxy needs to serve it. Everything is resolved and defaulted. */
export interface CompiledConnection {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly protocol: 'Postgres' | 'SSH' | 'Kubernetes' | 'HTTP';
  readonly mode: 'Enforce' | 'Observe';
  /** How long it is served on a policy that cannot be compared with the source of policies any more. */
  readonly maxPolicyStalenessMs: number;
  readonly target: {
    readonly host: string;
    readonly port: number;
    readonly database?: string;
    /** SSH: what the target has to prove, as written: `[@cert-authority ]TYPE BASE64[ COMMENT]`. Empty for other protocols. */
    readonly hostKeys: readonly string[];
    readonly tls: {
      readonly mode: 'VerifyFull' | 'VerifyCA' | 'Disable';
      readonly caRef?: { readonly kind: 'ConfigMap' | 'Secret'; readonly name: string; readonly key: string };
      readonly serverName?: string;
    };
  };
  /** As in the CRD: exactly one member is set (none for HTTP without one). */
  readonly credential: {
    readonly secretRef?: { readonly name: string };
    readonly postgresRole?: PostgresRole;
    readonly clientCertificate?: ClientCertificate;
    readonly sshCertificate?: SshCertificate;
    readonly httpHeader?: HttpHeaderCredential;
    readonly oauthClientCredentials?: OAuthClientCredentials;
    readonly impersonate?: Impersonation;
    readonly serviceAccountToken?: ServiceAccountToken;
  } & Readonly<Record<string, unknown>>;
  /** How SSH clients may prove who they are besides tokens and connectors. Empty for other protocols. */
  readonly ssh: {
    readonly authorizedKeys: readonly AuthorizedKey[];
    readonly trustedUserCAs: readonly TrustedUserCA[];
    /** Open connections of one subject at one time, on each proxy. */
    readonly maxConnectionsPerSubject: number;
  };
  /** How requests over HTTP are passed on; for other protocols what stands here means nothing. */
  readonly http: {
    /** Longest request body that is read before it is decided on. */
    readonly maxBodyBytes: number;
    /** Of the target: taken out of requests and answers, or passed. */
    readonly cookies: 'Pass' | 'Remove';
    /** Until an answer begins. */
    readonly responseTimeoutMs: number;
    /** Where the Model Context Protocol is spoken. */
    readonly mcpPaths: readonly string[];
  };
  readonly limits: {
    readonly maxSessions?: number;
    /** SSH: channels of one connection, open at one time. */
    readonly maxChannels?: number;
    readonly maxSessionDurationMs?: number;
    readonly idleTimeoutMs?: number;
    readonly commandsPerMinute?: number;
    readonly maxRowsReturned?: number;
    readonly maxBytesReturned?: number;
    readonly maxRowsAffected?: number;
  };
  readonly audit: {
    readonly level: 'Metadata' | 'Commands' | 'Full';
    readonly maxResponseBytes: number;
    readonly retentionDays: number;
  };
}

/** A Postgres login that is made when it is needed, and dropped after it. */
export interface PostgresRole {
  /** `Statement`: one for each autocommit statement or explicit transaction. */
  readonly scope: 'Session' | 'Statement';
  readonly adminSecretRef: { readonly name: string };
  /** Existing roles that it is a member of. */
  readonly memberOf: readonly string[];
  /** It is also a member of a role that holds what the Allow rules for the subject say. */
  readonly grantsFromPolicy: boolean;
  readonly ttlMs: number;
}

/** A client certificate that is signed for each session. */
export interface ClientCertificate {
  readonly caSecretRef: { readonly name: string };
  /** Its common name: the role that it signs in as. */
  readonly role: string;
  readonly ttlMs: number;
}

/** Kubernetes: requests are made in the caller's name. */
export interface Impersonation {
  /** Who may impersonate. Absent: Sallyport's own service account. */
  readonly secretRef?: { readonly name: string };
}

/** A token of a service account in the connection's namespace, made when it is needed. */
export interface ServiceAccountToken {
  readonly name: string;
  /** Empty: the API server's own. */
  readonly audiences: readonly string[];
  readonly ttlMs: number;
}

/** An SSH user certificate that is signed for each connection. */
export interface SshCertificate {
  readonly caSecretRef: { readonly name: string };
  /** Login users that certificates may be for. */
  readonly principals: readonly string[];
  /** `Command`: the connection to the target that it opens carries one command. */
  readonly scope: 'Connection' | 'Command';
  /** Addresses or CIDR ranges that it may be used from. Empty: the proxy's own address on the way to the target. */
  readonly sourceAddresses: readonly string[];
  readonly ttlMs: number;
}

/** A header with a secret value. */
export interface HttpHeaderCredential {
  readonly name: string;
  readonly secretRef: { readonly name: string; readonly key: string };
}

/** Access tokens by the client credentials grant (RFC 6749, section 4.4). */
export interface OAuthClientCredentials {
  readonly tokenURL: string;
  readonly secretRef: { readonly name: string };
  readonly scopes: readonly string[];
  readonly audience?: string;
  readonly resource?: string;
  readonly clientAuthentication: 'Basic' | 'Post';
  readonly caRef?: { readonly kind: 'ConfigMap' | 'Secret'; readonly name: string; readonly key: string };
}

/** Whom an SSH key or certificate stands for: a service account, or `ALIAS:SUBJECT` of an identity provider. */
export type SshSubject =
  | { readonly serviceAccount: { readonly namespace: string; readonly name: string }; readonly user?: never }
  | { readonly user: string; readonly serviceAccount?: never };

/** A public key that signs in as a service account, without a token. */
export interface AuthorizedKey {
  readonly serviceAccount: { readonly namespace: string; readonly name: string };
  /** As written: `TYPE BASE64[ COMMENT]`. */
  readonly publicKey: string;
  /** Milliseconds since the epoch; undefined: until it is taken out. */
  readonly expiresAt?: number;
}

/** An authority whose user certificates sign in without a token. */
export interface TrustedUserCA {
  readonly publicKey: string;
  /** Whom a principal of the certificate stands for; a certificate with none of them is refused. The first that it has counts. */
  readonly subjects: readonly { readonly principal: string; readonly subject: SshSubject }[];
  /** Certificates that live longer are refused. */
  readonly maxLifetimeMs: number;
}

/** The pure compiled policy: immutable, swapped whole. Made by `policy/compile.ts`. */
export interface Bundle {
  /** `sha256:` over the canonical resources; changes exactly when a decision could. */
  readonly hash: string;
  readonly connections: readonly CompiledConnection[];
  connection(namespace: string, name: string): CompiledConnection | undefined;
  /** The view of one subject on one connection: candidate rules are selected once, here. */
  scope(subject: Subject, connection: CompiledConnection): PolicyScope;
}

/** Everything policy knows for one subject on one connection. Cached by the caller per (bundle, subject, connection). */
export interface PolicyScope {
  /** Some policy names the subject (Observe) or some Allow rule gives it anything (Enforce): it may open a session. */
  readonly mayConnect: boolean;
  /** A Deny rule without a protocol hits this subject: every session ends at once. Its rule and message, for the goodbye. */
  readonly revoked?: { readonly rule: string; readonly message?: string };
  /**
   * False when names cannot change any verdict: no Deny or RequireApproval rule, no masking, and Allow rules that cover every
   * relation and function. The lane then needs neither a catalog nor a pinned search_path.
   */
  readonly nameSensitive: boolean;
  /** False when no rule and no mask tells one relation from another: a temporary one may then stand in another's place. */
  readonly relationSensitive: boolean;
  /** True when no Allow rule gives more than Read kinds: the lane then opens a READ ONLY session as a backstop. */
  readonly readOnly: boolean;
  readonly masks: MaskPlan;
  /** The credential is good for one command: nothing that a session of the target keeps for itself lasts. */
  readonly perCommand: boolean;
  /** What the target itself has to let this subject do, at most. */
  readonly rights: Rights;
  /**
   * SSH: the operations that some Allow rule gives this login user (all of them in Observe); empty when the user may not log in at
   * all. For what has to be settled before a command is known, such as the extensions of a certificate; it grants nothing by itself.
   */
  operations(loginUser: string): ReadonlySet<SshOperation>;
  /**
   * What conditions look at that costs something to have: `body` the JSON body of an HTTP request (`HttpFacts.body`), `headers` its header
   * fields, `object` the object of a Kubernetes request as it will be (`KubernetesFacts.object`). What is not needed may be left out.
   */
  readonly needs: { readonly body: boolean; readonly headers: boolean; readonly object: boolean };
  /** MCP: whether some rule may let this subject call the tool at the path, with whatever arguments; it grants nothing by itself. */
  offersTool(path: string, tool: string): boolean;
  decide(command: Command, context: DecideContext): Decision;
  /** What this subject may do here, as rows for `SHOW sallyport.permissions`. */
  permissions(): readonly PermissionRow[];
}

export interface PermissionRow {
  readonly effect: 'Allow' | 'Deny' | 'RequireApproval' | 'Mask';
  readonly statements: string;
  readonly relations: string;
  readonly functions: string;
  readonly condition: string;
  readonly rule: string;
  readonly message: string;
}
