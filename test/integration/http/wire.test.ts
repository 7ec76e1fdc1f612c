/** HTTP/1.x towards clients, byte by byte: framing of answers, connections that are kept or not, and clients that leave. */
import { once } from 'node:events';
import net from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { forwardAll, type HttpGround, startHttpGround } from '../../support/http-ground.ts';

let ground: HttpGround;
let auth: string;
const held = Promise.withResolvers<void>();
/** The exchange of what was held has ended because of its client. */
const left = Promise.withResolvers<void>();
let cut = (): void => {};
const HOST = 'Host: api.example.com';

beforeAll(async () => {
  ground = await startHttpGround({
    origin(request, response) {
      if (request.url === '/measured') response.setHeader('content-length', '5').end('hello');
      else if (request.url === '/echo') request.pipe(response);
      else if (request.url === '/cut') {
        response.write('half');
        cut = () => request.socket.resetAndDestroy();
      } else if (request.url === '/pieces') {
        response.write('one');
        setImmediate(() => response.end('two'));
      } else if (request.url !== '/wait') response.writeHead(200).end(request.url === '/none' ? '' : 'hello');
    },
    async handle(exchange, on) {
      if (exchange.head.path === '/wait') {
        held.resolve();
        if (!exchange.signal.aborted) await once(exchange.signal, 'abort');
        left.resolve();
      }
      await forwardAll(exchange, on);
    },
  });
  auth = `Authorization: Bearer ${await ground.token()}`;
});
afterAll(() => ground?.[Symbol.asyncDispose]());

const head = (...lines: string[]): string => [...lines, '', ''].join('\r\n');
const get = (path: string, version = '1.1', ...fields: string[]): string =>
  head(`GET ${path} HTTP/${version}`, HOST, auth, ...fields);

it('sends a small answer in one piece', async () => {
  const socket = net.connect(ground.port, '127.0.0.1');
  socket.write(get('/measured'));
  const [chunk] = await once(socket, 'data');
  expect(String(chunk)).toMatch(/^HTTP\/1\.1 200 OK\r\n.*\r\ndate: \w+, .* GMT\r\n.*\r\n\r\nhello$/is);
  socket.destroy();
});

it('ends a body of which nobody knows the length with the connection where chunks are not known', async () => {
  const answer = await ground.raw(get('/pieces', '1.0', 'Connection: keep-alive'));
  expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  expect(answer).toMatch(/\r\nConnection: close\r\n\r\nonetwo$/);
  expect(answer).not.toMatch(/transfer-encoding/i);
});

it('resets the connection of such an answer when it breaks off, so that nobody takes it for whole', async () => {
  const socket = net.connect(ground.port, '127.0.0.1');
  socket.write(get('/cut', '1.0'));
  await once(socket, 'data');
  const failed = once(socket.resume(), 'error') as Promise<[NodeJS.ErrnoException]>;
  cut();
  const [error] = await failed;
  expect(error.code).toBe('ECONNRESET');
});

it('keeps connections of HTTP/1.0 only for those who ask, and of HTTP/1.1 for those who do not refuse', async () => {
  const kept = await ground.raw(get('/measured', '1.0', 'Connection: keep-alive') + get('/measured', '1.0'));
  expect(kept.match(/hello/g)).toHaveLength(2);
  const once10 = await ground.raw(get('/measured', '1.0') + get('/measured', '1.0'));
  expect(once10.match(/hello/g)).toHaveLength(1);
  const once11 = await ground.raw(get('/measured', '1.1', 'Connection: x, Close') + get('/measured'));
  expect(once11.match(/hello/g)).toHaveLength(1);
});

it('answers HEAD without a body, and the request behind it', async () => {
  const answer = await ground.raw(
    head('HEAD /measured HTTP/1.1', HOST, auth) + get('/none', '1.1', 'Connection: close'),
  );
  expect(answer.split(/(?=HTTP\/1\.1 )/)).toEqual([
    expect.stringMatching(/\r\ncontent-length: 5\r\n.*\r\n\r\n$/s),
    expect.stringMatching(/\r\n\r\n(?:0\r\n\r\n)?$/),
  ]);
});

it('reads requests with bodies that come byte by byte, and what is behind them', async () => {
  const body = '5;x=y\r\nhello\r\n3\r\n you\r\n0\r\nX-T: 1\r\n\r\n';
  const bytes =
    head('POST /echo HTTP/1.1', HOST, auth, 'Transfer-Encoding: chunked') +
    body.replace('3\r\n you', '4\r\n you') +
    head('POST /echo HTTP/1.1', HOST, auth, 'Content-Length: 3', 'Connection: close') +
    'abc';
  const answer = await ground.raw([...bytes]);
  expect(answer.replaceAll(/\r\n[0-9a-f]+\r\n/g, '')).toMatch(/hello.*you.*abc/s);
  expect(answer.match(/HTTP\/1\.1 200/g)).toHaveLength(2);
});

it('serves a large body that was sent behind a request without an answer', async () => {
  const large = 'x'.repeat(300_000);
  const bytes =
    get('/pieces') +
    head('POST /echo HTTP/1.1', HOST, auth, `Content-Length: ${large.length}`, 'Connection: close') +
    large;
  const answer = await ground.raw(bytes);
  expect(answer.match(/HTTP\/1\.1 200/g)).toHaveLength(2);
  expect(answer.match(/x{1000}/g)?.length).toBeGreaterThan(250);
});

it('closes the connection of a body that it did not ask for, and that has not come', async () => {
  const before = ground.origin.requests.length;
  const socket = net.connect({ port: ground.port, host: '127.0.0.1', allowHalfOpen: true });
  socket.write(head('POST /echo HTTP/1.1', HOST, 'Expect: 100-continue', 'Content-Length: 5'));
  const [first] = await once(socket, 'data');
  // Whoever was refused may leave its body out: what comes next must not be taken for it, nor it for a request.
  socket.end(get('/measured'));
  const answer = `${first}${(await socket.setEncoding('latin1').toArray()).join('')}`;
  expect(answer).toMatch(/^HTTP\/1\.1 401 .*\r\nConnection: close\r\n/s);
  expect(answer.match(/HTTP\/1\.1 \d/g)).toHaveLength(1);
  expect(ground.origin.requests).toHaveLength(before);
});

it('hears of a client that leaves while its request is held', async () => {
  const socket = net.connect(ground.port, '127.0.0.1');
  socket.write(get('/wait'));
  await held.promise;
  socket.end();
  await once(socket.resume(), 'close');
  await left.promise;
});

it('tells who stops in the middle of a head that it is not one', async () => {
  const socket = net.connect({ port: ground.port, host: '127.0.0.1', allowHalfOpen: true });
  socket.end('GET /measured HTTP/1.1\r\nHo');
  expect((await socket.setEncoding('latin1').toArray()).join('')).toMatch(/^HTTP\/1\.1 400 .*SPE001/s);
});

it('closes the connection of a client that takes no answer', async () => {
  const socket = net.connect(ground.port, '127.0.0.1');
  socket.pause();
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.on('error', () => {});
  const asked = head('GET / HTTP/1.1', HOST).repeat(50);
  let [before, same] = [-1, 0];
  // Until none of them is answered any more.
  while (same < 20) {
    if (ground.refused.length === before) same++;
    else same = 0;
    before = ground.refused.length;
    if (same === 0) socket.write(asked);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  ground.lane.sweep(Date.now() + 180_000);
  // Only who reads hears of it.
  socket.resume();
  await closed;
});
