import type { SshCommand } from '../../../../policy/command.ts';
import type { EffectiveLimits } from '../../../../policy/decision.ts';
import type { MaskPlan } from '../../../../policy/masking.ts';
import type { SshReceived } from '../../../../record/ssh-events.ts';
import { covers, type Hold } from '../../../approval/holding.ts';
import type { ApprovalGrant } from '../../../ports.ts';
import { type SshReport, sshError } from '../errors.ts';
import { heldNotice, rejected, storeRefused } from './approval-words.ts';
import { type CommandSettings, fingerprintOf, MOST_SHOWN, present, settingsOf } from './present.ts';
import type { Session } from './session.ts';
import type { Verdict } from './verdict.ts';

/** A command that a client asks to run, whatever it is that runs: an exec, a shell, a forward, one operation on a file. */
export interface AskedCommand {
  /** Made anew for each judgement: policy may have changed meanwhile, not the command. */
  readonly command: SshCommand;
  readonly facts: SshReceived;
  readonly settings: CommandSettings;
  /** Text on the client's stderr while it waits. Absent: nothing waits there, so what needs people is refused until they agreed. */
  readonly note?: (text: string) => void;
  /** Fires when the client gives up. */
  readonly signal: AbortSignal;
  /** Why it cannot be run under the masks in force, which are asked for at each judgement. */
  readonly unmaskable?: (masks: MaskPlan) => string | undefined;
  /** How it is recorded; default: as a command. */
  readonly recording?: Recording;
}

/** The events of one command that was decided. */
export interface Recording {
  received(seq: number, verdict: Verdict): void;
  /** @param received it is in the record already, since it was held */
  denied(seq: number, verdict: Verdict | undefined, report: SshReport, received: boolean): void;
}

/** It is decided, approved where it had to be, and on disk: now it may be forwarded. */
export interface Admitted {
  readonly seq: number;
  readonly verdict: Verdict;
  readonly limits: EffectiveLimits;
  /** The right that people gave, once; whoever ran it settles it. */
  readonly grant: ApprovalGrant | undefined;
  /** It waited for people. */
  readonly held: boolean;
}

export type Admission = { readonly admitted: Admitted } | { readonly report: SshReport };

type SshHold = Hold<SshReport>;

const NOT_NEEDED = 'no approval is needed any more';

/**
 * From what a client asks to what may be forwarded: decided on the policy in force at every step, held until people agree, recorded
 * durably. Exactly the command that was judged, and approved, is admitted, once. Never throws for what the client did.
 * @throws RecorderError
 */
