import type { ApprovalTicket } from '../../../ports.ts';
import { type LaneReport, laneError } from '../errors.ts';
import type { Verdict } from '../judge.ts';
import * as encode from '../wire/encode.ts';
import { STATUS } from '../wire/messages.ts';
import { heldNotice, inTransaction, notApproved, rejected, storeRefused } from './approval-words.ts';
import { Asking } from './asking.ts';
import { type AskedCommand, aborted, covers, type Hold, newHold, readsClient } from './hold.ts';
import type { Stall } from './obtain.ts';
import type { Outbound } from './outbound.ts';
import { Outcomes } from './outcomes.ts';
import { type Portal, Reply } from './replies.ts';
import type { LaneSession } from './session-state.ts';

/** Holds what needs people: asks the store, tells the client, and lets the command run once when it was approved. */
export class Approvals {
  readonly #session: LaneSession;
  readonly #out: Outbound;
  readonly #asking: Asking;
  readonly outcomes: Outcomes;
  #hold: Hold | undefined;
  /** Waits for earlier answers before it is known whether the command can be held. */
  #settling = false;
  constructor(session: LaneSession, out: Outbound) {
    this.#session = session;
    this.#out = out;
    this.#asking = new Asking(session, out);
    this.outcomes = new Outcomes(session);
    session.cancelHeld = () => this.#cancel();
    session.signal.addEventListener('abort', () => this.#sessionEnded(), { once: true });
  }

  /** The message under way has been here before: it is one command, however often it is handled. */
  get underWay(): boolean {
    return this.#hold !== undefined || this.#settling;
  }

  /** Undefined: it may run. A Stall: handle the message again then. */
  admit(verdict: Verdict, command: AskedCommand): LaneReport | Stall | undefined {
    if (!verdict.needsApproval || command.portal?.released === true) return undefined;
    const hold = this.#hold;
    if (hold === undefined) return this.#begin(verdict, command);
    if (hold.report !== undefined) return hold.report;
    if (!covers(hold.asked, verdict.decision.requirements)) {
      this.#drop(hold, 'policy asks for other approvals now');
      return this.#begin(verdict, command);
    }
    if (hold.grant !== undefined) return undefined;
    const approved = hold.ticket?.approved === true || hold.decision?.state === 'Approved';
    return { until: Promise.race([approved ? this.#consume(hold) : this.#wait(hold), aborted(hold.stop.signal)]) };
  }

  /** What can be held at all: nothing of an open transaction, nothing that nobody can look at. */
  #begin(verdict: Verdict, command: AskedCommand): LaneReport | Stall {
    const session = this.#session;
    if (readsClient(verdict)) return laneError('SPG031');
    if (session.replies.size > 0) {
      this.#settling = true;
      return { until: this.#out.answers() };
    }
    const others = [...session.portals.values()].some(
      (portal) => portal !== command.portal && portal.batch === session.batch,
    );
    if (session.status !== STATUS.idle || session.ranInBatch || (session.inBatch && others))
      return inTransaction(verdict);
    // It is bound again by the name of its statement before it runs, and people read what the name meant when it was bound first.
    const statement = command.portal?.statement;
    if (statement !== undefined && session.prepared.get(statement.name) !== statement)
      return laneError('SPG020', 'a statement that needs approval, whose name another has taken');
    const hold = newHold(verdict.decision.requirements);
    this.#hold = hold;
    const asking = this.#ask(hold, verdict, command).catch((error: unknown) => this.#broken(hold, error));
    return { until: Promise.race([asking, aborted(hold.stop.signal)]) };
  }

  #broken(hold: Hold, error: unknown): void {
    if (hold.stop.signal.aborted) return;
    hold.report ??= laneError('SPG032', 'it could not be asked for');
    this.#failed('an approval could not be asked for', error);
  }

  #failed(what: string, error: unknown): void {
    this.#session.ports.failed(this.#session.id, what, error instanceof Error ? error : new Error(String(error)));
  }

  async #ask(hold: Hold, verdict: Verdict, command: AskedCommand): Promise<void> {
    const { signal } = hold.stop;
    const asked = await this.#asking.submit(hold.asked, verdict, command, signal);
    if (asked === undefined) return;
    if (!('ticket' in asked)) {
      hold.report = asked;
      return;
    }
    const { ticket } = asked;
    hold.ticket = ticket;
    if (signal.aborted) {
      this.#withdraw(ticket, 'the command was cancelled');
      return;
    }
    if (ticket.approved) return;
    await this.#recordHeld(hold, ticket, command, verdict);
    if (signal.aborted) return;
    if (hold.asked.some((requirement) => requirement.hold === 'Reject')) {
      hold.keep = true;
      hold.report = rejected(ticket, this.#session.connection.namespace, hold.asked);
      return;
    }
    this.#asking.countOnRequest(asked, signal);
    await this.#wait(hold);
  }

  /** On disk before the client hears of it. */
  async #recordHeld(hold: Hold, ticket: ApprovalTicket, command: AskedCommand, verdict: Verdict): Promise<void> {
    const { record } = this.#session;
    this.#recordReceived(hold, command, verdict);
    record.held(hold.seq, ticket, hold.asked);
    try {
      await record.stream.sync();
    } catch (error) {
      this.#session.recordFailed(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #recordReceived(hold: Hold, command: AskedCommand, verdict: Verdict): void {
    hold.seq = ++this.#session.commands;
    this.#session.record.received(hold.seq, command.text, verdict, command.portal);
  }

  /** Until people have decided, or policy has changed: then the message is judged again. */
  async #wait(hold: Hold): Promise<void> {
    const session = this.#session;
    const { ticket } = hold;
    const { signal } = hold.stop;
    if (ticket === undefined || signal.aborted || session.ended) return;
    hold.deciding ??= ticket.decided(signal).then(
      (decision) => {
        hold.decision = decision;
        if (decision.state !== 'Approved') hold.report = notApproved(ticket, decision.state, decision.message);
      },
      (error: unknown) => this.#broken(hold, error),
    );
    if (hold.notices === undefined) this.#notify(hold, ticket);
    const changed = Promise.withResolvers<void>();
    const unsubscribe = session.ports.bundles.onChange(() => changed.resolve());
    session.waiting = true;
    session.readOn();
    if (session.ports.bundles.current() === session.bundle)
      await Promise.race([hold.deciding, changed.promise, aborted(signal)]);
    session.waiting = false;
    session.lastActivity = Date.now();
    unsubscribe();
  }

  #notify(hold: Hold, ticket: ApprovalTicket): void {
    const session = this.#session;
    hold.since = Date.now();
    const tell = (): void => {
      const waited = Date.now() - hold.since;
      session.client.write(heldNotice(ticket, session.connection.namespace, hold.asked, waited));
    };
    tell();
    hold.notices = setInterval(tell, session.ports.holdNoticeMs);
    hold.notices.unref();
  }

