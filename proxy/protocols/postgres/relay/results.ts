import type { CopyMasker } from '../../../masking/copy.ts';
import type { RowMasker } from '../../../masking/rows.ts';
import { laneError } from '../errors.ts';
import { errorFields, ProtocolViolation, parameterTypes, rowDescription, rowsOfTag, sqlState } from '../wire/decode.ts';
import * as encode from '../wire/encode.ts';
import { B, STATUS } from '../wire/messages.ts';
import { append, sink } from './client-sink.ts';
import { limitBroken } from './limits.ts';
import { copyMaskerFor, MaskDisagreement } from './masking.ts';
import { redactNotification, redactReport } from './redaction.ts';
import type { Reply } from './replies.ts';
import { ResultColumns } from './result-columns.ts';
import { type RowPlan, RowPlans } from './row-plans.ts';
import type { LaneSession } from './session-state.ts';
import { applyClose, applyCompleted, confirm, forgetUnmade } from './settle.ts';

export type Action = 'pass' | 'drop';
export type RowsWay = 'pass' | 'mask' | 'each';

/**
 * The server's messages against the queue of expected replies: what each means for the session, how rows are masked, what goes into
 * the record, and what the client gets in the place of a message that must not pass.
 */
export class Results {
  readonly #session: LaneSession;
  /** How the rows of the running result are masked; undefined: not at all. */
  #masker: RowMasker | undefined;
  #copyMasker: CopyMasker | undefined;
  #copyTail = false;
  /** The plan of the running result has been made (a RowDescription came, or the portal had one). */
  #planned = false;
  /** Results are recorded. */
  readonly capturing: boolean;
  readonly #plans = new RowPlans();
  readonly #columns = new ResultColumns();
  /** What was put in the place of the message under way. */
  #replacement: Buffer | undefined;

  constructor(session: LaneSession) {
    this.#session = session;
    this.capturing = session.record.capturesResults;
  }

