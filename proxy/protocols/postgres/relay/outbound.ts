import * as encode from '../wire/encode.ts';
import type { Reply } from './replies.ts';
import type { LaneSession } from './session-state.ts';

/** Text that no PostgreSQL grammar accepts: what is sent where the server must fail in our place. */
export const FAILING_SQL = 'sallyport denied this statement';
/** A name that no client can have given: identifiers of the protocol end at a NUL, but this one is never created. */
export const NO_SUCH_NAME = 'sallyport\u0001none';

/**
 * What one turn gathers for the server, message and expected reply together, and under which conditions it may leave: the one place
 * that the handlers of messages write to.
 */
export class Outbound {
  readonly #session: LaneSession;
  readonly #schedule: () => void;
  /** Something in this turn must be on disk before it is forwarded. */
  needsSync = false;
  /** Set by a handler that has used its message up but lets nothing behind it go on before this has resolved. */
  waitFor: Promise<unknown> | undefined;

  constructor(session: LaneSession, schedule: () => void) {
    this.#session = session;
    this.#schedule = schedule;
  }

  /** The server will answer this, unless it is skipping to Sync: then it never sees the message. */
  push(reply: Reply): void {
    if (!this.#session.skipping) this.#session.replies.push(reply);
    else reply.settled?.(false);
  }

  /** Bytes of the client, as they came. */
  pass(bytes: Buffer, start: number, end: number): void {
    if (end > start) this.#session.toUpstream.append(bytes, start, end);
  }

  /** Bytes of the gateway's own, in order with the client's. */
  inject(bytes: Buffer): void {
    this.#session.toUpstream.append(bytes, 0, bytes.length);
    this.#schedule();
  }

  /** A message of the extended protocol went out: a pipeline is open until Sync. */
  extended(): void {
    this.#session.inBatch = true;
  }

  /** Query, FunctionCall or Sync went out: what follows succeeds or fails by itself. */
  batchEnded(): void {
    this.#session.batch++;
    this.#session.inBatch = false;
    this.#session.ranInBatch = false;
  }

  /** Waits until the server has answered what it was sent, asking it to answer now. */
  answers(): Promise<void> {
    if (this.#session.inBatch) this.inject(encode.flush());
    return this.#session.drained();
  }
}
