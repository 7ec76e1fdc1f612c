/** What clients do through Sallyport is what they do without it: each runs its checks on both sides, and says the same. */
import { execFile } from 'node:child_process';
import { appendFile, chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { anyGo } from '../../support/go-programs.ts';
import { describeWith, program } from '../../support/requires.ts';
import { type SshGround, startSshGround } from '../../support/ssh-ground.ts';
import { runClient, sshParameters, sshServer } from '../../support/sshd.ts';
import { type Checks, paramiko, type Results, type Server, xcrypto } from './clients/programs.ts';

const run = promisify(execFile);

const EVERYTHING = `apiVersion: sallyport.dev/v1alpha1
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
        loginUsers: [deploy]
        commands: ["**", "sh **", "env **", "git-upload-pack *", "git-receive-pack *", "rsync **"]
    - name: files
      effect: Allow
      ssh: {operations: [ReadFile, WriteFile], loginUsers: [deploy], paths: ["/**"]}
    - name: forwards
      effect: Allow
      ssh: {operations: [LocalForward, RemoteForward], loginUsers: [deploy], destinations: ["127.0.0.1:*"]}
`;

const needs = [
  ...sshServer,
  anyGo,
  program('python3', 'python3-venv'),
  program('dbclient', 'dropbear-bin'),
  program('git'),
];

describeWith(needs, 'clients through Sallyport do what they do without it', () => {
  let g: SshGround;
  /** The server's: `deploy` may write it. */
  let remote: string;
  let local: string;
  let through: Server;
  let straight: Server;
  let checks: Checks;

  beforeAll(async () => {
    g = await startSshGround({ resources: { 'everything.yaml': EVERYTHING } });
    local = await mkdtemp(path.join(os.tmpdir(), 'sallyport-clients-'));
    remote = await mkdtemp(path.join(os.tmpdir(), 'sallyport-remote-'));
    await chmod(remote, 0o777);
    await appendFile(path.join(g.sshd.folder, 'authorized_keys'), `${g.keys.agent.publicKey}\n`);
    const gatewayKey = await readFile(path.join(g.state, 'ssh', 'ssh_host_ed25519_key.pub'), 'utf8');
    through = { port: g.port(), hostKey: gatewayKey.trim() };
    straight = { port: g.sshd.port, hostKey: g.sshd.hostKeys[0]?.publicKey ?? '' };
    checks = { key: g.keys.agent.privateKeyPath, destination: g.sshd.port, folder: remote };
  });
  afterAll(async () => {
    await g?.[Symbol.asyncDispose]();
    for (const folder of [local, remote]) if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });

  test.each<[string, (server: Server, checks: Checks) => Promise<Results>]>([
    ['paramiko', paramiko],
    ['golang.org/x/crypto/ssh', xcrypto],
  ])('%s', async (_, client) => {
    const direct = await client(straight, checks);
    expect(Object.keys(direct).length).toBeGreaterThan(10);
    expect(await client(through, checks)).toEqual(direct);
  });

  test('dropbear', async () => {
    const key = path.join(local, 'dropbear-key');
    await run('dropbearconvert', ['openssh', 'dropbear', g.keys.agent.privateKeyPath, key]);
    const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, index) => index % 256));
    const dbclient = (port: number, command: string, input: Buffer | string = '') =>
      runClient(
        'env',
        [`HOME=${local}`, 'dbclient', '-y', '-y', '-i', key, '-p', String(port), '-l', 'deploy', '127.0.0.1', command],
        {
          input,
        },
      );
    for (const port of [straight.port, through.port]) {
      expect(await dbclient(port, 'echo out; echo err >&2; exit 9')).toMatchObject({
        status: 9,
        stdout: Buffer.from('out\n'),
      });
      expect((await dbclient(port, 'cat', bytes)).stdout.equals(bytes)).toBe(true);
    }
  });

  test('git clones and pushes', async () => {
    const bare = path.join(remote, 'shop.git');
    await g.direct([`git init --quiet --bare ${bare}`]);
    const clone = path.join(local, 'shop');
    const git = (...parameters: string[]) =>
      run('git', ['-c', 'user.name=agent', '-c', 'user.email=agent@example.com', ...parameters], {
        env: {
          ...process.env,
          GIT_SSH_COMMAND: ['ssh', ...g.parameters()].join(' '),
          GIT_CONFIG_GLOBAL: '/dev/null',
          HOME: local,
        },
      });
    const url = `ssh://deploy@127.0.0.1:${g.port()}${bare}`;
    await git('clone', '--quiet', url, clone);
    await git('-C', clone, 'commit', '--quiet', '--allow-empty', '-m', 'one');
    await git('-C', clone, 'push', '--quiet', 'origin', 'HEAD:refs/heads/main');
    const { stdout } = await git('ls-remote', url, 'refs/heads/main');
    expect(stdout).toBe(`${(await git('-C', clone, 'rev-parse', 'HEAD')).stdout.trim()}\trefs/heads/main\n`);
  });

  test('OpenSSH changes keys during bulk data in both directions', async () => {
    const bytes = Buffer.alloc(8 << 20, 'keys change while this passes. ');
    const back = await g.ssh(['cat'], { input: bytes, options: ['RekeyLimit=1M', 'ServerAliveInterval=1'] });
    expect([back.status, back.stdout.equals(bytes)]).toEqual([0, true]);
  });

  test('a terminal has its size, and the line discipline of the target', async () => {
    const screen = (parameters: readonly string[]) =>
      run(
        'script',
        [
          '-qec',
          `stty rows 31 cols 97; ssh ${parameters.join(' ')} -tt 127.0.0.1 'stty size; echo $TERM'`,
          '/dev/null',
        ],
        {
          env: { ...process.env, TERM: 'vt220' },
        },
      );
    const direct = await screen(
      sshParameters({ port: g.sshd.port, knownHostsPath: g.sshd.knownHostsPath, identity: checks.key }),
    );
    expect(direct.stdout).toContain('31 97\r\nvt220');
    expect((await screen(g.parameters())).stdout).toBe(direct.stdout);
  });
});
