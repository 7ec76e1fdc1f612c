/** Transport and bridge of the SSH lane between real sockets, without the lane: for what belongs to them alone. */
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { parsePrivateKey } from '../../certificate/openssh/private-key.ts';
import { formatPublicKey, publicKeyOf } from '../../certificate/openssh/public-key.ts';
import { acceptWire, dialWire } from '../../proxy/listener/wire.ts';
import type { VerifiedIdentity } from '../../proxy/ports.ts';
import type { AuthAttempt, AuthOutcome } from '../../proxy/protocols/ssh/auth/port.ts';
import { createBridge } from '../../proxy/protocols/ssh/bridge/bridge.ts';
import type { Bridge, BridgeLimits, Gatekeeper } from '../../proxy/protocols/ssh/bridge/port.ts';
import { acceptClient } from '../../proxy/protocols/ssh/transport/accept.ts';
import { connectTarget } from '../../proxy/protocols/ssh/transport/connect.ts';
import type { AcceptOptions, ConnectionLayer, ConnectOptions } from '../../proxy/protocols/ssh/transport/port.ts';
import type { Sshd, SshKey } from './sshd.ts';

/** Nobody in particular: these tests are not about who it is. */
export const somebody = { subject: { username: 'agent' } } as unknown as VerifiedIdentity;

/** Lets any key in whose holder signs. */
export function anyKey(attempt: AuthAttempt): Promise<AuthOutcome> {
  if (attempt.method !== 'publickey') return Promise.resolve({ rejected: 'a key, please', error: new Error('no key') });
  return Promise.resolve(attempt.verified ? { accepted: somebody, method: 'publickey' } : { acceptable: true });
}

/** Forwards everything but what the test decides itself. */
export const gatekeeper = (own: Partial<Gatekeeper> = {}): Gatekeeper => ({
  openChannel: () => ({ verdict: 'forward' }),
  request: () => ({ verdict: 'forward' }),
  globalRequest: () => ({ verdict: 'forward' }),
  channelClosed: () => {},
  ...own,
});

export interface SshBridgeOptions {
  readonly sshd: Sshd;
  /** Signs in to the target. */
  readonly key: SshKey;
  readonly gatekeeper?: Gatekeeper;
  readonly limits?: BridgeLimits;
  readonly accept?: Partial<AcceptOptions>;
  readonly connect?: Partial<ConnectOptions>;
  /** Without a connection to the target for the whole client: channels have to be deferred. */
  readonly detached?: boolean;
}

export interface SshBridge {
  readonly port: number;
  /** Line of known_hosts. */
  readonly knownHosts: string;
  readonly bridges: Bridge[];
  /** What went wrong before there was a bridge. */
  readonly failures: Error[];
  /** Another connection to the target. */
  connect(username: string): Promise<ConnectionLayer>;
}

export async function startSshBridge(options: SshBridgeOptions): Promise<SshBridge & AsyncDisposable> {
  const hostKey = generateKeyPairSync('ed25519').privateKey;
  const stop = new AbortController();
  const bridges: Bridge[] = [];
  const failures: Error[] = [];
  const { sshd } = options;

  const connect = async (username: string, clientVersion?: string): Promise<ConnectionLayer> =>
    connectTarget(await dialWire({ host: sshd.host, port: sshd.port }, stop.signal), {
      hostKeys: sshd.hostKeys.map(({ blob }) => ({ type: 'key', key: blob })),
      hostNames: [sshd.host],
      credential: { type: 'key', username, privateKey: parsePrivateKey(options.key.privateKey) },
      timeoutMs: 30_000,
      signal: stop.signal,
      ...(clientVersion === undefined ? {} : { clientVersion }),
      ...options.connect,
    });

  const serve = async (socket: net.Socket): Promise<void> => {
    try {
      const client = await acceptClient(acceptWire(socket), {
        hostKeys: [{ privateKey: hostKey }],
        methods: ['publickey'],
        authenticate: anyKey,
        loginGraceMs: 60_000,
        maxAttempts: 6,
        signal: stop.signal,
        ...options.accept,
      });
      const target = options.detached === true ? undefined : await connect(client.username, client.clientVersion);
      client.finish();
      const limits = options.limits ?? { channels: 300 };
      bridges.push(
        createBridge({ client: client.layer, target, gatekeeper: options.gatekeeper ?? gatekeeper(), limits }),
      );
    } catch (error) {
      failures.push(error instanceof Error ? error : new Error(String(error)));
    }
  };
  const server = net.createServer({ pauseOnConnect: true, noDelay: true }, (socket) => void serve(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  return {
    port,
    knownHosts: `[127.0.0.1]:${port} ${formatPublicKey(publicKeyOf(hostKey))}\n`,
    bridges,
    failures,
    connect: (username) => connect(username),
    async [Symbol.asyncDispose]() {
      stop.abort();
      for (const bridge of bridges) bridge.end('the test is over');
      await Promise.all(bridges.map(({ ended }) => ended));
      server.close();
    },
  };
}
