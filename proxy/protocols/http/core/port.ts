import type { Duplex, Readable } from 'node:stream';
import type { Bundle, CompiledConnection, PolicyScope, SessionFacts } from '../../../../policy/bundle.ts';
import type { RecordStream } from '../../../../record/port.ts';
import type { VerifiedIdentity } from '../../../ports.ts';
import type { HttpReport } from './errors.ts';

/**
 * What both lanes over HTTP share: clients of HTTP/1.1 and HTTP/2, the way to a target, sessions. It knows no policy language, no
 * Kubernetes and nothing of what a request means. A lane brings an `HttpApplication`; for every request of a known caller it gets an
 * `Exchange`.
 */

/**
 * Names and values in turn, as in Node's `rawHeaders`, names in lower case and in the order of the message: `['accept', 'text/html']`.
 * See `headers.ts` for what is done with them. Values are Latin-1, as they are in HTTP.
 */
export type HeaderFields = readonly string[];

/** The head of a request, validated and normalised: nothing of it is the client's bytes. */
export interface RequestHead {
  /** A token, as sent: methods are case-sensitive. Never CONNECT or TRACE. */
  readonly method: string;
  readonly version: '1.0' | '1.1' | '2';
  readonly scheme: 'http' | 'https';
  /** `host[:port]` in lower case, from `:authority`, the absolute form or Host, which agree. IPv6 in brackets. */
  readonly authority: string;
  /** `authority` without port and brackets. */
  readonly host: string;
  /** Decoded once: starts with `/`, no dot segments, no `//`, no encoded slash or backslash, no control characters, valid UTF-8. */
  readonly path: string;
  /** Decoded; of `/a/b/` these are `a`, `b` and the empty string; of `/` none. */
  readonly segments: readonly string[];
  /** Decoded, in order; `+` is a space there. */
  readonly query: readonly (readonly [name: string, value: string])[];
  /** Encoded anew from `segments` and `query`: what goes to the target. */
  readonly target: string;
  /**
   * As sent, without hop-by-hop fields and those that `Connection` names, without what tells of identity (`authorization`, `cookie`
   * stays, `proxy-authorization`, `impersonate-*`, `x-remote-*`, `x-forwarded-*`, `forwarded`), and without `host` and `content-length`.
   */
  readonly headers: HeaderFields;
  /** Bytes of the body where the client says so. */
  readonly contentLength: number | undefined;
  readonly hasBody: boolean;
  /** The only protocol of an Upgrade in lower case, such as `websocket` or `spdy/3.1`; undefined: it asks for none. */
  readonly upgrade: string | undefined;
}

/** Head of an answer of a target. */
export interface ResponseHead {
  readonly status: number;
  /** Without hop-by-hop fields and those that `Connection` names. */
  readonly headers: HeaderFields;
}

/** Rewrites a body on its way: synchronous, with bounded memory. What it throws breaks the answer off. */
export interface BodyTransform {
  /** Undefined: nothing to send yet. The chunk is valid during the call only; what is returned may be a part of it. */
  write(chunk: Buffer): Buffer | undefined;
  /** What is left, at the end of a body that came whole. */
  end(): Buffer | undefined;
}

/** What becomes of an answer of a target before it goes to the client. */
export interface Rewritten {
  readonly head: ResponseHead;
  /** The body goes through it: then `content-length` of the target is not passed on. */
  readonly transform?: BodyTransform | undefined;
  /** What `transform` gives is as long as what it gets: then `content-length` stays. */
  readonly keepsLength?: boolean | undefined;
  /** Instead of the target's body, which is not read. */
  readonly body?: Buffer;
  /** What becomes of the trailers behind the body. Default: they go on. */
  readonly trailers?: ((fields: HeaderFields) => HeaderFields) | undefined;
  /** Called for bytes as the client gets them, after `transform`, such as for the record. Valid during the call only. */
  readonly sent?: ((chunk: Buffer) => void) | undefined;
}

