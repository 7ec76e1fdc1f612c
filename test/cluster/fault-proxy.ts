/**
 * Stands between a client and a real API server, and does to the client what networks and API servers do on bad days. Without a fault it
 * hands everything on unchanged. Plain HTTP towards the client, since what is tried is not TLS; a certificate of the kubeconfig towards the
 * API server.
 */
import { EventEmitter, once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { loadKubeConfig } from '../../kube/access.ts';

export type Fault =
  /** Answers itself, without asking the API server. */
  | {
      readonly kind: 'status';
      readonly code: 401 | 403 | 404 | 410 | 429 | 500 | 503;
      readonly retryAfterSeconds?: number;
    }
  /** A TCP reset instead of an answer. */
  | { readonly kind: 'reset' }
  /** No answer, the connection stays. */
  | { readonly kind: 'stall' }
  /** An answer that is not of an API server, status 200. */
  | { readonly kind: 'html' }
  /** For lists: half of the answer, then a reset. */
  | { readonly kind: 'half' }
  /** For watches: after so many events… */
  | {
      readonly kind: 'watch';
      readonly afterEvents: number;
      readonly how:
        | 'reset'
        | 'close'
        /** nothing comes any more, the connection stays */
        | 'stall'
        /** half of the next event, then a reset */
        | 'cut-reset'
        /** half of the next event, then a proper end of the answer */
        | 'cut-close'
        /** a line that is no event in place of the next one; later ones follow */
        | 'garble'
        /** the next event is there, but without its name and version; later ones follow */
        | 'hollow'
        /** an ERROR event */
        | { readonly error: 410 | 429 | 500 };
    }
  /** For watches: each event so many times. */
  | { readonly kind: 'repeat'; readonly times: number }
  /** For watches: after each event the two before it come again. */
  | { readonly kind: 'replay' }
  /** For watches: a proper end at once. */
  | { readonly kind: 'empty' };

export interface Intercepted {
  readonly method: string;
  readonly path: string;
  readonly isWatch: boolean;
}

export interface FaultProxy extends AsyncDisposable {
  /** Path of a kubeconfig that leads through it. */
  readonly kubeconfig: string;
  /** Asked for each request. Undefined, and at first: no fault. */
  decide: (request: Intercepted) => Fault | undefined;
  /** Does it to the next request that fits; resolves when it was done. */
  next(fault: Fault, fits?: (request: Intercepted) => boolean): Promise<void>;
  /** Resets all connections that are open. */
  resetAll(): void;
  /** Requests so far, by what they were. */
  readonly seen: { lists: number; watches: number; others: number };
}

export async function startFaultProxy(kubeconfig: string, folder: string): Promise<FaultProxy> {
  const access = await loadKubeConfig({ kubeconfig, env: {} });
  const { tls } = await access.credential(false);
  const agent = new https.Agent({ keepAlive: true, ca: tls.ca, cert: tls.cert, key: tls.key });
  const done = new EventEmitter();
  const planned: { readonly fault: Fault; readonly fits: (request: Intercepted) => boolean; readonly id: string }[] =
    [];
  const seen = { lists: 0, watches: 0, others: 0 };
  let ids = 0;

  const forward = (
    request: IncomingMessage,
    response: ServerResponse,
    fault: Fault | undefined,
    tell: () => void,
  ): void => {
    const upstream = https.request(
      {
        host: access.server.hostname,
        port: access.server.port,
        method: request.method,
        path: request.url,
        agent,
        headers: { ...request.headers, host: access.server.host },
      },
      (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        response.flushHeaders();
        // What the client gives up, the API server need not go on with.
        response.once('close', () => answer.destroy());
        answer.once('error', () => resetSocket(response));
        if (fault === undefined) answer.pipe(response);
        else if (fault.kind === 'half') void sendHalf(answer, response).then(tell, () => resetSocket(response));
        else void spoilWatch(answer, response, fault, tell);
      },
    );
    upstream.once('error', () => resetSocket(response));
    response.once('close', () => upstream.destroy());
    request.pipe(upstream);
  };

  const server = http.createServer((request, response) => {
    const asked = interceptedOf(request);
    if (asked.isWatch) seen.watches++;
    else if (asked.method === 'GET' && /\/[a-z]+(\?|$)/.test(asked.path)) seen.lists++;
    else seen.others++;
    const index = planned.findIndex((plan) => plan.fits(asked));
    const plan = index < 0 ? undefined : planned.splice(index, 1)[0];
    const fault = plan?.fault ?? proxy.decide(asked);
    const tell = (): void => void (plan !== undefined && done.emit(plan.id));
    if (fault?.kind === 'status') answerStatus(response, fault);
    else if (fault?.kind === 'reset') resetSocket(response);
    else if (fault?.kind === 'html') response.end('<html>a login page</html>');
    else if (fault?.kind === 'empty') response.writeHead(200, { 'content-type': 'application/json' }).end();
    else if (fault?.kind === 'stall') request.resume();
    else {
      forward(request, response, fault, tell);
      return;
    }
    tell();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const file = `${folder}/fault-proxy-${port}.kubeconfig`;
  const cluster = { name: 'proxy', cluster: { server: `http://127.0.0.1:${port}` } };
  const context = { name: 'proxy', context: { cluster: 'proxy' } };
  await writeFile(file, JSON.stringify({ clusters: [cluster], contexts: [context], 'current-context': 'proxy' }));

  const proxy: FaultProxy = {
    kubeconfig: file,
    decide: () => undefined,
    async next(fault, fits = () => true) {
      const id = `done-${ids++}`;
      const happened = once(done, id);
      planned.push({ fault, fits, id });
      await happened;
    },
    resetAll: () => server.closeAllConnections(),
    seen,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      agent.destroy();
    },
  };
  return proxy;
}

function interceptedOf(request: IncomingMessage): Intercepted {
  const path = request.url ?? '';
  return { method: request.method ?? '', path, isWatch: /[?&]watch=true/.test(path) };
}

const resetSocket = (response: ServerResponse): void => void response.socket?.resetAndDestroy();

function answerStatus(response: ServerResponse, fault: Fault & { kind: 'status' }): void {
  response.writeHead(fault.code, {
    'content-type': 'application/json',
    ...(fault.retryAfterSeconds === undefined ? {} : { 'retry-after': String(fault.retryAfterSeconds) }),
  });
  response.end(JSON.stringify(statusOf(fault.code)));
}

const statusOf = (code: number) => ({
  apiVersion: 'v1',
  kind: 'Status',
  status: 'Failure',
  code,
  reason: code === 410 ? 'Expired' : 'Fault',
  message: 'a fault that a test asked for',
});

async function sendHalf(answer: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks);
  response.write(body.subarray(0, Math.floor(body.length / 2)), () => resetSocket(response));
}

/** Hands on lines, and after some of them does what it was asked. */
async function spoilWatch(
  answer: IncomingMessage,
  response: ServerResponse,
  fault: Fault,
  tell: () => void,
): Promise<void> {
  const before: string[] = [];
  let count = 0;
  let spoiled = false;
  let mute = false;
  try {
    for await (const line of linesOf(answer)) {
      if (fault.kind === 'watch' && !spoiled && count >= fault.afterEvents) {
        spoiled = true;
        tell();
        // Read on: an API server that cannot get rid of its events would end the watch.
        if (fault.how === 'stall') mute = true;
        else if (!spoil(response, line, fault.how)) return;
        continue;
      }
      if (mute) continue;
      response.write(line);
      count++;
      if (fault.kind === 'repeat') for (let again = 1; again < fault.times; again++) response.write(line);
      if (fault.kind === 'replay' && before.length > 0) {
        for (const old of before.slice(-2)) response.write(old);
        tell();
      }
      before.push(line);
      if (count === 3 && fault.kind === 'repeat') tell();
    }
    response.end();
  } catch {
    // The API server, or the client, broke it off.
    resetSocket(response);
  }
}

/** @returns whether it goes on */
function spoil(
  response: ServerResponse,
  line: string,
  how: Exclude<(Fault & { kind: 'watch' })['how'], 'stall'>,
): boolean {
  const half = line.slice(0, Math.floor(line.length / 2));
  switch (how) {
    case 'reset':
      resetSocket(response);
      return false;
    case 'close':
      response.end();
      return false;
    case 'cut-reset':
      response.write(half, () => resetSocket(response));
      return false;
    case 'cut-close':
      response.end(half);
      return false;
    case 'garble':
      response.write(`${half}\n`);
      return true;
    case 'hollow': {
      const event = JSON.parse(line) as { object: { metadata: Record<string, unknown> } };
      event.object.metadata = { resourceVersion: '' };
      response.write(`${JSON.stringify(event)}\n`);
      return true;
    }
    default:
      response.end(`${JSON.stringify({ type: 'ERROR', object: statusOf(how.error) })}\n`);
      return false;
  }
}

async function* linesOf(answer: IncomingMessage): AsyncGenerator<string> {
  let held = '';
  for await (const chunk of answer.setEncoding('utf8')) {
    held += String(chunk);
    const lines = held.split('\n');
    held = lines.pop() ?? '';
    for (const line of lines) yield `${line}\n`;
  }
}
