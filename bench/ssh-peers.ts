/** What the SSH lane is compared with: the server itself, a second server that clients jump over, and Sallyport before it. */
import { spawn } from 'node:child_process';
import { open, readFile, writeFile } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import { Client } from 'ssh2';
import { freePort, listening } from '../test/support/program.ts';
import { type SshGround, startSshGround } from '../test/support/ssh-ground.ts';
import { type Sshd, sshKey, startSshd } from '../test/support/sshd.ts';

export const SSH_PEERS = ['direct', 'jump', 'sallyport', 'masking'] as const;
export type SshPeerName = (typeof SSH_PEERS)[number];

/** All clients and servers use the cipher that is fastest for each of them, whatever they would rather have. */
const CIPHER = 'aes128-gcm@openssh.com';
/** The same for all of them: what OpenSSH would rather have takes it a hundred milliseconds more, and Sallyport does not have it. */
const KEY_EXCHANGE = 'curve25519-sha256';
const USER = 'deploy';

export interface SshPeer {
  readonly name: SshPeerName;
  /** Parameters of stock `ssh`, the host last. */
  readonly parameters: readonly string[];
  /** A signed-in client that runs in this process: it costs each peer the same. */
  connect(): Promise<Client>;
  /** Process that stands between; undefined where none does. */
  readonly pid: number | undefined;
}

export interface SshBench extends AsyncDisposable {
  readonly peers: readonly SshPeer[];
  /** On the target, and here: text, as logs have it. */
  file(megabytes: number): string;
  readonly ground: SshGround;
}

const POLICY = `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: everything-measured}
spec:
  connections: {all: true}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
    - name: commands
      effect: Allow
      ssh: {operations: [Exec], loginUsers: [${USER}], commands: ["cat **", "wc **", "true"]}
`;

const MASKING = `apiVersion: sallyport.dev/v1alpha1
kind: MaskingRule
metadata: {name: secrets}
spec:
  connections: {selector: {matchLabels: {name: masking}}}
  content:
    - detectors: [CreditCard, PrivateKey, JWT]
    - pattern: "EMP-[0-9]{6}"
      transform: {redact: {with: "[employee]"}}
`;

const MEGABYTE = 2 ** 20;

/** Lines as a log has them, with something to mask now and then: a whole megabyte. */
function logText(): Buffer {
  let text = '';
  for (let i = 0; text.length < MEGABYTE; i++) {
    const level = i % 7 === 0 ? 'WARN' : 'INFO';
    text += `2026-11-26T12:00:${String(i % 60).padStart(2, '0')}Z ${level} request ${(i * 7919).toString(36)} served in ${i % 900} ms\n`;
    if (i % 1000 === 0) text += `by EMP-${String(i % 1_000_000).padStart(6, '0')}\n`;
  }
  return Buffer.from(text, 'latin1').subarray(0, MEGABYTE);
}

/** The same megabyte over and over. */
async function writeLog(file: string, megabytes: number): Promise<void> {
  const piece = logText();
  await using handle = await open(file, 'w', 0o644);
  for (let i = 0; i < megabytes; i++) await handle.write(piece);
}

function signIn(client: Client, how: net.TcpNetConnectOpts, privateKey: string): Promise<Client> {
  return new Promise((resolve, reject) => {
    client.once('ready', () => resolve(client)).once('error', reject);
    // As stock ssh has its socket: an exec would otherwise wait twice for acknowledgements that are held back for 40 ms.
    const sock = net.connect({ ...how, noDelay: true });
    // Whom it talks to is not what is measured.
    client.connect({
      sock,
      username: USER,
      privateKey,
      algorithms: { cipher: [CIPHER], kex: [KEY_EXCHANGE] },
      readyTimeout: 120_000,
    });
  });
}

