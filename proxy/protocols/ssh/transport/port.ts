/** What the transport offers to the rest of the lane: two legs, each from the first byte to the end of user authentication. */
import type { Socket } from 'node:net';

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
  onDrain(listener: () => void): void;
  /** Stops reading from the peer; a few messages that were read already still come later, after `resume`. Counted: each `pause` needs its `resume`. */
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

export type AuthMethod = 'none' | 'password' | 'keyboard-interactive' | 'publickey';

/** One attempt to sign in, as the client made it (RFC 4252, RFC 4256). */
export type AuthAttempt = { readonly username: string } & (
  | { readonly method: 'none' }
  | { readonly method: 'password'; readonly password: string }
  /** Answers to the prompts of `AcceptOptions.prompts`, in their order. */
  | { readonly method: 'keyboard-interactive'; readonly answers: readonly string[] }
  | {
      readonly method: 'publickey';
      /** Of the signature, such as `ssh-ed25519-cert-v01@openssh.com` or `rsa-sha2-512`. */
      readonly algorithm: string;
      /** Public key or certificate as it is on the wire (RFC 4253, section 6.6; PROTOCOL.certkeys). */
      readonly key: Buffer;
      /** False: the client only asks whether this key would do. True: it has proved to hold the private key (of the certificate). */
      readonly verified: boolean;
    }
);

export type AuthOutcome<I> =
  | { readonly accepted: I }
  /** `reason` is for the log and the record; the client learns which methods can go on. */
  | { readonly rejected: string; readonly partial?: boolean };

/** Called for each attempt, one at a time. Whatever it throws ends the connection. */
export type Authenticate<I> = (attempt: AuthAttempt, signal: AbortSignal) => Promise<AuthOutcome<I>> | AuthOutcome<I>;

/** A key that a server proves itself with. */
export interface HostKey {
  /** PKCS#8 PEM or OpenSSH's own format, without passphrase. */
  readonly privateKey: string | Buffer;
  /** Host certificate for it, as on the wire: offered besides the plain key. Ed25519, ECDSA and RSA. */
  readonly certificate?: Buffer;
}

export interface AcceptOptions<I> {
  /** At least one; the first of each type is used. */
  readonly hostKeys: readonly HostKey[];
  /** What is told to clients as methods that can go on, in this order. `none` needs not be named. */
  readonly methods: readonly Exclude<AuthMethod, 'none'>[];
  readonly authenticate: Authenticate<I>;
  /** For keyboard-interactive. Default: one prompt `Token: `, not echoed. */
  readonly prompts?: readonly { readonly prompt: string; readonly echo: boolean }[];
  /** Shown by clients before they are asked for anything (RFC 4252, section 5.4). */
  readonly banner?: string;
  /** From the first byte until the client is signed in (the target's sign-in does not count). */
  readonly loginGraceMs: number;
  /** Failed attempts, `none` not counted. */
  readonly maxAttempts: number;
  readonly signal: AbortSignal;
  readonly debug?: (message: string) => void;
}

export interface AcceptedClient<I> {
  readonly layer: ConnectionLayer;
  /** Login user that the client named. */
  readonly username: string;
  readonly identity: I;
  readonly method: AuthMethod;
  readonly clientVersion: string;
  /** Tells the client that it is in: after the target's sign-in. Before it nothing reaches the layer's listener. */
  finish(): void;
  /** Instead of `finish`: shows the text (several lines are fine) and ends the connection. */
  refuse(text: string): void;
}

/** Why a client was not let in. `rejected` are the reasons that `authenticate` gave. */
export type ClientFailureCode = 'timeout' | 'attempts' | 'protocol' | 'closed' | 'aborted';

/** A key or authority that a target may prove itself with; as of a line in known_hosts, whose hosts were matched already. */
export interface PinnedHostKey {
  readonly type: 'key' | 'authority';
  /** Public key as on the wire. */
  readonly key: Buffer;
}

/** Proof of a login. cred makes them; all keys in PKCS#8 PEM or OpenSSH's format. */
export type SshCredential =
  | {
      readonly type: 'certificate';
      readonly username: string;
      readonly privateKey: string | Buffer;
      readonly certificate: Buffer;
    }
  | { readonly type: 'key'; readonly username: string; readonly privateKey: string | Buffer }
  | { readonly type: 'password'; readonly username: string; readonly password: string };

export interface ConnectOptions {
  /** Without a match nobody signs in: nothing is trusted on first use. */
  readonly hostKeys: readonly PinnedHostKey[];
  /** Principals, one of which a host certificate must hold: the host as configured. */
  readonly hostNames: readonly string[];
  readonly credential: SshCredential;
  /** What the client calls itself: some answers of a target depend on it. */
  readonly clientVersion?: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly now?: () => number;
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

/** @see acceptClient in `server.ts`, connectTarget in `client.ts` */
export type Accept = <I>(socket: Socket, options: AcceptOptions<I>) => Promise<AcceptedClient<I>>;
export type Connect = (socket: Socket, options: ConnectOptions) => Promise<ConnectionLayer>;

export class ClientFailure extends Error {
  override readonly name = 'ClientFailure';
  readonly code: ClientFailureCode;
  readonly rejected: readonly string[];
  constructor(code: ClientFailureCode, message: string, rejected: readonly string[] = [], cause?: unknown) {
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
