import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import tls, { type SecureContext, type TLSSocket } from 'node:tls';
import { streamWire, type Wire } from '../listener/wire.ts';
import type { Proof, TokenVerifier, VerifiedIdentity } from '../ports.ts';
import { type ConnectionLimits, createConnectionCounter, DEFAULT_LIMITS } from './connection-limits.ts';
import { TunnelError } from './errors.ts';
import { bearerOf, bodyOf, type Dialled, dialledBy, type Probe, probeOf } from './requests.ts';

export interface TunnelOptions {
  readonly address: { readonly host: string; readonly port: number };
  /** The server certificate now, for TLS 1.3 alone. */
  readonly context: () => SecureContext;
  readonly verifier: TokenVerifier;
  /** Why nobody is served now; undefined: ready. */
  readonly notReady: () => string | undefined;
  readonly draining: () => boolean;
  readonly lanes: {
    serves(dialled: Dialled): boolean;
    accept(wire: Wire, dialled: Dialled, proof: Proof): boolean;
  };
  /** A fresh token for the running sessions of a pod. */
  readonly renew: (identity: VerifiedIdentity) => void;
  readonly probed: (identity: VerifiedIdentity, probe: Probe) => void;
  readonly observer: TunnelObserver;
  /** From the first byte to the end of the first request's headers, in milliseconds. Default 10 s. */
  readonly introductionMs?: number;
  readonly limits?: ConnectionLimits;
}

/** For logs and metrics. */
export interface TunnelObserver {
  /** Refused before or by a request; `code` is stable. */
  refused(peer: string, code: string, message: string): void;
  opened(): void;
  closed(): void;
}

export interface Tunnel {
  readonly host: string;
  readonly port: number;
  /** Connections of connectors, tunnels and controls. */
  readonly connections: number;
  /** Takes no more connections. Tunnels go on; what is idle is closed. */
  close(): Promise<void>;
  /** Ends every connection. */
  destroy(): void;
}

const INTRODUCTION_MS = 10_000;
/** A control connection that says nothing: its connector sends a token every few minutes. */
const IDLE_CONTROL_MS = 900_000;
/** The longest token that is looked at, and what else a connector sends. */
const MAX_HEADER_BYTES = 24_576;
const ESTABLISHED = 'HTTP/1.1 200 Connection Established\r\n\r\n';

const plain = (address: string | undefined): string => (address ?? '').replace(/^::ffff:/, '');

interface CodedError {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

function asTunnelError(error: unknown): TunnelError & CodedError {
  if (error instanceof TunnelError) return error;
  const { code, message, hint } = error as Partial<CodedError>;
  return new TunnelError('SPT009', `${code === undefined ? '' : `${code}: `}${message ?? ''}`, {
    hint: hint ?? '',
    cause: error,
  });
}

/**
 * The door for connectors: TLS 1.3, in it HTTP/1.1 with CONNECT and the few requests of a control connection. What a tunnel carries is
 * the lane's; who its client is was said by the token of CONNECT, and is verified when the lane asks, so that a refusal reaches the
 * client in its own protocol.
 */
export async function startTunnel(options: TunnelOptions): Promise<Tunnel> {
  const { verifier, observer, lanes } = options;
  const limits = options.limits ?? DEFAULT_LIMITS;
  const counter = createConnectionCounter(limits);
  const introductionMs = options.introductionMs ?? INTRODUCTION_MS;
  const sockets = new Set<net.Socket>();
  const introduced = new WeakMap<object, () => void>();

  const settle = new WeakMap<net.Socket, () => void>();

  const server = http.createServer({
    keepAliveTimeout: IDLE_CONTROL_MS,
    maxHeaderSize: MAX_HEADER_BYTES,
  });
  server.timeout = 0;
  server.maxHeadersCount = 32;

  const refuse = (peer: string, error: CodedError): void => observer.refused(peer, error.code, error.message);

  function head(error: TunnelError): string {
    const body = JSON.stringify({ code: error.code, message: error.message, hint: error.hint });
    const reason = error.status === 503 ? 'Service Unavailable' : 'Refused';
    const draining = options.draining() ? 'Sallyport-Draining: true\r\n' : '';
    return `HTTP/1.1 ${error.status} ${reason}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${draining}Connection: close\r\n\r\n${body}`;
  }

  function connect(request: IncomingMessage, stream: Duplex, early: Buffer): void {
    const socket = stream as TLSSocket;
    const peer = plain(socket.remoteAddress);
    // Until the lane listens, an error of the socket is nobody's.
    socket.on('error', () => {});
    introduced.get(socket)?.();
    try {
      const dialled = dialledBy(request.url);
      const token = bearerOf(request.headers);
      if (options.draining()) throw new TunnelError('SPT002');
      const reason = options.notReady();
      if (reason !== undefined) throw new TunnelError('SPT003', reason);
      if (!lanes.serves(dialled)) throw new TunnelError('SPT001', `${dialled.host}:${dialled.port}`);
      socket.setTimeout(0);
      socket.write(ESTABLISHED);
      if (early.length > 0) socket.unshift(early);
      count(socket);
      lanes.accept(streamWire(socket), dialled, (signal) => verifier.verify(token, signal, peer));
    } catch (error) {
      const refusal = asTunnelError(error);
      refuse(peer, refusal);
      socket.end(head(refusal));
    }
  }

  /** Apart, so that what lives as long as the tunnel holds neither token nor request. */
  function count(socket: TLSSocket): void {
    observer.opened();
    socket.once('close', observer.closed);
  }

  /** Node enforces a limit for it only on a server that listens itself; nobody has verified yet who this is. */
  async function bodyInTime(request: IncomingMessage): Promise<Buffer> {
    const deadline = setTimeout(() => request.destroy(), introductionMs);
    try {
      return await bodyOf(request);
    } finally {
      clearTimeout(deadline);
    }
  }

  async function control(request: IncomingMessage): Promise<object> {
    const peer = plain(request.socket.remoteAddress);
    const route = `${request.method} ${request.url}`;
    if (route !== 'PUT /v1/identity' && route !== 'PUT /v1/probe') throw new TunnelError('SPT008');
    const token = bearerOf(request.headers);
    const body = await bodyInTime(request);
    const identity = await verifier.verify(token, AbortSignal.timeout(introductionMs), peer);
    if (identity.subject.pod === undefined) throw new TunnelError('SPT010');
    if (route === 'PUT /v1/probe') {
      options.probed(identity, probeOf(body));
      return {};
    }
    options.renew(identity);
    return { expiresAt: identity.sessionExpiresAt.toISOString() };
  }

  function answer(response: ServerResponse, status: number, value: object): void {
    const body = JSON.stringify(value);
    response.writeHead(status, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      ...(options.draining() ? { 'sallyport-draining': 'true' } : {}),
      // Whoever was refused keeps no connection; and what is left of a body that was too long is not read.
      ...(status === 200 ? {} : { connection: 'close' }),
    });
    response.end(body);
  }

