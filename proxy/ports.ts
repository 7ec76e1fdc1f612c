/**
 * The ports that hide where the proxy runs: standalone (folder, state directory) or in a cluster. Nothing in the data path
 * may know which of the two it is.
 */
import type { KeyObject } from 'node:crypto';
import type { Bundle, CompiledConnection, PolicyScope } from '../policy/bundle.ts';
import type { ApprovalRequirement } from '../policy/decision.ts';
import type { Subject } from '../policy/subject.ts';
import type { RecordStream } from '../record/port.ts';

export interface BundleSource {
  /** The bundle in force. Synchronous: it is read for every command. */
  current(): Bundle;
  /** Called after each swap; returns the unsubscribe function. */
  onChange(listener: (bundle: Bundle) => void): () => void;
}

export interface VerifiedIdentity {
  readonly subject: Subject;
  /**
   * When the token, plus the issuer's session grace, ends: the session ends then. Read anew at each look: where a fresh token can be
   * presented for a running session it moves.
   */
  readonly sessionExpiresAt: Date;
  /**
   * Aborted when the identity ends before its time, such as with the pod that it is of: its sessions end then. The reason is an error
   * with a stable code. Absent: only time ends it.
   */
  readonly withdrawn?: AbortSignal;
  /** `jti` or a digest of the token, for the record; never the token. */
  readonly tokenId: string;
  /** Seconds from iat to exp, for the metric. */
  readonly tokenLifetimeSeconds: number;
}

/** How a client's identity was proved already by the stream that it came on, such as a connector's tunnel. @throws as `TokenVerifier.verify` */
export type Proof = (signal: AbortSignal) => Promise<VerifiedIdentity>;

