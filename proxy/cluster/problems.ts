import { ApiError } from '../../api/errors.ts';
import type { CompiledConnection } from '../../policy/bundle.ts';
import { readCredential } from '../credentials/stored.ts';
import { IdentityError } from '../identity/errors.ts';
import type { BundleSource, CredentialSource, SshHostKeys } from '../ports.ts';

export interface ConnectionProblems {
  /** Looks again; calls back when it found something else than before. Never rejects. */
  check(): void;
  /** By connection: what keeps it from being served. */
  current(): Readonly<Record<string, string>>;
}

async function problemOf(
  connection: CompiledConnection,
  { credentials, sshHostKeys }: ProblemSources,
): Promise<string | undefined> {
  try {
    await readCredential(connection, credentials);
    if (connection.protocol === 'SSH') await sshHostKeys(connection);
    return undefined;
  } catch (error) {
    if (!(error instanceof ApiError) && !(error instanceof IdentityError)) throw error;
    return `${error.code}: ${error.message}`;
  }
}

/** What a connection needs that lies beside the bundle. */
export interface ProblemSources {
  readonly credentials: CredentialSource;
  readonly sshHostKeys: SshHostKeys;
}

/** Secrets come and go beside the bundle: a connection whose credential is missing says so before somebody connects. */
export function connectionProblems(
  bundles: BundleSource,
  sources: ProblemSources,
  onChange: () => void,
): ConnectionProblems {
  let found: Readonly<Record<string, string>> = {};
  let running = false;
  let again = false;

  async function look(): Promise<void> {
    const next: Record<string, string> = {};
    for (const connection of bundles.current().connections) {
      const problem = await problemOf(connection, sources);
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
