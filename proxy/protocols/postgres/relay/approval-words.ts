import type { ApprovalRequirement } from '../../../../policy/decision.ts';
import type { ApprovalRefusal, ApprovalTicket } from '../../../ports.ts';
import { type LaneReport, laneError } from '../errors.ts';
import { ruleName, type Verdict } from '../judge.ts';
import { noticeResponse } from '../wire/encode.ts';

/** What the agent reads of a command that needs people: in notices, and in errors. */

function why(requirements: readonly ApprovalRequirement[]): string {
  const rules = requirements.map(({ rule, message }) => `rule ${ruleName(rule)}${message ? `: ${message}` : ''}`);
  return rules.join('; ');
}

const named = (requirements: readonly ApprovalRequirement[]): string =>
  `Rule ${requirements.map(({ rule }) => ruleName(rule)).join(', ')}.`;

const who = (ticket: ApprovalTicket): string =>
  `Request ${ticket.name}, until ${ticket.expiresAt.toISOString()}. Needed: ${ticket.approvers.join('; and ')}.`;

const command = (ticket: ApprovalTicket, namespace: string): string =>
  `sallyport approve ${ticket.name} -n ${namespace} --reason "..."`;

/** @param waitedMs 0 for the first */
export function heldNotice(
  ticket: ApprovalTicket,
  namespace: string,
  requirements: readonly ApprovalRequirement[],
  waitedMs: number,
): Buffer {
  const since = waitedMs === 0 ? '' : `, for ${Math.round(waitedMs / 1000)} s by now`;
  return noticeResponse({
    severity: 'NOTICE',
    code: '00000',
    message: `Sallyport holds this statement for approval${since} (${why(requirements)})`,
    detail: who(ticket),
    hint: `It runs once approved: ${command(ticket, namespace)}. Cancelling it (Ctrl-C) withdraws the request.`,
  });
}

/** The answer of `hold: Reject`. */
export function rejected(
  ticket: ApprovalTicket,
  namespace: string,
  requirements: readonly ApprovalRequirement[],
): LaneReport {
  return laneError('SPG002', why(requirements), {
    detail: `${named(requirements)} ${who(ticket)}`,
    hint: `Once approved (${command(ticket, namespace)}), send the identical statement again: it passes once.`,
  });
}

/** What people have said, or that they said nothing in time. */
export function notApproved(ticket: ApprovalTicket, state: string, message: string): LaneReport {
  return laneError('SPG030', message || state.toLowerCase(), {
    detail: `Request ${ticket.name}.`,
  });
}

/** The store takes no request, or gives no right to run it. */
export function storeRefused(refusal: ApprovalRefusal, requirements: readonly ApprovalRequirement[]): LaneReport {
  const detail = `${named(requirements)} ${refusal.code}.`;
  const words = [refusal.message, ...requirements.map(({ message }) => message)].filter((part) => part);
  return laneError('SPG032', words.join('. '), { detail, hint: refusal.hint });
}

/** Locks that other people wait for must not be held while people think. */
export function inTransaction(verdict: Verdict): LaneReport {
  const { requirements } = verdict.decision;
  return laneError('SPG028', why(requirements), { detail: named(requirements) });
}
