import type { ApprovalRequirement } from '../../../../policy/decision.ts';
import type { ApprovalDecision, ApprovalGrant, ApprovalTicket, EffectPreview } from '../../../ports.ts';
import { type LaneReport, laneError } from '../errors.ts';
import { fingerprintOf, MOST_SHOWN, NO_PREVIEW, present, type Shown } from '../held/present.ts';
import { measure, type PreviewGround, preview } from '../held/preview.ts';
import type { Verdict } from '../judge.ts';
import * as encode from '../wire/encode.ts';
import { STATUS } from '../wire/messages.ts';
import { heldNotice, inTransaction, notApproved, rejected, storeRefused } from './approval-words.ts';
import { meaningOf, namedStatements } from './meaning.ts';
import type { Stall } from './obtain.ts';
import type { Outbound } from './outbound.ts';
import { type Portal, Reply } from './replies.ts';
import type { LaneSession } from './session-state.ts';

/** The command that a message asks to run, with what it brings besides its text. */
export interface AskedCommand {
  readonly text: string;
  readonly portal: Portal | undefined;
  /** Of a FunctionCall, which has no portal. */
  readonly parameters?: readonly (Uint8Array | null)[];
  readonly formats?: readonly (0 | 1)[];
}

/** One command on its way to people and back. Its message is handled again after each step, on the policy then in force. */
interface Hold {
  /** Aborted by a cancel, by the end of the session, and when the hold is given up. */
  readonly stop: AbortController;
  /** Number of the command in the session; 0 until it is recorded. */
  seq: number;
  asked: readonly ApprovalRequirement[];
  ticket: ApprovalTicket | undefined;
  deciding: Promise<void> | undefined;
  decision: ApprovalDecision | undefined;
  grant: ApprovalGrant | undefined;
  /** Why it does not run. */
  report: LaneReport | undefined;
  /** The request outlives this message: its command may come again. */
  keep: boolean;
  since: number;
  notices: NodeJS.Timeout | undefined;
}

/** The preview is waited for this long before people are asked; one that takes longer is handed in later. In milliseconds. */
const PREVIEW_WAIT_MS = 250;
/** A Sync has nothing of its own to remember. */
const SYNC = new Reply('sync');

/** Rows of COPY FROM STDIN come after its approval: nobody could have seen them. */
function readsClient(verdict: Verdict): boolean {
  return verdict.analysis.statements.some(({ effects }) =>
    effects.some((effect) => effect.type === 'copy' && effect.direction === 'from' && effect.via === 'stdio'),
  );
}

/** A rule without its number: that the resource changed elsewhere asks nobody again. */
function requirementKey({ rule, message: _shown, ...asked }: ApprovalRequirement): string {
  const { namespace, policy, rule: name } = rule;
  return JSON.stringify([namespace, policy, name, asked]);
}

