import type { Wire } from '../../../../listener/wire.ts';
import type { AnswerHandler, SendControl, UpstreamSend } from '../port.ts';
import { wireStream } from '../wire/stream.ts';
import { AnswerParser } from './answer-parser.ts';
import { TargetFailure } from './failure.ts';
import { type SentBody, sendBody } from './request-body.ts';
import { isLast } from './request-head.ts';

/** One connection to a target: a request at a time, and its answer. Classes for the sake of speed: no closures for each request. */

/** How long a connection is kept where the target does not say: many close after 5 s. In milliseconds. */
const KEEP_ALIVE_MS = 4000;
const KEEP_ALIVE_MAX_MS = 60_000;
/** A request that was on its way when the target's time was up would be lost. */
const KEEP_ALIVE_MARGIN_MS = 1000;
const NEVER = Number.POSITIVE_INFINITY;

/** What a connection needs of its pool. */
export interface ConnectionOwner {
  /** From a request to the head of its answer, where the request does not say. */
  readonly headersTimeoutMs: number;
  /** Monotonic, in milliseconds. */
  now(): number;
  /** `expire` is wanted then. */
  watch(deadline: number): void;
  /** It may carry another request. */
  released(connection: TargetConnection): void;
  /** It is closed, or its pool's no more. */
  gone(connection: TargetConnection): void;
}

/** One request, from when it was sent to its end. */
export class Call implements SendControl {
  readonly request: UpstreamSend;
  readonly handler: AnswerHandler;
  /** Its head, as it is written. */
  readonly text: string;
  /** While it is on one. */
  connection: TargetConnection | undefined;
  /** Gives the connection up that is being opened for it. */
  cancel: (() => void) | undefined;
  over = false;

  constructor(request: UpstreamSend, handler: AnswerHandler, text: string) {
    this.request = request;
    this.handler = handler;
    this.text = text;
  }

  pause(): void {
    this.connection?.pause();
  }

  resume(): void {
    this.connection?.resume();
  }

  abort(): void {
    if (this.over) return;
    this.over = true;
    this.cancel?.();
    this.connection?.destroy();
  }
}

export class TargetConnection {
  readonly wire: Wire;
  /** When it is asked to `expire`. */
  deadline = NEVER;
  readonly #owner: ConnectionOwner;
  readonly #parser = new AnswerParser();
  #call: Call | undefined;
  #body: SentBody | undefined;
  #bodyWhole = true;
  #requests = 0;
  #paused = false;
  /** `onPartial` was called, or need not be. */
  #told = false;
  #writeError: Error | undefined;

  constructor(wire: Wire, owner: ConnectionOwner) {
    this.wire = wire;
    this.#owner = owner;
    wire.onBytes = (chunk) => this.#bytes(chunk);
    wire.onEnd = () => this.#ended();
    wire.onClose = (error) => this.#closed(error);
    wire.onDrain = () => this.#body?.drained();
    wire.onWriteFailed = (error) => this.#writeFailed(error);
    wire.resume();
  }

  /** Sends a request. The connection must be idle. */
  start(call: Call, now: number): void {
    const { request, handler, text } = call;
    const { body } = request;
    this.#call = call;
    call.connection = this;
    this.#requests++;
    this.#told = false;
    this.#parser.begin(handler, request.method === 'HEAD', request.upgrade !== undefined);
    this.deadline = NEVER;
    if (body === null || body instanceof Uint8Array) {
      writeText(this.wire, text, body);
      this.#awaitHead(now);
    } else {
      writeText(this.wire, text, null);
      this.#stream(body, request.contentLength);
    }
  }

