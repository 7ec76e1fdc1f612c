import type { CompiledConnection } from '../../../policy/bundle.ts';
import { sessionAuthenticated, sessionEnd, sessionStart } from '../../../record/events.ts';
import type { Lane, LaneContext, OpenSession } from '../../lane.ts';
import type { Wire } from '../../listener/wire.ts';
import type { CredentialLeases, Proof, SshCredential, SshHostKeys, SshLeaseRequest } from '../../ports.ts';
import { admit, type NotAdmitted } from '../../session/admission.ts';
import { newSessionId } from '../../session/id.ts';
import { createRefusals } from '../../session/refusals.ts';
import { createAuthenticator } from './auth/authenticator.ts';
import type { Registrations } from './auth/registrations.ts';
import { createBridge } from './bridge/bridge.ts';
import type { Bridge } from './bridge/port.ts';
import {
  gateReport,
  Refused,
  refusalText,
  reportLine,
  reportOf,
  type SshReport,
  sshError,
  withdrawnReport,
} from './errors.ts';
import { createGatekeeper, type SessionGatekeeper } from './session/gatekeeper.ts';
import { createSession, type Judgement, type Session, type SessionPorts, withdrawnBy } from './session/session.ts';
import { type Activity, overdue } from './session-limits.ts';
import { acceptClient } from './transport/accept.ts';
import { type AcceptedClient, ClientFailure, type ConnectionLayer, DisconnectReason } from './transport/port.ts';
import { signIn, type TargetConnection } from './upstream.ts';

/** What the lane needs besides the ports of its sessions. */
export interface SshLaneOptions
  extends Pick<LaneContext, 'verifier' | 'recorder' | 'observer' | 'connectTimeoutMs' | 'stopping'> {
  readonly ports: SessionPorts;
  readonly leases: CredentialLeases<SshCredential, SshLeaseRequest>;
  readonly registrations: Registrations;
  readonly hostKeys: SshHostKeys;
  /** From a client's first byte to its identity, in milliseconds. */
  readonly loginGraceMs: number;
}

/** As sshd has it (MaxAuthTries). */
const MAX_ATTEMPTS = 6;
const DEFAULT_CHANNELS = 64;
/** Between two looks at sessions that are asked to end, in milliseconds. */
const DRAIN_LOOK_MS = 20;
const OBSERVED = 'sallyport: this connection is observed: what policy would deny passes, and is recorded.\n';

type Names = readonly { readonly namespace: string; readonly name: string }[];

interface Open {
  readonly session: Session;
  readonly bridge: Bridge;
  readonly gatekeeper: SessionGatekeeper;
  readonly activity: Activity;
  /** The connection of a session; commands with a credential of their own bring theirs. */
  readonly target: TargetConnection | undefined;
}

function notAdmitted(why: NotAdmitted): Refused {
  switch (why.because) {
    case 'gate':
      return new Refused(gateReport(why.refusal));
    case 'withdrawn':
      return new Refused(withdrawnReport(why.signal));
    case 'noPolicy':
      return new Refused(sshError('SPS015', why.username));
    case 'revoked':
      return new Refused(sshError('SPS015', why.username, { detail: `rule ${why.rule}`, hint: why.message }));
    case 'maxSessions':
      return new Refused(sshError('SPS014', why.limit));
    case 'maxPerSubject':
      return new Refused(sshError('SPS014', why.limit, { hint: 'Close some of yours, or share one: ControlMaster.' }));
    default:
      return why satisfies never;
  }
}

/** Why a client never had an identity. */
function clientReport(failure: ClientFailure, loginGraceMs: number): SshReport {
  const last = failure.rejected.at(-1);
  switch (failure.code) {
    case 'timeout':
      return sshError('SPS019', loginGraceMs / 1000);
    case 'attempts':
      return last === undefined ? sshError('SPS020') : reportOf(last);
    case 'closed':
      // Clients go away by themselves once nothing is left that they could try.
      return last === undefined ? sshError('SPS022') : reportOf(last);
    case 'protocol':
      return sshError('SPS021', failure.message);
    case 'aborted':
      return sshError('SPS006', 'Sallyport is stopping');
    default:
      return failure.code satisfies never;
  }
}

