import { once } from 'node:events';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { ClusterAccess } from './access.ts';
import { CONFIG_MAPS, PODS } from './builtin.ts';
import { createKubeClient } from './client.ts';
import type { KubeClient } from './types.ts';

/** Ends what hangs; nothing is expected of it. */
const LIMIT = { timeout: 60_000 };

/**
 * How the client behaves as an HTTP client, in front of a server that does what a test says. What the API means by it is tried with a
 * real API server in test/cluster/.
 */
let ended: (() => void) | undefined;
afterEach(() => ended?.());

interface Ground {
  readonly client: KubeClient;
  readonly sockets: Set<Socket>;
  readonly requests: IncomingMessage[];
  readonly fresh: boolean[];
}

async function ground(
  answer: (request: IncomingMessage, response: ServerResponse, count: number) => void,
  more: { path?: string; maxAnswerBytes?: number; timeoutMs?: number } = {},
): Promise<Ground> {
  const sockets = new Set<Socket>();
  const requests: IncomingMessage[] = [];
  const fresh: boolean[] = [];
  const server = http.createServer((request, response) => {
    requests.push(request);
    sockets.add(request.socket);
    answer(request, response, requests.length);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const access: ClusterAccess = {
    server: new URL(`http://127.0.0.1:${port}${more.path ?? ''}`),
    namespace: undefined,
    async credential(isFresh) {
      fresh.push(isFresh);
      return { headers: { Authorization: `Bearer ${isFresh ? 'new' : 'old'}` }, tls: {} };
    },
  };
  const client = createKubeClient({ access, userAgent: 'test/1', ...more });
  ended = () => {
    client.close();
    server.closeAllConnections();
    server.close();
  };
  return { client, sockets, requests, fresh };
}

const POD = { metadata: { namespace: 'a', name: 'b', uid: 'u', resourceVersion: '1' } };
const send = (response: ServerResponse, value: unknown): void => void response.end(JSON.stringify(value));

it('keeps one connection for calls that follow each other', async () => {
  const { client, sockets, requests } = await ground((_, response) => send(response, POD));
  for (let each = 0; each < 20; each++) await client.get(PODS, { namespace: 'a', name: 'b' });
  expect(requests).toHaveLength(20);
  expect(sockets.size).toBe(1);
  expect(requests[0]?.headers).toMatchObject({ 'user-agent': 'test/1', accept: 'application/json' });
});

it('goes below the path of the server', async () => {
  const { client, requests } = await ground((_, response) => send(response, POD), { path: '/k8s/clusters/c1/' });
  await client.get(PODS, { namespace: 'a', name: 'b' });
  expect(requests[0]?.url).toBe('/k8s/clusters/c1/api/v1/namespaces/a/pods/b');
});

describe('when the server closed a kept connection', () => {
  const closing = (request: IncomingMessage, response: ServerResponse, count: number): void => {
    if (count === 2) request.socket.destroy();
    else send(response, POD);
  };

  it('reads again', async () => {
    const { client, sockets } = await ground(closing);
    await client.get(PODS, { namespace: 'a', name: 'b' });
    await client.get(PODS, { namespace: 'a', name: 'b' });
    expect(sockets.size).toBe(2);
  });

  it('does not write again: it may have been done', async () => {
    const { client, requests } = await ground(closing);
    await client.get(PODS, { namespace: 'a', name: 'b' });
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { namespace: 'a', name: 'b' } };
    await expect(client.create(CONFIG_MAPS, object)).rejects.toMatchObject({ code: 'SPB001' });
    expect(requests).toHaveLength(2);
  });
});

it('reads the credential again after 401, once', async () => {
  const { client, requests, fresh } = await ground((request, response) => {
    if (request.headers.authorization === 'Bearer new') send(response, POD);
    else response.writeHead(401).end();
  });
  await client.get(PODS, { namespace: 'a', name: 'b' });
  expect(fresh).toEqual([false, true]);
  expect(requests).toHaveLength(2);
});

it('does not sign in for ever', async () => {
  const { client, requests } = await ground((_, response) => void response.writeHead(401).end());
  await expect(client.get(PODS, { namespace: 'a', name: 'b' })).rejects.toMatchObject({ code: 'SPB003', status: 401 });
  expect(requests).toHaveLength(2);
});

it('does not go where it is sent', async () => {
  const { client, requests } = await ground(
    (_, response) => void response.writeHead(307, { location: '/elsewhere' }).end(),
  );
  await expect(client.request('GET', '/version')).rejects.toMatchObject({ code: 'SPB011', status: 307 });
  expect(requests).toHaveLength(1);
});

it('reads no more than the limit', async () => {
  const { client } = await ground((_, response) => void response.end('x'.repeat(2000)), { maxAnswerBytes: 1000 });
  await expect(client.request('GET', '/version')).rejects.toMatchObject({ code: 'SPB012' });
  await expect(client.request('GET', '/version', { maxBytes: 1999 })).rejects.toMatchObject({ code: 'SPB012' });
  expect((await client.request('GET', '/version', { maxBytes: 2000 })).body).toHaveLength(2000);
});

it('lists in smaller pages when a page is too long', async () => {
  const item = (name: number) => ({ metadata: { ...POD.metadata, name: String(name) }, data: 'x'.repeat(100) });
  const { client, requests } = await ground(
    (request, response) => {
      const query = new URL(request.url ?? '', 'http://x').searchParams;
      const limit = Number(query.get('limit'));
      const from = Number(query.get('continue') ?? 0);
      const items = Array.from({ length: Math.min(limit, 150 - from) }, (_, index) => item(from + index));
      const next = from + items.length < 150 ? { continue: String(from + items.length) } : {};
      send(response, { metadata: { resourceVersion: '5', ...next }, items });
    },
    { maxAnswerBytes: 24_000 },
  );
  const { items } = await client.listAll(PODS);
  expect(items.map(({ metadata }) => Number(metadata.name))).toEqual(Array.from({ length: 150 }, (_, index) => index));
  expect(requests).toHaveLength(3);
});

describe('gives up', () => {
  const silent = (): void => undefined;
  const halfSilent = (_: IncomingMessage, response: ServerResponse): void => void response.write('{');

  it.each([
    ['before the answer', silent],
    ['within the answer', halfSilent],
  ])('after its time, %s', async (_, answer) => {
    const { client } = await ground(answer, { timeoutMs: 20 });
    await expect(client.request('GET', '/version')).rejects.toMatchObject({ code: 'SPB002' });
  });

  it.each([
    ['before the answer', silent],
    ['within the answer', halfSilent],
  ])('when it is told to, %s', async (_, answer) => {
    const stop = new AbortController();
    const { client } = await ground((request, response) => {
      answer(request, response);
      setImmediate(() => stop.abort(new Error('told to')));
    });
    await expect(client.request('GET', '/version', { signal: stop.signal })).rejects.toThrow('told to');
  });

  it('before it began', async () => {
    const { client, requests } = await ground((_, response) => send(response, POD));
    const signal = AbortSignal.abort(new Error('told to'));
    await expect(client.request('GET', '/version', { signal })).rejects.toThrow('told to');
    expect(requests).toHaveLength(0);
  });
});

it('takes half an answer for none', async () => {
  const { client } = await ground((request, response) => {
    response.writeHead(200, { 'content-length': '100' });
    response.write('{', () => request.socket.destroy());
  });
  await expect(client.get(PODS, { namespace: 'a', name: 'b' })).rejects.toMatchObject({ code: 'SPB001' });
});

it('streams without an end, and stops when it is told to', async () => {
  let closed = false;
  const { client } = await ground((_, response) => {
    response.once('close', () => {
      closed = true;
    });
    response.write('one');
  });
  const stop = new AbortController();
  const seen: string[] = [];
  const reading = (async () => {
    for await (const chunk of client.stream('GET', '/log', { signal: stop.signal })) {
      seen.push(chunk.toString());
      stop.abort(new Error('enough'));
    }
  })();
  await expect(reading).rejects.toThrow('enough');
  expect(seen).toEqual(['one']);
  await expect.poll(() => closed, LIMIT).toBe(true);
});

it('makes calls while more watches are open than calls are allowed', async () => {
  const { client, sockets } = await ground((request, response) => {
    if (request.url?.includes('watch=true')) response.flushHeaders();
    else send(response, POD);
  });
  const stop = new AbortController();
  const watches = Array.from({ length: 100 }, async () => {
    const options = { resourceVersion: '1', timeoutSeconds: 60, signal: stop.signal };
    for await (const event of client.watch(PODS, options)) expect(event).toBeUndefined();
  });
  const ended = Promise.allSettled(watches);
  await expect.poll(() => sockets.size, LIMIT).toBe(100);
  await client.get(PODS, { namespace: 'a', name: 'b' });
  await Promise.all(Array.from({ length: 200 }, () => client.get(PODS, { namespace: 'a', name: 'b' })));
  expect(sockets.size).toBeLessThanOrEqual(100 + 64);
  stop.abort(new Error('enough'));
  for (const result of await ended) expect(result).toMatchObject({ status: 'rejected', reason: { message: 'enough' } });
});

it('sends a text as it is when its type is named', async () => {
  const bodies: string[] = [];
  const { client } = await ground((request, response) => {
    request.setEncoding('utf8').on('data', (text: string) => bodies.push(`${request.headers['content-type']} ${text}`));
    request.on('end', () => send(response, {}));
  });
  await client.request('POST', '/x', { body: 'a: 1', headers: { 'content-type': 'application/yaml' } });
  await client.request('POST', '/x', { body: { a: 1 } });
  expect(bodies).toEqual(['application/yaml a: 1', 'application/json {"a":1}']);
});

it('says that nobody is there', async () => {
  const { client } = await ground(() => undefined);
  ended?.();
  await expect(client.request('GET', '/version')).rejects.toMatchObject({ code: 'SPB001', object: 'GET /version' });
});
