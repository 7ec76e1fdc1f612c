/** What the bridge asks, and what it offers to those who watch or own a channel. RFC 4254 throughout. */
import type { ConnectionLayer } from '../transport/port.ts';

export type Side = 'client' | 'target';
/** `data` is stdin or stdout (SSH_MSG_CHANNEL_DATA), `stderr` extended data of type 1. */
export type DataStream = 'data' | 'stderr';

/** One channel for as long as it lives. The same object in every call about it, so that it can be the key of a WeakMap. */
export interface ChannelInfo {
  /** Counts the channels of a connection, from 0; never used again. */
  readonly serial: number;
  readonly opener: Side;
  /** `session`, `direct-tcpip`, `forwarded-tcpip`, … */
  readonly type: string;
}

/** What a channel is opened for (RFC 4254, sections 6.1, 6.3.2 and 7.2; OpenSSH's PROTOCOL, sections 2.3 and 2.4). */
export type ChannelPurpose =
  | { readonly type: 'session' }
  | {
      readonly type: 'direct-tcpip' | 'forwarded-tcpip';
      readonly host: string;
      readonly port: number;
      readonly originHost: string;
      readonly originPort: number;
    }
  | { readonly type: 'direct-streamlocal@openssh.com' | 'forwarded-streamlocal@openssh.com'; readonly path: string }
  | { readonly type: 'x11'; readonly originHost: string; readonly originPort: number }
  | { readonly type: 'auth-agent@openssh.com' }
  /** Everything else, `tun@openssh.com` included. */
  | { readonly type: 'other'; readonly name: string };

/** A request on a channel (RFC 4254, section 6). Names and texts were checked to be UTF-8, lengths to be within the message. */
export type ChannelRequest =
  | { readonly type: 'exec'; readonly command: string /** as sent */; readonly bytes: Buffer }
  | { readonly type: 'shell' }
  | { readonly type: 'subsystem'; readonly name: string }
  | {
      readonly type: 'pty-req';
      readonly term: string;
      readonly columns: number;
      readonly rows: number;
      readonly modes: Buffer;
    }
  | { readonly type: 'window-change'; readonly columns: number; readonly rows: number }
  | { readonly type: 'env'; readonly name: string; readonly value: string }
  | { readonly type: 'signal'; readonly name: string }
  | { readonly type: 'break'; readonly milliseconds: number }
  | { readonly type: 'x11-req' }
  | { readonly type: 'auth-agent-req@openssh.com' }
  | { readonly type: 'exit-status'; readonly status: number }
  | { readonly type: 'exit-signal'; readonly name: string; readonly coreDumped: boolean; readonly message: string }
  /** The peer reads no more of this channel (OpenSSH's PROTOCOL, section 2.1). */
  | { readonly type: 'eow@openssh.com' }
  | { readonly type: 'keepalive@openssh.com' }
  /** Not UTF-8, NUL inside, or a name that is not known. */
  | { readonly type: 'other'; readonly name: string };

/** A global request (RFC 4254, sections 4 and 7.1; OpenSSH's PROTOCOL). */
export type GlobalRequest =
  | { readonly type: 'tcpip-forward' | 'cancel-tcpip-forward'; readonly host: string; readonly port: number }
  | {
      readonly type: 'streamlocal-forward@openssh.com' | 'cancel-streamlocal-forward@openssh.com';
      readonly path: string;
    }
  | { readonly type: 'no-more-sessions@openssh.com' }
  | { readonly type: 'other'; readonly name: string };

/** Sees what passes, in order, and changes nothing. */
export interface ChannelObserver {
  /**
   * One piece of data, forwarded already; valid only during the call. A promise makes the sender's whole connection wait until it is
   * settled: who records slowly slows the stream. A rejection ends the connection.
   */
  data?(piece: Buffer, from: Side, stream: DataStream): void | Promise<void>;
  /** A request that was forwarded, such as `window-change` or `exit-status`. */
  request?(request: ChannelRequest, from: Side): void;
  end?(from: Side): void;
}

/** Where the owner of a channel puts what each side shall get. */
export interface ChannelOutlet {
  /**
   * Sends to one side within its window and packet size; bytes are kept, not copied. Returns a promise when they had to wait, settled
   * when they are out: awaiting it in `data` gives back pressure. To the target only `data` exists.
   */
  send(to: Side, stream: DataStream, bytes: Buffer): void | Promise<void>;
  /** Ends the channel on both sides, after what was sent: text on the client's stderr, exit status. */
  abort(text: string, exitStatus: number): void;
}

/**
 * Owns the data of a channel: nothing passes by itself. Requests, EOF and CLOSE still pass, in order after the data before them. Pieces of
 * one direction come one after the other: the next one when the promise of the last is settled. A rejection ends the connection.
 */
export interface ChannelOwner {
  /** The piece is the owner's. The sender's window opens again when it is done. */
  data(piece: Buffer, from: Side, stream: DataStream): void | Promise<void>;
  /** The sender has sent EOF or CLOSE: last chance to send what was kept. Called once for each side. */
  end?(from: Side): void | Promise<void>;
  request?(request: ChannelRequest, from: Side): void;
  /** The client reads no more of the channel, or has closed it: told at once, before what waits in front of that. */
  withdrawn?(): void;
}

