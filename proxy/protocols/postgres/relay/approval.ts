import { aborted, covers, createHolding, type Hold as Held, type Holding } from '../../../approval/holding.ts';
import { type LaneReport, laneError } from '../errors.ts';
import type { Verdict } from '../judge.ts';
import * as encode from '../wire/encode.ts';
import { STATUS } from '../wire/messages.ts';
import { heldNotice, inTransaction, notApproved, rejected, storeRefused } from './approval-words.ts';
import { Asking } from './asking.ts';
import { type AskedCommand, readsClient } from './hold.ts';
import type { Stall } from './obtain.ts';
import type { Outbound } from './outbound.ts';
import { Outcomes } from './outcomes.ts';
import { type Portal, Reply } from './replies.ts';
import type { LaneSession } from './session-state.ts';

type Hold = Held<LaneReport>;

/** Holds what needs people: asks the store, tells the client, and lets the command run once when it was approved. */
export class Approvals {
  readonly #session: LaneSession;
  readonly #out: Outbound;
  readonly #asking: Asking;
  readonly outcomes: Outcomes;
  readonly #holding: Holding<LaneReport>;
  #hold: Hold | undefined;
  /** Waits for earlier answers before it is known whether the command can be held. */
  #settling = false;
  constructor(session: LaneSession, out: Outbound) {
    this.#session = session;
    this.#out = out;
    this.#asking = new Asking(session, out);
    this.outcomes = new Outcomes(session);
    const { record, ports } = session;
    this.#holding = createHolding<LaneReport>({
      bundles: ports.bundles,
      noticeMs: ports.holdNoticeMs,
      record: {
        held: (seq, ticket, asked) => record.held(seq, ticket, asked),
        released: (seq, ticket, release) => record.released(seq, ticket, release),
        sync: () => record.stream.sync(),
      },
      recordFailed: (error) => session.recordFailed(error),
      failed: (what, error) => ports.failed(session.id, what, error),
      words: {
        notApproved,
        refused: storeRefused,
        broken: () => laneError('SPG032', 'it could not be asked for'),
      },
    });
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
    const step = this.#holding.approved(hold) ? this.#consume(hold) : this.#wait(hold);
    return { until: Promise.race([step, aborted(hold.stop.signal)]) };
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
    const hold = this.#holding.begin(verdict.decision.requirements, (ticket, asked, waitedMs) => {
      session.client.write(heldNotice(ticket, session.connection.namespace, asked, waitedMs));
    });
    this.#hold = hold;
    const asking = this.#ask(hold, verdict, command).catch((error: unknown) => this.#holding.broken(hold, error));
    return { until: Promise.race([asking, aborted(hold.stop.signal)]) };
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
      this.#holding.drop(hold, 'the command was cancelled');
      return;
    }
    if (ticket.approved) return;
    this.#recordReceived(hold, command, verdict);
    await this.#holding.recordHeld(hold, ticket);
    if (signal.aborted) return;
    if (hold.asked.some((requirement) => requirement.hold === 'Reject')) {
      hold.keep = true;
      hold.report = rejected(ticket, this.#session.connection.namespace, hold.asked);
      return;
    }
    this.#asking.countOnRequest(asked, signal);
    await this.#wait(hold);
  }

  #recordReceived(hold: Hold, command: AskedCommand, verdict: Verdict): void {
    hold.seq = ++this.#session.commands;
    this.#session.record.received(hold.seq, command.text, verdict, command.portal);
  }

  /** Until people have decided, or policy has changed: then the message is judged again. */
  async #wait(hold: Hold): Promise<void> {
    const session = this.#session;
    if (hold.ticket === undefined || hold.stop.signal.aborted || session.ended) return;
    session.waiting = true;
    const waiting = this.#holding.wait(hold, session.ports.bundles.current() === session.bundle);
    session.readOn();
    await waiting;
    session.waiting = false;
    session.lastActivity = Date.now();
  }

  async #consume(hold: Hold): Promise<void> {
    if (Date.now() >= this.#session.identity.sessionExpiresAt.getTime()) {
      this.#session.fail(laneError('SPG014', 'your token has expired', { hint: 'Connect again with a fresh token.' }));
      return;
    }
    await this.#holding.consume(hold);
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
    this.#hold = undefined;
    this.#holding.release(hold, ticket, grant, verdict.recordMembers);
    if (command.portal !== undefined) command.portal.released = true;
    this.outcomes.expect(grant);
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

  #drop(hold: Hold, why: string, members = ''): void {
    this.#hold = undefined;
    this.#holding.drop(hold, why, members);
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
