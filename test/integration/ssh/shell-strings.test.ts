/** Lines of shell through the gateway to a real sshd whose users have bash and dash: what is denied leaves no trace on the host. */
import { chmod, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeWith, program } from '../../support/requires.ts';
import { type SshGround, startSshGround } from '../../support/ssh-ground.ts';
import { runClient, sshServer } from '../../support/sshd.ts';
import { OPAQUE_LINES } from '../shell/opaque-lines.ts';

const rules = (folder: string): string => `
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: agent}
spec:
  connections: {names: [host]}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
    - name: look
      effect: Allow
      ssh: {operations: [Exec], loginUsers: [deploy], commands: ["ls **", "cat **", "echo **", "seq *", "id"]}
    - name: files
      effect: Allow
      ssh: {operations: [ReadFile, WriteFile], loginUsers: [deploy], paths: ["${folder}/**"]}
`;

describeWith([...sshServer, program('bash'), program('dash'), program('rsync')], 'lines of shell', () => {
  let g: SshGround;
  let files = '';
  let control: string[] = [];

  beforeAll(async () => {
    g = await startSshGround({});
    files = path.join(g.folder, 'files');
    await mkdir(path.join(files, 'up'), { recursive: true });
    await writeFile(path.join(files, 'a b'), 'contents\n');
    await chmod(g.folder, 0o755);
    for (const folder of [files, path.join(files, 'up')]) await chmod(folder, 0o777);
    await g.edit('policy.yaml', rules(files));
    // One connection for all: hundreds of sign-ins would be what takes the time.
    control = [
      '-o',
      'ControlMaster=auto',
      '-o',
      `ControlPath=${path.join(g.folder, 'control')}`,
      '-o',
      'ControlPersist=60',
    ];
  });
  afterAll(async () => {
    await runClient('ssh', [...g.parameters(), ...control, '-O', 'exit', '127.0.0.1']);
    await g[Symbol.asyncDispose]();
  });

  const ssh = (line: string) => g.ssh([line], { flags: control });

  test.each([
    ['echo a; echo b && echo c || echo d', 'a\nb\nc\n'],
    ['echo \'a b\' "c d" e\\ f', 'a b c d e f\n'],
    ["echo '$(id)' '`id`' \\$HOME", '$(id) `id` $HOME\n'],
    ["cat 'FILES/a b'", 'contents\n'],
    ["cat <'FILES/a b' 2>/dev/null", 'contents\n'],
    ['seq 3 | cat', '1\n2\n3\n'],
    ['echo x >FILES/up/x; cat FILES/up/x', 'x\n'],
    ['echo y >>FILES/up/x\ncat FILES/up/x', 'x\ny\n'],
  ])('%j runs as it stands', async (line, out) => {
    const ran = await ssh(line.replaceAll('FILES', files));
    expect({ stderr: ran.stderr.toString(), stdout: ran.stdout.toString(), status: ran.status }).toEqual({
      stderr: '',
      stdout: out,
      status: 0,
    });
  });

  test('every line that nobody can be sure of is denied with 126, and nothing of it runs', async () => {
    const marker = path.join(files, 'up', 'marker');
    // A fair share of them, of those that an ssh client can send.
    const lines = OPAQUE_LINES.filter((line) => /pwn/.test(line) && !/^-|\0/.test(line) && line.length < 500).filter(
      (_, index) => index % 3 === 0,
    );
    expect(lines.length).toBeGreaterThan(40);
    for (const line of lines) {
      const ran = await ssh(line.replaceAll('pwn', `touch ${marker}`));
      expect({ line, status: ran.status, out: ran.stdout.toString() }).toEqual({ line, status: 126, out: '' });
      expect(ran.stderr.toString()).toMatch(/sallyport: denied/);
    }
    expect(await readdir(path.join(files, 'up'))).not.toContain('marker');
  });

  test('a denial says which part, why, and what is allowed', async () => {
    const ran = await ssh('echo a; echo $(id)');
    expect(ran.status).toBe(126);
    expect(ran.stderr.toString()).toContain('an expansion ($)');
    expect((await ssh('echo a; touch /tmp/x')).stderr.toString()).toContain('Exec of touch /tmp/x');
    expect((await ssh('sudo id')).stderr.toString()).toContain('sudo runs what its words say');
    expect((await ssh('echo x >/etc/motd')).stderr.toString()).toContain('WriteFile of /etc/motd');
  });

  test('rsync moves what rules for files say, and nothing beside it', async () => {
    const local = path.join(g.folder, 'local');
    await mkdir(local);
    await writeFile(path.join(local, 'one'), 'one');
    const transport = ['ssh', ...g.parameters(), ...control].join(' ');
    const rsync = (...args: string[]) =>
      runClient('rsync', ['-a', '--no-owner', '--no-group', '-e', transport, ...args]);
    const up = await rsync(`${local}/`, `127.0.0.1:${files}/up/tree/`);
    expect({ status: up.status, stderr: up.stderr.toString() }).toEqual({ status: 0, stderr: '' });
    expect(await readFile(path.join(files, 'up/tree/one'), 'utf8')).toBe('one');
    await rm(path.join(local, 'one'));
    expect((await rsync(`127.0.0.1:${files}/up/tree/`, `${local}/`)).status).toBe(0);
    expect(await readFile(path.join(local, 'one'), 'utf8')).toBe('one');
    const away = await rsync(`127.0.0.1:/etc/hostname`, `${local}/`);
    expect(away.status).not.toBe(0);
    expect(away.stderr.toString()).toContain('ReadFile of /etc/hostname');
    const log = await rsync('-M--log-file=/tmp/sallyport-rsync-log', `${local}/`, `127.0.0.1:${files}/up/tree/`);
    expect(log.stderr.toString()).toContain('rsync has the option --log-file=/tmp/sallyport-rsync-log');
  });

  test('a terminal for a command needs a rule for shells', async () => {
    const ran = await g.ssh(['id'], { flags: ['-tt'] });
    expect(ran.status).toBe(126);
    expect(`${ran.stdout}${ran.stderr}`).toContain('Shell (a terminal for the command)');
  });
});
