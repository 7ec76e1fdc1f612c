import type { Bundle, CompiledConnection, PolicyScope, SessionFacts } from '../../../../policy/bundle.ts';
import { sessionAuthenticated, sessionEnd, sessionStart } from '../../../../record/events.ts';
import type { RecordStream } from '../../../../record/port.ts';
import type { Judged, Judgements, LaneContext, OpenSession } from '../../../lane.ts';
import type { VerifiedIdentity } from '../../../ports.ts';
import type { NotAdmitted } from '../../../session/admission.ts';
import { gateReport, HttpRefused, type HttpReport, httpError, withdrawnReport } from './errors.ts';
import type { HttpSession } from './port.ts';

/** One subject on one connection under one bundle. */
export interface Judgement extends Judged {
  readonly scope: PolicyScope;
  readonly connection: CompiledConnection;
}

/** The same for all sessions of a process. */
export interface SessionPorts extends Pick<LaneContext, 'bundles' | 'gate' | 'recorder' | 'failed'> {
  readonly judgement: Judgements<Judgement>;
}

/** What the lane does with a session that its application does not. */
export interface ManagedSession extends HttpSession, OpenSession {
  readonly ended: boolean;
  /** Exchanges under way. */
  readonly busy: number;
  enter(): number;
  leave(): void;
  /** A fresh token of the same subject: the session goes on with it. */
  renew(identity: VerifiedIdentity): void;
  /** Looks whether its time, or its right to be here, is over, and ends it then. */
  sweep(now: number): void;
  /** It has ended, for this reason. Only the first counts. */
  finish(reason: string, code?: string): void;
}

export interface SessionInit {
  readonly id: string;
  readonly ports: SessionPorts;
  readonly identity: VerifiedIdentity;
  /** How the identity was proved, such as `bearer`. */
  readonly method: string;
  readonly peer: string;
  readonly application: string;
  readonly bundle: Bundle;
  readonly judgement: Judgement;
  readonly onEnd: (session: ManagedSession, reason: string) => void;
}

/** Its record has begun, and is on disk, when this resolves. @throws RecorderError */
export async function beginSession(init: SessionInit): Promise<ManagedSession> {
  const { connection } = init.judgement;
  const stream = init.ports.recorder.stream(connection.namespace, connection.name);
  const session = createSession(init, stream);
  const { id, identity, peer, application, bundle, method } = init;
  const { subject } = identity;
  stream.append(
    'session.start',
    sessionStart({ session: id, connection, client: peer, subject, bundle: bundle.hash, application }),
  );
  recordIdentity(stream, id, identity, method);
  try {
    await stream.sync();
  } catch (error) {
    session.finish('the record cannot be written');
    throw error;
  }
  return session;
}

function recordIdentity(stream: RecordStream, session: string, identity: VerifiedIdentity, method: string): void {
  const { subject, tokenId, sessionExpiresAt } = identity;
  stream.append('session.authenticated', sessionAuthenticated({ session, subject, method, tokenId, sessionExpiresAt }));
}