  server.on('connect', connect);
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    introduced.get(request.socket)?.();
    control(request).then(
      (value) => answer(response, 200, value),
      (error: unknown) => {
        const refusal = asTunnelError(error);
        refuse(plain(request.socket.remoteAddress), refusal);
        const { code, message, hint, status } = refusal;
        if (!response.destroyed) answer(response, status, { code, message, hint });
      },
    );
  });
  server.on('upgrade', (_request, socket) => socket.destroy());
  server.on('clientError', (_error, socket) => socket.destroy());

  const acceptor = net.createServer({ pauseOnConnect: true, noDelay: true }, (raw) => {
    const address = plain(raw.remoteAddress);
    raw.on('error', () => {});
    const admission = counter.admit(address, () => {
      if (!raw.destroyed) begin(raw);
    });
    if (admission === undefined) {
      refuse(address, new TunnelError('SPT011', address));
      raw.destroy();
      return;
    }
    sockets.add(raw);
    raw.setKeepAlive(true, 60_000);
    // Waiting for a turn counts too: a client that is not served in this time goes elsewhere.
    const deadline = setTimeout(() => raw.destroy(), 2 * introductionMs);
    settle.set(raw, () => {
      clearTimeout(deadline);
      admission.introduced();
    });
    raw.once('close', () => {
      clearTimeout(deadline);
      sockets.delete(raw);
      admission.closed();
    });
  });

  /** The handshake; what was agreed on then speaks HTTP. */
  function begin(raw: net.Socket): void {
    const socket = new tls.TLSSocket(raw, { isServer: true, secureContext: options.context() });
    socket.on('error', () => {
      socket.destroy();
      raw.destroy();
    });
    socket.once('secure', () => {
      const done = settle.get(raw);
      if (done !== undefined) introduced.set(socket, done);
      server.emit('connection', socket);
    });
  }

  await new Promise<void>((resolve, reject) => {
    acceptor.once('error', reject);
    acceptor.listen({ ...options.address, backlog: 4096 }, resolve);
  });
  const bound = acceptor.address();
  return {
    host: options.address.host,
    port: typeof bound === 'object' && bound !== null ? bound.port : options.address.port,
    get connections() {
      return counter.open;
    },
    close() {
      server.closeIdleConnections();
      return new Promise((resolve) => acceptor.close(() => resolve()));
    },
    destroy() {
      for (const socket of sockets) socket.destroy();
    },
  };
}
