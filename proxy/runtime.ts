import type { SecureContext } from 'node:tls';
import type { Logger } from 'pino';
import type { Bundle, CompiledConnection } from '../policy/bundle.ts';
import type { SegmentOwner } from '../record/owner.ts';
import { type Listener, listen } from './listener/listeners.ts';
import type { Wire } from './listener/wire.ts';
import type {
  AdmissionGate,
  ApprovalStore,
  BundleSource,
  CredentialSource,
  Proof,
  TokenVerifier,
  VerifiedIdentity,
} from './ports.ts';
import { createCatalogs } from './protocols/postgres/catalogs.ts';
import { createPostgresLeases, type LeaseObserver } from './protocols/postgres/credentials/leases.ts';
import { createJudgement, type Judgement } from './protocols/postgres/judge.ts';
import { createPostgresLane, type LaneObserver, type PostgresLane } from './protocols/postgres/lane.ts';
import type { Recorder } from './recording/writer.ts';
import { createCancelKeys } from './session/cancel-keys.ts';
import { createRates } from './session/rates.ts';
import { createTurn } from './session/turn.ts';
import type { Metrics } from './telemetry/metrics.ts';

/** What one proxy process is made of. Where each part comes from (a folder, a cluster) is not known here. */
export interface RuntimeOptions {
  readonly bundles: BundleSource;
  /** Default: policy alone decides. */
  readonly gate?: AdmissionGate;
  readonly credentials: CredentialSource;
  readonly verifier: TokenVerifier;
  readonly approvals: ApprovalStore;
  readonly recorder: Recorder;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly tls: (() => SecureContext) | undefined;
  readonly plaintextLoopback: boolean;
  /** Asked before a bundle is used: connections without an address get one. */
  readonly addressOf: (connection: CompiledConnection) => { host: string; port: number } | undefined;
  readonly limits: {
    readonly maxStatementBytes: number;
    readonly maxMessageBytes: number;
    readonly authenticationTimeoutMs: number;
  };
  readonly syncReads: boolean;
  /** Between two notices to a client whose command is held. Default 30 s. */
  readonly holdNoticeMs?: number;
  /** Index of this worker process, from 0. */
  readonly worker: number;
  /** Whose the roles are that are made for sessions: how an installation knows its own, and which of its processes live. */
  readonly installation: {
    readonly id: string;
    readonly process: SegmentOwner;
    readonly isAlive: (owner: SegmentOwner) => boolean;
  };
  readonly cancelElsewhere: (worker: number, processId: number, secret: Buffer) => void;
}

/** A connection that is served, for the ready message. */
export interface ServedConnection {
  readonly namespace: string;
  readonly name: string;
  readonly protocol: string;
  readonly address: string;
  readonly port: number;
  readonly database: string;
}

export interface Runtime {
  readonly served: readonly ServedConnection[];
  /**
   * Serves a client that came on a stream of its own, such as a connector's tunnel, to the host and port that it dialled. False, with
   * the wire left alone, when no connection has that target.
   */
  accept(wire: Wire, dialled: { readonly host: string; readonly port: number }, proof: Proof): boolean;
  /** Whether `accept` would serve it. */
  serves(dialled: { readonly host: string; readonly port: number }): boolean;
  /** Open sessions by connection, `NAMESPACE/NAME`. */
  sessions(): ReadonlyMap<string, number>;
  /** Cancels a session of this worker; false when it is not here. */
  cancel(processId: number, secret: Uint8Array): boolean;
  /** Stops listening, lets sessions finish what they do, ends them, closes the record. */
  stop(signal: AbortSignal): Promise<void>;
}

/** Where policy alone decides. */
const OPEN_GATE: AdmissionGate = { refusal: () => undefined, suspension: () => undefined };

const SWEEP_MS = 1000;
const HOLD_NOTICE_MS = 30_000;
/** Longest that a target may take until a session with it is ready. */
const CONNECT_TIMEOUT_MS = 10_000;
/** How long a stop waits for credentials to be revoked: what is left ends by itself, and the next start drops it. */
const REVOKE_MS = 5000;

