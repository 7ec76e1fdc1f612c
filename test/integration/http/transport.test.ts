/** What passes through as it comes: TLS, HTTP/2, streams, trailers, upgrades, early answers, and what happens when somebody leaves. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import type { Outcome } from '../../../proxy/protocols/http/core/port.ts';
import { createAuthority } from '../../support/certificates.ts';
import { forwardAll, type HttpGround, rawExchange, startHttpGround } from '../../support/http-ground.ts';

let folder: string;
let ca: string;
let secure: tls.SecureContext;
let serverPem: { cert: string; key: string };
let ground: HttpGround;
let token: string;
const outcomes: Outcome[] = [];
/** Of requests that the origin has not answered yet, by path. */
const pending = new Map<string, { request: IncomingMessage; response: ServerResponse }>();
const aborted: string[] = [];

function origin(request: IncomingMessage, response: ServerResponse): void {
  const url = request.url ?? '';
  response.on('close', () => {
    if (!response.writableFinished) aborted.push(url);
  });
  switch (url.split('?')[0]) {
    case '/trailers':
      response.writeHead(200, { trailer: 'x-sum, set-cookie, content-length' });
      response.write('body');
      response.addTrailers([
        ['x-sum', '42'],
        ['set-cookie', 'a=b'],
      ]);
      response.end();
      return;
    case '/early-kept':
      response.writeHead(413);
      response.end('too much');
      return;
    case '/hints':
      response.writeEarlyHints({ link: '</a.css>; rel=preload' });
      response.writeProcessing();
      response.end('after hints');
      return;
    case '/reset':
      request.socket.resetAndDestroy();
      return;
    case '/half':
      response.writeHead(200, { 'content-length': '100' });
      response.write('half');
      pending.set(url, { request, response });
      return;
    case '/no-content':
      response.writeHead(204);
      response.end();
      return;
    case '/not-modified':
      response.writeHead(304, { etag: '"x"', 'content-length': '10' });
      response.end();
      return;
    case '/hop':
      response.setHeader('connection', 'x-private, keep-alive');
      response.setHeader('x-private', '1');
      response.setHeader('alt-svc', 'h2=":1"');
      response.setHeader('set-cookie', ['a=1', 'b=2']);
      response.end('ok');
      return;
    case '/echo':
      response.writeHead(200);
      request.pipe(response);
      return;
    case '/wait':
      pending.set(url, { request, response });
      return;
    default:
      response.setHeader('content-length', '5');
      response.end(request.method === 'HEAD' ? undefined : 'hello');
  }
}

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-http-tls-'));
  const authority = await createAuthority(folder);
  const { certificate, key } = await authority.issue('gateway', ['DNS:gateway.test', 'IP:127.0.0.1']);
  ca = authority.ca;
  serverPem = { cert: certificate, key };
  secure = tls.createSecureContext(serverPem);
  ground = await startHttpGround({
    origin,
    tls: () => secure,
    async handle(exchange, on) {
      const { forward, splice } = exchange;
      const noted = {
        ...exchange,
        head: exchange.head,
        session: exchange.session,
        forward: async (request: Parameters<typeof forward>[0]) => note(await forward.call(exchange, request)),
        splice: async (request: Parameters<typeof splice>[0]) => note(await splice.call(exchange, request)),
      };
      await forwardAll(noted, on);
    },
  });
  token = await ground.token();
});
afterAll(async () => {
  await ground?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

function note(outcome: Outcome): Outcome {
  outcomes.push(outcome);
  return outcome;
}

interface Got {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly trailers: NodeJS.Dict<string>;
  readonly body: string;
  readonly whole: boolean;
}

function send(
  target: string,
  options: http.RequestOptions & { readonly body?: string; readonly secure?: boolean } = {},
): Promise<Got> {
  return new Promise((resolve, reject) => {
    const module = options.secure === true ? https : http;
    const request = module.request(
      {
        port: ground.port,
        host: '127.0.0.1',
        path: target,
        agent: false,
        ...(options.secure === true ? { ca } : {}),
        ...options,
        headers: { authorization: `Bearer ${token}`, ...(options.headers as http.OutgoingHttpHeaders) },
      } as https.RequestOptions,
      (response) => {
        let body = '';
        response.setEncoding('latin1').on('data', (chunk: string) => {
          body += chunk;
        });
        response.on('error', () => {});
        response.on('close', () => {
          const { statusCode = 0, headers, trailers } = response;
          resolve({ status: statusCode, headers, trailers, body, whole: response.complete });
        });
      },
    );
    request.on('error', reject);
    request.end(options.body);
  });
}

const lastOutcome = async (holds: (outcome: Outcome) => boolean): Promise<Outcome> =>
  vi.waitFor(() => {
    const found = outcomes.findLast(holds);
    if (found === undefined) throw new Error('not yet');
    return found;
  });

describe('clients', () => {
  it('come over TLS with HTTP/1.1', async () => {
    expect(await send('/a', { secure: true })).toMatchObject({ status: 200, body: 'hello' });
  });

  it('come over TLS with HTTP/2', async () => {
    const session = http2.connect(`https://127.0.0.1:${ground.port}`, { ca });
    const stream = session.request({ ':path': '/echo', ':method': 'POST', authorization: `Bearer ${token}` });
    stream.end('x'.repeat(1_000_000));
    let bytes = 0;
    stream.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
    });
    await once(stream, 'end');
    expect(bytes).toBe(1_000_000);
    session.close();
  });

  it('get fifty streams on one connection at one time', async () => {
    const session = http2.connect(`https://127.0.0.1:${ground.port}`, { ca });
    const before = ground.sessions.length;
    const bodies = await Promise.all(
      Array.from({ length: 50 }, async () => {
        const stream = session.request({ ':path': '/a', authorization: `Bearer ${token}` });
        let text = '';
        stream.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        await once(stream, 'end');
        return text;
      }),
    );
    expect(new Set(bodies)).toEqual(new Set(['hello']));
    expect(ground.sessions.length).toBe(before + 1);
    session.close();
  });

  it('in the clear are told to use TLS where they are not on this machine', async () => {
    await using strict = await startHttpGround({ plaintextLoopback: false, tls: () => secure });
    const answer = await strict.raw('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1\.1 426 /);
    expect(answer).toContain('SPE011');
    const encrypted = await rawExchange(
      strict.port,
      `GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${await strict.token()}\r\n\r\n`,
      (text) => text.endsWith('hello'),
      { ca, host: '127.0.0.1' },
    );
    expect(encrypted).toMatch(/^HTTP\/1\.1 200 /);
  });
});

describe('answers', () => {
  it('have the trailers of the target that change nothing', async () => {
    const got = await send('/trailers');
    expect(got).toMatchObject({ body: 'body', whole: true });
    expect(got.trailers).toEqual({ 'x-sum': '42' });
    const session = http2.connect(`http://127.0.0.1:${ground.port}`);
    const stream = session.request({ ':path': '/trailers', authorization: `Bearer ${token}` });
    const trailers = once(stream, 'trailers');
    stream.resume();
    expect((await trailers)[0]).toMatchObject({ 'x-sum': '42' });
    session.close();
  });

  it('come without fields of the connection', async () => {
    const { headers } = await send('/hop');
    expect(headers['x-private']).toBeUndefined();
    expect(headers['alt-svc']).toBeUndefined();
    expect(headers['set-cookie']).toEqual(['a=1', 'b=2']);
  });

  it('may have no body', async () => {
    expect(await send('/a', { method: 'HEAD' })).toMatchObject({
      status: 200,
      body: '',
      headers: { 'content-length': '5' },
    });
    expect(await send('/no-content')).toMatchObject({ status: 204, body: '' });
    expect(await send('/not-modified')).toMatchObject({ status: 304, body: '', headers: { etag: '"x"' } });
  });

  it.each([
    ['/a', 'HEAD', 200],
    ['/reset', 'HEAD', 502],
    ['/no-content', 'GET', 204],
    ['/not-modified', 'GET', 304],
  ])('of %s to %s have none over HTTP/2 either', async (path, method, status) => {
    const session = http2.connect(`http://127.0.0.1:${ground.port}`);
    for (const [authorization, expected] of [
      [`Bearer ${token}`, status],
      ['Bearer none', 401],
    ] as const) {
      const stream = session.request({ ':path': path, ':method': method, authorization });
      const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
      expect(headers[':status']).toBe(expected);
      stream.resume();
      await once(stream, 'close');
      expect(stream.rstCode).toBe(0);
    }
    session.close();
  });

  it('of 102 and 103 say nothing', async () => {
    expect(await send('/hints')).toMatchObject({ status: 200, body: 'after hints' });
  });

  it('that come before the body is whole are passed on, and the connection goes on', async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const body = 'x'.repeat(300_000);
    expect(await send('/early-kept', { method: 'POST', body, agent })).toMatchObject({ status: 413, body: 'too much' });
    expect(await send('/a', { agent })).toMatchObject({ status: 200 });
    agent.destroy();
  });

  it('are events as they come', async () => {
    const request = http.get({ port: ground.port, path: '/wait?sse', headers: { authorization: `Bearer ${token}` } });
    const { response: upstream } = await vi.waitFor(() => {
      const found = pending.get('/wait?sse');
      if (found === undefined) throw new Error('not yet');
      return found;
    });
    upstream.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    for (const event of ['data: 1\n\n', 'data: 2\n\n']) {
      upstream.write(event);
      const [chunk] = await once(response, 'data');
      expect(String(chunk)).toBe(event);
    }
    request.destroy();
    await vi.waitFor(() => expect(aborted).toContain('/wait?sse'));
    expect((await lastOutcome(({ report }) => report?.code === 'SPE020')).complete).toBe(false);
  });

  it('that are cut off are cut off for the client', async () => {
    const request = http.get({ port: ground.port, path: '/half', headers: { authorization: `Bearer ${token}` } });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    const [chunk] = await once(response, 'data');
    expect(String(chunk)).toBe('half');
    const closed = new Promise((resolve) => response.once('close', resolve));
    response.on('error', () => {});
    pending.get('/half')?.request.socket.resetAndDestroy();
    await closed;
    expect(response.complete).toBe(false);
    const cut = await lastOutcome(({ status, report }) => status === 200 && report?.code === 'SPE018');
    expect(cut).toMatchObject({ complete: false, responseBytes: 4 });
  });

  it('of a target that resets are refusals with a code', async () => {
    const got = await send('/reset', { method: 'POST', body: 'x' });
    expect(got.status).toBe(502);
    expect(JSON.parse(got.body)).toMatchObject({ code: 'SPE018' });
  });
});

