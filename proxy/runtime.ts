import type { SecureContext } from 'node:tls';
import type { Logger } from 'pino';
import type { Bundle, CompiledConnection } from '../policy/bundle.ts';
import type { CatalogColumnName } from '../policy/masking-coverage.ts';
import type { CredentialObserver, LaneContext, LaneLimits, LaneObserver } from './lane.ts';
import { type Listener, listen } from './listener/listeners.ts';
import type { Wire } from './listener/wire.ts';
import type {
  AdmissionGate,
  ApprovalStore,
  BundleSource,
  ClusterIdentity,
  CredentialSource,
  Proof,
  TokenVerifier,
} from './ports.ts';
import { createLanes } from './protocols/lanes.ts';
import type { Recorder } from './recording/writer.ts';
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
  /** Where it runs in a cluster. */
  readonly cluster?: ClusterIdentity;
  readonly recorder: Recorder;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly tls: (() => SecureContext) | undefined;
  readonly plaintextLoopback: boolean;
  /** What SSH clients are shown as the key of this host. */
  readonly sshHostKeys: LaneContext['sshHostKeys'];
  /** Asked before a bundle is used: connections without an address get one. */
  readonly addressOf: (connection: CompiledConnection) => { host: string; port: number } | undefined;
  readonly limits: LaneLimits;
  readonly syncReads: boolean;
  /** Between two notices to a client whose command is held. Default 30 s. */
  readonly holdNoticeMs?: number;
  /** How long a request is held before its client is asked to come again. Default 55 s. */
  readonly holdInBandMs?: number;
  /** Index of this worker process, from 0. */
  readonly worker: number;
  readonly installation: LaneContext['installation'];
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
  /** SSH: a user on the target, where the connection names some. */
  readonly user?: string;
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
  /** Columns of a connection's target, where it has a catalog that somebody's session has needed. */
  columns(connection: CompiledConnection): readonly CatalogColumnName[] | undefined;
  /** Cancels a session of this worker; false when it is not here. */
  cancel(processId: number, secret: Uint8Array): boolean;
  /** Stops listening, lets sessions finish what they do, ends them, closes the record. */
  stop(signal: AbortSignal): Promise<void>;
}

/** Where policy alone decides. */
const OPEN_GATE: AdmissionGate = { refusal: () => undefined, suspension: () => undefined };

const SWEEP_MS = 1000;
const HOLD_NOTICE_MS = 30_000;
/** Proxies and load balancers on the way give up after a minute of silence. */
const HOLD_IN_BAND_MS = 55_000;
/** Longest that a target may take until a session with it is ready. */
const CONNECT_TIMEOUT_MS = 10_000;
/** How long a stop waits for credentials to be revoked: what is left ends by itself, and the next start drops it. */
const REVOKE_MS = 5000;

/** Who connects and says nothing: health checks of load balancers come every few seconds. */
const SILENT: ReadonlySet<string> = new Set(['SPG117', 'SPS022']);

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
      log[SILENT.has(code) ? 'debug' : 'warn']({ peer, code, cause }, error.message);
    },
  };
}

