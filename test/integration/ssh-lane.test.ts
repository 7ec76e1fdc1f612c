import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeWith } from '../support/requires.ts';
import { type RunningClient, type SshGround, startSshGround } from '../support/ssh-ground.ts';
import { runClient, sshServer } from '../support/sshd.ts';

const policy = (name: string, connection: string, rules: string): string => `
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: ${name}}
spec:
  connections: {names: [${connection}]}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
${rules}`;

const ANYTHING = `    - name: anything
      effect: Allow
      ssh: {operations: [Exec, Opaque], loginUsers: [deploy], commands: ["**", "sh **"]}
`;

const CAREFUL = `    - name: look
      effect: Allow
      ssh: {operations: [Exec], loginUsers: [deploy], commands: ["echo **", "cat **", "env"]}
    - name: no-removal
      effect: Deny
      message: Nothing is removed on this host. Ask the owner of the data.
      ssh: {operations: [Exec], commands: ["rm **"]}
    - name: short
      effect: Allow
      ssh: {operations: [Exec], loginUsers: [deploy], commands: ["sleep *"]}
      limits: {maxDuration: 1s}
    - name: little
      effect: Allow
      ssh: {operations: [Exec], loginUsers: [deploy], commands: ["seq *"]}
      limits: {maxBytesReturned: 1000}
`;

const RESOURCES = {
  'anything.yaml': policy('anything', 'host', ANYTHING),
  'careful.yaml': policy('careful', 'careful', CAREFUL),
  'forwards.yaml': policy(
    'forwards',
    'forwards',
    `    - name: web
      effect: Allow
      ssh: {operations: [LocalForward, RemoteForward], loginUsers: [deploy], destinations: ["127.0.0.1:*", "localhost:*"]}
    - name: brief
      effect: Allow
      ssh: {operations: [LocalForward], loginUsers: [deploy], destinations: ["127.0.0.2:*"]}
      limits: {maxDuration: 1s, maxBytesReturned: 10000}
    - name: agent
      effect: Allow
      ssh: {operations: [AgentForward], loginUsers: [deploy]}
    - name: look
      effect: Allow
      ssh: {operations: [Exec], loginUsers: [deploy], commands: ["echo **", "cat **", "sleep *", "ssh-add -l"]}
`,
  ),
  'shell.yaml': policy(
    'shell',
    'shell',
    `    - name: shell
      effect: Allow
      ssh: {operations: [Shell], loginUsers: [deploy]}
      limits: {maxDuration: 3s}
`,
  ),
  'observed.yaml': policy(
    'observed',
    'observed',
    `    - name: look
      effect: Allow
      ssh: {operations: [Exec], loginUsers: [deploy], commands: [id]}
`,
  ),
};

const CONNECTIONS = {
  host: '',
  careful: '',
  forwards: '',
  shell: '',
  observed: 'mode: Observe',
  limited: 'limits: {maxChannels: 2, commandsPerMinute: 3}',
};

