/** OpenSSH's own regression scripts (Debian's package openssh-tests), as they are or with Sallyport between their clients and their sshd. */
import { execFile, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '../../../support/program.ts';
import type { Need } from '../../../support/requires.ts';
import { type Gateway, startSallyport } from '../../../support/sallyport.ts';
import { findProgram } from '../../../support/server-binaries.ts';

const run = promisify(execFile);
const SOURCE = '/usr/lib/openssh/regress';
const SFTP_SERVER = '/usr/lib/openssh/sftp-server';
/** Scripts that run an sftp-server or a scp beside their client, without ssh: through the gateway they are given ssh in its place. */
const LOCAL: ReadonlySet<string> = new Set([
  'scp',
  'scp-uri',
  'sftp',
  'sftp-badcmds',
  'sftp-batch',
  'sftp-cmds',
  'sftp-glob',
]);

export const regressionSuite: Need = () =>
  existsSync(path.join(SOURCE, 'test-exec.sh')) ? undefined : 'the suite: apt-get install openssh-tests';

export interface ScriptResult {
  readonly passed: boolean;
  /** What it printed. */
  readonly output: string;
}

export interface Suite extends AsyncDisposable {
  /** @param script such as `exit-status` */
  through(script: string): Promise<ScriptResult>;
  /** Connections that the gateway has passed on to an sshd so far. */
  readonly passed: number;
}

const POLICY = `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: everything}
spec:
  connections: {all: true}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
    - name: programs
      effect: Allow
      ssh:
        operations: [Exec, Opaque, Shell]
        loginUsers: ["*"]
        commands: ["**", "sh **", "env **", "exec **", "printf **", "test **", "ls **", "yes **", "dd **"]
    - name: files
      effect: Allow
      ssh: {operations: [ReadFile, WriteFile], loginUsers: ["*"], paths: ["/**", "/**/.*/**", "/**/.*"]}
    - name: forwards
      effect: Allow
      ssh: {operations: [LocalForward, RemoteForward, AgentForward], loginUsers: ["*"], destinations: ["*:*", "unix:/**"]}
`;

function connection(port: number, hostKeys: readonly string[], userKeys: readonly string[]): string {
  const keys = userKeys.map((key) => `      - {serviceAccount: {name: agent}, publicKey: ${key}}`);
  return `apiVersion: sallyport.dev/v1alpha1
kind: AccessConnection
metadata: {name: host}
spec:
  protocol: SSH
  target: {host: 127.0.0.1, port: ${port}, hostKeys: [${hostKeys.join(', ')}]}
  credential: {secretRef: {name: login}}
  ssh:
    authorizedKeys:
${keys.join('\n')}
---
apiVersion: v1
kind: Secret
metadata: {name: login}
stringData:
`;
}

/** The first of three free ports below those that the system gives out by itself: scripts take the two after theirs. */
async function freePorts(): Promise<number> {
  for (;;) {
    const port = 20_000 + 10 * randomInt(1200);
    try {
      for (const next of [port, port + 1, port + 2]) {
        const server = net.createServer().listen(next, '127.0.0.1');
        await once(server, 'listening');
        server.close();
        await once(server, 'close');
      }
      return port;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EADDRINUSE')) throw error;
    }
  }
}

/** Where the gateway takes its clients: each connection starts the sshd that the script wanted last. */
async function startTarget(
  sshd: string,
  argumentsFile: string,
): Promise<{ port: number; count(): number; close(): void }> {
  let count = 0;
  const server = net.createServer({ pauseOnConnect: true }, (socket) => {
    count++;
    void readFile(argumentsFile, 'utf8').then((text) => {
      const parameters = text.split('\n').filter((line) => line !== '' && line !== '-i');
      const child = spawn(sshd, ['-i', ...parameters], { stdio: [socket, socket, 'ignore'] });
      child.once('spawn', () => socket.destroy());
    });
  });
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return { port, count: () => count, close: () => server.close() };
}

/** @returns what scripts take for an sftp-server: the subsystem, by the way that their clients take. At the target it is one. */
async function sendFilesBySsh(suite: string): Promise<string> {
  const ssh = `exec ${findProgram('ssh') ?? 'ssh'} -q -F ${suite}/ssh_proxy somehost`;
  const server = path.join(suite, 'sftp-subsystem');
  const lines = ['#!/bin/sh', `[ -n "$REGRESS_GATEWAY" ] || exec ${SFTP_SERVER} "$@"`, `${ssh} -s sftp`, ''];
  await writeFile(server, lines.join('\n'), { mode: 0o755 });
  const wrapper = path.join(suite, 'scp-ssh-wrapper.sh');
  const text = await readFile(wrapper, 'utf8');
  await writeFile(wrapper, text.replace(/set -- \$arg\n\s*shift\n\s*exec \$SCP "\$@"/, `${ssh} "$arg"`));
  return server;
}

export async function startSuite(): Promise<Suite> {
  await using cleanup = new AsyncDisposableStack();
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-regress-'));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const suite = path.join(folder, 'regress');
  await cp(SOURCE, suite, { recursive: true, filter: (file) => !file.includes('/unittests/') });
  const sshd = findProgram('sshd') ?? '/usr/sbin/sshd';

  async function script(name: string, environment: NodeJS.ProcessEnv): Promise<ScriptResult> {
    const env = {
      ...process.env,
      TEST_SHELL: 'sh',
      TEST_SSH_SSH: findProgram('ssh'),
      TEST_SSH_SSHD: sshd,
      TEST_SSH_SCP: findProgram('scp'),
      TEST_SSH_SFTP: findProgram('sftp'),
      TEST_SSH_SSHAGENT: findProgram('ssh-agent'),
      TEST_SSH_SSHADD: findProgram('ssh-add'),
      TEST_SSH_SSHKEYGEN: findProgram('ssh-keygen'),
      TEST_SSH_SSHKEYSCAN: findProgram('ssh-keyscan'),
      TEST_SSH_SFTPSERVER: SFTP_SERVER,
      TEST_SSH_UNSAFE_PERMISSIONS: '1',
      TEST_SSH_PORT: String(await freePorts()),
      ...environment,
    };
    const parameters = [path.join(suite, 'test-exec.sh'), suite, path.join(suite, `${name}.sh`)];
    return new Promise((resolve) => {
      const child = execFile(
        'sh',
        parameters,
        { env, cwd: suite, timeout: 180_000, killSignal: 'SIGKILL' },
        (error, out, err) => {
          resolve({ passed: error === null, output: `${out}${err}` });
        },
      );
      child.stdin?.end();
    });
  }

  // The first run makes the keys; `true` is no script of the suite.
  await writeFile(path.join(suite, 'keys.sh'), 'tid="keys"\n');
  const keys = await script('keys', {});
  if (!keys.passed) throw new Error(`the suite does not run here:\n${keys.output}`);
  const publicKeys: string[] = [];
  for (const file of await readdir(suite)) {
    if (!/^(ssh|ecdsa)-.*\.pub$/.test(file)) continue;
    const [type = '', base64 = ''] = (await readFile(path.join(suite, file), 'utf8')).split(' ');
    if (/^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521))$/.test(type)) publicKeys.push(`${type} ${base64.trim()}`);
  }

  const argumentsFile = path.join(folder, 'sshd-arguments');
  const target = await startTarget(sshd, argumentsFile);
  cleanup.defer(() => target.close());
  const [resources, state] = [path.join(folder, 'resources'), path.join(folder, 'state')];
  await mkdir(resources);
  await mkdir(state, { mode: 0o700 });
  const login = (await readFile(path.join(suite, 'ssh-ed25519'), 'utf8')).trimEnd().replaceAll('\n', '\n    ');
  const user = (await run('id', ['-un'])).stdout.trim();
  await writeFile(
    path.join(resources, 'all.yaml'),
    `${connection(target.port, publicKeys, publicKeys)}  username: ${user}\n  ssh-privatekey: |\n    ${login}\n---\n${POLICY}`,
  );
  const gateway: Gateway & AsyncDisposable = cleanup.use(
    await startSallyport({ resources: [resources], state, listen: ['default/host=127.0.0.1:0'] }),
  );
  const knownHosts = path.join(folder, 'known_hosts');
  const gatewayKey = (await readFile(path.join(state, 'ssh', 'ssh_host_ed25519_key.pub'), 'utf8')).trim();
  await writeFile(knownHosts, `* ${gatewayKey}\n`);
  const fileServer = await sendFilesBySsh(suite);
  const owned = cleanup.move();
  return {
    through: (name) =>
      script(name, {
        TEST_SSH_SSHD: path.join(import.meta.dirname, 'sshd.sh'),
        TEST_SSH_SSH_CONFOPTS: `KnownHostsCommand /bin/cat ${knownHosts}`,
        REGRESS_SSHD: sshd,
        REGRESS_GATEWAY: String(gateway.connection('host').port),
        REGRESS_TARGET: argumentsFile,
        REGRESS_RELAY: path.join(import.meta.dirname, 'relay.ts'),
        REGRESS_NODE: process.execPath,
        ...(LOCAL.has(name) ? { TEST_SSH_SFTPSERVER: fileServer } : {}),
      }),
    get passed() {
      return target.count();
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
