/** A client of HTTP/1.1 that costs little: it sends the same request again and again, and tells where each answer ends. */
import net, { type Socket } from 'node:net';

export interface Load {
  readonly requests: number;
  /** Of each request, in milliseconds, sorted. */
  readonly latencies: Float64Array;
  readonly seconds: number;
}

const END_OF_HEAD = Buffer.from('\r\n\r\n');
const LAST_CHUNK = Buffer.from('\r\n0\r\n\r\n');

/** Calls back for each whole answer. @throws when a status is not 200 */
function readAnswers(socket: Socket, answered: () => void, failed: (error: Error) => void): void {
  let held: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    for (;;) {
      const head = held.indexOf(END_OF_HEAD);
      if (head === -1) return;
      const text = held.toString('latin1', 0, head);
      if (!text.startsWith('HTTP/1.1 200 ')) {
        failed(new Error(`${text.split('\r\n')[0]}: ${held.toString('latin1', head + 4, head + 400)}`));
        return;
      }
      const length = /\r\ncontent-length: *(\d+)/i.exec(text)?.[1];
      let end: number;
      if (length !== undefined) end = head + 4 + Number(length);
      else {
        const last = held.indexOf(LAST_CHUNK, head + 2);
        if (last === -1) return;
        end = last + LAST_CHUNK.length;
      }
      if (held.length < end) return;
      held = held.subarray(end);
      answered();
    }
  });
}

/** Sends requests over connections that are kept, one at a time on each, for so many seconds. */
export async function load(port: number, request: string, connections: number, seconds: number): Promise<Load> {
  const bytes = Buffer.from(request, 'latin1');
  const latencies: number[] = [];
  const start = performance.now();
  const end = start + seconds * 1000;
  await Promise.all(
    Array.from(
      { length: connections },
      () =>
        new Promise<void>((resolve, reject) => {
          const socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
          let sent = performance.now();
          socket.on('error', reject);
          socket.on('close', () => resolve());
          readAnswers(
            socket,
            () => {
              const now = performance.now();
              latencies.push(now - sent);
              if (now >= end) socket.destroy();
              else {
                sent = now;
                socket.write(bytes);
              }
            },
            (error) => {
              reject(error);
              socket.destroy();
            },
          );
          socket.write(bytes);
        }),
    ),
  );
  return {
    requests: latencies.length,
    latencies: Float64Array.from(latencies).sort(),
    seconds: (performance.now() - start) / 1000,
  };
}
