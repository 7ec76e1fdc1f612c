import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ServerCertificate, selfMadeCertificate } from '../identity/server-certificate.ts';
import { writeCopy } from '../session/buffer-pool.ts';
import { listen } from './listeners.ts';
import { acceptTls } from './tls.ts';
import { dialWire, type Wire } from './wire.ts';

let folder: string;
let certificate: ServerCertificate;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wire-'));
  certificate = await selfMadeCertificate(folder, () => [], Date.now);
});
afterAll(() => rm(folder, { recursive: true }));

/** Sends back what it gets, out of the shared buffer, holding the client back while it does not read. */
function echo(wire: Wire): void {
  wire.onBytes = (chunk) => {
    writeCopy(wire, chunk, 0, chunk.length);
    if (wire.congested) wire.pause();
  };
  wire.onDrain = () => wire.resume();
  wire.onEnd = () => wire.end();
  wire.resume();
}

async function secured(wire: Wire): Promise<Wire> {
  const options = { context: certificate.context(), received: Buffer.alloc(0), requireAlpn: false };
  return acceptTls(wire, { ...options, signal: AbortSignal.timeout(10_000) });
}

/** Digests of what a client sent and what came back. */
function roundTrip(socket: net.Socket, bytes: Buffer): Promise<{ sent: string; received: string }> {
  const hash = createHash('sha256');
  return new Promise((resolve, reject) => {
    socket.on('data', (chunk) => hash.update(chunk));
    socket.on('end', () =>
      resolve({ sent: createHash('sha256').update(bytes).digest('hex'), received: hash.digest('hex') }),
    );
    socket.on('error', reject);
    socket.end(bytes);
  });
}

describe.each(['plain', 'tls'] as const)('%s wires', (kind) => {
  test('many at once read into one buffer and lose or mix nothing', async () => {
    const listener = await listen({ host: '127.0.0.1', port: 0 }, (wire) => {
      if (kind === 'plain') echo(wire);
      else void secured(wire).then(echo);
    });
    const trips = Array.from({ length: 16 }, (_, index) => {
      const target = { host: '127.0.0.1', port: listener.port };
      const socket = kind === 'plain' ? net.connect(target) : tls.connect({ ...target, rejectUnauthorized: false });
      return roundTrip(socket, randomBytes(200_000 * (index + 1)));
    });
    for (const { sent, received } of await Promise.all(trips)) expect(received).toBe(sent);
    await listener.close();
  });
});

test('a closed client is counted as gone, so that closing the listener ends', async () => {
  const listener = await listen({ host: '127.0.0.1', port: 0 }, echo);
  const wire = await dialWire({ host: '127.0.0.1', port: listener.port }, AbortSignal.timeout(5000));
  const answered = new Promise<string>((resolve) => {
    wire.onBytes = (chunk) => resolve(chunk.toString());
  });
  wire.resume();
  wire.write(Buffer.from('hello'));
  expect(await answered).toBe('hello');
  const closed = new Promise<void>((resolve) => {
    wire.onClose = () => resolve();
  });
  wire.end();
  await closed;
  await listener.close();
});
