import http from 'node:http';
import https from 'node:https';
import type { ClusterAccess, TlsMaterial } from './access.ts';
import { KubeError } from './errors.ts';
import { type TimeLimit, timeLimit } from './time-limit.ts';

/**
 * HTTP/1.1 to one API server over connections that are kept. Calls share a pool; each watch has a connection of its own while it
 * lasts, so a slow one holds up nobody.
 */

export interface Exchange {
  readonly method: string;
  /** Path with query, from the root of the server. */
  readonly path: string;
  /** For messages: `get pods default/web`. */
  readonly object: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  /** Milliseconds: of `call` for everything, of `open` until the headers. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

export interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface Transport {
  /** The whole answer, whatever its status. @throws KubeError SPB001, SPB002, SPB012, SPB014; the signal's reason */
  call(exchange: Exchange, maxBytes: number): Promise<Answer>;
  /** Status and headers; the body is read by the caller, until the signal. */
  open(exchange: Exchange & { readonly signal: AbortSignal }): Promise<http.IncomingMessage>;
  close(): void;
}

export interface TransportOptions {
  readonly access: ClusterAccess;
  readonly userAgent: string;
  /** Called with every answer, status 0 when there was none. */
  readonly observe?: ((method: string, status: number) => void) | undefined;
}

/** Idle connections are let go before the API server does it (its own limit is 90 s), so that few calls meet a closed one. */
const IDLE_MS = 60_000;
/** Milliseconds of silence after which the kernel asks whether the other side is still there. */
const KEEP_ALIVE_MS = 15_000;
/** Calls at one time; more wait for each other. Watches are not counted: one that waits for the end of another would wait for ever. */
const MAX_CALLS = 64;

type Use = 'calls' | 'streams';

interface Pool {
  readonly calls: http.Agent;
  readonly streams: http.Agent;
  readonly tls: TlsMaterial;
}

/** What OpenSSL and Node say when it is the certificate, and not the network, that is wrong. */
const UNTRUSTED = /CERT|SELF_SIGNED|UNABLE_TO_(GET_ISSUER|VERIFY)|ALTNAME|ISSUER/;

