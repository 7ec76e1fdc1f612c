import { type LaneReport, laneError } from '../errors.ts';
import type { Verdict } from '../judge.ts';
import {
  type BindHeader,
  bindMessage,
  endOfString,
  nameOf,
  ProtocolViolation,
  parameterTypes,
} from '../wire/decode.ts';
import * as encode from '../wire/encode.ts';
import type { Admission } from './admission.ts';
import { gatewayRows } from './gateway-rows.ts';
import { maskIn } from './mask-tokens.ts';
import { isReport, isStall, type Obtainer, type Stall } from './obtain.ts';
import { NO_SUCH_NAME, type Outbound } from './outbound.ts';
import { Portal, preparedOf, Reply } from './replies.ts';
import type { LaneSession } from './session-state.ts';

/**
 * Parse, Bind, Describe, Execute, Close and Sync (manual, section "Extended Query"). A denied message is replaced by one that
 * certainly fails, so that order, rollback and status come out as for any error.
 */
export class ExtendedQuery {
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

  parse(bytes: Buffer, start: number, end: number): Stall | undefined {
    const session = this.#session;
    const nameEnd = endOfString(bytes, start + 5, end);
    const textEnd = endOfString(bytes, nameEnd + 1, end);
    if (textEnd + 3 > end || textEnd + 3 + 4 * bytes.readUInt16BE(textEnd + 1) !== end)
      throw new ProtocolViolation('Parse of another length than it says');
    const name = nameOf(bytes, start + 5, nameEnd);
    if (session.skipping) return undefined;
    if (name !== '' && session.prepared.has(name) && session.replies.size > 0) return { until: this.#out.answers() };
    const verdict = this.#obtain.verdict(bytes, nameEnd + 1, textEnd);
    if (isStall(verdict)) return verdict;
    const text = bytes.toString('utf8', nameEnd + 1, textEnd);
    const refused = isReport(verdict) ? verdict : this.#admission.refused(verdict);
    if (refused !== undefined || isReport(verdict)) {
      this.#admission.deny('parse', name, text, refused!, isReport(verdict) ? undefined : verdict);
      return undefined;
    }
    this.#out.extended();
    session.record.parsed(text, verdict);
    const rows = verdict.hasEffects ? gatewayRows(session, verdict.analysis) : undefined;
    if (rows === undefined) this.#out.pass(bytes, start, end);
    else this.#out.inject(encode.parse(name, rows, bytes.subarray(textEnd + 1, end)));
    const prepared = preparedOf(name, text, verdict, session.batch, parameterTypes(bytes, textEnd + 1, end));
    const reply = new Reply('parse');
    reply.prepared = prepared;
    this.#out.push(reply);
    const taken = name !== '' && session.prepared.has(name);
    if (taken) {
      // The server will refuse the name: nothing more is judged before that is certain.
      reply.settled = (ok) => void (ok && session.prepared.set(name, prepared));
      this.#out.inject(encode.flush());
      this.#out.waitFor = session.drained();
    } else session.prepared.set(name, prepared);
    return undefined;
  }

  /** A name whose Parse or Bind went out in an earlier pipeline and has not been answered may not exist after all. */
  #uncertain(item: { confirmed: boolean; batch: number } | undefined): boolean {
    return item !== undefined && !item.confirmed && item.batch !== this.#session.batch;
  }

  bind(bytes: Buffer, start: number, end: number): Stall | undefined {
    const session = this.#session;
    const message = bindMessage(bytes, start + 5, end);
    if (session.skipping) return undefined;
    const prepared = session.prepared.get(message.statement);
    if (this.#uncertain(prepared)) return { until: this.#out.answers() };
    this.#out.extended();
    if (prepared === undefined) {
      // The server does not know it either, or knows it from where we could not see: it gets a name that surely is not there.
      this.#failBind(unknownStatement(message.statement), '', undefined);
      return undefined;
    }
    const current = this.#obtain.current(prepared);
    if (isStall(current)) return current;
    const refused = isReport(current) ? current : this.#admission.refused(current);
    if (refused !== undefined) {
      this.#failBind(refused, prepared.text, isReport(current) ? undefined : current);
      return undefined;
    }
    if (maskIn(prepared.verdict.analysis, bytes, message.parameters)) {
      this.#failBind(laneError('SPG007'), prepared.text, undefined);
      return undefined;
    }
    const portal = new Portal(message, prepared, copyOf(message, bytes, start, end), start, session.batch);
    session.portals.set(message.portal, portal);
    const reply = new Reply('bind');
    reply.portal = portal;
    this.#out.push(reply);
    this.#out.pass(bytes, start, end);
    return undefined;
  }

  #failBind(report: LaneReport, text: string, verdict: Verdict | undefined): void {
    this.#admission.recordDenied(text, verdict, report);
    this.#out.needsSync = true;
    const reply = new Reply('bind');
    reply.substitute = this.#session.errorBytes(report);
    this.#out.push(reply);
    this.#out.inject(encode.bind('', NO_SUCH_NAME));
  }

