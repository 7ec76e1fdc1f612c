import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { publicKeyOf } from '../../../certificate/openssh/public-key.ts';
import { string, uint32 } from '../../../certificate/openssh/wire.ts';
import { acceptWire, dialWire } from '../../../proxy/listener/wire.ts';
import { createBridge } from '../../../proxy/protocols/ssh/bridge/bridge.ts';
import {
  dataMessage,
  Message,
  numbers,
  openFailure,
  openSession,
  readOpen,
} from '../../../proxy/protocols/ssh/bridge/messages.ts';
import type { Bridge, Gatekeeper, OwnChannel } from '../../../proxy/protocols/ssh/bridge/port.ts';
import { acceptClient } from '../../../proxy/protocols/ssh/transport/accept.ts';
import { connectTarget } from '../../../proxy/protocols/ssh/transport/connect.ts';
import type { ConnectionLayer } from '../../../proxy/protocols/ssh/transport/port.ts';
import { PeerDisconnect, startTransport, type Transport } from '../../../proxy/protocols/ssh/transport/transport.ts';
import { anyKey, gatekeeper } from '../../support/ssh-bridge.ts';

/** Peers that speak the transport well and then do as they like, on both sides of a bridge. No programs are needed. */

const never = new AbortController().signal;
const hostKey = generateKeyPairSync('ed25519').privateKey;
const hostBlob = publicKeyOf(hostKey).blob;
const userKey = generateKeyPairSync('ed25519').privateKey;
const closings: (() => void)[] = [];

async function listen(serve: (socket: net.Socket) => void): Promise<number> {
  const server = net.createServer({ pauseOnConnect: true, noDelay: true }, serve).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closings.push(() => server.close());
  return (server.address() as net.AddressInfo).port;
}

/** One end of ours that is signed in: the client's or the target's. */
interface Peer {
  readonly layer: ConnectionLayer;
  readonly received: Buffer[];
  /** The next message with the number. */
  next(type: number): Promise<Buffer>;
}

function peer(layer: ConnectionLayer): Peer {
  const received: Buffer[] = [];
  const waiting = new Map<number, (payload: Buffer) => void>();
  layer.onPayload((payload) => {
    const type = payload[0] ?? 0;
    const waiter = waiting.get(type);
    waiting.delete(type);
    if (waiter === undefined) received.push(payload);
    else waiter(payload);
  });
  return {
    layer,
    received,
    next(type) {
      const at = received.findIndex((payload) => payload[0] === type);
      if (at >= 0) return Promise.resolve(received.splice(at, 1)[0]!);
      return new Promise((resolve) => waiting.set(type, resolve));
    },
  };
}

const accept = (socket: net.Socket) =>
  acceptClient(acceptWire(socket), {
    hostKeys: [{ privateKey: hostKey }],
    methods: ['publickey'],
    authenticate: anyKey,
    loginGraceMs: 60_000,
    maxAttempts: 3,
    signal: never,
  });

const connect = async (port: number) =>
  connectTarget(await dialWire({ host: '127.0.0.1', port }, never), {
    hostKeys: [{ type: 'key', key: hostBlob }],
    hostNames: [],
    credential: { type: 'key', username: 'deploy', privateKey: userKey },
    timeoutMs: 60_000,
    signal: never,
  });

/** A bridge between two peers of ours. */
async function between(own: Partial<Gatekeeper> = {}, limits = { channels: 10 }) {
  const target = Promise.withResolvers<Peer>();
  const bridge = Promise.withResolvers<Bridge>();
  const targetPort = await listen((socket) => {
    accept(socket).then((accepted) => {
      accepted.finish();
      target.resolve(peer(accepted.layer));
    }, target.reject);
  });
  const port = await listen((socket) => {
    const serve = async (): Promise<void> => {
      const accepted = await accept(socket);
      const layer = await connect(targetPort);
      accepted.finish();
      bridge.resolve(createBridge({ client: accepted.layer, target: layer, gatekeeper: gatekeeper(own), limits }));
    };
    serve().catch(bridge.reject);
  });
  const client = peer(await connect(port));
  return { client, target: await target.promise, bridge: await bridge.promise };
}

