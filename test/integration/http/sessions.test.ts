/** Who may ask, for how long, how much and how slowly. */
import { once } from 'node:events';
import http, { type IncomingMessage } from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { describe, expect, it, vi } from 'vitest';
import type { VerifiedIdentity } from '../../../proxy/ports.ts';
import { forwardAll, type HttpGround, type HttpGroundOptions, startHttpGround } from '../../support/http-ground.ts';

/** A gateway whose origin begins an answer to `/stream` and never ends it. */
const started = (options: HttpGroundOptions = {}): Promise<HttpGround> =>
  startHttpGround({
    origin(request, response) {
      if (request.url === '/stream') response.writeHead(200).write('begun');
      else response.end('hello');
    },
    ...options,
  });

const TUNNEL: VerifiedIdentity = {
  subject: { username: 'system:serviceaccount:default:agent', groups: [], claims: {} },
  sessionExpiresAt: new Date(Date.now() + 3_600_000),
  tokenId: 'tunnel-token',
  tokenLifetimeSeconds: 3600,
};

interface Open {
  /** Resolves when the answer is cut off. */
  readonly cut: Promise<void>;
  readonly request: http.ClientRequest;
}

async function open(ground: HttpGround, token: string, agent?: http.Agent): Promise<Open> {
  const request = http.get({
    ...{ host: '127.0.0.1', port: ground.port, path: '/stream', agent: agent ?? false },
    headers: { authorization: `Bearer ${token}` },
  });
  request.on('error', () => {});
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  await once(response, 'data');
  response.on('error', () => {});
  return { request, cut: new Promise((resolve) => response.once('close', resolve)) };
}

async function get(ground: HttpGround, token: string, agent?: http.Agent): Promise<{ status: number; code?: string }> {
  const request = http.get({
    ...{ host: '127.0.0.1', port: ground.port, path: '/', agent: agent ?? false },
    headers: { authorization: `Bearer ${token}` },
  });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const body = (await response.setEncoding('utf8').toArray()).join('');
  return { status: response.statusCode ?? 0, ...(body.startsWith('{') ? JSON.parse(body) : {}) };
}

const endings = async (ground: HttpGround): Promise<unknown[]> =>
  (await ground.recorded()).filter(({ e }) => e === 'session.end').map(({ code, reason }) => code ?? reason);