/** What came of a request that was sent to the target. */
export interface Outcome {
  /** Status that the client got; 101 for an upgrade. */
  readonly status: number;
  /** Bytes of the body of the request as the target got them. */
  readonly requestBytes: number;
  /** Bytes of the body as the client got them. Of an upgrade: from the target to the client. */
  readonly responseBytes: number;
  /** The answer went out whole. */
  readonly complete: boolean;
  /** Why it did not: ours, with a stable code. */
  readonly report?: HttpReport;
}

export interface UpstreamRequest {
  readonly pool: UpstreamPool;
  /** Default: that of the client. */
  readonly method?: string;
  /** Path and query, encoded. Default: `head.target`. */
  readonly target?: string;
  /** Everything but `host`, framing and hop-by-hop fields, which are ours to write. Default: `head.headers`. */
  readonly headers?: HeaderFields;
  /** Host field. Default: host and port of the pool. */
  readonly host?: string;
}

export interface ForwardRequest extends UpstreamRequest {
  /** Instead of what is left of the client's body. Absent after `readBody`: what was read goes. */
  readonly body?: Buffer | undefined;
  /**
   * Called for bytes of the client's body as they go to the target, where the body streams. Valid during the call only; what it throws
   * breaks the request off.
   */
  readonly passing?: ((chunk: Buffer) => void) | undefined;
  /** Sees the head of the final answer and may change it. Not called for 1xx. What it throws refuses the exchange. */
  readonly respond?: (head: ResponseHead) => Rewritten | Promise<Rewritten>;
  /** Called once the answer has begun to go out, with what ends it before its time. */
  readonly onBegin?: (answer: AnswerControl) => void;
  /** From the whole request to the head of the answer, in milliseconds. Default: the pool's. 0: no limit. */
  readonly headersTimeoutMs?: number;
  /** Between two pieces of the answer, in milliseconds. Default 0: no limit, since streams and watches are silent for long. */
  readonly bodyTimeoutMs?: number | undefined;
}

/** Of an answer that goes out: how it is ended from this side. */
export interface AnswerControl {
  /**
   * Ends it with these bytes as its last, as whole; what the target sends after is thrown away. False, with nothing done: it is over, or
   * the client was told its length.
   */
  conclude(last: Buffer): boolean;
  /** Breaks it off, for this reason. */
  stop(report: HttpReport): void;
}

/** A request of our own beside an exchange, such as a dry run: small, buffered. */
export interface AskRequest extends UpstreamRequest {
  readonly body?: Buffer;
  /** Longest body of the answer, in bytes. */
  readonly limit: number;
  /** For all of it, in milliseconds. Default 30 s. */
  readonly timeoutMs?: number;
}

export interface AskAnswer extends ResponseHead {
  readonly body: Buffer;
}

/** What the target said to an upgrade. */
export type Upgraded =
  | {
      readonly status: 101;
      readonly headers: HeaderFields;
      /** Everything behind its 101. */
      readonly socket: Duplex;
    }
  | { readonly status: number; readonly headers: HeaderFields; readonly body: Buffer; readonly socket?: never };

