import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { ProxyReport } from '../../api/bundle-document.ts';
import { LABELS, NAMES } from '../../api/cluster.ts';
import type { IssuerConfiguration } from '../../api/configuration.ts';
import { CONFIG_MAPS, type ConfigMap, PODS, type Pod } from '../../kube/builtin.ts';
import type { KubeClient, KubeObject, Reflector, ResourceType, Selection } from '../../kube/types.ts';
import { createAnchors } from '../../record/anchors.ts';
import { ownerOf } from '../../record/owner.ts';
import { keepRetention } from '../../record/retention.ts';
import { createClusterVerifier } from '../identity/cluster.ts';
import { createOidcVerifier } from '../identity/oidc.ts';
import { configuredCertificate } from '../identity/server-certificate.ts';
import { mountedHostKeys } from '../identity/ssh-host-keys.ts';
import { createTenures } from '../identity/tenures.ts';
import { createTokenVerifier } from '../identity/verifier.ts';
import type { ApprovalStore, ClusterIdentity, TokenVerifier } from '../ports.ts';
import { recordRemovals } from '../recording/ledger.ts';
import { createRecorder } from '../recording/writer.ts';
import { startRuntime } from '../runtime.ts';
import { recordKey } from '../standalone/record-key.ts';
import { createMetrics, type Metrics } from '../telemetry/metrics.ts';
import { createRefusalLog } from '../telemetry/refusal-log.ts';
import { startTunnel, type Tunnel } from '../tunnel/server.ts';
import { trustedKey } from './bundle-document.ts';
import { readBundleMark, writeBundleMark } from './bundle-mark.ts';
import { type ClusterBundleSource, createClusterBundleSource } from './bundle-source.ts';
import { createCoverage } from './coverage.ts';
import { createMountedCredentials } from './credentials.ts';
import { createEgressProbes } from './egress.ts';
import { createClusterGate } from './gate.ts';
import { createLateVerifier } from './late-verifier.ts';
import { createReplicaLease, type ReplicaPod } from './lease.ts';
import { newestMarkOfPeers } from './peer-marks.ts';
import { createPeers, processOf } from './peers.ts';
import { createWatchedPods, essentialPod } from './pods.ts';
import { connectionProblems } from './problems.ts';
import { discoverIssuer, fetchKeySet, reviewToken } from './token-review.ts';

/** Makes a copy of what the API server has of one type; it is not running yet. */
export type MakeReflector = <T extends KubeObject>(
  type: ResourceType<T>,
  selection: Selection & { readonly transform?: (object: T) => T },
) => Reflector<T>;

/** One replica of the proxies of a namespace: everything between the API server, the mounted files and the listeners. */
export interface ReplicaOptions {
  readonly client: KubeClient;
  readonly reflector: MakeReflector;
  readonly pod: ReplicaPod;
  /** Public keys of the operator, base64. */
  readonly trustedKeys: readonly string[];
  /** Folder of its own, mode 0700. */
  readonly state: string;
  /** Folder of projected volumes. */
  readonly credentials: string;
  readonly tokenKeyFile: string;
  /** Folder with tls.crt and tls.key, and for SSH the host key and its certificates. */
  readonly tls: string;
  /** Default: as the API server says. */
  readonly tokenIssuer: string | undefined;
  /** Issuers outside of the cluster. */
  readonly issuers: readonly IssuerConfiguration[];
  /** Address for tunnel and gateways. */
  readonly host: string;
  readonly tunnelPort: number;
  readonly limits: {
    readonly maxStatementBytes: number;
    readonly maxMessageBytes: number;
    readonly authenticationTimeoutMs: number;
  };
  readonly syncReads: boolean;
  /** What it is to its own API server. */
  readonly cluster?: ClusterIdentity;
  /** The store for held commands, over what the replica knows. */
  readonly approvals: (bundles: ClusterBundleSource) => ApprovalStore & { close?(): Promise<void> };
  readonly pid: number;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Milliseconds by a clock that nobody can set; the reflectors' own. */
  readonly monotonic: () => number;
  readonly leaseRenewMs?: number;
}

export interface Replica {
  readonly metrics: Metrics;
  readonly bundles: ClusterBundleSource;
  readonly tunnel: Tunnel;
  report(): ProxyReport;
  /** Undefined: ready. */
  notReady(): string | undefined;
  /** From now on connectors are told to go elsewhere, and get no new tunnels. */
  drain(): void;
  /** Drains, ends what is left when the signal fires, closes the record. */
  stop(signal: AbortSignal): Promise<void>;
}

const CERTIFICATE_CHECK_MS = 10_000;
const PROBLEMS_CHECK_MS = 15_000;
/** The archive has the record; this is the copy for as long as it may be away. */
const LOCAL_RETENTION_DAYS = 1;

