import { type LaneReport, laneError } from '../errors.ts';
import type { Verdict } from '../judge.ts';
import { endOfString, functionArguments, ProtocolViolation } from '../wire/decode.ts';
import * as encode from '../wire/encode.ts';
import type { Admission } from './admission.ts';
import { functionVerdict } from './function-call.ts';
import { gatewayRows } from './gateway-rows.ts';
import { isReport, isStall, type Obtainer, type Stall } from './obtain.ts';
import type { Outbound } from './outbound.ts';
import { ownPortal, preparedOf, Reply } from './replies.ts';
import type { LaneSession } from './session-state.ts';

/** Query and FunctionCall: one message, one command, one ReadyForQuery. */
export class SimpleQuery {
  readonly #session: LaneSession;
  readonly #out: Outbound;
  readonly #obtain: Obtainer;
  readonly #admission: Admission;

  constructor(session: LaneSession, out: Outbound, obtain: Obtainer, admission: Admission) {
    this.#session = session;
    this.#out = out;
    this.#obtain = obtain;
    this.#admission = admission;
  }

  query(bytes: Buffer, start: number, end: number): Stall | undefined {
    const session = this.#session;
    const textEnd = end - 1;
    if (endOfString(bytes, start + 5, end) !== textEnd) throw new ProtocolViolation('a query string that holds a NUL');
    if (session.skipping) return undefined;
    const verdict = this.#obtain.verdict(bytes, start + 5, textEnd);
    if (isStall(verdict)) return verdict;
    if (isReport(verdict)) {
      this.#admission.deny('query', '', bytes.toString('utf8', start + 5, textEnd), verdict, undefined);
      return undefined;
    }
    const text = bytes.toString('utf8', start + 5, textEnd);
    const limited = verdict.decision.limits.maxRowsAffected !== undefined && verdict.modifiesRows;
    const alone = !limited || verdict.analysis.statements.length === 1;
    const asked = { text, portal: undefined };
    const refused =
      this.#admission.refused(verdict) ??
      (alone ? undefined : laneError('SPG020', 'a statement under a limit of changed rows')) ??
      this.#admission.overRate(verdict) ??
      this.#admission.approval(verdict, asked);
    if (refused !== undefined) {
      if (isStall(refused)) return refused;
      this.#admission.deny('query', '', text, refused, verdict);
      return undefined;
    }
    session.portals.delete('');
    session.prepared.delete('');
    const command = this.#admission.received(verdict, asked);
    if (limited) {
      this.#limitedQuery(text, verdict, command);
      return undefined;
    }
    const reply = new Reply('query');
    this.#admission.runs(reply, verdict, command);
    const rows = verdict.hasEffects ? gatewayRows(session, verdict.analysis) : undefined;
    if (rows === undefined) this.#out.pass(bytes, start, end);
    else this.#out.inject(encode.query(rows));
    this.#out.batchEnded();
    return undefined;
  }

  /**
   * A simple query whose number of changed rows is limited runs in the extended protocol, so that the gateway sees the count before
   * the implicit transaction ends, and can still make it fail.
   */
  #limitedQuery(text: string, verdict: Verdict, command: number): void {
    const session = this.#session;
    const own = (kind: 'parse' | 'bind'): Reply => {
      const reply = new Reply(kind);
      reply.swallow = true;
      if (kind === 'bind') reply.portal = ownPortal(preparedOf('', text, verdict, session.batch, []), session.batch);
      this.#out.push(reply);
      return reply;
    };
    own('parse');
    const { portal } = own('bind');
    const describe = new Reply('describePortal');
    describe.portal = portal;
    describe.quiet = true;
    this.#out.push(describe);
    const reply = new Reply('execute');
    reply.portal = portal;
    this.#out.inject(
      Buffer.concat([encode.parse('', text), encode.bind('', ''), encode.describe('P', ''), encode.execute('')]),
    );
    this.#admission.runLimited(reply, verdict, command, () => {
      // When the statement failed the server skips to this Sync, and answers it.
      session.skipping = false;
      this.#out.push(this.#admission.approvals.outcomes.sync());
      this.#out.inject(encode.sync());
      this.#out.batchEnded();
    });
  }

  /** libpq's large objects. */
  functionCall(bytes: Buffer, start: number, end: number): Stall | undefined {
    const session = this.#session;
    if (end - start < 9) throw new ProtocolViolation('FunctionCall is too short');
    if (session.skipping) return undefined;
    const called = functionVerdict(session, bytes.readUInt32BE(start + 5));
    if (isStall(called)) return called;
    const verdict = isReport(called) ? undefined : called;
    const text = verdict?.analysis.command.text ?? '';
    const asked = { text, portal: undefined, ...functionArguments(bytes, start + 9, end) };
    const refused =
      verdict === undefined
        ? (called as LaneReport)
        : (this.#admission.refused(verdict) ??
          this.#admission.overRate(verdict) ??
          this.#admission.approval(verdict, asked));
    if (refused !== undefined && isStall(refused)) return refused;
    if (refused !== undefined || verdict === undefined) {
      this.#admission.deny('query', '', text, refused!, verdict);
      return undefined;
    }
    const command = this.#admission.received(verdict, asked);
    this.#admission.runs(new Reply('functionCall'), verdict, command);
    this.#out.pass(bytes, start, end);
    this.#out.batchEnded();
    return undefined;
  }
}