const exec = (channel: number, command: string): Buffer =>
  Buffer.concat([numbers(Message.CHANNEL_REQUEST, channel), string('exec'), Buffer.of(1), string(command)]);
const resize = (channel: number, columns: number): Buffer =>
  Buffer.concat([
    numbers(Message.CHANNEL_REQUEST, channel),
    string('window-change'),
    Buffer.of(0),
    numbers(0, columns, 24, 0, 0).subarray(1),
  ]);
const globalRequest = (name: string, wantReply: boolean): Buffer =>
  Buffer.concat([Buffer.of(Message.GLOBAL_REQUEST), string(name), Buffer.of(wantReply ? 1 : 0)]);

/** Opens a session on both sides: the numbers by which the peers call it. */
async function session({ client, target }: { client: Peer; target: Peer }, window = 1 << 20) {
  client.layer.send(openSession(7, window, 32_768));
  const open = await target.next(Message.CHANNEL_OPEN);
  const atTarget = open.readUInt32BE(1 + 4 + 7);
  target.layer.send(numbers(Message.CHANNEL_OPEN_CONFIRMATION, atTarget, 40, 100_000, 32_768));
  const confirmation = await client.next(Message.CHANNEL_OPEN_CONFIRMATION);
  return { atClient: confirmation.readUInt32BE(5), atTarget, window: open.readUInt32BE(1 + 4 + 7 + 4) };
}

afterEach(() => {
  for (const close of closings.splice(0)) close();
});

test('who resets the connection before it has signed in went away, and has broken no rule', async () => {
  const failure = Promise.withResolvers<unknown>();
  const port = await listen((socket) => {
    accept(socket).then(() => failure.reject(new Error('it was let in')), failure.resolve);
  });
  const socket = net.connect(port, '127.0.0.1');
  await once(socket, 'data');
  socket.resetAndDestroy();
  expect(await failure.promise).toMatchObject({ name: 'ClientFailure', code: 'closed' });
});

test.each([
  [65_535, 'direct-tcpip'],
  [65_536 + 22, 'other'],
])('a channel to port %i is %s', (port, type) => {
  const place = [string('db.internal'), uint32(port), string('127.0.0.1'), uint32(1)];
  const open = [
    Buffer.of(Message.CHANNEL_OPEN),
    string('direct-tcpip'),
    uint32(0),
    uint32(0),
    uint32(32_768),
    ...place,
  ];
  expect(readOpen(Buffer.concat(open)).purpose.type).toBe(type);
});

