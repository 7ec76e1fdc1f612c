import type { SecureContext } from 'node:tls';
import type { Bundle, CompiledConnection, PolicyScope } from '../policy/bundle.ts';
import type { CatalogColumnName } from '../policy/masking-coverage.ts';
import type { SegmentOwner } from '../record/owner.ts';
import type { RecordingSink } from '../record/port.ts';
import type { Wire } from './listener/wire.ts';
import type {
  AdmissionGate,
  ApprovalStore,
  BundleSource,
  ClusterIdentity,
  CredentialSource,
  Proof,
  SshHostKeys,
  TokenVerifier,
  VerifiedIdentity,
} from './ports.ts';
import type { Turn } from './session/turn.ts';

/** One protocol, as the frame of a proxy process knows it: the frame has addresses, bundles and the clock; a lane has sessions. */
export interface Lane {
  readonly protocol: CompiledConnection['protocol'];
  /**
   * Serves one accepted client to its end. `connections` are those behind the address that was dialled; with `proof` the client is not
   * asked who it is.
   */
  serve(
    wire: Wire,
    connections: readonly { readonly namespace: string; readonly name: string }[],
    signal: AbortSignal,
    proof?: Proof,
  ): Promise<void>;
  readonly sessions: Iterable<OpenSession>;
  /** Once a second: ends sessions whose time, or whose right to be here, is over. */
  sweep(now: number): void;
  /** Ends sessions as they become idle; resolves when none is left or the signal fires. */
  drain(signal: AbortSignal): Promise<void>;
  /** Where a protocol cancels over another connection: false when the session is not here. */
  cancel?(processId: number, secret: Uint8Array): boolean;
  /** Where a target has a catalog: its columns, once it was read for somebody; the same array as long as they are the same. */
  columns?(connection: CompiledConnection): readonly CatalogColumnName[] | undefined;
  /** Gives back what the lane holds besides sessions, such as credentials. */
  close(signal: AbortSignal): Promise<void>;
}

/** What is counted of a session, whatever its protocol. */
export interface OpenSession {
  readonly connection: CompiledConnection;
  readonly identity: VerifiedIdentity;
}

/** What every lane of a process gets from it. */
export interface LaneContext {
  readonly bundles: BundleSource;
  readonly gate: AdmissionGate;
  readonly approvals: ApprovalStore;
  readonly credentials: CredentialSource;
  readonly verifier: TokenVerifier;
  /** Undefined: Sallyport does not run in a cluster. */
  readonly cluster: ClusterIdentity | undefined;
  readonly recorder: RecordingSink;
  readonly turn: Turn;
  readonly observer: LaneObserver;
  readonly credentialObserver: CredentialObserver;
  readonly log: LaneLog;
  /** The certificate of this gateway now; undefined: TLS is not offered. */
  readonly tls: (() => SecureContext) | undefined;
  readonly plaintextLoopback: boolean;
  readonly sshHostKeys: SshHostKeys;
  readonly limits: LaneLimits;
  readonly syncReads: boolean;
  /** Between two notices to a client whose command is held, in milliseconds. */
  readonly holdNoticeMs: number;
  /** How long a request of a client that cannot be told anything meanwhile is held before it is asked to come again, in milliseconds. */
  readonly holdInBandMs: number;
  /** How long the target may take until it is ready, in milliseconds. */
  readonly connectTimeoutMs: number;
  /** Commands of this subject on this connection in the running minute, this one included. */
  countCommand(connection: CompiledConnection, username: string): number;
  /** For the log: what went wrong where nobody waits for it. */
  failed(session: string, what: string, error: Error): void;
  /** Index of this worker process, from 0. */
  readonly worker: number;
  /** Whose what is made for sessions is: how an installation knows its own, and which of its processes live. */
  readonly installation: {
    readonly id: string;
    readonly process: SegmentOwner;
    readonly isAlive: (owner: SegmentOwner) => boolean;
  };
  /** A request to cancel whose key another worker gave out. */
  readonly cancelElsewhere: (worker: number, processId: number, secret: Buffer) => void;
  /** Nothing new is begun once it is aborted. */
  readonly stopping: AbortSignal;
}

export interface LaneLimits {
  /** Longest command, in bytes. */
  readonly maxStatementBytes: number;
  readonly maxMessageBytes: number;
  /** From the first byte of a client to its identity. */
  readonly authenticationTimeoutMs: number;
}

/** Structured, one line each; what is logged names no subject's data. */
export interface LaneLog {
  debug(detail: object, message: string): void;
  info(detail: object, message: string): void;
  warn(detail: object, message: string): void;
  error(detail: object, message: string): void;
}

/** For logs and metrics: called, never waited for. */
export interface LaneObserver {
  sessionOpened(connection: CompiledConnection, identity: VerifiedIdentity, session: string): void;
  sessionClosed(connection: CompiledConnection, session: string, reason: string): void;
  refused(peer: string, error: Error): void;
}

/** For logs and metrics: called, never waited for. */
export interface CredentialObserver {
  /** A credential that was made here is gone, or ends by itself. @param lifetimeSeconds from its issue */
  ended(connection: CompiledConnection, type: 'role' | 'certificate' | 'token', lifetimeSeconds: number): void;
  /** Logins that nobody had dropped. */
  swept(connection: CompiledConnection, count: number): void;
  warn(detail: object, message: string): void;
}

/** Of what a lane makes for one subject on one connection under one bundle. */
export interface Judged {
  readonly scope: PolicyScope;
}

/** Undefined: no policy names the subject here. */
export type Judgements<J extends Judged> = (
  bundle: Bundle,
  connection: CompiledConnection,
  identity: VerifiedIdentity,
) => J | undefined;
