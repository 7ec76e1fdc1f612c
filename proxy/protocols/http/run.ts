import { covers, type Hold } from '../../approval/holding.ts';
import type { ApprovalGrant } from '../../ports.ts';
import { storeRefused, waiting } from './approval-words.ts';
import { HttpRefused, reportOf } from './core/errors.ts';
import type { Exchange } from './core/port.ts';
import type { SignIn } from './credentials/sign-in.ts';
import { type LaneReport, laneError } from './errors.ts';
import { pass } from './forward.ts';
import { heldRequest } from './held-request.ts';
import { checkWrites, type ScopeMasks } from './masks.ts';
import type { AskedRequest } from './port.ts';
import { preferredWait } from './prefer.ts';
import { problemAnswer } from './problem.ts';
import { requestFields } from './requests.ts';
import type { HttpPorts, SessionState } from './session.ts';
import { targetHost, textOf, understand } from './understand.ts';
import type { Verdict } from './verdict.ts';

type HttpHold = Hold<LaneReport>;

/** What is spoken in no dialect. */
const PLAIN = { understand };
const NOT_NEEDED = 'it needs no approval any more';

/** What a request goes with. */
interface Dress {
  readonly signIn: SignIn;
  readonly masks: ScopeMasks;
}

/** One that may go. */
interface Ready extends Dress {
  readonly asked: AskedRequest;
  readonly verdict: Verdict;
}

/** One request from its head to the end of its answer. Resolves when the exchange has ended. */
export const run = (ports: HttpPorts, state: SessionState, exchange: Exchange): Promise<void> =>
  new RequestRun(ports, state, exchange).run();

/**
 * It is decided anew after everything that takes time: on the policy in force then, and on what was understood of the request under it.
 * Most requests wait for nothing: they come from the head to the record in one go. A class for the sake of speed.
 */
class RequestRun {
  readonly #ports: HttpPorts;
  readonly #state: SessionState;
  readonly #exchange: Exchange;
  #received = false;
  #counted = false;
  #asked: AskedRequest | undefined;
  /** The scope that it was understood for. */
  #understoodFor: unknown;
  /** What was waited for, and the scope that it is of. */
  #dressed: Dress | undefined;
  #dressedFor: unknown;
  /** Whole, where it was read. */
  #body: Buffer | undefined;
  #hold: HttpHold | undefined;
  #watched: AbortSignal | undefined;

  constructor(ports: HttpPorts, state: SessionState, exchange: Exchange) {
    this.#ports = ports;
    this.#state = state;
    this.#exchange = exchange;
  }

  async run(): Promise<void> {
    const exchange = this.#exchange;
    try {
      const next = this.#next();
      const ready = next instanceof Promise ? await next : next;
      if (ready !== undefined) await this.#send(ready);
    } catch (error) {
      if (exchange.answered) throw error;
      const { session } = exchange;
      if (!(error instanceof HttpRefused) && error instanceof Error)
        this.#ports.failed(session.id, 'a request failed', error);
      const report = reportOf(error);
      // What the record cannot take is not refused in words of it.
      if (report.code.startsWith('SPR')) throw error;
      await this.#refuse(report, undefined);
    } finally {
      this.#watched?.removeEventListener('abort', this.#withdraw);
      this.#drop('the request was not sent');
    }
  }

