/** A command's edges, between a WebSocket client and a server that speaks as kubelets do: what real ones do only when something breaks. */
import { once } from 'node:events';
import http, { type IncomingMessage } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { HttpRefused, httpError } from '../../http/core/errors.ts';
import { kubernetesError } from '../errors.ts';
import type { StreamAdmission, StreamAsk, StreamCall } from './port.ts';
import { serveStream } from './serve.ts';

const cleanup: (() => void)[] = [];
afterEach(() => {
  for (const close of cleanup.splice(0)) close();
});

async function listening(server: http.Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanup.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

interface Ground {
  /** @param serve what the API server does with a stream */
  readonly upstream?: (socket: WebSocket) => void;
  readonly refuse?: { readonly status: number; readonly body: string };
  readonly protocols?: readonly string[];
  readonly admit?: (ask: StreamAsk) => Promise<StreamAdmission>;
}

const admitted = (more: object = {}): StreamAdmission => ({
  admitted: {
    ...{
      seq: 1,
      limits: {},
      content: undefined,
      binary: 'Search',
      withdrawn: new AbortController().signal,
      granted: false,
      settle: () => undefined,
    },
    ...more,
  },
});

/** A client, this, and an API server. */
async function run({ upstream = () => undefined, refuse, protocols = ['v5.channel.k8s.io'], admit }: Ground) {
  const api = http.createServer();
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: () => 'v5.channel.k8s.io' });
  api.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (refuse === undefined) sockets.handleUpgrade(request, socket, head, upstream);
    else socket.end(`HTTP/1.1 ${refuse.status} No\r\ncontent-length: ${refuse.body.length}\r\n\r\n${refuse.body}`);
  });
  const port = await listening(api);

  const events: string[] = [];
  const asked: StreamAsk[] = [];
  const served = Promise.withResolvers<void>();
  const gateway = http.createServer();
  gateway.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const left = new AbortController();
    socket.on('close', () => left.abort(new HttpRefused(httpError('SPE020'))));
    socket.on('error', () => undefined);
    socket.unshift(head);
    const headers = request.rawHeaders.map((text, index) => (index % 2 === 0 ? text.toLowerCase() : text));
    const call = {
      ...{ kind: 'exec', namespace: 'default', pod: 'web' },
      exchange: {
        head: {
          method: 'GET',
          upgrade: 'websocket',
          headers,
          query: [
            ['command', 'cat'],
            ['stdin', 'true'],
            ['stdout', 'true'],
            ['stderr', 'true'],
          ],
        }, // prettier-ignore
        signal: left.signal,
        async answer(status: number, _headers: readonly string[], body: string) {
          socket.end(`HTTP/1.1 ${status} No\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
        },
        takeOver: () => socket,
      },
      upstream: {
        headers: async () => ['authorization', 'Bearer ours'],
        pool: { target: { host: '127.0.0.1', port }, dial: async () => connect(port, '127.0.0.1') },
      },
      session: {
        id: 's',
        stream: {
          append: (event: string, members: string) => events.push(`${event} ${members}`),
          flush: () => undefined,
          sync: async () => undefined,
        }, // prettier-ignore
        audit: { level: 'Full', maxResponseBytes: 65_536, retentionDays: 1 },
        async admit(ask: StreamAsk) {
          asked.push(ask);
          return admit === undefined ? admitted() : admit(ask);
        },
        failed: () => undefined,
      },
    } as unknown as StreamCall;
    serveStream(call).then(served.resolve, served.reject);
  });
  const client = new WebSocket(`ws://127.0.0.1:${await listening(gateway)}/`, [...protocols]);
  cleanup.push(() => client.terminate());
  const got: Buffer[] = [];
  client.on('message', (message: Buffer) => got.push(message));
  const refused = Promise.withResolvers<{ readonly status: number; readonly body: string }>();
  client.on('unexpected-response', async (_request, response: IncomingMessage) => {
    refused.resolve({ status: response.statusCode ?? 0, body: String(Buffer.concat(await response.toArray())) });
  });
  client.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => client.once('close', () => resolve()));
  const channel = (number: number): string =>
    String(Buffer.concat(got.filter(([first]) => first === number).map((message) => message.subarray(1)))); // prettier-ignore
  return { client, closed, channel, events, asked, served: served.promise, refused: refused.promise };
}

const message = (channel: number, text: string): Buffer => Buffer.concat([Buffer.of(channel), Buffer.from(text)]);
const SUCCESS = '{"status":"Success"}';

describe('a command', () => {
  it('gets its input and the end of it, in our identity, and ends with its Status', async () => {
    const seen: string[] = [];
    const { client, closed, channel, served, events } = await run({
      upstream(socket) {
        socket.on('message', (data: Buffer) => {
          if (data[0] !== 255) {
            seen.push(String(data.subarray(1)));
            return;
          }
          socket.send(message(1, 'out'));
          socket.send(message(2, 'err'));
          socket.send(message(3, SUCCESS));
          socket.close();
        });
      },
    });
    await vi.waitFor(() => expect(client.readyState).toBe(WebSocket.OPEN));
    client.send(message(0, 'in'));
    // As Python's client writes.
    client.send('\0text');
    client.send(Buffer.of(255, 0));
    await Promise.all([closed, served]);
    expect([seen, channel(1), channel(2), channel(3)]).toEqual([['in', 'text'], 'out', 'err', SUCCESS]);
    expect(events.at(-1)).toContain('command.executed "session":"s","seq":1,"channel":0,"exit":0');
  });

  it('whose API server breaks off says so, and is recorded as failed', async () => {
    const { closed, channel, served, events } = await run({
      upstream(socket) {
        socket.send(message(1, 'half'), () => socket.terminate());
      },
    });
    await Promise.all([closed, served]);
    expect(channel(1)).toBe('half');
    expect(JSON.parse(channel(3))).toMatchObject({ status: 'Failure', reason: 'InternalError' });
    expect(events.at(-1)).toMatch(/^command\.failed .*"code":"SPL105"/);
  });

  it('that is left by its client ends at the API server', async () => {
    const ended = Promise.withResolvers<void>();
    const { client, channel, served, events } = await run({
      upstream(socket) {
        socket.on('close', () => ended.resolve());
        socket.send(message(1, 'begun'));
      },
    });
    await vi.waitFor(() => expect(channel(1)).toBe('begun'));
    client.terminate();
    await Promise.all([ended.promise, served]);
    expect(events.at(-1)).toMatch(/^command\.failed .*"code":"SPL106"/);
  });

  it('that is denied is told as its Status to who would ask again, and plainly to who would not read it', async () => {
    const admit = async (): Promise<StreamAdmission> => ({ denied: kubernetesError('SPL001', 'not allowed') });
    const first = await run({ admit });
    await Promise.all([first.closed, first.served]);
    expect(JSON.parse(first.channel(3))).toMatchObject({ status: 'Failure', reason: 'Forbidden', code: 403 });
    const second = await run({ admit, protocols: ['v5.channel.k8s.io', 'v4.channel.k8s.io'] });
    expect(await second.refused).toMatchObject({ status: 403, body: expect.stringContaining('denied: not allowed') });
  });

  it('that waits tells so, and its client may leave', async () => {
    const { client, channel, served, events, asked } = await run({
      admit: (ask) =>
        new Promise((resolve) => {
          ask.note?.('sallyport: this waits for approval\n');
          ask.signal.addEventListener('abort', () => resolve({ denied: kubernetesError('SPL011') }));
        }),
    });
    await vi.waitFor(() => expect(channel(2)).toBe('sallyport: this waits for approval\n'));
    client.send(message(0, 'x'.repeat(200_000)));
    client.terminate();
    await served;
    expect([asked[0]?.signal.aborted, events]).toEqual([true, []]);
  });

  it('that the API server refuses is refused in its words; what people agreed to is not asked for twice', async () => {
    const refuse = { status: 400, body: '{"kind":"Status","status":"Failure","message":"no such container"}' };
    const plain = await run({ refuse });
    expect(await plain.refused).toEqual(refuse);
    await plain.served;
    const settled: string[] = [];
    const settle = (outcome: string): void => void settled.push(outcome);
    const granted = await run({ refuse, admit: async () => admitted({ granted: true, settle }) });
    await Promise.all([granted.closed, granted.served]);
    expect([JSON.parse(granted.channel(3)), settled]).toMatchObject([{ message: 'no such container' }, ['Failed']]);
  });

  it('is shown no more than its limit', async () => {
    const { closed, channel, served } = await run({
      admit: async () => admitted({ limits: { maxBytesReturned: 1000 } }),
      upstream(socket) {
        for (let i = 0; i < 4; i++) socket.send(message(1, 'x'.repeat(400)));
      },
    });
    await Promise.all([closed, served]);
    expect([channel(1).length, JSON.parse(channel(3))]).toMatchObject([
      800,
      { message: expect.stringContaining('SPL102') },
    ]);
  });

  it('is shown whole to a client that reads slowly, without being kept', async () => {
    const total = 32 * 1024 * 1024;
    let waiting = 0;
    const { client, closed, channel, served } = await run({
      upstream(socket) {
        const piece = message(1, 'x'.repeat(32_768));
        let sent = 0;
        const send = (): void => {
          waiting = Math.max(waiting, sent);
          if (sent >= total) {
            socket.send(message(3, SUCCESS));
            socket.close();
            return;
          }
          sent += 32_768;
          socket.send(piece, send);
        };
        send();
      },
    });
    await vi.waitFor(() => expect(client.readyState).toBe(WebSocket.OPEN));
    client.pause();
    // What the kernel's buffers and ours take is sent; then nothing more.
    let before = -1;
    await vi.waitFor(
      () => {
        const same = waiting === before;
        before = waiting;
        expect(same).toBe(true);
      },
      { timeout: 60_000, interval: 200 },
    );
    expect(waiting).toBeLessThan(total);
    client.resume();
    await Promise.all([closed, served]);
    expect(channel(1).length).toBe(total);
  });
});
