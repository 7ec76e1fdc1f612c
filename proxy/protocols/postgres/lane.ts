import type { Bundle, CompiledConnection, PolicyScope } from '../../../policy/bundle.ts';
import { sessionAuthenticated, sessionEnd, sessionStart } from '../../../record/events.ts';
import type { CommandStream, RecordingSink } from '../../../record/port.ts';
import type { Lane, LaneObserver } from '../../lane.ts';
import type { LeaseRequest, TokenVerifier, VerifiedIdentity } from '../../ports.ts';
import { admit, type NotAdmitted } from '../../session/admission.ts';
import type { CancelKeys } from '../../session/cancel-keys.ts';
import { linkedTo } from '../../session/deadline.ts';
import { newSessionId } from '../../session/id.ts';
import { createRefusals } from '../../session/refusals.ts';
import type { CatalogCache } from './catalog/cache.ts';
import { type AuthenticatedClient, acceptClient, type ClientAuthOptions } from './client-auth.ts';
import { gateReport, laneError, withdrawnReport } from './errors.ts';
import { createPreviewDialler } from './held/dial.ts';
import { type HeldUpstream, holdUpstream } from './held-upstream.ts';
import type { LeasedConnection } from './per-command/succession.ts';
import { Refused, refusalBytes, reportOf } from './refusal.ts';
import { Backend } from './relay/backend.ts';
import { Frontend } from './relay/frontend.ts';
import { SessionRecord } from './relay/record.ts';
import { type LanePorts, LaneSession } from './relay/session-state.ts';
import { overdue } from './session-limits.ts';
import { firstEnvironment, greet, sessionMasking, upstreamParameters, wireTogether } from './session-setup.ts';
import { StartupError } from './startup-errors.ts';
import { cancelUpstream, connectUpstream, type UpstreamSession } from './upstream.ts';
import { STATUS } from './wire/messages.ts';

/** What the lane needs besides the ports of its sessions. */
export interface LaneOptions {
  readonly ports: LanePorts;
  readonly verifier: TokenVerifier;
  readonly authentication: Omit<ClientAuthOptions, 'verifier' | 'proof'>;
  readonly recorder: RecordingSink;
  readonly cancelKeys: CancelKeys;
  /** A CancelRequest whose key another worker gave out. */
  readonly cancelElsewhere: (worker: number, processId: number, secret: Buffer) => void;
  readonly catalogs: (connection: CompiledConnection) => CatalogCache;
  readonly observer: LaneObserver;
  /** How long the target may take until it is ready, in milliseconds. */
  readonly connectTimeoutMs: number;
  /** Nothing new is begun once it is aborted. */
  readonly stopping: AbortSignal;
}

export interface PostgresLane extends Omit<Lane, 'close'> {
  readonly sessions: ReadonlySet<LaneSession>;
}

/** Coming back does not help where no policy is left. */
const WITHDRAWN = 'Ask the platform team for an AccessPolicy that names you.';
/** Between two looks at sessions that are asked to end, in milliseconds. */
const DRAIN_LOOK_MS = 20;

/** The connection whose database the client named. */
function pick(
  bundle: Bundle,
  connections: readonly { namespace: string; name: string }[],
  database: string,
): CompiledConnection {
  for (const { namespace, name } of connections) {
    const connection = bundle.connection(namespace, name);
    if (connection?.target.database === database) return connection;
  }
  throw new Refused(laneError('SPG023', database));
}

/** As the client is told. */
function notAdmitted(why: NotAdmitted): Refused {
  switch (why.because) {
    case 'gate':
      return new Refused(gateReport(why.refusal));
    case 'withdrawn':
      return new Refused(withdrawnReport(why.signal));
    case 'noPolicy':
      return new Refused(laneError('SPG022', why.username));
    case 'revoked':
      return new Refused(laneError('SPG022', why.username, { detail: `Rule ${why.rule}.`, hint: why.message }));
    case 'maxSessions':
    case 'maxPerSubject':
      return new Refused(laneError('SPG021', String(why.limit)));
    default:
      return why satisfies never;
  }
}

