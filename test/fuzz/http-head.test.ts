import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseHead, type RawHead } from '../../proxy/protocols/http/core/head.ts';
import { parseTarget } from '../../proxy/protocols/http/core/target.ts';

/** Heads and targets of requests: what is accepted is read in the same way by everybody behind, or it is refused. */

const RUNS = { numRuns: Number(process.env.FUZZ_SECONDS ?? 0) > 0 ? 200_000 : 2000 };
const TIMEOUT = 300_000;

const piece = fc.oneof(
  fc.constantFrom(
    ...[
      '/',
      '//',
      '.',
      '..',
      '...',
      '%2e',
      '%2E%2e',
      '%2f',
      '%5c',
      '\\',
      ';',
      '..;',
      '%',
      '%4',
      '%zz',
      '%00',
      '%0a',
      '%25',
      '%252e',
    ],
    ...[
      '%c0%ae',
      '%ff',
      '%e2%82%ac',
      'ä',
      ' ',
      '\t',
      '\r\n',
      '?',
      '&',
      '=',
      '+',
      '#',
      '*',
      '@',
      ':',
      'a',
      'B',
      '~',
      '%41',
      '%7f',
      '%c2%85',
    ],
  ),
  fc.string({ maxLength: 4 }),
  fc.string({ unit: 'binary', maxLength: 2 }),
);
const target = fc.array(piece, { maxLength: 12 }).map((pieces) => `/${pieces.join('')}`);

describe('targets', () => {
  test(
    'what is accepted stays what it is: parsed again, by us and by the WHATWG parser, it is the same path and query',
    () => {
      fc.assert(
        fc.property(target, (raw) => {
          const parsed = parseTarget(raw);
          if ('code' in parsed) {
            expect(['SPE001', 'SPE003']).toContain(parsed.code);
            return;
          }
          expect(parseTarget(parsed.target)).toEqual(parsed);
          expect(parsed.target).toMatch(/^[\x21-\x7e]+$/);
          const url = new URL(parsed.target, 'http://host');
          // No reader resolves anything away.
          expect(url.host).toBe('host');
          expect(url.pathname.split('/').slice(1).map(decodeURIComponent)).toEqual(
            parsed.segments.length === 0 ? [''] : parsed.segments,
          );
          expect([...url.searchParams]).toEqual(parsed.query);
          for (const segment of parsed.segments) {
            expect(segment).not.toMatch(/^\.\.?(?:;|$)|[/\\\0]/);
            expect(segment).not.toMatch(/%(?:2e|2f|5c|00)/i);
          }
        }),
        RUNS,
      );
    },
    TIMEOUT,
  );
});

const name = fc.oneof(
  fc.constantFrom(
    ...[
      'Host',
      'host',
      'Content-Length',
      'content_length',
      'Transfer-Encoding',
      'Connection',
      'Upgrade',
      'TE',
      'Trailer',
      'Expect',
    ],
    ...[
      'Authorization',
      'Impersonate-User',
      'X-Remote-Group',
      'x_forwarded_for',
      'Forwarded',
      'Keep-Alive',
      'X-Hop',
      'X-Keep',
      'Cookie',
    ],
  ),
  fc.string({ maxLength: 6 }),
);
const value = fc.oneof(
  fc.constantFrom(
    '',
    '0',
    '5',
    '+5',
    '5, 5',
    'chunked',
    'gzip, chunked',
    'close, X-Hop',
    'upgrade',
    'websocket',
    'h2c',
    '100-continue',
  ),
  fc.constantFrom('a.example', 'A.example:80', 'b.example', 'a@b', 'x\r\ny', 'x\ny', 'x\0', ' padded ', '\xff'),
  fc.string({ unit: 'binary', maxLength: 8 }),
);
const heads: fc.Arbitrary<RawHead> = fc.record({
  method: fc.oneof(fc.constantFrom('GET', 'POST', 'DELETE', 'CONNECT', 'TRACE'), fc.string({ maxLength: 5 })),
  version: fc.constantFrom('1.0' as const, '1.1' as const, '2' as const),
  scheme: fc.constantFrom('http' as const, 'https' as const),
  target: fc.oneof(target, fc.constantFrom('http://a.example/x', 'http://b.example', '*', '')),
  authority: fc.option(fc.constantFrom('a.example', 'b.example', 'a@b', ''), { nil: undefined }),
  fields: fc
    .array(fc.tuple(name, value), { maxLength: 8 })
    .map((fields) => [['Host', 'a.example'] as const, ...fields].flat()),
  more: fc.boolean(),
});

describe('heads', () => {
  test(
    'what is accepted carries nothing of the connection, no identity, and no byte that ends a line',
    () => {
      fc.assert(
        fc.property(heads, (raw) => {
          const parsed = parseHead(raw);
          if ('code' in parsed) {
            expect(parsed.code).toMatch(/^SPE0(?:0[1-6]|25)$/);
            return;
          }
          const { head } = parsed;
          expect(head.authority).toMatch(/^[a-z0-9._~-]+(?::[0-9]+)?$/);
          expect(['CONNECT', 'TRACE']).not.toContain(head.method);
          for (let index = 0; index < head.headers.length; index += 2) {
            const lower = head.headers[index] ?? '';
            expect(lower).toMatch(/^[!#$%&'*+.^_`|~0-9a-z-]+$/);
            expect(lower.replaceAll('_', '-')).not.toMatch(
              /^(?:host|content-length|transfer-encoding|connection|keep-alive|te|trailer|upgrade|expect|forwarded|(?:proxy-)?authorization|impersonate-.*|x-remote-.*|x-forwarded-.*)$/,
            );
            // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
            expect(head.headers[index + 1]).not.toMatch(/[\x00-\x08\x0a-\x1f\x7f]/);
          }
          if (head.upgrade !== undefined) expect(head.hasBody).toBe(false);
          if (head.contentLength !== undefined) expect(Number.isSafeInteger(head.contentLength)).toBe(true);
        }),
        RUNS,
      );
    },
    TIMEOUT,
  );
});