describe('peers that break the rules of the connection protocol', () => {
  let ground: Awaited<ReturnType<typeof between>>;
  beforeEach(async () => {
    ground = await between();
  });
  afterEach(async () => {
    ground.bridge.end('the test is over');
    await ground.bridge.ended;
  });

  /** Both what the peer is told and what the gateway notes. */
  async function endsWith(text: string, who: 'client' | 'target' = 'client'): Promise<void> {
    expect(await ground.bridge.ended).toMatchObject({ by: 'gateway', text });
    const error = await ground[who].layer.closed;
    if (who === 'client') expect(error).toBeInstanceOf(PeerDisconnect);
    if (who === 'client') expect(error?.message).toContain(text);
  }

  test.each<[string, (channel: number) => Buffer]>([
    ['a message about a channel that is not open', () => numbers(Message.CHANNEL_EOF, 999)],
    ['a message is cut off', () => Buffer.of(Message.CHANNEL_DATA)],
    [
      'a message has not the length that it names',
      (id) => Buffer.concat([numbers(Message.CHANNEL_DATA, id, 50), Buffer.of(1)]),
    ],
    ['more data than the window of its channel allows', (id) => dataMessage(id, 'data', Buffer.alloc(100_001))],
    ['a window larger than the protocol allows', (id) => numbers(Message.CHANNEL_WINDOW_ADJUST, id, 0xffff_ffff)],
    ['an answer to no request', (id) => numbers(Message.CHANNEL_SUCCESS, id)],
    ['an answer to no request', () => Buffer.of(Message.REQUEST_SUCCESS)],
    ['an answer to no channel', (id) => numbers(Message.CHANNEL_OPEN_CONFIRMATION, id, 1, 1, 1)],
    [
      'extended data of an unknown type',
      (id) => Buffer.concat([numbers(Message.CHANNEL_EXTENDED_DATA, id, 2, 1), Buffer.of(1)]),
    ],
    ['a message is cut off', (id) => Buffer.concat([numbers(Message.CHANNEL_REQUEST, id, 400), Buffer.from('exec')])],
  ])('%s', async (text, message) => {
    const { atClient } = await session(ground);
    ground.client.layer.send(message(atClient));
    await endsWith(text);
    expect(ground.target.received.filter((payload) => payload[0] !== Message.CHANNEL_REQUEST)).toEqual([]);
  });

  test('data behind the end of its channel, and a target that breaks the rules', async () => {
    const { atTarget } = await session(ground);
    ground.target.layer.send(numbers(Message.CHANNEL_EOF, atTarget));
    ground.target.layer.send(dataMessage(atTarget, 'data', Buffer.alloc(1)));
    await endsWith('data behind the end of its channel', 'target');
  });

  test('what is unknown is answered as such, and the connection lives on', async () => {
    const { atClient } = await session(ground);
    for (const type of [83, 101, 127]) ground.client.layer.send(numbers(type, 0));
    ground.client.layer.send(globalRequest('unheard-of@example.com', true));
    const request = await ground.target.next(Message.GLOBAL_REQUEST);
    expect(request.toString('latin1')).toContain('unheard-of');
    ground.target.layer.send(Buffer.of(Message.REQUEST_FAILURE));
    await ground.client.next(Message.REQUEST_FAILURE);
    ground.target.layer.send(globalRequest('hostkeys-00@openssh.com', false));
    ground.target.layer.send(globalRequest('something@example.com', true));
    await ground.target.next(Message.REQUEST_FAILURE);
    ground.client.layer.send(exec(atClient, 'true'));
    await ground.target.next(Message.CHANNEL_REQUEST);
    expect(ground.client.received).toEqual([]);
  });

  test('keep-alives are answered by the other end', async () => {
    ground.target.layer.send(globalRequest('keepalive@openssh.com', true));
    await ground.client.next(Message.GLOBAL_REQUEST);
    ground.client.layer.send(Buffer.of(Message.REQUEST_FAILURE));
    await ground.target.next(Message.REQUEST_FAILURE);
  });

  test('a flood of channels gets refusals, and those that are open go on', async () => {
    for (let i = 0; i < 2000; i++) ground.client.layer.send(openSession(i, 1 << 20, 32_768));
    ground.client.layer.send(globalRequest('keepalive@openssh.com', true));
    await ground.target.next(Message.GLOBAL_REQUEST);
    expect(ground.bridge.channels).toBe(10);
    expect(ground.target.received.length).toBe(10);
    ground.target.layer.send(Buffer.of(Message.REQUEST_FAILURE));
    await ground.client.next(Message.REQUEST_FAILURE);
    expect(ground.client.received.filter((payload) => payload[0] === Message.CHANNEL_OPEN_FAILURE).length).toBe(1990);
  });

  test('floods of requests without answers end the connection; those of window adjusts pass', async () => {
    const { atClient } = await session(ground);
    for (let i = 0; i < 5000; i++) ground.client.layer.send(numbers(Message.CHANNEL_WINDOW_ADJUST, atClient, 1));
    ground.client.layer.send(globalRequest('keepalive@openssh.com', false));
    await ground.target.next(Message.GLOBAL_REQUEST);
    expect(ground.target.received.length).toBe(5000);
    for (let i = 0; i < 1100; i++) ground.client.layer.send(globalRequest('keepalive@openssh.com', true));
    await endsWith('too many requests without an answer');
  });

  test('what is closed on one side and opened again is not mistaken for the other', async () => {
    for (let i = 0; i < 50; i++) {
      const { atClient, atTarget } = await session(ground);
      ground.client.layer.send(numbers(Message.CHANNEL_CLOSE, atClient));
      await ground.target.next(Message.CHANNEL_CLOSE);
      ground.target.layer.send(numbers(Message.CHANNEL_CLOSE, atTarget));
      await ground.client.next(Message.CHANNEL_CLOSE);
      // Late, and of no consequence.
      ground.client.layer.send(numbers(Message.CHANNEL_WINDOW_ADJUST, atClient, 5));
    }
    expect(ground.bridge.channels).toBe(0);
  });
});