export function createPostgresLane(options: LaneOptions): PostgresLane {
  const { ports, observer } = options;
  const sessions = new Set<LaneSession>();
  const helds = new WeakMap<LaneSession, HeldUpstream>();
  const recordRefused = createRefusals(options);
  const previews = createPreviewDialler(ports, options.connectTimeoutMs);

  /** Leases a credential and signs in with it. @throws with the lease released */
  async function signIn(
    connection: CompiledConnection,
    client: AuthenticatedClient,
    request: LeaseRequest,
  ): Promise<LeasedConnection> {
    const certificateAuthorities = await ports.credentials.certificateAuthorities(connection);
    const lease = await ports.leases.lease(connection, request);
    try {
      const upstream = await connectUpstream({
        connection,
        credential: lease.credential,
        ...(certificateAuthorities === undefined ? {} : { certificateAuthorities }),
        database: connection.target.database ?? '',
        parameters: upstreamParameters(client, request.scope.readOnly),
        protocolMinor: client.protocolMinor,
        signal: request.signal,
        timeoutMs: options.connectTimeoutMs,
      });
      return { upstream, lease };
    } catch (error) {
      await lease.release();
      throw error;
    }
  }

  /** Everything up to ReadyForQuery. The record of the session begins before the target hears of it. */
  async function open(
    client: AuthenticatedClient,
    id: string,
    connection: CompiledConnection,
    stream: CommandStream,
    signal: AbortSignal,
  ): Promise<void> {
    const { identity, wire } = client;
    const admitted = admit(ports, sessions, connection, identity);
    if ('refused' in admitted) throw notAdmitted(admitted.refused);
    const { judgement } = admitted;
    const masking = await sessionMasking(judgement.scope.masks, connection, ports.credentials);
    const catalogs = options.catalogs(connection);
    const catalog = judgement.scope.nameSensitive ? (catalogs.current() ?? (await catalogs.refresh())) : undefined;
    const bundle = ports.bundles.current();
    stream.append(
      'session.start',
      sessionStart({
        session: id,
        connection,
        client: wire.peer,
        subject: identity.subject,
        application: client.startup.applicationName,
        database: client.startup.database,
        bundle: bundle.hash,
      }),
    );
    stream.append(
      'session.authenticated',
      sessionAuthenticated({
        session: id,
        subject: identity.subject,
        method: client.method,
        tokenId: identity.tokenId,
        sessionExpiresAt: identity.sessionExpiresAt,
      }),
    );
    // With the kernel before anybody is asked to sign in; each lease brings it to the disk with its own event before it is used.
    stream.flush();
    const request = { session: id, subject: identity.subject, scope: judgement.scope, stream, signal };
    const first = await signIn(connection, client, request);
    const open = (stop: AbortSignal): Promise<LeasedConnection> => {
      const { connection: now, judgement: current } = session;
      return signIn(now, client, {
        ...request,
        scope: current.scope,
        signal: AbortSignal.any([stop, options.stopping]),
      });
    };
    const held = holdUpstream(first, open, () => session);
    const session = new LaneSession({
      id,
      ports,
      client: wire,
      upstream: held.wire,
      identity,
      catalogs,
      record: new SessionRecord(stream, id, connection.audit),
      masking,
      database: connection.target.database ?? '',
      applicationName: client.startup.applicationName,
      bundle,
      connection,
      judgement,
      environment: firstEnvironment(judgement, catalog, 'unknown'),
    });
    // Role, database and start-up packet may each set search_path and role: only the session itself knows what is in force.
    session.namesMoved = judgement.scope.nameSensitive;
    for (const name of client.startup.settings.keys())
      if (name.includes('.')) session.customSettings.add(name.toLowerCase());
    session.login = first.lease.expiresAt === undefined ? undefined : first.lease.credential.username;
    run(session, client, first.upstream, held);
  }

  /** Nobody waits for a cancel, as with a server: what goes wrong with it is for the log. */
  async function cancel(
    connection: CompiledConnection,
    upstream: UpstreamSession | undefined,
    peer: string,
  ): Promise<void> {
    // Between two commands nobody is signed in, and there is nothing to cancel.
    if (upstream === undefined) return;
    try {
      const certificateAuthorities = await ports.credentials.certificateAuthorities(connection);
      const { backendPid, cancelKey } = upstream;
      const signal = AbortSignal.timeout(options.connectTimeoutMs);
      await cancelUpstream({ connection, certificateAuthorities, backendPid, cancelKey, signal });
    } catch (error) {
      observer.refused(peer, error instanceof Error ? error : new Error(String(error)));
    }
  }

  function run(session: LaneSession, client: AuthenticatedClient, upstream: UpstreamSession, held: HeldUpstream): void {
    const { connection } = session;
    const frontend = new Frontend(session);
    const backend = new Backend(session);
    const cancelNow = (): Promise<void> => cancel(connection, held.current()?.upstream, session.client.peer);
    const key = options.cancelKeys.issue(
      upstream.backendPid,
      client.protocolMinor >= 2 ? 32 : 4,
      // A command that waits for people has not reached the target: there is nothing to cancel there.
      () => void (session.cancelHeld() || cancelNow()),
    );
    session.cancelUpstream = cancelNow;
    session.dial = (signal) => previews(session, signal);
    session.rescope = () => rescope(session);
    helds.set(session, held);
    const { withdrawn } = session.identity;
    const dismiss = (): void => {
      if (withdrawn !== undefined) session.fail(withdrawnReport(withdrawn));
    };
    session.onEnd = (reason) => {
      withdrawn?.removeEventListener('abort', dismiss);
      key.revoke();
      sessions.delete(session);
      const end = sessionEnd({
        session: session.id,
        reason,
        commands: session.commands,
        denied: session.record.denials,
      });
      session.record.event('session.end', end);
      observer.sessionClosed(connection, session.id, reason);
      // Once the connection is closed, which comes right behind this.
      queueMicrotask(() => void held.release());
    };
    sessions.add(session);
    observer.sessionOpened(connection, session.identity, session.id);
    wireTogether(session, frontend, backend);
    greet(session, upstream, key.secret);
    if (client.residual.length > 0) frontend.feed(client.residual);
    session.client.resume();
    if (upstream.residual.length > 0) backend.feed(upstream.residual);
    session.upstream.resume();
    withdrawn?.addEventListener('abort', dismiss, { once: true });
    // It may have ended while the target was dialled.
    if (withdrawn?.aborted === true) dismiss();
  }

  return {
    protocol: 'Postgres',
    sessions,
    cancel: (processId, secret) => options.cancelKeys.cancel(processId, secret),
    async serve(accepted, connections, signal, proof) {
      const id = newSessionId(Date.now());
      let client: Awaited<ReturnType<typeof acceptClient>>;
      try {
        const proved = proof === undefined ? {} : { proof };
        client = await acceptClient(
          accepted,
          { verifier: options.verifier, ...options.authentication, ...proved },
          signal,
        );
      } catch (error) {
        if (!(error instanceof Error)) throw error;
        observer.refused(accepted.peer, error);
        recordRefusal(connections, id, accepted.peer, error);
        return;
      }
      if (client.type === 'cancel') {
        const worker = options.cancelKeys.workerOf(client.secret);
        if (!options.cancelKeys.cancel(client.processId, client.secret))
          options.cancelElsewhere(worker, client.processId, client.secret);
        client.wire.end();
        return;
      }
      await welcome(client, id, connections, signal);
    },
    sweep(now) {
      const bundle = ports.bundles.current();
      for (const session of sessions) sweepOne(session, now, bundle);
    },
    async drain(signal) {
      const reason = laneError('SPG014', 'Sallyport is stopping');
      while (sessions.size > 0 && !signal.aborted) {
        for (const session of sessions)
          if (session.replies.size === 0 && session.status === STATUS.idle) session.fail(reason);
        // A transaction ends when its client says so, and nothing tells of it but its state.
        if (sessions.size > 0) await new Promise((resolve) => setTimeout(resolve, DRAIN_LOOK_MS));
      }
      for (const session of sessions) session.fail(reason);
    },
  };

  async function welcome(
    client: AuthenticatedClient,
    id: string,
    connections: readonly { namespace: string; name: string }[],
    signal: AbortSignal,
  ): Promise<void> {
    const { wire } = client;
    using gone = linkedTo(signal);
    wire.onClose = () => gone.abort(new Error('the client went away'));
    try {
      const connection = pick(ports.bundles.current(), connections, client.startup.database);
      const stream = options.recorder.stream(connection.namespace, connection.name);
      await open(client, id, connection, stream, gone.signal);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      wire.onClose = () => {};
      const report = reportOf(error);
      if (!wire.closed) wire.write(refusalBytes(report, id));
      wire.end();
      observer.refused(wire.peer, error);
      recordRefusal(connections, id, wire.peer, error, client.identity);
    }
  }

  function recordRefusal(
    connections: readonly { namespace: string; name: string }[],
    session: string,
    peer: string,
    error: Error,
    identity?: VerifiedIdentity,
  ): void {
    // A load balancer that looks whether somebody listens asks for nothing: it is counted, and is no session.
    if (error instanceof StartupError && error.code === 'SPG117') return;
    const { code, message } = reportOf(error);
    recordRefused(connections, { session, peer, code, message, identity });
  }

  async function rescope(session: LaneSession): Promise<void> {
    const bundle = ports.bundles.current();
    const connection = bundle.connection(session.connection.namespace, session.connection.name);
    const judgement = connection === undefined ? undefined : ports.judgement(bundle, connection, session.identity);
    if (connection === undefined || judgement === undefined || judgement.scope.revoked !== undefined) {
      session.fail(
        laneError('SPG014', 'your access was withdrawn', { hint: judgement?.scope.revoked?.message ?? WITHDRAWN }),
      );
      return;
    }
    await follow(session, connection, judgement.scope);
    if (session.ended) return;
    session.masking = await sessionMasking(judgement.scope.masks, connection, ports.credentials);
    const catalog = judgement.scope.nameSensitive
      ? (session.catalogs.current() ?? (await session.catalogs.refresh()))
      : undefined;
    if (catalog !== undefined && session.environment.catalog === undefined) session.namesMoved = true;
    const { searchPath, role } = session.environment;
    session.environment = judgement.environment({
      searchPath,
      role,
      catalog,
      temporary: new Set(session.temporary),
      uncommitted: session.uncommitted,
    });
    session.judgement = judgement;
    session.connection = connection;
    session.bundle = bundle;
  }

  function sweepOne(session: LaneSession, now: number, bundle: Bundle): void {
    const over = overdue(session, now);
    const kept = ports.gate.refusal(session.connection, session.identity);
    if (over !== undefined) session.fail(over);
    else if (kept !== undefined) session.fail(gateReport(kept));
    else if (bundle !== session.bundle) endWhenWithdrawn(session, bundle);
  }

  /** The credential has the rights of the policy in force, or its session ends. */
  async function follow(session: LaneSession, connection: CompiledConnection, scope: PolicyScope): Promise<void> {
    try {
      await helds.get(session)?.current()?.lease.follow(connection, scope);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      session.fail(reportOf(error));
    }
  }

  /** A policy that no longer lets the subject be here ends its sessions now, not at their next command; so move the rights of others. */
  function endWhenWithdrawn(session: LaneSession, bundle: Bundle): void {
    const connection = bundle.connection(session.connection.namespace, session.connection.name);
    const scope = connection === undefined ? undefined : ports.judgement(bundle, connection, session.identity)?.scope;
    if (connection === undefined || scope === undefined || scope.revoked !== undefined)
      session.fail(laneError('SPG014', 'your access was withdrawn', { hint: scope?.revoked?.message ?? WITHDRAWN }));
    else void follow(session, connection, scope);
  }
}
