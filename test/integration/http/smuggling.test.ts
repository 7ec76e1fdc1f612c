/** Requests that two readers could read in two ways: none of them reaches the origin, and what does is written anew. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type HttpGround, type RawOrigin, startHttpGround, startRawOrigin } from '../../support/http-ground.ts';

let origin: RawOrigin;
let ground: HttpGround;
let token: string;
beforeAll(async () => {
  origin = await startRawOrigin();
  ground = await startHttpGround({ target: { port: origin.port } });
  token = await ground.token();
});
afterAll(async () => {
  await ground?.[Symbol.asyncDispose]();
  await origin?.[Symbol.asyncDispose]();
});

/** Everything that the origin ever got. */
const arrived = (): string => origin.log();
const HOST = 'Host: api.example.com';
const lines = (...parts: string[]): string => parts.join('\r\n');
const auth = (): string => `Authorization: Bearer ${token}`;
/** Were the body a request of its own, the origin would see this. */
const INNER = 'GET /smuggled HTTP/1.1\r\nHost: api.example.com\r\n\r\n';

/** By name: the bytes, with `{auth}` in them, and a status that the client may get. */
const REFUSED: Readonly<Record<string, string>> = {
  'CL and TE': lines(
    'POST /a HTTP/1.1',
    HOST,
    '{auth}',
    'Content-Length: 6',
    'Transfer-Encoding: chunked',
    '',
    '0',
    '',
    INNER,
  ),
  'TE and CL': lines(
    'POST /a HTTP/1.1',
    HOST,
    '{auth}',
    'Transfer-Encoding: chunked',
    'Content-Length: 6',
    '',
    '0',
    '',
    INNER,
  ),
  'two different CL': lines('POST /a HTTP/1.1', HOST, '{auth}', 'Content-Length: 0', 'Content-Length: 44', '', INNER),
  'two equal CL': lines('POST /a HTTP/1.1', HOST, '{auth}', 'Content-Length: 2', 'Content-Length: 2', '', 'hi'),
  'a list as CL': lines('POST /a HTTP/1.1', HOST, '{auth}', 'Content-Length: 0, 44', '', INNER),
  'CL with a sign': lines('POST /a HTTP/1.1', HOST, '{auth}', 'Content-Length: +2', '', 'hi'),
  'negative CL': lines('POST /a HTTP/1.1', HOST, '{auth}', 'Content-Length: -1', '', INNER),
  'CL in hex': lines('POST /a HTTP/1.1', HOST, '{auth}', 'Content-Length: 0x2', '', 'hi'),
  'CL with a comment': lines('POST /a HTTP/1.1', HOST, '{auth}', 'Content-Length: 2;x', '', 'hi'),
  'empty CL': lines('POST /a HTTP/1.1', HOST, '{auth}', 'Content-Length:', '', INNER),
  'CL beyond 64 bits': lines('POST /a HTTP/1.1', HOST, '{auth}', 'Content-Length: 18446744073709551618', '', 'hi'),
  'CL with a space in it': lines('POST /a HTTP/1.1', HOST, '{auth}', 'Content-Length: 1 2', '', 'hi'),
  'two TE': lines(
    'POST /a HTTP/1.1',
    HOST,
    '{auth}',
    'Transfer-Encoding: chunked',
    'Transfer-Encoding: identity',
    '',
    '0',
    '',
    INNER,
  ),
  'chunked twice': lines('POST /a HTTP/1.1', HOST, '{auth}', 'Transfer-Encoding: chunked, chunked', '', '0', '', INNER),
  'chunked, identity': lines(
    'POST /a HTTP/1.1',
    HOST,
    '{auth}',
    'Transfer-Encoding: chunked, identity',
    '',
    '0',
    '',
    INNER,
  ),
  'identity, chunked': lines(
    'POST /a HTTP/1.1',
    HOST,
    '{auth}',
    'Transfer-Encoding: identity, chunked',
    '',
    '0',
    '',
    INNER,
  ),
  'gzip, chunked': lines('POST /a HTTP/1.1', HOST, '{auth}', 'Transfer-Encoding: gzip, chunked', '', '0', '', INNER),
  'TE xchunked': lines('POST /a HTTP/1.1', HOST, '{auth}', 'Transfer-Encoding: xchunked', '', '0', '', INNER),
  'TE with a vertical tab': lines(
    'POST /a HTTP/1.1',
    HOST,
    '{auth}',
    'Transfer-Encoding: \x0bchunked',
    '',
    '0',
    '',
    INNER,
  ),
  'TE in quotes': lines('POST /a HTTP/1.1', HOST, '{auth}', 'Transfer-Encoding: "chunked"', '', '0', '', INNER),
  'TE folded': lines('POST /a HTTP/1.1', HOST, '{auth}', 'Transfer-Encoding:', ' chunked', '', '0', '', INNER),
  'TE in HTTP/1.0': lines('POST /a HTTP/1.0', HOST, '{auth}', 'Transfer-Encoding: chunked', '', '0', '', INNER),
  'a space before the colon': lines(
    'POST /a HTTP/1.1',
    HOST,
    '{auth}',
    'Transfer-Encoding : chunked',
    '',
    '0',
    '',
    INNER,
  ),
  'a tab before the colon': lines('POST /a HTTP/1.1', HOST, '{auth}', 'Content-Length\t: 3', '', 'abc'),
  'a space before the name': lines('GET /a HTTP/1.1', HOST, '{auth}', ' X: 1', '', ''),
  'obs-fold': lines('GET /a HTTP/1.1', HOST, '{auth}', 'X-A: 1', '\tTransfer-Encoding: chunked', '', ''),
  'a folded first field': lines('GET /a HTTP/1.1', ' X: 1', HOST, '{auth}', '', ''),
  'underscore for the hyphen of a framing field': lines(
    'POST /a HTTP/1.1',
    HOST,
    '{auth}',
    'Content_Length: 5',
    'Content-Length: 2',
    '',
    'hi',
  ),
  'underscores in an identity': lines('GET /a HTTP/1.1', HOST, '{auth}', 'Impersonate_User: admin', '', ''),
  'bare LF after the request line': `GET /a HTTP/1.1\n${lines(HOST, '{auth}', '', '')}`,
  'bare LF between fields': lines('GET /a HTTP/1.1', `${HOST}\nX: 1`, '{auth}', '', ''),
  'bare LF at the end of the head': `${lines('GET /a HTTP/1.1', HOST, '{auth}')}\n\n`,
  'bare CR in a value': lines('GET /a HTTP/1.1', HOST, '{auth}', 'X: a\rb: c', '', ''),
  'bare CR as end of line': lines('GET /a HTTP/1.1', HOST, `{auth}\rX: 1`, '', ''),
  'NUL in a value': lines('GET /a HTTP/1.1', HOST, '{auth}', 'X: a\0b', '', ''),
  'NUL in a name': lines('GET /a HTTP/1.1', HOST, '{auth}', 'X\0: a', '', ''),
  'NUL in the path': lines('GET /a\0b HTTP/1.1', HOST, '{auth}', '', ''),
  'a name with high bytes': lines('GET /a HTTP/1.1', HOST, '{auth}', 'X\xe4: a', '', ''),
  'a name in brackets': lines('GET /a HTTP/1.1', HOST, '{auth}', 'X[a]: a', '', ''),
  'an empty name': lines('GET /a HTTP/1.1', HOST, '{auth}', ': a', '', ''),
  'a field without a colon': lines('GET /a HTTP/1.1', HOST, '{auth}', 'nothing', '', ''),
  'no Host': lines('GET /a HTTP/1.1', '{auth}', '', ''),
  'no Host in HTTP/1.0': lines('GET /a HTTP/1.0', '{auth}', '', ''),
  'two hosts': lines('GET /a HTTP/1.1', HOST, 'Host: other.example.com', '{auth}', '', ''),
  'the same host twice': lines('GET /a HTTP/1.1', HOST, HOST, '{auth}', '', ''),
  'an empty Host': lines('GET /a HTTP/1.1', 'Host:', '{auth}', '', ''),
  'Host with a path': lines('GET /a HTTP/1.1', 'Host: api.example.com/x', '{auth}', '', ''),
  'Host with a user': lines('GET /a HTTP/1.1', 'Host: user@api.example.com', '{auth}', '', ''),
  'Host with a space': lines('GET /a HTTP/1.1', 'Host: api.example.com evil', '{auth}', '', ''),
  'Host with a comma': lines('GET /a HTTP/1.1', 'Host: api.example.com,evil', '{auth}', '', ''),
  'absolute form that contradicts Host': lines('GET http://evil.example.com/a HTTP/1.1', HOST, '{auth}', '', ''),
  'absolute form with another port': lines('GET http://api.example.com:81/a HTTP/1.1', HOST, '{auth}', '', ''),
  'absolute form with a user': lines('GET http://api.example.com@evil/a HTTP/1.1', HOST, '{auth}', '', ''),
  'another scheme': lines('GET ftp://api.example.com/a HTTP/1.1', HOST, '{auth}', '', ''),
  'no slash': lines('GET a HTTP/1.1', HOST, '{auth}', '', ''),
  'asterisk form': lines('OPTIONS * HTTP/1.1', HOST, '{auth}', '', ''),
  CONNECT: lines('CONNECT evil:443 HTTP/1.1', HOST, '{auth}', '', ''),
  TRACE: lines('TRACE /a HTTP/1.1', HOST, '{auth}', '', ''),
  'a method that is none': lines('G=T /a HTTP/1.1', HOST, '{auth}', '', ''),
  'a lower-case method': lines('get /a HTTP/1.1', HOST, '{auth}', '', ''),
  'HTTP/0.9': 'GET /a\r\n\r\n',
  'HTTP/1.2': lines('GET /a HTTP/1.2', HOST, '{auth}', '', ''),
  'HTTP/11': lines('GET /a HTTP/11', HOST, '{auth}', '', ''),
  'a word behind the version': lines('GET /a HTTP/1.1 x', HOST, '{auth}', '', ''),
  'a tab in the request line': lines('GET\t/a HTTP/1.1', HOST, '{auth}', '', ''),
  'a space in the target': lines('GET /a b HTTP/1.1', HOST, '{auth}', '', ''),
  'two tokens': lines('GET /a HTTP/1.1', HOST, '{auth}', '{auth}', '', ''),
  'two content types': lines(
    'POST /a HTTP/1.1',
    HOST,
    '{auth}',
    'Content-Type: a/b',
    'Content-Type: c/d',
    'Content-Length: 0',
    '',
    '',
  ),
  'a method override': lines('GET /a HTTP/1.1', HOST, '{auth}', 'X-HTTP-Method-Override: DELETE', '', ''),
  'a rewritten URL': lines('GET /a HTTP/1.1', HOST, '{auth}', 'X-Original-URL: /admin', '', ''),
  'a dot segment': lines('GET /a/../admin HTTP/1.1', HOST, '{auth}', '', ''),
  'an encoded dot segment': lines('GET /a/%2e%2E/admin HTTP/1.1', HOST, '{auth}', '', ''),
  'a dot segment with a parameter': lines('GET /a/..;x/admin HTTP/1.1', HOST, '{auth}', '', ''),
  'an encoded slash': lines('GET /a%2fb HTTP/1.1', HOST, '{auth}', '', ''),
  'a backslash': lines('GET /a\\b HTTP/1.1', HOST, '{auth}', '', ''),
  'an encoded backslash': lines('GET /a%5Cb HTTP/1.1', HOST, '{auth}', '', ''),
  'an empty segment': lines('GET //a HTTP/1.1', HOST, '{auth}', '', ''),
  'an encoded NUL': lines('GET /a%00 HTTP/1.1', HOST, '{auth}', '', ''),
  'an encoded line end': lines('GET /a%0d%0aX:1 HTTP/1.1', HOST, '{auth}', '', ''),
  'encoded twice': lines('GET /a/%252e%252e/b HTTP/1.1', HOST, '{auth}', '', ''),
  'overlong UTF-8': lines('GET /a/%c0%ae%c0%ae/b HTTP/1.1', HOST, '{auth}', '', ''),
  'half an escape': lines('GET /a%4 HTTP/1.1', HOST, '{auth}', '', ''),
  'a raw high byte': lines('GET /a\xe4 HTTP/1.1', HOST, '{auth}', '', ''),
  'a fragment': lines('GET /a#b HTTP/1.1', HOST, '{auth}', '', ''),
  'a NUL in the query': lines('GET /a?b=%00 HTTP/1.1', HOST, '{auth}', '', ''),
  'an expectation that is not known': lines(
    'POST /a HTTP/1.1',
    HOST,
    '{auth}',
    'Expect: 200-ok',
    'Content-Length: 2',
    '',
    'hi',
  ),
  'an upgrade with a body': lines(
    'GET /a HTTP/1.1',
    HOST,
    '{auth}',
    'Connection: upgrade',
    'Upgrade: websocket',
    'Content-Length: 44',
    '',
    INNER,
  ),
  'two equal TE': lines(
    'POST /a HTTP/1.1',
    HOST,
    '{auth}',
    'Transfer-Encoding: chunked',
    'Transfer-Encoding: chunked',
    '',
    '0',
    '',
    INNER,
  ),
  'TE with a no-break space': lines(
    'POST /a HTTP/1.1',
    HOST,
    '{auth}',
    'Transfer-Encoding: chunked\xa0',
    '',
    '0',
    '',
    INNER,
  ),
  'empty TE': lines('POST /a HTTP/1.1', HOST, '{auth}', 'Transfer-Encoding:', '', '0', '', INNER),
  'CL with a no-break space': lines('POST /a HTTP/1.1', HOST, '{auth}', 'Content-Length: 2\xa0', '', 'hi'),
  'CR CR LF at the end of a line': lines('GET /a HTTP/1.1', `${HOST}\r`, '{auth}', '', ''),
  'a space before the method': lines(' GET /a HTTP/1.1', HOST, '{auth}', '', ''),
  'two spaces before the version': lines('GET /a  HTTP/1.1', HOST, '{auth}', '', ''),
  'a space behind the version': lines('GET /a HTTP/1.1 ', HOST, '{auth}', '', ''),
  'three empty lines before it': lines('', '', '', 'GET /a HTTP/1.1', HOST, '{auth}', '', ''),
  'a version of HTTP/2': lines('GET /a HTTP/2.0', HOST, '{auth}', '', ''),
  ...Object.fromEntries(
    Object.entries({
      'in hex with a prefix': '0x2\r\nhi\r\n0\r\n\r\n',
      'with a sign': '+2\r\nhi\r\n0\r\n\r\n',
      'with a space behind it': '2 \r\nhi\r\n0\r\n\r\n',
      'beyond 48 bits': '1000000000002\r\nhi\r\n0\r\n\r\n',
      'that is empty': '\r\nhi\r\n0\r\n\r\n',
      'behind which a bare LF comes': '2\nhi\r\n0\r\n\r\n',
      'with a bare LF in an extension': `2;a=\nb\r\nhi\r\n0\r\n\r\n`,
      'with an extension without a name': '2;=b\r\nhi\r\n0\r\n\r\n',
      'with an extension that does not end': `2;a=${'b'.repeat(2000)}\r\nhi\r\n0\r\n\r\n`,
      'that is smaller than the chunk': '2\r\nhiX\r\n0\r\n\r\n',
      'of a chunk that ends with a bare LF': '2\r\nhi\n0\r\n\r\n',
      'before a trailer that frames it anew': `0\r\nTransfer-Encoding: chunked\r\n\r\n`,
      'before a trailer that is folded': '0\r\nX: a\r\n b\r\n\r\n',
    }).map(([name, chunks]) => [
      `the size of a chunk ${name}`,
      lines('POST /a HTTP/1.1', HOST, '{auth}', 'Transfer-Encoding: chunked', '', chunks) + INNER,
    ]),
  ),
  'an upgrade with chunks': lines(
    'GET /a HTTP/1.1',
    HOST,
    '{auth}',
    'Connection: upgrade',
    'Upgrade: websocket',
    'Transfer-Encoding: chunked',
    '',
    '0',
    '',
    INNER,
  ),
};

