import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Gatekeeper, RequestCall, RequestVerdict } from '../../../proxy/protocols/ssh/bridge/port.ts';
import { startProgram } from '../../support/program.ts';
import { describeWith } from '../../support/requires.ts';
import { gatekeeper, type SshBridge, type SshBridgeOptions, startSshBridge } from '../../support/ssh-bridge.ts';
import { runClient, type Sshd, type SshKey, sshKey, sshParameters, sshServer, startSshd } from '../../support/sshd.ts';

describeWith(sshServer, 'the SSH bridge, with stock clients', () => {
  let folder: string;
  let key: SshKey;
  let sshd: Sshd & AsyncDisposable;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-bridge-'));
    key = await sshKey(path.join(folder, 'id'));
    sshd = await startSshd({ authorizedKeys: [key.publicKey], settings: ['MaxSessions 100'] });
  });
  afterAll(async () => {
    await sshd[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  const bridged = (options: Partial<SshBridgeOptions> = {}) => startSshBridge({ sshd, key, ...options });

  async function parametersFor(bridge: SshBridge, options: readonly string[] = []): Promise<string[]> {
    const knownHostsPath = path.join(folder, `known_hosts_${bridge.port}`);
    await writeFile(knownHostsPath, bridge.knownHosts);
    return sshParameters({ port: bridge.port, knownHostsPath, identity: key.privateKeyPath, options });
  }
  async function run(bridge: SshBridge, command: string, input: Buffer | string = '', options: readonly string[] = []) {
    return await runClient('ssh', [...(await parametersFor(bridge, options)), '127.0.0.1', command], { input });
  }

  const deciding = (decide: (call: RequestCall) => RequestVerdict | Promise<RequestVerdict>): Gatekeeper =>
    gatekeeper({
      request: (call) => (call.request.type === 'exec' ? decide(call) : { verdict: 'forward' }),
    });

  test('exit statuses, signals and standard error are those of the program', async () => {
    await using bridge = await bridged();
    for (const status of [0, 1, 126, 255]) expect((await run(bridge, `exit ${status}`)).status).toBe(status);
    const killed = await run(bridge, 'kill -TERM $$');
    expect([killed.status, killed.stderr]).toEqual([255, '']);
    const both = await run(bridge, 'cat; echo no >&2', 'yes');
    expect([both.stdout.toString(), both.stderr]).toEqual(['yes', 'no\n']);
  });

  test.each([
    ['AES-GCM', ['Ciphers=aes128-gcm@openssh.com']],
    ['AES-CTR with HMAC', ['Ciphers=aes128-ctr', 'MACs=hmac-sha2-256-etm@openssh.com']],
    ['new keys after each megabyte, wished for by the client', ['RekeyLimit=1M']],
  ])('binary data passes both ways at once: %s', async (_name, options) => {
    await using bridge = await bridged();
    const input = Buffer.concat([
      Buffer.from(Array.from({ length: 256 }, (_each, byte) => byte)),
      randomBytes(8 << 20),
    ]);
    const done = await run(bridge, 'cat', input, options);
    expect([done.status, done.stderr]).toEqual([0, '']);
    expect(createHash('sha256').update(done.stdout).digest('hex')).toBe(
      createHash('sha256').update(input).digest('hex'),
    );
  });

  test('new keys after each megabyte, wished for by the gateway on both sides', async () => {
    await using bridge = await bridged({ accept: { rekeyBytes: 1 << 20 }, connect: { rekeyBytes: 1 << 20 } });
    const input = randomBytes(8 << 20);
    const done = await run(bridge, 'cat', input);
    expect([done.status, done.stdout.equals(input)]).toEqual([0, true]);
  });

  test('a command of a hundred and twenty thousand bytes arrives whole', async () => {
    await using bridge = await bridged();
    const long = 'x'.repeat(120_000);
    const done = await run(bridge, `echo ${long} | wc -c`);
    expect(done.stdout.toString()).toBe('120001\n');
  });

  test('who reads no more ends the program on the other side', async () => {
    await using bridge = await bridged();
    const parameters = (await parametersFor(bridge)).map((each) => `'${each}'`).join(' ');
    const done = await runClient('/bin/sh', ['-c', `ssh ${parameters} 127.0.0.1 yes | head -n 1`]);
    expect(done.stdout.toString()).toBe('y\n');
  });

  test('a denial is text and status 126, and the connection lives on', async () => {
    await using bridge = await bridged({
      gatekeeper: deciding(({ request }) =>
        request.type === 'exec' && request.command === 'reboot'
          ? { verdict: 'deny', text: 'not allowed\n' }
          : { verdict: 'forward' },
      ),
    });
    const control = path.join(folder, 'control');
    const shared = [`ControlPath=${control}`];
    const parameters = await parametersFor(bridge, [...shared, 'ControlMaster=yes', 'SetEnv=LANG=C']);
    const master = startProgram('ssh', [...parameters, '127.0.0.1', 'echo up; sleep 1000']);
    await master.printed('up');
    for (let i = 0; i < 3; i++) {
      const denied = await run(bridge, 'reboot', 'input that nobody reads', shared);
      expect([denied.status, denied.stderr, denied.stdout.toString()]).toEqual([126, 'not allowed\n', '']);
      expect((await run(bridge, 'exit 5', '', shared)).status).toBe(5);
    }
    const many = await Promise.all(Array.from({ length: 60 }, (_each, i) => run(bridge, `exit ${i}`, '', shared)));
    expect(many.map(({ status }) => status)).toEqual(Array.from({ length: 60 }, (_each, i) => i));
    expect(bridge.bridges.length).toBe(1);
    // SIGTERM is lost on a master that is just about to wait for its sockets.
    await master.stop('SIGKILL');
    await bridge.bridges[0]?.ended;
  });

  test('a held command says so, and runs with its input when it is released', async () => {
    const held = Promise.withResolvers<RequestCall>();
    const verdict = Promise.withResolvers<RequestVerdict>();
    await using bridge = await bridged({
      gatekeeper: deciding((call) => {
        held.resolve(call);
        return verdict.promise;
      }),
    });
    const done = run(bridge, 'cat; exit 3', 'input');
    (await held.promise).note('waiting for approval\n');
    verdict.resolve({ verdict: 'forward' });
    const { status, stdout, stderr } = await done;
    expect([status, stdout.toString(), stderr]).toEqual([3, 'input', 'waiting for approval\n']);
  });

  test('a client that leaves withdraws what is held', async () => {
    const held = Promise.withResolvers<RequestCall>();
    const withdrawn = Promise.withResolvers<void>();
    await using bridge = await bridged({
      gatekeeper: deciding((call) => {
        call.signal.addEventListener('abort', () => withdrawn.resolve());
        held.resolve(call);
        return withdrawn.promise.then(() => ({ verdict: 'forward' }));
      }),
    });
    const marker = path.join(folder, 'ran');
    const client = startProgram('ssh', [...(await parametersFor(bridge)), '127.0.0.1', `touch ${marker}`]);
    await held.promise;
    await client.stop('SIGINT');
    await withdrawn.promise;
    expect(await bridge.bridges[0]?.ended).toMatchObject({ by: 'client' });
    await expect(readFile(marker)).rejects.toThrow('ENOENT');
  });

  test('a slow observer slows the stream, and sees all of it in order', async () => {
    const hash = createHash('sha256');
    let under = 0;
    let most = 0;
    await using bridge = await bridged({
      gatekeeper: deciding(() => ({
        verdict: 'forward',
        observer: {
          data(piece, from) {
            if (from === 'client') return undefined;
            hash.update(piece);
            most = Math.max(most, ++under);
            return new Promise((resolve) =>
              setImmediate(() => {
                under--;
                resolve();
              }),
            );
          },
        },
      })),
    });
    const done = await run(bridge, 'head -c 4000000 /dev/urandom');
    expect(done.stdout.length).toBe(4_000_000);
    expect(hash.digest('hex')).toBe(createHash('sha256').update(done.stdout).digest('hex'));
    // What one read from the socket brings.
    expect(most).toBeLessThanOrEqual(64);
  });

  test('the owner of a channel changes what passes, with the exit status behind it', async () => {
    await using bridge = await bridged({
      gatekeeper: deciding(() => ({
        verdict: 'forward',
        own: (outlet) => ({
          data: (piece, from, stream) =>
            outlet.send(
              from === 'client' ? 'target' : 'client',
              stream,
              Buffer.from(piece.toString('latin1').toUpperCase(), 'latin1'),
            ),
          end: (from) => (from === 'target' ? outlet.send('client', 'data', Buffer.from('the end\n')) : undefined),
        }),
      })),
    });
    const input = 'abc\n'.repeat(1_000_000);
    const done = await run(bridge, 'cat; echo oops >&2; exit 9', input);
    expect([done.status, done.stderr]).toEqual([9, 'OOPS\n']);
    expect(done.stdout.toString() === `${'ABC\n'.repeat(1_000_000)}the end\n`).toBe(true);
  });

  test('an owner may end its channel', async () => {
    await using bridge = await bridged({
      gatekeeper: deciding(() => ({
        verdict: 'forward',
        own: (outlet) => ({
          data: (_piece, from) => (from === 'target' ? outlet.abort('enough\n', 77) : undefined),
        }),
      })),
    });
    const done = await run(bridge, 'yes');
    expect([done.status, done.stderr, done.stdout.length]).toEqual([77, 'enough\n', 0]);
  });

  test('a deferred session gets a connection of its own when its command runs', async () => {
    const running: { bridge?: SshBridge } = {};
    await using bridge = await bridged({
      detached: true,
      gatekeeper: gatekeeper({
        openChannel: () => ({ verdict: 'defer' }),
        async request({ request }) {
          if (request.type !== 'exec') return { verdict: 'forward' };
          if (request.command === 'no') return { verdict: 'deny', text: 'no\n' };
          const via = await running.bridge?.connect('deploy');
          return via === undefined ? { verdict: 'fail' } : { verdict: 'forward', via };
        },
      }),
    });
    running.bridge = bridge;
    const done = await run(bridge, 'cat; exit 4', 'input', ['SetEnv=LANG=C']);
    expect([done.status, done.stdout.toString(), done.stderr]).toEqual([4, 'input', '']);
    expect((await run(bridge, 'no')).status).toBe(126);
    const terminal = await run(bridge, 'tty; stty size', '', ['RequestTTY=force']);
    expect(terminal.stdout.toString()).toMatch(/^\/dev\/pts\/\d+\r\n\d+ \d+\r\n$/);
  });

  test('one behind the other, and as many at once as the target takes, no fewer', async () => {
    await using two = await startSshd({ authorizedKeys: [key.publicKey], settings: ['MaxSessions 2'] });
    await using bridge = await bridged({ sshd: two });
    const shared = [`ControlPath=${path.join(folder, 'two')}`];
    const parameters = await parametersFor(bridge, [...shared, 'ControlMaster=yes']);
    const master = startProgram('ssh', [...parameters, '127.0.0.1', 'echo up; sleep 1000']);
    await master.printed('up');
    for (let i = 0; i < 6; i++) {
      const done = await run(bridge, `cat; exit ${i}`, `input ${i}`, shared);
      expect([done.status, done.stdout.toString(), done.stderr]).toEqual([i, `input ${i}`, '']);
    }
    // Who gets no session of the shared connection makes another.
    expect(bridge.bridges.length).toBe(1);
    await master.stop('SIGKILL');
    await bridge.bridges[0]?.ended;
  });

  test('forwarded ports, in both directions', async () => {
    await using bridge = await bridged();
    const parameters = await parametersFor(bridge);
    // The target's own port, through the client's standard streams.
    const jump = await runClient('ssh', [...parameters, '-W', `127.0.0.1:${sshd.port}`, '127.0.0.1'], {
      input: 'x\r\n',
    });
    expect(jump.stdout.toString()).toMatch(/^SSH-2.0-OpenSSH/);
    const back = await runClient('ssh', [
      ...[...parameters, '-o', 'ExitOnForwardFailure=yes', '-R', `0:127.0.0.1:${sshd.port}`, '127.0.0.1'],
      'true',
    ]);
    expect(back.status).toBe(0);
  });

  test('limits: channels, and bytes of a connection', async () => {
    await using few = await bridged({ limits: { channels: 0 } });
    expect((await run(few, 'true', '', ['LogLevel=INFO'])).stderr).toContain('no more than 0 channels at once');
    await using little = await bridged({ limits: { channels: 10, bytes: 100_000 } });
    const done = await run(little, 'cat', randomBytes(1_000_000));
    expect(done.status).toBe(255);
    expect(done.stderr).toContain('no more than 100000 bytes in one connection');
    expect(await little.bridges[0]?.ended).toMatchObject({ by: 'gateway' });
  });

  test('a target that dies takes its clients with it', async () => {
    await using mortal = await startSshd({ authorizedKeys: [key.publicKey] });
    await using bridge = await bridged({ sshd: mortal });
    const client = startProgram('ssh', [...(await parametersFor(bridge)), '127.0.0.1', 'echo up; sleep 1000']);
    await client.printed('up');
    await mortal.stop('SIGKILL');
    expect(await bridge.bridges[0]?.ended).toMatchObject({ by: 'target' });
    await client.printed('the target closed the connection');
    await client.stop();
  });
});
