import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { Client, type SFTPWrapper } from 'ssh2';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stateOf } from '../support/approval-ground.ts';
import { describeWith, program } from '../support/requires.ts';
import { type SshGround, startSshGround } from '../support/ssh-ground.ts';
import { runClient, type SshResult, sshServer } from '../support/sshd.ts';

/** SFTP and both protocols of scp through the whole lane, with the clients that people use. */

const MB = 1024 * 1024;
const needs = [...sshServer, program('sftp', 'openssh-client'), program('scp', 'openssh-client')];

const policy = (name: string, connection: string, rules: string): string => `
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: ${name}}
spec:
  connections: {names: [${connection}]}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
${rules}`;

const resourcesFor = (root: string): Record<string, string> => ({
  'files.yaml': policy(
    'files',
    'host',
    `    - name: exchange
      effect: Allow
      ssh: {operations: [ReadFile, WriteFile], loginUsers: [deploy], paths: ["${root}/in/**"]}
    - name: no-keys
      effect: Deny
      message: Keys stay where they are.
      ssh: {operations: [ReadFile], paths: ["${root}/in/keys/**"]}
    - name: little
      effect: Allow
      ssh: {operations: [ReadFile], loginUsers: [deploy], paths: ["${root}/little"]}
      limits: {maxBytesReturned: 1000}
`,
  ),
  'held.yaml': policy(
    'held',
    'held',
    `    - name: look
      effect: Allow
      ssh: {operations: [ReadFile], loginUsers: [deploy], paths: ["${root}/in/**"]}
    - name: change
      effect: Allow
      message: Somebody looks at what is deployed.
      ssh: {operations: [WriteFile], loginUsers: [deploy], paths: ["${root}/in/**"]}
      approval: {approvers: {groups: [on-call]}, timeout: 1m}
`,
  ),
  'masked.yaml': policy(
    'masked',
    'masked',
    `    - name: exchange
      effect: Allow
      ssh: {operations: [ReadFile, WriteFile], loginUsers: [deploy], paths: ["${root}/in/**"]}
`,
  ),
  'masks.yaml': `
apiVersion: sallyport.dev/v1alpha1
kind: MaskingRule
metadata: {name: people}
spec:
  connections: {names: [masked]}
  content: [{detectors: [Email], transform: {redact: {with: "[e-mail]"}}}]
  files:
    - paths: ["${root}/in/people/**"]
    - paths: ["${root}/in/logs/**"]
      action: Mask
`,
});