describe('requests', () => {
  it('that expect to be told so hear when the body is wanted', async () => {
    const request = http.request({
      port: ground.port,
      path: '/echo',
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, expect: '100-continue', 'content-length': '2' },
    });
    request.flushHeaders();
    await once(request, 'continue');
    request.end('hi');
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    expect((await response.setEncoding('utf8').toArray()).join('')).toBe('hi');
  });

  it('that expect it are refused without having sent anything', async () => {
    const answer = await ground.raw(
      'POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n',
      (text) => text.includes('SPE007'),
    );
    expect(answer).toMatch(/^HTTP\/1\.1 401 /);
  });

  it('whose client leaves are broken off for the target', async () => {
    const socket = net.connect(ground.port, '127.0.0.1');
    socket.write(
      `POST /wait?left HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Length: 100\r\n\r\nhalf`,
    );
    const { request } = await vi.waitFor(() => {
      const found = pending.get('/wait?left');
      if (found === undefined) throw new Error('not yet');
      return found;
    });
    request.on('error', () => {});
    const closed = new Promise((resolve) => request.once('close', resolve));
    request.resume();
    socket.destroy();
    await closed;
    expect(request.complete).toBe(false);
  });

  it('are sent again only when they change nothing, and the connection was an old one', async () => {
    let served = 0;
    const stale = net.createServer((socket) => {
      socket.on('error', () => {});
      socket.on('data', () => {
        served++;
        // The second on a connection finds it closed.
        if (socket.listenerCount('ready-to-close') > 0) socket.resetAndDestroy();
        else {
          socket.once('ready-to-close', () => {});
          socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nok');
        }
      });
    });
    await new Promise<void>((resolve) => stale.listen(0, '127.0.0.1', resolve));
    await using other = await startHttpGround({ target: { port: (stale.address() as net.AddressInfo).port } });
    const bearer = { authorization: `Bearer ${await other.token()}` };
    const url = `http://127.0.0.1:${other.port}/a`;
    const ask = async (method: string): Promise<number> => {
      const response = await fetch(url, { method, headers: bearer });
      await response.arrayBuffer();
      return response.status;
    };
    expect([await ask('GET'), await ask('DELETE')]).toEqual([200, 502]);
    expect(served).toBe(2);
    expect([await ask('GET'), await ask('GET')]).toEqual([200, 200]);
    expect(served).toBe(5);
    stale.close();
  });
});

