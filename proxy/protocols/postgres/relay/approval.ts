import type { ApprovalOutcome, HeldCommand } from '../../../ports.ts';
import { type LaneReport, laneError } from '../errors.ts';
import { ruleName, type Verdict } from '../judge.ts';
import type { LaneSession } from './session-state.ts';

/** The command as the approval port gets it: everything that its hash covers. */
export function heldCommand(
  session: LaneSession,
  verdict: Verdict,
  text: string,
  parameters: readonly (Uint8Array | null)[],
): HeldCommand {
  return {
    connection: session.connection,
    subject: session.identity.subject,
    sessionId: session.id,
    database: session.database,
    text,
    parameters,
    settings: { search_path: verdict.environment.searchPath.join(','), role: verdict.environment.role },
    requirements: verdict.decision.requirements,
  };
}

/** What the client reads when the approval was not given. */
export function approvalReport(verdict: Verdict, outcome: Exclude<ApprovalOutcome, { state: 'Released' }>): LaneReport {
  const requirement = verdict.decision.requirements[0];
  const rule = requirement === undefined ? 'a rule' : `rule ${ruleName(requirement.rule)}`;
  const words = [`${rule} requires approval`, requirement?.message, outcome.message].filter((part) => part);
  return laneError('SPG002', words.join('. '), {
    detail: requirement === undefined ? '' : `Rule ${ruleName(requirement.rule)}.`,
  });
}
