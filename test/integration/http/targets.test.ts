/** Connections to targets: what is kept and what is not, what a target may do, and what becomes of a request that it breaks off. */
import { once } from 'node:events';
import net, { type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { afterAll, afterEach, beforeAll, describe, expect, it, test } from 'vitest';
import { HttpRefused } from '../../../proxy/protocols/http/core/errors.ts';
import type { AnswerHandler, SendControl, UpstreamSend, Upstreams } from '../../../proxy/protocols/http/core/port.ts';
import { TargetFailure } from '../../../proxy/protocols/http/core/upstream/failure.ts';
import { createUpstreams } from '../../../proxy/protocols/http/core/upstream/pools.ts';

interface Answered {
  readonly status: number;
  readonly body: string;
  readonly trailers: readonly string[];
}

const GET: UpstreamSend = { method: 'GET', target: '/', headers: [], body: null };
const KEPT = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

let server: net.Server;
let upstreams: Upstreams;
/** What the target does with what it reads; `index` is the number of the connection. */
let serve: (socket: Socket, text: string, index: number) => void;
let sockets: Socket[] = [];

beforeAll(async () => {
  server = net.createServer((socket) => {
    const index = sockets.push(socket) - 1;
    socket.on('error', () => {});
    socket.on('data', (chunk) => serve(socket, chunk.toString('latin1'), index));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  upstreams = createUpstreams({ connectTimeoutMs: 5000 });
});
afterEach(async () => {
  await upstreams.close();
  for (const socket of sockets) socket.destroy();
  sockets = [];
});
afterAll(async () => {
  await new Promise((resolve) => server.close(resolve));
});

/** Whether it ended with an error is of no interest. */
const closed = async (socket: Socket | undefined): Promise<void> => {
  if (socket !== undefined && !socket.destroyed) await new Promise((resolve) => socket.once('close', resolve));
};

const port = (): number => (server.address() as net.AddressInfo).port;
const pool = () => upstreams.pool({ label: 'default/web', host: '127.0.0.1', port: port() });

type Failure = { readonly error: Error; readonly reused: boolean; readonly answered: boolean };

function send(
  request: Partial<UpstreamSend> = {},
  more: Partial<AnswerHandler> = {},
): { readonly control: SendControl; readonly answer: Promise<Answered>; readonly failure: Promise<Failure> } {
  const answer = Promise.withResolvers<Answered>();
  const failure = Promise.withResolvers<Failure>();
  let status = 0;
  let body = '';
  const control = pool().send(
    { ...GET, ...request },
    {
      onHead: (got) => {
        if (got >= 200) status = got;
      },
      onData: (chunk) => {
        body += chunk.toString('latin1');
      },
      onPartial() {},
      onEnd: (trailers) => answer.resolve({ status, body, trailers }),
      onUpgrade: (_fields, socket) => void socket.destroy(),
      onError: (error, when) => {
        failure.resolve({ error, ...when });
        answer.reject(error);
      },
      ...more,
    },
  );
  answer.promise.catch(() => {});
  return { control, answer: answer.promise, failure: failure.promise };
}

describe('a connection', () => {
  it('carries one request after the other, the one that was used last first', async () => {
    const asked: number[] = [];
    const waits = Promise.withResolvers<void>();
    serve = (socket, text, index) => {
      asked.push(index);
      if (text.includes('/wait')) waits.resolve();
      else socket.write(KEPT);
    };
    const first = send({ target: '/wait' });
    await waits.promise;
    await send().answer;
    sockets[0]?.write(KEPT);
    await first.answer;
    await send().answer;
    await send().answer;
    expect(asked).toEqual([0, 1, 0, 0]);
    expect(pool().opened).toBe(2);
  });

  test.each([
    ['says so', 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok'],
    ['speaks HTTP/1.0', 'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok'],
    ['has sent more than the answer', `${KEPT}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen`],
    ['keeps it for a second only', 'HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nok'],
  ])('is not used again when its target %s', async (_name, said) => {
    serve = (socket) => void socket.write(said);
    expect(await send().answer).toMatchObject({ status: 200, body: 'ok' });
    expect(await send().answer).toMatchObject({ status: 200, body: 'ok' });
    expect(pool().opened).toBe(2);
  });

  test.each([
    ['HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n'],
    ['GET', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 40\r\n\r\n'],
  ])('is not used again when a body could come that %s must not have', async (method, said) => {
    serve = (socket, _text, index) => {
      if (index > 0) socket.write(KEPT);
      else if (socket.bytesWritten === 0) socket.write(said);
      else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen');
    };
    await send({ method }).answer;
    expect(await send().answer).toMatchObject({ body: 'ok' });
  });

  it('is asked to close behind a body that its target may overlook', async () => {
    let read = '';
    serve = (socket, text) => {
      read += text;
      socket.write(KEPT);
    };
    await send({ body: Buffer.from('GET /smuggled HTTP/1.1\r\n\r\n') }).answer;
    expect(read).toContain('\r\nconnection: close\r\n');
    await send().answer;
    expect(pool().opened).toBe(2);
  });

  it('on which bytes arrive that nobody asked for is closed', async () => {
    serve = (socket) => void socket.write(KEPT);
    await send().answer;
    sockets[0]?.write('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen');
    await closed(sockets[0]);
    expect(await send().answer).toMatchObject({ body: 'ok' });
    expect(pool().opened).toBe(2);
  });

  it('that was closed meanwhile says that it was an old one', async () => {
    serve = (socket, _text, index) => {
      if (index > 0 || socket.bytesWritten === 0) socket.write(KEPT);
      else socket.resetAndDestroy();
    };
    await send().answer;
    const failed = await send().failure;
    expect(failed).toMatchObject({ reused: true, answered: false, error: { kind: 'closed' } });
    expect(await send({ fresh: true }).answer).toMatchObject({ body: 'ok' });
  });

  it('is closed when its request is given up', async () => {
    for (const said of ['', 'HTTP/1.1 200 OK\r\n', 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf']) {
      const read = Promise.withResolvers<Socket>();
      serve = (socket) => {
        socket.write(said);
        read.resolve(socket);
      };
      const { control } = send();
      const socket = await read.promise;
      control.abort();
      await closed(socket);
    }
  });
});

describe('an answer', () => {
  it('that comes before the body is whole arrives, though the target resets behind it', async () => {
    const body = new Readable({ read() {} });
    body.push('some of it');
    serve = (socket, text) => {
      if (!text.endsWith('some of it')) return;
      socket.write('HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\n\r\ntoo much');
      socket.resetAndDestroy();
      // The answer has not been read when this cannot be written.
      body.push('more');
      expect(body.readableFlowing).toBe(true);
    };
    expect(await send({ method: 'POST', body, contentLength: 100 }).answer).toMatchObject({
      status: 413,
      body: 'too much',
    });
    expect(body.destroyed).toBe(true);
    serve = (socket) => void socket.write(KEPT);
    expect(await send().answer).toMatchObject({ status: 200 });
    expect(pool().opened).toBe(2);
  });

  test.each([
    ['no answer', '', 'silent', { headersTimeoutMs: 30 }],
    ['heads before it alone', 'HTTP/1.1 100 Continue\r\n\r\n', 'silent', { headersTimeoutMs: 30 }],
    ['half an answer', 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf', 'stalled', { bodyTimeoutMs: 30 }],
  ])('is waited for so long: %s', async (_name, said, kind, timeouts) => {
    serve = (socket) => void socket.write(said);
    const { error } = await send(timeouts).failure;
    expect(error).toMatchObject({ kind });
  });

  it('that says its length twice, or two ways, is refused and its connection closed', async () => {
    serve = (socket) =>
      void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n');
    const { error } = await send().failure;
    expect(error).toBeInstanceOf(TargetFailure);
    expect(error).toMatchObject({ kind: 'malformed' });
    await closed(sockets[0]);
  });

  it('comes with its trailers, and is held back by whoever does not read', async () => {
    const body = 'x'.repeat(3_000_000);
    serve = (socket) =>
      void socket.write(
        `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\nX-Sum: 1\r\n\r\n`,
      );
    let bytes = 0;
    const whole = Promise.withResolvers<readonly string[]>();
    const { control } = send(
      { bodyTimeoutMs: 20_000 },
      {
        onData(chunk) {
          bytes += chunk.length;
          control.pause();
          setImmediate(() => control.resume());
        },
        onEnd: whole.resolve,
      },
    );
    expect(await whole.promise).toEqual(['x-sum', '1']);
    expect(bytes).toBe(body.length);
    // Of the answer that is over: it must not touch the next one on the connection.
    control.abort();
    serve = (socket) => void socket.write(KEPT);
    expect(await send().answer).toMatchObject({ body: 'ok' });
    expect(pool().opened).toBe(1);
  });
});

describe('a request', () => {
  it('has one way to be read, whatever its fields say', async () => {
    let got = '';
    serve = (socket, text) => {
      got += text;
      if (got.endsWith('0\r\n\r\n')) socket.write(KEPT);
    };
    await send({
      method: 'POST',
      headers: ['host', 'evil', 'content-length', '7', 'transfer-encoding', 'gzip', 'expect', '100-continue', 'a', 'b'],
      body: Readable.from([Buffer.from('hi'), Buffer.alloc(0), Buffer.from('there')]),
    }).answer;
    expect(got).toBe(
      `POST / HTTP/1.1\r\nhost: 127.0.0.1:${port()}\r\nconnection: keep-alive\r\na: b\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n5\r\nthere\r\n0\r\n\r\n`,
    );
  });

  test.each<[name: string, request: Partial<UpstreamSend>]>([
    ['a value with a line', { headers: ['a', 'b\r\nc: d'] }],
    ['a value with NUL', { headers: ['a', 'b\0'] }],
    ['a value beyond Latin-1', { headers: ['a', '\u{10d}\u{10a}'] }],
    ['a name with a colon', { headers: ['a: b\r\nc', 'd'] }],
    ['a target with a space', { target: '/ HTTP/1.1' }],
    ['a host with a line', { host: 'a\r\nb: c' }],
    ['a method that is none', { method: 'GET /\r\n' }],
    ['an upgrade with a line', { upgrade: 'a\r\nb: c' }],
  ])('with %s is never written', (_name, request) => {
    expect(() => send(request)).toThrow(HttpRefused);
    expect(pool().opened).toBe(0);
  });

  test.each([
    ['shorter', 9],
    ['longer', 3],
  ])('with a body that is %s than it says is broken off', async (_name, contentLength) => {
    serve = () => {};
    const { error } = await send({ method: 'POST', body: Readable.from([Buffer.from('hello')]), contentLength })
      .failure;
    expect(error).toMatchObject({ kind: 'request-length' });
    await closed(sockets[0]);
  });

  it('under way ends with its pool', async () => {
    const read = Promise.withResolvers<void>();
    serve = () => read.resolve();
    const { failure } = send();
    await read.promise;
    await upstreams.close();
    expect((await failure).error).toMatchObject({ code: 'SPE021' });
  });
});

it('hands over what follows an upgrade, from its first byte on', async () => {
  serve = (socket, text) => {
    if (text.startsWith('GET')) {
      expect(text).toContain('connection: upgrade\r\nupgrade: websocket\r\n');
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX: y\r\n\r\nfirst',
      );
    } else socket.write(text.toUpperCase());
  };
  const agreed = Promise.withResolvers<{
    readonly fields: readonly string[];
    readonly socket: import('node:stream').Duplex;
  }>();
  send({ upgrade: 'websocket' }, { onUpgrade: (fields, socket) => agreed.resolve({ fields, socket }) });
  const { fields, socket } = await agreed.promise;
  expect(fields).toEqual(['x', 'y']);
  const [first] = await once(socket, 'data');
  expect(String(first)).toBe('first');
  socket.write('more');
  const [more] = await once(socket, 'data');
  expect(String(more)).toBe('MORE');
  socket.destroy();
});
