import type { Bridge } from './bridge/port.ts';
import { type SshReport, sshError } from './errors.ts';
import type { SessionGatekeeper } from './session/gatekeeper.ts';
import { EXPIRED, type Session } from './session/session.ts';

/** When something last passed, so that it can be told how long nothing has. */
export interface Activity {
  bytes: number;
  /** Milliseconds since 1970. */
  at: number;
}

/** Why the session has to end now: its token, its length, or that nothing came of it for too long. Undefined: it goes on. */
export function overdue(
  session: Session,
  bridge: Bridge,
  gatekeeper: SessionGatekeeper,
  activity: Activity,
  now: number,
): SshReport | undefined {
  const { maxSessionDurationMs, idleTimeoutMs } = session.connection.limits;
  const bytes = bridge.bytes.client + bridge.bytes.target;
  // A command under way is not idleness, however silent; a shell at its prompt is.
  if (bytes !== activity.bytes || gatekeeper.working) Object.assign(activity, { bytes, at: now });
  if (now >= session.identity.sessionExpiresAt.getTime()) return EXPIRED;
  if (maxSessionDurationMs !== undefined && now - session.startedAt.getTime() > maxSessionDurationMs)
    return sshError('SPS006', `it lasted longer than ${maxSessionDurationMs / 1000} s`);
  if (idleTimeoutMs !== undefined && now - activity.at > idleTimeoutMs)
    return sshError('SPS006', `it was idle for more than ${idleTimeoutMs / 1000} s`);
  return undefined;
}