function createSession(init: SessionInit, stream: RecordStream): ManagedSession {
  const { id, ports, peer, method } = init;
  const startedAt = new Date();
  const ending = new AbortController();
  let { identity, bundle, judgement } = init;
  let requests = 0;
  let denials = 0;
  let busy = 0;
  let usedAt = startedAt.getTime();

  function finish(reason: string, code?: string): void {
    if (ending.signal.aborted) return;
    ending.abort(new HttpRefused(endOf(reason, code)));
    watch(undefined);
    const counts = { commands: requests, denied: denials };
    stream.append(
      'session.end',
      sessionEnd({ session: id, reason, ...counts, ...(code === undefined ? {} : { code }) }),
    );
    init.onEnd(session, reason);
  }

  let report: HttpReport | undefined;
  const endOf = (reason: string, code: string | undefined): HttpReport =>
    report ?? (code === undefined ? httpError('SPE020') : httpError('SPE013', reason));

  function fail(why: HttpReport): void {
    if (ending.signal.aborted) return;
    report = why;
    finish(why.message, why.code);
  }

  const dismissed = (): void => {
    if (identity.withdrawn?.aborted === true) fail(withdrawnReport(identity.withdrawn));
  };
  let watched: AbortSignal | undefined;
  function watch(signal: AbortSignal | undefined): void {
    if (watched === signal) return;
    watched?.removeEventListener('abort', dismissed);
    watched = signal;
    signal?.addEventListener('abort', dismissed, { once: true });
  }

  function refresh(): HttpReport | undefined {
    if (ending.signal.aborted) return reasonOf(ending.signal);
    const next = ports.bundles.current();
    if (next === bundle) return undefined;
    const { namespace, name } = judgement.connection;
    const connection = next.connection(namespace, name);
    const made = connection === undefined ? undefined : ports.judgement(next, connection, identity);
    const revoked = made?.scope.revoked;
    if (made === undefined || revoked !== undefined) {
      const hint = revoked?.message ?? 'Ask the platform team for an AccessPolicy that names you.';
      fail({ ...httpError('SPE013', 'your access was withdrawn', { hint }), status: 403 });
      return report;
    }
    bundle = next;
    judgement = made;
    return undefined;
  }

  function suspended(): HttpReport | undefined {
    if (ending.signal.aborted) return reasonOf(ending.signal);
    const kept = ports.gate.suspension(judgement.connection);
    if (kept !== undefined) return gateReport(kept);
    return Date.now() >= identity.sessionExpiresAt.getTime() ? EXPIRED : undefined;
  }

  const facts: SessionFacts = {
    id,
    startedAt,
    clientAddress: peer.slice(0, peer.lastIndexOf(':')),
    applicationName: init.application,
    get commands() {
      return requests;
    },
  };

  const session: ManagedSession = {
    ...{ id, peer, startedAt, stream, facts, refresh, suspended, fail, finish },
    signal: ending.signal,
    get identity() {
      return identity;
    },
    get bundle() {
      return bundle;
    },
    get connection() {
      return judgement.connection;
    },
    get scope() {
      return judgement.scope;
    },
    get requests() {
      return requests;
    },
    get ended() {
      return ending.signal.aborted;
    },
    get busy() {
      return busy;
    },
    denied() {
      denials++;
    },
    recordFailed(error) {
      ports.failed(id, 'the record cannot be written', error);
      fail(httpError('SPE014'));
    },
    enter() {
      busy++;
      return ++requests;
    },
    leave() {
      busy--;
      usedAt = Date.now();
    },
    renew(fresh) {
      const other = fresh.tokenId !== identity.tokenId;
      identity = fresh;
      watch(fresh.withdrawn);
      if (other) recordIdentity(stream, id, fresh, method);
    },
    sweep(now) {
      const { maxSessionDurationMs, idleTimeoutMs } = judgement.connection.limits;
      const kept = ports.gate.refusal(judgement.connection, identity);
      if (now >= identity.sessionExpiresAt.getTime()) fail(EXPIRED);
      else if (kept !== undefined) fail(gateReport(kept));
      else if (maxSessionDurationMs !== undefined && now - startedAt.getTime() > maxSessionDurationMs)
        fail(httpError('SPE013', `it lasted longer than ${maxSessionDurationMs / 1000} s`, { hint: 'Connect again.' }));
      else if (idleTimeoutMs !== undefined && busy === 0 && now - usedAt > idleTimeoutMs)
        fail(httpError('SPE013', `it was idle for more than ${idleTimeoutMs / 1000} s`, { hint: 'Connect again.' }));
      else refresh();
    },
  };
  watch(identity.withdrawn);
  dismissed();
  return session;
}

/** Why a session ended, or an exchange of it. */
export const reasonOf = ({ reason }: AbortSignal): HttpReport =>
  reason instanceof HttpRefused ? reason.report : httpError('SPE020');

const EXPIRED: HttpReport = httpError('SPE013', 'your token has expired');

/** Why somebody gets no session, in our words. */
export function notAdmitted(why: NotAdmitted): HttpReport {
  switch (why.because) {
    case 'gate':
      return gateReport(why.refusal);
    case 'withdrawn':
      return withdrawnReport(why.signal);
    case 'noPolicy':
      return httpError('SPE008', why.username);
    case 'revoked':
      return httpError('SPE008', why.username, {
        detail: `rule ${why.rule}`,
        ...(why.message === '' ? {} : { hint: why.message }),
      });
    case 'maxSessions':
    case 'maxPerSubject':
      return httpError('SPE009', why.limit);
    default:
      return why satisfies never;
  }
}
