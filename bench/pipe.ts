/**
 * The least that Node can do between client and server: bytes from one socket to the other, with Sallyport's own sockets and nothing else of it.
 * `node bench/pipe.ts TARGET-PORT [FILE]`: with a FILE, what came of clients in one turn of the event loop is forwarded after one write to it, as
 * a record has it. Prints the port that it listens on, and runs until it is killed.
 */
import fs from 'node:fs';
import net from 'node:net';
import { acceptWire, dialWire } from '../proxy/listener/wire.ts';

/** About what the two events of a short query take. */
const LINES = Buffer.alloc(900, 'x');

const [target, file] = process.argv.slice(2);
const descriptor = file === undefined ? undefined : fs.openSync(file, 'a', 0o600);

let waiting: (() => void)[] = [];

function turn(): void {
  const forwards = waiting;
  waiting = [];
  if (descriptor !== undefined) fs.writeSync(descriptor, LINES);
  for (const forward of forwards) forward();
}

async function relay(socket: net.Socket): Promise<void> {
  const client = acceptWire(socket);
  const server = await dialWire({ host: '127.0.0.1', port: Number(target) }, new AbortController().signal);
  client.onBytes = (chunk) => {
    const kept = Buffer.from(chunk);
    const forward = (): void => void server.write(kept);
    if (descriptor === undefined) forward();
    else if (waiting.push(forward) === 1) setImmediate(turn);
  };
  server.onBytes = (chunk) => void client.write(Buffer.from(chunk));
  client.onEnd = () => server.end();
  client.onClose = () => server.end();
  server.onEnd = () => client.end();
  server.onClose = () => client.end();
  client.resume();
  server.resume();
}

const listener = net.createServer({ pauseOnConnect: true, noDelay: true }, (socket) => {
  relay(socket).catch((error: unknown) => {
    console.error(error);
    socket.destroy();
  });
});
listener.listen(0, '127.0.0.1', () => console.log((listener.address() as net.AddressInfo).port));
