import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { createServer as createHttpServer, type IncomingMessage, type Server } from 'node:http';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import tls from 'node:tls';
import { issueCertificate } from '../../certificate/x509.ts';

/** An authority, and certificates of it, for the tests of the connector. */
export interface TestAuthority {
  readonly certificate: string;
  serverFor(name: string): { readonly cert: string; readonly key: string };
}

const HOUR_MS = 3_600_000;

function pem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

export function createTestAuthority(commonName = 'test authority'): TestAuthority {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const times = { notBefore: new Date(Date.now() - HOUR_MS), notAfter: new Date(Date.now() + HOUR_MS) };
  const issuer = { commonName, key: privateKey };
  return {
    certificate: issueCertificate({ commonName, publicKey, ...times, use: { type: 'authority' }, issuer }),
    serverFor(name) {
      const leaf = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const use = { type: 'server', names: [name] } as const;
      const cert = issueCertificate({ commonName: name, publicKey: leaf.publicKey, ...times, use, issuer });
      return { cert, key: pem(createPrivateKey(pem(leaf.privateKey))) };
    },
  };
}

export interface ProxyOptions {
  readonly authority: TestAuthority;
  readonly serverName: string;
  /** Loopback address: replicas differ by it, and share a port. */
  readonly address: string;
  readonly port: number;
  /** Status of the answer to CONNECT, and what it says. Default 200. */
  readonly answer?: () => { readonly status: number; readonly body?: object };
  /** What is at the other end of the tunnel. Default: an echo. */
  readonly target?: (stream: tls.TLSSocket) => void;
  readonly draining?: () => boolean;
}

/** A small proxy: real TLS, real HTTP, and whatever the test wants behind them. */
export interface TestProxy extends AsyncDisposable {
  readonly address: string;
  readonly port: number;
  readonly connects: readonly { readonly host: string; readonly token: string; readonly version: string }[];
  readonly puts: readonly { readonly path: string; readonly token: string; readonly body: string }[];
  /** Resolves once one more request for this path, or CONNECT, has come. */
  next(path: string): Promise<void>;
  /** As a process that is killed. */
  kill(): Promise<void>;
}

const bearer = (request: IncomingMessage): string => (request.headers.authorization ?? '').replace('Bearer ', '');

export async function startTestProxy(options: ProxyOptions): Promise<TestProxy> {
  const { authority, serverName, answer, target } = options;
  const connects: { host: string; token: string; version: string }[] = [];
  const puts: { path: string; token: string; body: string }[] = [];
  const sockets = new Set<Socket>();
  let waiting: { path: string; resolve: () => void }[] = [];
  const noticed = (path: string): void => {
    for (const one of waiting.filter((other) => other.path === path)) one.resolve();
    waiting = waiting.filter((other) => other.path !== path);
  };

  const http: Server = createHttpServer(async (request, response) => {
    let body = '';
    for await (const chunk of request as AsyncIterable<Buffer>) body += chunk.toString();
    puts.push({ path: request.url ?? '', token: bearer(request), body });
    response.writeHead(200, options.draining?.() === true ? { 'sallyport-draining': 'true' } : {});
    response.end('{}');
    noticed(request.url ?? '');
  });
  http.on('connect', (request, stream, head) => {
    const socket = stream as tls.TLSSocket;
    socket.on('error', () => {});
    const version = String(request.headers['sallyport-connector']);
    connects.push({ host: request.url ?? '', token: bearer(request), version });
    const { status, body } = answer?.() ?? { status: 200 };
    if (status !== 200) {
      socket.end(`HTTP/1.1 ${status} No\r\ncontent-type: application/json\r\n\r\n${JSON.stringify(body ?? {})}`);
    } else {
      socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      if (head.length > 0) socket.unshift(head);
      if (target === undefined) socket.pipe(socket);
      else target(socket);
    }
    noticed('CONNECT');
  });

  const context = tls.createSecureContext({ ...authority.serverFor(serverName), minVersion: 'TLSv1.3' });
  const listener = createServer({ allowHalfOpen: true, noDelay: true }, (raw) => {
    sockets.add(raw);
    raw.on('error', () => {});
    raw.once('close', () => sockets.delete(raw));
    // The option is one of net.Socket's, which the types leave out.
    const wrapping: tls.TLSSocketOptions & { allowHalfOpen: boolean } = {
      isServer: true,
      secureContext: context,
      allowHalfOpen: true,
    };
    const socket = new tls.TLSSocket(raw, wrapping);
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    socket.once('secure', () => http.emit('connection', socket));
  });
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject);
    listener.listen(options.port, options.address, resolve);
  });
  const kill = (): Promise<void> => {
    const closed = new Promise<void>((resolve) => listener.close(() => resolve()));
    for (const socket of sockets) socket.destroy();
    return closed;
  };
  return {
    address: options.address,
    port: (listener.address() as AddressInfo).port,
    connects,
    puts,
    next: (path) => new Promise((resolve) => waiting.push({ path, resolve })),
    kill,
    [Symbol.asyncDispose]: kill,
  };
}