export async function admitCommand(session: Session, asked: AskedCommand): Promise<Admission> {
  const recording = asked.recording ?? asCommand(session, asked);
  let hold: SshHold | undefined;
  let seq = 0;
  const withdraw = (): void => {
    if (hold === undefined) return;
    hold.report ??= session.signal.aborted ? ended(session) : sshError('SPS013');
    hold.stop.abort(new Error('the client gave up'));
  };
  asked.signal.addEventListener('abort', withdraw);
  session.signal.addEventListener('abort', withdraw);
  try {
    for (;;) {
      const gone = await session.refresh();
      if (gone !== undefined) return refuse(gone, undefined);
      if (session.signal.aborted) return refuse(ended(session), undefined);
      const verdict = session.judge(asked.command);
      const refused = verdict.denial ?? unmaskable() ?? session.suspended() ?? hold?.report ?? overRate(verdict);
      if (refused !== undefined) return refuse(refused, verdict);
      if (!verdict.needsApproval) return await admitted(verdict);
      if (hold !== undefined && !covers(hold.asked, verdict.decision.requirements)) {
        drop('policy asks for other approvals now');
      }
      if (hold?.grant !== undefined) return await admitted(verdict);
      if (hold === undefined) await ask(verdict);
      else if (session.holding.approved(hold)) await session.holding.consume(hold);
      else await session.holding.wait(hold, session.ports.bundles.current() === session.bundle);
    }
  } finally {
    asked.signal.removeEventListener('abort', withdraw);
    session.signal.removeEventListener('abort', withdraw);
    if (hold !== undefined) drop('the command was not run');
  }

  function unmaskable(): SshReport | undefined {
    const why = asked.unmaskable?.(session.judgement.scope.masks);
    return why === undefined ? undefined : sshError('SPS029', why);
  }

  function drop(why: string, members = ''): void {
    const dropped = hold;
    hold = undefined;
    if (dropped !== undefined) session.holding.drop(dropped, why, members);
  }

  function overRate({ decision }: Verdict): SshReport | undefined {
    const rate = decision.limits.commandsPerMinute;
    if (rate === undefined || hold !== undefined || seq !== 0) return undefined;
    const count = session.ports.countCommand(session.connection, session.identity.subject.username);
    return count > rate ? sshError('SPS005', rate) : undefined;
  }

  function recordReceived(verdict: Verdict): void {
    if (seq !== 0) return;
    seq = session.nextCommand();
    recording.received(seq, verdict);
  }

  /** What is denied is in the record before the client hears of it. */
  async function refuse(report: SshReport, verdict: Verdict | undefined): Promise<Admission> {
    const received = seq !== 0;
    if (!received) seq = session.nextCommand();
    drop(report.message);
    recording.denied(seq, verdict, report, received);
    await session.record.stream.sync();
    return { report };
  }

  async function admitted(verdict: Verdict): Promise<Admission> {
    const held = hold;
    const grant = held?.grant;
    if (held === undefined || held.ticket === undefined || grant === undefined) {
      drop(NOT_NEEDED, verdict.recordMembers);
      recordReceived(verdict);
    } else {
      recordReceived(verdict);
      held.seq = seq;
      hold = undefined;
      session.holding.release(held, held.ticket, grant, verdict.recordMembers);
    }
    try {
      await session.record.stream.sync();
    } catch (error) {
      if (grant !== undefined) session.holding.settle(grant, 'Failed');
      throw error;
    }
    if (!asked.signal.aborted && !session.signal.aborted)
      return { admitted: { seq, verdict, limits: verdict.decision.limits, grant, held: held !== undefined } };
    if (grant !== undefined) session.holding.settle(grant, 'Failed');
    return refuse(session.signal.aborted ? ended(session) : sshError('SPS013'), verdict);
  }

  async function ask(verdict: Verdict): Promise<void> {
    const { requirements } = verdict.decision;
    const made = session.holding.begin(requirements, (ticket, needed, waitedMs) =>
      asked.note?.(heldNotice(ticket, session.connection.namespace, needed, waitedMs)),
    );
    hold = made;
    try {
      await submit(made, verdict);
    } catch (error) {
      session.holding.broken(made, error);
    }
  }

  async function submit(made: SshHold, verdict: Verdict): Promise<void> {
    const presentation = present(verdict, asked.settings, session.masks.content);
    const bytes = Buffer.byteLength(presentation.display);
    if (bytes > MOST_SHOWN) {
      made.report = sshError('SPS012', bytes);
      return;
    }
    const submitted = await session.ports.approvals.submit({
      connection: session.connection,
      subject: session.identity.subject,
      sessionId: session.id,
      target: { loginUser: session.loginUser },
      text: asked.command.text,
      values: [],
      // What is asked for is more than its text: a program may be called `shell`, as a request for one is written.
      settings: { ...settingsOf(asked.settings), operation: asked.facts.operation },
      requirements: made.asked,
      fingerprint: fingerprintOf(verdict),
      presentation,
    });
    if ('state' in submitted) {
      made.report = storeRefused(submitted, made.asked);
      return;
    }
    made.ticket = submitted;
    if (submitted.approved || made.stop.signal.aborted) return;
    recordReceived(verdict);
    made.seq = seq;
    await session.holding.recordHeld(made, submitted);
    if (asked.note === undefined || made.asked.some((requirement) => requirement.hold === 'Reject')) {
      made.keep = true;
      made.report = rejected(submitted, session.connection.namespace, made.asked);
    }
  }
}

function asCommand({ record }: Session, { command, facts }: AskedCommand): Recording {
  return {
    received: (seq, verdict) => record.received(seq, verdict, facts),
    denied: (seq, verdict, report, received) => record.denied(seq, command.text, verdict, facts, report, received),
  };
}

const ended = (session: Session): SshReport => {
  const { reason } = session.signal;
  return sshError('SPS006', reason instanceof Error ? reason.message : 'it is over');
};
