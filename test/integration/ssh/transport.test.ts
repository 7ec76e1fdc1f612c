import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parsePrivateKey } from '../../../certificate/openssh/private-key.ts';
import { dialWire } from '../../../proxy/listener/wire.ts';
import type { SshCredential } from '../../../proxy/ports.ts';
import type { AuthAttempt } from '../../../proxy/protocols/ssh/auth/port.ts';
import { connectTarget } from '../../../proxy/protocols/ssh/transport/connect.ts';
import type { ConnectOptions, PinnedHostKey, TargetFailure } from '../../../proxy/protocols/ssh/transport/port.ts';
import { describeWith } from '../../support/requires.ts';
import { anyKey, type SshBridgeOptions, somebody, startSshBridge } from '../../support/ssh-bridge.ts';
import {
  type HostKeyType,
  runClient,
  type Sshd,
  type SshKey,
  sshKey,
  sshParameters,
  sshServer,
  startSshd,
} from '../../support/sshd.ts';

const runFile = promisify(execFile);
const never = new AbortController().signal;
const TYPES: readonly HostKeyType[] = ['ed25519', 'ecdsa', 'rsa'];

describeWith(sshServer, 'the SSH transport', () => {
  let folder: string;
  let sshd: Sshd & AsyncDisposable;
  const keys = {} as Record<HostKeyType, SshKey>;
  let userAuthority: SshKey;
  let hostAuthority: SshKey;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-transport-'));
    for (const type of TYPES) keys[type] = await sshKey(path.join(folder, `id_${type}`), type);
    userAuthority = await sshKey(path.join(folder, 'user_ca'));
    hostAuthority = await sshKey(path.join(folder, 'host_ca'));
    sshd = await startSshd({
      authorizedKeys: TYPES.map((type) => keys[type].publicKey),
      trustedUserCas: [userAuthority.publicKey],
      hostKeys: TYPES,
      hostAuthority: { privateKeyPath: hostAuthority.privateKeyPath, principals: ['target.test'] },
      password: true,
    });
  });
  afterAll(async () => {
    await sshd[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  /** A user certificate beside the key, as ssh finds it; the blob. */
  async function certify(key: SshKey, principals: string, ...more: string[]): Promise<Buffer> {
    const sign = ['-q', '-s', userAuthority.privateKeyPath, '-I', 'agent', '-n', principals, '-V', '-1m:+5m', ...more];
    await runFile('ssh-keygen', [...sign, `${key.privateKeyPath}.pub`]);
    const line = await readFile(`${key.privateKeyPath}-cert.pub`, 'utf8');
    return Buffer.from(line.split(' ')[1] ?? '', 'base64');
  }

  // ---- The leg to the client

  const bridged = (options: Partial<SshBridgeOptions> = {}) =>
    startSshBridge({ sshd, key: keys.ed25519, connect: { hostKeys: pins('ed25519') }, ...options });

  async function signIn(
    bridge: { readonly port: number; readonly knownHosts: string },
    options: {
      readonly key?: SshKey;
      readonly options?: readonly string[];
      readonly knownHosts?: string;
      readonly env?: NodeJS.ProcessEnv;
    } = {},
  ) {
    const knownHostsPath = path.join(folder, `known_hosts_${bridge.port}`);
    await writeFile(knownHostsPath, options.knownHosts ?? bridge.knownHosts);
    const client = { port: bridge.port, knownHostsPath, identity: (options.key ?? keys.ed25519).privateKeyPath };
    const parameters = sshParameters({ ...client, options: options.options ?? [] });
    return await runClient('ssh', [...parameters, '127.0.0.1', 'exit 42'], { env: options.env ?? {} });
  }

  test('a host certificate spares clients the trust on first use, and every host key can be asked for', async () => {
    const hostKeys = await Promise.all(
      TYPES.map(async (type) => {
        const key = await sshKey(path.join(folder, `gateway_${type}`), type);
        const sign = ['-q', '-s', hostAuthority.privateKeyPath, '-I', 'gateway', '-h', '-n', '127.0.0.1'];
        await runFile('ssh-keygen', [...sign, `${key.privateKeyPath}.pub`]);
        const line = await readFile(`${key.privateKeyPath}-cert.pub`, 'utf8');
        return { key, privateKey: key.privateKey, certificate: Buffer.from(line.split(' ')[1] ?? '', 'base64') };
      }),
    );
    await using bridge = await bridged({ accept: { hostKeys } });
    const knownHosts = `@cert-authority * ${hostAuthority.publicKey}\n`;
    for (const algorithm of ['ssh-ed25519', 'ecdsa-sha2-nistp256', 'rsa-sha2-512', 'rsa-sha2-256']) {
      const options = [`HostKeyAlgorithms=${algorithm}-cert-v01@openssh.com`];
      const done = await signIn(bridge, { knownHosts, options });
      expect([algorithm, done.status, done.stderr]).toEqual([algorithm, 42, '']);
      const plain = hostKeys.map(({ key }) => `[127.0.0.1]:${bridge.port} ${key.publicKey}\n`).join('');
      const pinned = await signIn(bridge, { knownHosts: plain, options: [`HostKeyAlgorithms=${algorithm}`] });
      expect([algorithm, pinned.status, pinned.stderr]).toEqual([algorithm, 42, '']);
    }
  });

  test.each([
    'curve25519-sha256',
    'ecdh-sha2-nistp256',
    'ecdh-sha2-nistp384',
    'ecdh-sha2-nistp521',
    'diffie-hellman-group14-sha256',
    'diffie-hellman-group16-sha512',
  ])('keys are agreed on by %s', async (method) => {
    await using bridge = await bridged();
    expect((await signIn(bridge, { options: [`KexAlgorithms=${method}`] })).status).toBe(42);
  });

  test('keys of each type and certificates sign in, with the algorithm that was used', async () => {
    const attempts: AuthAttempt[] = [];
    await using bridge = await bridged({
      accept: {
        authenticate(attempt) {
          attempts.push(attempt);
          return anyKey(attempt);
        },
      },
    });
    for (const type of TYPES) {
      expect((await signIn(bridge, { key: keys[type] })).status).toBe(42);
      const last = attempts.at(-1);
      expect(last).toMatchObject({ username: 'deploy', verified: true, key: keys[type].blob });
      expect(last?.method === 'publickey' && last.algorithm).toBe(
        { ed25519: 'ssh-ed25519', ecdsa: 'ecdsa-sha2-nistp256', rsa: 'rsa-sha2-512' }[type],
      );
    }
    const certificate = await certify(keys.rsa, 'deploy');
    const only = ['PubkeyAcceptedAlgorithms=rsa-sha2-512-cert-v01@openssh.com'];
    expect((await signIn(bridge, { key: keys.rsa, options: only })).status).toBe(42);
    const last = attempts.at(-1);
    expect(last).toMatchObject({ algorithm: 'rsa-sha2-512-cert-v01@openssh.com', verified: true });
    expect(last?.method === 'publickey' && last.key.equals(certificate)).toBe(true);
    await rm(`${keys.rsa.privateKeyPath}-cert.pub`);
  });

  test('a token comes as password, or as the answers to one question or two', async () => {
    const program = path.join(folder, 'askpass');
    await writeFile(program, '#!/bin/sh\nprintf %s\\\\n "$1" >>"$0.log"; echo "secret"\n');
    await chmod(program, 0o755);
    const env = { SSH_ASKPASS: program, SSH_ASKPASS_REQUIRE: 'force' };
    const answers: string[] = [];
    await using bridge = await bridged({
      accept: {
        methods: ['keyboard-interactive', 'password'],
        async authenticate(attempt) {
          if (attempt.method === 'password' && attempt.password === 'secret')
            return { accepted: somebody, method: 'password' };
          if (attempt.method === 'keyboard-interactive') {
            answers.push(...attempt.answers);
            if (answers.length < 2) return { more: 'The rest: ' };
            return { accepted: somebody, method: 'keyboard-interactive' };
          }
          return { rejected: 'no', error: new Error('no') };
        },
      },
    });
    const asked = (method: string) => ['BatchMode=no', `PreferredAuthentications=${method}`];
    expect((await signIn(bridge, { options: asked('password'), env })).status).toBe(42);
    expect((await signIn(bridge, { options: asked('keyboard-interactive'), env })).status).toBe(42);
    expect(answers).toEqual(['secret', 'secret']);
    expect(await readFile(`${program}.log`, 'utf8')).toMatch(/Token: \n.*The rest: \n/s);
  });

  test('attempts and the time to sign in have limits, and both say so', async () => {
    await using bridge = await bridged({
      accept: { maxAttempts: 1, authenticate: async () => ({ rejected: 'no', error: new Error('unknown key') }) },
    });
    expect((await signIn(bridge)).stderr).toContain('too many failed attempts');
    expect(bridge.failures.at(-1)).toMatchObject({
      code: 'attempts',
      rejected: [{ message: 'unknown key' }, { message: 'unknown key' }],
    });

    await using slow = await bridged({ accept: { loginGraceMs: 200 } });
    const socket = net.connect(slow.port, '127.0.0.1');
    // Half a version, and nothing more: a client that only holds the door.
    socket.write('SSH-2.0-');
    socket.resume();
    await once(socket, 'close');
    expect(slow.failures.at(-1)).toMatchObject({ code: 'timeout' });
  });

  // ---- The leg to the target

  const pins = (...types: HostKeyType[]): PinnedHostKey[] =>
    types.map((type) => ({ type: 'key', key: sshd.hostKeys[TYPES.indexOf(type)]!.blob }));

  async function connect(credential: SshCredential, more: Partial<ConnectOptions> = {}): Promise<string> {
    const layer = await connectTarget(await dialWire({ host: sshd.host, port: sshd.port }, never), {
      hostKeys: pins('ed25519'),
      hostNames: ['target.test'],
      credential,
      timeoutMs: 30_000,
      signal: never,
      ...more,
    });
    layer.disconnect(11, 'bye');
    return layer.peerVersion;
  }
  const failure = (promise: Promise<unknown>): Promise<TargetFailure> =>
    promise.then(
      () => Promise.reject(new Error('it worked')),
      (error: TargetFailure) => error,
    );
  const withKey = (type: HostKeyType): SshCredential => ({
    type: 'key',
    username: 'deploy',
    privateKey: parsePrivateKey(keys[type].privateKey),
  });

  test('signs in with keys of each type, certificates, and passwords', async () => {
    for (const type of TYPES) expect(await connect(withKey(type))).toContain('OpenSSH');
    for (const type of TYPES) {
      const certificate = await certify(keys[type], 'deploy');
      await connect({ ...withKey(type), type: 'certificate', certificate } as SshCredential);
      await rm(`${keys[type].privateKeyPath}-cert.pub`);
      await sshd.logged(/Accepted publickey for deploy .* (ED25519|ECDSA|RSA)-CERT .* ID agent/);
    }
    const { login } = sshd;
    if (login === undefined) throw new Error('no login');
    await connect({ type: 'password', ...login });
    const refused = await failure(connect({ type: 'password', username: login.username, password: 'wrong' }));
    expect([refused.code, refused.message]).toEqual([
      'authentication',
      expect.stringContaining('refused the password'),
    ]);
    const wrong = await certify(keys.ecdsa, 'somebody-else');
    await rm(`${keys.ecdsa.privateKeyPath}-cert.pub`);
    expect(
      await failure(connect({ ...withKey('ecdsa'), type: 'certificate', certificate: wrong } as SshCredential)),
    ).toMatchObject({ code: 'authentication' });
  });

  test('only a target with a pinned key or a certificate of a pinned authority is signed in to', async () => {
    for (const type of TYPES) await connect(withKey('ed25519'), { hostKeys: pins(type) });
    const authority: PinnedHostKey = { type: 'authority', key: hostAuthority.blob };
    await connect(withKey('ed25519'), { hostKeys: [authority] });
    const cases: [Partial<ConnectOptions>, string][] = [
      [{ hostKeys: [] }, 'no host key is pinned'],
      [{ hostKeys: [{ type: 'key', key: keys.ed25519.blob }] }, 'not one of those pinned'],
      [{ hostKeys: [authority], hostNames: ['other.test'] }, 'is for none of other.test'],
      [{ hostKeys: [{ type: 'authority', key: userAuthority.blob }] }, 'authority that is not trusted'],
      [{ hostKeys: [authority], now: () => Date.now() + 86_400_000 }, 'not valid any more'],
    ];
    for (const [options, text] of cases) {
      const error = await failure(connect(withKey('ed25519'), options));
      expect([error.code, error.message]).toEqual(['host-key', expect.stringContaining(text)]);
    }
    await using plain = await startSshd({ authorizedKeys: [keys.ed25519.publicKey] });
    const error = await failure(
      connectTarget(await dialWire({ host: plain.host, port: plain.port }, never), {
        hostKeys: [authority],
        hostNames: ['target.test'],
        credential: withKey('ed25519'),
        timeoutMs: 30_000,
        signal: never,
      }),
    );
    expect([error.code, error.message]).toEqual(['host-key', 'it has no host key of a type that is pinned']);
  });

  test('a target that says nothing, or something else, is given up', async () => {
    const silent = net.createServer((socket) => socket.resume()).listen(0, '127.0.0.1');
    const other = net
      .createServer((socket) => socket.on('error', () => {}).end('HTTP/1.1 400 Bad Request\r\n\r\n'))
      .listen(0, '127.0.0.1');
    await Promise.all([silent, other].map((server) => (server.listening ? undefined : once(server, 'listening'))));
    const to = async (server: net.Server, timeoutMs: number) =>
      await failure(
        connectTarget(await dialWire({ host: '127.0.0.1', port: (server.address() as net.AddressInfo).port }, never), {
          hostKeys: pins('ed25519'),
          hostNames: [],
          credential: withKey('ed25519'),
          timeoutMs,
          signal: never,
        }),
      );
    expect((await to(silent, 200)).code).toBe('timeout');
    expect((await to(other, 30_000)).code).toBe('closed');
    silent.close();
    other.close();
  });

  // ---- Terrapin (CVE-2023-48795): messages put in before the keys hide that others behind them were taken out

  /** SSH_MSG_IGNORE with nothing in it, as a plain packet. */
  const IGNORE = Buffer.from('0000000c0602000000000000000000000000'.slice(0, 32), 'hex');

  /** Passes everything on, and puts a message in behind the first packet from one side. */
  async function startManInTheMiddle(to: number, into: 'server' | 'client'): Promise<{ port: number; close(): void }> {
    const server = net.createServer((client) => {
      const upstream = net.connect(to, '127.0.0.1');
      const inject = (from: net.Socket, towards: net.Socket): void => {
        let seen = Buffer.alloc(0);
        let done = false;
        from.on('data', (chunk: Buffer) => {
          if (done) return void towards.write(chunk);
          seen = Buffer.concat([seen, chunk]);
          const line = seen.indexOf('\n') + 1;
          if (line === 0 || seen.length < line + 4) return;
          const end = line + 4 + seen.readUInt32BE(line);
          if (seen.length < end) return;
          done = true;
          towards.write(Buffer.concat([seen.subarray(0, end), IGNORE, seen.subarray(end)]));
        });
      };
      const pass = (from: net.Socket, towards: net.Socket): void =>
        void from.on('data', (chunk) => towards.write(chunk));
      if (into === 'server') {
        inject(client, upstream);
        pass(upstream, client);
      } else {
        inject(upstream, client);
        pass(client, upstream);
      }
      for (const [one, two] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        one.on('error', () => two.destroy());
        one.on('close', () => two.end());
      }
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return { port: (server.address() as net.AddressInfo).port, close: () => server.close() };
  }

  test('a message put in before the keys ends the connection, on both legs', async () => {
    await using bridge = await bridged();
    const before = await startManInTheMiddle(bridge.port, 'server');
    const done = await signIn(
      { ...bridge, port: before.port },
      { knownHosts: bridge.knownHosts.replace(String(bridge.port), String(before.port)) },
    );
    expect(done.status).toBe(255);
    expect(bridge.failures.at(-1)).toMatchObject({ code: 'protocol' });
    before.close();

    const behind = await startManInTheMiddle(sshd.port, 'client');
    const error = await failure(
      connectTarget(await dialWire({ host: '127.0.0.1', port: behind.port }, never), {
        hostKeys: pins('ed25519'),
        hostNames: [],
        credential: withKey('ed25519'),
        timeoutMs: 30_000,
        signal: never,
      }),
    );
    expect([error.code, error.message]).toEqual(['protocol', 'Received unexpected packet type 2']);
    behind.close();
  });
});
