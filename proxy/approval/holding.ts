import type { ApprovalRequirement } from '../../policy/decision.ts';
import type { Release } from '../../record/events.ts';
import type { ApprovalDecision, ApprovalGrant, ApprovalRefusal, ApprovalTicket, BundleSource } from '../ports.ts';

/**
 * The way of one command to people and back, whatever its protocol: the request is recorded before the client hears of it, the client is
 * told while it waits, a change of policy has the command judged again, and whatever ends the wait settles or withdraws the request
 * exactly once. How a command is asked for, and what is said of it, is the lane's.
 */
export interface HoldingPorts<Report> {
  readonly bundles: Pick<BundleSource, 'onChange'>;
  /** Between two notices, in milliseconds. */
  readonly noticeMs: number;
  readonly record: HoldingRecord;
  /** The record cannot be written: nothing may run any more. */
  recordFailed(error: Error): void;
  /** For the log: what went wrong where nobody waits for it. */
  failed(what: string, error: Error): void;
  readonly words: {
    /** What people have said, or that they said nothing in time. */
    notApproved(ticket: ApprovalTicket, state: string, message: string): Report;
    /** The store takes no request, or gives no right to run it. */
    refused(refusal: ApprovalRefusal, asked: readonly ApprovalRequirement[]): Report;
    /** It could not be asked for. */
    broken(): Report;
  };
}

/** The client is told that its command waits. @param waitedMs 0 for the first */
export type HoldNotice = (ticket: ApprovalTicket, asked: readonly ApprovalRequirement[], waitedMs: number) => void;

export interface HoldingRecord {
  held(seq: number, ticket: ApprovalTicket, asked: readonly ApprovalRequirement[]): void;
  /** @param members what is decided on the command now, as `decisionFragment` gives it */
  released(
    seq: number,
    ticket: ApprovalTicket,
    release: Release & { readonly state: string; readonly members: string },
  ): void;
  /** @throws RecorderError */
  sync(): Promise<void>;
}

/** One command on its way to people and back. It is decided again after each step, on the policy then in force. */
export interface Hold<Report> {
  /** Aborted by a cancel, by the end of the session, and when the hold is given up. */
  readonly stop: AbortController;
  /** Number of the command in the session; 0 until it is recorded. */
  seq: number;
  readonly asked: readonly ApprovalRequirement[];
  readonly notice: HoldNotice;
  ticket: ApprovalTicket | undefined;
  deciding: Promise<void> | undefined;
  decision: ApprovalDecision | undefined;
  grant: ApprovalGrant | undefined;
  /** Why it does not run. */
  report: Report | undefined;
  /** The request outlives this attempt: its command may come again. */
  keep: boolean;
  since: number;
  notices: NodeJS.Timeout | undefined;
}

export interface Holding<Report> {
  begin(asked: readonly ApprovalRequirement[], notice: HoldNotice): Hold<Report>;
  /** On disk before the client hears of it. */
  recordHeld(hold: Hold<Report>, ticket: ApprovalTicket): Promise<void>;
  /** Until people have decided, policy has changed, or it is given up. @param current false: policy has changed already */
  wait(hold: Hold<Report>, current: boolean): Promise<void>;
  /** People have agreed, or had before. */
  approved(hold: Hold<Report>): boolean;
  /** The right to run it, once: in `hold.grant`, or in `hold.report` why there is none. */
  consume(hold: Hold<Report>): Promise<void>;
  /** The command runs now, by its grant. */
  release(hold: Hold<Report>, ticket: ApprovalTicket, grant: ApprovalGrant, members: string): void;
  /** It does not run, or needs nobody any more: the request is settled or withdrawn, once. */
  drop(hold: Hold<Report>, why: string, members?: string): void;
  /** Asking went wrong. */
  broken(hold: Hold<Report>, error: unknown): void;
  settle(grant: ApprovalGrant, outcome: 'Executed' | 'Failed'): void;
}

