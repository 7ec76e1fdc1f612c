import http from 'node:http';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type HttpGround, startHttpGround } from '../../support/http-ground.ts';

let ground: HttpGround;
let token: string;
beforeAll(async () => {
  ground = await startHttpGround({
    origin(request, response) {
      if (request.url?.startsWith('/echo')) {
        response.writeHead(200, { 'content-type': request.headers['content-type'] ?? 'none' });
        request.pipe(response);
      } else response.end('hello');
    },
  });
  token = await ground.token();
});
afterAll(() => ground?.[Symbol.asyncDispose]());

const fetched = async (path: string, init: RequestInit & { duplex?: 'half' } = {}): Promise<Response> =>
  fetch(`http://127.0.0.1:${ground.port}${path}`, {
    ...init,
    headers: { authorization: `Bearer ${token}`, ...init.headers },
  });

it('relays a request of somebody with a token, and records the session first', async () => {
  const response = await fetched('/a%20b/c?x=1&y=%C3%A9');
  expect(response.status).toBe(200);
  expect(await response.text()).toBe('hello');
  const [request] = ground.origin.requests;
  expect(request?.url).toBe('/a%20b/c?x=1&y=%C3%A9');
  expect(request?.headers['authorization']).toBeUndefined();
  expect(request?.headers.host).toBe(`127.0.0.1:${ground.origin.port}`);
  const events = (await ground.recorded()).map(({ e }) => e);
  expect(events.slice(events.indexOf('session.start'))).toEqual([
    'session.start',
    'session.authenticated',
    'command.received',
  ]);
});

it('streams bodies both ways', async () => {
  const body = Buffer.alloc(8 << 20, 'x');
  const response = await fetched('/echo', { method: 'POST', body, headers: { 'content-type': 'text/x' } });
  expect(response.headers.get('content-type')).toBe('text/x');
  expect((await response.arrayBuffer()).byteLength).toBe(body.length);
});

it('refuses whoever has no token', async () => {
  const response = await fetch(`http://127.0.0.1:${ground.port}/`);
  expect(response.status).toBe(401);
  expect(await response.json()).toMatchObject({ code: 'SPE007' });
  expect(response.headers.get('www-authenticate')).toBe('Bearer realm="sallyport"');
});

it('keeps one session for the requests of a connection', async () => {
  const before = ground.sessions.length;
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const get = (): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const request = http.get(
        { port: ground.port, agent, path: '/', headers: { authorization: `Bearer ${token}` } },
        (response) => {
          response.resume().on('end', () => resolve(response.statusCode));
        },
      );
      request.on('error', reject);
    });
  expect([await get(), await get(), await get()]).toEqual([200, 200, 200]);
  agent.destroy();
  expect(ground.sessions.length).toBe(before + 1);
  expect(ground.sessions.at(-1)?.requests).toBe(3);
});