/** The same for all replicas of a namespace: what one of them has left in a target another one finds. */
function installationOf(trusted: string, namespace: string): string {
  const digest = createHash('sha256').update(`sallyport\0${trusted}\0${namespace}`).digest('hex');
  return digest.slice(0, 32).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** @throws errors of the parts, each with its code; without an API server it starts, and serves nobody until there is a bundle */
export async function startReplica(options: ReplicaOptions): Promise<Replica> {
  const { client, pod, state, log, now, monotonic } = options;
  const { namespace } = pod;
  await using starting = new AsyncDisposableStack();
  const stopping = new AbortController();
  starting.defer(() => stopping.abort(new Error('the proxy stops')));
  let draining = false;
  let stopped = false;
  /** The report is another; the lease that carries it is made last. */
  let touch = (): void => {};

  const metrics = createMetrics();
  metrics.recordHealthy.set(1);

  const maps = options.reflector<ConfigMap>(CONFIG_MAPS, {
    namespace,
    labelSelector: `${LABELS.name}=${NAMES.bundle}`,
  });
  const bundles = createClusterBundleSource({
    namespace,
    trusted: options.trustedKeys.map(trustedKey),
    map: (name) => maps.get(namespace, name),
    mark: await readBundleMark(state),
    monotonic,
    onInForce(mark, changed) {
      metrics.bundleReloads.inc({ result: changed ? 'changed' : 'same' });
      log.info({ ...mark, changed }, 'bundle in force');
      writeBundleMark(state, mark).catch((error: Error) =>
        log.error({ error: error.message }, 'the mark of the bundle could not be written'),
      );
      // Once the runtime has it too: it hears of it in the same turn.
      queueMicrotask(() => {
        problems.check();
        touch();
      });
    },
    onRefused(error) {
      metrics.bundleReloads.inc({ result: 'refused' });
      log[error.code === 'SPX002' ? 'info' : 'error']({ code: error.code, hint: error.hint }, error.message);
    },
  });
  let peersAsked = false;
  maps.onChange(() => {
    if (maps.hasSynced && peersAsked) bundles.look();
  });

  const gate = createClusterGate(bundles);
  const egress = createEgressProbes(gate);
  const tenures = createTenures();
  const pods = createWatchedPods({
    reflector: (of) => options.reflector<Pod>(PODS, { namespace: of, transform: essentialPod }),
    serves: (of) => bundles.serves(of),
    observe(uid, facts) {
      tenures.observe(uid, facts);
      if (facts === undefined) egress.forget(uid);
    },
    maxAgeMs: () => Math.max(0, ...bundles.current().connections.map((each) => each.maxPolicyStalenessMs)),
    now: monotonic,
    signal: stopping.signal,
  });
  const verifier = createLateVerifier(async (signal): Promise<TokenVerifier> => {
    const issuer = options.tokenIssuer ?? (await discoverIssuer(client, signal));
    const cluster = createClusterVerifier({
      issuer,
      fetchKeys: (each) => fetchKeySet(client, each),
      review: (token, each) => reviewToken(client, token, each),
      pods,
      tenures,
      now,
    });
    return createTokenVerifier({
      issuers: [cluster, ...options.issuers.map((each) => createOidcVerifier(each, now))],
      now,
    });
  }, stopping.signal);

  const files = { certificateFile: join(options.tls, 'tls.crt'), keyFile: join(options.tls, 'tls.key') };
  const certificate = await configuredCertificate(files, now);
  const tunnelCertificate = await configuredCertificate(files, now, 'TLSv1.3');
  const refresh = setInterval(() => {
    Promise.all([certificate.refresh(), tunnelCertificate.refresh()]).catch((error: Error) =>
      log.error({ error: error.message }, 'the certificate could not be read again'),
    );
  }, CERTIFICATE_CHECK_MS);
  refresh.unref();
  starting.defer(() => clearInterval(refresh));

  const anchors = join(state, 'anchors');
  const anchor = createAnchors(anchors, (error) =>
    log.error({ error: String(error), anchors }, 'a checkpoint of the record could not be anchored'),
  );
  const written = { root: join(state, 'record'), pid: options.pid, signer: await recordKey(state) };
  let auditFailure: string | undefined;
  const recorder = createRecorder({
    ...written,
    onHealth: (failure) => {
      metrics.recordHealthy.set(failure === undefined ? 1 : 0);
      auditFailure = failure === undefined ? undefined : `${failure.code}: ${failure.message}`;
      if (failure === undefined) log.info('the record is written again');
      else log.error({ code: failure.code, error: failure.message }, 'the record cannot be written: commands stop');
      touch();
    },
  });
  recorder.onCheckpoint(anchor);
  void keepRetention(
    {
      root: written.root,
      anchors,
      enter: (removed) => recordRemovals(written, removed, anchor),
      retentionDays: () => LOCAL_RETENTION_DAYS,
      onRemoved: (paths) => log.info({ paths }, 'segments that the archive has for long were removed here'),
      onError: (error) => log.error({ error: String(error) }, 'old segments could not be removed'),
    },
    stopping.signal,
  );

  const credentials = createMountedCredentials({
    namespace,
    directory: options.credentials,
    tokenKeyFile: options.tokenKeyFile,
  });
  const sshHostKeys = mountedHostKeys(options.tls);
  const problems = connectionProblems(bundles, { credentials, sshHostKeys }, () => touch());
  const looking = setInterval(() => problems.check(), PROBLEMS_CHECK_MS);
  looking.unref();
  starting.defer(() => clearInterval(looking));

  const approvals = options.approvals(bundles);
  const runtime = await startRuntime({
    bundles,
    gate,
    credentials,
    verifier,
    approvals,
    ...(options.cluster === undefined ? {} : { cluster: options.cluster }),
    recorder,
    metrics,
    log,
    tls: () => certificate.context(),
    plaintextLoopback: false,
    sshHostKeys,
    addressOf({ name }) {
      const ports = bundles.document?.gatewayPorts ?? {};
      const port = Object.hasOwn(ports, name) ? ports[name] : undefined;
      return port === undefined ? undefined : { host: options.host, port };
    },
    limits: options.limits,
    syncReads: options.syncReads,
    worker: 0,
    installation: {
      id: installationOf(options.trustedKeys[0] ?? '', namespace),
      process: ownerOf(options.pid, processOf(pod)),
      isAlive: createPeers({ client, pod, now, log }),
    },
    cancelElsewhere: () => {},
  });
  starting.defer(() => (stopped ? undefined : runtime.stop(AbortSignal.abort())));

  const coverage = createCoverage({
    document: () => bundles.document,
    connections: () => bundles.current().connections,
    columns: (connection) => runtime.columns(connection),
  });

  function report(): ProxyReport {
    const sessions = [...runtime.sessions()].map(([key, count]) => [key.slice(key.indexOf('/') + 1), count]);
    return {
      bundle: bundles.mark?.hash ?? '',
      sequence: bundles.mark?.sequence ?? 0,
      sessions: Object.fromEntries(sessions),
      ...(auditFailure === undefined ? {} : { auditFailure }),
      egress: egress.report(),
      problems: problems.current(),
      masking: coverage.report(),
    };
  }

  const lease = createReplicaLease({
    client,
    pod,
    report,
    renewed: () => {
      if (maps.status().phase === 'watching') bundles.heard();
    },
    now: () => new Date(now()),
    log,
    ...(options.leaseRenewMs === undefined ? {} : { renewMs: options.leaseRenewMs }),
  });

  function notReady(): string | undefined {
    if (draining) return 'the proxy is stopping';
    if (bundles.document === undefined) return 'there is no bundle of policies yet';
    if (!recorder.healthy) return 'the record cannot be written';
    return verifier.missing;
  }

  const refusals = createRefusalLog({ write: (facts, message) => log.warn(facts, message), now: monotonic });
  const tunnel = await startTunnel({
    address: { host: options.host, port: options.tunnelPort },
    context: () => tunnelCertificate.context(),
    verifier,
    notReady,
    draining: () => draining,
    lanes: runtime,
    renew({ subject, sessionExpiresAt }) {
      if (subject.pod !== undefined) tenures.renew(subject.pod.uid, sessionExpiresAt);
    },
    probed(identity, probe) {
      egress.record(identity, probe, bundles.current().connections, new Date(now()));
      touch();
    },
    observer: {
      refused(peer, code, message) {
        metrics.refused.inc({ code });
        refusals.refused(peer, code, message);
      },
      opened: () => metrics.tunnels.inc(),
      closed: () => metrics.tunnels.dec(),
    },
  });
  starting.defer(() => tunnel.destroy());

  const watching = maps.run(stopping.signal);
  maps
    .synced(stopping.signal)
    .then(() => newestMarkOfPeers({ client, namespace, now, log }, stopping.signal))
    .then(
      (known) => {
        if (known !== undefined) bundles.atLeast(known);
        peersAsked = true;
        bundles.look();
      },
      () => undefined,
    );
  const leasing = new AbortController();
  const leased = lease.run(leasing.signal);
  touch = lease.touch;
  const running = starting.move();

  return {
    metrics,
    bundles,
    tunnel,
    report,
    notReady,
    drain() {
      draining = true;
    },
    async stop(signal) {
      draining = true;
      stopped = true;
      // Connectors are told to go elsewhere for as long as sessions end.
      await runtime.stop(signal);
      const closed = tunnel.close();
      tunnel.destroy();
      await closed;
      // Until here other replicas have to know that this one lives.
      leasing.abort();
      await leased;
      await running.disposeAsync();
      await watching;
      await approvals.close?.();
    },
  };
}
