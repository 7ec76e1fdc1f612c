/** Real OpenSSH servers for tests, each in a folder of its own on a port of the loopback address, gone when disposed or when the test process ends. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { freePort } from './program.ts';
import { type Need, program, root } from './requires.ts';
import { findProgram } from './server-binaries.ts';

const run = promisify(execFile);

/** What `startSshd` needs: sshd becomes the users that sign in, which takes root. */
export const sshServer: readonly Need[] = [
  program('sshd', 'openssh-server'),
  program('ssh', 'openssh-client'),
  program('useradd', 'passwd'),
  root,
];

export type HostKeyType = 'ed25519' | 'ecdsa' | 'rsa';

export interface SshdOptions {
  /** Users of this machine that may sign in; those that do not exist are made, and stay. Default: `deploy`. */
  readonly users?: readonly string[];
  /** Lines of authorized_keys, for all of them. */
  readonly authorizedKeys?: readonly string[];
  /** Lines of TrustedUserCAKeys. */
  readonly trustedUserCas?: readonly string[];
  /** Principals that a user's certificate must hold one of; without it: the user's name. */
  readonly principals?: readonly string[];
  /** Default: ed25519. RSA takes half a second. */
  readonly hostKeys?: readonly HostKeyType[];
  /** Signs a certificate for the host keys, valid for an hour, with these principals. */
  readonly hostAuthority?: { readonly privateKeyPath: string; readonly principals: readonly string[] };
  /** TCP, stream-local, agent and X11 forwarding. Default: true. */
  readonly forwarding?: boolean;
  /** Lines of sshd_config before all others (the first one of a name counts). */
  readonly settings?: readonly string[];
  /** Makes a user of its own that signs in by password, and removes it at the end. */
  readonly password?: boolean;
}

export interface SshKey {
  /** Without passphrase, in OpenSSH's format; `.pub` beside it. */
  readonly privateKeyPath: string;
  readonly privateKey: string;
  /** `ssh-ed25519 AAAA…`, without comment. */
  readonly publicKey: string;
  /** As on the wire. */
  readonly blob: Buffer;
}