  async #consume(hold: Hold): Promise<void> {
    const { ticket } = hold;
    if (ticket === undefined) return;
    if (Date.now() >= this.#session.identity.sessionExpiresAt.getTime()) {
      this.#session.fail(laneError('SPG014', 'your token has expired', { hint: 'Connect again with a fresh token.' }));
      return;
    }
    try {
      const result = await ticket.consume();
      if (result.state === 'Refused') hold.report = storeRefused(result, hold.asked);
      else if (hold.stop.signal.aborted) this.outcomes.settle(result, 'Failed');
      else hold.grant = result;
    } catch (error) {
      this.#broken(hold, error);
    }
  }

  /** The command runs now. Returns its number when it was recorded as held or is released here. */
  released(verdict: Verdict, command: AskedCommand): number | undefined {
    const hold = this.#hold;
    if (hold === undefined) return undefined;
    const { ticket, grant } = hold;
    if (ticket === undefined || grant === undefined) {
      // Policy does not ask for it any more.
      const { seq } = hold;
      this.#drop(hold, 'no approval is needed any more', verdict.recordMembers);
      return seq === 0 ? undefined : seq;
    }
    if (hold.seq === 0) this.#recordReceived(hold, command, verdict);
    this.#session.record.released(hold.seq, ticket, {
      state: grant.state,
      votes: grant.votes,
      members: verdict.recordMembers,
    });
    if (command.portal !== undefined) command.portal.released = true;
    this.outcomes.expect(grant);
    this.#clear(hold);
    return hold.seq;
  }

  /** Before the Execute of a portal whose transaction was ended while its command was held: the values are those that were approved. */
  bindAgain(portal: Portal): void {
    if (!portal.unbound) return;
    portal.unbound = false;
    const reply = new Reply('bind');
    reply.portal = portal;
    reply.quiet = true;
    this.#out.push(reply);
    this.#out.inject(encode.bindValues(portal.name, portal.statement.name, portal));
  }

  /** The number of a held command that is denied now; undefined when none was recorded. */
  denied(): number | undefined {
    const hold = this.#hold;
    if (hold === undefined) return undefined;
    this.#drop(hold, hold.report?.message ?? 'policy denies it now');
    return hold.seq === 0 ? undefined : hold.seq;
  }

  /** A message has been handled for good: whatever was asked for it is not needed any more. */
  done(): void {
    this.#settling = false;
    if (this.#hold !== undefined) this.#drop(this.#hold, 'the command was not run');
  }

  #clear(hold: Hold): void {
    clearInterval(hold.notices);
    this.#hold = undefined;
    hold.stop.abort(new Error('no longer held'));
  }

  #drop(hold: Hold, why: string, members = ''): void {
    const { ticket, grant, decision } = hold;
    this.#clear(hold);
    if (hold.keep || ticket === undefined) return;
    const state =
      grant?.state ?? (decision === undefined || decision.state === 'Approved' ? 'Withdrawn' : decision.state);
    if (hold.seq > 0) this.#recordReleased(hold.seq, ticket, { state, reason: why, members });
    if (grant !== undefined) this.outcomes.settle(grant, 'Failed');
    else if (state === 'Withdrawn') this.#withdraw(ticket, why);
  }

  /** Of a command that does not run: nothing is forwarded that would bring it to the disk. */
  #recordReleased(
    seq: number,
    ticket: ApprovalTicket,
    release: Parameters<LaneSession['record']['released']>[2],
  ): void {
    const { record } = this.#session;
    record.released(seq, ticket, release);
    record.stream.sync().catch((error: Error) => this.#session.recordFailed(error));
  }

  #withdraw(ticket: ApprovalTicket, why: string): void {
    ticket.withdraw(why).catch((error: unknown) => this.#failed('a request could not be withdrawn', error));
  }

  /** The client gives up: as the server says it when it cancels a statement. */
  #cancel(): boolean {
    const hold = this.#hold;
    if (hold === undefined || hold.report !== undefined) return false;
    hold.report = laneError('SPG033');
    hold.stop.abort(new Error('cancelled'));
    return true;
  }

  #sessionEnded(): void {
    const hold = this.#hold;
    if (hold === undefined) return;
    const { reason } = this.#session.signal;
    this.#drop(hold, reason instanceof Error ? reason.message : 'the session ended');
  }
}