  capture(bytes: Buffer, start: number, end: number): void {
    const { record, replies } = this.#session;
    if (!record.capturing) record.beginCapture(replies.head?.command ?? 0, this.#columns.of(replies.head));
    record.capture(bytes, start, end);
  }

  appendReplacement(): void {
    const bytes = this.#replacement;
    if (bytes === undefined) return;
    if (this.#copyTail) this.#copyMasker?.finish(sink);
    this.#copyTail = false;
    this.#replacement = undefined;
    append(bytes, 0, bytes.length);
  }

  /**
   * What is done with rows of this type as long as they follow one another: nothing (no mask, no limit, not the gateway's own), masking
   * and nothing else, or each has to be looked at for itself.
   */
  way(type: number): RowsWay {
    const head = this.#session.replies.head;
    if (head === undefined || head.swallow) return 'each';
    if (head.kind !== 'query' && head.kind !== 'execute') return 'each';
    if (head.verdict?.hasLimits === true) return 'each';
    if (type === B.CopyData) return this.#copyMasker === undefined ? 'pass' : 'each';
    if (!this.#planned) this.#planExecute(head);
    if (this.#masker === undefined) return 'pass';
    return head.failed ? 'each' : 'mask';
  }

  count(rows: number, bytes: number): void {
    const head = this.#session.replies.head!;
    head.rows += rows;
    head.bytes += bytes;
  }

  /** Whole rows that are masked and nothing else, from `start` on; returns where they end. At least the first is whole. */
  maskRun(bytes: Buffer, start: number, end: number): number {
    const masker = this.#masker!;
    const before = sink.length;
    const stop = masker.maskRun(bytes, start, end, sink);
    this.count(masker.ranRows, stop - start);
    if (this.capturing) this.capture(sink.bytes, before, sink.length);
    return stop;
  }

  /** Rows of an Execute have no RowDescription of their own: the portal's, or its statement's, is the plan. */
  #planExecute(head: Reply): void {
    this.#planned = true;
    this.#masker = undefined;
    const { masking } = this.#session;
    if (masking.masks.empty) return;
    const { portal, verdict } = head;
    if (head.kind !== 'execute' || portal === undefined) throw new MaskDisagreement('rows came without a description');
    const { plan } = portal;
    if (plan !== undefined && plan.verdict === verdict && plan.masking === masking) this.#masker = plan.masker;
    else if (plan !== undefined)
      this.#masker = this.#described(head, plan.description, 0, plan.description.length, 0).masker;
    else if (portal.statement.columns !== undefined && verdict?.rowsByName !== true) {
      this.#masker = this.#plans.executed(masking, verdict, this.#session.temporary.size > 0, portal);
    } else throw new MaskDisagreement('rows came without a description');
  }

  #described(head: Reply, bytes: Buffer, start: number, end: number, index: number): RowPlan {
    const { masking, temporary } = this.#session;
    const verdict = head.verdict ?? head.portal?.statement.verdict;
    return this.#plans.described(masking, verdict, index, temporary.size > 0, bytes, start, end);
  }

  /** One whole DataRow or CopyData that is masked, counted against limits, or the gateway's own. */
  row(type: number, bytes: Buffer, start: number, end: number): void {
    const session = this.#session;
    const head = session.replies.head;
    if (head === undefined) throw new ProtocolViolation('a row that nothing asked for');
    if (head.swallow) {
      collectFirst(head, bytes, start, end);
      return;
    }
    if (type === B.DataRow && !this.#planned) this.#planExecute(head);
    this.count(1, end - start);
    const broken = limitBroken(head);
    if (broken !== undefined) {
      this.#overLimit(head, broken);
      return;
    }
    if (head.failed) return;
    const before = sink.length;
    if (type === B.CopyData) {
      if (this.#copyMasker === undefined || !this.#copyMasker.mask(bytes, start + 5, end, sink))
        append(bytes, start, end);
    } else if (this.#masker === undefined || !this.#masker.mask(bytes, start + 5, end, sink)) append(bytes, start, end);
    if (this.capturing) this.capture(sink.bytes, before, sink.length);
  }

  /** Stops relaying this result; the server is told to cancel, and its error becomes ours. */
  #overLimit(head: Reply, report: ReturnType<typeof limitBroken>): void {
    if (head.failed || report === undefined) return;
    head.failed = true;
    head.substitute = this.#session.errorBytes(report);
    this.#session.cancelForLimit();
  }

  message(type: number, bytes: Buffer, start: number, end: number): Action {
    const session = this.#session;
    const head = session.replies.head;
    const swallowed: Action = head?.swallow === true || head?.told === true ? 'drop' : 'pass';
    switch (type) {
      case B.ParseComplete:
        confirm(this.#expect('parse').prepared);
        return swallowed;
      case B.BindComplete:
        confirm(this.#expect('bind').portal);
        return head?.quiet === true ? 'drop' : swallowed;
      case B.CloseComplete:
        applyClose(session, this.#expect('close'));
        return swallowed;
      case B.ParameterDescription:
        if (head?.kind !== 'describeStatement')
          throw new ProtocolViolation('ParameterDescription that nothing asked for');
        if (head.prepared !== undefined) head.prepared.types = parameterTypes(bytes, start + 5, end);
        return swallowed;
      case B.RowDescription:
        this.#description(bytes, start, end);
        return swallowed;
      case B.NoData:
        this.#noData();
        return head?.quiet === true ? 'drop' : swallowed;
      case B.CommandComplete:
      case B.EmptyQuery:
        return this.#complete(type, bytes, start, end);
      case B.PortalSuspended:
        this.#suspended();
        return swallowed;
      case B.ReadyForQuery:
        return this.#ready(bytes, start, end);
      case B.Error:
        return this.#error(bytes, start, end);
      case B.Notice:
        return this.#replaceBy(redactReport(session, head, bytes, start, end));
      case B.Notification:
        return this.#replaceBy(redactNotification(session, bytes, start, end));
      case B.ParameterStatus:
        return this.#parameter(bytes, start, end);
      case B.CopyIn:
        // A client that was told of an error sends no data any more.
        if (head?.told === true) session.send(encode.copyFail('the statement before it went over a limit'));
        else session.copyStarted();
        return swallowed;
      case B.CopyOut:
        this.#copyMasker = copyMaskerFor(session.masking, head);
        return swallowed;
      case B.CopyDone:
        return swallowed === 'drop' ? 'drop' : this.#copyDone(bytes, start, end);
      case B.FunctionResult:
        if (head?.kind !== 'functionCall') throw new ProtocolViolation('FunctionCallResponse that nothing asked for');
        return 'pass';
      default:
        throw new ProtocolViolation(`message type ${JSON.stringify(String.fromCharCode(type))}`);
    }
  }

  #replaceBy(bytes: Buffer | undefined): Action {
    if (bytes === undefined) return 'pass';
    this.#replacement = bytes;
    return 'drop';
  }

  #expect(kind: Reply['kind']): Reply {
    const reply = this.#session.replies.head;
    if (reply?.kind !== kind)
      throw new ProtocolViolation(`an answer to ${kind} while ${reply?.kind ?? 'nothing'} is under way`);
    this.#session.replies.shift();
    reply.settled?.(true);
    return reply;
  }

  #description(bytes: Buffer, start: number, end: number): void {
    const session = this.#session;
    const head = session.replies.head;
    if (head === undefined) throw new ProtocolViolation('RowDescription that nothing asked for');
    if (this.capturing && !(head.swallow && head.kind === 'query'))
      this.#columns.described(head, bytes, start + 5, end);
    const unmasked = head.swallow && head.kind === 'query' ? true : session.masking.masks.empty;
    if (head.kind === 'query') {
      this.#planned = true;
      this.#masker = unmasked ? undefined : this.#described(head, bytes, start + 5, end, head.statement).masker;
      return;
    }
    if (head.kind === 'describePortal') {
      // A cursor that SQL declared has no portal here: its rows come by FETCH, with a description of their own.
      const stale = head.portal?.begun === true && !head.swallow;
      if (!unmasked && head.portal !== undefined && !stale)
        head.portal.plan = this.#described(head, bytes, start + 5, end, 0);
      this.#expect('describePortal');
      return;
    }
    if (head.kind !== 'describeStatement') throw new ProtocolViolation(`RowDescription during ${head.kind}`);
    if (!session.masking.masks.empty && head.prepared !== undefined) {
      head.prepared.columns = rowDescription(bytes, start + 5, end);
      head.prepared.columnsIn = head.prepared.verdict.environment;
    }
    this.#expect('describeStatement');
  }

  #noData(): void {
    const head = this.#session.replies.head;
    if (head?.kind === 'describePortal') {
      this.#expect('describePortal');
    } else this.#expect('describeStatement');
  }

  /** A row that was held back, because it went over several messages, goes out before the end of the copy. */
  #copyDone(bytes: Buffer, start: number, end: number): Action {
    if (this.#copyMasker === undefined) return 'pass';
    this.#copyTail = true;
    return this.#replaceBy(Buffer.from(bytes.subarray(start, end)));
  }

  #endResult(): void {
    this.#copyMasker = undefined;
    this.#columns.ended();
    this.#planned = false;
    this.#masker = undefined;
  }

  #masked(): ReadonlyMap<string, number> | undefined {
    return (this.#masker ?? this.#copyMasker)?.takeCounts();
  }

  #complete(type: number, bytes: Buffer, start: number, end: number): Action {
    const session = this.#session;
    const head = session.replies.head;
    if (head === undefined || (head.kind !== 'query' && head.kind !== 'execute'))
      throw new ProtocolViolation('CommandComplete that nothing asked for');
    const rows = type === B.CommandComplete ? rowsOfTag(bytes, start + 5, end) : 0;
    const masked = this.#masked();
    this.#endResult();
    session.copyIn = false;
    if (head.swallow) {
      if (head.kind === 'execute') this.#expect('execute');
      return 'drop';
    }
    applyCompleted(session, head);
    session.record.executed(head, rows, masked);
    head.rows = type === B.CommandComplete ? rows : 0;
    const substitute = head.substitute;
    if (head.kind === 'execute') this.#expect('execute');
    else head.statement++;
    if (head.told) return 'drop';
    if (head.failed && substitute !== undefined) {
      head.told = true;
      // The cancel came too late: the client is told of the error all the same, and hears nothing more of this pipeline.
      if (head.kind === 'execute') session.replies.swallowToSync();
      return this.#replaceBy(substitute);
    }
    if (head.withholdComplete) {
      head.withheld = Buffer.from(bytes.subarray(start, end));
      return 'drop';
    }
    head.bytes = 0;
    return 'pass';
  }

  #suspended(): void {
    const session = this.#session;
    const head = session.replies.head;
    if (head?.kind !== 'execute') throw new ProtocolViolation('PortalSuspended that nothing asked for');
    const masked = this.#masked();
    this.#endResult();
    // Each part of its rows has run the functions of it again.
    applyCompleted(session, head);
    session.record.executed(head, head.rows, masked);
    this.#expect('execute');
  }

