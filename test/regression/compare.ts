/** Direct and through Sallyport, each on a fresh server of its own, file by file; what differs is what Sallyport changes. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { EVERYTHING, writeAllowEverything } from '../support/allow-everything.ts';
import { type Postgres, startPostgres } from '../support/postgres.ts';
import { createToken, startSallyport } from '../support/sallyport.ts';
import type { PostgresVersion } from '../support/server-binaries.ts';
import { DATABASE, DATABASE_SETTINGS, prepareSide, runFile, type Side, schedule } from './sides.ts';

const run = promisify(execFile);

export interface ComparisonOptions {
  readonly suite: string;
  readonly version: PostgresVersion;
  /** Of these files; absent: the whole suite. */
  readonly files?: readonly string[];
  /** A second direct run, to tell what differs between any two runs. */
  readonly twice?: boolean;
  readonly onFile?: (result: FileResult) => void;
  /** Gets all that the gateway has printed. */
  readonly onEnd?: (output: string) => void;
}

export interface FileResult {
  readonly file: string;
  /** Unified diff without its header; empty: no difference. */
  readonly difference: string;
  /** What differs between two direct runs; empty when there was one only. */
  readonly unstable: string;
  readonly seconds: readonly number[];
}

const FILE_TIMEOUT_MS = 300_000;

async function freshServer(version: PostgresVersion): Promise<Postgres & AsyncDisposable> {
  const server = await startPostgres({
    version,
    settings: { max_prepared_transactions: 2, log_min_messages: 'log', shared_buffers: '128MB' },
  });
  await server.sql(`CREATE DATABASE ${DATABASE} TEMPLATE template0`);
  for (const line of DATABASE_SETTINGS.split('\n')) await server.sql(line);
  return server;
}

async function difference(folder: string, left: string, right: string): Promise<string> {
  if (left === right) return '';
  const files = [path.join(folder, 'left'), path.join(folder, 'right')];
  await writeFile(files[0]!, left, 'latin1');
  await writeFile(files[1]!, right, 'latin1');
  try {
    await run('diff', ['-U', '3', ...files], { encoding: 'latin1', maxBuffer: 1 << 28 });
    return '';
  } catch (error) {
    const { code, stdout } = error as { code?: number; stdout?: string };
    if (code !== 1 || stdout === undefined) throw error;
    return stdout.split('\n').slice(2).join('\n');
  }
}

/** Compares file by file; the files run in the order of the suite on all sides at once. */
export async function compare(options: ComparisonOptions): Promise<FileResult[]> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-regress-'));
  await run('chmod', ['755', folder]);
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));

  const direct = async (name: string): Promise<Side> => {
    const server = cleanup.use(await freshServer(options.version));
    return prepareSide(name, options.suite, path.join(folder, name), {
      ...{ port: server.port, user: server.user, password: server.password },
    });
  };
  const through = async (): Promise<Side> => {
    const server = cleanup.use(await freshServer(options.version));
    const resources = path.join(folder, 'resources');
    await writeAllowEverything(resources, {
      suite: { port: server.port, database: DATABASE, username: server.user, password: server.password },
    });
    const state = path.join(folder, 'state');
    const gateway = cleanup.use(
      await startSallyport({ resources: [resources], state, listen: ['default/suite=127.0.0.1:0'] }),
    );
    const token = await createToken(state, { subject: EVERYTHING, ttl: '1h' });
    // What a gateway that has died printed is the only trace of why.
    cleanup.defer(() => options.onEnd?.(gateway.output()));
    const { port } = gateway.connection('suite');
    // The same user name as directly, because psql prints it.
    return prepareSide('through', options.suite, path.join(folder, 'through'), {
      ...{ port, user: server.user, password: token },
    });
  };
  const sides = [await direct('direct'), await through()];
  if (options.twice === true) sides.push(await direct('again'));

  const wanted = options.files === undefined ? undefined : new Set(options.files);
  const results: FileResult[] = [];
  for (const file of await schedule(options.suite)) {
    if (wanted !== undefined && !wanted.has(file)) continue;
    const seconds: number[] = [];
    const outputs = await Promise.all(
      sides.map(async (side, index) => {
        const started = performance.now();
        const output = await runFile(side, file, FILE_TIMEOUT_MS);
        seconds[index] = (performance.now() - started) / 1000;
        return output;
      }),
    );
    const result = {
      file,
      difference: await difference(folder, outputs[0]!, outputs[1]!),
      unstable: outputs[2] === undefined ? '' : await difference(folder, outputs[0]!, outputs[2]),
      seconds,
    };
    results.push(result);
    options.onFile?.(result);
  }
  return results;
}
