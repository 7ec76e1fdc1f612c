import { pino } from 'pino';
import type { Configuration } from '../../api/configuration.ts';
import type { Loaded } from '../../api/load.ts';
import type { CompiledConnection } from '../../policy/bundle.ts';
import type { Catalog } from '../../proxy/protocols/postgres/catalog/types.ts';
import { createCatalogs } from '../../proxy/protocols/postgres/catalogs.ts';
import { createStandaloneCredentials } from '../../proxy/standalone/credentials.ts';

/** The databases behind the connections of some resources, asked for their catalogs with the gateway's own credentials. */
export interface Databases {
  /** Rejects when the database cannot be reached or read. */
  catalogOf(connection: CompiledConnection): Promise<Catalog>;
  close(): void;
}

export function openDatabases(options: {
  readonly loaded: Loaded;
  readonly configuration: Configuration;
  readonly state: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
}): Databases {
  const { loaded, configuration, state, environment } = options;
  const credentials = createStandaloneCredentials({ loaded: () => loaded, configuration, state, environment });
  const catalogs = createCatalogs({ credentials, log: pino({ enabled: false }) });
  return { catalogOf: (connection) => catalogs.of(connection).refresh(), close: () => catalogs.close() };
}