export interface Sshd {
  readonly host: '127.0.0.1';
  readonly port: number;
  readonly folder: string;
  readonly hostKeys: readonly SshKey[];
  /** Lines of known_hosts for this server. */
  readonly knownHosts: string;
  /** A file that holds them. */
  readonly knownHostsPath: string;
  /** Set with `password: true`. */
  readonly login: { readonly username: string; readonly password: string } | undefined;
  readonly pid: number;
  /** What the server has logged since its first start (LogLevel VERBOSE). */
  log(): string;
  /** Resolves once the log holds it. */
  logged(pattern: string | RegExp): Promise<void>;
  /** Processes of connections that are open now. */
  connections(): Promise<number[]>;
  /** Ends the listener and, with `SIGKILL`, every connection, as a crashed machine would. */
  stop(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>;
  /** Starts again on the same port after `stop`. */
  start(): Promise<void>;
}

/** Makes a key pair. */
export async function sshKey(file: string, type: HostKeyType = 'ed25519', comment = ''): Promise<SshKey> {
  await run('ssh-keygen', ['-q', '-t', type, '-N', '', '-C', comment, '-f', file]);
  const [kind = '', base64 = ''] = (await readFile(`${file}.pub`, 'utf8')).split(' ');
  return {
    privateKeyPath: file,
    privateKey: await readFile(file, 'utf8'),
    publicKey: `${kind} ${base64.trim()}`,
    blob: Buffer.from(base64, 'base64'),
  };
}

/** Another test may hold the lock of the passwd file. */
async function withLock(command: string, parameters: readonly string[], attempts = 50): Promise<void> {
  try {
    await run(command, [...parameters]);
  } catch (error) {
    const { stderr = '' } = error as { stderr?: string };
    if (/already exists/.test(stderr)) return;
    if (attempts <= 1 || !/lock/.test(stderr)) throw error;
    await new Promise((resolve) => setTimeout(resolve, 100));
    await withLock(command, parameters, attempts - 1);
  }
}

const exists = (user: string): Promise<boolean> =>
  run('id', [user]).then(
    () => true,
    () => false,
  );

/** A user that no password lets in, but whom sshd does not take for locked. */
async function ensureUser(user: string): Promise<void> {
  if (await exists(user)) return;
  await withLock('useradd', ['--create-home', '--shell', '/bin/bash', '--password', '*', user]);
}

async function passwordUser(): Promise<{ username: string; password: string }> {
  const random = crypto.randomUUID().replaceAll('-', '');
  const login = { username: `sp${random.slice(0, 12)}`, password: random.slice(12) };
  const { stdout } = await run('openssl', ['passwd', '-6', login.password]);
  const parameters = ['--create-home', '--shell', '/bin/bash', '--password', stdout.trim(), login.username];
  await withLock('useradd', parameters);
  return login;
}

/** A test process that is killed leaves no server behind: this shell sees its standard input end with us, however we end. */
function guardFolder(folder: string, user: string | undefined): ChildProcess {
  const script =
    'cat >/dev/null; p=$(cat "$0/sshd.pid"); pkill -KILL -P "$p"; kill -KILL "$p"; [ -z "$1" ] || userdel --force --remove "$1"; rm -rf "$0"';
  const guard = spawn('/bin/sh', ['-c', script, folder, user ?? ''], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  guard.unref();
  (guard.stdin as net.Socket).unref();
  return guard;
}

async function childrenOf(pid: number): Promise<number[]> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return children.split(' ').filter(Boolean).map(Number);
}

/** Connections of sshd put themselves in sessions of their own: each is ended with all that it started. */
async function killTree(pid: number): Promise<void> {
  const children = await childrenOf(pid).catch(() => []);
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
  await Promise.all(children.map(killTree));
}

async function hostCertificate(key: SshKey, authority: NonNullable<SshdOptions['hostAuthority']>): Promise<string> {
  const names = ['-n', authority.principals.join(',')];
  await run('ssh-keygen', [
    ...['-q', '-s', authority.privateKeyPath, '-I', 'test host', '-h', ...names, '-V', '-1m:+1h'],
    `${key.privateKeyPath}.pub`,
  ]);
  return `${key.privateKeyPath}-cert.pub`;
}

/** Starts a server and waits until it accepts connections. Guard the test with `describeWith(sshServer, …)`. */
export async function startSshd(options: SshdOptions = {}): Promise<Sshd & AsyncDisposable> {
  const program = findProgram('sshd');
  if (program === undefined) throw new Error('sshd is not installed: apt-get install openssh-server');
  const users = options.users ?? ['deploy'];
  for (const user of users) await ensureUser(user);
  const login = options.password === true ? await passwordUser() : undefined;
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-sshd-'));
  // sshd reads authorized_keys as the user that signs in.
  await chmod(folder, 0o711);
  const guard = guardFolder(folder, login?.username);
  // Where sshd confines what it runs before anybody has signed in; Debian's service makes it.
  await mkdir('/run/sshd', { recursive: true, mode: 0o755 });

  const file = async (name: string, lines: readonly string[]): Promise<string> => {
    const full = path.join(folder, name);
    await writeFile(full, `${lines.join('\n')}\n`, { mode: 0o644 });
    return full;
  };
  const hostKeys: SshKey[] = [];
  const lines: string[] = [...(options.settings ?? [])];
  for (const type of options.hostKeys ?? ['ed25519']) {
    const key = await sshKey(path.join(folder, `host_${type}`), type);
    hostKeys.push(key);
    lines.push(`HostKey ${key.privateKeyPath}`);
    if (options.hostAuthority !== undefined) {
      lines.push(`HostCertificate ${await hostCertificate(key, options.hostAuthority)}`);
    }
  }
  const forwarding = options.forwarding === false ? 'no' : 'yes';
  lines.push(
    'UsePAM no',
    'StrictModes no',
    'LogLevel VERBOSE',
    `PidFile ${folder}/sshd.pid`,
    'PermitRootLogin prohibit-password',
    `PasswordAuthentication ${login === undefined ? 'no' : 'yes'}`,
    'KbdInteractiveAuthentication no',
    'AcceptEnv *',
    'MaxStartups 200',
    'MaxSessions 300',
    'PrintMotd no',
    'UseDNS no',
    `AllowTcpForwarding ${forwarding}`,
    `AllowStreamLocalForwarding ${forwarding}`,
    `AllowAgentForwarding ${forwarding}`,
    `X11Forwarding ${forwarding}`,
    `GatewayPorts no`,
    `AllowUsers root ${[...users, ...(login === undefined ? [] : [login.username])].join(' ')}`,
    `AuthorizedKeysFile ${await file('authorized_keys', options.authorizedKeys ?? [])}`,
    'Subsystem sftp internal-sftp',
  );
  if (options.trustedUserCas !== undefined) {
    lines.push(`TrustedUserCAKeys ${await file('user_cas', options.trustedUserCas)}`);
  }
  if (options.principals !== undefined) {
    lines.push(`AuthorizedPrincipalsFile ${await file('principals', options.principals)}`);
  }
  const configuration = await file('sshd_config', lines);

  let port = await freePort();
  let log = '';
  let server: ChildProcess | undefined;
  const waiting = new Set<() => void>();

  async function launch(): Promise<boolean> {
    const child = spawn(program!, ['-D', '-e', '-f', configuration, '-o', `ListenAddress=127.0.0.1:${port}`], {
      stdio: ['ignore', 'ignore', 'pipe'],
      cwd: '/',
    });
    const from = log.length;
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      log += text;
      for (const look of [...waiting]) look();
    });
    const closed = once(child, 'exit');
    server = child;
    const up = await Promise.race([logged(/Server listening/, from).then(() => true), closed.then(() => false)]);
    if (up) return true;
    if (/Address already in use/.test(log.slice(from))) return false;
    throw new Error(`sshd ended while starting:\n${log.slice(from)}`);
  }

  function logged(pattern: string | RegExp, from = 0): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        const text = from === 0 ? log : log.slice(from);
        if (!(typeof pattern === 'string' ? text.includes(pattern) : pattern.test(text))) return;
        waiting.delete(look);
        resolve();
      };
      waiting.add(look);
      look();
    });
  }

  async function stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    const child = server;
    server = undefined;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    if (signal === 'SIGKILL') await killTree(child.pid);
    else child.kill(signal);
    await exited;
  }

  const knownHosts = (): string => hostKeys.map((key) => `[127.0.0.1]:${port} ${key.publicKey}\n`).join('');
  const knownHostsPath = path.join(folder, 'known_hosts');

  async function start(): Promise<void> {
    for (let attempt = 0; attempt < 5; attempt++) {
      if (await launch()) {
        await writeFile(knownHostsPath, knownHosts());
        return;
      }
      // Somebody took the port between our probe and the server's bind.
      port = await freePort();
    }
    throw new Error('no port for sshd');
  }

  async function remove(): Promise<void> {
    guard.kill();
    if (login !== undefined) await withLock('userdel', ['--force', '--remove', login.username]);
    await rm(folder, { recursive: true, force: true });
  }

  try {
    await start();
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    host: '127.0.0.1',
    get port() {
      return port;
    },
    folder,
    hostKeys,
    get knownHosts() {
      return knownHosts();
    },
    knownHostsPath,
    login,
    get pid() {
      if (server?.pid === undefined) throw new Error('the server is not running');
      return server.pid;
    },
    log: () => log,
    logged: (pattern) => logged(pattern),
    connections: () => (server?.pid === undefined ? Promise.resolve([]) : childrenOf(server.pid)),
    stop,
    start,
    async [Symbol.asyncDispose]() {
      await stop('SIGKILL');
      await remove();
    },
  };
}