test('a channel reaches the target behind the requests that came before it, however long they are decided', async () => {
  const decided = Promise.withResolvers<void>();
  const ground = await between({
    globalRequest: () => decided.promise.then(() => ({ verdict: 'forward' })),
  });
  ground.client.layer.send(globalRequest('first@example.com', false));
  ground.client.layer.send(openSession(1, 1 << 20, 32_768));
  ground.client.layer.send(globalRequest('second@example.com', false));
  ground.client.layer.send(openSession(2, 1 << 20, 32_768));
  ground.target.layer.send(globalRequest('keepalive@openssh.com', true));
  // The client has been heard this far when its answer is back.
  await ground.client.next(Message.GLOBAL_REQUEST);
  ground.client.layer.send(Buffer.of(Message.REQUEST_FAILURE));
  await ground.target.next(Message.REQUEST_FAILURE);
  expect(ground.target.received).toEqual([]);
  decided.resolve();
  await expect.poll(() => ground.target.received.length, { timeout: 15_000 }).toBe(4);
  expect(ground.target.received.map((payload) => payload[0])).toEqual([
    Message.GLOBAL_REQUEST,
    Message.CHANNEL_OPEN,
    Message.GLOBAL_REQUEST,
    Message.CHANNEL_OPEN,
  ]);
});

test('a target does not open what has not been decided', async () => {
  const ground = await between({ openChannel: () => new Promise(() => {}) });
  ground.client.layer.send(openSession(7, 1 << 20, 32_768));
  ground.client.layer.send(globalRequest('keepalive@openssh.com', false));
  await ground.target.next(Message.GLOBAL_REQUEST);
  ground.target.layer.send(numbers(Message.CHANNEL_OPEN_CONFIRMATION, 0, 40, 100_000, 32_768));
  expect(await ground.bridge.ended).toMatchObject({ text: 'an answer to no channel' });
});

describe('packets of no size', () => {
  test('are refused to a client, whatever would have to be said to it', async () => {
    const ground = await between({ request: () => ({ verdict: 'deny', text: 'no\n' }) });
    ground.client.layer.send(openSession(7, 1 << 20, 0));
    await ground.client.next(Message.CHANNEL_OPEN_FAILURE);
    expect(ground.bridge.channels).toBe(0);
    ground.bridge.end('over');
  });

  test('end the connection to a target', async () => {
    const ground = await between();
    ground.client.layer.send(openSession(7, 1 << 20, 32_768));
    await ground.target.next(Message.CHANNEL_OPEN);
    ground.target.layer.send(numbers(Message.CHANNEL_OPEN_CONFIRMATION, 0, 40, 100_000, 0));
    expect(await ground.bridge.ended).toMatchObject({ text: 'packets that are too small' });
  });
});