  /** As far as it comes without waiting, and from the beginning after each wait. @returns undefined: it was refused */
  #next(): Ready | Promise<Ready | undefined> {
    const { session, stopped } = this.#exchange;
    const gone = session.refresh() ?? stopped;
    if (gone !== undefined) return this.#refuse(gone, undefined);
    if (this.#asked === undefined || this.#understoodFor !== session.scope) {
      this.#understoodFor = session.scope;
      const waits = this.#understand();
      if (waits !== undefined) return waits.then(() => this.#next());
    }
    const asked = this.#asked;
    if (asked === undefined) throw new Error('a request that was understood means something');
    const { scope, connection, facts } = session;
    const verdict = this.#ports.verdicts.of(asked, scope, connection, facts);
    const refused = verdict.denial ?? session.suspended() ?? this.#hold?.report ?? this.#overRate(verdict);
    if (refused !== undefined) return this.#refuse(refused, verdict);
    if (!verdict.needsApproval) return this.#ready(asked, verdict);
    if (this.#hold !== undefined && !covers(this.#hold.asked, verdict.decision.requirements))
      this.#drop('policy asks for other approvals now');
    if (this.#hold?.grant !== undefined) return this.#ready(asked, verdict);
    return this.#comeCloser(asked, verdict).then(() => this.#next());
  }

  /** One step towards an approval. */
  async #comeCloser(asked: AskedRequest, verdict: Verdict): Promise<void> {
    const { holding } = this.#state;
    const hold = this.#hold;
    if (hold === undefined) this.#hold = await this.#ask(asked, verdict);
    else if (holding.approved(hold)) await this.#consume(hold);
    else await holding.wait(hold, this.#ports.bundles.current() === this.#exchange.session.bundle);
  }

  /** Undefined: it is understood. */
  #understand(): Promise<void> | undefined {
    const exchange = this.#exchange;
    const { connection } = exchange.session;
    const { dialects } = this.#ports;
    const dialect = dialects.find((each) => each.speaks(connection, exchange.head));
    const known = (dialect ?? PLAIN).understand(exchange);
    return known instanceof Promise ? known.then((made) => this.#check(made)) : this.#check(known);
  }

  #check(known: AskedRequest): Promise<void> | undefined {
    const { scope, connection } = this.#exchange.session;
    const masks = this.#ports.masksOf(scope, connection);
    return masks instanceof Promise ? masks.then((made) => this.#keep(known, made)) : this.#keep(known, masks);
  }

  /** Nothing that came from masking goes back, wherever it stands. */
  #keep(known: AskedRequest, { writes }: ScopeMasks): Promise<void> | undefined {
    const { head, session } = this.#exchange;
    // Read for an approver: it stays read.
    const body = known.body ?? this.#body;
    const keep = (whole: Buffer | undefined): undefined => {
      if (writes !== undefined) checkWrites(writes, head, whole);
      this.#body = whole;
      this.#asked = known;
    };
    const { maxBodyBytes } = session.connection.http;
    // What is short is looked through whole; the rest as it goes by.
    const short = head.hasBody && (head.contentLength ?? maxBodyBytes + 1) <= maxBodyBytes;
    if (writes === undefined || body !== undefined || !short) return keep(body);
    return this.#exchange.readBody(maxBodyBytes).then(keep);
  }

  #overRate({ decision }: Verdict): LaneReport | undefined {
    const rate = decision.limits.commandsPerMinute;
    if (rate === undefined || this.#counted) return undefined;
    this.#counted = true;
    const { connection, identity } = this.#exchange.session;
    const count = this.#ports.countCommand(connection, identity.subject.username);
    return count > rate ? laneError('SPE104', rate, { headers: ['retry-after', '60'] }) : undefined;
  }

  #drop(why: string, members = ''): void {
    const dropped = this.#hold;
    if (dropped === undefined) return;
    this.#hold = undefined;
    this.#state.holding.drop(dropped, why, members);
  }

  #recordReceived(verdict: Verdict | undefined): void {
    if (this.#received) return;
    this.#received = true;
    const { head, seq, session } = this.#exchange;
    const text = this.#asked?.text ?? textOf(session.connection, head);
    const host = targetHost(session.connection);
    this.#state.record.received(seq, verdict, { head, text, host, body: this.#body });
  }