export interface SshResult {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface SshClient {
  readonly port: number;
  readonly knownHostsPath: string;
  readonly user?: string;
  /** Private key file. Without it: none, and no agent. */
  readonly identity?: string;
  /** More `-o` options. */
  readonly options?: readonly string[];
}

/** Parameters that keep a stock OpenSSH client (`ssh`, `scp`, `sftp`) from anything of this machine: no configuration, agent, or known hosts but those named. */
export function sshParameters(client: SshClient): string[] {
  const options = [
    ...(client.options ?? []),
    'BatchMode=yes',
    'StrictHostKeyChecking=yes',
    `UserKnownHostsFile=${client.knownHostsPath}`,
    'GlobalKnownHostsFile=/dev/null',
    'IdentitiesOnly=yes',
    'IdentityAgent=none',
    `IdentityFile=${client.identity ?? 'none'}`,
    `Port=${client.port}`,
    `User=${client.user ?? 'deploy'}`,
    'LogLevel=ERROR',
  ];
  return ['-F', 'none', ...options.flatMap((option) => ['-o', option])];
}

/** Runs a client program to its end. */
export async function runClient(
  command: string,
  parameters: readonly string[],
  options: { readonly input?: Buffer | string; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<SshResult> {
  const child = spawn(command, parameters, { stdio: 'pipe', env: { ...process.env, ...options.env } });
  const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  // A program that ends before it has read everything is no failure of the test's.
  child.stdin.on('error', () => {});
  child.stdin.end(options.input ?? '');
  const [status, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { status, signal, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() };
}
