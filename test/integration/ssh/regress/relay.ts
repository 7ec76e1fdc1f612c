/**
 * Bytes to the gateway. Arguments: GATEWAY_PORT, and for standard input and output nothing more; for connections as they come: PORT PIDFILE,
 * until SIGTERM.
 */
import { rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import process from 'node:process';

const [gateway = '', port, pidFile = ''] = process.argv.slice(2);

function toGateway(
  client: NodeJS.ReadWriteStream | { input: NodeJS.ReadableStream; output: NodeJS.WritableStream },
): void {
  const { input, output } = 'input' in client ? client : { input: client, output: client };
  const socket = net.connect({ port: Number(gateway), host: '127.0.0.1', allowHalfOpen: true });
  input.pipe(socket).pipe(output);
  const end = (): void => {
    socket.destroy();
    if (client instanceof net.Socket) client.destroy();
  };
  socket.on('error', end);
  input.on('error', end);
  output.on('error', end);
  if (client instanceof net.Socket) client.on('close', end);
  // Standard output is not closed by a pipe that ends: without this a client whose connection was cut would wait for ever.
  else socket.on('close', () => process.exit(0));
}

if (port === undefined) {
  toGateway({ input: process.stdin, output: process.stdout });
} else {
  const server = net.createServer({ allowHalfOpen: true }, (client) => toGateway(client));
  server.listen(Number(port), '127.0.0.1', () => writeFileSync(pidFile, `${process.pid}\n`));
  process.once('SIGTERM', () => {
    rmSync(pidFile, { force: true });
    process.exit(0);
  });
}