describeWith(needs, 'files through the SSH lane', () => {
  let root: string;
  let g: SshGround;

  beforeAll(async () => {
    root = await mkdtemp(path.join(os.tmpdir(), 'sallyport-files-'));
    await chmod(root, 0o755);
    for (const name of ['in', 'in/keys', 'in/people', 'in/logs', 'local', 'out']) {
      await mkdir(path.join(root, name));
      await chmod(path.join(root, name), 0o777);
    }
    await writeFile(path.join(root, 'little'), Buffer.alloc(2000, 'x'));
    await writeFile(path.join(root, 'out/secret'), 'canary-7f3a');
    await writeFile(path.join(root, 'in/keys/id'), 'canary-7f3a');
    g = await startSshGround({
      resources: resourcesFor(root),
      connections: { host: '', held: '', masked: '' },
    });
  }, 120_000);

  afterAll(async () => {
    await g?.[Symbol.asyncDispose]();
    if (root !== undefined) await rm(root, { recursive: true, force: true });
  });

  const inside = (name: string): string => path.join(root, 'in', name);
  const local = (name: string): string => path.join(root, 'local', name);

  async function sftp(lines: readonly string[], connection = 'host'): Promise<SshResult> {
    const batch = local(`batch-${crypto.randomUUID()}`);
    await writeFile(batch, `${lines.join('\n')}\n`);
    return runClient('sftp', [...g.parameters({ connection }), '-b', batch, '127.0.0.1']);
  }

  const scp = (parameters: readonly string[], connection = 'host'): Promise<SshResult> =>
    runClient('scp', [...g.parameters({ connection }), ...parameters]);

  async function random(name: string): Promise<{ file: string; contents: Buffer; sha256: string }> {
    const every = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const contents = Buffer.concat([every, randomBytes(16 * MB - every.length)]);
    await writeFile(local(name), contents);
    return { file: local(name), contents, sha256: createHash('sha256').update(contents).digest('hex') };
  }

  test('sftp: every byte of 16 MB up and down, resumed, and one event for each operation', async () => {
    const { file, contents, sha256 } = await random('up');
    await writeFile(local('part'), contents.subarray(0, 7 * MB + 5));
    const { status, stderr } = await sftp([
      `put -p ${file} ${inside('file')}`,
      `get ${inside('file')} ${local('down')}`,
      `reget ${inside('file')} ${local('part')}`,
    ]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    for (const copy of [inside('file'), local('down'), local('part')])
      expect((await readFile(copy)).equals(contents), copy).toBe(true);
    const events = await g.recorded((event) => event.e === 'file.closed' && event['bytesRead'] === 9 * MB - 5);
    const opened = events.filter((event) => event.e === 'file.operation' && event['operation'] === 'open');
    expect(opened[0]).toMatchObject({
      user: 'deploy',
      accesses: [{ access: 'WriteFile', path: inside('file') }],
      verdict: 'Allow',
      rules: [expect.stringContaining('default/files/exchange')],
    });
    const closed = events.filter((event) => event.e === 'file.closed' && event['sha256'] === sha256);
    expect(closed.map((event) => [event['bytesWritten'], event['bytesRead']])).toEqual([
      [16 * MB, 0],
      [0, 16 * MB],
    ]);
    expect(events.find((event) => event['operation'] === 'fsetstat')).toMatchObject({
      accesses: [{ access: 'WriteFile', path: inside('file') }],
    });
  });

  test.each([['-s'], ['-O']])('scp %s: every byte of 16 MB up and down, folders too', async (protocol) => {
    const { file, contents } = await random(`scp${protocol}`);
    const target = inside(`scp${protocol}`);
    expect(await scp([protocol, file, `127.0.0.1:${target}`])).toMatchObject({ status: 0, stderr: '' });
    expect(await scp([protocol, `127.0.0.1:${target}`, `${file}-back`])).toMatchObject({ status: 0, stderr: '' });
    expect((await readFile(`${file}-back`)).equals(contents)).toBe(true);
    const tree = local(`tree${protocol}`);
    await mkdir(path.join(tree, 'sub'), { recursive: true });
    await writeFile(path.join(tree, 'sub/empty'), '');
    await writeFile(path.join(tree, 'a b'), 'a');
    expect(await scp([protocol, '-rp', tree, `127.0.0.1:${inside('')}`])).toMatchObject({ status: 0, stderr: '' });
    const back = local(`back${protocol}`);
    expect(await scp([protocol, '-r', `127.0.0.1:${inside(`tree${protocol}`)}`, back])).toMatchObject({ status: 0 });
    expect(await readFile(path.join(back, 'a b'), 'utf8')).toBe('a');
    expect(await readdir(path.join(back, 'sub'))).toEqual(['empty']);
  });

  test.each([['-s'], ['-O']])('scp %s does not carry hidden files along, and says so', async (protocol) => {
    const tree = local(`home${protocol}`);
    await mkdir(path.join(tree, '.ssh'), { recursive: true });
    await writeFile(path.join(tree, '.ssh/authorized_keys'), 'ssh-ed25519 AAAA');
    await writeFile(path.join(tree, 'plain'), 'plain');
    const { status, stderr } = await scp([protocol, '-r', tree, `127.0.0.1:${inside('')}`]);
    expect(status).toBe(1);
    expect(stderr).toMatch(/denied: WriteFile of .*\.ssh/);
    expect(await readdir(inside(`home${protocol}`))).toEqual(['plain']);
  });

  test('a denial names rule and session on stderr and in the record, and the session goes on', async () => {
    await symlink(path.join(root, 'out'), inside('way'));
    const { status, stderr } = await sftp([
      `-get ${inside('keys/id')} ${local('id')}`,
      `-get ${inside('way/secret')} ${local('id')}`,
      `-put ${local('up')} ${inside('.ssh')}`,
      `-rename ${inside('keys')} ${inside('plain')}`,
      `-get ${root}/little ${local('little')}`,
      `get ${inside('file')} ${local('again')}`,
    ]);
    expect(status).toBe(0);
    expect(stderr).toMatch(
      /denied: ReadFile of .*in\/keys\/id\. Keys stay where they are.*rule default\/files\/no-keys/,
    );
    expect(stderr).toMatch(/^sallyport: denied: /m);
    expect(stderr).toMatch(/SPS001, session [0-9a-z]+-[0-9a-f]+$/m);
    expect(stderr).toMatch(/denied: ReadFile of .*out\/secret/);
    expect(stderr).toMatch(/denied: WriteFile of .*in\/\.ssh/);
    expect(stderr).toMatch(/more than 1000 bytes/);
    await expect(readFile(local('id'))).rejects.toThrow('ENOENT');
    expect(await readFile(inside('keys/id'), 'utf8')).toBe('canary-7f3a');
    const events = await g.recorded((event) => event.e === 'file.denied');
    expect(events.filter((event) => event.e === 'file.denied')).toContainEqual(
      expect.objectContaining({ operation: 'open', code: 'SPS001' }),
    );
  });

  async function connect(connection = 'host'): Promise<{ client: Client; files: SFTPWrapper }> {
    const client = new Client();
    client.connect({
      host: '127.0.0.1',
      port: g.port(connection),
      username: 'deploy',
      privateKey: g.keys.agent.privateKey,
    });
    await once(client, 'ready');
    const files = await promisify(client.sftp.bind(client))();
    return { client, files };
  }

  test('ssh2: many requests at once, and the words of a denial', async () => {
    const { file, contents } = await random('ssh2');
    const { client, files } = await connect();
    const put = promisify(files.fastPut.bind(files)) as (from: string, to: string) => Promise<void>;
    const get = promisify(files.fastGet.bind(files)) as (from: string, to: string) => Promise<void>;
    await put(file, inside('ssh2'));
    await get(inside('ssh2'), `${file}-back`);
    expect((await readFile(`${file}-back`)).equals(contents)).toBe(true);
    const open = promisify(files.open.bind(files)) as (name: string, flags: string) => Promise<Buffer>;
    await expect(open(inside('keys/id'), 'r')).rejects.toThrow(/Keys stay where they are.*session/);
    client.end();
    await once(client, 'close');
  });

  test('a file that is open is not read on under a policy that denies it', async () => {
    await writeFile(inside('log'), 'line\n');
    const { client, files } = await connect();
    const open = promisify(files.open.bind(files)) as (name: string, flags: string) => Promise<Buffer>;
    const handle = await open(inside('log'), 'r');
    const read = (): Promise<number> =>
      new Promise((resolve, reject) => {
        const into = Buffer.alloc(4);
        files.read(handle, into, 0, 4, 0, (error, count) => (error ? reject(error) : resolve(count)));
      });
    expect(await read()).toBe(4);
    const { 'files.yaml': before = '' } = resourcesFor(root);
    const deny = `    - {name: closed, effect: Deny, message: Closed for today., ssh: {operations: [ReadFile], paths: ["${root}/in/log"]}}\n`;
    await g.edit('files.yaml', before + deny);
    await expect(read()).rejects.toThrow('Closed for today.');
    await g.edit('files.yaml', before);
    expect(await read()).toBe(4);
    client.end();
    await once(client, 'close');
  });

  test('a file that people have to agree to is written once they do, and not when the client leaves', async () => {
    await writeFile(local('release'), 'release');
    const put = (name: string) => {
      const parameters = [...g.parameters({ connection: 'held' }), local('release'), `127.0.0.1:${inside(name)}`];
      const child = execFile('scp', parameters);
      let stderr = '';
      const said = new Promise<void>((resolve) => {
        child.stderr?.on('data', (text: string) => {
          stderr += text;
          if (stderr.includes('waits for approval')) resolve();
        });
      });
      return { child, said, ended: once(child, 'close'), stderr: () => stderr };
    };
    const first = put('release');
    await first.said;
    expect(first.stderr()).toContain('Somebody looks at what is deployed.');
    await expect(readFile(inside('release'))).rejects.toThrow('ENOENT');
    const request = await g.pending();
    expect(request.spec.request).toMatchObject({ summary: expect.stringContaining(inside('release')) });
    await g.vote(request);
    expect(await first.ended).toEqual([0, null]);
    expect(await readFile(inside('release'), 'utf8')).toBe('release');

    const second = put('left');
    await second.said;
    const pending = await g.pending();
    second.child.kill('SIGTERM');
    await second.ended;
    await g.request((found) => found.metadata.name === pending.metadata.name && stateOf(found) === 'Withdrawn');
    await expect(readFile(inside('left'))).rejects.toThrow('ENOENT');
  });

  test('what waits is withdrawn with its channel, and the connection lives on', async () => {
    const { client, files } = await connect('held');
    files.on('error', () => {});
    files.open(inside('left'), 'w', () => {});
    const pending = await g.pending();
    files.end();
    await g.request((found) => found.metadata.name === pending.metadata.name && stateOf(found) === 'Withdrawn');
    const again = await promisify(client.sftp.bind(client))();
    const list = promisify(again.readdir.bind(again)) as (name: string) => Promise<{ filename: string }[]>;
    expect((await list(inside(''))).map(({ filename }) => filename)).not.toContain('left');
    client.end();
    await once(client, 'close');
  });

  test('what is masked in output is masked in files, or not read at all', async () => {
    const line = 'order 17 by ana@example.com, paid\n';
    for (const name of ['logs/app.log', 'people/list', 'plain.txt']) await writeFile(inside(name), line.repeat(20_000));
    const { status, stderr } = await sftp(
      [
        `get ${inside('logs/app.log')} ${local('app.log')}`,
        `get ${inside('plain.txt')} ${local('plain.txt')}`,
        `-get ${inside('people/list')} ${local('list')}`,
        `-rename ${inside('people/list')} ${inside('list')}`,
        `-rename ${inside('people')} ${inside('persons')}`,
        `-ln ${inside('people/list')} ${inside('list')}`,
      ],
      'masked',
    );
    expect(status).toBe(0);
    for (const name of ['app.log', 'plain.txt'])
      expect(await readFile(local(name), 'utf8')).toBe('order 17 by [e-mail], paid\n'.repeat(20_000));
    expect(stderr).toMatch(/people\/list are protected by masking rule default\/people/);
    await expect(readFile(local('list'))).rejects.toThrow('ENOENT');
    expect((await readdir(inside('people'))).sort()).toEqual(['list']);
    const legacy = await scp(['-O', `127.0.0.1:${inside('plain.txt')}`, local('legacy')], 'masked');
    expect(legacy.status).not.toBe(0);
    expect(legacy.stderr).toMatch(/mask/);
    await expect(readFile(local('legacy'))).rejects.toThrow('ENOENT');
    const events = await g.recorded((event) => event.e === 'file.closed' && event['masked'] !== undefined);
    expect(JSON.stringify(events)).not.toContain('ana@example.com');
  });
});
