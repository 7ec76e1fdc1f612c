import type { IncomingMessage, ServerResponse } from 'node:http';
import https from 'node:https';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { describeCause } from '../../record/errors.ts';
import { ArchiveError, type ArchiveErrorCode } from '../errors.ts';
import type { Auditor, Reviews } from './auditor.ts';
import { createRights, type Permitted } from './rights.ts';
import { answerTo, parseQuery, scopeOf } from './routes.ts';

export interface ReadingTls {
  /** PEM. */
  readonly certificate: string;
  readonly key: string;
  /** Authorities of the cluster's client certificates; undefined: only tokens are taken. */
  readonly clientCa: string | undefined;
}

/** Who read what, for the log: reading the record is something that auditors of auditors ask about. */
export interface ReadingObserver {
  read(auditor: Auditor, path: string): void;
  refused(username: string | undefined, error: ArchiveError): void;
}

export interface ReadingOptions {
  readonly address: { readonly host: string; readonly port: number };
  readonly tls: ReadingTls;
  /** Folder of the record. */
  readonly root: string;
  readonly reviews: Reviews;
  readonly observer: ReadingObserver;
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
  /** How often an answer without end asks again whether its reader still may, and says that it is alive. Default 30 s. */
  readonly heartbeatMs?: number;
}

export interface ReadingServer {
  readonly port: number;
  renew(tls: ReadingTls): void;
  /** Answers under way are cut off: whoever followed has to ask another time. */
  close(): Promise<void>;
}

const MAX_CONNECTIONS = 256;
const MAX_AT_ONCE = 64;
const MAX_OF_ONE = 8;
/** A reader that takes nothing for so long is gone. */
const STALLED_MS = 120_000;
const HEARTBEAT_MS = 30_000;

const STATUS: Readonly<Partial<Record<ArchiveErrorCode, number>>> = {
  SPH030: 401,
  SPH031: 403,
  SPH032: 404,
  SPH033: 400,
  SPH034: 503,
  SPH035: 429,
};

/**
 * Serves the record to people: HTTPS, a bearer token or a client certificate of the cluster, and the verb `audit` on each connection.
 * Apart from the port of the proxies: who reads cannot write, and the other way round. Resolves once it listens.
 */
export async function startReadingServer(options: ReadingOptions): Promise<ReadingServer> {
  const { root, observer, now, heartbeatMs = HEARTBEAT_MS } = options;
  let hasAuthority = options.tls.clientCa !== undefined;
  const rights = createRights(options.reviews, now, () => hasAuthority);
  const reading = new Map<string, number>();
  const stop = new AbortController();
  let running = 0;

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let auditor: Auditor | undefined;
    try {
      const query = parseQuery(request.method, request.url);
      auditor = await rights.identify(request);
      using _slot = enter(auditor.username);
      const scope = scopeOf(query);
      const known = auditor;
      let permitted = await rights.permitted(known, scope, root);
      const gone = new AbortController();
      response.once('close', () => gone.abort());
      const signal = AbortSignal.any([gone.signal, stop.signal]);
      const current: Permitted = {
        all: permitted.all,
        permits: (namespace, name) => permitted.permits(namespace, name),
      };
      const answer = await answerTo(query, root, current, signal);
      observer.read(known, request.url ?? '');
      response.writeHead(200, {
        'content-type': answer.contentType,
        'x-content-type-options': 'nosniff',
        'cache-control': 'no-store',
        ...(answer.length === undefined ? {} : { 'content-length': answer.length }),
      });
      // What is written to a socket that does not drain is held back, so memory stays that of one line or block.
      response.socket?.setTimeout(STALLED_MS, () => response.destroy());
      if (answer.endless !== true) {
        await pipeline(Readable.from(answer.body), response);
        return;
      }
      response.flushHeaders();
      const look = async (): Promise<void> => {
        permitted = await rights.permitted(await rights.identify(request), scope, root);
        response.write('\n');
      };
      // Who has lost the right, or whose token is over, reads no further; nor does anybody while that cannot be asked.
      const beat = setInterval(() => void look().catch(() => response.end()), heartbeatMs);
      try {
        await pipeline(Readable.from(answer.body), response, { signal });
      } finally {
        clearInterval(beat);
      }
    } catch (error) {
      refuse(auditor?.username, response, error);
    }
  }

  function enter(username: string): Disposable {
    const own = reading.get(username) ?? 0;
    if (running >= MAX_AT_ONCE || own >= MAX_OF_ONE) throw new ArchiveError('SPH035', []);
    running++;
    reading.set(username, own + 1);
    return {
      [Symbol.dispose]() {
        running--;
        const left = (reading.get(username) ?? 1) - 1;
        if (left === 0) reading.delete(username);
        else reading.set(username, left);
      },
    };
  }

  function refuse(username: string | undefined, response: ServerResponse, thrown: unknown): void {
    const error = thrown instanceof ArchiveError ? thrown : new ArchiveError('SPH036', [describeCause(thrown)], thrown);
    if (response.headersSent || response.destroyed) {
      // Broken off by the reader, by the end of this server or by the disk: what was sent ends in the middle, and shows.
      if (!response.destroyed) observer.refused(username, error);
      response.destroy();
      return;
    }
    observer.refused(username, error);
    const { code, message, hint } = error;
    const text = JSON.stringify({ code, message, hint });
    const status = STATUS[code] ?? 500;
    response.writeHead(status, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(text),
      connection: 'close',
      ...(status === 401 ? { 'www-authenticate': 'Bearer realm="sallyport-archive"' } : {}),
      ...(status === 429 || status === 503 ? { 'retry-after': '1' } : {}),
    });
    response.end(text);
  }

  const server = https.createServer(
    {
      ...contextOf(options.tls),
      requestCert: true,
      rejectUnauthorized: false,
      minVersion: 'TLSv1.3',
      handshakeTimeout: 10_000,
      maxHeaderSize: 32_768,
    },
    (request, response) => void serve(request, response),
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.headersTimeout = 10_000;
  server.requestTimeout = 10_000;
  server.keepAliveTimeout = 15_000;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.address.port, options.address.host, resolve);
  });
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    renew(tls) {
      server.setSecureContext({ ...contextOf(tls), minVersion: 'TLSv1.3' });
      hasAuthority = tls.clientCa !== undefined;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        stop.abort();
        server.closeAllConnections();
      }),
  };
}

/** A certificate is asked for, not demanded: one that is not of the cluster is refused by name, not by a broken handshake. */
const contextOf = ({ certificate, key, clientCa }: ReadingTls) => ({
  cert: certificate,
  key,
  // Without one an empty list: nothing at all would be the roots of the public web.
  ca: clientCa ?? [],
});
