import { once } from 'node:events';
import net, { type AddressInfo, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { pipeBoth } from './pipe.ts';

const open: { destroy(): unknown }[] = [];
afterEach(() => {
  for (const each of open.splice(0)) each.destroy();
});

/** Both ends of a connection. */
async function connection(): Promise<{ near: Socket; far: Socket }> {
  const server = net.createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const near = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  const [[far]] = (await Promise.all([once(server, 'connection'), once(near, 'connect')])) as [[Socket], unknown];
  server.close();
  for (const socket of [near, far]) {
    // Of no interest but to what is tested.
    socket.on('error', () => {});
    open.push(socket);
  }
  return { near, far };
}

/** A client, what pipes its bytes, and a proxy behind that. */
async function piped() {
  const [inner, outer] = [await connection(), await connection()];
  return { client: inner.near, proxy: outer.far, ended: pipeBoth(inner.far, outer.near) };
}

test('a client that resets its connection is no failure', async () => {
  const { client, proxy, ended } = await piped();
  client.write('one');
  expect(String((await once(proxy, 'data'))[0])).toBe('one');
  client.resetAndDestroy();
  await expect(ended).resolves.toBeUndefined();
});

test('nor is a proxy that resets when the client has ended', async () => {
  const { client, proxy, ended } = await piped();
  proxy.resume();
  client.end('last');
  await once(proxy, 'end');
  proxy.resetAndDestroy();
  await expect(ended).resolves.toBeUndefined();
});

test('a proxy that resets while the client is there is one, and the client loses its connection', async () => {
  const { client, proxy, ended } = await piped();
  client.write('one');
  await once(proxy, 'data');
  proxy.resetAndDestroy();
  const closed = once(client.resume(), 'end');
  await expect(ended).resolves.toMatchObject({ code: 'ECONNRESET' });
  await closed;
});
