/** HTTP/2 from clients, HTTP/1.1 to the origin: what HTTP/2 can say and HTTP/1.1 must not be told. */
import http2, { type ClientHttp2Session, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http2';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type HttpGround, type RawOrigin, startHttpGround, startRawOrigin } from '../../support/http-ground.ts';

let origin: RawOrigin;
let ground: HttpGround;
let token: string;
let client: ClientHttp2Session;
beforeAll(async () => {
  origin = await startRawOrigin();
  ground = await startHttpGround({ target: { port: origin.port } });
  token = await ground.token();
  client = http2.connect(`http://127.0.0.1:${ground.port}`);
});
afterAll(async () => {
  client?.destroy();
  await ground?.[Symbol.asyncDispose]();
  await origin?.[Symbol.asyncDispose]();
});

const arrived = (): string => origin.log();

interface Answer {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

function ask(headers: OutgoingHttpHeaders | readonly string[], body?: string, session = client): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const stream = session.request(headers as OutgoingHttpHeaders, { endStream: body === undefined });
    let got: IncomingHttpHeaders = {};
    let text = '';
    stream.on('response', (head) => {
      got = head;
    });
    stream.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
    });
    stream.on('close', () => resolve({ headers: got, body: text }));
    stream.on('error', reject);
    if (body !== undefined) stream.end(body);
  });
}

const plain = (more: OutgoingHttpHeaders = {}): OutgoingHttpHeaders => ({
  ':method': 'GET',
  ':path': '/a',
  ':authority': 'api.example.com',
  ':scheme': 'http',
  authorization: `Bearer ${token}`,
  ...more,
});

it('relays a request and its answer', async () => {
  const before = arrived();
  const answer = await ask(plain({ 'x-a': '1' }));
  expect(answer).toMatchObject({ headers: { ':status': 200 }, body: 'ok' });
  expect(arrived().slice(before.length)).toBe(
    `GET /a HTTP/1.1\r\nhost: 127.0.0.1:${origin.port}\r\nconnection: keep-alive\r\nx-a: 1\r\n\r\n`,
  );
});

it('relays a body without a length as chunks, and one with a length as it is', async () => {
  let before = arrived();
  await ask(plain({ ':method': 'POST' }), 'hi');
  expect(arrived().slice(before.length)).toContain('transfer-encoding: chunked\r\n');
  before = arrived();
  await ask(plain({ ':method': 'POST', 'content-length': '2' }), 'hi');
  expect(arrived().slice(before.length)).toMatch(/content-length: 2\r\n\r\nhi$/);
});

it('relays answers without a body', async () => {
  expect(await ask(plain({ ':method': 'HEAD' }))).toMatchObject({
    headers: { ':status': 200, 'content-length': '2' },
    body: '',
  });
  expect(await ask({ ':path': '/a', ':method': 'HEAD' })).toMatchObject({ headers: { ':status': 401 }, body: '' });
});

it('joins cookies that HTTP/2 has split', async () => {
  const before = arrived();
  await ask(plain({ cookie: ['a=1', 'b=2'] }));
  expect(arrived().slice(before.length)).toContain('cookie: a=1; b=2\r\n');
});

/** A client of our own, since Node's refuses to send such things: frames by hand. */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const bytes = Buffer.alloc(9);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream, 5);
  return Buffer.concat([bytes, payload]);
}

function literal(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1');
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  const rest: number[] = [];
  let left = bytes.length - 127;
  for (; left >= 128; left >>= 7) rest.push((left & 127) | 128);
  return Buffer.concat([Buffer.from([127, ...rest, left]), bytes]);
}

/** Literal fields without indexing, without Huffman coding (RFC 7541, section 6.2.2). */
const fieldBlock = (fields: readonly (readonly [string, string])[]): Buffer =>
  Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), literal(name), literal(value)]));

const head = (...more: (readonly [string, string])[]): (readonly [string, string])[] => [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/a'],
  [':authority', 'api.example.com'],
  ['authorization', `Bearer ${token}`],
  ...more,
];
const without = (name: string, ...more: (readonly [string, string])[]) => [
  ...more.filter(([other]) => other.startsWith(':')),
  ...head().filter(([other]) => other !== name),
  ...more.filter(([other]) => !other.startsWith(':')),
];