describe('behind an owner that is busy', () => {
  const signal = (channel: number): Buffer =>
    Buffer.concat([numbers(Message.CHANNEL_REQUEST, channel), string('signal'), Buffer.of(0), string('USR1')]);

  async function busy() {
    const pieces: Buffer[] = [];
    const free = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<void>();
    const own: OwnChannel = () => ({
      data(piece) {
        pieces.push(Buffer.from(piece));
        return free.promise;
      },
      end: () => ended.resolve(),
    });
    const ground = await between({ request: () => ({ verdict: 'forward', own }) });
    const { atClient } = await session(ground);
    ground.client.layer.send(exec(atClient, 'busy'));
    await ground.target.next(Message.CHANNEL_REQUEST);
    await ground.client.next(Message.CHANNEL_WINDOW_ADJUST);
    ground.client.layer.send(dataMessage(atClient, 'data', Buffer.from('first')));
    return { ...ground, atClient, pieces, free, ended };
  }

  test.each([0, 300])('a client with a window of %i bytes gets everything, as fast as it opens it', async (window) => {
    const own: OwnChannel = (outlet) => ({
      data: (piece, from, stream) => outlet.send(from === 'target' ? 'client' : 'target', stream, piece),
    });
    const ground = await between({ request: () => ({ verdict: 'forward', own }) });
    const { atClient, atTarget } = await session(ground, window);
    ground.client.layer.send(exec(atClient, 'much'));
    await ground.target.next(Message.CHANNEL_REQUEST);
    const granted = (await ground.target.next(Message.CHANNEL_WINDOW_ADJUST)).readUInt32BE(5);
    const sent = Buffer.from(Array.from({ length: 1000 }, (_, i) => i % 251));
    expect(granted).toBeGreaterThan(sent.length);
    ground.target.layer.send(dataMessage(atTarget, 'data', sent));
    if (window === 0) ground.client.layer.send(numbers(Message.CHANNEL_WINDOW_ADJUST, atClient, 100));
    const received: Buffer[] = [];
    while (Buffer.concat(received).length < sent.length) {
      const piece = (await ground.client.next(Message.CHANNEL_DATA)).subarray(9);
      received.push(piece);
      ground.client.layer.send(numbers(Message.CHANNEL_WINDOW_ADJUST, atClient, piece.length));
    }
    expect(Buffer.concat(received)).toEqual(sent);
    ground.bridge.end('the test is over');
    await ground.bridge.ended;
  });

  test('only so many requests wait, and of a window that is dragged the last size', async () => {
    const ground = await busy();
    for (let i = 0; i < 5000; i++) ground.client.layer.send(resize(ground.atClient, i));
    ground.client.layer.send(globalRequest('keepalive@openssh.com', false));
    await ground.target.next(Message.GLOBAL_REQUEST);
    for (let i = 0; i < 1200; i++) ground.client.layer.send(signal(ground.atClient));
    expect(await ground.bridge.ended).toMatchObject({ text: 'too many requests wait' });
  });

  test('small pieces are put together, in order', async () => {
    const ground = await busy();
    const sent = Buffer.from(Array.from({ length: 20_000 }, (_, i) => i % 251));
    for (let i = 0; i < sent.length; i++)
      ground.client.layer.send(dataMessage(ground.atClient, 'data', sent.subarray(i, i + 1)));
    ground.client.layer.send(numbers(Message.CHANNEL_EOF, ground.atClient));
    ground.client.layer.send(globalRequest('keepalive@openssh.com', false));
    await ground.target.next(Message.GLOBAL_REQUEST);
    ground.free.resolve();
    await ground.ended.promise;
    expect(Buffer.concat(ground.pieces.slice(1)).equals(sent)).toBe(true);
    expect(ground.pieces.length).toBeLessThan(10);
    ground.bridge.end('over');
  });
});

