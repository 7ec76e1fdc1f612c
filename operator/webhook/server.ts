import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createAcceptor, type Socket } from 'node:net';
import { type SecureContext, TLSSocket } from 'node:tls';
import { type AdmissionHandler, type AdmissionResponse, parseReview, renderReview } from './admission.ts';
import { type WebhookErrorCode, webhookMessage } from './errors.ts';

/** pino's shape, as far as this folder writes. */
export interface WebhookLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface WebhookServerOptions {
  readonly host?: string;
  /** 0: any that is free. */
  readonly port: number;
  /** By path, such as `/inject`. */
  readonly handlers: Readonly<Record<string, AdmissionHandler>>;
  /** Asked for at each handshake, so that a new certificate needs no restart. For TLS 1.2 or newer. */
  readonly certificate: () => SecureContext;
  readonly log: WebhookLog;
  /** An object in etcd has at most 1.5 MiB; a review carries it twice. Default 6 MiB. */
  readonly maxBodyBytes?: number;
  /** Less than `timeoutSeconds` of the webhook, so that the person reads our words and not "context deadline exceeded". Default 8000. */
  readonly decideWithinMs?: number;
  /** From the end of the handshake, or of the headers, until the whole request is there. Default 10 s. */
  readonly requestMs?: number;
  /** Told of every review that was judged; for metrics. */
  readonly observe?: (path: string, outcome: 'allowed' | 'refused' | 'failed', seconds: number) => void;
}

export interface WebhookServer {
  readonly address: AddressInfo;
  /** Takes no new connections, lets what runs end, then closes. */
  close(): Promise<void>;
}

const MIB = 1024 * 1024;
const HANDSHAKE_MS = 5000;
const REQUEST_MS = 10_000;
const KEEP_ALIVE_MS = 60_000;
/** Of all clients, and of one address: nobody has to say who they are here, and an API server must find room whoever else comes. */
const CONNECTIONS = 2048;
const CONNECTIONS_OF_ONE = 512;
/** Bodies of usual size always fit, since connections are counted; longer ones share some room. */
const USUAL_BODY = 256 * 1024;
const LONG_BODIES = 64 * MIB;

function refusal(status: number, code: WebhookErrorCode, fills: readonly (string | number)[] = []): AdmissionResponse {
  return { allowed: false, status, code, message: webhookMessage(code, fills) };
}

/** Room for long bodies, of all requests together. */
interface Room {
  free: number;
}