describe('refused, with nothing sent to the origin', () => {
  it.each(Object.entries(REFUSED))('%s', async (_name, bytes) => {
    const before = arrived();
    const answer = await ground.raw(bytes.replaceAll('{auth}', auth()), (text) => /\r\n\r\n.*\}/s.test(text));
    expect(answer.split('\r\n')[0]).toMatch(/^HTTP\/1\.1 (?:400|405|417) /);
    // One answer: nothing behind it was taken for a request.
    expect(answer.match(/HTTP\/1\.1 \d/g)).toHaveLength(1);
    expect(arrived()).toBe(before);
  });
});

/** What the origin gets of a request on a connection of its own. */
async function passed(bytes: string, status = 200): Promise<string> {
  const before = arrived();
  const answer = await ground.raw(bytes.replaceAll('{auth}', auth()), (text) => text.endsWith('ok'));
  expect(answer.split('\r\n')[0]).toMatch(new RegExp(`^HTTP/1\\.[01] ${status} `));
  return arrived().slice(before.length);
}

describe('passed on, written anew', () => {
  const host = (): string => `host: 127.0.0.1:${origin.port}`;
  const head = (...more: string[]): string => lines(...more, '', '');

  it('a plain request', async () => {
    expect(await passed(head('GET /a?b=c HTTP/1.1', HOST, '{auth}', 'X-A:  1  '))).toBe(
      head('GET /a?b=c HTTP/1.1', host(), 'connection: keep-alive', 'x-a: 1'),
    );
  });

  it('absolute form that agrees with Host', async () => {
    expect(await passed(head('GET http://API.example.com:80/a HTTP/1.1', HOST, '{auth}'))).toBe(
      head('GET /a HTTP/1.1', host(), 'connection: keep-alive'),
    );
  });

  it('without fields of the connection, those that it names, and identities', async () => {
    const fields = [
      'Connection: close, X-Hop, Authorization',
      'X-Hop: 1',
      'Keep-Alive: 5',
      'TE: trailers',
      'Proxy-Authorization: x',
    ];
    const identities = [
      'Impersonate-User: admin',
      'X-Remote-User: admin',
      'X-Forwarded-For: 1.2.3.4',
      'Forwarded: for=1',
      'X-Keep: 1',
    ];
    expect(await passed(head('GET /a HTTP/1.1', HOST, '{auth}', ...fields, ...identities))).toBe(
      head('GET /a HTTP/1.1', host(), 'connection: keep-alive', 'x-keep: 1'),
    );
  });

  it('a request line with two spaces', async () => {
    expect(await passed(head('GET  /a HTTP/1.1', HOST, '{auth}'))).toBe(
      head('GET /a HTTP/1.1', host(), 'connection: keep-alive'),
    );
  });

  it('chunks, without extensions and trailers of the client', async () => {
    const body = '2;ext=1\r\nhi\r\n00004\r\n you\r\n0\r\nX-Trailer: 1\r\n\r\n';
    const got = await passed(`${head('POST /a HTTP/1.1', HOST, '{auth}', 'Transfer-Encoding: chunked')}${body}`);
    const wanted = head('POST /a HTTP/1.1', host(), 'connection: keep-alive', 'transfer-encoding: chunked');
    expect(got.startsWith(wanted)).toBe(true);
    expect(got.slice(wanted.length).replaceAll(/[0-9a-f]+\r\n([^\r]*)\r\n/g, '$1')).toBe('hi you');
  });

  it('no end of a body whose trailers frame it anew', async () => {
    const before = arrived();
    const body = '2\r\nhi\r\n0\r\nContent-Length: 5\r\n\r\n';
    await ground.raw(`${head('POST /a HTTP/1.1', HOST, auth(), 'Transfer-Encoding: chunked')}${body}`);
    expect(arrived().slice(before.length)).not.toContain('0\r\n\r\n');
  });

  it('a body with GET, of the length that it says', async () => {
    const got = await passed(`${head('GET /a HTTP/1.1', HOST, '{auth}', `Content-Length: ${INNER.length}`)}${INNER}`);
    expect(got).toBe(
      `${head('GET /a HTTP/1.1', host(), 'connection: close', `content-length: ${INNER.length}`)}${INNER}`,
    );
    // What looks like a request within a body stays one body: the next request comes on its own.
    expect(await passed(head('GET /next HTTP/1.1', HOST, '{auth}'))).toBe(
      head('GET /next HTTP/1.1', host(), 'connection: keep-alive'),
    );
  });

  it('an upgrade that is not one of ours as a plain request', async () => {
    const fields = ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__'];
    expect(await passed(head('GET /a HTTP/1.1', HOST, '{auth}', ...fields))).toBe(
      head('GET /a HTTP/1.1', host(), 'connection: keep-alive'),
    );
  });

  it('path and query, decoded and encoded again', async () => {
    expect(await passed(head('GET /%61/%C3%A4%20;x=1/?%71=a+b&c=%26%3D&d HTTP/1.1', HOST, '{auth}'))).toContain(
      'GET /a/%C3%A4%20;x=1/?q=a%20b&c=%26%3D&d HTTP/1.1\r\n',
    );
  });

  it('HTTP/1.0 as HTTP/1.1', async () => {
    expect(await passed(head('GET /a HTTP/1.0', HOST, '{auth}'))).toBe(
      head('GET /a HTTP/1.1', host(), 'connection: keep-alive'),
    );
  });
});

