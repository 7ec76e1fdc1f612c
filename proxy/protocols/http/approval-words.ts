import type { ApprovalRequirement } from '../../../policy/decision.ts';
import type { ApprovalRefusal, ApprovalTicket } from '../../ports.ts';
import { type LaneReport, laneError, ruleNames } from './errors.ts';

/** What the agent reads of a request that needs people. */

/** Between two attempts, in seconds: people take longer, and an agent that asks more often learns nothing. */
const RETRY_AFTER_S = 5;

const rulesOf = (asked: readonly ApprovalRequirement[]): string[] => ruleNames(asked.map(({ rule }) => rule));

function why(asked: readonly ApprovalRequirement[]): string {
  const rules = asked.map(({ message }, index) => {
    const [name] = rulesOf(asked.slice(index, index + 1));
    return `rule ${name}${message ? `: ${message}` : ''}`;
  });
  return rules.join('; ');
}

/** It waits, or would: the request goes on by itself, and the same one sent again passes once it is approved. */
export function waiting(
  ticket: ApprovalTicket,
  namespace: string,
  asked: readonly ApprovalRequirement[],
  waitedS: number | undefined,
): LaneReport {
  const { name, expiresAt, approvers } = ticket;
  const command = `sallyport approve ${name} -n ${namespace} --reason "..."`;
  return laneError('SPE101', why(asked), {
    detail: `request ${name}, until ${expiresAt.toISOString()}; needed: ${approvers.join('; and ')}`,
    headers: [
      'retry-after',
      String(RETRY_AFTER_S),
      ...(waitedS === undefined ? [] : ['preference-applied', `wait=${waitedS}`]),
    ],
    members: {
      request: { namespace, name, state: 'Pending', expiresAt: expiresAt.toISOString(), approvers },
      rules: rulesOf(asked),
      retry: {
        afterSeconds: RETRY_AFTER_S,
        how: 'Send exactly the same request again: the same method, URL, header fields and body. Prefer: wait=N waits for a decision.',
      },
      howToApprove: command,
    },
  });
}

/** What people have said, or that they said nothing in time. */
export function notApproved(ticket: ApprovalTicket, namespace: string, state: string, message: string): LaneReport {
  return laneError('SPE102', message || state.toLowerCase(), {
    detail: `request ${ticket.name}`,
    hint:
      state === 'Denied'
        ? 'Ask the person who denied it before you try again.'
        : 'Send the request again to ask again.',
    members: { request: { namespace, name: ticket.name, state } },
  });
}

/** The store takes no request, or gives no right to run it. */
export function storeRefused(refusal: ApprovalRefusal, asked: readonly ApprovalRequirement[]): LaneReport {
  const said = [refusal.message, ...asked.map(({ message }) => message)].filter((part) => part);
  return laneError('SPE103', said.join('. '), {
    detail: `rule ${rulesOf(asked).join(', ')}, ${refusal.code}`,
    hint: refusal.hint,
    members: { rules: rulesOf(asked), cause: refusal.code },
  });
}
