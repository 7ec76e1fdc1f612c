import type { CompiledConnection } from '../../policy/bundle.ts';
import type { Judged, Judgements, LaneContext, OpenSession } from '../lane.ts';
import type { GateRefusal, VerifiedIdentity } from '../ports.ts';

/** Why somebody gets no session, before the target hears of it; each lane says it in its own words. */
export type NotAdmitted =
  | { readonly because: 'gate'; readonly refusal: GateRefusal }
  /** The identity ended before its time; the signal's reason says why. */
  | { readonly because: 'withdrawn'; readonly signal: AbortSignal }
  | { readonly because: 'noPolicy'; readonly username: string }
  | { readonly because: 'revoked'; readonly username: string; readonly rule: string; readonly message: string }
  | { readonly because: 'maxSessions'; readonly limit: number }
  | { readonly because: 'maxPerSubject'; readonly limit: number };

export type Admitted<J> = { readonly judgement: J } | { readonly refused: NotAdmitted };

/**
 * Whether an identity gets a session on a connection now: the gate, the identity itself, policy, and how many there are already, in
 * this order, for every lane alike.
 * @param maxPerSubject sessions of one subject, where the protocol limits them
 */
export function admit<J extends Judged>(
  ports: Pick<LaneContext, 'bundles' | 'gate'> & { readonly judgement: Judgements<J> },
  sessions: Iterable<OpenSession>,
  connection: CompiledConnection,
  identity: VerifiedIdentity,
  maxPerSubject: number = Number.POSITIVE_INFINITY,
): Admitted<J> {
  const refused = (why: NotAdmitted): Admitted<J> => ({ refused: why });
  const kept = ports.gate.suspension(connection) ?? ports.gate.refusal(connection, identity);
  if (kept !== undefined) return refused({ because: 'gate', refusal: kept });
  if (identity.withdrawn?.aborted === true) return refused({ because: 'withdrawn', signal: identity.withdrawn });
  const { username } = identity.subject;
  const judgement = ports.judgement(ports.bundles.current(), connection, identity);
  if (judgement === undefined) return refused({ because: 'noPolicy', username });
  const { revoked } = judgement.scope;
  if (revoked !== undefined)
    return refused({ because: 'revoked', username, rule: revoked.rule, message: revoked.message ?? '' });
  const maxSessions = connection.limits.maxSessions ?? Number.POSITIVE_INFINITY;
  if (maxSessions === Number.POSITIVE_INFINITY && maxPerSubject === Number.POSITIVE_INFINITY) return { judgement };
  let open = 0;
  let own = 0;
  for (const session of sessions) {
    if (session.connection.namespace !== connection.namespace || session.connection.name !== connection.name) continue;
    open++;
    if (session.identity.subject.username === username) own++;
  }
  if (open >= maxSessions) return refused({ because: 'maxSessions', limit: maxSessions });
  if (own >= maxPerSubject) return refused({ because: 'maxPerSubject', limit: maxPerSubject });
  return { judgement };
}
