/**
 * The ports that hide where the proxy runs: standalone (folder, state directory) or in a cluster. Nothing in the data path
 * may know which of the two it is.
 */
import type { Bundle, CompiledConnection } from '../policy/bundle.ts';
import type { ApprovalRequirement } from '../policy/decision.ts';
import type { Subject } from '../policy/subject.ts';

export interface BundleSource {
  /** The bundle in force. Synchronous: it is read for every command. */
  current(): Bundle;
  /** Called after each swap; returns the unsubscribe function. */
  onChange(listener: (bundle: Bundle) => void): () => void;
}

export interface VerifiedIdentity {
  readonly subject: Subject;
  /** When the token, plus the issuer's session grace, ends: the session ends then. */
  readonly sessionExpiresAt: Date;
  /** `jti` or a digest of the token, for the record; never the token. */
  readonly tokenId: string;
  /** Seconds from iat to exp, for the metric. */
  readonly tokenLifetimeSeconds: number;
}

export interface TokenVerifier {
  /**
   * @param peer address of the client without port, or undefined when it is not known; some issuers are for this machine only
   * @throws IdentityError with a stable code. Never logs the token.
   */
  verify(token: string, signal: AbortSignal, peer?: string): Promise<VerifiedIdentity>;
  /** For the OAUTHBEARER discovery reply (RFC 7628 section 3.2.2): issuers that a client may ask; may be empty. */
  readonly discovery: { readonly openidConfiguration?: string; readonly scope?: string };
}

/** What signs in to a PostgreSQL target. Values live in memory only for as long as a connection is set up. */
export type PostgresCredential =
  | { readonly type: 'password'; readonly username: string; readonly password: string }
  | { readonly type: 'certificate'; readonly username: string; readonly certificate: string; readonly key: string };

export interface CredentialSource {
  /** The value of the reference now: re-read when it changed. @throws CredentialError with a stable code. */
  postgres(connection: CompiledConnection): Promise<PostgresCredential>;
  /** PEM of `target.tls.caRef`, or undefined for the system's authorities. */
  certificateAuthorities(connection: CompiledConnection): Promise<string | undefined>;
  /** Key bytes for tokenize; makes and keeps one per namespace when `ref` is absent. */
  tokenKey(
    namespace: string,
    ref?: { readonly namespace: string; readonly name: string; readonly key: string },
  ): Promise<Uint8Array>;
}

/** A command that waits for people, as the lane hands it over. The store derives hash and name. */
export interface HeldCommand {
  readonly connection: CompiledConnection;
  readonly subject: Subject;
  readonly sessionId: string;
  readonly database: string;
  readonly text: string;
  readonly parameters: readonly (Uint8Array | null)[];
  /** search_path, role and whatever else changes the meaning. */
  readonly settings: Readonly<Record<string, string>>;
  readonly requirements: readonly ApprovalRequirement[];
}

export type ApprovalOutcome =
  | { readonly state: 'Released'; readonly name: string }
  | {
      readonly state: 'Denied' | 'Expired' | 'Withdrawn' | 'Unavailable';
      readonly name?: string;
      readonly message: string;
    };

/** The port for approvals. Until a store is configured, every held command is refused with the rule's name. */
export interface ApprovalStore {
  request(command: HeldCommand, signal: AbortSignal): Promise<ApprovalOutcome>;
}
