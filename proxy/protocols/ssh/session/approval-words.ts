import type { ApprovalRequirement } from '../../../../policy/decision.ts';
import { ruleName } from '../../../../policy/rule.ts';
import type { ApprovalRefusal, ApprovalTicket } from '../../../ports.ts';
import { type SshReport, sshError, words } from '../errors.ts';

/** What the agent reads of a command that needs people. */

function why(requirements: readonly ApprovalRequirement[]): string {
  const rules = requirements.map(({ rule, message }) => `rule ${ruleName(rule)}${message ? `: ${message}` : ''}`);
  return rules.join('; ');
}

const named = (requirements: readonly ApprovalRequirement[]): string =>
  `rule ${requirements.map(({ rule }) => ruleName(rule)).join(', ')}`;

const who = (ticket: ApprovalTicket): string =>
  `request ${ticket.name}, until ${ticket.expiresAt.toISOString()}; needed: ${ticket.approvers.join('; and ')}`;

const command = (ticket: ApprovalTicket, namespace: string): string =>
  `sallyport approve ${ticket.name} -n ${namespace} --reason "..."`;

/** On stderr while it waits. @param waitedMs 0 for the first, which says everything */
export function heldNotice(
  ticket: ApprovalTicket,
  namespace: string,
  requirements: readonly ApprovalRequirement[],
  waitedMs: number,
): string {
  if (waitedMs > 0)
    return words(`still waiting for approval of request ${ticket.name}, for ${Math.round(waitedMs / 1000)} s`);
  return words(
    `this waits for approval (${why(requirements)})`,
    who(ticket),
    `it runs once approved: ${command(ticket, namespace)}`,
    'Ctrl-C withdraws the request',
  );
}

/** The answer of `hold: Reject`, and of what has no stderr to wait on. */
export function rejected(
  ticket: ApprovalTicket,
  namespace: string,
  requirements: readonly ApprovalRequirement[],
): SshReport {
  return sshError('SPS002', why(requirements), {
    detail: `${named(requirements)}; ${who(ticket)}`,
    hint: `once approved (${command(ticket, namespace)}), ask for exactly the same again: it passes once`,
  });
}

/** What people have said, or that they said nothing in time. */
export function notApproved(ticket: ApprovalTicket, state: string, message: string): SshReport {
  return sshError('SPS003', message || state.toLowerCase(), { detail: `request ${ticket.name}` });
}

/** The store takes no request, or gives no right to run it. */
export function storeRefused(refusal: ApprovalRefusal, requirements: readonly ApprovalRequirement[]): SshReport {
  const said = [refusal.message, ...requirements.map(({ message }) => message)].filter((part) => part);
  return sshError('SPS004', said.join('. '), {
    detail: `${named(requirements)}, ${refusal.code}`,
    hint: refusal.hint,
  });
}
