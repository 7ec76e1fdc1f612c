import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { BodyTransform } from '../core/port.ts';
import { filterTools } from './tools.ts';

const offers = (tool: string): boolean => tool.startsWith('read');
const list = (...names: string[]): object => ({
  jsonrpc: '2.0',
  id: 1,
  result: { tools: names.map((name) => ({ name, inputSchema: {} })), nextCursor: 'c' },
});

function through(type: string, body: string | Buffer, cuts: readonly number[] = []): string {
  const made = filterTools({ status: 200, headers: ['content-type', type, 'content-length', '9'] }, offers);
  if (made === undefined) throw new Error('it goes as it is');
  expect(made.head.headers).not.toContain('content-length');
  const { write, end }: BodyTransform = made.transform;
  const bytes = Buffer.from(body);
  const edges = [0, ...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  const parts = edges.map((from, index) => write(Buffer.from(bytes.subarray(from, edges[index + 1]))));
  return [...parts, end()].map((part) => part?.toString('utf8') ?? '').join('');
}

const namesIn = (text: string): string[] => [...text.matchAll(/"name":"([^"]*)"/g)].map(([, name]) => name ?? '');

describe('tools that a caller may not use', () => {
  test('are taken out of a document, and of a batch', () => {
    const shown = through('application/json', JSON.stringify(list('read_a', 'write', 'read_b')));
    expect(JSON.parse(shown)).toEqual(list('read_a', 'read_b'));
    expect(namesIn(through('application/json; charset=utf-8', JSON.stringify([list('write'), list('read')])))).toEqual([
      'read',
    ]);
  });

  test('are taken out of events, wherever these are cut and however their lines end', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('\n', '\r\n', '\r'),
        fc.array(fc.nat(4000)),
        fc.array(fc.constantFrom('read é', 'write', 'read_b', 'drop'), { maxLength: 6 }),
        (line, cuts, names) => {
          const lines = [
            ': hello',
            '',
            'id: 1',
            `data: ${JSON.stringify(list(...names))}`,
            '',
            'data: [1,',
            'data: 2]',
            '',
          ];
          const shown = through('text/event-stream', [...lines, ''].join(line), cuts);
          expect(namesIn(shown)).toEqual(names.filter(offers));
          if (line !== '\r') expect(shown).toContain('id: 1');
        },
      ),
    );
  });

  test('are taken out of a message over several lines', () => {
    const pretty = JSON.stringify(list('read', 'write'), null, 2).replaceAll('\n', '\ndata: ');
    expect(namesIn(through('text/event-stream', `event: message\ndata: ${pretty}\n\n`))).toEqual(['read']);
  });

  test('are not hidden by a name that is there twice', () => {
    const twice = '{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"write"}],"tools":[{"name":"read"}]}}';
    expect(through('application/json', twice)).not.toContain('write');
  });

  test('what cannot be read is not shown', () => {
    expect(() => through('application/json', '{"result":')).toThrow(/SPJ006|cannot be read/);
    expect(() => through('text/event-stream', 'data: {"result"\n\n')).toThrow(/cannot be read/);
    expect(() => through('application/json', Buffer.from([0x22, 0xff, 0x22]))).toThrow(/UTF-8/);
    expect(() => filterTools({ status: 200, headers: ['content-type', 'text/html'] }, offers)).toThrow(/content type/);
    const gzip = { status: 200, headers: ['content-type', 'application/json', 'content-encoding', 'gzip'] };
    expect(() => filterTools(gzip, offers)).toThrow(/compressed/);
  });

  test('an answer without a body, and an error, go as they are', () => {
    expect(filterTools({ status: 202, headers: [] }, offers)).toBeUndefined();
    expect(filterTools({ status: 404, headers: ['content-type', 'text/plain'] }, offers)).toBeUndefined();
  });
});
