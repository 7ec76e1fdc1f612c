/** One file of the suite after the other, as pg_regress runs them, against one server: directly or through Sallyport. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, cp, mkdir, open, readFile } from 'node:fs/promises';
import path from 'node:path';
import { giveTo, serverUser } from '../support/postgres-template.ts';
import { clientProgram } from '../support/server-binaries.ts';

export const DATABASE = 'regression';

export interface Side {
  readonly name: string;
  /** What the suite reads and writes, readable by the server too. */
  readonly folder: string;
  readonly environment: NodeJS.ProcessEnv;
}

/** The files in the order of the suite, whose later files need what earlier ones made. */
export async function schedule(suite: string): Promise<string[]> {
  const text = await readFile(path.join(suite, 'parallel_schedule'), 'utf8');
  return text.split('\n').flatMap((line) => {
    const match = /^test:\s*(.+)$/.exec(line);
    return match?.[1] === undefined ? [] : match[1].trim().split(/\s+/);
  });
}

/** What pg_regress sets for the database (initialize_environment, create_database). */
export const DATABASE_SETTINGS = `ALTER DATABASE ${DATABASE} SET lc_messages TO 'C';
ALTER DATABASE ${DATABASE} SET lc_monetary TO 'C';
ALTER DATABASE ${DATABASE} SET lc_numeric TO 'C';
ALTER DATABASE ${DATABASE} SET lc_time TO 'C';
ALTER DATABASE ${DATABASE} SET bytea_output TO 'hex';
ALTER DATABASE ${DATABASE} SET timezone_abbreviations TO 'Default';`;

export interface Endpoint {
  readonly port: number;
  readonly user: string;
  readonly password: string;
}

/** A copy of the suite's data in `folder`, where the server can read and write, and the environment of its psql. */
export async function prepareSide(name: string, suite: string, folder: string, endpoint: Endpoint): Promise<Side> {
  await mkdir(path.join(folder, 'results'), { recursive: true });
  await cp(path.join(suite, 'data'), path.join(folder, 'data'), { recursive: true });
  await cp(path.join(suite, 'sql'), path.join(folder, 'sql'), { recursive: true });
  for (const one of [folder, path.join(folder, 'results')]) {
    await chmod(one, 0o777);
    giveTo(serverUser, one);
  }
  const environment: NodeJS.ProcessEnv = {
    ...{ PATH: process.env.PATH, HOME: folder, LC_ALL: 'C.UTF-8', LC_MESSAGES: 'C' },
    ...{ PGHOST: '127.0.0.1', PGPORT: String(endpoint.port), PGUSER: endpoint.user, PGPASSWORD: endpoint.password },
    ...{
      PGSSLMODE: 'disable',
      PGGSSENCMODE: 'disable',
      PGDATABASE: DATABASE,
      PGTZ: 'PST8PDT',
      PGDATESTYLE: 'Postgres, MDY',
    },
    PGOPTIONS: '-c intervalstyle=postgres_verbose',
    ...{ PG_ABS_SRCDIR: folder, PG_ABS_BUILDDIR: folder, PG_LIBDIR: folder, PG_DLSUFFIX: '.so' },
  };
  return { name, folder, environment };
}

/** Runs one file and returns psql's output, in which the side's own folder is written as FOLDER. */
export async function runFile(side: Side, file: string, timeoutMs: number): Promise<string> {
  const outputPath = path.join(side.folder, `${file}.out`);
  await using input = await open(path.join(side.folder, 'sql', `${file}.sql`));
  await using output = await open(outputPath, 'w+');
  const variables = ['-v', 'HIDE_TABLEAM=on', '-v', 'HIDE_TOAST_COMPRESSION=on'];
  // Both streams into one file, so that they stay in the order in which psql wrote them.
  const child = spawn(clientProgram('psql'), ['-X', '-a', '-q', ...variables], {
    ...{ cwd: side.folder, env: side.environment, timeout: timeoutMs, killSignal: 'SIGKILL' },
    stdio: [input.fd, output.fd, output.fd],
  });
  const [status, signal] = (await once(child, 'close')) as [number | null, string | null];
  // Some files print bytes that are no UTF-8.
  const text = await readFile(outputPath, 'latin1');
  return `${text.replaceAll(side.folder, 'FOLDER')}\npsql ended with ${status ?? signal}\n`;
}