/** Why somebody is kept out, in words for the client; each lane says it in its own protocol. */
export interface GateRefusal {
  /** Stable code. */
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** What besides policy keeps an identity from a connection, whatever the protocol. Synchronous: asked in the way of every command. */
export interface AdmissionGate {
  /** Asked for a new session and, once a second, for those that are open. Undefined: it may be here. */
  refusal(connection: CompiledConnection, identity: VerifiedIdentity): GateRefusal | undefined;
  /** Asked for a new session and for each command; a session outlives it. Undefined: policy decides. */
  suspension(connection: CompiledConnection): GateRefusal | undefined;
}

/** A token that was verified, for as long as that may be believed without looking again. */
export interface BelievedToken {
  readonly token: string;
  readonly identity: VerifiedIdentity;
  /** Milliseconds since 1970. */
  readonly until: number;
  /** @throws IdentityError for what has changed meanwhile, or is not so for this peer */
  confirm(peer: string | undefined): void;
}

/** The token that one client presented last. Whoever serves the client keeps it, and lets go of it when its time is over. */
export interface LastToken {
  believed: BelievedToken | undefined;
}

export interface TokenVerifier {
  /**
   * @param peer address of the client without port, or undefined when it is not known; some issuers are for this machine only
   * @throws IdentityError with a stable code. Never logs the token.
   */
  verify(token: string, signal: AbortSignal, peer?: string, last?: LastToken): Promise<VerifiedIdentity>;
  /**
   * What `verify` would say of the token that this client presented last, at once; undefined: ask `verify`, with the same `last`. Over
   * HTTP a token comes with every request, and a digest of it to look it up by would cost more than the request's decision.
   * @throws IdentityError as `verify`, of what may change from one moment to the next
   */
  verified(token: string, peer: string | undefined, last: LastToken): VerifiedIdentity | undefined;
  /** For the OAUTHBEARER discovery reply (RFC 7628 section 3.2.2): issuers that a client may ask; may be empty. */
  readonly discovery: { readonly openidConfiguration?: string; readonly scope?: string };
}

/** What signs in to a PostgreSQL target. Values live in memory only for as long as a connection is set up. */
export type PostgresCredential =
  | {
      readonly type: 'password';
      readonly username: string;
      readonly password: string;
      /** Of a password that was made here: what SCRAM derives from it with this salt is known already. */
      readonly scram?: ScramDerived;
    }
  | { readonly type: 'certificate'; readonly username: string; readonly certificate: string; readonly key: string };

/**
 * What signs in to an SSH target. Private keys are handles of OpenSSL, which clears their memory when nobody holds them: no text of one
 * lies about. For signatures see `certificate/openssh/signature.ts`.
 */
export type SshCredential =
  | {
      readonly type: 'certificate';
      readonly username: string;
      readonly privateKey: KeyObject;
      /** The blob that is sent in SSH_MSG_USERAUTH_REQUEST; its key type is its first string (PROTOCOL.certkeys). */
      readonly certificate: Buffer;
    }
  | { readonly type: 'key'; readonly username: string; readonly privateKey: KeyObject }
  | { readonly type: 'password'; readonly username: string; readonly password: string };

/** A key that a gateway proves itself with to SSH clients. */
export interface SshHostKey {
  readonly privateKey: KeyObject;
  /** Host certificate for it, as on the wire: offered besides the plain key. */
  readonly certificate?: Buffer;
}

/**
 * What this gateway proves itself with to SSH clients of a connection: the same key on all its replicas, with a certificate for the
 * hosts of that connection. Read anew for each client. @throws an error with a stable code
 */
export type SshHostKeys = (connection: {
  readonly namespace: string;
  readonly name: string;
}) => Promise<readonly SshHostKey[]>;

/** Keys of SCRAM-SHA-256 (RFC 5802, section 3). */
export interface ScramDerived {
  readonly salt: Buffer;
  readonly iterations: number;
  readonly clientKey: Buffer;
  readonly serverKey: Buffer;
}

/** What signs in to an API server of Kubernetes. */
export interface KubernetesCredential {
  /** Sent as a bearer token. */
  readonly token?: string;
  /** Both PEM. */
  readonly clientCertificate?: { readonly certificate: string; readonly key: string };
  /** Of a kubeconfig: PEM of whom to trust, and the name that is verified, where the connection says neither. */
  readonly certificateAuthorities?: string;
  readonly serverName?: string;
}

/** Sallyport's own place in the cluster that it runs in. */
export interface ClusterIdentity {
  /** What Sallyport itself signs in with at the API server, read anew as it is rotated. @throws an error with a stable code */
  signIn(signal?: AbortSignal): Promise<KubernetesCredential>;
  /** A token of a service account (TokenRequest), made now. @throws an error with a stable code; the signal's reason */
  serviceAccountToken(
    account: { readonly namespace: string; readonly name: string },
    asked: { readonly audiences: readonly string[]; readonly ttlSeconds: number },
    signal: AbortSignal,
  ): Promise<{ readonly token: string; readonly expiresAt: Date }>;
}

/** As in the Secret, which may leave the login user to the client. */
export type StoredSshCredential =
  | { readonly type: 'key'; readonly username: string | undefined; readonly privateKey: KeyObject }
  | { readonly type: 'password'; readonly username: string | undefined; readonly password: string };

/** What goes with requests to an HTTP target. Several members where the Secret has them: a client certificate goes with any of them. */
export interface StoredHttpCredential {
  /** A field with a secret value: `authorization` for bearer tokens and basic authentication. */
  readonly header?: {
    /** In lower case. */
    readonly name: string;
    readonly value: string;
    /** Parts of the value that are secret by themselves, such as the password of basic authentication. */
    readonly secrets: readonly string[];
    /** How it signs in, for the record. */
    readonly type: 'header' | 'basic' | 'bearer';
    /** Whom it signs in as, where that is no secret. */
    readonly username?: string;
  };
  /** The client of credential.oauthClientCredentials. */
  readonly oauthClient?: {
    readonly id: string;
    readonly secret: string;
    /** PEM of oauthClientCredentials.caRef; undefined: the system's. */
    readonly certificateAuthorities: string | undefined;
  };
  /** Both PEM. */
  readonly clientCertificate?: { readonly certificate: string; readonly key: string };
}

/** Stored secrets and keys: a folder standalone, mounted files in a cluster. Read again when they changed. */
export interface CredentialSource {
  /**
   * User name with password or certificate of a Secret in the connection's namespace: that of credential.secretRef, or the one named,
   * such as that of credential.postgresRole.adminSecretRef. @throws CredentialError with a stable code.
   */
  postgres(connection: CompiledConnection, secret?: string): Promise<PostgresCredential>;
  /** Certificate and private key, both PEM, of an authority that certificates are signed with. @throws as `postgres` */
  signingAuthority(
    connection: CompiledConnection,
    secret: string,
  ): Promise<{ readonly certificate: string; readonly key: string }>;
  /**
   * A fixed SSH credential, of credential.secretRef: username with ssh-privatekey or password. `username` is undefined where the Secret
   * leaves it to the client. @throws as `postgres`
   */
  ssh(connection: CompiledConnection): Promise<StoredSshCredential>;
  /**
   * What an HTTP connection sends: of credential.secretRef, httpHeader or oauthClientCredentials. Undefined: it has no credential.
   * @throws as `postgres`
   */
  http(connection: CompiledConnection): Promise<StoredHttpCredential | undefined>;
  /** The key of credential.sshCertificate.caSecretRef that user certificates are signed with. @throws as `postgres` */
  sshAuthority(connection: CompiledConnection, secret: string): Promise<KeyObject>;
  /**
   * Of a Secret in the connection's namespace: `token`, `tls.crt` with `tls.key`, or a `kubeconfig` for the target of the connection.
   * @throws as `postgres`
   */
  kubernetes(connection: CompiledConnection, secret: string): Promise<KubernetesCredential>;
  /** PEM of `target.tls.caRef`, or undefined for the system's authorities. */
  certificateAuthorities(connection: CompiledConnection): Promise<string | undefined>;
  /** Key bytes for tokenize; makes and keeps one per namespace when `ref` is absent. */
  tokenKey(
    namespace: string,
    ref?: { readonly namespace: string; readonly name: string; readonly key: string },
  ): Promise<Uint8Array>;
}

/** For whom and for how much a credential is leased. */
export interface LeaseRequest {
  readonly session: string;
  readonly subject: Subject;
  /** What the credential may be good for at most. */
  readonly scope: PolicyScope;
  /** Where its issue, its use and its revocation are recorded; the first two are durable when `lease` resolves. */
  readonly stream: RecordStream;
  readonly signal: AbortSignal;
}

/** What an SSH lease has to know besides: a certificate is made for one login, one way and what policy gives. */
export interface SshLeaseRequest extends LeaseRequest {
  /** Login user on the target that the client named. */
  readonly loginUser: string;
  /** Local address of the socket that is connected to the target, which is dialled before: where the target sees Sallyport. */
  readonly localAddress: string | undefined;
}

/** A credential for one session, or for one command of it. Whoever leased it releases it, whatever happens. */
export interface CredentialLease<Credential> {
  readonly credential: Credential;
  /** From then on it signs in to nothing. Undefined: it is a standing secret. */
  readonly expiresAt: Date | undefined;
  /** It is good for one command: sign in anew for the next, with another. */
  readonly perCommand: boolean;
  /**
   * The policy, or the connection, is another now: resolves when the credential has the rights of that one, also for connections that
   * it has opened. @throws as `lease`: then it must not be used any more
   */
  follow(connection: CompiledConnection, scope: PolicyScope): Promise<void>;
  /**
   * Gives it back, after the connections opened with it were closed. Resolves when it is revoked; when the target cannot be told now it
   * is tried again later, and the credential ends by itself at `expiresAt`. Never throws; may be called twice.
   */
  release(): Promise<void>;
}

/**
 * How a lane gets what it signs in with. A fixed secret is the trivial lease; every lane has an implementation for the credentials of
 * its protocol, over `CredentialSource`.
 */
export interface CredentialLeases<Credential, Request extends LeaseRequest = LeaseRequest> {
  /** @throws an error with a stable code; the signal's reason */
  lease(connection: CompiledConnection, request: Request): Promise<CredentialLease<Credential>>;
  /** Resolves when what was released is revoked, or the signal fires. */
  close(signal: AbortSignal): Promise<void>;
}

/** What an approver reads. Made by the lane, which knows the language; whoever shows it escapes control and bidi characters. */
export interface Presentation {
  /** One line, at most 120 characters. */
  readonly summary: string;
  /** The whole command, pretty-printed, with its bound values, masking rules applied and secrets replaced. At most 64 KiB. */
  readonly display: string;
  /** What was replaced in `display`, such as `password` or the name of a masking rule. */
  readonly redactions: readonly string[];
  /** Access in words, such as `Delete on public.orders`. */
  readonly effects: readonly string[];
  readonly preview: EffectPreview;
}

/** What the command would do, as far as it can be known without doing it. Nothing is changed or locked to find it out. */
export interface EffectPreview {
  /** From EXPLAIN: the planner's guess. Absent with `unavailable` saying why. */
  readonly estimate?: { readonly rows: number; readonly plan: string };
  /** Counted on request by a read-only statement under a time limit. */
  readonly measured?: { readonly rows: number; readonly at: string; readonly durationMs: number };
  /** Foreign keys that would carry the effect on, such as `ON DELETE CASCADE: public.order_items(order_id)`. */
  readonly cascades: readonly string[];
  /** Why there is no estimate, or no count. */
  readonly unavailable?: string;
}

/** A command that waits for people, as the lane hands it over. The store derives hash and name. */
export interface HeldCommand {
  readonly connection: CompiledConnection;
  readonly subject: Subject;
  readonly sessionId: string;
  readonly target: HeldTarget;
  /** What would be forwarded, exactly. */
  readonly text: string;
  /** What goes with the text, such as bound parameters. */
  readonly values: readonly HeldValue[];
  /** search_path, role, environment variables, and whatever else changes the meaning. */
  readonly settings: Readonly<Record<string, string>>;
  readonly requirements: readonly ApprovalRequirement[];
  /** The command without its values: what `reuseFor` compares. Undefined: an approval covers these values only. */
  readonly fingerprint: string | undefined;
  readonly presentation: Presentation;
}

/** Where behind the connection a command runs: what the protocol names there. */
export type HeldTarget =
  | { readonly database: string; readonly loginUser?: never; readonly host?: never }
  | { readonly loginUser: string; readonly database?: never; readonly host?: never }
  /** A request over HTTP: `HOST[:PORT]` that it goes to. Its text is the request's line and headers, its one value the body. */
  | { readonly host: string; readonly database?: never; readonly loginUser?: never };

/** Bytes that go with a command, and how the target reads them. */
export interface HeldValue {
  readonly format: 'text' | 'binary';
  /** Null: the NULL of SQL. */
  readonly bytes: Uint8Array | null;
}

/** One held command in the store. Made by `ApprovalStore.submit`; identical pending commands of one requester share a request. */
export interface ApprovalTicket {
  /** Name of the ApprovalRequest, in the connection's namespace. */
  readonly name: string;
  readonly hash: string;
  readonly expiresAt: Date;
  /** Who may approve, in words, one entry for each requirement; for the notice that the agent reads. */
  readonly approvers: readonly string[];
  /** Already approved when it was submitted: by a vote on an earlier attempt, or within `reuseFor`. */
  readonly approved: boolean;
  /**
   * Resolves when people have decided or the time is over. Verified then: distinct valid signatures over this hash, by voters who
   * have the right now. @throws the signal's reason
   */
  decided(signal: AbortSignal): Promise<ApprovalDecision>;
  /**
   * Compare-and-set to Consumed, verifying everything once more: at most one caller over all replicas gets a grant. Called after
   * the command was decided again on the bundle in force.
   */
  consume(): Promise<ApprovalGrant | ApprovalRefusal>;
  /** The client left or cancelled. No effect on what was consumed. */
  withdraw(reason: string): Promise<void>;
  /** An approver asked for the exact count; the lane measures and tells. Returns the unsubscribe function. */
  onCountWanted(listener: () => void): () => void;
  previewed(preview: EffectPreview): Promise<void>;
}

export type ApprovalDecision =
  | { readonly state: 'Approved' }
  | { readonly state: 'Denied' | 'Expired' | 'Withdrawn'; readonly message: string };

/** The right to run the command once. `votes` go into the record with the release. */
export interface ApprovalGrant {
  readonly state: 'Consumed';
  readonly votes: readonly { readonly voter: string; readonly at: string; readonly reason?: string }[];
  /** What became of it; without this call the request stays Consumed with an unknown outcome, and is never run again. */
  settle(outcome: 'Executed' | 'Failed'): Promise<void>;
}

export interface ApprovalRefusal {
  readonly state: 'Refused';
  /** Stable code of `proxy/approval/errors.ts`. */
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** The port for approvals. In a cluster requests are objects of the API server; standalone they are YAML in the state folder. */
export interface ApprovalStore {
  /** Refused: no approvals set up, too many pending, too large to be shown, the store cannot be written. */
  submit(command: HeldCommand): Promise<ApprovalTicket | ApprovalRefusal>;
}