/** The body, or the status of HTTP for one that is too long, at all or just now. @throws Error when the request breaks off */
async function bodyOf(request: IncomingMessage, limit: number, room: Room): Promise<Buffer | 413 | 503> {
  if (Number(request.headers['content-length'] ?? 0) > limit) return 413;
  const chunks: Buffer[] = [];
  let length = 0;
  let taken = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > limit) return 413;
      const more = Math.max(0, length - USUAL_BODY) - taken;
      if (more > room.free) return 503;
      room.free -= more;
      taken += more;
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } finally {
    room.free += taken;
  }
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** The handler's answer; what it throws, or does not say in time, is a refusal. */
async function judge(
  handler: AdmissionHandler,
  request: NonNullable<ReturnType<typeof parseReview>>,
  options: Pick<WebhookServerOptions, 'log'> & { readonly decideWithinMs: number },
): Promise<{ response: AdmissionResponse; failed: boolean }> {
  const signal = AbortSignal.timeout(options.decideWithinMs);
  const late = Promise.withResolvers<never>();
  const onAbort = (): void => late.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  const subject = { namespace: request.namespace, name: request.name, resource: request.resource.resource };
  try {
    return { response: await Promise.race([handler(request, signal), late.promise]), failed: false };
  } catch (error) {
    const code = signal.aborted ? 'SPW023' : 'SPW022';
    options.log.error({ code, ...subject, err: error }, 'an admission review was refused unjudged');
    return { response: refusal(500, code, [options.decideWithinMs]), failed: true };
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** HTTPS server for admission reviews. Resolves once it listens. */
export async function serveWebhooks(options: WebhookServerOptions): Promise<WebhookServer> {
  const { handlers, log, maxBodyBytes = 6 * MIB, decideWithinMs = 8000, requestMs = REQUEST_MS } = options;
  const room: Room = { free: LONG_BODIES };

  const answer = (response: ServerResponse, status: number, body: string, type = 'text/plain'): void => {
    // The rest of a body that was too long is not read: the connection cannot go on.
    const unread = status === 413 || status === 503;
    response.writeHead(status, { 'content-type': type, ...(unread ? { connection: 'close' } : {}) });
    response.end(body);
  };

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    const handler = Object.hasOwn(handlers, path) ? handlers[path] : undefined;
    if (handler === undefined) return answer(response, 404, 'no such webhook\n');
    if (request.method !== 'POST') return answer(response, 405, 'only POST\n');
    if (!/^application\/json\b/.test(request.headers['content-type'] ?? ''))
      return answer(response, 415, 'only application/json\n');
    const body = await bodyOf(request, maxBodyBytes, room);
    if (body === 413) return answer(response, 413, 'the review is too long\n');
    if (body === 503) return answer(response, 503, 'there are too many long reviews\n');
    const review = parseReview(parseJson(body));
    if (review === undefined) return answer(response, 400, 'not an AdmissionReview of admission.k8s.io/v1\n');
    const started = performance.now();
    const { response: decided, failed } = await judge(handler, review, { log, decideWithinMs });
    const outcome = failed ? 'failed' : decided.allowed ? 'allowed' : 'refused';
    options.observe?.(path, outcome, (performance.now() - started) / 1000);
    if (!decided.allowed)
      log.info({ code: decided.code, namespace: review.namespace, name: review.name, path }, decided.message);
    answer(response, 200, JSON.stringify(renderReview(review.uid, decided)), 'application/json');
  }

  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS, maxHeaderSize: 16 * 1024 }, (request, response) => {
    const { socket } = request;
    expectRequest(socket, requestMs);
    request.once('end', () => clearTimeout(waiting.get(socket)));
    // Idle connections are closed by Node; this is for a next request that comes byte by byte.
    response.once('finish', () => expectRequest(socket, KEEP_ALIVE_MS + requestMs));
    serve(request, response).catch((error: unknown) => {
      log.warn({ err: error }, 'an admission review broke off');
      if (!response.headersSent) answer(response, 500, 'failed\n');
      else response.destroy();
    });
  });
  const sockets = new Set<Socket>();
  const byAddress = new Map<string, number>();
  const waiting = new WeakMap<object, NodeJS.Timeout>();

  /**
   * A request has to be there in time. Node enforces its own limits for it only on a server that listens itself; without any, whoever
   * reaches the port could keep every connection for good, and with them votes and pods from the cluster.
   */
  function expectRequest(socket: Socket, ms: number): void {
    clearTimeout(waiting.get(socket));
    if (socket.destroyed) return;
    const timer = setTimeout(() => socket.destroy(), ms);
    timer.unref();
    waiting.set(socket, timer);
  }

  /** The certificate of this moment for every client, also for one that names no server, such as an API server that was given an address. */
  function shake(raw: Socket): void {
    const socket = new TLSSocket(raw, { isServer: true, secureContext: options.certificate() });
    const end = (error: Error): void => {
      log.warn({ err: error }, 'a TLS handshake with the webhooks failed');
      socket.destroy();
      raw.destroy();
    };
    const timer = setTimeout(() => end(new Error(`it took longer than ${HANDSHAKE_MS} ms`)), HANDSHAKE_MS);
    raw.once('close', () => clearTimeout(timer));
    socket.once('error', end);
    socket.once('secure', () => {
      clearTimeout(timer);
      socket.removeListener('error', end);
      expectRequest(socket, requestMs);
      socket.once('close', () => clearTimeout(waiting.get(socket)));
      server.emit('connection', socket);
    });
  }

  const acceptor = createAcceptor({ noDelay: true, keepAlive: true }, (raw) => {
    const address = raw.remoteAddress ?? '';
    const open = byAddress.get(address) ?? 0;
    if (open >= CONNECTIONS_OF_ONE) {
      raw.destroy();
      return;
    }
    byAddress.set(address, open + 1);
    sockets.add(raw);
    raw.on('error', () => raw.destroy());
    raw.once('close', () => {
      sockets.delete(raw);
      const left = (byAddress.get(address) ?? 1) - 1;
      if (left === 0) byAddress.delete(address);
      else byAddress.set(address, left);
    });
    try {
      shake(raw);
    } catch (error) {
      log.error({ err: error }, 'the webhooks have no certificate');
      raw.destroy();
    }
  });
  acceptor.maxConnections = CONNECTIONS;
  await new Promise<void>((resolve, reject) => {
    acceptor.once('error', reject);
    acceptor.listen(options.port, options.host, () => {
      acceptor.removeListener('error', reject);
      resolve();
    });
  });
  acceptor.on('error', (error) => log.error({ err: error }, 'the webhook server failed'));
  return {
    address: acceptor.address() as AddressInfo,
    async close() {
      const closed = new Promise<void>((resolve) => acceptor.close(() => resolve()));
      // Node knows idle connections only of servers that listen themselves: what runs is given its time, then everything ends.
      server.close();
      server.closeIdleConnections();
      const timer = setTimeout(() => {
        for (const socket of sockets) socket.destroy();
      }, decideWithinMs);
      await closed;
      clearTimeout(timer);
    },
  };
}
