import type { TurnParticipant } from '../../../session/turn.ts';
import { laneError } from '../errors.ts';
import { ProtocolViolation } from '../wire/decode.ts';
import { F } from '../wire/messages.ts';
import { Admission } from './admission.ts';
import { Carry } from './carry.ts';
import { ExtendedQuery } from './extended-query.ts';
import { Obtainer, type Stall } from './obtain.ts';
import { Outbound } from './outbound.ts';
import type { LaneSession } from './session-state.ts';
import { SimpleQuery } from './simple-query.ts';

/** Bytes of a pipeline that are kept while the command before them waits for people. */
const READ_WHILE_WAITING = 65_536;

/**
 * From the client to the server. Every message is looked at whole before a byte of it is forwarded; what has to wait for something
 * (a parse in a worker, the catalog, an answer of the server) stalls this session only: the rest is kept, in order.
 */
export class Frontend implements TurnParticipant {
  readonly #session: LaneSession;
  readonly #out: Outbound;
  readonly #admission: Admission;
  readonly #simple: SimpleQuery;
  readonly #extended: ExtendedQuery;
  /** Bytes that are not processed yet. */
  readonly #carry = new Carry();
  #stalled = false;
  /** Rest of a message that is too long: thrown away as it comes. */
  #discarding = 0;
  #streaming = 0;
  #scheduled = false;
  #syncing = false;
  /** While the session waits for people, the client is read until so many bytes are kept. */
  #readUpTo = 0;

  constructor(session: LaneSession) {
    this.#session = session;
    this.#out = new Outbound(session, () => this.#schedule());
    session.send = (bytes) => this.#out.inject(bytes);
    session.readOn = () => this.#readOn();
    const obtain = new Obtainer(session);
    this.#admission = new Admission(session, this.#out, obtain);
    this.#simple = new SimpleQuery(session, this.#out, obtain, this.#admission);
    this.#extended = new ExtendedQuery(session, this.#out, obtain, this.#admission);
  }

  get needsSync(): boolean {
    return this.#out.needsSync;
  }

  get stream(): LaneSession['record']['stream'] {
    return this.#session.record.stream;
  }

  /** Bytes of the client, valid only during the call. */
  feed(chunk: Buffer): void {
    if (this.#session.ended) return;
    this.#session.heard = true;
    if (this.#stalled || this.#syncing || this.#carry.length > 0) {
      this.#carry.keep(chunk, 0, chunk.length);
      // A client that has to wait is not read; what the kernel had given already cannot be much.
      if (!this.#stalled && !this.#syncing) this.#processCarry();
      else if (this.#carry.length >= this.#readUpTo) this.#session.client.pause();
      return;
    }
    const used = this.#process(chunk, 0, chunk.length);
    if (used < chunk.length) this.#carry.keep(chunk, used, chunk.length);
    this.#schedule();
  }

  #processCarry(): void {
    const { bytes } = this.#carry;
    if (bytes !== undefined && !this.#session.ended) {
      const used = this.#process(bytes, 0, this.#carry.length);
      this.#carry.drop(used);
    }
    this.#schedule();
  }

  #stall(until: Promise<unknown>): void {
    this.#stalled = true;
    this.#session.client.pause();
    until.then(
      () => this.#goOn(),
      (error: Error) => {
        this.#session.fail(laneError('SPG024', '', { detail: error.message }));
      },
    );
  }

  /** Nothing tells that a client is gone but reading it: a little of what it sends meanwhile is taken. */
  #readOn(): void {
    this.#readUpTo = this.#carry.length + READ_WHILE_WAITING;
    this.#session.client.resume();
  }