  #ready(bytes: Buffer, start: number, end: number): Action {
    const session = this.#session;
    const head = session.replies.head;
    if (end - start !== 6) throw new ProtocolViolation('ReadyForQuery of another length');
    if (head === undefined || (head.kind !== 'sync' && head.kind !== 'query' && head.kind !== 'functionCall')) {
      throw new ProtocolViolation('ReadyForQuery that nothing asked for');
    }
    this.#endResult();
    session.replies.shift();
    const status = bytes[start + 5]!;
    if (status === STATUS.idle && !head.swallow) session.transactionEnded();
    session.status = status;
    head.settled?.(!head.failed);
    return head.swallow ? 'drop' : 'pass';
  }

  #error(bytes: Buffer, start: number, end: number): Action {
    const session = this.#session;
    const head = session.replies.head;
    session.failures++;
    this.#endResult();
    session.namesMoved ||= session.namesMovedInTransaction;
    const replacement = head?.substitute ?? redactReport(session, head, bytes, start, end);
    // After this one the server closes: the client needs no second reason.
    if (isFatal(bytes, start + 5, end)) session.dismissed = true;
    if (head === undefined) return this.#replaceBy(replacement);
    const state = sqlState(bytes, start + 5, end);
    const drop = head.swallow && head.substitute === undefined;
    this.#failed(head, state);
    const told = head.told;
    if (head.kind === 'query' || head.kind === 'functionCall') head.failed = true;
    else this.#skipToSync(head, state);
    session.copyFailed();
    return drop || told ? 'drop' : this.#replaceBy(replacement);
  }

  #failed(reply: Reply, state: string): void {
    if (reply.command === 0 || reply.verdict === undefined || reply.swallow) return;
    this.#session.record.failed(reply, state);
  }

  /** After an error in the extended protocol the server ignores everything up to Sync: so does the queue. */
  #skipToSync(first: Reply, state: string): void {
    const { replies } = this.#session;
    for (let reply = replies.head; reply !== undefined && reply.kind !== 'sync'; reply = replies.head) {
      replies.shift();
      if (reply !== first) this.#failed(reply, executes(reply, first) ? state : 'skipped');
      forgetUnmade(this.#session, reply);
      reply.settled?.(false);
    }
    if (replies.head === undefined) this.#session.skipping = true;
  }

  #parameter(bytes: Buffer, start: number, end: number): Action {
    const [name, value] = bytes.toString('utf8', start + 5, end).split('\0');
    const wrong =
      (name === 'client_encoding' && value !== 'UTF8') || (name === 'standard_conforming_strings' && value !== 'on');
    if (wrong) this.#session.fail(laneError('SPG019'));
    // Reported since PostgreSQL 18, whatever has changed it.
    if (name === 'search_path') this.#session.namesMoved = true;
    return 'pass';
  }
}

/** Whether this Execute is of the statement or portal whose Parse or Bind has failed: then that is how the command failed. */
function executes(reply: Reply, first: Reply): boolean {
  if (first.kind === 'bind') return reply.portal === first.portal;
  return first.kind === 'parse' && reply.portal?.statement === first.prepared && first.prepared !== undefined;
}

function isFatal(bytes: Buffer, start: number, end: number): boolean {
  const severity = errorFields(bytes, start, end).V;
  return severity === 'FATAL' || severity === 'PANIC';
}

/** First column of a row of one of the gateway's own queries. */
function collectFirst(reply: Reply, bytes: Buffer, start: number, end: number): void {
  if (reply.collect === undefined || end - start < 11) return;
  const length = bytes.readInt32BE(start + 7);
  reply.collect(length > 0 ? bytes.toString('utf8', start + 11, start + 11 + length) : '');
}
