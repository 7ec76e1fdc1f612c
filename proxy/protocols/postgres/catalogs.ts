import type { CompiledConnection } from '../../../policy/bundle.ts';
import type { LaneLog } from '../../lane.ts';
import type { CredentialSource, PostgresCredential } from '../../ports.ts';
import { type CatalogCache, createCatalogCache } from './catalog/cache.ts';
import type { Catalog } from './catalog/types.ts';
import { type ControlConnection, createControlConnection } from './control.ts';
import { issueClientCertificate, readAuthority } from './credentials/certificates.ts';
import { connectUpstream } from './upstream.ts';

/** The catalogs of all connections, each with a control connection that is opened when first needed and again when it broke. */
export interface Catalogs {
  of(connection: CompiledConnection): CatalogCache;
  /** What is in force for a connection that somebody has used; undefined: nothing. Opens nothing. */
  inForce(connection: CompiledConnection): Catalog | undefined;
  close(): void;
}

/** How long a change that somebody makes behind our back may stay unseen (docs/postgres.md, names). */
const POLL_MS = 2000;
const CONNECT_TIMEOUT_MS = 10_000;

/** The target ends a slow query itself (statement_timeout, below): what takes longer is a target that has stopped answering. */
const QUERY_TIMEOUT_MS = 35_000;

/** A target that stalls must not hold back whoever waits for its catalog. */
function inTime<T>(work: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new Error(`the target has not answered for ${QUERY_TIMEOUT_MS / 1000} s`)),
    QUERY_TIMEOUT_MS,
  );
  return Promise.race([work, late.promise]).finally(() => clearTimeout(timer));
}

/** The stored credential that reads the catalog: where logins are made for sessions, that of the role which makes them. */
async function readerOf(connection: CompiledConnection, credentials: CredentialSource): Promise<PostgresCredential> {
  const { postgresRole, clientCertificate } = connection.credential;
  if (clientCertificate === undefined) return credentials.postgres(connection, postgresRole?.adminSecretRef.name);
  const label = `${connection.namespace}/${connection.name}`;
  const authority = readAuthority(
    label,
    await credentials.signingAuthority(connection, clientCertificate.caSecretRef.name),
  );
  return issueClientCertificate(label, authority, clientCertificate, Date.now()).credential;
}

function keyOf({ namespace, name, target, credential }: CompiledConnection): string {
  const { host, port, database } = target;
  return JSON.stringify([namespace, name, host, port, database, credential]);
}

export function createCatalogs(options: { readonly credentials: CredentialSource; readonly log: LaneLog }): Catalogs {
  const { credentials, log } = options;
  const known = new Map<string, CatalogCache>();
  const stopping = new AbortController();
  const open = new Set<ControlConnection>();

  async function dial(connection: CompiledConnection): Promise<ControlConnection> {
    const credential = await readerOf(connection, credentials);
    const certificateAuthorities = await credentials.certificateAuthorities(connection);
    const { wire } = await connectUpstream({
      connection,
      credential,
      certificateAuthorities,
      database: connection.target.database ?? '',
      parameters: {
        application_name: 'sallyport-control',
        client_encoding: 'UTF8',
        default_transaction_read_only: 'on',
        statement_timeout: '30s',
      },
      protocolMinor: 0,
      signal: stopping.signal,
      timeoutMs: CONNECT_TIMEOUT_MS,
    });
    const control = createControlConnection(wire);
    open.add(control);
    return control;
  }

  function make(connection: CompiledConnection): CatalogCache {
    let control: Promise<ControlConnection> | undefined;
    const cache = createCatalogCache(async (sql) => {
      if (control === undefined || (await control).closed) control = dial(connection);
      try {
        return await inTime((await control).query(sql));
      } catch (error) {
        // The next query opens a new one: what broke this one may be over by then.
        control?.then(
          (old) => {
            open.delete(old);
            old.close();
          },
          () => undefined,
        );
        control = undefined;
        throw error;
      }
    });
    const label = `${connection.namespace}/${connection.name}`;
    void cache.poll(POLL_MS, stopping.signal, (error) => {
      log.warn(
        { connection: label, error: error instanceof Error ? error.message : String(error) },
        'the catalog cannot be read',
      );
    });
    return cache;
  }

  return {
    inForce: (connection) => known.get(keyOf(connection))?.current(),
    of(connection) {
      const key = keyOf(connection);
      let cache = known.get(key);
      if (cache === undefined) {
        cache = make(connection);
        known.set(key, cache);
      }
      return cache;
    },
    close() {
      stopping.abort();
      for (const control of open) control.close();
    },
  };
}
