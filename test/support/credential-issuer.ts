/** Issues credentials as a gateway does, without one: to sign in with them directly, past every check of ours. */
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { DEFAULT_CONFIGURATION } from '../../api/configuration.ts';
import { loadResources } from '../../api/load.ts';
import { checkRules } from '../../api/rules.ts';
import type { CompiledConnection } from '../../policy/bundle.ts';
import { compile } from '../../policy/compile.ts';
import type { Subject } from '../../policy/subject.ts';
import type { CredentialLease, PostgresCredential } from '../../proxy/ports.ts';
import { createCatalogs } from '../../proxy/protocols/postgres/catalogs.ts';
import { createPostgresLeases, type PostgresLeases } from '../../proxy/protocols/postgres/credentials/leases.ts';
import { createRecorder } from '../../proxy/recording/writer.ts';
import { createStandaloneCredentials } from '../../proxy/standalone/credentials.ts';
import { ownerOf, type SegmentOwner } from '../../record/owner.ts';

export const AGENT: Subject = {
  username: 'system:serviceaccount:default:agent',
  groups: [],
  issuer: 'test',
  serviceAccount: { namespace: 'default', name: 'agent' },
  claims: {},
};

export interface IssuerOptions {
  readonly resources: string;
  readonly state: string;
  readonly installation?: string;
  readonly isAlive?: (owner: SegmentOwner) => boolean;
  /** Of the process's clock. */
  readonly now?: () => number;
}

export interface Issuer extends AsyncDisposable {
  readonly leases: PostgresLeases;
  readonly connection: CompiledConnection;
  /** Names of events with the login, as recorded. */
  readonly warnings: string[];
  lease(session?: string, subject?: Subject): Promise<CredentialLease<PostgresCredential>>;
}

export async function startIssuer(options: IssuerOptions): Promise<Issuer> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-issuer-'));
  const loaded = await loadResources([options.resources], checkRules);
  const { bundle } = compile(loaded.resources, { guardrailNamespace: 'sallyport-system' });
  const [connection] = bundle.connections;
  if (connection === undefined) throw new Error('there is no connection in the resources');
  const credentials = createStandaloneCredentials({
    loaded: () => loaded,
    configuration: DEFAULT_CONFIGURATION,
    state: options.state,
    environment: {},
  });
  const catalogs = createCatalogs({ credentials, log: pino({ enabled: false }) });
  const recorder = createRecorder({ root: folder, pid: process.pid, onHealth: () => {} });
  const warnings: string[] = [];
  const leases = createPostgresLeases({
    credentials,
    catalogs: catalogs.of,
    recorder,
    observer: {
      ended: () => {},
      swept: () => {},
      warn: (detail, message) => void warnings.push(`${message} ${JSON.stringify(detail)}`),
    },
    installation: options.installation ?? 'an installation of this test',
    process: ownerOf(process.pid, 'test'),
    isAlive: options.isAlive ?? (() => true),
    connections: () => bundle.connections,
    sweeps: false,
    ...(options.now === undefined ? {} : { now: options.now }),
  });
  return {
    leases,
    connection,
    warnings,
    lease: (session = 'test', subject = AGENT) =>
      leases.lease(connection, {
        session,
        subject,
        scope: bundle.scope(subject, connection),
        stream: recorder.stream(connection.namespace, connection.name),
        signal: new AbortController().signal,
      }),
    async [Symbol.asyncDispose]() {
      await leases.close(AbortSignal.timeout(5000));
      catalogs.close();
      await recorder.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
