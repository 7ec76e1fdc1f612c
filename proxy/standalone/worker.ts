import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { type Logger, pino } from 'pino';
import type { Configuration } from '../../api/configuration.ts';
import { ApiError } from '../../api/errors.ts';
import type { CheckObject, Finding } from '../../api/load.ts';
import type { ApprovalRequest } from '../../api/resources.ts';
import type { Bundle } from '../../policy/bundle.ts';
import { createAnchors } from '../../record/anchors.ts';
import { ownerIsAlive, ownerOf } from '../../record/owner.ts';
import { keepRetention } from '../../record/retention.ts';
import { createConfiguredApprovers } from '../approval/configured-approvers.ts';
import type { ApprovalEvent } from '../approval/context.ts';
import { folderContext } from '../approval/folder-approvals.ts';
import { approvalFolders, createHolder } from '../approval/folders.ts';
import { createApprovals } from '../approval/store.ts';
import { keepSwept, SWEEP_FOLDER } from '../approval/sweep.ts';
import { readCredential } from '../credentials/stored.ts';
import { createConfiguredVerifier } from '../identity/configured.ts';
import { developmentKey } from '../identity/development.ts';
import { configuredCertificate, type ServerCertificate, selfMadeCertificate } from '../identity/server-certificate.ts';
import { selfMadeHostKeys } from '../identity/ssh-host-keys.ts';
import { createNotifier } from '../notifications/notifier.ts';
import type { CredentialSource } from '../ports.ts';
import { recordRemovals } from '../recording/ledger.ts';
import { createRecorder } from '../recording/writer.ts';
import { type Runtime, startRuntime } from '../runtime.ts';
import { createMetrics, type Metrics } from '../telemetry/metrics.ts';
import { addressBook } from './addresses.ts';
import { createFolderBundleSource, type FolderBundleSource } from './bundle-source.ts';
import { createStandaloneCredentials } from './credentials.ts';
import { installationId } from './installation.ts';
import { anchorsFolder, recordKey } from './record-key.ts';

/** One process of a standalone gateway: everything between the folder and the listeners. */
export interface WorkerOptions {
  readonly paths: readonly string[];
  readonly configuration: Configuration;
  /** Where the configuration was read from: its approvers are read again when it changes. */
  readonly configurationFile: string | undefined;
  readonly state: string;
  readonly plaintextLoopback: boolean;
  readonly worker: number;
  readonly pid: number;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly checkObject: CheckObject;
  /** Between two notices to a client whose command is held, in milliseconds. Default 30 s. */
  readonly holdNoticeMs?: number;
  /** How long a request is held before its client is asked to come again, in milliseconds. Default 55 s. */
  readonly holdInBandMs?: number;
  /** Structured log lines. */
  readonly log: { write(line: string): unknown };
  readonly onReload: (result: {
    readonly changed: boolean;
    readonly findings: readonly Finding[];
    readonly hash: string;
  }) => void;
  readonly cancelElsewhere: (worker: number, processId: number, secret: Buffer) => void;
}

export interface Worker {
  readonly runtime: Runtime;
  readonly bundles: FolderBundleSource;
  readonly metrics: Metrics;
  readonly certificate: ServerCertificate;
  /** Undefined: ready. */
  notReady(): string | undefined;
  stop(signal: AbortSignal): Promise<void>;
}

const CERTIFICATE_CHECK_MS = 60_000;

/** What keeps a gateway from starting at all: files that are not in order. */
export class ResourcesInvalid extends Error {
  override readonly name = 'ResourcesInvalid';
  readonly findings: readonly Finding[];
  constructor(findings: readonly Finding[]) {
    super(`${findings.filter(({ severity }) => severity === 'error').length} error(s) in the resources`);
    this.findings = findings;
  }
}

