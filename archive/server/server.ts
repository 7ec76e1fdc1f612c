import type { IncomingMessage, ServerResponse } from 'node:http';
import https from 'node:https';
import { TLSSocket } from 'node:tls';
import { ArchiveError, type ArchiveErrorCode } from '../errors.ts';
import { type ArchiveStore, OutOfPlace } from '../store/store.ts';
import type { UsedLedger } from '../store/used-requests.ts';
import { proxyIdentity } from './identity.ts';
import { announcedBytes, createBodyBudget, readBody } from './request-body.ts';
import { answerUsed, namespaceOf, usedPath } from './used.ts';

export interface ArchiveTls {
  /** PEM. */
  readonly certificate: string;
  readonly key: string;
  /** Authorities whose certificates are proxies. */
  readonly clientCa: string;
}

export interface ArchiveServerOptions {
  readonly address: { readonly host: string; readonly port: number };
  readonly tls: ArchiveTls;
  readonly store: ArchiveStore;
  readonly used: UsedLedger;
  /** Namespaces that a proxy may write, by its identity; undefined: every verified proxy, everywhere. */
  readonly proxies: Pick<ReadonlyMap<string, readonly string[]>, 'get'> | undefined;
  readonly observer: ServerObserver;
  /** Bytes of one request. Default 64 MiB: one line can be as long. */
  readonly maxBodyBytes?: number;
}

/** What metrics and logs are told. */
export interface ServerObserver {
  received(proxy: string, bytes: number): void;
  refused(proxy: string | undefined, error: ArchiveError): void;
}

export interface ArchiveServer {
  readonly port: number;
  /** New connections use these. */
  renew(tls: ArchiveTls): void;
  /** Ends once requests under way are answered. */
  close(): Promise<void>;
}

const PATH = /^\/v1\/segments\/([^/?]{1,253})\/([^/?]{1,253})\/([^/?]{1,200})\?offset=(\d{1,15})$/;
const MAX_CONNECTIONS = 1024;
/** A proxy sends its batches one after the other; more at once is not one that behaves. */
const MAX_AT_ONCE = 4;
const TOTAL_BODY_BYTES = 256 * 1024 * 1024;

const STATUS: Readonly<Partial<Record<ArchiveErrorCode, number>>> = {
  SPH001: 409,
  SPH002: 409,
  SPH003: 403,
  SPH004: 403,
  SPH005: 404,
  SPH006: 422,
  SPH007: 413,
  SPH008: 507,
  SPH009: 507,
  SPH010: 403,
  SPH011: 507,
  SPH012: 507,
  SPH018: 404,
  SPH019: 403,
};

/** Takes segments of proxies over mutual TLS. Resolves once it listens. */
export async function startArchiveServer(options: ArchiveServerOptions): Promise<ArchiveServer> {
  const { store, observer } = options;
  const budget = createBodyBudget(options.maxBodyBytes ?? 64 * 1024 * 1024, TOTAL_BODY_BYTES);
  const atOnce = new Map<string, number>();

  function permit(proxy: string, namespace: string): void {
    const allowed = options.proxies;
    if (allowed !== undefined && allowed.get(proxy)?.includes(namespace) !== true) {
      throw new ArchiveError('SPH004', [proxy, namespace]);
    }
  }

  async function note(
    proxy: string,
    about: { readonly namespace: string; readonly uid: string },
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const allowed =
      options.proxies === undefined
        ? namespaceOf(proxy) === about.namespace
        : options.proxies.get(proxy)?.includes(about.namespace) === true;
    if (!allowed) throw new ArchiveError('SPH019', [proxy, about.namespace]);
    const answered = await answerUsed(options.used, about, request);
    if (answered === undefined) return;
    response.writeHead(answered.status, {
      'content-type': 'application/json',
      'content-length': answered.body.byteLength,
    });
    response.end(answered.body);
  }

  async function take(proxy: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const match = request.method === 'POST' ? PATH.exec(request.url ?? '') : null;
    if (match === null) throw new ArchiveError('SPH005', [JSON.stringify((request.url ?? '').slice(0, 200))]);
    const [, namespace = '', name = '', file = '', offset = ''] = match;
    const length = announcedBytes(request, budget.maxBytes);
    const running = atOnce.get(proxy) ?? 0;
    if (running >= MAX_AT_ONCE || !budget.take(length)) return busy(response);
    atOnce.set(proxy, running + 1);
    try {
      const body = await readBody(request, length);
      if (body.length < length) return;
      // Behind the reading: a refusal in the middle of it would reach the sender as a broken connection.
      permit(proxy, namespace);
      const size = await store.append(proxy, namespace, name, file, Number(offset), body);
      observer.received(proxy, body.length);
      answer(response, 200, { size });
    } finally {
      budget.giveBack(length);
      const left = (atOnce.get(proxy) ?? 1) - 1;
      if (left === 0) atOnce.delete(proxy);
      else atOnce.set(proxy, left);
    }
  }

  function refuse(proxy: string | undefined, response: ServerResponse, error: unknown): void {
    if (!(error instanceof ArchiveError)) {
      // The connection broke in the middle of a request: there is nobody to answer.
      response.destroy();
      return;
    }
    if (!(error instanceof OutOfPlace)) observer.refused(proxy, error);
    const { code, message, hint } = error;
    const size = error instanceof OutOfPlace ? { size: error.size } : {};
    answer(response, STATUS[code] ?? 500, { code, message, hint, ...size });
  }

  const server = https.createServer(
    {
      ...contextOf(options.tls),
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: 'TLSv1.3',
      handshakeTimeout: 10_000,
      maxHeaderSize: 8192,
    },
    (request, response) => {
      let proxy: string | undefined;
      try {
        if (!(request.socket instanceof TLSSocket)) throw new ArchiveError('SPH010', ['no TLS']);
        proxy = proxyIdentity(request.socket);
        const about = usedPath(request.url ?? '');
        const done = about === undefined ? take(proxy, request, response) : note(proxy, about, request, response);
        done.catch((error: unknown) => refuse(proxy, response, error));
      } catch (error) {
        refuse(proxy, response, error);
      }
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.headersTimeout = 10_000;
  server.requestTimeout = 120_000;
  server.keepAliveTimeout = 60_000;
  server.on('tlsClientError', () => observer.refused(undefined, new ArchiveError('SPH010', ['TLS refused it'])));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.address.port, options.address.host, resolve);
  });
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    renew: (tls) => server.setSecureContext({ ...contextOf(tls), minVersion: 'TLSv1.3' }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeIdleConnections();
      }),
  };
}

const contextOf = (tls: ArchiveTls) => ({ cert: tls.certificate, key: tls.key, ca: tls.clientCa });

function busy(response: ServerResponse): void {
  response.setHeader('retry-after', '1');
  answer(response, 429, { message: 'too much at once' });
}

function answer(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body);
  // What is left of a request that was refused early is not read: the connection cannot be used again.
  if (status !== 200) response.setHeader('connection', 'close');
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}