  /** What is denied is in the record before the client hears of it. */
  async #refuse(report: LaneReport, verdict: Verdict | undefined): Promise<undefined> {
    const { record } = this.#state;
    const { session, seq } = this.#exchange;
    this.#recordReceived(verdict);
    this.#drop(report.message);
    record.denied(seq, verdict, report);
    session.denied();
    await record.stream.sync();
    const problem = problemAnswer(report, { session: session.id, seq });
    const { status, headers, body } = this.#asked?.dialect?.refuse?.(report, problem) ?? problem;
    await this.#exchange.answer(status, headers, body);
  }

  #dress(): Dress | Promise<Dress> {
    const { scope, connection } = this.#exchange.session;
    const signIn = this.#ports.signIns.of(connection, this.#exchange);
    const masks = this.#ports.masksOf(scope, connection);
    if (!(signIn instanceof Promise || masks instanceof Promise)) return { signIn, masks };
    return Promise.all([signIn, masks]).then(([made, known]) => ({ signIn: made, masks: known }));
  }

  /** What it goes with may have to be waited for, as a token is: then it is decided anew, and what was waited for is there. */
  #ready(asked: AskedRequest, verdict: Verdict): Ready | Promise<Ready | undefined> {
    const { scope } = this.#exchange.session;
    const dress = this.#dressedFor === scope && this.#dressed !== undefined ? this.#dressed : this.#dress();
    if (!(dress instanceof Promise)) return { asked, verdict, signIn: dress.signIn, masks: dress.masks };
    return dress.then((made) => {
      this.#dressedFor = scope;
      this.#dressed = made;
      return this.#next();
    });
  }

  async #ask(asked: AskedRequest, verdict: Verdict): Promise<HttpHold> {
    const { holding } = this.#state;
    const made = holding.begin(verdict.decision.requirements, () => {});
    if (this.#watched === undefined) {
      this.#watched = this.#exchange.signal;
      this.#watched.addEventListener('abort', this.#withdraw);
    }
    try {
      await this.#submit(made, asked, verdict);
    } catch (error) {
      if (error instanceof HttpRefused) made.report = error.report;
      else holding.broken(made, error);
    }
    return made;
  }

  async #submit(hold: HttpHold, asked: AskedRequest, verdict: Verdict): Promise<void> {
    const exchange = this.#exchange;
    const { session, head } = exchange;
    const { connection } = session;
    if (this.#body === undefined && head.hasBody) this.#body = await exchange.readBody(connection.http.maxBodyBytes);
    const { signIn, masks } = await this.#dress();
    const { answers } = masks;
    const headers = requestFields(head, connection, signIn, answers, asked.dialect !== undefined);
    const command = heldRequest({
      ...{ session, head, headers, asked, body: this.#body, verdict, requirements: hold.asked, masks: answers },
    });
    const submitted = await this.#ports.approvals.submit(command);
    if ('state' in submitted) {
      hold.report = storeRefused(submitted, hold.asked);
      return;
    }
    hold.ticket = submitted;
    const { stopped } = exchange;
    if (stopped !== undefined) hold.keep = true;
    if (submitted.approved || stopped !== undefined) return;
    this.#recordReceived(verdict);
    hold.seq = exchange.seq;
    await this.#state.holding.recordHeld(hold, submitted);
    this.#patience(hold);
  }

  /** How long it is waited for: as long as the client says that it will, and not at all where a rule rejects. */
  #patience(held: HttpHold): void {
    const { head, session } = this.#exchange;
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

  readonly #withdraw = (): void => {
    const hold = this.#hold;
    if (hold === undefined) return;
    hold.report ??= reportOf(this.#exchange.signal.reason);
    // It may be sent again: then it finds the request, and the decision on it.
    hold.keep = true;
    hold.stop.abort(new Error('the client gave up'));
  };

  /** The right to send it, once; what could keep it from being sent comes before. */
  async #consume(held: HttpHold): Promise<void> {
    held.keep = true;
    await this.#dress();
    await this.#state.holding.consume(held);
    held.keep = false;
  }

  #send({ asked, verdict, signIn, masks }: Ready): Promise<unknown> {
    const { holding, record } = this.#state;
    const exchange = this.#exchange;
    const held = this.#hold;
    const grant = held?.grant;
    if (held?.ticket === undefined || grant === undefined) {
      this.#drop(NOT_NEEDED, verdict.recordMembers);
      this.#recordReceived(verdict);
    } else {
      this.#recordReceived(verdict);
      held.seq = exchange.seq;
      this.#hold = undefined;
      holding.release(held, held.ticket, grant, verdict.recordMembers);
    }
    const passing = pass({
      ports: this.#ports,
      record,
      exchange,
      asked,
      body: this.#body,
      verdict,
      signIn,
      masks,
      approved: grant !== undefined,
    });
    return grant === undefined ? passing : this.#settled(passing, grant);
  }

  async #settled(passing: Promise<boolean>, grant: ApprovalGrant): Promise<void> {
    const { holding } = this.#state;
    try {
      holding.settle(grant, (await passing) ? 'Executed' : 'Failed');
    } catch (error) {
      holding.settle(grant, 'Failed');
      throw error;
    }
  }
}
