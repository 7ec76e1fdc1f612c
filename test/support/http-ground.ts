/**
 * An origin, and before it a gateway in the test's own process: the ground for tests of what the lanes over HTTP share. Record, tokens,
 * sockets and the origin are real; policy is not asked, unless a test brings an application that does.
 */

import { mkdtemp, readdir, rm } from 'node:fs/promises';
import http from 'node:http';
import net, { type AddressInfo, type Socket } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import tls, { type SecureContext } from 'node:tls';
import { pino } from 'pino';
import type { Bundle, CompiledConnection, PolicyScope } from '../../policy/bundle.ts';
import { createConfiguredVerifier } from '../../proxy/identity/configured.ts';
import { developmentKey, signDevelopmentToken } from '../../proxy/identity/development.ts';
import type { Lane, LaneContext } from '../../proxy/lane.ts';
import { listen } from '../../proxy/listener/listeners.ts';
import type { Wire } from '../../proxy/listener/wire.ts';
import type { AdmissionGate, Proof } from '../../proxy/ports.ts';
import { createHttpLane } from '../../proxy/protocols/http/core/lane.ts';
import type {
  Exchange,
  HttpApplication,
  HttpSession,
  Upstreams,
  UpstreamTarget,
} from '../../proxy/protocols/http/core/port.ts';
import { createUpstreams, type UpstreamsOptions } from '../../proxy/protocols/http/core/upstream/pools.ts';
import { createRecorder } from '../../proxy/recording/writer.ts';
import { createTurn } from '../../proxy/session/turn.ts';
import type { RecordedEvent } from '../../record/format.ts';
import { recordedEvents } from './recorded.ts';

export interface HttpGroundOptions {
  /** What the gateway does with a request. Default: forwards it as it is. */
  readonly handle?: (exchange: Exchange, ground: HttpGround) => Promise<void>;
  /** What else the application has. */
  readonly application?: Partial<Omit<HttpApplication, 'handle'>>;
  /** The origin's answer. Default: 200 with `hello`. */
  readonly origin?: http.RequestListener;
  /** Instead of an origin of its own. */
  readonly target?: Partial<UpstreamTarget>;
  readonly limits?: CompiledConnection['limits'];
  readonly tls?: () => SecureContext;
  readonly plaintextLoopback?: boolean;
  readonly upstreams?: Partial<UpstreamsOptions>;
  /** From a client's first byte to the head of its request. Default 10 s. */
  readonly headTimeoutMs?: number;
  readonly proof?: Proof;
  readonly gate?: AdmissionGate;
}

/** A request as the origin got it. */
export interface OriginRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
}

export interface HttpGround extends AsyncDisposable {
  readonly port: number;
  readonly lane: Lane;
  readonly connection: CompiledConnection;
  readonly target: UpstreamTarget;
  readonly upstreams: Upstreams;
  /** The server behind; its requests in the order in which they were whole. Absent with another target. */
  readonly origin: { readonly server: http.Server; readonly port: number; readonly requests: readonly OriginRequest[] };
  /** Sessions that have begun, in order. */
  readonly sessions: readonly HttpSession[];
  /** Codes of what was refused before it was a session, or as one. */
  readonly refused: readonly string[];
  /** A token of the service account `default/NAME`. */
  token(name?: string, ttlSeconds?: number): Promise<string>;
  /** What the record says. */
  recorded(): Promise<RecordedEvent[]>;
  /** Another bundle is in force from now on; `scope` says whether the subject may still be here. */
  change(scope?: Partial<PolicyScope>): void;
  /** Sends these bytes and collects what comes until the connection is closed, or `until` holds. */
  raw(bytes: string | Buffer | readonly (string | Buffer)[], until?: (text: string) => boolean): Promise<string>;
  stop(): Promise<void>;
}

const unused = (what: string) => (): never => {
  throw new Error(`${what} is not there on this ground`);
};

/** Whoever asks may be here, and nothing is decided. */
export const OPEN_SCOPE: PolicyScope = {
  mayConnect: true,
  nameSensitive: false,
  relationSensitive: false,
  readOnly: false,
  masks: { columns: [], fields: [], content: [], files: [] } as unknown as PolicyScope['masks'],
  perCommand: false,
  rights: {} as PolicyScope['rights'],
  operations: () => new Set(),
  needs: { body: false, headers: false, object: false },
  offersTool: () => false,
  decide: unused('a decision'),
  permissions: () => [],
};

