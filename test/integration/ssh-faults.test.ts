/** What is left when a part dies, stalls or is full in the middle of an SSH session: nothing unrecorded, and a client that knows why. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, statfs, writeFile } from 'node:fs/promises';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { recordedTexts } from '../support/recorded.ts';
import { describeWith, root } from '../support/requires.ts';
import { sallyport } from '../support/sallyport.ts';
import { type SshGround, startSshGround } from '../support/ssh-ground.ts';
import { sshServer } from '../support/sshd.ts';

const run = promisify(execFile);

const ALL = `
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: all}
spec:
  connections: {all: true}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
    - name: anything
      effect: Allow
      ssh: {operations: [Exec, Opaque], loginUsers: [deploy], commands: ["**"]}
`;

describeWith(sshServer, 'an SSH session when a part fails', () => {
  let g: SshGround;
  beforeAll(async () => {
    g = await startSshGround({
      resources: { 'all.yaml': ALL },
      connections: { host: '', few: 'limits: {maxChannels: 1, idleTimeout: 10s}', one: '' },
      configuration: { limits: { authenticationTimeout: '2s' } },
    });
  });
  afterAll(() => g?.[Symbol.asyncDispose]());

  test('the target dies amid a command: the client is told, and can come back when it is back', async () => {
    const running = g.start(['echo begun; sleep 60']);
    await running.says(/begun/);
    await g.sshd.stop('SIGKILL');
    expect((await running.ended).status).toBe(255);
    const events = await g.recorded((event) => event.e === 'session.end' && /target/.test(String(event['reason'])));
    const { session } = events.findLast((event) => event['text'] === 'echo begun; sleep 60') as unknown as {
      session: string;
    };
    expect(events.find((event) => event['session'] === session && event.e === 'command.failed')).toBeDefined();
    const refused = await g.ssh(['true']);
    expect(refused.status).toBe(255);
    expect(refused.stderr).toContain('SPU002');
    await g.sshd.start();
    expect((await g.ssh(['true'])).status).toBe(0);
  });

  test('kill -9 of the gateway: the client sees it, and the record has the end of the session', async () => {
    const running = g.start(['echo killed-soon; sleep 60']);
    await running.says(/killed-soon/);
    await g.restart();
    expect((await running.ended).status).toBe(255);
    const { stdout } = await sallyport(['sessions', 'list', '--state', g.state, '-o', 'json']);
    const states = stdout
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { state: string }).state);
    expect(states).toContain('interrupted');
    const events = await g.recorded((event) => event.e === 'session.interrupted');
    expect(events.some((event) => event['text'] === 'echo killed-soon; sleep 60')).toBe(true);
    expect((await g.ssh(['true'])).status).toBe(0);
  });

  test('SIGTERM lets a command finish', async () => {
    const running = g.start(['echo draining; sleep 2; echo done']);
    await running.says(/draining/);
    await g.gateway.stop('SIGTERM');
    expect((await running.ended).status).toBe(0);
    expect(running.stdout()).toBe('draining\ndone\n');
    await g.restart();
  });

  test('who connects and says nothing is sent away, and keeps nobody out', async () => {
    const socket = net.connect(g.port(), '127.0.0.1');
    await once(socket, 'connect');
    expect((await g.ssh(['true'])).status).toBe(0);
    socket.resume();
    await once(socket, 'close');
    const events = await g.recorded((event) => event.e === 'session.refused' && event['code'] === 'SPS019');
    expect(events.length).toBeGreaterThan(0);
  });

  test('a connection has a limit of channels, and ends when nothing came of it', async () => {
    const control = path.join(g.folder, 'few');
    const master = g.start([], {
      connection: 'few',
      flags: ['-N'],
      options: [`ControlPath=${control}`, 'ControlMaster=yes', 'LogLevel=DEBUG1'],
    });
    await master.says(/Entering interactive session/);
    const shared = { connection: 'few', options: [`ControlPath=${control}`, 'LogLevel=INFO'] };
    const first = g.start(['echo first; sleep 2'], shared);
    await first.says(/first/);
    // The client whose connection it is reads why; the other one goes on with a connection of its own.
    expect((await g.ssh(['true'], shared)).stderr).toContain('open refused');
    expect(master.stderr()).toContain('no more than 1 channels at once');
    expect((await first.ended).status).toBe(0);
    const events = await g.recorded(
      (event) => event.e === 'session.end' && String(event['reason']).includes('idle for more than 10 s'),
    );
    expect(events.length).toBeGreaterThan(0);
    expect((await master.ended).status).toBe(255);
    expect(master.stderr()).toContain('it was idle for more than 10 s');
  });

  test('the host must prove itself with a pinned key, and nobody signs in before', async () => {
    const stranger = (await g.direct([])).stderr;
    expect(stranger).toBeDefined();
    const { publicKey } = g.keys.other;
    const file = path.join(g.resources, 'connection-one.yaml');
    const { readFile } = await import('node:fs/promises');
    const yaml = await readFile(file, 'utf8');
    await g.edit('connection-one.yaml', yaml.replace(/hostKeys: \[.*\]/, `hostKeys: [${publicKey}]`));
    const before = g.sshd.log().split('Accepted publickey').length;
    const refused = await g.ssh(['true'], { connection: 'one' });
    expect(refused.status).toBe(255);
    expect(refused.stderr).toContain('did not prove itself');
    // Its record had begun: it has one end, with the code that the client read, and is no second session.
    const [code = ''] = /SP[A-Z]\d{3}/.exec(refused.stderr) ?? [];
    const [id = ''] = /[0-9a-z]+-[0-9a-f]{16}/.exec(refused.stderr) ?? [];
    const ofIt = ({ e, session }: { e: string; session?: unknown }): boolean =>
      session === id && /^session[.](end|refused)$/.test(e);
    const ends = (await g.recorded(ofIt)).filter(ofIt);
    expect(ends.map(({ e, code: of }) => [e, of])).toEqual([['session.end', code]]);
    expect(g.sshd.log().split('Accepted publickey').length).toBe(before);
  });
});

describeWith(sshServer, 'credentials and connections of one subject', () => {
  test('each command of a connection has its own certificate where the connection says so', async () => {
    await using g = await startSshGround({
      resources: { 'all.yaml': ALL },
      connections: { host: '', single: '' },
      credential: '{sshCertificate: {caSecretRef: {name: user-ca}, principals: [deploy], scope: Command}}',
    });
    const control = path.join(g.folder, 'per-command');
    const shared = { options: [`ControlPath=${control}`, 'ControlMaster=auto', 'ControlPersist=30'] };
    expect((await g.ssh(['exit 3'], shared)).status).toBe(3);
    expect((await g.ssh(['cat'], { ...shared, input: 'through' })).stdout.toString()).toBe('through');
    const events = await g.recorded(
      (event) => event.e === 'command.executed' && Number((event['stdout'] as { bytes?: number })?.bytes) === 7,
    );
    const issued = events.filter(({ e }) => e === 'credential.issued');
    expect(issued).toHaveLength(2);
    expect(new Set(issued.map((event) => event['session'])).size).toBe(1);
    const session = String(issued[0]?.['session']);
    await g.sshd.logged(new RegExp(`session ${session}`));
  });

  test('a subject has a limit of connections', async () => {
    await using g = await startSshGround({ resources: { 'all.yaml': ALL } });
    const file = path.join(g.resources, 'connection-host.yaml');
    const { readFile } = await import('node:fs/promises');
    const yaml = await readFile(file, 'utf8');
    await g.edit('connection-host.yaml', yaml.replace('  ssh:\n', '  ssh:\n    maxConnectionsPerSubject: 1\n'));
    const first = g.start(['echo first; sleep 20']);
    await first.says(/first/);
    const second = await g.ssh(['true']);
    expect(second.status).toBe(255);
    expect(second.stderr).toContain('there are 1 sessions already');
    first.child.kill();
    await first.ended;
    await g.recorded((event) => event.e === 'session.end');
    expect((await g.ssh(['true'])).status).toBe(0);
  });
});

describeWith([...sshServer, root], 'a full disk under an SSH session', () => {
  test('stops commands with a clear error, and nothing unrecorded runs; with space it goes on', async () => {
    const mount = await mkdtemp(path.join(os.tmpdir(), 'sallyport-full-'));
    await run('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', mount]);
    try {
      const state = path.join(mount, 'state');
      await mkdir(state, { mode: 0o700 });
      await using g = await startSshGround({ resources: { 'all.yaml': ALL }, gateway: { state } });
      const control = path.join(g.folder, 'full');
      const shared = { options: [`ControlPath=${control}`, 'ControlMaster=auto', 'ControlPersist=30'] };
      expect((await g.ssh(['true'], shared)).status).toBe(0);
      const ballast = path.join(mount, 'ballast');
      const { bavail, bsize } = await statfs(mount);
      await writeFile(ballast, Buffer.alloc(bavail * bsize));
      const file = `/tmp/full-${process.pid}`;
      let last = await g.ssh(['true'], shared);
      let sent = 0;
      // A page of the segment may have room for some more.
      for (; sent < 40 && last.status === 0; sent++)
        last = await g.ssh([`echo full-${sent} >> ${file}; : ${'x'.repeat(2000)}`], shared);
      expect(last.status).not.toBe(0);
      // A connection that ends before the shared client has its channel leaves that client without a word.
      expect(last.stderr).toMatch(/^$|the record cannot be written/);
      const refused = await g.ssh(['true']);
      expect(refused.status).toBe(255);
      expect(refused.stderr).toMatch(/the record cannot be written/);
      const { stdout } = await run('cat', [file]).catch(() => ({ stdout: '' }));
      await rm(ballast);
      await expect
        .poll(async () => (await fetch(g.gateway.metrics!.replace('/metrics', '/readyz'))).status, { timeout: 15_000 })
        .toBe(200);
      expect((await g.ssh(['true'])).status).toBe(0);
      const recorded = new Set((await recordedTexts(state)).flatMap((text) => /full-\d+/.exec(text) ?? []));
      expect((stdout.match(/full-\d+/g) ?? []).filter((mark) => !recorded.has(mark))).toEqual([]);
      expect(stdout).not.toContain(`full-${sent - 1}\n`);
      await rm(file, { force: true });
    } finally {
      await run('umount', ['-l', mount]);
      await rm(mount, { recursive: true, force: true });
    }
  });
});