test('behind a held command only so much may be sent', async () => {
  const verdict = Promise.withResolvers<{ readonly verdict: 'forward' }>();
  const ground = await between({ request: () => verdict.promise });
  const { atClient } = await session(ground);
  ground.client.layer.send(exec(atClient, 'held'));
  for (let i = 0; i < 300; i++) ground.client.layer.send(resize(atClient, i));
  for (let i = 0; i < 300; i++) ground.client.layer.send(dataMessage(atClient, 'data', Buffer.alloc(1)));
  expect(await ground.bridge.ended).toMatchObject({ text: 'too much was sent behind a command that waits' });
  verdict.resolve({ verdict: 'forward' });
  await ground.target.layer.closed;
  expect(ground.target.received).toEqual([]);
});

test('what is sent behind a held command arrives behind it, in order', async () => {
  const verdict = Promise.withResolvers<{ readonly verdict: 'forward' }>();
  const ground = await between({ request: () => verdict.promise });
  const { atClient } = await session(ground);
  ground.client.layer.send(exec(atClient, 'held'));
  ground.client.layer.send(dataMessage(atClient, 'data', Buffer.from('one')));
  ground.client.layer.send(dataMessage(atClient, 'data', Buffer.from('two')));
  ground.client.layer.send(numbers(Message.CHANNEL_EOF, atClient));
  ground.client.layer.send(globalRequest('keepalive@openssh.com', false));
  await ground.target.next(Message.GLOBAL_REQUEST);
  expect(ground.target.received).toEqual([]);
  verdict.resolve({ verdict: 'forward' });
  await ground.target.next(Message.CHANNEL_EOF);
  expect(ground.target.received.map((payload) => payload.toString('latin1').slice(-4))).toEqual([
    'held',
    '\x03one',
    '\x03two',
  ]);
  ground.bridge.end('over');
});

test('a target that reads nothing stops the client, and memory stays bounded', async () => {
  const ground = await between();
  const { atClient } = await session(ground);
  ground.target.layer.pause();
  // Past the window that the target gave, which an honest client would not.
  let sent = 0;
  const piece = Buffer.alloc(30_000);
  while (sent + piece.length <= 100_000) {
    ground.client.layer.send(dataMessage(atClient, 'data', piece));
    sent += piece.length;
  }
  ground.client.layer.send(numbers(Message.CHANNEL_EOF, atClient));
  ground.target.layer.resume();
  await ground.target.next(Message.CHANNEL_EOF);
  expect(ground.bridge.bytes.client).toBe(sent);
  ground.bridge.end('over');
});