export async function startHttpGround(options: HttpGroundOptions = {}): Promise<HttpGround> {
  await using cleanup = new AsyncDisposableStack();
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-http-'));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const requests: OriginRequest[] = [];
  const origin = http.createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { method = '', url = '', headers, rawHeaders } = request;
      requests.push({ method, url, headers, rawHeaders, body: Buffer.concat(chunks) });
    });
    const answer = options.origin ?? ((_request, res) => void res.end('hello'));
    answer(request, response);
  });
  origin.keepAliveTimeout = 60_000;
  await new Promise<void>((resolve) => origin.listen(0, '127.0.0.1', resolve));
  const originPort = (origin.address() as AddressInfo).port;
  cleanup.defer(async () => {
    origin.closeAllConnections();
    await new Promise((resolve) => origin.close(resolve));
  });
  const target: UpstreamTarget = { label: 'default/web', host: '127.0.0.1', port: originPort, ...options.target };
  const connection = connectionTo(target, options.limits ?? {});
  let bundle = bundleOf(connection, OPEN_SCOPE);
  const listeners = new Set<(bundle: Bundle) => void>();
  const recorder = createRecorder({ root: path.join(folder, 'record'), pid: process.pid, syncDelayMs: 5 });
  const key = await developmentKey(folder);
  const refused: string[] = [];
  const sessions: HttpSession[] = [];
  const stopping = new AbortController();
  const log = pino({ level: 'silent' });
  const context: LaneContext = {
    bundles: {
      current: () => bundle,
      onChange: (listener) => {
        listeners.add(listener);
        return () => void listeners.delete(listener);
      },
    },
    gate: options.gate ?? { refusal: () => undefined, suspension: () => undefined },
    approvals: { submit: unused('approval') },
    cluster: undefined,
    credentials: new Proxy({} as LaneContext['credentials'], { get: () => unused('a credential') }),
    verifier: createConfiguredVerifier({ issuers: [], developmentKey: key, now: Date.now }),
    recorder,
    turn: createTurn(),
    observer: {
      sessionOpened: () => {},
      sessionClosed: () => {},
      refused: (_peer, error) => void refused.push('code' in error ? String(error.code) : error.name),
    },
    credentialObserver: { ended: () => {}, swept: () => {}, warn: () => {} },
    log,
    tls: options.tls,
    plaintextLoopback: options.plaintextLoopback ?? true,
    sshHostKeys: unused('a host key'),
    limits: {
      maxStatementBytes: 1_048_576,
      maxMessageBytes: 1_048_576,
      authenticationTimeoutMs: options.headTimeoutMs ?? 10_000,
    },
    syncReads: false,
    holdNoticeMs: 30_000,
    holdInBandMs: 55_000,
    connectTimeoutMs: 5000,
    countCommand: () => 1,
    failed: (_session, what, error) => void refused.push(`${what}: ${error.message}`),
    worker: 0,
    installation: { id: 'test', process: { pid: process.pid } as never, isAlive: () => true },
    cancelElsewhere: () => {},
    stopping: stopping.signal,
  };
  const upstreams = createUpstreams({ connectTimeoutMs: 5000, ...options.upstreams });
  cleanup.defer(() => upstreams.close());
  const application: HttpApplication = {
    protocol: 'HTTP',
    refuse: (report) => ({
      status: report.status,
      headers: ['content-type', 'application/json', ...(report.headers ?? [])],
      body: JSON.stringify({ code: report.code, message: report.message, hint: report.hint }),
    }),
    opened: (session) => void sessions.push(session),
    ...options.application,
    async handle(exchange) {
      if (options.handle !== undefined) await options.handle(exchange, ground);
      else await forwardAll(exchange, ground);
    },
  };
  const lane = createHttpLane(context, application);
  const serve = (wire: Wire): void => {
    lane.serve(wire, [connection], stopping.signal, options.proof).catch((error: Error) => {
      refused.push(`serve: ${error.message}`);
      wire.destroy();
    });
  };
  const listener = await listen({ host: '127.0.0.1', port: 0 }, serve);
  const sweep = setInterval(() => lane.sweep(Date.now()), 100);
  let stopped: Promise<void> | undefined;
  const ground: HttpGround = {
    ...{ port: listener.port, lane, connection, target, upstreams, sessions, refused },
    origin: { server: origin, port: originPort, requests },
    token: (name = 'agent', ttlSeconds = 3600) =>
      signDevelopmentToken(
        key,
        { subject: `system:serviceaccount:default:${name}`, groups: [], claims: {}, ttlSeconds },
        Date.now(),
      ),
    async recorded() {
      await recorder.stream('default', 'web').sync();
      return (await readdir(folder)).includes('record') ? recordedEvents(folder) : [];
    },
    change(scope = {}) {
      bundle = bundleOf(connection, { ...OPEN_SCOPE, ...scope });
      for (const tell of listeners) tell(bundle);
    },
    raw: (bytes, until) => rawExchange(listener.port, bytes, until),
    stop() {
      stopped ??= (async () => {
        clearInterval(sweep);
        const closed = listener.close();
        await lane.drain(AbortSignal.timeout(5000));
        stopping.abort(new Error('Sallyport is stopping'));
        await closed;
        await lane.close(AbortSignal.timeout(1000));
        await recorder.close();
      })();
      return stopped;
    },
    async [Symbol.asyncDispose]() {
      await ground.stop();
      await owned.disposeAsync();
    },
  };
  const owned = cleanup.move();
  return ground;
}

