/** Real PostgreSQL servers for tests, each in a folder of its own, gone when disposed or when the test process ends. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync } from 'node:fs';
import { appendFile, chmod, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { type CertificateAuthority, createAuthority } from './certificates.ts';
import { giveTo, postgresTemplate, serverUser } from './postgres-template.ts';
import type { PostgresVersion } from './server-binaries.ts';

const run = promisify(execFile);

export interface PostgresOptions {
  readonly version: PostgresVersion;
  /** Lines of postgresql.conf, over the defaults here (no fsync, 200 connections, English messages). */
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
  /** Lines of pg_hba.conf for everybody but the superuser on the Unix socket, who always gets in. */
  readonly hba?: readonly string[];
  /** Serves TLS with a certificate for localhost and 127.0.0.1 of an authority made for this server. */
  readonly tls?: boolean;
}

export interface PostgresTls {
  readonly authority: CertificateAuthority;
  /** PEM file to give to `sslrootcert`. */
  readonly caPath: string;
}

export interface Postgres {
  readonly version: PostgresVersion;
  readonly host: '127.0.0.1';
  readonly port: number;
  readonly user: 'postgres';
  readonly password: string;
  readonly socketDirectory: string;
  readonly dataDirectory: string;
  /** Of the superuser, over TCP. */
  readonly databaseUrl: string;
  readonly tls: PostgresTls | undefined;
  /** Process id of the postmaster. */
  readonly pid: number;
  /** Runs statements as the superuser over the Unix socket; the rows of the last one. */
  sql(text: string, parameters?: readonly unknown[], database?: string): Promise<Record<string, unknown>[]>;
  /** A connected client over TCP, with the superuser's password unless `config` says otherwise. The caller ends it. */
  connect(config?: pg.ClientConfig): Promise<pg.Client>;
  /** What the server has logged since its first start. */
  log(): string;
  /** Fast shutdown; the data stays until disposal. */
  stop(): Promise<void>;
  /** SIGKILL to the postmaster and every backend, as a crashed machine would. */
  kill9(): Promise<void>;
  /** Starts again on the same port and data after `stop` or `kill9`. */
  start(): Promise<void>;
}

const DEFAULT_HBA = ['local all all scram-sha-256', 'host all all 127.0.0.1/32 scram-sha-256'];

const DEFAULT_SETTINGS = {
  fsync: false,
  synchronous_commit: false,
  full_page_writes: false,
  max_connections: 200,
  shared_buffers: '32MB',
  lc_messages: 'C',
  log_min_messages: 'warning',
  // The autovacuum launcher would only add noise to what tests see in pg_stat_activity.
  autovacuum: false,
  timezone: 'UTC',
} as const;

function quoted(value: string | number | boolean): string {
  return typeof value === 'string' ? `'${value.replaceAll("'", "''")}'` : String(value);
}

