import type { ApprovalRequirement } from '../../../../policy/decision.ts';
import type { ApprovalDecision, ApprovalGrant, ApprovalTicket } from '../../../ports.ts';
import type { LaneReport } from '../errors.ts';
import type { Verdict } from '../judge.ts';
import type { Portal } from './replies.ts';

/** The command that a message asks to run, with what it brings besides its text. */
export interface AskedCommand {
  readonly text: string;
  readonly portal: Portal | undefined;
  /** Of a FunctionCall, which has no portal. */
  readonly parameters?: readonly (Uint8Array | null)[];
  readonly formats?: readonly (0 | 1)[];
}

/** One command on its way to people and back. Its message is handled again after each step, on the policy then in force. */
export interface Hold {
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

export function newHold(asked: readonly ApprovalRequirement[]): Hold {
  return {
    stop: new AbortController(),
    seq: 0,
    asked,
    ticket: undefined,
    deciding: undefined,
    decision: undefined,
    grant: undefined,
    report: undefined,
    keep: false,
    since: 0,
    notices: undefined,
  };
}

/** Rows of COPY FROM STDIN come after its approval: nobody could have seen them. */
export function readsClient(verdict: Verdict): boolean {
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
export function covers(asked: readonly ApprovalRequirement[], needed: readonly ApprovalRequirement[]): boolean {
  const known = new Set(asked.map(requirementKey));
  return needed.every((requirement) => known.has(requirementKey(requirement)));
}

export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
