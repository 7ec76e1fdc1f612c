/** What is compared: the server itself, pgbouncer in front of it, and Sallyport in front of it; and on demand what Node alone costs there. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, copyFile, mkdir, writeFile } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import type { CertificateAuthority } from '../test/support/certificates.ts';
import type { Postgres } from '../test/support/postgres.ts';
import { serverUser } from '../test/support/postgres-template.ts';
import { createToken, startSallyport } from '../test/support/sallyport.ts';
import { findProgram } from '../test/support/server-binaries.ts';
import { writeBenchResources } from './resources.ts';

/** `sallyport-2` has two worker processes. */
export const DEFAULT_PEERS = ['postgres', 'pgbouncer', 'sallyport', 'sallyport-2'] as const;
/** `pipe` relays bytes with Node's sockets and looks at none; `pipe-write` makes one write to a file for each turn besides. */
export const PEER_NAMES = [...DEFAULT_PEERS, 'pipe', 'pipe-write'] as const;
export type PeerName = (typeof PEER_NAMES)[number];

export interface Peer extends AsyncDisposable {
  readonly name: PeerName;
  readonly host: '127.0.0.1';
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: 'bench';
  /** Root of the processes between client and server; undefined for the server itself. */
  readonly pid: number | undefined;
  /** Prometheus metrics. */
  readonly metrics: string | undefined;
}

export interface BenchServer {
  readonly server: Postgres;
  readonly authority: CertificateAuthority;
  readonly username: string;
  readonly password: string;
  /** For configuration and state; readable by the user that pgbouncer runs as. */
  readonly folder: string;
}

let started = 0;

/** A name for the folder of one more peer. */
function nextFolder(bench: BenchServer, name: string): string {
  started += 1;
  return path.join(bench.folder, `${name}-${started}`);
}

async function freePort(): Promise<number> {
  const probe = net.createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as net.AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}

function direct(bench: BenchServer): Peer {
  return {
    name: 'postgres',
    host: '127.0.0.1',
    port: bench.server.port,
    user: bench.username,
    password: bench.password,
    database: 'bench',
    pid: undefined,
    metrics: undefined,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

function startedLine(child: ChildProcess, line: RegExp): Promise<void> {
  return new Promise((resolve, reject) => {
    let output = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      if (line.test(output)) resolve();
    });
    child.once('error', reject);
    child.once('close', (code) => reject(new Error(`pgbouncer ended (${code}):\n${output}`)));
  });
}

/** Session mode, its record of connections off, clients by md5: the cheapest that it offers with a password. */
async function pgbouncer(bench: BenchServer): Promise<Peer> {
  const program = findProgram('pgbouncer');
  if (program === undefined) throw new Error('pgbouncer is not installed: apt-get install pgbouncer');
  const folder = nextFolder(bench, 'pgbouncer');
  await mkdir(folder, { mode: 0o700 });
  const port = await freePort();
  const leaf = await bench.authority.issue('localhost', ['DNS:localhost', 'IP:127.0.0.1']);
  const file = (name: string): string => path.join(folder, name);
  await copyFile(leaf.certificatePath, file('server.crt'));
  await copyFile(leaf.keyPath, file('server.key'));
  await writeFile(file('users.txt'), `"${bench.username}" "${bench.password}"\n`, { mode: 0o600 });
  const settings = {
    listen_addr: '127.0.0.1',
    listen_port: port,
    unix_socket_dir: '',
    auth_type: 'md5',
    auth_file: file('users.txt'),
    pool_mode: 'session',
    max_client_conn: 2000,
    default_pool_size: 1100,
    server_reset_query: 'DISCARD ALL',
    // libpq sends it with PGOPTIONS unset too, and pgbouncer refuses what it does not know.
    ignore_startup_parameters: 'extra_float_digits',
    log_connections: 0,
    log_disconnections: 0,
    client_tls_sslmode: 'allow',
    client_tls_cert_file: file('server.crt'),
    client_tls_key_file: file('server.key'),
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`);
  const configuration = `[databases]\nbench = host=127.0.0.1 port=${bench.server.port} dbname=bench\n[pgbouncer]\n${lines.join('\n')}\n`;
  await writeFile(file('pgbouncer.ini'), configuration, { mode: 0o600 });
  if (serverUser !== undefined) {
    for (const owned of ['', 'server.crt', 'server.key', 'users.txt', 'pgbouncer.ini']) {
      await chown(file(owned), serverUser.uid, serverUser.gid);
    }
  }
  // It refuses to run as root.
  const child = spawn(program, [file('pgbouncer.ini')], {
    stdio: ['ignore', 'ignore', 'pipe'],
    cwd: '/',
    ...serverUser,
  });
  await startedLine(child, /process up/);
  return relayed(bench, 'pgbouncer', port, child);
}

/** A process to which clients sign in as to the server behind it. */
function relayed(bench: BenchServer, name: PeerName, port: number, child: ChildProcess): Peer {
  const { username: user, password } = bench;
  return {
    ...{ name, host: '127.0.0.1', port, user, password, database: 'bench' },
    pid: child.pid,
    metrics: undefined,
    async [Symbol.asyncDispose]() {
      const closed = once(child, 'close');
      child.kill('SIGKILL');
      await closed;
    },
  };
}

/** The floor under whatever is made with Node. */
async function pipe(bench: BenchServer, name: PeerName, recording: boolean): Promise<Peer> {
  const program = path.join(import.meta.dirname, 'pipe.ts');
  const file = nextFolder(bench, name);
  const child = spawn(process.execPath, [program, String(bench.server.port), ...(recording ? [file] : [])], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [port] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string];
  return relayed(bench, name, Number(port), child);
}

/** With policy, record and masking on, as `sallyport run` is by default. */
async function sallyport(bench: BenchServer, name: PeerName, workers: number): Promise<Peer> {
  const folder = nextFolder(bench, name);
  const resources = path.join(folder, 'resources');
  const state = path.join(folder, 'state');
  await writeBenchResources(resources, { port: bench.server.port, username: bench.username, password: bench.password });
  const gateway = await startSallyport({
    resources: [resources],
    state,
    listen: ['default/bench=127.0.0.1:0'],
    workers,
    entry: 'dist',
  });
  try {
    const token = await createToken(state, {
      subject: 'system:serviceaccount:default:bench',
      ttl: '1h',
      entry: 'dist',
    });
    return {
      name,
      host: '127.0.0.1',
      port: gateway.connection('bench').port,
      user: 'bench',
      password: token,
      database: 'bench',
      pid: gateway.pid,
      metrics: gateway.metrics,
      [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose](),
    };
  } catch (error) {
    await gateway[Symbol.asyncDispose]();
    throw error;
  }
}

/** Each call starts a process of its own; the caller disposes of it. */
export function startPeer(name: PeerName, bench: BenchServer): Promise<Peer> {
  switch (name) {
    case 'postgres':
      return Promise.resolve(direct(bench));
    case 'pgbouncer':
      return pgbouncer(bench);
    case 'sallyport':
      return sallyport(bench, name, 1);
    case 'sallyport-2':
      return sallyport(bench, name, 2);
    case 'pipe':
      return pipe(bench, name, false);
    case 'pipe-write':
      return pipe(bench, name, true);
  }
}