/** What a lane that decides nothing does: records the request, and forwards it. */
export async function forwardAll(exchange: Exchange, ground: HttpGround): Promise<void> {
  const { head, session } = exchange;
  const pool = ground.upstreams.pool(ground.target);
  session.stream.append(
    'command.received',
    `"session":${JSON.stringify(session.id)},"text":${JSON.stringify(`${head.method} ${head.target}`)}`,
  );
  session.stream.flush();
  if (head.upgrade === undefined) await exchange.forward({ pool });
  else await exchange.splice({ pool });
}

function connectionTo({ host, port }: UpstreamTarget, limits: CompiledConnection['limits']): CompiledConnection {
  return {
    namespace: 'default',
    name: 'web',
    uid: 'uid-web',
    labels: {},
    protocol: 'HTTP',
    mode: 'Enforce',
    maxPolicyStalenessMs: 3_600_000,
    target: { host, port, hostKeys: [], tls: { mode: 'Disable' } },
    credential: {},
    ssh: { authorizedKeys: [], trustedUserCAs: [], maxConnectionsPerSubject: 16 },
    http: { maxBodyBytes: 1_048_576, cookies: 'Pass', responseTimeoutMs: 60_000, mcpPaths: [] },
    limits,
    audit: { level: 'Commands', maxResponseBytes: 0, retentionDays: 1 },
  };
}

let bundles = 0;

function bundleOf(connection: CompiledConnection, scope: PolicyScope): Bundle {
  return {
    hash: `sha256:${++bundles}`,
    connections: [connection],
    connection: (namespace, name) =>
      namespace === connection.namespace && name === connection.name ? connection : undefined,
    scope: () => scope,
  };
}

/** A server that keeps every byte that came to it, by connection, and answers each request head with the same text. */
export interface RawOrigin extends AsyncDisposable {
  readonly port: number;
  /** By connection. */
  readonly received: readonly string[];
  /** Of all connections, in the order in which it came. */
  log(): string;
}

export async function startRawOrigin(
  answer: (socket: Socket, received: string) => void = (socket, received) => {
    if (received.includes('\r\n\r\n')) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
  },
): Promise<RawOrigin> {
  const received: string[] = [];
  let log = '';
  const sockets = new Set<Socket>();
  const server = net.createServer((socket) => {
    const index = received.push('') - 1;
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    socket.on('data', (chunk) => {
      received[index] += chunk.toString('latin1');
      log += chunk.toString('latin1');
      answer(socket, received[index] ?? '');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    received,
    log: () => log,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Sends bytes over a connection of its own and collects the answer as Latin-1. Pieces go out in packets of their own. */
export async function rawExchange(
  port: number,
  bytes: string | Buffer | readonly (string | Buffer)[],
  until: (text: string) => boolean = () => false,
  secure?: tls.ConnectionOptions,
): Promise<string> {
  const socket = secure === undefined ? net.connect({ port, host: '127.0.0.1' }) : tls.connect({ port, ...secure });
  socket.setNoDelay(true);
  let text = '';
  const done = new Promise<string>((resolve, reject) => {
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      if (until(text)) {
        resolve(text);
        socket.destroy();
      }
    });
    socket.on('close', () => resolve(text));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') reject(error);
    });
  });
  const pieces = typeof bytes === 'string' || Buffer.isBuffer(bytes) ? [bytes] : bytes;
  for (const piece of pieces) {
    socket.write(typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece);
    if (pieces.length > 1) await setImmediate();
  }
  return done;
}
