import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { RawHead } from '../head.ts';
import type { HeaderFields } from '../port.ts';
import { type Incoming, nothing } from './incoming.ts';

/** HTTP/1.0 and HTTP/1.1 from clients: Node's parser, in its strict mode, on sockets that were accepted elsewhere. */

/** Longest head of a request, in bytes. */
export const MAX_HEAD_BYTES = 16_384;
/** How long a connection without a request is kept, in milliseconds. */
const KEEP_ALIVE_MS = 75_000;
/** The way a client's wire looks to what follows an upgrade. */
export type Restream = (socket: Duplex) => Duplex;

export interface Http1Options {
  /** From the first byte of a request to the end of its head, in milliseconds. */
  readonly headTimeoutMs: number;
  readonly request: (socket: Socket, incoming: Incoming) => void;
  /** What cannot be read as HTTP. `code` is of Node's parser, such as `HPE_INVALID_HEADER_TOKEN`. */
  readonly malformed: (socket: Socket, error: Error & { code?: string; reason?: string }) => void;
  /** The plain stream behind a socket of an upgrade, when it is not the socket itself. */
  readonly restream: Restream;
  readonly upgrades: (protocol: string) => boolean;
  /** No request of this connection is under way or waits. */
  readonly idle: (socket: Socket) => boolean;
}

/** A server that listens nowhere: sockets are given to it with `accept`. */
export interface Http1Server {
  /** Takes a paused socket over; what was read of it before was unshifted. */
  accept(socket: Socket): void;
  close(): void;
}

export function createHttp1Server(options: Http1Options): Http1Server {
  const server = http.createServer({
    maxHeaderSize: MAX_HEAD_BYTES,
    headersTimeout: options.headTimeoutMs,
    // Bodies are watched for progress, not for their length.
    requestTimeout: 0,
    connectionsCheckingInterval: Math.min(1000, Math.ceil(options.headTimeoutMs / 2)),
    keepAliveTimeout: KEEP_ALIVE_MS,
    requireHostHeader: false,
    insecureHTTPParser: false,
    noDelay: true,
    joinDuplicateHeaders: false,
    shouldUpgradeCallback: (request: IncomingMessage) => {
      const { upgrade, 'content-length': length = '0' } = request.headers;
      // Clients that begin SPDY by POST say that they send no body.
      return typeof upgrade === 'string' && length === '0' && options.upgrades(upgrade);
    },
  } as http.ServerOptions);
  server.timeout = 0;
  // Node drops fields above its count without a word; here they are counted, and refused.
  server.maxHeadersCount = 0;
  const serve = (request: IncomingMessage, response: ServerResponse): void => {
    options.request(request.socket, new Http1Incoming(request, response, undefined));
  };
  server.on('request', serve);
  server.on('checkContinue', serve);
  server.on('checkExpectation', serve);
  const serveDetached = (request: IncomingMessage, socket: Duplex, head?: Buffer): void => {
    const response = detached(request, socket);
    const take = (): Duplex => {
      response.detachSocket(socket as Socket);
      const stream = options.restream(socket);
      if (head !== undefined && head.length > 0) stream.unshift(head);
      return stream;
    };
    options.request(socket as Socket, new Http1Incoming(request, response, head === undefined ? undefined : take));
  };
  /** Who sends such a request behind one that has no answer yet is not served; one that has just been answered is let end. */
  const whenIdle = (request: IncomingMessage, socket: Duplex, head?: Buffer): void => {
    socket.on('error', nothing);
    if (options.idle(socket as Socket)) serveDetached(request, socket, head);
    else
      setImmediate(() => {
        if (options.idle(socket as Socket)) serveDetached(request, socket, head);
        else socket.destroy();
      });
  };
  server.on('connect', (request: IncomingMessage, socket: Duplex) => whenIdle(request, socket));
  server.on('upgrade', whenIdle);
  server.on('clientError', (error: Error & { code?: string; reason?: string }, socket: Duplex) =>
    options.malformed(socket as Socket, error),
  );
  // Its timer for heads that do not come runs for servers that listen: this one never does.
  server.emit('listening');
  return {
    accept(socket) {
      server.emit('connection', socket);
      socket.resume();
    },
    close: () => {
      server.close(nothing);
    },
  };
}

/** An answer on a connection that Node has let go of: the last one on it. */
function detached(request: IncomingMessage, socket: Duplex): ServerResponse {
  const response = new http.ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket as Socket);
  // Nobody else would tell it.
  socket.on('close', () => response.destroy());
  response.on('finish', () => socket.end());
  return response;
}

const TRAILERS_OF_REQUESTS: RawHead['version'] = '1.1';

class Http1Incoming implements Incoming {
  readonly raw: RawHead;
  readonly source: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #take: (() => Duplex) | undefined;
  #taken = false;
  #wrote = false;
  onDrain: () => void = nothing;
  onClosed: (whole: boolean) => void = nothing;

  constructor(request: IncomingMessage, response: ServerResponse, take: (() => Duplex) | undefined) {
    this.source = request;
    this.#response = response;
    this.#take = take;
    this.raw = {
      method: request.method ?? '',
      version: request.httpVersion === TRAILERS_OF_REQUESTS ? '1.1' : '1.0',
      scheme: 'encrypted' in request.socket && request.socket.encrypted === true ? 'https' : 'http',
      target: request.url ?? '',
      authority: undefined,
      fields: request.rawHeaders,
      more: false,
    };
    request.on('error', nothing);
    response.on('error', nothing);
    response.on('drain', () => this.onDrain());
    response.on('close', () => {
      if (!this.#taken) this.onClosed(response.writableFinished);
    });
  }

  get sourceEnded(): boolean {
    return this.source.readableEnded || (this.source.complete && this.source.readableLength === 0);
  }

  get begun(): boolean {
    return this.#taken || this.#response.headersSent;
  }

  get gone(): boolean {
    return this.#response.destroyed || this.#response.writableEnded;
  }

  sendContinue(): void {
    if (!this.begun && !this.gone) this.#response.writeContinue();
  }

  writeHead(status: number, headers: HeaderFields): void {
    this.#response.writeHead(status, headers as string[]);
  }

  flushHead(): void {
    if (!this.#wrote && !this.#response.destroyed) this.#response.flushHeaders();
  }

  write(chunk: Buffer): boolean {
    this.#wrote = true;
    return this.#response.write(Buffer.from(chunk));
  }

  end(trailers?: HeaderFields): void {
    this.#wrote = true;
    if (trailers !== undefined && trailers.length > 0) {
      const pairs: [string, string][] = [];
      for (let index = 0; index + 1 < trailers.length; index += 2)
        pairs.push([trailers[index] ?? '', trailers[index + 1] ?? '']);
      this.#response.addTrailers(pairs);
    }
    this.#response.end();
  }

  destroy(): void {
    this.source.socket.destroy();
  }

  last(): void {
    this.#response.shouldKeepAlive = false;
  }

  takeOver(): Duplex | undefined {
    if (this.#take === undefined || this.begun || this.gone) return undefined;
    this.#taken = true;
    return this.#take();
  }
}
