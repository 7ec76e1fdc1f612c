import { describe, expect, test } from 'vitest';
import type { Transform } from '../../policy/masking.ts';
import { type CopyFormat, createCopyMasker } from './copy.ts';
import { createContentDetectors } from './detectors.ts';
import { createFieldMasks } from './fields.ts';
import { createByteSink } from './sink.ts';

const redact: Transform = { type: 'redact', with: '***' };

function masker(format: CopyFormat, transform: Transform = redact): NonNullable<ReturnType<typeof createCopyMasker>> {
  const content = createContentDetectors([{ source: { detector: 'Email' }, transform, rule: 'r' }], () => undefined);
  const fields = createFieldMasks([{ match: 'ssn', transform, rule: 'f' }], () => undefined);
  return createCopyMasker(format, content, fields)!;
}

/** What is sent for these CopyData bodies: one string per message. */
function copy(format: CopyFormat, bodies: readonly string[], transform?: Transform): string[] {
  const mask = masker(format, transform);
  const sent: string[] = [];
  const take = (sink: ReturnType<typeof createByteSink>): void => {
    let at = 0;
    while (at < sink.length) {
      expect(sink.bytes[at]).toBe(0x64);
      const size = sink.bytes.readInt32BE(at + 1);
      sent.push(sink.bytes.toString('utf8', at + 5, at + 1 + size));
      at += 1 + size;
    }
    expect(at).toBe(sink.length);
  };
  for (const body of bodies) {
    const sink = createByteSink(4);
    const bytes = Buffer.from(`<${body}>`);
    if (!mask.mask(bytes, 1, bytes.length - 1, sink)) sent.push(body);
    take(sink);
  }
  const sink = createByteSink(4);
  mask.finish(sink);
  take(sink);
  return sent;
}

describe('text', () => {
  test.each([
    ['1\tana@example.com\tx\n', '1\t***\tx\n'],
    ['1\t\\N\tx\n', '1\t\\N\tx\n'],
    ['a\\tana@example.com\\n\tx\n', 'a\\t***\\n\tx\n'],
    ['ana\\@example.com\n', '***\n'],
    // A backslash is doubled in COPY: this is the document {"ssn": "a\"b"}.
    ['{"ssn": "a\\\\"b"}\tx\n', '{"ssn": "***"}\tx\n'],
    [`\\\\x${Buffer.from('ana@example.com').toString('hex')}\n`, '\\\\x2a2a2a\n'],
    ['nothing\there\n', 'nothing\there\n'],
    ['\n', '\n'],
  ])('%j becomes %j', (row, shown) => {
    expect(copy({ format: 'text' }, [row])).toEqual([shown]);
  });

  test('nullify gives NULL', () => {
    expect(copy({ format: 'text' }, ['1\tana@example.com\n'], { type: 'nullify' })).toEqual(['1\t\\N\n']);
  });

  test('a replacement is escaped', () => {
    expect(copy({ format: 'text', delimiter: '*' }, ['1*ana@example.com\n'])).toEqual(['1*\\*\\*\\*\n']);
  });
});

describe('csv', () => {
  test.each([
    ['1,ana@example.com,x\n', '1,"***",x\n'],
    ['"a ""ana@example.com""\n",x\n', '"a ""***""\n",x\n'],
    ['"{""ssn"": 1}",\n', '"{""ssn"": ""***""}",\n'],
    ['1,,x\n', '1,,x\n'],
    ['ana@example.com\r\n', '"***"\r\n'],
  ])('%j becomes %j', (row, shown) => {
    expect(copy({ format: 'csv' }, [row])).toEqual([shown]);
  });
});

test.each([
  ['text', ['1\tana@exa', 'mple.com\n2\tx\n', '3\n'], ['1\t***\n2\tx\n', '3\n']],
  ['csv', ['"ana\n', '@', 'example.com bo@example.com\n"\n', '3\n'], ['"ana\n@example.com ***\n"\n', '3\n']],
  ['text', ['no line break ana@example.com'], ['no line break ***']],
] as const)('a row split over messages is put together: %s', (format, bodies, sent) => {
  expect(copy({ format }, bodies)).toEqual(sent);
});

test('a row too large to search is an error', () => {
  const mask = masker({ format: 'text' });
  const large = Buffer.alloc(9 * 1024 * 1024, 'a');
  const sink = createByteSink();
  expect(mask.mask(large, 0, large.length, sink)).toBe(true);
  expect(() => mask.mask(large, 0, large.length, sink)).toThrow(expect.objectContaining({ code: 'SPM005' }));
  expect(sink.length).toBe(0);
});

test('binary is refused', () => {
  expect(() => masker({ format: 'binary' })).toThrow(expect.objectContaining({ code: 'SPM006' }));
});

test('nothing to look for: no masker', () => {
  expect(createCopyMasker({ format: 'binary' }, undefined)).toBeUndefined();
});