/** Judgements are shared by the sessions of one subject; a bundle that is replaced takes its judgements with it. */
function createJudgements(): (
  bundle: Bundle,
  connection: CompiledConnection,
  identity: VerifiedIdentity,
) => Judgement | undefined {
  const perBundle = new WeakMap<Bundle, Map<string, Judgement>>();
  return (bundle, connection, { subject }) => {
    let known = perBundle.get(bundle);
    if (known === undefined) {
      known = new Map();
      perBundle.set(bundle, known);
    }
    // Claims decide too, and two tokens of one subject may differ in them.
    const { pod: _pod, ...judged } = subject;
    const key = JSON.stringify([connection.namespace, connection.name, judged]);
    let judgement = known.get(key);
    if (judgement === undefined) {
      judgement = createJudgement(bundle.scope(subject, connection), connection);
      if (known.size >= 1024) known.clear();
      known.set(key, judgement);
    }
    // Whoever was revoked is told so, with the rule's message: as somebody unknown they would only be told to come back.
    const { mayConnect, revoked } = judgement.scope;
    return mayConnect || revoked !== undefined ? judgement : undefined;
  };
}

function observe(options: RuntimeOptions): LaneObserver {
  const { log, metrics } = options;
  const label = (connection: CompiledConnection): { connection: string } => ({
    connection: `${connection.namespace}/${connection.name}`,
  });
  return {
    sessionOpened(connection, identity, session) {
      metrics.sessions.inc(label(connection));
      metrics.sessionsTotal.inc(label(connection));
      metrics.tokenLifetime.observe(identity.tokenLifetimeSeconds);
      log.info({ ...label(connection), session, subject: identity.subject.username }, 'session opened');
    },
    sessionClosed(connection, session, reason) {
      metrics.sessions.dec(label(connection));
      log.info({ ...label(connection), session, reason }, 'session closed');
    },
    refused(peer, error) {
      const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name;
      metrics.refused.inc({ code });
      const cause = error.cause instanceof Error ? error.cause.message : undefined;
      // Health checks of load balancers come every few seconds.
      log[code === 'SPG117' ? 'debug' : 'warn']({ peer, code, cause }, error.message);
    },
  };
}

function observeLeases({ log, metrics }: RuntimeOptions): LeaseObserver {
  return {
    ended: (_connection, type, seconds) => metrics.credentialLifetime.observe({ type }, seconds),
    swept(connection, count) {
      const label = { connection: `${connection.namespace}/${connection.name}` };
      metrics.orphanedLogins.inc(label, count);
      log.warn({ ...label, count }, 'logins that nobody had dropped were dropped');
    },
    warn: (detail, message) => log.warn(detail, message),
  };
}

