import type { ApprovalRequest } from '../../../api/resources.ts';
import type { EventRecorder, EventText } from '../../../kube/event-recorder.ts';
import type { ApprovalEvent } from '../context.ts';

type Told = Pick<EventText, 'type' | 'reason' | 'action'> & { readonly words: string };

/** Reasons of Kubernetes Events, by what happened. Counting is between an approver and a session, and nobody else's business. */
const TOLD: Readonly<Record<ApprovalEvent, Told | undefined>> = {
  Created: { type: 'Normal', reason: 'ApprovalRequested', action: 'Hold', words: 'waits for approval' },
  Voted: { type: 'Normal', reason: 'Voted', action: 'Count', words: 'has another vote' },
  Approved: { type: 'Normal', reason: 'Approved', action: 'Decide', words: 'was approved' },
  Denied: { type: 'Warning', reason: 'Denied', action: 'Decide', words: 'was denied' },
  Expired: { type: 'Warning', reason: 'Expired', action: 'Decide', words: 'expired' },
  Withdrawn: { type: 'Normal', reason: 'Withdrawn', action: 'Withdraw', words: 'was withdrawn' },
  Consumed: { type: 'Normal', reason: 'Released', action: 'Release', words: 'was let go, once' },
  Reused: {
    type: 'Normal',
    reason: 'Reused',
    action: 'Release',
    words: 'covered the same statement with other values',
  },
  Executed: { type: 'Normal', reason: 'Executed', action: 'Execute', words: 'was executed' },
  Failed: { type: 'Warning', reason: 'Failed', action: 'Execute', words: 'failed' },
  CountWanted: undefined,
  Measured: undefined,
};

/** Tells a change as a Kubernetes Event of the request: by names and numbers, never with the command or what anybody wrote. */
export function tellEvent(recorder: EventRecorder, request: ApprovalRequest, event: ApprovalEvent): void {
  const told = TOLD[event];
  if (told === undefined) return;
  const { connectionRef, requester, requirements } = request.spec;
  const { votes, decidedBy } = request.status ?? {};
  const [rule] = requirements;
  const named =
    rule === undefined ? '' : `, rule ${rule.policyRef.namespace}/${rule.policyRef.name}/${rule.policyRef.rule}`;
  const by = decidedBy === undefined || event === 'Created' ? '' : ` by ${decidedBy}`;
  const counted = votes === undefined ? '' : `, votes ${votes}`;
  const { type, reason, action, words } = told;
  recorder.event(request, {
    type,
    reason,
    action,
    note: `${requester.username} on ${connectionRef.name}: ${words}${by}${named}${counted}`,
  });
}