describe('a session', () => {
  it('ends with its token, in the middle of an answer', async () => {
    let sessionExpiresAt = new Date(Date.now() + 3_600_000);
    const identity: VerifiedIdentity = {
      ...TUNNEL,
      get sessionExpiresAt() {
        return sessionExpiresAt;
      },
    };
    await using ground = await started({ proof: async () => identity });
    const { cut } = await open(ground, '');
    sessionExpiresAt = new Date();
    await cut;
    expect(await endings(ground)).toEqual(['SPE013']);
    expect(await get(ground, '')).toMatchObject({ status: 401, code: 'SPE013' });
  });

  it('goes on with a fresh token of the same subject, and another subject has another', async () => {
    await using ground = await started();
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    for (const name of ['agent', 'agent', 'other'])
      expect(await get(ground, await ground.token(name), agent)).toMatchObject({ status: 200 });
    expect(ground.sessions.map(({ requests }) => requests)).toEqual([2, 1]);
    const proved = (await ground.recorded()).filter(({ e }) => e === 'session.authenticated');
    expect(new Set(proved.map(({ tokenId }) => tokenId)).size).toBe(3);
    agent.destroy();
    await vi.waitFor(async () => expect(await endings(ground)).toHaveLength(2));
  });

  it('ends when policy names its subject no more, and none is begun', async () => {
    await using ground = await started();
    const token = await ground.token();
    const { cut } = await open(ground, token);
    ground.change({ mayConnect: false });
    await cut;
    expect(await get(ground, token)).toMatchObject({ status: 403, code: 'SPE008' });
    expect(await endings(ground)).toEqual(['SPE013']);
  });

  it('ends with the identity of a tunnel, and needs no token in it', async () => {
    const leaving = new AbortController();
    const identity: VerifiedIdentity = { ...TUNNEL, withdrawn: leaving.signal };
    await using ground = await started({ proof: async () => identity });
    const { cut } = await open(ground, 'of-somebody-else');
    expect(ground.origin.requests[0]?.headers['authorization']).toBeUndefined();
    leaving.abort(Object.assign(new Error('the pod is gone'), { code: 'SPI099', hint: '' }));
    await cut;
    expect(await endings(ground)).toEqual(['SPI099']);
  });

  it('counts against the limit of the connection', async () => {
    await using ground = await started({ limits: { maxSessions: 1 } });
    const token = await ground.token();
    const { request } = await open(ground, token);
    expect(await get(ground, token)).toMatchObject({ status: 429, code: 'SPE009' });
    request.destroy();
    await vi.waitFor(async () => expect(await get(ground, token)).toMatchObject({ status: 200 }));
  });

  it('ends when it has lasted too long, or was idle', async () => {
    await using long = await started({ limits: { maxSessionDurationMs: 200 } });
    const request = http.get({
      ...{ host: '127.0.0.1', port: long.port, path: '/stream', agent: false },
      headers: { authorization: `Bearer ${await long.token()}` },
    });
    request.on('error', () => {});
    request.on('response', (response) => response.on('error', () => {}).resume());
    // However far it has come by then.
    await new Promise((resolve) => request.once('close', resolve));
    expect((await long.recorded()).find(({ e }) => e === 'session.end')?.['reason']).toContain('0.2 s');
    await using idle = await started({ limits: { idleTimeoutMs: 200 } });
    const agent = new http.Agent({ keepAlive: true });
    const busy = await open(idle, await idle.token());
    await get(idle, await idle.token(), agent);
    await vi.waitFor(async () => expect(await endings(idle)).toEqual(['SPE013']), 5000);
    // What is under way is no idleness.
    expect(idle.sessions.filter(({ signal }) => !signal.aborted)).toHaveLength(1);
    busy.request.destroy();
    agent.destroy();
  });

  it('is not begun when its record cannot be', async () => {
    await using ground = await started({
      async handle(exchange, on) {
        exchange.session.recordFailed(new Error('disk full'));
        await forwardAll(exchange, on);
      },
    });
    let connections = 0;
    ground.origin.server.on('connection', () => {
      connections++;
    });
    const answered = await get(ground, await ground.token());
    expect(answered).toMatchObject({ status: 503, code: 'SPE014' });
    expect(connections).toBe(0);
  });

  it('is let finish when the gateway stops, and idle connections are closed', async () => {
    const begun = Promise.withResolvers<http.ServerResponse>();
    await using ground = await started({
      origin(request, response) {
        if (request.url === '/slow') begun.resolve(response);
        else response.end('hello');
      },
    });
    const token = await ground.token();
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    await get(ground, token, agent);
    const request = http.get({
      ...{ host: '127.0.0.1', port: ground.port, path: '/slow' },
      headers: { authorization: `Bearer ${token}` },
    });
    const response = once(request, 'response') as Promise<[IncomingMessage]>;
    const slow = await begun.promise;
    const stopped = ground.stop();
    slow.end('done');
    const [head] = await response;
    expect((await head.setEncoding('utf8').toArray()).join('')).toBe('done');
    await stopped;
    expect(await endings(ground)).toHaveLength(2);
    agent.destroy();
  });
});