  #stream(body: Exclude<UpstreamSend['body'], Buffer | null>, length: number | undefined): void {
    this.#bodyWhole = false;
    this.#body = sendBody(body, this.wire, length, {
      whole: () => {
        this.#bodyWhole = true;
        this.#body = undefined;
        this.#awaitHead(this.#owner.now());
      },
      failed: (error) => this.#fail(error),
      waiting: (forTarget) => {
        if (forTarget) this.#awaitHead(this.#owner.now());
        // The client is waited for elsewhere.
        else if (!this.#parser.headed) this.deadline = NEVER;
      },
    });
  }

  #awaitHead(now: number): void {
    const call = this.#call;
    if (call === undefined || this.#parser.headed) return;
    this.#expireIn(call.request.headersTimeoutMs ?? this.#owner.headersTimeoutMs, now);
  }

  #expireIn(milliseconds: number, now: number): void {
    this.deadline = milliseconds > 0 ? now + milliseconds : NEVER;
    if (milliseconds > 0) this.#owner.watch(this.deadline);
  }

  #bytes(chunk: Buffer): void {
    const call = this.#call;
    if (call === undefined) {
      // Nobody has asked: it would be taken for the answer to whoever asks next.
      this.destroy();
      return;
    }
    const parser = this.#parser;
    let used: number;
    try {
      used = parser.feed(chunk);
    } catch (error) {
      if (this.#call === call) this.#fail(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    // Given up meanwhile.
    if (this.#call !== call) return;
    if (parser.done) this.#complete(call, used === chunk.length);
    else if (parser.upgraded) this.#upgraded(call, chunk.subarray(used));
    else if (parser.headed) this.#partial(call);
  }

  #partial(call: Call): void {
    if (!this.#paused) this.#awaitMore(call);
    if (this.#told) return;
    this.#told = true;
    call.handler.onPartial();
  }

  #awaitMore({ request }: Call): void {
    const { bodyTimeoutMs } = request;
    if (bodyTimeoutMs === undefined || bodyTimeoutMs === 0) this.deadline = NEVER;
    else this.#expireIn(bodyTimeoutMs, this.#owner.now());
  }

  /** The answer is whole. @param clean nothing came behind it */
  #complete(call: Call, clean: boolean): void {
    const parser = this.#parser;
    const kept =
      clean &&
      parser.reusable &&
      !isLast(call.request) &&
      this.#bodyWhole &&
      this.#writeError === undefined &&
      !this.wire.congested &&
      !this.wire.closed;
    this.#leave(call);
    if (kept) this.#release();
    else this.destroy();
    call.handler.onEnd(parser.trailers);
  }

  #release(): void {
    const { keepMs } = this.#parser;
    const idleMs = keepMs < 0 ? KEEP_ALIVE_MS : Math.min(keepMs - KEEP_ALIVE_MARGIN_MS, KEEP_ALIVE_MAX_MS);
    if (idleMs <= 0) {
      this.destroy();
      return;
    }
    if (this.#paused) {
      this.#paused = false;
      this.wire.resume();
    }
    this.#expireIn(idleMs, this.#owner.now());
    this.#owner.released(this);
  }

  #upgraded(call: Call, rest: Buffer): void {
    const { fields } = this.#parser;
    this.#leave(call);
    this.#owner.gone(this);
    this.deadline = NEVER;
    this.wire.onWriteFailed = undefined;
    const stream = wireStream(this.wire);
    if (rest.length > 0) stream.push(Buffer.from(rest));
    call.handler.onUpgrade(fields, stream);
  }

  #ended(): void {
    const call = this.#call;
    if (call === undefined) this.destroy();
    else if (this.#parser.finish()) this.#complete(call, false);
    else this.#fail(new TargetFailure('closed', this.#parser.headed ? 'the answer is shorter than it said' : ''));
  }

  #closed(error: Error | undefined): void {
    this.#owner.gone(this);
    this.#fail(new TargetFailure('closed', '', error ?? this.#writeError));
  }

  /** It may have answered before it closed: that answer is still to be read, and so is its end. */
  #writeFailed(error: Error): void {
    this.#writeError ??= error;
    this.#body?.stop();
    this.#body = undefined;
    if (this.#call === undefined) this.destroy();
    else this.#awaitHead(this.#owner.now());
  }

  /** Its time is up. */
  expire(): void {
    if (this.#call === undefined) this.destroy();
    else this.#fail(new TargetFailure(this.#parser.headed ? 'stalled' : 'silent'));
  }

  /** Ends it, with the request that it carries, for this reason. */
  fail(error: Error): void {
    if (this.#call === undefined) this.destroy();
    else this.#fail(error);
  }

  #fail(error: Error): void {
    const call = this.#call;
    if (call === undefined) return;
    const when = { reused: this.#requests > 1, answered: this.#parser.began };
    this.#leave(call);
    this.destroy();
    call.handler.onError(error, when);
  }

  #leave(call: Call): void {
    call.over = true;
    call.connection = undefined;
    this.#call = undefined;
    this.#body?.stop();
    this.#body = undefined;
  }

  pause(): void {
    this.#paused = true;
    this.deadline = NEVER;
    this.wire.pause();
  }

  resume(): void {
    const call = this.#call;
    if (!this.#paused || call === undefined) return;
    this.#paused = false;
    this.wire.resume();
    if (this.#parser.headed) this.#awaitMore(call);
    else this.#awaitHead(this.#owner.now());
  }

  /** Closes it. Whoever sent what it carries hears nothing. */
  destroy(): void {
    if (this.#call !== undefined) this.#leave(this.#call);
    this.#parser.stop();
    this.#owner.gone(this);
    this.wire.destroy();
  }
}

const SCRATCH_BYTES = 16_384;
/** Where requests are put together; another one when a write still has it. */
let scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);

/** A head, and a small body with it, in one write. */
function writeText(wire: Wire, text: string, body: Buffer | null): void {
  const length = text.length + (body?.length ?? 0);
  if (length > SCRATCH_BYTES) {
    wire.write(Buffer.from(text, 'latin1'));
    if (body !== null && body.length > 0) wire.write(body);
    return;
  }
  scratch.write(text, 0, 'latin1');
  body?.copy(scratch, text.length);
  if (wire.write(scratch.subarray(0, length))) scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
}
