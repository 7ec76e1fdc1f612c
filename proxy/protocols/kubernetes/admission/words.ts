import type { ApprovalRequirement } from '../../../../policy/decision.ts';
import { ruleName } from '../../../../policy/rule.ts';
import type { ApprovalRefusal, ApprovalTicket } from '../../../ports.ts';
import { type KubernetesReport, kubernetesError, type StatusCause } from '../errors.ts';

/** What the agent reads of a request that needs people. */

function why(requirements: readonly ApprovalRequirement[]): string {
  const rules = requirements.map(({ rule, message }) => `rule ${ruleName(rule)}${message ? `: ${message}` : ''}`);
  return rules.join('; ');
}

const who = (ticket: ApprovalTicket): string =>
  `request ${ticket.name}, until ${ticket.expiresAt.toISOString()}; needed: ${ticket.approvers.join('; and ')}`;

const approve = (ticket: ApprovalTicket, namespace: string): string =>
  `sallyport approve ${ticket.name} -n ${namespace} --reason "..."`;

const causesOf = (ticket: ApprovalTicket, namespace: string, asked: readonly ApprovalRequirement[]): StatusCause[] => [
  { reason: 'ApprovalRequest', message: `${namespace}/${ticket.name}` },
  ...asked.map(({ rule }) => ({ reason: 'Rule', message: ruleName(rule) })),
];

/** How long clients wait before they come again. They have waited in band already, so they need not wait long. */
const COME_AGAIN_SECONDS = 1;

/** The client has waited as long as an answer may take: it comes again, and finds the same request. */
export function stillWaiting(
  ticket: ApprovalTicket,
  namespace: string,
  asked: readonly ApprovalRequirement[],
): KubernetesReport {
  return kubernetesError('SPL005', why(asked), {
    detail: who(ticket),
    hint: `Once approved (${approve(ticket, namespace)}), exactly the same request passes once`,
    retryAfterSeconds: COME_AGAIN_SECONDS,
    causes: causesOf(ticket, namespace, asked),
  });
}

/** For a client that can be told while it waits, whole lines. @param waitedMs 0 for the first, which says everything */
export function heldNotice(
  ticket: ApprovalTicket,
  namespace: string,
  asked: readonly ApprovalRequirement[],
  waitedMs: number,
): string {
  const lines =
    waitedMs > 0
      ? [`still waiting for approval of request ${ticket.name}, for ${Math.round(waitedMs / 1000)} s`]
      : [
          `this waits for approval (${why(asked)})`,
          who(ticket),
          `it runs once approved: ${approve(ticket, namespace)}`,
          'Ctrl-C withdraws the request',
        ];
  return lines.map((line) => `sallyport: ${line}\n`).join('');
}

/** The answer of `hold: Reject`: clients would only come again for as long as they have patience. */
export function rejected(
  ticket: ApprovalTicket,
  namespace: string,
  asked: readonly ApprovalRequirement[],
): KubernetesReport {
  return kubernetesError('SPL002', why(asked), {
    detail: who(ticket),
    hint: `once approved (${approve(ticket, namespace)}), ask for exactly the same again: it passes once`,
    causes: causesOf(ticket, namespace, asked),
  });
}

/** What people have said, or that they said nothing in time. */
export function notApproved(ticket: ApprovalTicket, state: string, message: string): KubernetesReport {
  return kubernetesError('SPL003', message || state.toLowerCase(), {
    detail: `request ${ticket.name}`,
    causes: [{ reason: 'ApprovalRequest', message: ticket.name }],
  });
}

/** The store takes no request, or gives no right to run it. */
export function storeRefused(refusal: ApprovalRefusal, requirements: readonly ApprovalRequirement[]): KubernetesReport {
  const said = [refusal.message, ...requirements.map(({ message }) => message)].filter((part) => part);
  return kubernetesError('SPL004', said.join('. '), {
    detail: `rule ${requirements.map(({ rule }) => ruleName(rule)).join(', ')}, ${refusal.code}`,
    hint: refusal.hint,
    causes: requirements.map(({ rule }) => ({ reason: 'Rule', message: ruleName(rule) })),
  });
}

/** For clients that show warnings with an answer (RFC 9111 had them; Kubernetes goes on with code 299). */
export function approvedWarning(ticket: ApprovalTicket, voters: readonly string[]): string {
  const by = voters.length === 0 ? '' : ` by ${voters.join(', ')}`;
  const text = `sallyport: request ${ticket.name} was approved${by}`;
  // A quoted-string (RFC 9110, section 5.6.4) of what every client can show.
  return `299 - "${text.replaceAll(/[^\x20-\x7e]/g, '?').replaceAll(/["\\]/g, '\\$&')}"`;
}