function observeCredentials({ log, metrics }: RuntimeOptions): CredentialObserver {
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

/** Starts serving every connection of the bundle whose protocol it speaks. @throws when an address cannot be listened on */
export async function startRuntime(options: RuntimeOptions): Promise<Runtime> {
  const { bundles, log, recorder } = options;
  const rates = createRates();
  const stopping = new AbortController();
  const lanes = createLanes({
    bundles,
    gate: options.gate ?? OPEN_GATE,
    approvals: options.approvals,
    credentials: options.credentials,
    verifier: options.verifier,
    cluster: options.cluster,
    recorder,
    turn: createTurn(),
    observer: observe(options),
    credentialObserver: observeCredentials(options),
    log,
    tls: options.tls,
    plaintextLoopback: options.plaintextLoopback,
    sshHostKeys: options.sshHostKeys,
    limits: options.limits,
    syncReads: options.syncReads,
    holdNoticeMs: options.holdNoticeMs ?? HOLD_NOTICE_MS,
    holdInBandMs: options.holdInBandMs ?? HOLD_IN_BAND_MS,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    countCommand: (connection, username) => rates.count(`${connection.uid} ${username}`, Date.now()),
    failed: (session, what, error) => log.error({ session, error: error.message }, what),
    worker: options.worker,
    installation: options.installation,
    cancelElsewhere: options.cancelElsewhere,
    stopping: stopping.signal,
  });
  const byProtocol = new Map(lanes.map((lane) => [lane.protocol, lane]));
  const closeLanes = (signal: AbortSignal): Promise<unknown> => Promise.all(lanes.map((lane) => lane.close(signal)));

  /** One address speaks one protocol: of connections that share it by mistake, the first says which. */
  function serve(wire: Wire, connections: readonly CompiledConnection[], proof?: Proof): void {
    const [first] = connections;
    const lane = first === undefined ? undefined : byProtocol.get(first.protocol);
    if (first === undefined || lane === undefined) {
      wire.destroy();
      return;
    }
    const same = connections.filter(({ protocol }) => protocol === first.protocol);
    lane.serve(wire, same, stopping.signal, proof).catch((error: Error) => {
      log.error({ peer: wire.peer, error: error.stack }, 'a client could not be served');
      wire.destroy();
    });
  }

  const listeners = new Map<string, { readonly listener: Listener; connections: CompiledConnection[] }>();
  let served: ServedConnection[] = [];

  async function serveAddresses(bundle: Bundle): Promise<void> {
    const wanted = new Map<string, { host: string; port: number; connections: CompiledConnection[] }>();
    for (const connection of bundle.connections) {
      const address = byProtocol.has(connection.protocol) ? options.addressOf(connection) : undefined;
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
        listener: await listen(entry, (wire) => serve(wire, state.connections)),
      };
      listeners.set(key, state);
    }
    served = [...listeners.values()].flatMap(({ listener, connections }) =>
      connections.map(({ namespace, name, protocol, target, credential }) => {
        const user = credential.sshCertificate?.principals[0];
        return {
          namespace,
          name,
          protocol,
          address: listener.host,
          port: listener.port,
          database: target.database ?? '',
          ...(user === undefined ? {} : { user }),
        };
      }),
    );
  }

  let serving = serveAddresses(bundles.current());
  try {
    await serving;
  } catch (error) {
    // What is open already would keep the process from ending with the reason.
    await Promise.all([...listeners.values()].map(({ listener }) => listener.close()));
    await closeLanes(AbortSignal.timeout(REVOKE_MS));
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
  const sweep = setInterval(() => {
    for (const lane of lanes) lane.sweep(Date.now());
  }, SWEEP_MS);
  sweep.unref();

  function targets({ host, port }: { readonly host: string; readonly port: number }): readonly CompiledConnection[] {
    const wanted = host.toLowerCase();
    return bundles
      .current()
      .connections.filter(
        ({ protocol, target }) =>
          byProtocol.has(protocol) && target.port === port && target.host.toLowerCase() === wanted,
      );
  }

  return {
    serves: (dialled) => targets(dialled).length > 0,
    accept(wire, dialled, proof) {
      const connections = targets(dialled);
      if (connections.length === 0) return false;
      serve(wire, connections, proof);
      return true;
    },
    sessions() {
      const open = new Map<string, number>();
      for (const lane of lanes) {
        for (const { connection } of lane.sessions) {
          const key = `${connection.namespace}/${connection.name}`;
          open.set(key, (open.get(key) ?? 0) + 1);
        }
      }
      return open;
    },
    get served() {
      return served;
    },
    columns: (connection) => byProtocol.get(connection.protocol)?.columns?.(connection),
    cancel: (processId, secret) => lanes.some((lane) => lane.cancel?.(processId, secret) === true),
    async stop(signal) {
      unsubscribe();
      clearInterval(sweep);
      await serving;
      const closed = Promise.all([...listeners.values()].map(({ listener }) => listener.close()));
      await Promise.all(lanes.map((lane) => lane.drain(signal)));
      stopping.abort(new Error('Sallyport is stopping'));
      await closed;
      await closeLanes(AbortSignal.timeout(REVOKE_MS));
      await recorder.close();
    },
  };
}