/** Starts serving every PostgreSQL connection of the bundle. @throws when an address cannot be listened on */
export async function startRuntime(options: RuntimeOptions): Promise<Runtime> {
  const { bundles, log, recorder } = options;
  const rates = createRates();
  const cancelKeys = createCancelKeys(options.worker);
  const catalogs = createCatalogs({ credentials: options.credentials, log });
  const leases = createPostgresLeases({
    credentials: options.credentials,
    catalogs: catalogs.of,
    recorder,
    observer: observeLeases(options),
    installation: options.installation.id,
    process: options.installation.process,
    isAlive: options.installation.isAlive,
    connections: () => bundles.current().connections,
    sweeps: options.worker === 0,
  });
  const stopping = new AbortController();
  const lane: PostgresLane = createPostgresLane({
    ports: {
      bundles,
      gate: options.gate ?? OPEN_GATE,
      approvals: options.approvals,
      credentials: options.credentials,
      leases,
      turn: createTurn(),
      limits: options.limits,
      syncReads: options.syncReads,
      countCommand: (connection, username) => rates.count(`${connection.uid} ${username}`, Date.now()),
      judgement: createJudgements(),
      holdNoticeMs: options.holdNoticeMs ?? HOLD_NOTICE_MS,
      failed: (session, what, error) => log.error({ session, error: error.message }, what),
    },
    verifier: options.verifier,
    authentication: {
      tls: options.tls,
      plaintextLoopback: options.plaintextLoopback,
      timeoutMs: options.limits.authenticationTimeoutMs,
    },
    recorder,
    cancelKeys,
    cancelElsewhere: options.cancelElsewhere,
    catalogs: leases.catalogOf,
    observer: observe(options),
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    stopping: stopping.signal,
  });
  const listeners = new Map<string, { readonly listener: Listener; connections: CompiledConnection[] }>();
  let served: ServedConnection[] = [];

  async function serveAddresses(bundle: Bundle): Promise<void> {
    const wanted = new Map<string, { host: string; port: number; connections: CompiledConnection[] }>();
    for (const connection of bundle.connections) {
      const address = connection.protocol === 'Postgres' ? options.addressOf(connection) : undefined;
      if (address === undefined) continue;
      const key = address.port === 0 ? `${connection.namespace}/${connection.name}` : `${address.host}:${address.port}`;
      const entry = wanted.get(key) ?? { ...address, connections: [] };
      entry.connections.push(connection);
      wanted.set(key, entry);
    }
    for (const [key, { listener }] of listeners) {
      if (wanted.has(key)) continue;
      listeners.delete(key);
      await listener.close();
    }
    for (const [key, entry] of wanted) {
      const open = listeners.get(key);
      if (open !== undefined) {
        open.connections = entry.connections;
        continue;
      }
      const state: { listener: Listener; connections: CompiledConnection[] } = {
        connections: entry.connections,
        listener: await listen(entry, (wire) => {
          lane.serve(wire, state.connections, stopping.signal).catch((error: Error) => {
            log.error({ peer: wire.peer, error: error.stack }, 'a client could not be served');
            wire.destroy();
          });
        }),
      };
      listeners.set(key, state);
    }
    served = [...listeners.values()].flatMap(({ listener, connections }) =>
      connections.map(({ namespace, name, protocol, target }) => ({
        namespace,
        name,
        protocol,
        address: listener.host,
        port: listener.port,
        database: target.database ?? '',
      })),
    );
  }

  let serving = serveAddresses(bundles.current());
  try {
    await serving;
  } catch (error) {
    // What is open already would keep the process from ending with the reason.
    await Promise.all([...listeners.values()].map(({ listener }) => listener.close()));
    await leases.close(AbortSignal.timeout(REVOKE_MS));
    catalogs.close();
    await recorder.close();
    throw error;
  }
  const unsubscribe = bundles.onChange((bundle) => {
    recorder.broadcast('bundle.changed', `"hash":${JSON.stringify(bundle.hash)}`);
    serving = serving
      .then(() => serveAddresses(bundle))
      .catch((error: Error) => {
        log.error({ error: error.message }, 'an address of the new policy cannot be listened on');
      });
  });
  const sweep = setInterval(() => lane.sweep(Date.now()), SWEEP_MS);
  sweep.unref();

  function targets({ host, port }: { readonly host: string; readonly port: number }): readonly CompiledConnection[] {
    const wanted = host.toLowerCase();
    return bundles
      .current()
      .connections.filter(
        ({ protocol, target }) =>
          protocol === 'Postgres' && target.port === port && target.host.toLowerCase() === wanted,
      );
  }

  return {
    serves: (dialled) => targets(dialled).length > 0,
    accept(wire, dialled, proof) {
      const connections = targets(dialled);
      if (connections.length === 0) return false;
      lane.serve(wire, connections, stopping.signal, proof).catch((error: Error) => {
        log.error({ peer: wire.peer, error: error.stack }, 'a client could not be served');
        wire.destroy();
      });
      return true;
    },
    sessions() {
      const open = new Map<string, number>();
      for (const { connection } of lane.sessions) {
        const key = `${connection.namespace}/${connection.name}`;
        open.set(key, (open.get(key) ?? 0) + 1);
      }
      return open;
    },
    get served() {
      return served;
    },
    cancel: (processId, secret) => cancelKeys.cancel(processId, secret),
    async stop(signal) {
      unsubscribe();
      clearInterval(sweep);
      await serving;
      const closed = Promise.all([...listeners.values()].map(({ listener }) => listener.close()));
      await lane.drain(signal);
      stopping.abort(new Error('Sallyport is stopping'));
      await closed;
      await leases.close(AbortSignal.timeout(REVOKE_MS));
      catalogs.close();
      await recorder.close();
    },
  };
}