  describe(bytes: Buffer, start: number, end: number): Stall | undefined {
    const session = this.#session;
    const kind = bytes[start + 5];
    const nameEnd = endOfString(bytes, start + 6, end);
    if (nameEnd + 1 !== end || (kind !== 83 && kind !== 80)) throw new ProtocolViolation('Describe of another form');
    if (session.skipping) return undefined;
    const name = nameOf(bytes, start + 6, nameEnd);
    const target = kind === 83 ? session.prepared.get(name) : session.portals.get(name);
    if (this.#uncertain(target)) return { until: this.#out.answers() };
    this.#out.extended();
    const reply = new Reply(kind === 83 ? 'describeStatement' : 'describePortal');
    if (target !== undefined) {
      if ('statement' in target) {
        reply.portal = target;
        target.describing = true;
      } else reply.prepared = target;
    }
    // Also what is not known here: a cursor that SQL declared is a portal too, and a description gives no data away.
    this.#out.pass(bytes, start, end);
    this.#out.push(reply);
    return undefined;
  }

  execute(bytes: Buffer, start: number, end: number): Stall | undefined {
    const session = this.#session;
    const nameEnd = endOfString(bytes, start + 5, end);
    if (nameEnd + 5 !== end) throw new ProtocolViolation('Execute of another length');
    if (session.skipping) return undefined;
    const portal = session.portals.get(nameOf(bytes, start + 5, nameEnd));
    if (this.#uncertain(portal)) return { until: this.#out.answers() };
    if (portal === undefined) {
      this.#failExecute(laneError('SPG027', bytes.toString('utf8', start + 5, nameEnd)), '', undefined);
      return undefined;
    }
    const { statement } = portal;
    const current = this.#obtain.current(statement);
    if (isStall(current)) return current;
    if (isReport(current)) {
      this.#failExecute(current, statement.text, undefined);
      return undefined;
    }
    const asked = { text: statement.text, portal };
    const refused =
      this.#admission.refused(current) ?? this.#admission.overRate(current) ?? this.#admission.approval(current, asked);
    if (refused !== undefined) {
      if (isStall(refused)) return refused;
      this.#failExecute(refused, statement.text, current);
      return undefined;
    }
    const command = this.#admission.received(current, asked);
    this.#out.extended();
    this.#admission.approvals.bindAgain(portal);
    this.#describeForMasking(portal);
    const reply = new Reply('execute');
    reply.portal = portal;
    this.#out.pass(bytes, start, end);
    if (current.decision.limits.maxRowsAffected !== undefined && current.modifiesRows) {
      this.#admission.runLimited(reply, current, command, () => {});
      return undefined;
    }
    this.#admission.runs(reply, current, command);
    return undefined;
  }

  /** The rows need a plan: when nobody has described the portal or its statement, the gateway does. */
  #describeForMasking(portal: Portal): void {
    const session = this.#session;
    if (session.masking.masks.empty) return;
    const { statement } = portal;
    if (statement.verdict.rowsByName) {
      // What the name means may have changed since anybody looked, and changes no more once the rows are being made.
      if (portal.begun) return;
      portal.begun = true;
    } else if (portal.plan !== undefined || portal.describing) return;
    else if (statement.columns !== undefined && statement.columnsIn === session.environment) return;
    portal.describing = true;
    const reply = new Reply('describePortal');
    reply.portal = portal;
    reply.prepared = statement;
    reply.swallow = true;
    this.#out.push(reply);
    this.#out.inject(encode.describe('P', portal.name));
  }

  #failExecute(report: LaneReport, text: string, verdict: Verdict | undefined): void {
    this.#admission.recordDenied(text, verdict, report);
    this.#out.needsSync = true;
    this.#out.extended();
    const reply = new Reply('execute');
    reply.substitute = this.#session.errorBytes(report);
    this.#out.push(reply);
    this.#out.inject(encode.execute(NO_SUCH_NAME));
  }

  close(bytes: Buffer, start: number, end: number): Stall | undefined {
    const session = this.#session;
    const nameEnd = endOfString(bytes, start + 6, end);
    const kind = bytes[start + 5];
    if (nameEnd + 1 !== end || (kind !== 83 && kind !== 80)) throw new ProtocolViolation('Close of another form');
    if (session.skipping) return undefined;
    this.#out.extended();
    const reply = new Reply('close');
    reply.name = nameOf(bytes, start + 6, nameEnd);
    if (kind === 80) reply.portal = session.portals.get(reply.name);
    else reply.prepared = session.prepared.get(reply.name);
    this.#out.push(reply);
    this.#out.pass(bytes, start, end);
    return undefined;
  }

  sync(bytes: Buffer, start: number, end: number): Stall | undefined {
    const session = this.#session;
    if (end - start !== 5) throw new ProtocolViolation('Sync of another length');
    if (session.copyIn) {
      session.heldSyncs++;
      return undefined;
    }
    this.#out.pass(bytes, start, end);
    session.skipping = false;
    this.#out.batchEnded();
    this.#out.push(this.#admission.approvals.outcomes.sync());
    return undefined;
  }
}

/** The values outlive the message: one copy of all of it. */
function copyOf(message: BindHeader, bytes: Buffer, start: number, end: number): Buffer {
  if (message.parameters.length === 0) return bytes;
  const copy = Buffer.allocUnsafe(end - start);
  bytes.copy(copy, 0, start, end);
  return copy;
}

function unknownStatement(name: string): LaneReport {
  const report = laneError('SPG008', name);
  return name === '' ? { ...report, message: 'unnamed prepared statement does not exist' } : report;
}