/** One request of a known caller, until its answer is complete. One of `answer`, `forward`, `splice`, `accept` and `takeOver` ends it. */
export interface Exchange {
  readonly head: RequestHead;
  readonly identity: VerifiedIdentity;
  readonly session: HttpSession;
  /** Number of the request in its session, from 1. */
  readonly seq: number;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  /** Aborted when the client left, the session ended or the process stops; the reason is an error with a stable code. */
  readonly signal: AbortSignal;
  /** Why `signal` is aborted; undefined: it is not. Costs less to ask than a signal costs to make. */
  readonly stopped: HttpReport | undefined;
  /** True once something of an answer went out. */
  readonly answered: boolean;
  /**
   * The whole body, at most `limit` bytes. Told `Expect: 100-continue`, the client hears now that it may send. May be called again.
   * @throws HttpRefused SPE012 when it is longer; the signal's reason
   */
  readBody(limit: number): Promise<Buffer>;
  /** The body as a stream, for whoever reads as it goes. Not after `readBody`; `forward` then needs a `body`. */
  body(): Readable;
  /** Ends the exchange with an answer of ours. Content-Length is written here. */
  answer(status: number, headers: HeaderFields, body?: Buffer | string): Promise<void>;
  /** Ends the exchange with a refusal in the words of the application. */
  refuse(report: HttpReport): Promise<void>;
  /**
   * Sends the request to the target and relays the answer, back-pressure both ways. Where no answer can be had, or `respond` throws
   * before anything went out, the client gets a refusal and `complete` is false with its report. The record of the command comes first: whoever calls this has flushed it.
   */
  forward(request: ForwardRequest): Promise<Outcome>;
  /** A request of our own besides. @throws HttpRefused; the signal's reason */
  ask(request: AskRequest): Promise<AskAnswer>;
  /**
   * Sends a request that asks for an upgrade, and when the target agrees, joins the two connections until one ends. Any other answer
   * is relayed as by `forward`. `head.upgrade` must be set.
   * @param watch sees bytes as they pass, valid during the call only; what it throws ends both
   */
  splice(
    request: ForwardRequest & { readonly watch?: (from: 'client' | 'target', chunk: Buffer) => void },
  ): Promise<Outcome>;
  /** Answers 101 with these fields beside Connection and Upgrade, which are written here, and hands over what follows. */
  accept(headers: HeaderFields): Duplex;
  /** Hands over the connection of a client that asks for an upgrade, with nothing answered: for a library that writes its own 101. */
  takeOver(): Duplex;
  /** Asks the target for an upgrade in its own right. @throws HttpRefused; the signal's reason */
  connect(request: UpstreamRequest & { readonly upgrade: string }): Promise<Upgraded>;
}

/** One subject on one connection of a client: its requests share a record stream and end together. */
export interface HttpSession {
  readonly id: string;
  readonly identity: VerifiedIdentity;
  /** `ADDRESS:PORT` of the client. */
  readonly peer: string;
  readonly startedAt: Date;
  /** Where its events go. `session.start` and `session.authenticated` are in it and durable before the first exchange. */
  readonly stream: RecordStream;
  /** Of the bundle in force when the last request began, or `refresh` was called. */
  readonly bundle: Bundle;
  readonly connection: CompiledConnection;
  readonly scope: PolicyScope;
  /** For decisions; `commands` counts exchanges, `applicationName` is the client's User-Agent. */
  readonly facts: SessionFacts;
  /** Requests so far. */
  readonly requests: number;
  /** Counts a denial, for `session.end`. */
  denied(): void;
  /** Aborted when the session ends; its reason says why. */
  readonly signal: AbortSignal;
  /** Puts the session under the bundle in force, such as after a hold. Why it cannot go on, when it cannot: it has ended then. */
  refresh(): HttpReport | undefined;
  /** Why nothing may run now, whatever policy says of it: a gate, an identity that ended. */
  suspended(): HttpReport | undefined;
  /** Ends the session with its exchanges; the connection of the client is closed. */
  fail(report: HttpReport): void;
  /** The record cannot be written: ends the session. */
  recordFailed(error: Error): void;
}

/** An answer of a lane's own. */
export interface Answer {
  readonly status: number;
  readonly headers: HeaderFields;
  readonly body: Buffer | string;
}

/** What a lane brings. */
export interface HttpApplication {
  readonly protocol: 'Kubernetes' | 'HTTP';
  /**
   * One request of a known caller. Resolves when the exchange has ended. What it throws becomes a refusal where nothing went out yet,
   * and breaks the answer off otherwise.
   */
  handle(exchange: Exchange): Promise<void>;
  /** How a refusal looks in this lane. `head` is absent where the request was not understood. Core adds Content-Length. */
  refuse(report: HttpReport, context: { readonly head?: RequestHead; readonly session?: string }): Answer;
  /**
   * Which connection behind the address a request is for, and the head as this one sees it, such as without the prefix of a base URL
   * (`withSegments`). Undefined: none. Default: the first that there is.
   */
  choose?(
    connections: readonly CompiledConnection[],
    head: RequestHead,
  ): { readonly connection: CompiledConnection; readonly head?: RequestHead } | undefined;
  /**
   * The token that a request carries, where this lane takes it from elsewhere than `Authorization: Bearer` (or Basic with the token as
   * the password). `fields` are all of the client's, that one included.
   */
  token?(fields: HeaderFields): string | undefined;
  opened?(session: HttpSession): void;
  /** Called once, after the last exchange of the session has ended. */
  closed?(session: HttpSession, reason: string): void;
}