export function createHolding<Report>(ports: HoldingPorts<Report>): Holding<Report> {
  const { record, words } = ports;
  const failed = (what: string, error: unknown): void => ports.failed(what, asError(error));

  function broken(hold: Hold<Report>, error: unknown): void {
    if (hold.stop.signal.aborted) return;
    hold.report ??= words.broken();
    failed('an approval could not be asked for', error);
  }

  function notify(hold: Hold<Report>, ticket: ApprovalTicket): void {
    hold.since = Date.now();
    const tell = (): void => hold.notice(ticket, hold.asked, Date.now() - hold.since);
    tell();
    hold.notices = setInterval(tell, ports.noticeMs);
    hold.notices.unref();
  }

  function clear(hold: Hold<Report>): void {
    clearInterval(hold.notices);
    hold.stop.abort(new Error('no longer held'));
  }

  const settle = (grant: ApprovalGrant, outcome: 'Executed' | 'Failed'): void => {
    grant.settle(outcome).catch((error: unknown) => failed('the outcome of an approved command is not kept', error));
  };

  return {
    begin: (asked, notice) => ({
      stop: new AbortController(),
      seq: 0,
      asked,
      notice,
      ticket: undefined,
      deciding: undefined,
      decision: undefined,
      grant: undefined,
      report: undefined,
      keep: false,
      since: 0,
      notices: undefined,
    }),
    async recordHeld(hold, ticket) {
      record.held(hold.seq, ticket, hold.asked);
      try {
        await record.sync();
      } catch (error) {
        ports.recordFailed(asError(error));
      }
    },
    async wait(hold, current) {
      const { ticket } = hold;
      const { signal } = hold.stop;
      if (ticket === undefined || signal.aborted) return;
      hold.deciding ??= ticket.decided(signal).then(
        (decision) => {
          hold.decision = decision;
          if (decision.state !== 'Approved') hold.report = words.notApproved(ticket, decision.state, decision.message);
        },
        (error: unknown) => broken(hold, error),
      );
      if (hold.notices === undefined) notify(hold, ticket);
      const changed = Promise.withResolvers<void>();
      const unsubscribe = ports.bundles.onChange(() => changed.resolve());
      if (current) await Promise.race([hold.deciding, changed.promise, aborted(signal)]);
      unsubscribe();
    },
    approved: (hold) => hold.ticket?.approved === true || hold.decision?.state === 'Approved',
    async consume(hold) {
      const { ticket } = hold;
      if (ticket === undefined) return;
      try {
        const result = await ticket.consume();
        if (result.state === 'Refused') hold.report = words.refused(result, hold.asked);
        else if (hold.stop.signal.aborted) settle(result, 'Failed');
        else hold.grant = result;
      } catch (error) {
        broken(hold, error);
      }
    },
    release(hold, ticket, { state, votes }, members) {
      record.released(hold.seq, ticket, { state, votes, members });
      clear(hold);
    },
    drop(hold, why, members = '') {
      const { ticket, grant, decision } = hold;
      clear(hold);
      if (hold.keep || ticket === undefined) return;
      const state =
        grant?.state ?? (decision === undefined || decision.state === 'Approved' ? 'Withdrawn' : decision.state);
      if (hold.seq > 0) {
        // Nothing is forwarded that would bring this to the disk.
        record.released(hold.seq, ticket, { state, reason: why, members });
        record.sync().catch((error: unknown) => ports.recordFailed(asError(error)));
      }
      if (grant !== undefined) settle(grant, 'Failed');
      else if (state === 'Withdrawn') withdrawn(ticket, why);
    },
    broken,
    settle,
  };

  function withdrawn(ticket: ApprovalTicket, why: string): void {
    ticket.withdraw(why).catch((error: unknown) => failed('a request could not be withdrawn', error));
  }
}

/** A rule without its number: that the resource changed elsewhere asks nobody again. */
function requirementKey({ rule, message: _shown, ...asked }: ApprovalRequirement): string {
  const { namespace, policy, rule: name } = rule;
  return JSON.stringify([namespace, policy, name, asked]);
}

/** Whether whoever met `asked` has met `needed`. */
export function covers(asked: readonly ApprovalRequirement[], needed: readonly ApprovalRequirement[]): boolean {
  const known = new Set(asked.map(requirementKey));
  return needed.every((requirement) => known.has(requirementKey(requirement)));
}

/** Resolves once the signal has fired. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
