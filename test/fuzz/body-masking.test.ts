import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { FieldMask, Transform } from '../../policy/masking.ts';
import { BODY_LIMITS } from '../../proxy/masking/body/body-masks.ts';
import { createDocumentRewriter, type DocumentMasks } from '../../proxy/masking/body/documents.ts';
import { createEventRewriter } from '../../proxy/masking/body/event-stream.ts';
import type { BodyTransform } from '../../proxy/masking/body/port.ts';
import { createTextRewriter } from '../../proxy/masking/body/text-lines.ts';
import { createContentDetectors } from '../../proxy/masking/detectors.ts';
import { MaskError } from '../../proxy/masking/errors.ts';
import { createFieldMasks, type PathNode } from '../../proxy/masking/fields.ts';

/** Bodies that are masked while they pass, against the same masks on an object that JSON.parse made. */

const RUNS = { numRuns: Number(process.env.FUZZ_SECONDS ?? 0) > 0 ? 10_000 : 200 };
const TIMEOUT = 300_000;

const REDACT: Transform = { type: 'redact', with: '***' };
const EMAIL = /[a-z]+@example\.com/g;
const fields: readonly FieldMask[] = [
  { match: '**.password', transform: REDACT, rule: 'shop/a' },
  { match: 'items.*.ssn', transform: { type: 'nullify' }, rule: 'shop/b' },
  { match: 'a.b', transform: { type: 'partial', keepFirst: 0, keepLast: 2 }, rule: 'shop/c' },
];
const paths = createFieldMasks(fields, () => undefined)!;
const content = createContentDetectors(
  [{ source: { pattern: '[a-z]+@example\\.com' }, transform: REDACT, rule: 'shop/d' }],
  () => undefined,
);
const masks: DocumentMasks = { root: paths.root, content, limits: { ...BODY_LIMITS, whole: 1024 } };

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const KEYS = ['password', 'items', 'ssn', 'a', 'b', 'note', 'ana@example.com', 'bo@example.com', 'x"\\\n\u2028é😀', ''];
const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('mail ana@example.com', 'x', '\ud83d\ude00 bo@example.com\n', '\\u0061na@example.com', '"quoted"'),
);
const { json } = fc.letrec<{ json: Json }>((tie) => ({
  json: fc.oneof(
    { maxDepth: 5, depthSize: 'small' },
    text,
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => (Object.is(value, -0) ? 0 : value)),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('json'), { maxLength: 5 }),
    fc.dictionary(fc.constantFrom(...KEYS), tie('json'), { maxKeys: 5 }),
  ),
}));

function maskedText(value: string): string {
  return value.toWellFormed().replaceAll(EMAIL, '***');
}

/** The same masks, on objects. */
function oracle(value: Json, place: PathNode | undefined): Json {
  const mask = place?.mask;
  if (mask !== undefined && value !== null) {
    if (mask.transform.type === 'nullify') return null;
    if (typeof value === 'string') {
      const bytes = Buffer.from(value, 'utf8');
      return mask.apply(bytes, 0, bytes.length)?.toString('utf8') ?? null;
    }
    if (typeof value === 'number') return 0;
    if (typeof value === 'boolean') return false;
    return Array.isArray(value) ? [] : {};
  }
  if (typeof value === 'string') return value.includes('@example.com') ? maskedText(value) : value;
  if (Array.isArray(value)) return value.map((one, index) => oracle(one, place?.step(String(index))));
  if (value === null || typeof value !== 'object') return value;
  const made: [string, Json][] = [];
  let replaced = 0;
  for (const [key, one] of Object.entries(value)) {
    let name = key;
    if (EMAIL.test(key)) name = replaced++ === 0 ? maskedText(key) : `${maskedText(key)}~${replaced}`;
    EMAIL.lastIndex = 0;
    made.push([name, oracle(one, place?.step(key))]);
  }
  return Object.fromEntries(made);
}

