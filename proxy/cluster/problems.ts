import { ApiError } from '../../api/errors.ts';
import type { CompiledConnection } from '../../policy/bundle.ts';
import type { BundleSource, CredentialSource } from '../ports.ts';

export interface ConnectionProblems {
  /** Looks again; calls back when it found something else than before. Never rejects. */
  check(): void;
  /** By connection: what keeps it from being served. */
  current(): Readonly<Record<string, string>>;
}

async function problemOf(connection: CompiledConnection, credentials: CredentialSource): Promise<string | undefined> {
  if (connection.protocol !== 'Postgres') return undefined;
  try {
    const { postgresRole, clientCertificate } = connection.credential;
    if (clientCertificate !== undefined)
      await credentials.signingAuthority(connection, clientCertificate.caSecretRef.name);
    else await credentials.postgres(connection, postgresRole?.adminSecretRef.name);
    await credentials.certificateAuthorities(connection);
    return undefined;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return `${error.code}: ${error.message}`;
  }
}

/** Secrets come and go beside the bundle: a connection whose credential is missing says so before somebody connects. */
export function connectionProblems(
  bundles: BundleSource,
  credentials: CredentialSource,
  onChange: () => void,
): ConnectionProblems {
  let found: Readonly<Record<string, string>> = {};
  let running = false;
  let again = false;

  async function look(): Promise<void> {
    const next: Record<string, string> = {};
    for (const connection of bundles.current().connections) {
      const problem = await problemOf(connection, credentials);
      if (problem !== undefined) next[connection.name] = problem;
    }
    const changed = JSON.stringify(next) !== JSON.stringify(found);
    found = next;
    if (changed) onChange();
  }

  return {
    check() {
      again = true;
      if (running) return;
      running = true;
      void (async () => {
        try {
          while (again) {
            again = false;
            await look();
          }
        } finally {
          running = false;
        }
      })();
    },
    current: () => found,
  };
}
