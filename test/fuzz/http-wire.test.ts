/** Bytes of HTTP/1.x clients: read in the same way wherever they were split, and never in another way than Node reads them. */
import http from 'node:http';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Wire } from '../../proxy/listener/wire.ts';
import { parseHead } from '../../proxy/protocols/http/core/head.ts';
import { serveHttp1 } from '../../proxy/protocols/http/core/wire/h1.ts';
import { MAX_HEAD_BYTES, readHead } from '../../proxy/protocols/http/core/wire/request-head.ts';

const LONG = Number(process.env['FUZZ_SECONDS'] ?? 0) > 0;
const TIMEOUT = 300_000;

/** What came of bytes: requests that came whole, in order, and whether the connection ended there. */
interface Outcome {
  readonly requests: readonly Read[];
  readonly over: boolean;
}

interface Read {
  readonly method: string;
  readonly target: string;
  readonly fields: readonly string[];
  readonly body: string;
}

/** A wire whose peer is the test: what is written to it is thrown away. */
function memoryWire(closed: () => void): Wire {
  const socket = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
  const end = (): void => {
    closed();
    socket.destroy();
  };
  return {
    ...{ peer: '127.0.0.1:1', remoteAddress: '127.0.0.1', encrypted: false, congested: false },
    ...{ onBytes() {}, onEnd() {}, onClose() {}, onDrain() {} },
    get closed() {
      return socket.destroyed;
    },
    ...{ write: () => false, readInBulk() {}, pause() {}, resume() {}, end, destroy: end },
    socket: socket as unknown as Socket,
  };
}

/** Gives pieces to a connection, which answers every request once its body is whole. */
async function ours(pieces: readonly Buffer[]): Promise<Outcome> {
  const requests: Read[] = [];
  let over = false;
  const wire = memoryWire(() => {
    over = true;
  });
  serveHttp1(wire, Buffer.alloc(0), {
    headTimeoutMs: 60_000,
    malformed: () => Buffer.alloc(0),
    closed() {},
    request(incoming) {
      const parsed = parseHead(incoming.raw);
      if ('code' in parsed) {
        over = true;
        incoming.destroy();
        return;
      }
      const { method, target, fields } = incoming.raw;
      const answer = (body: string): void => {
        requests.push({ method, target, fields, body });
        incoming.writeHead(204, []);
        incoming.end();
      };
      if (!parsed.head.hasBody) answer('');
      else {
        let body = '';
        incoming.source.on('data', (chunk: Buffer) => {
          body += chunk.toString('latin1');
        });
        incoming.source.on('end', () => answer(body));
      }
    },
  });
  for (const piece of pieces) {
    // As in the read buffer: what was given is overwritten as soon as the call is over.
    const lent = Buffer.from(piece);
    if (!over) wire.onBytes(lent);
    lent.fill(0x41);
    await setImmediate();
  }
  for (let turn = 0; turn < 4; turn++) await setImmediate();
  wire.destroy();
  return { requests, over };
}

/** What Node's server, in its strict mode, makes of the same bytes. */
async function nodes(bytes: Buffer): Promise<readonly Read[]> {
  const requests: Read[] = [];
  const server = http.createServer({ insecureHTTPParser: false, requireHostHeader: false }, (request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString('latin1');
    });
    request.on('error', () => {});
    request.on('end', () => {
      const { method = '', url: target = '', rawHeaders: fields } = request;
      requests.push({ method, target, fields, body });
      response.end();
    });
  });
  server.maxHeadersCount = 0;
  server.on('checkContinue', (request, response) => server.emit('request', request, response));
  // What came before is still read to its end.
  server.on('clientError', () => {});
  const socket = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
  socket.on('error', () => {});
  server.emit('connection', socket);
  socket.push(bytes);
  for (let turn = 0; turn < 8; turn++) await setImmediate();
  socket.destroy();
  return requests;
}

const oneOf = (...texts: string[]): fc.Arbitrary<string> => fc.constantFrom(...texts);
const odd = oneOf(
  '\n',
  '\r',
  '\0',
  '\t',
  ' ',
  '\r\n',
  '\x7f',
  '\x80',
  '\xff',
  ':',
  ',',
  ';',
  '"',
  '0',
  'a',
  '\r\n\r\n',
);

