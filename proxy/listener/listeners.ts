import net from 'node:net';
import { acceptWire, type Wire } from './wire.ts';

/** One address on which clients are accepted. */
export interface Listener {
  readonly host: string;
  readonly port: number;
  close(): Promise<void>;
}

/** Clients at one time: whoever opens sockets and says nothing must not fill the process. */
const MAX_CLIENTS = 20_000;

/** Listens and hands each client over as a wire that is not read yet. @throws the system's error, such as EADDRINUSE */
export async function listen(address: { host: string; port: number }, serve: (wire: Wire) => void): Promise<Listener> {
  let clients = 0;
  const options = { pauseOnConnect: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 };
  const server = net.createServer(options, (socket) => {
    if (clients >= MAX_CLIENTS) {
      socket.destroy();
      return;
    }
    clients++;
    const wire = acceptWire(socket);
    wire.socket.once('close', () => clients--);
    serve(wire);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: address.host, port: address.port, backlog: 1024 }, resolve);
  });
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : address.port;
  return {
    host: address.host,
    port,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