/** Whom an `UpstreamPool` talks to. Pools with equal members are one. */
export interface UpstreamTarget {
  /** `NAMESPACE/NAME` of the connection, for errors. */
  readonly label: string;
  readonly host: string;
  readonly port: number;
  /** Undefined: in the clear. */
  readonly tls?: {
    readonly mode: 'VerifyFull' | 'VerifyCA';
    /** PEM; undefined: the system's. */
    readonly certificateAuthorities?: string | undefined;
    /** Instead of `host`, for SNI and verification. */
    readonly serverName?: string | undefined;
    /** Both PEM. */
    readonly clientCertificate?: { readonly certificate: string; readonly key: string } | undefined;
  };
}

/** One request to a target, as it is written. */
export interface UpstreamSend {
  /** A token. */
  readonly method: string;
  /** Path and query, encoded. */
  readonly target: string;
  /** Names in lower case. Those of the connection and of framing are written by the pool and left out here, should they be there. */
  readonly headers: HeaderFields;
  /** Host field. Default: host and port of the pool. */
  readonly host?: string | undefined;
  readonly body: Buffer | Readable | null;
  /** Bytes of a body that is a stream; absent: it goes in chunks. Another number of bytes breaks the request off. */
  readonly contentLength?: number | undefined;
  /** The protocol that the connection is to be upgraded to. */
  readonly upgrade?: string | undefined;
  /** From the whole request to the head of the answer. Default: the pool's. 0: no limit. */
  readonly headersTimeoutMs?: number | undefined;
  /** Between two pieces of the answer. Default 0: no limit. */
  readonly bodyTimeoutMs?: number | undefined;
  /** On a connection of its own, opened for it: none that was kept. */
  readonly fresh?: boolean | undefined;
}

/** Of a request under way. After its end, and after `abort`, none of them does anything. */
export interface SendControl {
  /** What was read already may still come: no more than one read takes. */
  pause(): void;
  resume(): void;
  /** Closes the connection. The handler hears nothing more. */
  abort(): void;
}

/** What comes back. Nothing is called before `send` returns; `onEnd`, `onUpgrade` and `onError` are the last call. */
export interface AnswerHandler {
  /**
   * A head, those of 1xx too. Names are in lower case; what is of the connection (RFC 9110, section 7.6.1) or between neighbours is
   * left out, with what `Connection` names.
   */
  onHead(status: number, fields: HeaderFields): void;
  /** A piece of the body, in the shared read buffer: valid during the call only. */
  onData(chunk: Buffer): void;
  /** The read that brought the final head is used up and the answer goes on: what waits for more need not wait. */
  onPartial(): void;
  /** @param trailers those that may go on */
  onEnd(trailers: HeaderFields): void;
  /** The target has agreed to the upgrade; `socket` carries everything behind its 101. */
  onUpgrade(fields: HeaderFields, socket: Duplex): void;
  /** @param when `reused`: the connection had carried a request before; `answered`: something of an answer had come */
  onError(error: Error, when: { readonly reused: boolean; readonly answered: boolean }): void;
}

/** Connections to one target, HTTP/1.1, kept alive. */
export interface UpstreamPool {
  readonly target: UpstreamTarget;
  /**
   * For this folder: lanes send through an exchange.
   * @throws HttpRefused SPE021, the pool takes no more; SPE015, the request cannot be written. The handler hears nothing then
   */
  send(request: UpstreamSend, handler: AnswerHandler): SendControl;
  /** Connections opened so far. */
  readonly opened: number;
  /** Ask for another: this one takes no more requests. */
  readonly closed: boolean;
  /** A connection of its own, verified, for whoever speaks over it himself. @throws UpstreamError; the signal's reason */
  dial(signal: AbortSignal): Promise<Duplex>;
}

/** Pools of a process; those that nobody has used for a while are closed. */
export interface Upstreams {
  pool(target: UpstreamTarget): UpstreamPool;
  /** Closes all of them, at once. */
  close(): Promise<void>;
}