describe('limits', () => {
  it('refuses ten thousand fields, and a head that is too large', async () => {
    await using ground = await started();
    const token = await ground.token();
    const head = `GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n`;
    const refused = async (fields: string): Promise<string> => {
      const answer = await ground.raw(`${head}${fields}\r\n`, (text) => text.endsWith('}'));
      return `${answer.slice(9, 12)} ${/SPE\d+/.exec(answer)?.[0]}`;
    };
    expect(await refused('a: b\r\n'.repeat(10_000))).toBe('431 SPE004');
    expect(await refused('a: b\r\n'.repeat(200))).toBe('431 SPE004');
    expect(await refused(`a: ${'x'.repeat(20_000)}\r\n`)).toBe('431 SPE004');
    expect(ground.origin.requests).toHaveLength(0);
    const many = await ground.raw(`${head}${'a: b\r\n'.repeat(100)}\r\n`, (text) => text.endsWith('hello'));
    expect(many).toMatch(/^HTTP\/1\.1 200 /);
  });

  it('refuses ten thousand fields over HTTP/2', async () => {
    await using ground = await started();
    const session = http2.connect(`http://127.0.0.1:${ground.port}`, { maxSendHeaderBlockLength: 1_000_000 });
    session.on('error', () => {});
    const fields = Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`x-${index}`, '1']));
    const stream = session.request({ ':path': '/', authorization: `Bearer ${await ground.token()}`, ...fields });
    stream.on('error', () => {});
    stream.resume();
    await new Promise((resolve) => stream.once('close', resolve));
    expect(ground.origin.requests).toHaveLength(0);
    session.destroy();
  });

  it('waits only so long for a head, and for the next piece of it', async () => {
    await using ground = await started({ headTimeoutMs: 300 });
    expect(await ground.raw('GET / HTTP/1.1\r\nHost: x\r\n')).toMatch(/^HTTP\/1\.1 408 .*SPE005/s);
    const socket = net.connect(ground.port, '127.0.0.1');
    const drip = setInterval(() => socket.write('x'), 20);
    socket.on('error', () => {});
    socket.write('GET / HTTP/1.1\r\na: ');
    socket.resume();
    await once(socket, 'close');
    clearInterval(drip);
    // Whoever says nothing at all is gone, too.
    const silent = net.connect(ground.port, '127.0.0.1').resume();
    await once(silent, 'close');
    expect(ground.origin.requests).toHaveLength(0);
  });

  it('takes a body no longer than the lane wants it', async () => {
    await using ground = await started({
      async handle(exchange) {
        const body = await exchange.readBody(1000);
        await exchange.answer(200, [], String(body.length));
      },
    });
    const post = async (body: string, more: object = {}): Promise<[number, string]> => {
      const response = await fetch(`http://127.0.0.1:${ground.port}/`, {
        method: 'POST',
        body,
        headers: { authorization: `Bearer ${await ground.token()}` },
        ...more,
      });
      return [response.status, await response.text()];
    };
    expect(await post('x'.repeat(1000))).toEqual([200, '1000']);
    expect(await post('x'.repeat(1001))).toEqual([413, expect.stringContaining('SPE012')]);
    const chunks = new ReadableStream({
      start(controller) {
        for (let index = 0; index < 20; index++) controller.enqueue(Buffer.alloc(100));
        controller.close();
      },
    });
    expect(await post('', { body: chunks, duplex: 'half' })).toEqual([413, expect.stringContaining('SPE012')]);
  });

  it('ends a connection that opens and resets streams', async () => {
    await using ground = await started();
    const session = http2.connect(`http://127.0.0.1:${ground.port}`);
    session.on('error', () => {});
    const token = await ground.token();
    const closed = new Promise((resolve) => session.once('close', resolve));
    const reset = (): void => {
      for (let index = 0; index < 100 && !session.destroyed; index++) {
        const stream = session.request({ ':path': '/stream', authorization: `Bearer ${token}` });
        stream.on('error', () => {});
        stream.close(http2.constants.NGHTTP2_CANCEL);
      }
      if (!session.destroyed) setImmediate(reset);
    };
    reset();
    await closed;
    await vi.waitFor(async () => expect(await get(ground, token)).toMatchObject({ status: 200 }));
  });

  it('ends a connection that floods settings and pings without reading', async () => {
    await using ground = await started();
    const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    const ping = Buffer.from([0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    const socket = net.connect(ground.port, '127.0.0.1');
    socket.on('error', () => {});
    const flood = Buffer.concat(Array.from({ length: 500 }, () => Buffer.concat([settings, ping])));
    socket.write(preface);
    socket.pause();
    const closed = new Promise((resolve) => socket.once('close', resolve));
    const more = (): void => {
      while (!socket.destroyed && socket.write(flood));
    };
    socket.on('drain', more);
    more();
    await closed;
    expect(await get(ground, await ground.token())).toMatchObject({ status: 200 });
  });
});
