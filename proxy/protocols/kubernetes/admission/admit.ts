import type { KubernetesCommand } from '../../../../policy/command.ts';
import type { EffectiveLimits } from '../../../../policy/decision.ts';
import { covers, createHolding, type Hold, type Holding } from '../../../approval/holding.ts';
import type { LaneContext } from '../../../lane.ts';
import type { ApprovalGrant, ApprovalTicket, HeldValue, Presentation } from '../../../ports.ts';
import type { HttpSession } from '../../http/core/port.ts';
import { type KubernetesReport, kubernetesError, reportOf } from '../errors.ts';
import { ofHttp } from '../http-report.ts';
import type { MeaningAnswer, Understanding } from '../meaning/port.ts';
import { createVerdict, effectsOf, type Verdict } from './verdict.ts';
import { heldNotice, notApproved, rejected, stillWaiting, storeRefused } from './words.ts';

export type AdmissionPorts = Pick<
  LaneContext,
  'bundles' | 'approvals' | 'holdNoticeMs' | 'holdInBandMs' | 'countCommand' | 'failed'
>;

/** Longest request that is shown to approvers, in bytes. */
export const MOST_SHOWN = 65_536;

/** The events of one request. */
export interface RequestRecording {
  received(verdict: Verdict, understanding: Understanding): void;
  /** @param received it is in the record already, since it was held */
  denied(verdict: Verdict | undefined, understanding: Understanding, report: KubernetesReport, received: boolean): void;
  held(ticket: ApprovalTicket, hold: KubernetesHold): void;
  released: Parameters<typeof createHolding>[0]['record']['released'];
  /** @throws RecorderError */
  flush(verdict: Verdict): Promise<void>;
  /** @throws RecorderError */
  sync(): Promise<void>;
}

type KubernetesHold = Hold<KubernetesReport>;

/** One request that a client asks to make. */
export interface AskedRequest {
  /** Number in its session, from 1. */
  readonly seq: number;
  readonly understanding: Understanding;
  /** What it becomes when the API server is asked; called where that could change the decision, or is shown to people. */
  refine(understanding: Understanding): Promise<Understanding>;
  /** What an approval is bound to, besides caller and connection. */
  readonly identity: {
    /** Method and URL as they go to the API server. */
    readonly text: string;
    readonly values: readonly HeldValue[];
    readonly settings: Readonly<Record<string, string>>;
  };
  /** Text for the client while it waits: it may then be held as long as the rule says. Absent: it is asked to come again. */
  readonly note?: (text: string) => void;
  /** Fires when the client gives up. */
  readonly signal: AbortSignal;
  /** Whether the masks in force can only be kept where it is known what it does. Absent: never. */
  needsOutcome?(): Promise<boolean>;
  /** Why it cannot be forwarded under the masks in force; asked at each judgement. */
  unmaskable(understanding: Understanding): Promise<KubernetesReport | undefined>;
  present(verdict: Verdict, understanding: Understanding): Presentation | Promise<Presentation>;
  readonly recording: RequestRecording;
}

/** It is decided, approved where it had to be, and on disk: now it may be forwarded. */
export interface Admitted {
  readonly verdict: Verdict;
  readonly understanding: Understanding;
  readonly limits: EffectiveLimits;
  /** The right that people gave, once, and the request it was given by; whoever forwards settles it. */
  readonly approval: { readonly grant: ApprovalGrant; readonly ticket: ApprovalTicket } | undefined;
}

export type Admission =
  | { readonly admitted: Admitted }
  | { readonly report: KubernetesReport }
  /** The API server refused the dry run of something that policy has no objection to: its answer is the client's. */
  | { readonly answer: MeaningAnswer; readonly verdict: Verdict };

const NOT_NEEDED = 'no approval is needed any more';

/** What policy says now of a command of this session. */
export function judge(session: HttpSession, command: KubernetesCommand): Verdict {
  return createVerdict(command, session.scope.decide(command, { now: new Date(), session: session.facts }));
}

/**
 * From what a client asks to what may be forwarded: decided on the policy in force at every step, held until people agree, recorded
 * durably. Exactly the request that was judged, and approved, is admitted, once. Never throws for what the client did.
 * @throws RecorderError
 */