describe('clients that do not sign in as they should', () => {
  /** A client's transport without its sign-in. */
  async function raw(): Promise<{ transport: Transport; ended: Promise<Error | undefined>; failure: Promise<Error> }> {
    const failure = Promise.withResolvers<Error>();
    const port = await listen((socket) => {
      accept(socket).then(() => failure.reject(new Error('let in')), failure.resolve);
    });
    const wire = await dialWire({ host: '127.0.0.1', port }, never);
    const role = { side: 'client', hostAlgorithms: ['ssh-ed25519'], verifyHost: () => true } as const;
    const transport = await startTransport(wire, { role, version: 'raw', rekeyBytes: 1 << 30, debug: undefined });
    const ended = new Promise<Error | undefined>((resolve) => {
      transport.onClose = resolve;
    });
    await new Promise<void>((resolve) => {
      transport.onReady = resolve;
    });
    return { transport, ended, failure: failure.promise };
  }
  const request = (method: string): Buffer =>
    Buffer.concat([Buffer.of(50), string('deploy'), string('ssh-connection'), string(method)]);

  test.each<[string, (transport: Transport) => void, string]>([
    ['a channel at once', ({ send }) => send(openSession(0, 1, 1)), 'a channel before the sign-in'],
    ['an attempt before its service', ({ send }) => send(request('none')), 'a sign-in before its service'],
    ['another service', ({ send }) => send(Buffer.concat([Buffer.of(5), string('ssh-shell')])), 'no such service'],
    [
      'hundreds of attempts ahead',
      ({ send }) => {
        send(Buffer.concat([Buffer.of(5), string('ssh-userauth')]));
        for (let i = 0; i < 300; i++) send(request('none'));
      },
      'too many attempts at once',
    ],
    [
      'an answer to no question',
      ({ send }) => {
        send(Buffer.concat([Buffer.of(5), string('ssh-userauth')]));
        send(Buffer.concat([Buffer.of(61), uint32(0)]));
      },
      'an answer to no question',
    ],
    [
      'a request that is cut off',
      ({ send }) => {
        send(Buffer.concat([Buffer.of(5), string('ssh-userauth')]));
        send(Buffer.concat([Buffer.of(50), uint32(1_000_000)]));
      },
      'it is cut off',
    ],
  ])('%s', async (_name, act, text) => {
    const { transport, ended, failure } = await raw();
    act(transport);
    expect((await failure).message).toContain(text);
    expect(await ended).toBeInstanceOf(PeerDisconnect);
  });

  test('a key without a signature of its own does not get in', async () => {
    const { transport, failure } = await raw();
    transport.send(Buffer.concat([Buffer.of(5), string('ssh-userauth')]));
    const blob = publicKeyOf(generateKeyPairSync('ed25519').privateKey).blob;
    const forged = Buffer.concat([string('ssh-ed25519'), string(Buffer.alloc(64))]);
    const attempt = [request('publickey'), Buffer.of(1), string('ssh-ed25519'), string(blob), string(forged)];
    for (let i = 0; i < 3; i++) transport.send(Buffer.concat(attempt));
    expect(await failure).toMatchObject({ code: 'attempts', rejected: [{}, {}, {}] });
  });
});

test('a client that speaks something else is told so', async () => {
  const port = await listen((socket) => {
    accept(socket).catch(() => socket.destroy());
  });
  const client = net.connect({ port, host: '127.0.0.1' });
  closings.push(() => client.destroy());
  client.write('GET / HTTP/1.1\r\n\r\n');
  let said = '';
  for await (const chunk of client) said += String(chunk);
  expect(said).toMatch(/^SSH-2\.0-[^\r]+\r\nInvalid SSH identification string\.\r\n$/);
});