export function createTransport(options: TransportOptions): Transport {
  const { access } = options;
  const secure = access.server.protocol === 'https:';
  const base = access.server.pathname.replace(/\/+$/, '');
  let pool: Pool | undefined;

  const poolFor = (tls: TlsMaterial): Pool => {
    if (pool !== undefined && sameTls(pool.tls, tls)) return pool;
    // Calls in the old pool go on; its idle connections have been signed in with what is not valid any more.
    if (pool !== undefined) closeIdle(pool);
    const agentOf = (maxSockets: number): http.Agent => {
      const settings = { keepAlive: true, keepAliveMsecs: KEEP_ALIVE_MS, maxSockets, timeout: IDLE_MS };
      if (!secure) return new http.Agent(settings);
      return new https.Agent({
        ...settings,
        minVersion: 'TLSv1.2',
        ...(tls.ca === undefined ? {} : { ca: tls.ca }),
        ...(tls.cert === undefined ? {} : { cert: tls.cert, key: tls.key }),
        ...(tls.serverName === undefined ? {} : { servername: tls.serverName }),
        rejectUnauthorized: tls.insecure !== true,
      });
    };
    pool = { calls: agentOf(MAX_CALLS), streams: agentOf(Number.POSITIVE_INFINITY), tls };
    return pool;
  };

  /** One attempt. The signal given here is the caller's and the time-out's in one. */
  const attempt = async (
    exchange: Exchange,
    use: Use,
    fresh: boolean,
    signal: AbortSignal,
  ): Promise<http.IncomingMessage> => {
    const credential = await access.credential(fresh, signal);
    signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      const request = (secure ? https : http).request({
        host: access.server.hostname.replace(/^\[|\]$/g, ''),
        port: access.server.port === '' ? (secure ? 443 : 80) : access.server.port,
        method: exchange.method,
        path: base + exchange.path,
        agent: poolFor(credential.tls)[use],
        headers: {
          Accept: 'application/json',
          'User-Agent': options.userAgent,
          ...(exchange.body === undefined ? {} : { 'Content-Length': String(Buffer.byteLength(exchange.body)) }),
          ...exchange.headers,
          ...headersOf(credential.headers),
        },
      });
      const abort = (): void => {
        request.destroy(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
      };
      signal.addEventListener('abort', abort, { once: true });
      request.once('close', () => signal.removeEventListener('abort', abort));
      request.once('response', (response) => {
        options.observe?.(exchange.method, response.statusCode ?? 0);
        resolve(response);
      });
      // Stays for errors after the answer began: those reach the reader through the response.
      request.on('error', (error: NodeJS.ErrnoException) => {
        if (signal.aborted) return reject(signal.reason);
        const stale = request.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
        reject(stale ? new StaleConnection(error) : unreachable(access.server, exchange.object, error));
      });
      request.end(exchange.body);
    });
  };

  /** A kept connection may have been closed by the server just now. A read is sent again; whether a write was done is not known. */
  const attempts = async (
    exchange: Exchange,
    use: Use,
    fresh: boolean,
    signal: AbortSignal,
  ): Promise<http.IncomingMessage> => {
    for (let left = exchange.method === 'GET' ? 4 : 0; ; left--) {
      try {
        return await attempt(exchange, use, fresh, signal);
      } catch (error) {
        if (!(error instanceof StaleConnection)) {
          if (error instanceof KubeError) options.observe?.(exchange.method, 0);
          throw error;
        }
        if (left > 0) continue;
        options.observe?.(exchange.method, 0);
        throw unreachable(access.server, exchange.object, error.cause);
      }
    }
  };

  /** A token that was rotated, or an authority: read again, and tried once more. */
  const exchangeOnce = async (exchange: Exchange, use: Use, signal: AbortSignal): Promise<http.IncomingMessage> => {
    let response: http.IncomingMessage;
    try {
      response = await attempts(exchange, use, false, signal);
    } catch (error) {
      if (!(error instanceof KubeError && error.code === 'SPB014')) throw error;
      return attempts(exchange, use, true, signal);
    }
    if (response.statusCode !== 401) return response;
    response.resume();
    return attempts(exchange, use, true, signal);
  };

  return {
    async call(exchange, maxBytes) {
      using limit = deadline(exchange);
      const response = await exchangeOnce(exchange, 'calls', limit.signal);
      const body = await readBody(response, maxBytes, exchange, limit.signal, access.server);
      return { status: response.statusCode ?? 0, headers: response.headers, body };
    },
    async open(exchange) {
      // The deadline is for the headers alone: the body lasts as long as the caller wants.
      const limit = deadline(exchange);
      try {
        const response = await exchangeOnce(exchange, 'streams', limit.signal);
        limit.disarm();
        response.once('close', () => limit[Symbol.dispose]());
        return response;
      } catch (error) {
        limit[Symbol.dispose]();
        throw error;
      }
    },
    close() {
      if (pool !== undefined) closeIdle(pool);
      pool = undefined;
    },
  };
}

/** The server had closed a kept connection; nothing of an answer came. */
class StaleConnection extends Error {
  constructor(cause: unknown) {
    super('kept connection was closed', { cause });
  }
}

const deadline = (exchange: Exchange): TimeLimit =>
  timeLimit(
    exchange.signal,
    exchange.timeoutMs,
    () =>
      new KubeError('SPB002', [exchange.timeoutMs, exchange.object], { object: exchange.object, reason: 'Timeout' }),
  );

function readBody(
  response: http.IncomingMessage,
  maxBytes: number,
  exchange: Exchange,
  signal: AbortSignal,
  server: URL,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    response.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length > maxBytes) {
        reject(new KubeError('SPB012', [maxBytes, exchange.object], { object: exchange.object }));
        response.destroy();
        return;
      }
      chunks.push(chunk);
    });
    response.once('end', () => resolve(Buffer.concat(chunks)));
    response.once('error', (error) =>
      reject(signal.aborted ? signal.reason : unreachable(server, exchange.object, error)),
    );
  });
}

function headersOf(headers: Readonly<Record<string, string | readonly string[]>>): Record<string, string | string[]> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, typeof value === 'string' ? value : [...value]]),
  );
}

/** For errors of streams too, which reach their readers past `call`. */
export function unreachable(server: URL, object: string, error: unknown): KubeError {
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : String(error);
  return new KubeError(UNTRUSTED.test(code) ? 'SPB014' : 'SPB001', [server.origin, code], { object, cause: error });
}

const sameTls = (a: TlsMaterial, b: TlsMaterial): boolean =>
  a.ca === b.ca &&
  a.cert === b.cert &&
  a.key === b.key &&
  a.serverName === b.serverName &&
  (a.insecure ?? false) === (b.insecure ?? false);

function closeIdle({ calls, streams }: Pool): void {
  for (const agent of [calls, streams]) {
    for (const sockets of Object.values(agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
  }
}