/** Made when the request that starts the channel's program is forwarded. */
export type OwnChannel = (outlet: ChannelOutlet) => ChannelOwner;

export type OpenVerdict =
  /** `until`: both sides get CLOSE once it is aborted. */
  | { readonly verdict: 'forward'; readonly observer?: ChannelObserver; readonly until?: AbortSignal }
  /**
   * Answered by the bridge: the target learns of the channel when a request that starts a program is forwarded with `via`. For sessions
   * of clients.
   */
  | { readonly verdict: 'defer' }
  /** SSH_MSG_CHANNEL_OPEN_FAILURE. @see OpenFailure */
  | { readonly verdict: 'refuse'; readonly reason: number; readonly text: string };

/** RFC 4254, section 5.1. */
export const OpenFailure = {
  ADMINISTRATIVELY_PROHIBITED: 1,
  CONNECT_FAILED: 2,
  UNKNOWN_CHANNEL_TYPE: 3,
  RESOURCE_SHORTAGE: 4,
} as const;

export type RequestVerdict =
  | {
      readonly verdict: 'forward';
      /** For what follows on this channel; replaces an earlier one. */
      readonly observer?: ChannelObserver;
      readonly own?: OwnChannel;
      /** For deferred channels: the connection that the channel is opened on, closed with the channel. */
      readonly via?: ConnectionLayer;
    }
  /** SSH_MSG_CHANNEL_FAILURE, where a reply is wanted; the channel lives on. */
  | { readonly verdict: 'fail' }
  /** Success, the text on stderr, an exit status, EOF, CLOSE: the connection lives on. Lines end with `\n`. */
  | { readonly verdict: 'deny'; readonly text: string; readonly exitStatus?: number };

export type GlobalVerdict = { readonly verdict: 'forward' } | { readonly verdict: 'fail' };

/** The case of one request on a channel. */
export interface RequestCall {
  readonly channel: ChannelInfo;
  readonly request: ChannelRequest;
  /** Fires when the client withdraws while the verdict is pending: signal, `eow@openssh.com`, CLOSE, or the end of the connection. EOF is no withdrawal: `ssh -n` sends it at once. */
  readonly signal: AbortSignal;
  /**
   * While the verdict is pending the client may type, and Ctrl-C withdraws. For channels with a terminal, where it comes as a byte: servers
   * give no window before a program runs, so that nothing would be heard. The program has to be owned when it is forwarded.
   */
  listen(): void;
  /** Text on the client's stderr now, while the verdict is pending; at most 4 KiB in all, what is more is cut. */
  note(text: string): void;
}

/**
 * Decides. A pending promise holds the request: what the client sends on that channel afterwards waits in order (bounded), other channels
 * go on. A rejection ends the connection. Without a promise nothing waits.
 */
export interface Gatekeeper {
  /** By clients and by targets (`channel.opener`). */
  openChannel(channel: ChannelInfo, purpose: ChannelPurpose): OpenVerdict | Promise<OpenVerdict>;
  /**
   * Requests of clients. Not asked, and forwarded always: `window-change`, `signal`, `break`, `eow@openssh.com`, `keepalive@openssh.com`.
   * Requests of targets are not asked either.
   */
  request(call: RequestCall): RequestVerdict | Promise<RequestVerdict>;
  /** Of clients. `keepalive@openssh.com` is not asked; `hostkeys-*` of targets are dropped, other requests of targets fail. */
  globalRequest(request: GlobalRequest): GlobalVerdict | Promise<GlobalVerdict>;
  /** Both sides are through with it, or the connection ended. Called once for each channel that was asked about. */
  channelClosed(channel: ChannelInfo): void;
}

export interface BridgeLimits {
  /** Open at once, of both sides. Over it: SSH_MSG_CHANNEL_OPEN_FAILURE with a text. */
  readonly channels: number;
  /** Data of both directions; over it the connection ends and its text says so. */
  readonly bytes?: number;
}

export interface BridgeOptions {
  readonly client: ConnectionLayer;
  /** Undefined: every session is deferred, other channels are refused. */
  readonly target: ConnectionLayer | undefined;
  readonly gatekeeper: Gatekeeper;
  readonly limits: BridgeLimits;
  readonly debug?: (message: string) => void;
}

/** How it ended, for the record. */
export type BridgeEnd =
  | { readonly by: 'client' | 'target'; readonly error: Error | undefined }
  /** By `end`, by a limit, by a peer's violation or a gatekeeper's failure; `text` is what the client was told. */
  | { readonly by: 'gateway'; readonly text: string; readonly error: Error | undefined };

export interface Bridge {
  readonly ended: Promise<BridgeEnd>;
  /** Ends the connection: the text goes to the client as the reason of the disconnect. */
  end(text: string, reason?: number): void;
  /** Channels open now. */
  readonly channels: number;
  /** Bytes of channel data so far, from each side. */
  readonly bytes: { readonly client: number; readonly target: number };
}