describe('a channel that stands by', () => {
  interface Ground {
    readonly client: Peer;
    readonly target: Peer;
  }

  /** A program that ends, on a channel opened as ever. */
  async function runOnce({ client, target }: Ground): Promise<void> {
    const { atClient, atTarget } = await session({ client, target });
    client.layer.send(exec(atClient, 'true'));
    await target.next(Message.CHANNEL_REQUEST);
    target.layer.send(numbers(Message.CHANNEL_SUCCESS, atTarget));
    await client.next(Message.CHANNEL_SUCCESS);
    target.layer.send(numbers(Message.CHANNEL_CLOSE, atTarget));
    await client.next(Message.CHANNEL_CLOSE);
    client.layer.send(numbers(Message.CHANNEL_CLOSE, atClient));
    await target.next(Message.CHANNEL_CLOSE);
  }

  /** The target is asked for a session that no client has asked for yet. */
  async function prepared(own: Partial<Gatekeeper> = {}) {
    const ground = await between(own);
    await runOnce(ground);
    await runOnce(ground);
    const open = await ground.target.next(Message.CHANNEL_OPEN);
    return { ...ground, open, id: open.readUInt32BE(1 + 4 + 7) };
  }

  test('is given to the client with what the target said of it, and is like any other', async () => {
    const asked: string[] = [];
    const ground = await prepared({
      openChannel(channel) {
        asked.push(`${channel.serial} ${channel.type}`);
        return { verdict: 'forward' };
      },
    });
    const { client, target, id, open } = ground;
    expect(asked).toEqual(['0 session', '1 session']);
    target.layer.send(numbers(Message.CHANNEL_OPEN_CONFIRMATION, id, 41, 70_000, 30_000));
    target.layer.send(numbers(Message.CHANNEL_WINDOW_ADJUST, id, 1000));
    target.layer.send(globalRequest('keepalive@openssh.com', false));
    await client.next(Message.GLOBAL_REQUEST);
    client.layer.send(openSession(9, 1 << 20, 32_768));
    const confirmation = await client.next(Message.CHANNEL_OPEN_CONFIRMATION);
    expect([1, 9, 13].map((at) => confirmation.readUInt32BE(at))).toEqual([9, 71_000, 30_000]);
    expect(open.readUInt32BE(1 + 4 + 7 + 4)).toBeLessThanOrEqual(1 << 20);
    const atClient = confirmation.readUInt32BE(5);
    client.layer.send(exec(atClient, 'cat'));
    expect((await target.next(Message.CHANNEL_REQUEST)).readUInt32BE(1)).toBe(41);
    client.layer.send(dataMessage(atClient, 'data', Buffer.alloc(30_000, 1)));
    expect((await target.next(Message.CHANNEL_DATA)).readUInt32BE(1)).toBe(41);
    target.layer.send(dataMessage(id, 'data', Buffer.alloc(20_000, 2)));
    expect((await client.next(Message.CHANNEL_DATA)).readUInt32BE(1)).toBe(9);
    expect(asked.at(-1)).toBe('2 session');
    expect(ground.bridge.channels).toBe(1);
    // Nobody opened it a second time.
    expect(target.received.filter(([type]) => type === Message.CHANNEL_OPEN)).toEqual([]);
    client.layer.send(dataMessage(atClient, 'data', Buffer.alloc(41_001)));
    expect(await ground.bridge.ended).toMatchObject({ text: 'more data than the window of its channel allows' });
  });

  test('waits for the target where that has not answered, and its refusal is the client’s', async () => {
    const { client, target, id } = await prepared();
    client.layer.send(openSession(9, 1 << 20, 32_768));
    client.layer.send(globalRequest('keepalive@openssh.com', false));
    await target.next(Message.GLOBAL_REQUEST);
    expect([...target.received, ...client.received]).toEqual([]);
    target.layer.send(openFailure(id, 4, 'no more'));
    expect((await client.next(Message.CHANNEL_OPEN_FAILURE)).readUInt32BE(1)).toBe(9);
  });

  test('is not given to what policy refuses, and not opened behind the last session', async () => {
    let refuse = false;
    const { client, target, id, bridge } = await prepared({
      openChannel: () => (refuse ? { verdict: 'refuse', reason: 1, text: 'not any more' } : { verdict: 'forward' }),
    });
    target.layer.send(numbers(Message.CHANNEL_OPEN_CONFIRMATION, id, 41, 0, 32_768));
    refuse = true;
    client.layer.send(openSession(9, 1 << 20, 32_768));
    await client.next(Message.CHANNEL_OPEN_FAILURE);
    client.layer.send(globalRequest('no-more-sessions@openssh.com', false));
    expect((await target.next(Message.CHANNEL_CLOSE)).readUInt32BE(1)).toBe(41);
    await target.next(Message.GLOBAL_REQUEST);
    target.layer.send(numbers(Message.CHANNEL_CLOSE, id));
    refuse = false;
    await runOnce({ client, target });
    await runOnce({ client, target });
    client.layer.send(globalRequest('keepalive@openssh.com', false));
    await target.next(Message.GLOBAL_REQUEST);
    expect(target.received).toEqual([]);
    expect(bridge.channels).toBe(0);
  });

  test('is no place for a program that nobody started', async () => {
    const { target, id, bridge } = await prepared();
    target.layer.send(numbers(Message.CHANNEL_OPEN_CONFIRMATION, id, 41, 0, 32_768));
    target.layer.send(dataMessage(id, 'data', Buffer.alloc(1)));
    expect(await bridge.ended).toMatchObject({
      by: 'gateway',
      text: 'a message about a channel on which nothing runs',
    });
  });
});