/** JSON of the value in one of the many ways to write it. */
function write(value: Json, escaped: (index: number) => boolean): string {
  let seen = 0;
  const literal = (text: string): string =>
    JSON.stringify(text).replaceAll(/[a-z@]/g, (letter, at: number, whole: string) => {
      if (whole[at - 1] === '\\' || /\\u[0-9a-f]{0,3}$/.test(whole.slice(Math.max(0, at - 5), at))) return letter;
      return escaped(seen++) ? `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}` : letter;
    });
  if (typeof value === 'string') return literal(value);
  if (Array.isArray(value)) return `[ ${value.map((one) => write(one, escaped)).join(' ,')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  return `{${Object.entries(value)
    .map(([key, one]) => `${literal(key)}\t:${write(one, escaped)}`)
    .join(',\n')} }`;
}

function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = [];
  let at = 0;
  for (let turn = 0; at < bytes.length; turn++) {
    const size = sizes[turn % sizes.length]!;
    chunks.push(bytes.subarray(at, at + size));
    at += size;
  }
  return chunks;
}

/** Every chunk is overwritten behind the call, as a socket does that uses its buffer again. */
function through(transform: BodyTransform, chunks: readonly Buffer[]): string {
  const out: Buffer[] = [];
  for (const chunk of chunks) {
    const lent = Buffer.from(chunk);
    const shown = transform.write(lent);
    if (shown !== undefined) out.push(Buffer.from(shown));
    lent.fill(0x21);
  }
  const last = transform.end();
  if (last !== undefined) out.push(last);
  return Buffer.concat(out).toString('utf8');
}

const mask = (chunks: readonly Buffer[]): string =>
  through(
    createDocumentRewriter(masks, () => {}),
    chunks,
  );

const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 });

test(
  'a masked document is the masked object, however it is written and cut',
  () => {
    fc.assert(
      fc.property(json, sizes, fc.array(fc.boolean(), { minLength: 1, maxLength: 7 }), (value, cuts, escapes) => {
        const source = Buffer.from(
          write(value, (index) => escapes[index % escapes.length]!),
          'utf8',
        );
        const shown = mask(cut(source, cuts));
        expect(JSON.parse(shown)).toEqual(oracle(JSON.parse(source.toString('utf8')) as Json, paths.root));
        expect(mask([source])).toBe(shown);
      }),
      RUNS,
    );
  },
  TIMEOUT,
);

/** More than eight of one length, some longer than thirty bytes, indices, and what is not ASCII. */
const NAMES = [...'abcdefghi01', 'ssn', 'pass', 'é', '\ufffd', 'k'.repeat(31), `${'k'.repeat(31)}é`, ''];
const named = fc.constantFrom(...NAMES);
const { tree } = fc.letrec<{ tree: Json }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 5, depthSize: 'small' },
    fc.constantFrom<Json>('text', 7, true, null),
    fc.array(tie('tree'), { maxLength: 3 }),
    fc.dictionary(named, tie('tree'), { maxKeys: 5 }),
  ),
}));
const key = named.filter((name) => name !== '');
const match = fc.oneof(
  key.map((name) => ['**', name]),
  fc.array(fc.oneof(fc.constantFrom('*', '**'), key), { minLength: 1, maxLength: 4 }),
);

/** Whether a path names a place, by trying. */
function isNamed([first, ...rest]: readonly string[], keys: readonly string[]): boolean {
  if (first === undefined) return keys.length === 0;
  if (first === '**' && isNamed(rest, keys)) return true;
  if (keys.length === 0) return false;
  if (first === '**') return isNamed(['**', ...rest], keys.slice(1));
  return (first === '*' || first === keys[0]) && isNamed(rest, keys.slice(1));
}

function redacted(value: Json, keys: readonly string[], matches: readonly (readonly string[])[]): Json {
  if (value === null) return null;
  if (matches.some((segments) => isNamed(segments, keys))) {
    if (typeof value === 'string') return '***';
    if (typeof value === 'number') return 0;
    return typeof value === 'boolean' ? false : Array.isArray(value) ? [] : {};
  }
  if (Array.isArray(value)) return value.map((one, index) => redacted(one, [...keys, String(index)], matches));
  if (typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, redacted(one, [...keys, key], matches)]));
}

test(
  'paths name the places that trying each of them names',
  () => {
    fc.assert(
      fc.property(
        tree,
        fc.array(match, { minLength: 1, maxLength: 4 }),
        sizes,
        fc.boolean(),
        (value, matches, cuts, escaped) => {
          const rules = matches.map((segments) => ({ match: segments.join('.'), transform: REDACT, rule: 'shop/a' }));
          const { root } = createFieldMasks(rules, () => undefined)!;
          const rewriter = createDocumentRewriter({ ...masks, root, content: undefined }, () => {});
          const shown = through(rewriter, cut(Buffer.from(write(value, () => escaped)), cuts));
          expect(JSON.parse(shown)).toEqual(redacted(value, [], matches));
        },
      ),
      RUNS,
    );
  },
  TIMEOUT,
);

test(
  'what JSON.parse does not take is not passed on whole, and what it takes is',
  () => {
    const pieces = fc.constantFrom(
      ...[
        '{',
        '}',
        '[',
        ']',
        ',',
        ':',
        '"',
        '\\',
        '"a"',
        '"\\u00',
        '41"',
        '1',
        '-',
        '0',
        '.5',
        'e',
        '+',
        'true',
        'nul',
        'l',
        ' ',
        '\n',
        'é',
      ],
      '\u0001',
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 12 }), sizes, (parts, cuts) => {
        const source = parts.join('');
        let parses = source.trim() !== '';
        try {
          JSON.parse(source);
        } catch {
          parses = false;
        }
        let shown: string | undefined;
        try {
          shown = mask(cut(Buffer.from(`[${source}]`), cuts));
        } catch (error) {
          if (!(error instanceof MaskError)) throw error;
        }
        if (parses) expect(JSON.parse(shown!)).toHaveLength(1);
        // A stream of documents is taken too: `][` makes two of one.
        if (shown !== undefined && !source.includes(']')) expect(() => JSON.parse(shown)).not.toThrow();
      }),
      RUNS,
    );
  },
  TIMEOUT,
);

const pieces = fc.constantFrom(
  ...[
    '{"password":"canary"}',
    '{"a":{"password":"canary"},"b":[1]}',
    '{\n "password" :\n"canary"\n}',
    '[{"password":"canary"}]',
  ],
  ...[
    'up ',
    '\n',
    '\r\n',
    '[INFO] ',
    '{',
    'x}',
    '(',
    '"',
    'ana@example.com',
    'data: ',
    'data:',
    ': note',
    'id: 7',
    'é',
  ],
);

test.each([
  ['text', (): BodyTransform => createTextRewriter(masks, 'Search', () => {})],
  ['a stream of events', (): BodyTransform => createEventRewriter(masks, 100_000, () => {})],
])(
  '%s is masked in the same way wherever it is cut',
  (_, create) => {
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 12 }), sizes, (parts, cuts) => {
        const source = Buffer.from(parts.join(''), 'utf8');
        const shown = through(create(), [source]);
        expect(through(create(), cut(source, cuts))).toBe(shown);
        expect(shown).not.toContain('ana@example.com');
      }),
      RUNS,
    );
  },
  TIMEOUT,
);

test(
  'a document that begins its line in a text is masked, whatever stands around it',
  () => {
    const words = fc.constantFrom('up', 'é', '[INFO] {x}', 'a: b', '', 'x}', '}');
    const documents = fc.constantFrom(
      '{"password":"canary"}',
      '[1,{"password":"canary"}]',
      '{\n\t"password":\n"canary"}',
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(words, documents), { maxLength: 6 }), sizes, (lines, cuts) => {
        const source = lines.map(([word, document]) => `${word}\n${document}\n`).join('');
        const shown = through(
          createTextRewriter(masks, 'Search', () => {}),
          cut(Buffer.from(source, 'utf8'), cuts),
        );
        expect(shown).toBe(source.replaceAll('canary', '***'));
      }),
      RUNS,
    );
  },
  TIMEOUT,
);