async function freePort(): Promise<number> {
  const server = net.createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

class PortTaken extends Error {}

function launch(program: string, parameters: readonly string[]): ChildProcess {
  return spawn(program, parameters, {
    stdio: ['ignore', 'ignore', 'pipe'],
    cwd: '/',
    env: { ...process.env, LC_ALL: 'C.UTF-8' },
    ...serverUser,
  });
}

/**
 * A test process that is killed runs no clean-up of its own and must leave no server behind: this shell sees its standard input end
 * with us, in whatever way we end, and then stops the server and removes its folder.
 */
function guardFolder(folder: string): ChildProcess {
  const script = 'cat >/dev/null; kill -QUIT "$(head -n 1 "$0/data/postmaster.pid")" 2>/dev/null; rm -rf "$0"';
  const guard = spawn('/bin/sh', ['-c', script, folder], { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
  guard.unref();
  (guard.stdin as net.Socket).unref();
  return guard;
}

/** Backends put themselves in sessions of their own, so a process group does not reach them. */
async function childrenOf(pid: number): Promise<number[]> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return children.split(' ').filter(Boolean).map(Number);
}

function killIfAlive(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Starts a server and waits until it accepts connections: about a quarter of a second once the version's template exists. */
export async function startPostgres(options: PostgresOptions): Promise<Postgres & AsyncDisposable> {
  const template = await postgresTemplate(options.version);
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-pg-'));
  const guard = guardFolder(folder);
  // The server's group may pass through to its data and its socket, other users may not: the superuser gets in there unasked.
  if (serverUser !== undefined) chownSync(folder, process.getuid?.() ?? 0, serverUser.gid);
  await chmod(folder, 0o710);
  const dataDirectory = path.join(folder, 'data');
  const socketDirectory = path.join(folder, 's');
  await mkdir(socketDirectory, { mode: 0o755 });
  giveTo(serverUser, socketDirectory);
  await run('cp', ['-a', template.dataDirectory, dataDirectory]);

  let tls: PostgresTls | undefined;
  let tlsSettings = {};
  if (options.tls === true) {
    const tlsFolder = path.join(folder, 'tls');
    await mkdir(tlsFolder, { mode: 0o755 });
    const authority = await createAuthority(tlsFolder);
    const leaf = await authority.issue('localhost', ['DNS:localhost', 'IP:127.0.0.1']);
    const [certificate, key, ca] = ['server.crt', 'server.key', 'root.crt'].map((name) =>
      path.join(dataDirectory, name),
    );
    await copyFile(leaf.certificatePath, certificate!);
    await copyFile(leaf.keyPath, key!);
    await copyFile(authority.caPath, ca!);
    for (const file of [certificate!, key!, ca!]) giveTo(serverUser, file);
    await chmod(key!, 0o600);
    tlsSettings = { ssl: true, ssl_cert_file: 'server.crt', ssl_key_file: 'server.key', ssl_ca_file: 'root.crt' };
    tls = { authority, caPath: authority.caPath };
  }
  const settings = { ...DEFAULT_SETTINGS, ...tlsSettings, ...options.settings };
  await appendFile(
    path.join(dataDirectory, 'postgresql.conf'),
    `\n${Object.entries(settings)
      .map(([name, value]) => `${name} = ${quoted(value)}`)
      .join('\n')}\n`,
  );
  await writeFile(
    path.join(dataDirectory, 'pg_hba.conf'),
    `${['local all postgres trust', ...(options.hba ?? DEFAULT_HBA)].join('\n')}\n`,
  );

  let port = await freePort();
  let server: ChildProcess | undefined;
  let log = '';

  async function start(): Promise<void> {
    const child = launch(template.binaries.postgres, [
      ...['-D', dataDirectory, '-p', String(port), '-k', socketDirectory],
      ...['-c', 'listen_addresses=127.0.0.1', '-c', 'logging_collector=off', '-c', 'log_destination=stderr'],
    ]);
    const from = log.length;
    let ready = false;
    await new Promise<void>((resolve, reject) => {
      child.stderr?.setEncoding('utf8').on('data', (text: string) => {
        log += text;
        // A log of many megabytes must not be searched again for each piece of it.
        ready ||= log.includes('database system is ready to accept connections', from);
        if (ready) resolve();
      });
      child.once('error', reject);
      child.once('close', (code, signal) => {
        const output = log.slice(from);
        const message = `PostgreSQL ${options.version} ended while starting (${code ?? signal}):\n${output}`;
        reject(/Address already in use/.test(output) ? new PortTaken(message) : new Error(message));
      });
    });
    server = child;
  }

  /** Another process may take the port between our probe and the server's bind. */
  async function startOnFreePort(attempts: number): Promise<void> {
    try {
      await start();
    } catch (error) {
      if (!(error instanceof PortTaken) || attempts <= 1) throw error;
      port = await freePort();
      await startOnFreePort(attempts - 1);
    }
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    const child = server;
    server = undefined;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, 'close');
    const backends = signal === 'SIGKILL' ? await childrenOf(child.pid) : [];
    child.kill(signal);
    for (const backend of backends) killIfAlive(backend);
    await closed;
  }

  async function connect(config: pg.ClientConfig = {}): Promise<pg.Client> {
    const client = new pg.Client({
      ...{ host: '127.0.0.1', port, user: 'postgres', password: template.password, database: 'postgres' },
      ...config,
    });
    await client.connect();
    return client;
  }

  async function remove(): Promise<void> {
    guard.kill();
    await rm(folder, { recursive: true, force: true });
  }

  try {
    await startOnFreePort(5);
  } catch (error) {
    await remove();
    throw error;
  }

  return {
    version: options.version,
    host: '127.0.0.1',
    get port() {
      return port;
    },
    user: 'postgres',
    password: template.password,
    socketDirectory,
    dataDirectory,
    get databaseUrl() {
      return `postgres://postgres:${template.password}@127.0.0.1:${port}/postgres`;
    },
    tls,
    get pid() {
      if (server?.pid === undefined) throw new Error('the server is not running');
      return server.pid;
    },
    async sql(text, parameters, database = 'postgres') {
      const client = await connect({ host: socketDirectory, database, password: undefined });
      try {
        const result: pg.QueryResult | pg.QueryResult[] = await client.query(text, parameters && [...parameters]);
        return (Array.isArray(result) ? result.at(-1)?.rows : result.rows) ?? [];
      } finally {
        await client.end();
      }
    },
    connect,
    log: () => log,
    stop: () => end('SIGINT'),
    kill9: () => end('SIGKILL'),
    start,
    async [Symbol.asyncDispose]() {
      await end('SIGQUIT');
      await remove();
    },
  };
}