describe('pipelining', () => {
  it('answers in turn, and sends the second when the first is over', async () => {
    const one = lines('GET /first HTTP/1.1', HOST, auth(), '', '');
    const two = lines('POST /second HTTP/1.1', HOST, auth(), 'Content-Length: 2', '', 'hi');
    const before = arrived();
    const answer = await ground.raw(one + two, (text) => text.split('\r\n\r\nok').length === 3);
    expect(answer.match(/HTTP\/1\.1 200/g)).toHaveLength(2);
    const got = arrived().slice(before.length);
    expect(got.indexOf('GET /first')).toBeLessThan(got.indexOf('POST /second'));
  });

  it('takes nothing behind a request that was refused', async () => {
    const before = arrived();
    const bad = lines('GET /a%2fb HTTP/1.1', HOST, auth(), '', '');
    const answer = await ground.raw(bad + INNER.replace('\r\n\r\n', `\r\n${auth()}\r\n\r\n`));
    expect(answer.match(/HTTP\/1\.1 \d/g)).toHaveLength(1);
    expect(arrived()).toBe(before);
  });
});

it.each([
  ['an upgrade', lines('GET /up HTTP/1.1', HOST, 'Connection: Upgrade', 'Upgrade: websocket', '', '')],
  ['CONNECT', lines('CONNECT x:1 HTTP/1.1', HOST, '', '')],
  ['what is no HTTP', 'GARBAGE\r\n\r\n'],
])('serves nobody %s behind a request without an answer, and goes on', async (_name, second) => {
  const before = arrived();
  await ground.raw(lines('GET /first HTTP/1.1', HOST, auth(), '', '') + second);
  expect(arrived().slice(before.length)).not.toContain('up');
  const answer = await ground.raw(lines('GET /a HTTP/1.1', HOST, auth(), '', ''), (text) => text.endsWith('ok'));
  expect(answer).toMatch(/^HTTP\/1\.1 200 /);
});

it('closes a connection on which requests pile up', async () => {
  const many = lines('GET /a HTTP/1.1', HOST, auth(), '', '').repeat(400);
  const answer = await ground.raw(many, (text) => text.split('HTTP/1.1 200').length > 399);
  expect(answer.split('HTTP/1.1 200').length).toBeLessThan(399);
});
