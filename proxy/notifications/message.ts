import { createHash } from 'node:crypto';
import type { ApprovalRequest } from '../../api/generated/approvalrequests.ts';
import type { WebhookMessage } from '../../delivery/webhook.ts';

/**
 * What people are told of a request. By default nothing that the agent wrote: no statement, no value, no reason, since messages end up in
 * chats and mails that more people read than may see the data.
 */
export type Announcement = 'requested' | 'decided' | 'expired' | 'executed';

/** What happened, as the approval store tells it; what people need not hear of has no announcement. */
export function announcementOf(event: string): Announcement | undefined {
  switch (event) {
    case 'Created':
      return 'requested';
    case 'Approved':
    case 'Denied':
      return 'decided';
    case 'Expired':
      return 'expired';
    case 'Executed':
    case 'Failed':
      return 'executed';
    default:
      // Votes on the way, withdrawals, previews: nobody has to act on them.
      return undefined;
  }
}

const CONTENT_TYPE = 'application/json';
const MAX_EFFECTS = 8;
const MAX_COMMAND_CHARACTERS = 65_536;

/** @param at milliseconds since 1970 @param includeCommand the statement and the free texts too */
export function notification(
  request: ApprovalRequest,
  announcement: Announcement,
  event: string,
  at: number,
  includeCommand: boolean,
): WebhookMessage {
  const { metadata, spec, status } = request;
  const { namespace, name } = metadata;
  const connection = `${namespace}/${spec.connectionRef.name}`;
  const data = {
    namespace,
    name,
    connection,
    requester: {
      username: spec.requester.username,
      displayName: spec.requester.displayName,
      onBehalfOf: spec.requester.onBehalfOf,
    },
    rules: spec.requirements.map(({ policyRef, requiredApprovals }) => ({
      rule: `${policyRef.namespace}/${policyRef.name}/${policyRef.rule}@${policyRef.generation}`,
      requiredApprovals,
    })),
    state: event === 'Created' ? 'Pending' : event,
    summary: summaryOf(spec.request),
    expiresAt: spec.expiresAt,
    decidedBy: status?.decidedBy,
    outcome: announcement === 'executed' ? status?.outcome : undefined,
    ...(announcement === 'requested'
      ? {
          approve: `sallyport approve ${name} -n ${namespace} --reason '...'`,
          show: `sallyport requests show ${name} -n ${namespace}`,
        }
      : {}),
    ...(includeCommand ? commandOf(request) : {}),
  };
  const body = JSON.stringify({
    type: `approval.${announcement}`,
    timestamp: new Date(at).toISOString(),
    data,
  });
  return { id: idOf(request, event), contentType: CONTENT_TYPE, body: Buffer.from(body, 'utf8') };
}

/** Names as people give them to objects; of others an agent may be the author (`CREATE TABLE "approve at https://…"`). */
const PLAIN_NAME = /^[\p{L}\p{N}_$]{1,63}\.[\p{L}\p{N}_$]{1,63}$/u;

function plainly(effect: string): string {
  return effect.replace(/^(\w+ (?:on|of)) (.*?)(?: \(est\. \d+ rows\))?$/s, (whole, words: string, name: string) =>
    PLAIN_NAME.test(name) ? whole : `${words} an object with an unusual name`,
  );
}

/** From kinds of access and names of objects alone: `Delete on public.orders`. */
function summaryOf(request: ApprovalRequest['spec']['request']): string {
  const effects = request.effects ?? [];
  if (effects.length === 0) return `a ${request.protocol} command`;
  const more = effects.length - MAX_EFFECTS;
  return effects.slice(0, MAX_EFFECTS).map(plainly).join('; ') + (more > 0 ? `; and ${more} more` : '');
}

function commandOf({ spec }: ApprovalRequest): Readonly<Record<string, unknown>> {
  const { summary, display, reason } = spec.request;
  return { command: (display ?? summary).slice(0, MAX_COMMAND_CHARACTERS), reason };
}

/** The same for the same event, however often and by whomever it is told. */
function idOf({ metadata, spec }: ApprovalRequest, event: string): string {
  const parts = [
    metadata.namespace,
    metadata.name,
    metadata.uid ?? metadata.creationTimestamp ?? '',
    spec.request.hash,
  ];
  const digest = createHash('sha256')
    .update(JSON.stringify([...parts, event]))
    .digest('base64url');
  return `msg_${digest.slice(0, 32)}`;
}
