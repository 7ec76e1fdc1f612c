import { covers, type Hold } from '../../approval/holding.ts';
import type { ApprovalGrant } from '../../ports.ts';
import { storeRefused, waiting } from './approval-words.ts';
import { HttpRefused, reportOf } from './core/errors.ts';
import type { Exchange, HeaderFields } from './core/port.ts';
import type { SignIn } from './credentials/sign-in.ts';
import { type LaneReport, laneError } from './errors.ts';
import { pass } from './forward.ts';
import { heldRequest } from './held-request.ts';
import { checkWrites } from './masks.ts';
import type { AskedRequest } from './port.ts';
import { preferredWait } from './prefer.ts';
import { problemAnswer } from './problem.ts';
import { requestFields } from './requests.ts';
import type { HttpPorts, SessionState } from './session.ts';
import { commandOf, targetHost, understand } from './understand.ts';
import { createVerdict, type Verdict } from './verdict.ts';

type HttpHold = Hold<LaneReport>;

/** What is spoken in no dialect. */
const PLAIN = { understand };
const NOT_NEEDED = 'it needs no approval any more';

/**
 * One request from its head to the end of its answer. It is decided anew after everything that takes time: on the policy in force then,
 * and on what was understood of the request under it.
 */
export async function run(
  ports: HttpPorts,
  { session, record, holding }: SessionState,
  exchange: Exchange,
): Promise<void> {
  const { head, seq } = exchange;
  let received = false;
  let hold: HttpHold | undefined;
  let asked: AskedRequest | undefined;
  /** The scope that it was understood for. */
  let understoodFor: unknown;
  let counted = false;

  let watched: AbortSignal | undefined;
  const withdraw = (): void => {
    if (hold === undefined) return;
    hold.report ??= reportOf(exchange.signal.reason);
    // It may be sent again: then it finds the request, and the decision on it.
    hold.keep = true;
    hold.stop.abort(new Error('the client gave up'));
  };
  try {
    for (;;) {
      const gone = session.refresh();
      if (gone !== undefined) return await refuse(gone, undefined);
      const { stopped } = exchange;
      if (stopped !== undefined) return await refuse(stopped, undefined);
      if (asked === undefined || understoodFor !== session.scope) {
        understoodFor = session.scope;
        asked = await meaning(asked);
        continue;
      }
      const verdict = judge(asked);
      const refused = verdict.denial ?? session.suspended() ?? hold?.report ?? overRate(verdict);
      if (refused !== undefined) return await refuse(refused, verdict);
      if (!verdict.needsApproval) return await admitted(asked, verdict);
      if (hold !== undefined && !covers(hold.asked, verdict.decision.requirements))
        drop('policy asks for other approvals now');
      if (hold?.grant !== undefined) return await admitted(asked, verdict);
      if (hold === undefined) hold = await ask(asked, verdict);
      else if (holding.approved(hold)) await consume(hold);
      else await holding.wait(hold, ports.bundles.current() === session.bundle);
    }
  } catch (error) {
    if (exchange.answered) throw error;
    if (!(error instanceof HttpRefused) && error instanceof Error) ports.failed(session.id, 'a request failed', error);
    const report = reportOf(error);
    // What the record cannot take is not refused in words of it.
    if (report.code.startsWith('SPR')) throw error;
    await refuse(report, undefined);
  } finally {
    watched?.removeEventListener('abort', withdraw);
    drop('the request was not sent');
  }

  async function meaning(before: AskedRequest | undefined): Promise<AskedRequest> {
    const { connection, scope } = session;
    const dialect = ports.dialects.find((each) => each.speaks(connection, head));
    const known = await (dialect ?? PLAIN).understand(exchange);
    // Read for an approver: it stays read.
    const body = known.body ?? before?.body;
    const { writes } = await ports.masksOf(scope, connection);
    if (writes === undefined) return { ...known, body };
    const { maxBodyBytes } = connection.http;
    // What is short is looked through whole; the rest as it goes by.
    const short = head.hasBody && (head.contentLength ?? maxBodyBytes + 1) <= maxBodyBytes;
    const whole = body ?? (short ? await exchange.readBody(maxBodyBytes) : undefined);
    checkWrites(writes, head, whole);
    return { ...known, body: whole };
  }

  function judge({ command }: AskedRequest): Verdict {
    const decision = session.scope.decide(command, { now: new Date(), session: session.facts });
    return createVerdict(command, decision, session.connection, () => session.scope.permissions());
  }

  function overRate({ decision }: Verdict): LaneReport | undefined {
    const rate = decision.limits.commandsPerMinute;
    if (rate === undefined || counted) return undefined;
    counted = true;
    const count = ports.countCommand(session.connection, session.identity.subject.username);
    return count > rate ? laneError('SPE104', rate, { headers: ['retry-after', '60'] }) : undefined;
  }

  function drop(why: string, members = ''): void {
    const dropped = hold;
    hold = undefined;
    if (dropped !== undefined) holding.drop(dropped, why, members);
  }

  function recordReceived(verdict: Verdict | undefined): void {
    if (received) return;
    received = true;
    const { connection } = session;
    const text = asked?.command.text ?? commandOf(connection, head).text;
    record.received(seq, verdict, { head, text, host: targetHost(connection), body: asked?.body });
  }

  /** What is denied is in the record before the client hears of it. */
  async function refuse(report: LaneReport, verdict: Verdict | undefined): Promise<void> {
    recordReceived(verdict);
    drop(report.message);
    record.denied(seq, verdict, report);
    session.denied();
    await record.stream.sync();
    const problem = problemAnswer(report, { session: session.id, seq });
    const { status, headers, body } = asked?.dialect?.refuse?.(report, problem) ?? problem;
    await exchange.answer(status, headers, body);
  }

  /** What the request goes with, and the fields of the client that go with it. */
  async function dressed(): Promise<{ readonly signIn: SignIn; readonly fields: HeaderFields }> {
    const { connection, scope } = session;
    const [signIn, masks] = await Promise.all([
      ports.signIns.of(connection, exchange),
      ports.masksOf(scope, connection),
    ]);
    return { signIn, fields: requestFields(head, connection, signIn, masks.answers, asked?.dialect !== undefined) };
  }

  async function ask(request: AskedRequest, verdict: Verdict): Promise<HttpHold> {
    const { connection, scope } = session;
    const { requirements } = verdict.decision;
    const made = holding.begin(requirements, () => {});
    if (watched === undefined) {
      watched = exchange.signal;
      watched.addEventListener('abort', withdraw);
    }
    try {
      await submit(made, request, verdict);
    } catch (error) {
      if (error instanceof HttpRefused) made.report = error.report;
      else holding.broken(made, error);
    }
    return made;

    async function submit(to: HttpHold, { body }: AskedRequest, of: Verdict): Promise<void> {
      const whole = body ?? (head.hasBody ? await exchange.readBody(connection.http.maxBodyBytes) : undefined);
      const shown: AskedRequest = whole === undefined ? request : { ...request, body: whole };
      asked = shown;
      const { fields } = await dressed();
      const { answers: masks } = await ports.masksOf(scope, connection);
      const command = heldRequest({
        ...{ session, head, headers: fields, asked: shown, verdict: of, requirements: to.asked, masks },
      });
      const submitted = await ports.approvals.submit(command);
      if ('state' in submitted) {
        to.report = storeRefused(submitted, to.asked);
        return;
      }
      to.ticket = submitted;
      const { stopped } = exchange;
      if (stopped !== undefined) to.keep = true;
      if (submitted.approved || stopped !== undefined) return;
      recordReceived(of);
      to.seq = seq;
      await holding.recordHeld(to, submitted);
      patience(to);
    }
  }

  /** How long it is waited for: as long as the client says that it will, and not at all where a rule rejects. */
  function patience(held: HttpHold): void {
    const wanted = preferredWait(head.headers);
    const rejects = held.asked.some((requirement) => requirement.hold === 'Reject');
    const seconds = wanted === undefined ? undefined : rejects ? 0 : wanted;
    const { ticket } = held;
    if (ticket === undefined) return;
    const give = (): void => {
      held.keep = true;
      held.report ??= waiting(ticket, session.connection.namespace, held.asked, seconds);
      held.stop.abort(new Error('the client waits no longer'));
    };
    if (seconds === undefined || seconds === 0) give();
    else {
      const timer = setTimeout(give, seconds * 1000);
      held.stop.signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
    }
  }

  /** The right to send it, once; what could keep it from being sent comes before. */
  async function consume(held: HttpHold): Promise<void> {
    held.keep = true;
    await dressed();
    await holding.consume(held);
    held.keep = false;
  }

  async function admitted(request: AskedRequest, verdict: Verdict): Promise<void> {
    const held = hold;
    const grant: ApprovalGrant | undefined = held?.grant;
    try {
      const { signIn, fields } = await dressed();
      if (held?.ticket === undefined || grant === undefined) {
        drop(NOT_NEEDED, verdict.recordMembers);
        recordReceived(verdict);
      } else {
        recordReceived(verdict);
        held.seq = seq;
        hold = undefined;
        holding.release(held, held.ticket, grant, verdict.recordMembers);
      }
      const passed = await pass({
        ...{ ports, session, record, exchange, asked: request, verdict, signIn, fields, approved: grant !== undefined },
      });
      if (grant !== undefined) holding.settle(grant, passed ? 'Executed' : 'Failed');
    } catch (error) {
      if (grant !== undefined && hold === undefined) holding.settle(grant, 'Failed');
      throw error;
    }
  }
}
