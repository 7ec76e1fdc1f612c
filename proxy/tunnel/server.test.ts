import tls from 'node:tls';
import { expect, test } from 'vitest';
import { createTestAuthority } from '../connector/proxy.fixture.ts';
import { startTunnel, type Tunnel } from './server.ts';

const authority = createTestAuthority();
const { cert, key } = authority.serverFor('proxy');

/** A tunnel that believes nobody. */
const start = (introductionMs: number): Promise<Tunnel> =>
  startTunnel({
    address: { host: '127.0.0.1', port: 0 },
    context: () => tls.createSecureContext({ cert, key, minVersion: 'TLSv1.3' }),
    verifier: { discovery: {}, verified: () => undefined, verify: () => Promise.reject(new Error('nobody')) },
    notReady: () => undefined,
    draining: () => false,
    lanes: { serves: () => false, accept: () => false },
    renew: () => {},
    probed: () => {},
    observer: { refused: () => {}, opened: () => {}, closed: () => {} },
    introductionMs,
  });

/** What comes back until the proxy closes the connection. */
async function said(tunnel: Tunnel, text: string): Promise<string> {
  const options = { host: '127.0.0.1', port: tunnel.port, servername: 'proxy', ca: authority.certificate };
  const socket = tls.connect(options, () => socket.write(text));
  socket.on('error', () => {});
  let answer = '';
  socket.on('data', (chunk: Buffer) => {
    answer += chunk.toString('latin1');
  });
  // A reset is an end too, and `once` would take it for a failure.
  await new Promise((resolve) => socket.once('close', resolve));
  return answer;
}

const put = (length: number): string =>
  `PUT /v1/identity HTTP/1.1\r\nHost: proxy\r\nAuthorization: Bearer a.b.c\r\nContent-Length: ${length}\r\n\r\n`;

test.each([
  ['says nothing', ''],
  ['stops in its headers', 'PUT /v1/identity HTTP/1.1\r\nHost'],
  ['stops in its body', `${put(9)}{`],
])('a client that %s keeps no connection', async (_what, text) => {
  const tunnel = await start(50);
  expect(await said(tunnel, text)).toBe('');
  await tunnel.close();
});

test.each([
  ['the token is not good', put(0), 'SPT009'],
  ['it asks for something else', 'GET / HTTP/1.1\r\nHost: proxy\r\n\r\n', 'SPT008'],
])('nor does one that was refused since %s', async (_why, text, code) => {
  const tunnel = await start(10_000);
  expect(await said(tunnel, text)).toContain(code);
  await tunnel.close();
});
