/** What the transport offers to the rest of the lane: two legs, each from the first byte to the end of user authentication. */
import type { KeyObject } from 'node:crypto';
import type { Wire } from '../../../listener/wire.ts';
import type { SshCredential, VerifiedIdentity } from '../../../ports.ts';
import type { Authenticate, OfferedMethod, SignInMethod } from '../auth/port.ts';

/**
 * The connection protocol of one leg (RFC 4254): payloads with message numbers 80 to 127, decrypted. Key exchanges happen underneath,
 * also while much is under way.
 */
export interface ConnectionLayer {
  /** What the peer calls itself, such as `OpenSSH_9.2p1 Debian-2`. */
  readonly peerVersion: string;
  /**
   * Sends one message. The payload may not be changed until the next turn of the event loop. Returns false when more than the
   * high-water mark waits to be written (or a key exchange is under way): stop until the drain listener is called. What is sent
   * nevertheless is kept. Sending on a closed layer does nothing.
   */
  send(payload: Buffer): boolean;
  readonly congested: boolean;
  /** The payload is the listener's: it may keep and change it. One listener; messages wait for it. */
  onPayload(listener: (payload: Buffer) => void): void;
  /** A payload that came from here is of no use any more, to anybody: gives memory of bulk data back without the collector. */
  release?(payload: Buffer): void;
  onDrain(listener: () => void): void;
  /** Stops reading from the peer; what was read already (64 KiB at most) still comes. A key exchange that is under way is finished first. */
  pause(): void;
  resume(): void;
  /** Answers a message that is not understood (RFC 4253, section 11.4); called within the payload listener. */
  unimplemented(): void;
  /** Says why (RFC 4253, section 11.1; control characters are left out), then closes. @param reason a `DisconnectReason` */
  disconnect(reason: number, text: string): void;
  /** Resolves once, at the end: undefined after a goodbye of either side, else what went wrong. Never rejects. */
  readonly closed: Promise<Error | undefined>;
}

/** RFC 4253, section 11.1. */
export const DisconnectReason = {
  HOST_NOT_ALLOWED: 1,
  PROTOCOL_ERROR: 2,
  KEY_EXCHANGE_FAILED: 3,
  SERVICE_NOT_AVAILABLE: 7,
  HOST_KEY_NOT_VERIFIABLE: 9,
  CONNECTION_LOST: 10,
  BY_APPLICATION: 11,
  TOO_MANY_CONNECTIONS: 12,
  NO_MORE_AUTH_METHODS_AVAILABLE: 14,
} as const;

/** A key that a server proves itself with. */
export interface HostKey {
  /** As text: in OpenSSH's format or PEM, without passphrase. */
  readonly privateKey: KeyObject | Buffer | string;
  /** Host certificate for it, as on the wire: offered besides the plain key. Ed25519, ECDSA and RSA. */
  readonly certificate?: Buffer;
}

export interface AcceptOptions {
  /** At least one; the first of each type is used. */
  readonly hostKeys: readonly HostKey[];
  /** What clients are told can go on, in this order. Empty or `none` alone: nothing else than `none` is tried. */
  readonly methods: readonly OfferedMethod[];
  readonly authenticate: Authenticate;
  /** What keyboard-interactive asks for, not echoed. Default: `Token: `. */
  readonly prompt?: string;
  /** Shown by clients before they are asked for anything (RFC 4252, section 5.4). */
  readonly banner?: string;
  /** From the first byte until the client is signed in (the target's sign-in does not count). */
  readonly loginGraceMs: number;
  /** Failed attempts, `none` not counted. */
  readonly maxAttempts: number;
  readonly signal: AbortSignal;
  /** Bytes of one direction after which new keys are agreed on. Default: a gigabyte. */
  readonly rekeyBytes?: number;
  readonly debug?: (message: string) => void;
}

export interface AcceptedClient {
  readonly layer: ConnectionLayer;
  /** Login user that the client named. */
  readonly username: string;
  readonly identity: VerifiedIdentity;
  readonly method: SignInMethod;
  readonly clientVersion: string;
  /** Tells the client that it is in: after the target's sign-in. Before it nothing reaches the layer's listener. */
  finish(): void;
  /** Before `finish`: shows a text of the target's as it is (RFC 4252, section 5.4). */
  banner(text: string): void;
  /** Instead of `finish`: shows the text (several lines are fine) and ends the connection. */
  refuse(text: string): void;
}

/** Why a client was not let in. */
export type ClientFailureCode = 'timeout' | 'attempts' | 'protocol' | 'closed' | 'aborted';

/** A key or authority that a target may prove itself with; as of a line in known_hosts, whose hosts were matched already. */
export interface PinnedHostKey {
  readonly type: 'key' | 'authority';
  /** Public key as on the wire. */
  readonly key: Buffer;
}

export interface ConnectOptions {
  /** Without a match nobody signs in: nothing is trusted on first use. */
  readonly hostKeys: readonly PinnedHostKey[];
  /** Principals, one of which a host certificate must hold: the host as configured. */
  readonly hostNames: readonly string[];
  /** A function is called once the target has proved itself, and may take its time: what it waits for began before. */
  readonly credential: SshCredential | (() => Promise<SshCredential>);
  /** What the client calls itself: some answers of a target depend on it. */
  readonly clientVersion?: string;
  /** Gets what the target shows to who signs in (RFC 4252, section 5.4), once it has let us in. */
  readonly onBanner?: (text: string) => void;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly now?: () => number;
  /** Bytes of one direction after which new keys are agreed on. Default: a gigabyte. */
  readonly rekeyBytes?: number;
  readonly debug?: (message: string) => void;
}

/** How a target's connection came to nothing. */
export type TargetFailureCode =
  | 'timeout'
  | 'closed'
  | 'protocol'
  /** No common algorithm. */
  | 'negotiation'
  | 'host-key'
  /** The target refused the credential. */
  | 'authentication'
  | 'aborted';

/** @see acceptClient in `accept.ts`, connectTarget in `connect.ts`. Both take a paused wire over. */
export type Accept = (wire: Wire, options: AcceptOptions) => Promise<AcceptedClient>;
export type Connect = (wire: Wire, options: ConnectOptions) => Promise<ConnectionLayer>;

export class ClientFailure extends Error {
  override readonly name = 'ClientFailure';
  readonly code: ClientFailureCode;
  /** What `authenticate` said of each attempt. */
  readonly rejected: readonly Error[];
  constructor(code: ClientFailureCode, message: string, rejected: readonly Error[] = [], cause?: unknown) {
    super(message, { cause });
    this.code = code;
    this.rejected = rejected;
  }
}

export class TargetFailure extends Error {
  override readonly name = 'TargetFailure';
  readonly code: TargetFailureCode;
  constructor(code: TargetFailureCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}