/** @param sizes of the files, in megabytes */
export async function startSshBench(sizes: readonly number[]): Promise<SshBench> {
  await using cleanup = new AsyncDisposableStack();
  const limits = 'limits: {maxChannels: 300}';
  const ground = cleanup.use(
    await startSshGround({
      connections: { sallyport: limits, masking: limits },
      resources: { 'policy.yaml': POLICY, 'masking.yaml': MASKING },
    }),
  );
  const key = await sshKey(path.join(ground.folder, 'bench'));
  const options = { authorizedKeys: [key.publicKey], settings: ['MaxSessions 300', 'MaxStartups 500'] };
  // The ground's own server lets certificates of the gateway in, and this one the client's key: the same program, twice.
  const direct = cleanup.use(await startSshd(options));
  const jump = cleanup.use(await startSshd(options));
  const file = (megabytes: number): string => path.join(direct.folder, `log-${megabytes}`);
  for (const megabytes of sizes) await writeLog(file(megabytes), megabytes);

  const entry = (name: string, port: number, identity: string, more: readonly string[] = []): string =>
    [
      `Host ${name}`,
      '  HostName 127.0.0.1',
      `  Port ${port}`,
      `  User ${USER}`,
      `  IdentityFile ${identity}`,
      ...more.map((line) => `  ${line}`),
      '',
    ].join('\n');
  const known = path.join(ground.folder, 'bench_known_hosts');
  await writeFile(known, direct.knownHosts + jump.knownHosts + (await readFile(ground.knownHosts, 'utf8')));
  const common = [
    'IdentitiesOnly yes',
    'IdentityAgent none',
    'BatchMode yes',
    'GlobalKnownHostsFile /dev/null',
    `UserKnownHostsFile ${known}`,
    `Ciphers ${CIPHER}`,
    `KexAlgorithms ${KEY_EXCHANGE}`,
    'LogLevel ERROR',
  ];
  const configuration = path.join(ground.folder, 'ssh_config');
  await writeFile(
    configuration,
    [
      entry('direct', direct.port, key.privateKeyPath),
      entry('over', jump.port, key.privateKeyPath),
      entry('jump', direct.port, key.privateKeyPath, ['ProxyJump over']),
      entry('sallyport', ground.port('sallyport'), ground.keys.agent.privateKeyPath),
      entry('masking', ground.port('masking'), ground.keys.agent.privateKeyPath),
      'Host *',
      ...common.map((line) => `  ${line}`),
      '',
    ].join('\n'),
  );
  /** The way of `ssh -J`, with a port of this machine at its near end: clients of this process cannot be handed a pipe. */
  const near = await freePort();
  const tunnel = spawn(
    'ssh',
    [
      '-F',
      configuration,
      '-N',
      '-o',
      'ExitOnForwardFailure=yes',
      '-L',
      `127.0.0.1:${near}:127.0.0.1:${direct.port}`,
      'over',
    ],
    { stdio: 'ignore' },
  );
  cleanup.defer(() => void tunnel.kill());
  await listening(near, 60_000);
  const port = (server: Sshd | number): net.TcpNetConnectOpts => ({
    host: '127.0.0.1',
    port: typeof server === 'number' ? server : server.port,
  });
  const ways: Record<SshPeerName, { how: () => net.TcpNetConnectOpts; key: string; pid: number | undefined }> = {
    direct: { how: () => port(direct), key: key.privateKey, pid: undefined },
    jump: { how: () => port(near), key: key.privateKey, pid: jump.pid },
    sallyport: {
      how: () => port(ground.port('sallyport')),
      key: ground.keys.agent.privateKey,
      pid: ground.gateway.pid,
    },
    masking: { how: () => port(ground.port('masking')), key: ground.keys.agent.privateKey, pid: ground.gateway.pid },
  };
  const owned = cleanup.move();
  return {
    ground,
    file,
    peers: SSH_PEERS.map((name) => ({
      name,
      parameters: ['-F', configuration, name],
      pid: ways[name].pid,
      connect: () => signIn(new Client(), ways[name].how(), ways[name].key),
    })),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Runs a command on an open connection to its end. @throws when it ends with another status than 0 */
export function runOn(client: Client, command: string): Promise<void> {
  return new Promise((resolve, reject) => {
    client.exec(command, (error, channel) => {
      if (error !== undefined) return reject(error);
      // Listened to at once: all of it may have come together.
      let ended: number | null = null;
      channel.resume();
      channel.stderr.resume();
      channel.once('exit', (status: number | null) => {
        ended = status;
      });
      channel.once('close', () => (ended === 0 ? resolve() : reject(new Error(`${command} ended with ${ended}`))));
    });
  });
}