  #goOn(): void {
    this.#stalled = false;
    this.#readUpTo = 0;
    this.#catchUp();
  }

  /** Goes on with what was kept while the session had to wait. */
  #catchUp(): void {
    if (this.#stalled || this.#syncing || this.#session.ended) return;
    this.#processCarry();
    this.resumeClient();
  }

  /** Reads the client again, unless something still has to be waited for. */
  resumeClient(): void {
    if (!this.#stalled && !this.#syncing && !this.#session.upstream.congested) this.#session.client.resume();
  }

  #schedule(): void {
    if (this.#scheduled || this.#syncing || this.#session.ended) return;
    if (this.#session.toUpstream.length === 0) return;
    this.#scheduled = true;
    this.#session.ports.turn.schedule(this);
  }

  /** The turn has recorded everything appended: what was gathered goes to the server. */
  forward(): void {
    const session = this.#session;
    const waited = this.#syncing;
    this.#scheduled = false;
    this.#syncing = false;
    this.#out.needsSync = false;
    if (session.ended) return;
    session.toUpstream.writeTo(session.upstream);
    if (session.closing) {
      session.goodbyeSent = true;
      if (session.client.closed) session.finish('client closed');
    }
    if (session.upstream.congested) session.client.pause();
    else if (waited) this.#catchUp();
  }

  hold(): void {
    this.#syncing = true;
  }

  recordFailed(error: Error): void {
    this.#session.recordFailed(error);
  }

  /** Handles whole messages; returns how many bytes were used up. */
  #process(bytes: Buffer, start: number, end: number): number {
    try {
      const used = this.#walk(bytes, start, end) - start;
      const until = this.#out.waitFor;
      this.#out.waitFor = undefined;
      if (until !== undefined) this.#stall(until);
      return used;
    } catch (error) {
      if (!(error instanceof ProtocolViolation)) throw error;
      this.#session.fail(laneError('SPG005', error.message));
      return end - start;
    }
  }

  #walk(bytes: Buffer, start: number, end: number): number {
    const session = this.#session;
    let at = start;
    if (this.#streaming > 0) {
      const take = Math.min(this.#streaming, end - at);
      this.#out.pass(bytes, at, at + take);
      this.#streaming -= take;
      at += take;
    }
    if (this.#discarding > 0) {
      const take = Math.min(this.#discarding, end - at);
      this.#discarding -= take;
      at += take;
    }
    while (end - at >= 5 && !session.ended && this.#out.waitFor === undefined) {
      const type = bytes[at]!;
      const length = bytes.readUInt32BE(at + 1);
      if (length < 4 || length > 0x40000000) throw new ProtocolViolation('a message of impossible length');
      const stop = at + 1 + length;
      if (type === F.CopyData) {
        const until = Math.min(stop, end);
        this.#out.pass(bytes, at, until);
        this.#streaming = stop - until;
        at = until;
        continue;
      }
      if (stop > end) {
        if (this.#tooLong(type, length)) {
          this.#discarding = stop - end;
          return end;
        }
        break;
      }
      if (this.#tooLong(type, length)) {
        at = stop;
        continue;
      }
      const stall = this.#message(type, bytes, at, stop);
      if (stall !== undefined) {
        this.#stall(stall.until);
        break;
      }
      if (this.#admission.approvals.underWay) this.#admission.approvals.done();
      at = stop;
    }
    return session.ended ? end : at;
  }

  /** Refuses by the length alone, before anything is kept. True: the message was answered and its bytes are to be dropped. */
  #tooLong(type: number, length: number): boolean {
    const { maxStatementBytes, maxMessageBytes } = this.#session.ports.limits;
    switch (type) {
      case F.Query:
        if (length - 5 <= maxStatementBytes) return false;
        this.#admission.deny('query', '', '', laneError('SPG003', String(length - 5)), undefined);
        return true;
      case F.Parse:
        if (length - 8 <= maxStatementBytes + 4096) return false;
        this.#admission.deny('parse', '', '', laneError('SPG003', String(length - 8)), undefined);
        return true;
      case F.Bind:
      case F.FunctionCall:
        if (length <= maxMessageBytes) return false;
        this.#session.fail(laneError('SPG006', String(length)));
        return true;
      default:
        if (length <= 8192) return false;
        this.#session.fail(laneError('SPG006', String(length)));
        return true;
    }
  }

  /** One whole message. A Stall: it has to be handled again then. */
  #message(type: number, bytes: Buffer, start: number, end: number): Stall | undefined {
    const session = this.#session;
    switch (type) {
      case F.Query:
        return this.#simple.query(bytes, start, end);
      case F.Parse:
        return this.#extended.parse(bytes, start, end);
      case F.Bind:
        return this.#extended.bind(bytes, start, end);
      case F.Describe:
        return this.#extended.describe(bytes, start, end);
      case F.Execute:
        return this.#extended.execute(bytes, start, end);
      case F.Close:
        return this.#extended.close(bytes, start, end);
      case F.Sync:
        return this.#extended.sync(bytes, start, end);
      case F.Flush:
      case F.CopyDone:
      case F.CopyFail:
        if (type !== F.CopyFail && end - start !== 5)
          throw new ProtocolViolation('a message without a body that has one');
        if (type !== F.Flush) session.copyEnded();
        this.#out.pass(bytes, start, end);
        return undefined;
      case F.FunctionCall:
        return this.#simple.functionCall(bytes, start, end);
      case F.Terminate:
        // What came before it in this turn is recorded and still goes out; the server closes when it has done it.
        this.#out.pass(bytes, start, end);
        session.closing = true;
        return undefined;
      default:
        throw new ProtocolViolation(`message type ${JSON.stringify(String.fromCharCode(type))} is not allowed here`);
    }
  }
}