/** Whether whoever met `asked` has met `needed`. */
function covers(asked: readonly ApprovalRequirement[], needed: readonly ApprovalRequirement[]): boolean {
  const known = new Set(asked.map(requirementKey));
  return needed.every((requirement) => known.has(requirementKey(requirement)));
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Holds what needs people: asks the store, tells the client, and lets the command run once when it was approved. */
export class Approvals {
  readonly #session: LaneSession;
  readonly #out: Outbound;
  #hold: Hold | undefined;
  /** Waits for earlier answers before it is known whether the command can be held. */
  #settling = false;
  /** Approved, recorded, and about to be forwarded. */
  #granted: ApprovalGrant | undefined;
  /** One of this pipeline is followed to the Sync that ends it. */
  #toSync = false;
  /** Ran in a pipeline whose end is not known yet. */
  readonly #unsettled: { readonly grant: ApprovalGrant; failures: number }[] = [];

  constructor(session: LaneSession, out: Outbound) {
    this.#session = session;
    this.#out = out;
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
    const hold: Hold = {
      stop: new AbortController(),
      seq: 0,
      asked: verdict.decision.requirements,
      ticket: undefined,
      deciding: undefined,
      decision: undefined,
      grant: undefined,
      report: undefined,
      keep: false,
      since: 0,
      notices: undefined,
    };
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
    const session = this.#session;
    const { signal } = hold.stop;
    await this.#endImplicit(command.portal);
    const meaning = await meaningOf(session, verdict.analysis);
    if (signal.aborted) return;
    await this.#findTypes(command.portal);
    if (signal.aborted) return;
    const { portal, text } = command;
    const parameters = portal?.parameters ?? command.parameters ?? [];
    const formats = portal?.formats ?? command.formats ?? [];
    const shown: Shown = {
      text,
      analysis: verdict.analysis,
      parameters,
      formats,
      types: portal?.statement.types ?? [],
    };
    const named = new Map(
      [...namedStatements(session, verdict.analysis)].map(([name, statement]) => [
        name,
        { ...statement, parameters: [], formats: [], types: [] },
      ]),
    );
    const presentation = present(shown, verdict, named, session.masking.content);
    const bytes = Buffer.byteLength(presentation.display);
    if (bytes > MOST_SHOWN) {
      hold.report = laneError('SPG029', String(bytes));
      return;
    }
    const ground: PreviewGround = {
      environment: { ...verdict.environment, prepared: () => undefined },
      settings: meaning.changed,
      dial: (dialled) => session.dial(dialled),
    };
    const previewing = preview(shown, ground, signal);
    const soon = await sooner(previewing, PREVIEW_WAIT_MS);
    const submitted = await session.ports.approvals.submit({
      connection: session.connection,
      subject: session.identity.subject,
      sessionId: session.id,
      database: session.database,
      text,
      parameters,
      formats,
      settings: meaning.settings,
      requirements: hold.asked,
      fingerprint: fingerprintOf(text, verdict),
      presentation: { ...presentation, preview: soon ?? NO_PREVIEW('it is still being made') },
    });
    if ('state' in submitted) {
      hold.report = storeRefused(submitted);
      return;
    }
    hold.ticket = submitted;
    if (signal.aborted) {
      this.#withdraw(submitted, 'the command was cancelled');
      return;
    }
    if (soon === undefined) this.#handIn(submitted, previewing);
    if (submitted.approved) return;
    await this.#recordHeld(hold, submitted, command, verdict);
    if (signal.aborted) return;
    if (hold.asked.some((requirement) => requirement.hold === 'Reject')) {
      hold.keep = true;
      hold.report = rejected(submitted, session.connection.namespace, hold.asked);
      return;
    }
    this.#countOnRequest(hold, submitted, shown, ground, previewing);
    await this.#wait(hold);
  }

  /**
   * Parse and Bind have opened an implicit transaction, and Parse has locked the tables of the statement: nothing has run in it, so
   * it is ended here, and the portal is bound again before it runs.
   */
  async #endImplicit(portal: Portal | undefined): Promise<void> {
    const session = this.#session;
    if (!session.inBatch) return;
    this.#askFor();
    this.#out.batchEnded();
    if (portal !== undefined) portal.unbound = true;
    await session.drained();
  }

  /** A message of the gateway's own, and a Sync behind it; the client hears of neither. */
  #askFor(reply?: Reply, bytes: Buffer = Buffer.alloc(0)): void {
    const end = new Reply('sync');
    for (const own of reply === undefined ? [end] : [reply, end]) {
      own.swallow = true;
      this.#session.replies.push(own);
    }
    this.#out.inject(Buffer.concat([bytes, encode.sync()]));
  }

  /** Binary values are read by their types, which only the server knows when the client left them open. */
  async #findTypes(portal: Portal | undefined): Promise<void> {
    if (portal === undefined) return;
    const { statement, parameters, formats } = portal;
    const open = parameters.some((value, index) => value !== null && formats[index] === 1 && !statement.types[index]);
    if (!open || statement.bySql) return;
    const reply = new Reply('describeStatement');
    reply.prepared = statement;
    this.#askFor(reply, encode.describe('S', statement.name));
    await this.#session.drained();
  }

  #handIn(ticket: ApprovalTicket, previewing: Promise<EffectPreview>): void {
    previewing
      .then((made) => ticket.previewed(made))
      .catch((error: unknown) => this.#failed('a preview could not be handed in', error));
  }

  #countOnRequest(
    hold: Hold,
    ticket: ApprovalTicket,
    shown: Shown,
    ground: PreviewGround,
    previewing: Promise<EffectPreview>,
  ): void {
    let counting = false;
    const unsubscribe = ticket.onCountWanted(() => {
      if (counting || hold.stop.signal.aborted) return;
      counting = true;
      previewing
        .then((known) => measure(shown, ground, known, hold.stop.signal))
        .then((measured) => ticket.previewed(measured))
        .catch((error: unknown) => this.#failed('a count could not be handed in', error))
        .finally(() => {
          counting = false;
        });
    });
    hold.stop.signal.addEventListener('abort', unsubscribe, { once: true });
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
      if (result.state === 'Refused') hold.report = storeRefused(result);
      else if (hold.stop.signal.aborted) this.#settle(result, 'Failed');
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
    this.#granted = grant;
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

  /** Follows the command that was just released to its outcome. Nothing is told when the connection breaks: that is not known. */
  follow(reply: Reply): void {
    const grant = this.#granted;
    if (grant === undefined) return;
    this.#granted = undefined;
    const before = reply.settled;
    const session = this.#session;
    const inPipeline = reply.kind === 'execute';
    this.#toSync ||= inPipeline;
    reply.settled = (ok) => {
      before?.(ok);
      if (session.ended) return;
      // What a pipeline did is undone when something later in it fails.
      if (ok && inPipeline) this.#unsettled.push({ grant, failures: session.failures });
      else this.#settle(grant, ok ? 'Executed' : 'Failed');
    };
  }

  /** The reply to a Sync: with it, what ran in the pipeline is committed or not. */
  sync(): Reply {
    if (!this.#toSync) return SYNC;
    this.#toSync = false;
    const reply = new Reply('sync');
    reply.settled = () => {
      for (const { grant, failures } of this.#unsettled.splice(0))
        this.#settle(grant, failures === this.#session.failures ? 'Executed' : 'Failed');
    };
    return reply;
  }

  #settle(grant: ApprovalGrant, outcome: 'Executed' | 'Failed'): void {
    grant.settle(outcome).catch((error: unknown) => this.#failed('the outcome could not be written', error));
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
    if (grant !== undefined) this.#settle(grant, 'Failed');
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

/** The value when it comes within so many milliseconds. */
async function sooner<T>(work: Promise<T>, milliseconds: number): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), milliseconds);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
