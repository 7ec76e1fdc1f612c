import type { AddressInfo, Socket } from 'node:net';
import { createServer } from './builtin.ts';

const CONNECTIONS = 16;

/** `/readyz` for the kubelet, on the pod's address: it tells nobody more than whether, and what is waited for. */
export async function serveReadiness(
  address: { readonly host?: string; readonly port: number },
  /** Undefined: ready. */
  notReady: () => string | undefined,
): Promise<{ readonly address: AddressInfo; close(): void }> {
  const server = createServer(
    { requestTimeout: 5000, headersTimeout: 5000, maxHeaderSize: 4096, keepAliveTimeout: 1000 },
    (request, response) => {
      const reason = notReady();
      const isKnown = request.method === 'GET' && request.url === '/readyz';
      const [status, body] = !isKnown
        ? [404, 'there is /readyz']
        : reason === undefined
          ? [200, 'ready']
          : [503, reason];
      response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' });
      response.end(`${body}\n`);
    },
  );
  // Whoever reaches the pod may open connections and say nothing. The kubelet is answered as soon as it asks, so the oldest one goes.
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    for (const oldest of open) {
      if (open.size <= CONNECTIONS) break;
      open.delete(oldest);
      oldest.destroy();
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(address.port, address.host, resolve);
  });
  return {
    address: server.address() as AddressInfo,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