const requestLine = fc.oneof(
  { weight: 8, arbitrary: oneOf('GET /a HTTP/1.1\r\n', 'POST /b?c=d HTTP/1.1\r\n', 'PUT /e HTTP/1.0\r\n') },
  fc
    .tuple(
      oneOf('GET', 'POST', 'get', 'M-SEARCH', 'FOO', 'G=T', ''),
      oneOf(' ', '  ', '\t', ''),
      oneOf('/', '/x%20y', 'http://a/b', 'a', '*', '/\x80', '/ z'),
      oneOf(' HTTP/1.1', ' HTTP/1.0', '  HTTP/1.1', ' HTTP/1.2', ' HTTP/2.0', ' http/1.1', '', ' HTTP/1.1 '),
      oneOf('\r\n', '\n', '\r', '\r\r\n'),
    )
    .map((parts) => parts.join('')),
);
const field = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      'X-A: 1\r\n',
      'Cookie:  a=b ; c \t\r\n',
      'X-B:\r\n',
      'X-C: \xe4\r\n',
      'Expect: 100-continue\r\n',
    ),
  },
  { weight: 2, arbitrary: oneOf('Content-Length: 5\r\n', 'Transfer-Encoding: chunked\r\n', 'content-length: 0\r\n') },
  fc
    .tuple(
      oneOf('Content-Length', 'Transfer-Encoding', 'Connection', 'Upgrade', 'X', 'Content-length', ''),
      oneOf(':', ': ', ' : ', ':\t', ''),
      oneOf(
        '5',
        '05',
        '+5',
        '5, 5',
        '0x5',
        ' 5 ',
        'chunked',
        'Chunked',
        'gzip, chunked',
        'chunked\xa0',
        'close',
        'keep-alive',
        'websocket',
        'upgrade',
        'a\rb',
        'a\0',
      ),
      oneOf('\r\n', '\n', '\r\n ', '\r'),
    )
    .map((parts) => parts.join('')),
);
const chunk = fc.oneof(
  {
    weight: 4,
    arbitrary: oneOf('5\r\nhello\r\n', '1\r\n\n\r\n', '0A\r\n0123456789\r\n', '3;a=b;c="d;\\"e"\r\nabc\r\n'),
  },
  oneOf(
    '5\nhello\r\n',
    '5\r\nhello',
    '4\r\nhello\r\n',
    '-1\r\n',
    '0x1\r\na\r\n',
    ' 1\r\na\r\n',
    '1 \r\na\r\n',
    '1; a\r\na\r\n',
    '1;\r\na\r\n',
    '1;a="\r\na\r\n',
    '\r\n',
    'ffffffffffffffffff\r\n',
  ),
);
const last = fc.oneof(
  { weight: 4, arbitrary: oneOf('0\r\n\r\n', '0\r\nX-T: 1\r\n\r\n', '0;a\r\n\r\n') },
  oneOf(
    '0\r\nContent-Length: 5\r\n\r\n',
    '0\r\n X\r\n\r\n',
    '0\n\n',
    '00\r\n\n',
    '',
    '0\r\nTransfer-Encoding: chunked\r\n\r\n',
  ),
);
const body = fc.oneof(
  oneOf('', '', 'hello', 'hell', 'hello\r\n'),
  fc.tuple(fc.array(chunk, { maxLength: 3 }), last).map(([chunks, end]) => chunks.join('') + end),
);
const request = fc
  .tuple(requestLine, fc.boolean(), fc.array(field, { maxLength: 4 }), body)
  .map(([line, host, fields, text]) => `${line}${host ? 'Host: a\r\n' : ''}${fields.join('')}\r\n${text}`);
/** One to three requests behind one another, and now and then a byte where it does not belong. */
const stream = fc
  .tuple(
    fc.array(request, { minLength: 1, maxLength: 3 }),
    fc.option(fc.tuple(fc.nat(400), odd, fc.boolean()), { freq: 3 }),
  )
  .map(([requests, wrong]) => {
    const text = requests.join('');
    if (wrong === null) return Buffer.from(text, 'latin1');
    const [at, inserted, replaces] = wrong;
    const place = at % (text.length + 1);
    return Buffer.from(text.slice(0, place) + inserted + text.slice(place + (replaces ? 1 : 0)), 'latin1');
  });

function split(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  const ends = [...places, bytes.length];
  return ends
    .map((end, index) => bytes.subarray(index === 0 ? 0 : ends[index - 1], end))
    .filter(({ length }) => length > 0);
}

describe('requests of HTTP/1.x', () => {
  test(
    'are the same wherever their bytes were split',
    async () => {
      await fc.assert(
        fc.asyncProperty(stream, fc.array(fc.nat(1000), { maxLength: 8 }), async (bytes, cuts) => {
          const whole = await ours([bytes]);
          expect(await ours(split(bytes, cuts))).toEqual(whole);
        }),
        { numRuns: LONG ? 100_000 : 1200 },
      );
    },
    TIMEOUT,
  );

  test(
    'are the same byte by byte',
    async () => {
      await fc.assert(
        fc.asyncProperty(stream, async (bytes) => {
          const pieces = Array.from(bytes, (_byte, index) => bytes.subarray(index, index + 1));
          expect(await ours(pieces)).toEqual(await ours([bytes]));
        }),
        { numRuns: LONG ? 20_000 : 150 },
      );
    },
    TIMEOUT,
  );

  test(
    'that are accepted are accepted by Node, and are the same there',
    async () => {
      let accepted = 0;
      await fc.assert(
        fc.asyncProperty(stream, async (bytes) => {
          const { requests } = await ours([bytes]);
          if (requests.length === 0) return;
          accepted++;
          const theirs = await nodes(bytes);
          expect(theirs.slice(0, requests.length)).toEqual(requests);
        }),
        { numRuns: LONG ? 100_000 : 1500 },
      );
      // Otherwise nothing was compared.
      expect(accepted).toBeGreaterThan(100);
    },
    TIMEOUT,
  );

  test(
    'of any bytes are read or refused, and a head never takes more than it may',
    () => {
      const any = fc.oneof(
        fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
        fc.nat(3 * MAX_HEAD_BYTES).map((length) => Buffer.from(`GET / HTTP/1.1\r\nA: ${'x'.repeat(length)}\r\n\r\n`)),
        stream,
      );
      fc.assert(
        fc.property(any, fc.nat(20), (bytes, before) => {
          const placed = Buffer.concat([Buffer.alloc(before, '\n'), bytes]);
          const read = readHead(placed, before, undefined);
          if (read === undefined) expect(bytes.length).toBeLessThan(MAX_HEAD_BYTES);
          else if ('code' in read) expect(read.code).toMatch(/^SPE00[124]$/);
          else {
            expect(read.end - before).toBeLessThanOrEqual(MAX_HEAD_BYTES);
            expect(placed.toString('latin1', read.end - 4, read.end)).toBe('\r\n\r\n');
            // The fields of a request before, where they are the same, are taken instead of being read.
            const again = readHead(placed, before, read.block);
            expect(again).toEqual(read);
            expect(again).toHaveProperty('block', read.block);
          }
        }),
        { numRuns: LONG ? 200_000 : 3000 },
      );
    },
    TIMEOUT,
  );
});
