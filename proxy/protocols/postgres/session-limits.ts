import { type LaneReport, laneError } from './errors.ts';
import type { LaneSession } from './relay/session-state.ts';

/** Why the session has to end now: its token, its length, or that nothing came of it for too long. Undefined: it goes on. */
export function overdue(session: LaneSession, now: number): LaneReport | undefined {
  const { maxSessionDurationMs, idleTimeoutMs } = session.connection.limits;
  // A session with a command under way is not idle, and its idle time begins when that is over.
  if (session.heard || session.replies.size > 0 || session.waiting) session.lastActivity = now;
  session.heard = false;
  if (now >= session.identity.sessionExpiresAt.getTime()) {
    const report = laneError('SPG014', 'your token has expired', { hint: 'Connect again with a fresh token.' });
    return { ...report, state: '28000' };
  }
  if (maxSessionDurationMs !== undefined && now - session.startedAt.getTime() > maxSessionDurationMs)
    return laneError('SPG014', `it lasted longer than ${maxSessionDurationMs / 1000} s`);
  if (idleTimeoutMs !== undefined && session.replies.size === 0 && now - session.lastActivity > idleTimeoutMs)
    return laneError('SPG014', `it was idle for more than ${idleTimeoutMs / 1000} s`);
  return undefined;
}