export function createSshLane(options: SshLaneOptions): Omit<Lane, 'close'> {
  const { ports, observer, loginGraceMs } = options;
  const open = new Map<Session, Open>();
  /** Being set up: they count from the moment that they are admitted, and are not swept yet. */
  const opening = new Set<OpenSession>();
  const recordRefused = createRefusals(options);

  /** One address is one connection here: a client names no more than its user. */
  function pick(connections: Names): CompiledConnection | undefined {
    const bundle = ports.bundles.current();
    for (const { namespace, name } of connections) {
      const connection = bundle.connection(namespace, name);
      if (connection !== undefined) return connection;
    }
    return undefined;
  }

  async function accept(
    wire: Wire,
    connections: Names,
    signal: AbortSignal,
    proof: Proof | undefined,
  ): Promise<AcceptedClient> {
    const connection = pick(connections);
    if (connection === undefined) throw new Refused(sshError('SPS016'));
    const { methods, authenticate } = createAuthenticator({
      connection: () => pick(connections),
      verifier: options.verifier,
      registrations: options.registrations,
      peer: wire.remoteAddress,
      now: Date.now,
      ...(proof === undefined ? {} : { proof }),
    });
    return acceptClient(wire, {
      hostKeys: await options.hostKeys(connection),
      methods,
      authenticate,
      loginGraceMs,
      maxAttempts: MAX_ATTEMPTS,
      signal,
      ...(connection.mode === 'Observe' ? { banner: OBSERVED } : {}),
    });
  }

  async function serve(wire: Wire, connections: Names, signal: AbortSignal, proof?: Proof): Promise<void> {
    const id = newSessionId(Date.now());
    const { peer } = wire;
    let client: AcceptedClient;
    try {
      client = await accept(wire, connections, signal, proof);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      const report = error instanceof ClientFailure ? clientReport(error, loginGraceMs) : reportOf(error);
      observer.refused(peer, new Refused(report, error));
      // A load balancer that looks whether somebody listens asks for nothing: it is counted, and is no session.
      if (report.code !== 'SPS022')
        recordRefused(connections, { session: id, peer, code: report.code, message: report.message });
      wire.destroy();
      return;
    }
    try {
      await welcome(client, id, peer, connections, signal);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      const cause = error instanceof Begun ? error.cause : error;
      const report = reportOf(cause);
      client.refuse(refusalText(report, id));
      observer.refused(peer, cause);
      // Its record has an end already, which says why.
      if (error instanceof Begun) return;
      const { identity, username } = client;
      const refused = { session: id, peer, code: report.code, message: report.message };
      recordRefused(connections, { ...refused, identity, claimedUser: username });
    }
  }

  /** From an identity to a session that runs. The record of the session begins before the target hears of it. */
  async function welcome(
    client: AcceptedClient,
    id: string,
    peer: string,
    connections: Names,
    signal: AbortSignal,
  ): Promise<void> {
    const connection = pick(connections);
    if (connection === undefined) throw new Refused(sshError('SPS016'));
    const { identity } = client;
    const all: readonly OpenSession[] = [...open.keys(), ...opening];
    const admitted = admit(ports, all, connection, identity, connection.ssh.maxConnectionsPerSubject);
    if ('refused' in admitted) throw notAdmitted(admitted.refused);
    const { judgement } = admitted;
    // Others that come while keys are fetched count this one.
    const place: OpenSession = { connection, identity };
    opening.add(place);
    try {
      await establish(client, id, peer, connection, judgement, signal);
    } finally {
      opening.delete(place);
    }
  }

  async function establish(
    client: AcceptedClient,
    id: string,
    peer: string,
    connection: CompiledConnection,
    judgement: Judgement,
    signal: AbortSignal,
  ): Promise<void> {
    const { identity, username, clientVersion } = client;
    if (judgement.scope.operations(username).size === 0) throw new Refused(sshError('SPS024', username));
    const bundle = ports.bundles.current();
    let disconnect = (report: SshReport): void => client.refuse(refusalText(report, id));
    let onEnd = (): void => {};
    const gone = new AbortController();
    void client.layer.closed.then(() => gone.abort(new Error('the client went away')));
    const session = await createSession({
      ...{ id, ports, identity, peer, loginUser: username, clientVersion, bundle, connection, judgement },
      disconnect: (report) => disconnect(report),
      onEnd(reason, code) {
        onEnd();
        const { commands } = session;
        const { denials: denied } = session.record;
        const ending = { session: id, reason, commands, denied, ...(code === undefined ? {} : { code }) };
        session.record.event('session.end', sessionEnd(ending));
      },
    });
    try {
      await begin(session, client, bundle.hash);
      const target = await connect(session, AbortSignal.any([signal, gone.signal, session.signal]), (text) => {
        // Nothing looks for what has to be masked before there is a command.
        if (session.masks.content === undefined) client.banner(text);
      });
      if (session.signal.aborted || gone.signal.aborted) {
        await target?.lease.release();
        target?.layer.disconnect(DisconnectReason.BY_APPLICATION, '');
        throw new Refused(sshError('SPS022'));
      }
      const running = run(session, client, target);
      disconnect = (report) => running.bridge.end(reportLine(report, id), DisconnectReason.BY_APPLICATION);
      onEnd = () => {
        open.delete(session);
        running.gatekeeper.close();
        observer.sessionClosed(connection, id, reasonOf(session));
      };
      client.finish();
      // It may have ended while the target was dialled.
      if (identity.withdrawn?.aborted === true) session.fail(withdrawnReport(identity.withdrawn));
    } catch (error) {
      const failure = error instanceof Error ? error : new Error(String(error));
      const cause = gone.signal.aborted ? new Refused(sshError('SPS022'), failure) : failure;
      const { code, message } = reportOf(cause);
      session.finish(message, code);
      throw new Begun(cause);
    }
  }

  async function begin(session: Session, client: AcceptedClient, bundle: string): Promise<void> {
    const { id, record, connection, identity, peer, loginUser: user } = session;
    record.event(
      'session.start',
      sessionStart({
        ...{ session: id, connection, client: peer, subject: identity.subject, bundle, user },
        application: client.clientVersion,
      }),
    );
    const { subject, tokenId, sessionExpiresAt } = identity;
    record.event(
      'session.authenticated',
      sessionAuthenticated({ session: id, subject, method: client.method, tokenId, sessionExpiresAt }),
    );
    await record.stream.sync();
  }

  /** Undefined: each command signs in by itself. */
  async function connect(
    session: Session,
    signal: AbortSignal,
    onBanner: (text: string) => void,
  ): Promise<TargetConnection | undefined> {
    const perCommand = session.connection.credential.sshCertificate?.scope === 'Command';
    return perCommand ? undefined : signInFor(session, signal, onBanner);
  }

  function signInFor(
    session: Session,
    signal: AbortSignal,
    onBanner?: (text: string) => void,
  ): Promise<TargetConnection> {
    const { id, connection, identity, judgement, record, loginUser, clientVersion } = session;
    return signIn({
      connection,
      leases: options.leases,
      clientVersion,
      timeoutMs: options.connectTimeoutMs,
      ...(onBanner === undefined ? {} : { onBanner }),
      request: {
        session: id,
        subject: identity.subject,
        scope: judgement.scope,
        stream: record.stream,
        signal,
        loginUser,
      },
    });
  }

  function run(session: Session, { layer }: AcceptedClient, target: TargetConnection | undefined): Open {
    const { connection, identity } = session;
    const gatekeeper = createGatekeeper(session, {
      perCommand: target === undefined ? () => connectionOfItsOwn(session) : undefined,
    });
    const bridge = createBridge({
      client: layer,
      target: target?.layer,
      gatekeeper,
      limits: { channels: connection.limits.maxChannels ?? DEFAULT_CHANNELS },
    });
    const running: Open = { session, bridge, gatekeeper, target, activity: { bytes: 0, at: Date.now() } };
    open.set(session, running);
    observer.sessionOpened(connection, identity, session.id);
    const { withdrawn } = identity;
    const dismiss = (): void => {
      if (withdrawn !== undefined) session.fail(withdrawnReport(withdrawn));
    };
    withdrawn?.addEventListener('abort', dismiss, { once: true });
    void bridge.ended.then(async (end) => {
      withdrawn?.removeEventListener('abort', dismiss);
      session.finish(
        end.by === 'gateway' ? end.text : `${end.by} closed${end.error === undefined ? '' : ': it broke'}`,
      );
      await target?.lease.release();
    });
    return running;
  }

  /** The connection that carries one command, with a credential that is made for it and given back with it. */
  async function connectionOfItsOwn(session: Session): Promise<ConnectionLayer> {
    const { layer, lease } = await signInFor(session, AbortSignal.any([session.signal, options.stopping]));
    void layer.closed.then(() => lease.release());
    return layer;
  }

  function sweepOne({ session, bridge, gatekeeper, activity, target }: Open, now: number): void {
    const bundle = ports.bundles.current();
    const over = overdue(session, bridge, gatekeeper, activity, now);
    const kept = ports.gate.refusal(session.connection, session.identity);
    if (over !== undefined) session.fail(over);
    else if (kept !== undefined) session.fail(gateReport(kept));
    else if (bundle !== session.bundle) {
      // A policy that no longer lets the subject be here ends its sessions now, not at their next command.
      const allowed = withdrawnBy(bundle, ports, session.connection, session.identity);
      if ('report' in allowed) session.fail(allowed.report);
      else
        target?.lease
          .follow(allowed.judgement.connection, allowed.judgement.scope)
          .catch((error: Error) => session.fail(reportOf(error)));
    }
  }

  return {
    protocol: 'SSH',
    sessions: { [Symbol.iterator]: () => open.keys() },
    serve,
    sweep(now) {
      for (const each of [...open.values()]) sweepOne(each, now);
    },
    async drain(signal) {
      const reason = sshError('SPS006', 'Sallyport is stopping');
      while (open.size > 0 && !signal.aborted) {
        for (const { session, gatekeeper } of [...open.values()]) if (!gatekeeper.working) session.fail(reason);
        // A command ends when it ends, and nothing tells of it but the gatekeeper's count.
        if (open.size > 0) await new Promise((resolve) => setTimeout(resolve, DRAIN_LOOK_MS));
      }
      for (const session of [...open.keys()]) session.fail(reason);
    },
  };
}

/** What ended a session whose record had begun before its client was let in. */
class Begun extends Error {
  override readonly cause: Error;
  constructor(cause: Error) {
    super(cause.message);
    this.cause = cause;
  }
}

function reasonOf({ signal }: Session): string {
  return signal.reason instanceof Error ? signal.reason.message : '';
}