export async function admitRequest(
  session: HttpSession,
  ports: AdmissionPorts,
  asked: AskedRequest,
): Promise<Admission> {
  const { recording } = asked;
  let { understanding } = asked;
  let hold: KubernetesHold | undefined;
  let received = false;
  let counted = false;
  /** What the people who are asked have been told that it does. */
  let shown = '';
  /** The API server has been asked since people agreed. */
  let fresh = false;
  const holding = holdingOf();
  const withdraw = (): void => {
    if (hold === undefined) return;
    hold.report ??= session.signal.aborted ? ended() : kubernetesError('SPL011');
    hold.stop.abort(new Error('the client gave up'));
  };
  asked.signal.addEventListener('abort', withdraw);
  session.signal.addEventListener('abort', withdraw);
  try {
    for (;;) {
      const gone = session.refresh();
      if (gone !== undefined) return refuse(ofHttp(gone), undefined);
      if (session.signal.aborted) return refuse(ended(), undefined);
      const verdict = judge(session, understanding.command);
      // Where it depends on what is there already, the worst was said: now it is found out.
      if (verdict.decision.verdict !== 'Allow' && understanding.refine !== undefined) {
        if (certainlyDenied()) continue;
        const failure = await refine();
        if (failure !== undefined) return refuse(failure, verdict);
        continue;
      }
      if (understanding.refine !== undefined && (await asked.needsOutcome?.()) === true) {
        const failure = await refine();
        if (failure !== undefined) return refuse(failure, verdict);
        continue;
      }
      const refused =
        verdict.denial ?? (await asked.unmaskable(understanding)) ?? suspended() ?? hold?.report ?? overRate(verdict);
      if (refused !== undefined) return refuse(refused, verdict);
      if (understanding.refused !== undefined) return await passOn(verdict, understanding.refused);
      if (!verdict.needsApproval) return await admitted(verdict);
      if (hold !== undefined && !covers(hold.asked, verdict.decision.requirements)) {
        drop('policy asks for other approvals now');
      }
      if (hold?.grant !== undefined) return await admitted(verdict);
      if (hold === undefined) await ask(verdict);
      else if (holding.approved(hold)) await consume(hold, verdict);
      else await holding.wait(hold, ports.bundles.current() === session.bundle);
    }
  } finally {
    asked.signal.removeEventListener('abort', withdraw);
    session.signal.removeEventListener('abort', withdraw);
    if (hold !== undefined) drop('the request was not made');
  }

  function holdingOf(): Holding<KubernetesReport> {
    return createHolding<KubernetesReport>({
      bundles: ports.bundles,
      noticeMs: ports.holdNoticeMs,
      record: {
        held: (_seq, ticket) => {
          if (hold !== undefined) recording.held(ticket, hold);
        },
        released: recording.released,
        sync: () => recording.sync(),
      },
      recordFailed: (error) => session.recordFailed(error),
      failed: (what, error) => ports.failed(session.id, what, error),
      words: { notApproved, refused: storeRefused, broken: () => kubernetesError('SPL004', 'something went wrong') },
    });
  }

  function ended(): KubernetesReport {
    const { reason } = session.signal;
    return kubernetesError('SPL012', reason instanceof Error ? reason.message : 'it is over');
  }

  function suspended(): KubernetesReport | undefined {
    const kept = session.suspended();
    return kept === undefined ? undefined : ofHttp(kept);
  }

  /** It is denied whatever its body does: nothing has to be found out, and the denial says only what is certain. */
  function certainlyDenied(): boolean {
    const { certain, refine: _open, ...known } = understanding;
    if (certain === undefined) return false;
    // A condition on an object that nobody has seen yet says no for that alone.
    const unseen = certain.statements.some(({ object }) => object === undefined);
    if (session.scope.needs.object && unseen) return false;
    if (judge(session, certain).denial === undefined) return false;
    understanding = { ...known, command: certain };
    return true;
  }

  async function refine(): Promise<KubernetesReport | undefined> {
    try {
      understanding = await asked.refine(understanding);
      return undefined;
    } catch (error) {
      if (asked.signal.aborted || session.signal.aborted)
        return session.signal.aborted ? ended() : kubernetesError('SPL011');
      ports.failed(session.id, 'the API server could not be asked what a request would do', asError(error));
      const told = reportOf(error);
      return told.code === 'SPL015' ? kubernetesError('SPL008', 'the API server did not say what it would do') : told;
    }
  }

  function drop(why: string, members = ''): void {
    const dropped = hold;
    hold = undefined;
    if (dropped !== undefined) holding.drop(dropped, why, members);
  }

  function overRate({ decision, harmless }: Verdict): KubernetesReport | undefined {
    const rate = decision.limits.commandsPerMinute;
    if (rate === undefined || counted || harmless) return undefined;
    counted = true;
    const count = ports.countCommand(session.connection, session.identity.subject.username);
    return count > rate ? kubernetesError('SPL006', rate, { retryAfterSeconds: 60 }) : undefined;
  }

  function recordReceived(verdict: Verdict): void {
    if (received) return;
    received = true;
    recording.received(verdict, understanding);
  }

  /** What is denied is in the record before the client hears of it. */
  async function refuse(report: KubernetesReport, verdict: Verdict | undefined): Promise<Admission> {
    drop(report.message);
    session.denied();
    recording.denied(verdict, understanding, report, received);
    await recording.sync();
    return { report };
  }

  async function passOn(verdict: Verdict, answer: MeaningAnswer): Promise<Admission> {
    drop('the API server refuses it');
    recordReceived(verdict);
    await recording.sync();
    return { answer, verdict };
  }

  async function admitted(verdict: Verdict): Promise<Admission> {
    const held = hold;
    const { grant, ticket } = held ?? {};
    let approval: Admitted['approval'];
    if (held === undefined || ticket === undefined || grant === undefined) {
      drop(NOT_NEEDED, verdict.recordMembers);
      recordReceived(verdict);
    } else {
      recordReceived(verdict);
      held.seq = asked.seq;
      hold = undefined;
      holding.release(held, ticket, grant, verdict.recordMembers);
      approval = { grant, ticket };
    }
    try {
      if (held === undefined) await recording.flush(verdict);
      else await recording.sync();
    } catch (error) {
      if (grant !== undefined) holding.settle(grant, 'Failed');
      throw error;
    }
    if (!asked.signal.aborted && !session.signal.aborted) {
      return { admitted: { verdict, understanding, limits: verdict.decision.limits, approval } };
    }
    if (grant !== undefined) holding.settle(grant, 'Failed');
    return refuse(session.signal.aborted ? ended() : kubernetesError('SPL011'), verdict);
  }

  /** Everything that was judged, in words: what people agree to. */
  function effects(verdict: Verdict): string {
    return effectsOf(verdict, (text) => text).join('\n');
  }

  async function ask(verdict: Verdict): Promise<void> {
    const { requirements } = verdict.decision;
    const made = holding.begin(requirements, (ticket, needed, waitedMs) =>
      asked.note?.(heldNotice(ticket, session.connection.namespace, needed, waitedMs)),
    );
    hold = made;
    fresh = false;
    shown = effects(verdict);
    try {
      await submit(made, verdict);
    } catch (error) {
      holding.broken(made, error);
    }
  }

  async function submit(made: KubernetesHold, verdict: Verdict): Promise<void> {
    const presentation = await asked.present(verdict, understanding);
    const bytes = Buffer.byteLength(presentation.display);
    if (bytes > MOST_SHOWN) {
      made.report = kubernetesError('SPL010', bytes);
      return;
    }
    const { connection, identity } = session;
    const submitted = await ports.approvals.submit({
      connection,
      subject: identity.subject,
      sessionId: session.id,
      target: { host: `${connection.target.host}:${connection.target.port}` },
      text: asked.identity.text,
      values: asked.identity.values,
      // The same bytes may do something else tomorrow: then it is another request.
      settings: { ...asked.identity.settings, effects: shown },
      requirements: made.asked,
      fingerprint: undefined,
      presentation,
    });
    if ('state' in submitted) {
      made.report = storeRefused(submitted, made.asked);
      return;
    }
    made.ticket = submitted;
    if (submitted.approved || made.stop.signal.aborted) return;
    recordReceived(verdict);
    made.seq = asked.seq;
    await holding.recordHeld(made, submitted);
    if (made.asked.some((requirement) => requirement.hold === 'Reject')) {
      made.keep = true;
      made.report = rejected(submitted, connection.namespace, made.asked);
    } else if (asked.note === undefined) comeAgainLater(made, submitted);
  }

  /** Nothing can be said to a client that waits for its answer; it comes again by itself, and finds the same request. */
  function comeAgainLater(made: KubernetesHold, ticket: ApprovalTicket): void {
    const timer = setTimeout(() => {
      if (made.stop.signal.aborted || holding.approved(made)) return;
      made.keep = true;
      made.report ??= stillWaiting(ticket, session.connection.namespace, made.asked);
      made.stop.abort(new Error('the client is asked to come again'));
    }, ports.holdInBandMs);
    timer.unref();
    made.stop.signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
  }

  /** People have agreed to what was there when they were asked: it has to be that still. */
  async function consume(made: KubernetesHold, verdict: Verdict): Promise<void> {
    if (made.ticket !== undefined && made.seq !== 0 && !fresh && asked.understanding.refine !== undefined) {
      fresh = true;
      understanding = asked.understanding;
      const failure = await refine();
      if (failure !== undefined) made.report ??= failure;
      return;
    }
    if (effects(verdict) !== shown) {
      made.report ??= kubernetesError('SPL003', 'what the request would do has changed meanwhile', {
        detail: `request ${made.ticket?.name ?? ''}`,
        hint: 'Ask again: it is another request.',
      });
      return;
    }
    await holding.consume(made);
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