describe('upgrades', () => {
  it('of WebSocket are spliced both ways', async () => {
    const sockets = new WebSocketServer({ server: ground.origin.server });
    sockets.on('connection', (socket) => {
      socket.on('message', (data) => socket.send(`echo ${String(data)}`));
    });
    for (const scheme of ['ws', 'wss']) {
      const client = new WebSocket(`${scheme}://127.0.0.1:${ground.port}/socket`, {
        headers: { authorization: `Bearer ${token}` },
        ca,
      });
      await once(client, 'open');
      for (const text of ['one', 'x'.repeat(200_000)]) {
        client.send(text);
        const [data] = await once(client, 'message');
        expect(String(data)).toBe(`echo ${text}`);
      }
      client.close();
      await once(client, 'close');
      expect(await lastOutcome(({ status }) => status === 101)).toMatchObject({ complete: true });
    }
    sockets.close();
  });

  it('that the target declines are answers', async () => {
    const answer = await ground.raw(
      `GET /a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(answer).toMatch(/hello$/);
  });

  it('of somebody without a token are refused', async () => {
    const client = new WebSocket(`ws://127.0.0.1:${ground.port}/socket`);
    const [error] = await once(client, 'error');
    expect(String(error)).toContain('401');
  });
});

it('verifies the target, and says which way it failed', async () => {
  const server = https.createServer(serverPem, (_request, response) => response.end('secret'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  const ask = async (tlsOptions: object): Promise<Got & { code?: string }> => {
    await using other = await startHttpGround({ target: { port, tls: { mode: 'VerifyFull', ...tlsOptions } } });
    const response = await fetch(`http://127.0.0.1:${other.port}/`, {
      headers: { authorization: `Bearer ${await other.token()}` },
    });
    const body = await response.text();
    return { status: response.status, headers: {}, trailers: {}, body, whole: true };
  };
  expect(await ask({ certificateAuthorities: ca })).toMatchObject({ status: 200, body: 'secret' });
  expect(await ask({ certificateAuthorities: ca, serverName: 'gateway.test' })).toMatchObject({ status: 200 });
  const untrusted = await ask({});
  expect([untrusted.status, JSON.parse(untrusted.body).code]).toEqual([502, 'SPU006']);
  const other = await ask({ certificateAuthorities: ca, serverName: 'other.test' });
  expect([other.status, JSON.parse(other.body).code]).toEqual([502, 'SPU007']);
  server.close();
});
