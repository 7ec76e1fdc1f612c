import { redactReport as redactFields, redactNotification as redactPayload } from '../../../masking/notices.ts';
import type { Reply } from './replies.ts';
import type { LaneSession } from './session-state.ts';

/**
 * Errors and notices as the client may see them (docs/masking.md): those of statements that touch protected relations lose
 * everything but their SQLSTATE, others what the content detectors find. Undefined: as they are.
 */
export function redactReport(
  session: LaneSession,
  reply: Reply | undefined,
  bytes: Buffer,
  start: number,
  end: number,
): Buffer | undefined {
  if (session.masking.masks.empty) return undefined;
  // Without a command to blame, as for a deferred constraint at Sync, the strict treatment is the safe one.
  const verdict = reply?.verdict ?? reply?.prepared?.verdict ?? reply?.portal?.statement.verdict;
  const touchesProtected = verdict === undefined ? session.masking.masks.hasColumns : verdict.touchesProtected;
  return redactFields(bytes.subarray(start, end), { touchesProtected, content: session.masking.content });
}

/** NotificationResponse: its payload is anybody's text. */
export function redactNotification(
  session: LaneSession,
  bytes: Buffer,
  start: number,
  end: number,
): Buffer | undefined {
  const { content } = session.masking;
  return content === undefined ? undefined : redactPayload(bytes.subarray(start, end), content);
}