const BODY = 'GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n';
const TRICKS: Readonly<Record<string, () => { fields: readonly (readonly [string, string])[]; body?: string }>> = {
  'transfer-encoding': () => ({ fields: head(['transfer-encoding', 'chunked']), body: `0\r\n\r\n${BODY}` }),
  connection: () => ({ fields: head(['connection', 'x-a']) }),
  'keep-alive': () => ({ fields: head(['keep-alive', '5']) }),
  'proxy-connection': () => ({ fields: head(['proxy-connection', 'close']) }),
  upgrade: () => ({ fields: head(['upgrade', 'websocket']) }),
  'te other than trailers': () => ({ fields: head(['te', 'gzip']) }),
  'content-length below the data': () => ({ fields: head(['content-length', '1']), body: BODY }),
  'content-length above the data': () => ({ fields: head(['content-length', '100']), body: BODY }),
  'content-length without data': () => ({ fields: head(['content-length', '4']) }),
  'two content-length': () => ({ fields: head(['content-length', '2'], ['content-length', '3']), body: 'hi' }),
  'content-length that is no number': () => ({ fields: head(['content-length', '2,2']), body: 'hi' }),
  'no method': () => ({ fields: without(':method') }),
  'no path': () => ({ fields: without(':path') }),
  'no scheme': () => ({ fields: without(':scheme') }),
  'no authority and no host': () => ({ fields: without(':authority') }),
  'an empty path': () => ({ fields: without(':path', [':path', '']) }),
  'a path with a space and a version': () => ({ fields: without(':path', [':path', '/a HTTP/1.1\r\nx: y']) }),
  'a path with a space': () => ({ fields: without(':path', [':path', '/a b']) }),
  'a path in absolute form': () => ({ fields: without(':path', [':path', 'http://evil/a']) }),
  'a dot segment': () => ({ fields: without(':path', [':path', '/a/../b']) }),
  'a method in lower case': () => ({ fields: without(':method', [':method', 'delete']) }),
  'a method with a space': () => ({ fields: without(':method', [':method', 'GET /admin HTTP/1.1']) }),
  'a method with a line end': () => ({ fields: without(':method', [':method', 'GET\r\nx']) }),
  'an authority with a user': () => ({ fields: without(':authority', [':authority', 'a@b']) }),
  'an authority with a path': () => ({ fields: without(':authority', [':authority', 'a/b']) }),
  'an authority with a line end': () => ({ fields: without(':authority', [':authority', 'a\r\nx: y']) }),
  'host and authority that differ': () => ({ fields: head(['host', 'evil.example.com']) }),
  'a pseudo field behind others': () => ({ fields: [...head(['x-a', '1']), [':path', '/b']] }),
  'two paths': () => ({ fields: [[':path', '/b'], ...head()] }),
  'two methods': () => ({ fields: [[':method', 'POST'], ...head()] }),
  'a pseudo field that is not known': () => ({ fields: [[':evil', '1'], ...head()] }),
  'a status': () => ({ fields: [[':status', '200'], ...head()] }),
  'an extended CONNECT': () => ({
    fields: [[':protocol', 'websocket'], ...without(':method', [':method', 'CONNECT'])],
  }),
  'a plain CONNECT': () => ({
    fields: [
      [':method', 'CONNECT'],
      [':authority', 'evil:443'],
      ['authorization', `Bearer ${token}`],
    ],
  }),
};

/** Sends frames of one request and returns what the origin got until somebody else was served after it. */
async function sent(fields: readonly (readonly [string, string])[], body?: string): Promise<string> {
  const before = arrived();
  const parts = [PREFACE, frame(4, 0, 0, Buffer.alloc(0))];
  const END_HEADERS = 4;
  const END_STREAM = 1;
  const end = body === undefined ? END_STREAM : 0;
  parts.push(frame(1, END_HEADERS | end, 1, fieldBlock(fields)));
  if (body !== undefined) parts.push(frame(0, END_STREAM, 1, Buffer.from(body, 'latin1')));
  // The answer to a ping shows that everything before it was read; or the connection is closed.
  parts.push(frame(6, 0, 0, Buffer.from('waited 4', 'latin1')));
  await ground.raw(Buffer.concat(parts), (text) => text.includes('waited 4'));
  // A later request of another client is served after whatever this one has set off.
  const marker = await ask(plain({ ':path': '/marker' }));
  expect(marker.body).toBe('ok');
  return arrived()
    .slice(before.length)
    .replaceAll(/GET \/marker HTTP\/1\.1\r\n(?:[^\r\n]+\r\n)*\r\n/g, '');
}

describe('fields that HTTP/1.1 could not carry never arrive', () => {
  it.each([
    ['x-a', 'b\r\nx-c: d'],
    ['x-a', 'b\nx-c: d'],
    ['x-a', 'b\rx-c: d'],
    ['x-a', 'b\0c'],
    ['x-a: b\r\nx-c', 'd'],
    ['x-a:', 'd'],
    ['X-A', 'd'],
    ['x a', 'd'],
    ['x\xe4', 'd'],
    ['', 'd'],
  ])('%j: %j', async (name, value) => {
    const got = await sent(head([name, value]));
    expect(got.replace(/^GET \/a HTTP\/1\.1\r\nhost: [0-9.:]+\r\nconnection: keep-alive\r\n\r\n/, '')).toBe('');
  });
});

describe('refused, with nothing sent to the origin', () => {
  it.each(Object.entries(TRICKS))('%s', async (_name, make) => {
    const { fields, body } = make();
    expect(await sent(fields, body)).toBe('');
  });
});