describeWith(sshServer, 'the SSH lane with stock ssh', () => {
  let g: SshGround;
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-ssh-client-'));
    g = await startSshGround({
      resources: { ...RESOURCES, 'limited.yaml': policy('limited', 'limited', ANYTHING) },
      connections: CONNECTIONS,
    });
  });
  afterAll(async () => {
    await g?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  test('runs what is allowed, with its exit status, signals, standard streams and binary data', async () => {
    const bytes = Buffer.from(Array.from({ length: 100_000 }, (_, index) => index % 256));
    const [echo, seven, killed, copied, apart] = await Promise.all([
      g.ssh(['echo hello']),
      g.ssh(['exit 7']),
      g.ssh(['sh -c "kill -TERM $$"']),
      g.ssh(['cat'], { input: bytes }),
      g.ssh(['echo out; echo err >&2']),
    ]);
    expect(echo).toMatchObject({ status: 0, stdout: Buffer.from('hello\n'), stderr: '' });
    expect(seven.status).toBe(7);
    // OpenSSH's client reports a signal as 255.
    expect(killed.status).toBe(255);
    expect(copied.stdout.equals(bytes)).toBe(true);
    expect([apart.stdout.toString(), apart.stderr]).toEqual(['out\n', 'err\n']);
  });

  test('several channels share one connection, and one session', async () => {
    const control = path.join(folder, 'control');
    const shared = { options: [`ControlPath=${control}`, 'ControlMaster=auto', 'ControlPersist=30'] };
    await g.ssh(['true'], shared);
    const results = await Promise.all(Array.from({ length: 8 }, (_, index) => g.ssh([`exit ${index + 10}`], shared)));
    expect(results.map(({ status }) => status)).toEqual([10, 11, 12, 13, 14, 15, 16, 17]);
    await runClient('ssh', [...g.parameters(shared), '-O', 'exit', '127.0.0.1']);
    const events = await g.recorded((event) => event.e === 'command.executed' && event['exit'] === 17);
    const executed = events.filter((event) => event.e === 'command.executed' && Number(event['exit']) >= 10);
    expect(new Set(executed.map((event) => event['session'])).size).toBe(1);
  });

  test('a denial says why on stderr, exits with 126, and the connection lives on', async () => {
    const control = path.join(folder, 'careful');
    const shared = {
      connection: 'careful',
      options: [`ControlPath=${control}`, 'ControlMaster=auto', 'ControlPersist=30'],
    };
    expect((await g.ssh(['echo before'], shared)).stdout.toString()).toBe('before\n');
    const denied = await g.ssh(['rm -rf /tmp/data'], shared);
    expect(denied.status).toBe(126);
    expect(denied.stdout.toString()).toBe('');
    expect(denied.stderr).toMatch(/^sallyport: denied: .*rm.*Nothing is removed on this host/);
    expect(denied.stderr).toContain('sallyport: rule default/careful/no-removal');
    const session = /SPS001, session (\S+)/.exec(denied.stderr)?.[1];
    expect((await g.ssh(['echo after'], shared)).stdout.toString()).toBe('after\n');
    const unknown = await g.ssh(['touch /tmp/x'], shared);
    expect(unknown).toMatchObject({ status: 126 });
    expect(unknown.stderr).toContain('no rule allows it');
    expect(unknown.stderr).toContain('Allowed here');
    const opaque = await g.ssh(['echo $(touch /tmp/x)'], shared);
    expect(opaque).toMatchObject({ status: 126 });
    await runClient('ssh', [...g.parameters(shared), '-O', 'exit', '127.0.0.1']);
    const events = await g.recorded((event) => event.e === 'session.end' && event['session'] === session);
    const own = events.filter((event) => event['session'] === session);
    expect(own.map(({ e }) => e)).toEqual([
      'session.start',
      'session.authenticated',
      'credential.issued',
      'credential.used',
      ...['command.received', 'command.executed'],
      ...['command.received', 'command.denied'],
      ...['command.received', 'command.executed'],
      ...['command.received', 'command.denied', 'command.received', 'command.denied'],
      'session.end',
      'credential.revoked',
    ]);
    expect(own.at(-2)).toMatchObject({ commands: 5, denied: 3 });
  });

  test('only variables that say how text is written are passed on', async () => {
    const result = await g.ssh(['env'], {
      connection: 'careful',
      options: ['SetEnv=LC_ALL=C.UTF-8 LD_PRELOAD=/tmp/evil.so BASH_ENV=/tmp/evil'],
    });
    expect(result.stdout.toString()).toContain('LC_ALL=C.UTF-8');
    expect(result.stdout.toString()).not.toContain('evil');
    // Files that the C library would load, and what shells compute: `test LC_TIME -eq 1` runs it in mksh.
    const values = [
      'LC_ALL=/tmp/evil',
      'LC_CTYPE=../evil',
      'LC_TIME=a[$(evil)]',
      'LC_PAPER=PATH=0',
      'LANG=en_GB.ISO-8859-15@euro',
    ];
    const odd = await g.ssh(['env'], {
      connection: 'careful',
      options: [`SetEnv=${values.map((v) => `"${v}"`).join(' ')}`],
    });
    expect(odd.stdout.toString()).toContain('LANG=en_GB.ISO-8859-15@euro');
    expect(odd.stdout.toString()).not.toMatch(/evil|^LC_/m);
  });

  test('a command ends at its limits of time and output, and says so', async () => {
    const connection = 'careful';
    const slow = await g.ssh(['sleep 60'], { connection });
    expect(slow.status).toBe(126);
    expect(slow.stderr).toContain('it ran longer than 1 s');
    const long = await g.ssh(['seq 100000'], { connection });
    expect(long.status).toBe(126);
    expect(long.stderr).toContain('it returned more than 1000 bytes');
    expect(long.stdout.length).toBeLessThanOrEqual(1000);
  });

  test('commands in a minute and channels have limits', async () => {
    const connection = 'limited';
    for (let count = 0; count < 3; count++) expect((await g.ssh(['true'], { connection })).status).toBe(0);
    const fourth = await g.ssh(['true'], { connection });
    expect(fourth).toMatchObject({ status: 126 });
    expect(fourth.stderr).toContain('more than 3 commands in a minute');
  });

  test('a shell is one decision: denied by default, or observed and ended when its time is over', async () => {
    const denied = await g.ssh([], { connection: 'careful', flags: ['-tt'] });
    expect(denied.stderr).toMatch(/denied: .*[Ss]hell/);
    expect(denied.status).toBe(126);
    const shell = g.start([], { connection: 'shell', flags: ['-tt'] });
    await shell.says(/observed, not controlled/);
    shell.child.stdin?.write('echo in-$((40+2))\n');
    await shell.says(/in-42/);
    const { status } = await shell.ended;
    expect(status).toBe(126);
    expect(shell.stderr()).toContain('the time of this shell is over: it was 3 s');
    const events = await g.recorded((event) => event.e === 'command.failed' && event['code'] === 'SPS027');
    expect(events.some((event) => event.e === 'command.received' && event['operation'] === 'Shell')).toBe(true);
  });

  test('ports are forwarded where a rule names them', async () => {
    const echo = net.createServer((socket) => socket.pipe(socket));
    echo.listen(0, '127.0.0.1');
    await once(echo, 'listening');
    const { port } = echo.address() as net.AddressInfo;
    const through = (connection: string): Promise<{ status: number | null; stdout: Buffer; stderr: string }> =>
      runClient(
        'ssh',
        [...g.parameters({ connection, options: ['LogLevel=INFO'] }), '-W', `127.0.0.1:${port}`, '127.0.0.1'],
        { input: 'ping' },
      );
    try {
      expect((await through('forwards')).stdout.toString()).toBe('ping');
      const refused = await through('careful');
      expect(refused.status).not.toBe(0);
      expect(refused.stderr).toContain('sallyport: denied');
    } finally {
      echo.close();
    }
    const events = await g.recorded((event) => event.e === 'command.executed' && event['bytesIn'] === 4);
    expect(events.find((event) => event['operation'] === 'LocalForward' && event['verdict'] === 'Allow')).toMatchObject(
      { destination: `127.0.0.1:${port}`, verdict: 'Allow' },
    );
  });

  test('a forward ends at the limits of its rule', async () => {
    const echo = net.createServer((socket) => socket.pipe(socket).on('error', () => {}));
    echo.listen(0, '127.0.0.2');
    await once(echo, 'listening');
    const { port } = echo.address() as net.AddressInfo;
    const through = (bytes: number): RunningClient => {
      const run = g.start([], { connection: 'forwards', flags: ['-W', `127.0.0.2:${port}`] });
      run.child.stdin?.on('error', () => {});
      run.child.stdin?.write(Buffer.alloc(bytes, 'x'));
      return run;
    };
    try {
      const slow = through(10);
      await slow.ended;
      expect(slow.stdout()).toBe('xxxxxxxxxx');
      await through(20_000).ended;
    } finally {
      echo.close();
    }
    for (const code of ['SPS010', 'SPS011'])
      await g.recorded((event) => event.e === 'command.failed' && event['code'] === code && 'bytesIn' in event);
  });

  test('the target listens for the client where a rule names it', async () => {
    const echo = net.createServer((socket) => socket.pipe(socket));
    echo.listen(0, '127.0.0.1');
    await once(echo, 'listening');
    const { port } = echo.address() as net.AddressInfo;
    const run = g.start(['echo ready; sleep 20'], {
      connection: 'forwards',
      flags: ['-R', `127.0.0.1:0:127.0.0.1:${port}`],
      options: ['LogLevel=INFO', 'ExitOnForwardFailure=yes'],
    });
    try {
      await run.says(/Allocated port \d+/);
      const allocated = Number(/Allocated port (\d+)/.exec(run.stderr())?.[1]);
      const socket = net.connect(allocated, '127.0.0.1');
      socket.write('ping');
      const [answer] = (await once(socket, 'data')) as [Buffer];
      expect(answer.toString()).toBe('ping');
      socket.destroy();
    } finally {
      run.child.kill();
      echo.close();
      await run.ended;
    }
    const refused = await g.ssh(['echo no'], {
      connection: 'careful',
      flags: ['-R', '127.0.0.1:0:127.0.0.1:1'],
      options: ['ExitOnForwardFailure=yes', 'LogLevel=INFO'],
    });
    expect(refused.status).toBe(255);
    expect(refused.stdout.toString()).toBe('');
  });

  test('an agent is forwarded where a rule allows it', async () => {
    const socket = path.join(folder, 'agent.sock');
    const agent = spawn('ssh-agent', ['-D', '-a', socket], { stdio: ['ignore', 'pipe', 'ignore'] });
    try {
      await once(agent.stdout, 'data');
      const options = [`IdentityAgent=${socket}`, 'ForwardAgent=yes'];
      const allowed = await g.ssh(['ssh-add -l'], { connection: 'forwards', options });
      expect(`${allowed.stdout}${allowed.stderr}`).toContain('The agent has no identities');
      const denied = await g.ssh(['echo $SSH_AUTH_SOCK'], { connection: 'host', options });
      expect(denied.stdout.toString().trim()).toBe('');
      expect(denied.stderr).toContain('denied');
    } finally {
      agent.kill();
      await once(agent, 'close');
    }
  });

  test('subsystems nobody named, and users nobody named, are refused', async () => {
    const subsystem = await g.ssh(['netconf'], { connection: 'careful', flags: ['-s'] });
    expect(subsystem.status).toBe(126);
    expect(subsystem.stderr).toContain('denied');
    const user = await g.ssh(['echo no'], { connection: 'careful', user: 'root' });
    expect(user.status).toBe(255);
    expect(user.stderr).toContain('the user root cannot be logged in as');
  });

  test('an observed connection says so, lets pass what would be denied, and records it', async () => {
    const result = await g.ssh(['echo observed'], { connection: 'observed', options: ['LogLevel=INFO'] });
    expect(result.stdout.toString()).toBe('observed\n');
    expect(result.stderr).toContain('this connection is observed');
    const events = await g.recorded((event) => event['text'] === 'echo observed');
    expect(events.find((event) => event['text'] === 'echo observed')).toMatchObject({
      verdict: 'Allow',
      observed: 'Deny',
    });
  });

  test('a token does as a password, and as an answer; a bad one is refused with the reason', async () => {
    const askpass = path.join(folder, 'askpass');
    const { writeFile, chmod } = await import('node:fs/promises');
    await writeFile(askpass, '#!/bin/sh\nprintf %s "$TOKEN"\n');
    await chmod(askpass, 0o755);
    const run = async (
      method: string,
      token: string,
    ): Promise<{ status: number | null; stdout: Buffer; stderr: string }> =>
      runClient(
        'ssh',
        [
          ...g.parameters({
            options: [`PreferredAuthentications=${method}`, 'BatchMode=no', 'NumberOfPasswordPrompts=1'],
          }),
          '127.0.0.1',
          'echo in',
        ],
        { env: { SSH_ASKPASS: askpass, SSH_ASKPASS_REQUIRE: 'force', TOKEN: token, DISPLAY: ':0' } },
      );
    const token = await g.token('agent');
    for (const method of ['password', 'keyboard-interactive'])
      expect((await run(method, token)).stdout.toString()).toBe('in\n');
    expect((await run('password', 'nonsense')).status).toBe(255);
    const stranger = await run('password', await g.token('stranger'));
    expect(stranger.status).toBe(255);
    expect(stranger.stderr).toContain('may not use this connection');
    const events = await g.recorded(
      (event) => event.e === 'session.refused' && String(event['message']).includes('stranger'),
    );
    expect(events.some((event) => event.e === 'session.refused' && String(event['code']).startsWith('SPI'))).toBe(true);
    expect(JSON.stringify(events)).not.toContain(token);
    expect(await readFile(g.knownHosts, 'utf8')).not.toContain(token);
  });

  test('a change of policy is applied to the next command, and ends sessions that have nothing left', async () => {
    const control = path.join(folder, 'changes');
    const shared = { options: [`ControlPath=${control}`, 'ControlMaster=auto', 'ControlPersist=30'] };
    expect((await g.ssh(['echo one'], shared)).status).toBe(0);
    await g.edit('anything.yaml', policy('anything', 'host', ANYTHING.replace('"**", "sh **"', 'id')));
    expect((await g.ssh(['echo two'], shared)).status).toBe(126);
    expect((await g.ssh(['id'], shared)).status).toBe(0);
    const running = g.start(['id; id'], shared);
    await running.ended;
    await g.edit('anything.yaml', policy('anything', 'nothing', ANYTHING));
    const events = await g.recorded(
      (event) => event.e === 'session.end' && String(event['reason']).includes('your access was withdrawn'),
    );
    expect(events.length).toBeGreaterThan(0);
    await g.edit('anything.yaml', RESOURCES['anything.yaml']);
  });
});