/** @throws ResourcesInvalid; errors of the parts, each with its code */
export async function startWorker(options: WorkerOptions): Promise<Worker> {
  const { configuration, state } = options;
  await using starting = new AsyncDisposableStack();
  const log = pino({ base: { worker: options.worker } }, { write: (line: string) => void options.log.write(line) });
  const metrics = createMetrics();
  metrics.recordHealthy.set(1);
  const bundles = await createFolderBundleSource({
    paths: options.paths,
    guardrailNamespace: configuration.guardrailNamespace,
    checkObject: options.checkObject,
    onReload: ({ changed, findings, bundle }) => {
      metrics.bundleReloads.inc({ result: changed ? 'changed' : 'refused' });
      options.onReload({ changed, findings, hash: bundle.hash });
    },
  });
  starting.defer(() => bundles.close());
  if (bundles.loaded.findings.some(({ severity }) => severity === 'error'))
    throw new ResourcesInvalid(bundles.findings);
  const names = (): string[] => bundles.current().connections.map(({ target }) => target.host);
  const certificate =
    configuration.tls === undefined
      ? await selfMadeCertificate(state, names, Date.now)
      : await configuredCertificate(configuration.tls, Date.now);
  const refresh = setInterval(() => {
    certificate
      .refresh()
      .catch((error: Error) => log.error({ error: error.message }, 'the certificate could not be renewed'));
  }, CERTIFICATE_CHECK_MS);
  refresh.unref();
  starting.defer(() => clearInterval(refresh));
  const written = { root: join(state, 'record'), pid: options.pid, signer: await recordKey(state) };
  const anchors = anchorsFolder(state, configuration);
  const anchor = createAnchors(anchors, (error) => {
    log.error({ error: String(error), anchors }, 'a checkpoint of the record could not be anchored');
  });
  const recorder = createRecorder({
    ...written,
    onHealth: (failure) => {
      metrics.recordHealthy.set(failure === undefined ? 1 : 0);
      if (failure === undefined) log.info('the record is written again');
      else log.error({ code: failure.code, error: failure.message }, 'the record cannot be written: commands stop');
    },
  });
  recorder.onCheckpoint(anchor);
  const retaining = new AbortController();
  starting.defer(() => retaining.abort());
  // One worker is enough to throw away what is too old.
  if (options.worker === 0) {
    void keepRetention(
      {
        root: written.root,
        anchors,
        enter: (removed) => recordRemovals(written, removed, anchor),
        retentionDays: (namespace, name) => bundles.current().connection(namespace, name)?.audit.retentionDays,
        onRemoved: (paths) => log.info({ paths }, 'segments past their retention were removed'),
        onError: (error) => log.error({ error: String(error) }, 'old segments could not be removed'),
      },
      retaining.signal,
    );
  }
  const verifier = createConfiguredVerifier({
    issuers: configuration.issuers,
    developmentKey: await developmentKey(state),
    now: Date.now,
  });
  const credentials = createStandaloneCredentials({
    loaded: () => bundles.loaded,
    configuration,
    state,
    environment: options.environment,
  });
  const notify = createNotifier({ webhooks: configuration.notifications.webhooks, state, now: Date.now, log });
  const approvalContext = folderContext({
    ...approvalFolders(configuration, state),
    signers: createConfiguredApprovers(options.configurationFile, log),
    holder: createHolder(options.pid),
    now: Date.now,
    monotonic: () => performance.now(),
    log,
    onChange(request: ApprovalRequest, event: ApprovalEvent) {
      const { namespace, name } = request.metadata;
      log.info({ request: `${namespace}/${name}`, event }, 'request for approval');
      notify(request, event);
    },
  });
  // Before anything new is held: what is open and held by nobody has no session any more.
  if (options.worker === 0) await keepSwept(approvalContext, SWEEP_FOLDER, retaining.signal);
  const approvals = createApprovals(approvalContext);
  const addressOf = addressBook(configuration.listen);
  const sshHosts = await selfMadeHostKeys(
    state,
    ({ namespace, name }) => {
      const connection = bundles.current().connection(namespace, name);
      return connection === undefined ? [] : [connection.target.host, addressOf(connection).host];
    },
    Date.now,
  );
  const runtime = await startRuntime({
    bundles,
    credentials,
    verifier,
    approvals,
    recorder,
    metrics,
    log,
    tls: () => certificate.context(),
    plaintextLoopback: options.plaintextLoopback,
    sshHostKeys: sshHosts.of,
    addressOf,
    limits: configuration.limits,
    syncReads: configuration.record.syncReads,
    ...(options.holdNoticeMs === undefined ? {} : { holdNoticeMs: options.holdNoticeMs }),
    ...(options.holdInBandMs === undefined ? {} : { holdInBandMs: options.holdInBandMs }),
    worker: options.worker,
    // One machine has the state folder, and one gateway at a time: whoever else wrote its name there is on it, or dead.
    installation: {
      id: await installationId(state),
      process: ownerOf(options.pid, randomUUID()),
      isAlive: ownerIsAlive,
    },
    cancelElsewhere: options.cancelElsewhere,
  });
  if (options.worker === 0) await warnOfWhatIsMissing(bundles.current(), credentials, log);
  const running = starting.move();
  return {
    runtime,
    bundles,
    metrics,
    certificate,
    notReady: () => (recorder.healthy ? undefined : 'the record cannot be written'),
    async stop(signal) {
      await running.disposeAsync();
      await runtime.stop(signal);
      // Last: what still waits has been withdrawn.
      await approvals.close();
    },
  };
}

/** Credentials are read for each session, so one that is missing is no error yet; whoever starts the gateway wants to know now. */
async function warnOfWhatIsMissing(bundle: Bundle, credentials: CredentialSource, log: Logger): Promise<void> {
  if (bundle.connections.length === 0) log.warn('no AccessConnection is in the resources, so nothing is served yet');
  for (const connection of bundle.connections) {
    try {
      await readCredential(connection, credentials);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const { code, message, hint } = error;
      log.warn({ connection: `${connection.namespace}/${connection.name}`, code, hint }, message);
    }
  }
}
