import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DETECTORS, type Transform } from '../../policy/masking.ts';
import { createCopyMasker } from '../../proxy/masking/copy.ts';
import { createContentDetectors } from '../../proxy/masking/detectors.ts';
import { MaskError } from '../../proxy/masking/errors.ts';
import { createFieldMasks } from '../../proxy/masking/fields.ts';
import { redactNotification, redactReport } from '../../proxy/masking/notices.ts';
import type { ColumnTreatment } from '../../proxy/masking/port.ts';
import { createRowMasker } from '../../proxy/masking/rows.ts';
import { createByteSink } from '../../proxy/masking/sink.ts';
import { decodeMessage, encodeRow, type Value } from './masking-wire.ts';

const key = Buffer.from('fuzz key');
const redact: Transform = { type: 'redact', with: '***' };

const transforms: fc.Arbitrary<Transform> = fc.oneof(
  fc.constant<Transform>({ type: 'nullify' }),
  fc.constant<Transform>(redact),
  fc.constant<Transform>({ type: 'tokenize' }),
  fc.record({
    type: fc.constant('partial' as const),
    keepFirst: fc.integer({ min: 0, max: 8 }),
    keepLast: fc.integer({ min: 0, max: 8 }),
  }),
);
const oids = fc.constantFrom(
  16,
  17,
  18,
  19,
  20,
  21,
  23,
  25,
  114,
  142,
  199,
  600,
  650,
  701,
  705,
  869,
  1007,
  1009,
  1016,
  1042,
  1043,
  1082,
  1184,
  1700,
  2249,
  2950,
  3614,
  3802,
  3807,
  16_500,
);
const formats = fc.constantFrom(0 as const, 1 as const);

function treat(typeOid: number, format: 0 | 1, transform: Transform | undefined): ColumnTreatment {
  const base = { typeOid, format, rules: ['r'] };
  if (transform === undefined) return base;
  return transform.type === 'tokenize' ? { ...base, transform, tokenKey: key } : { ...base, transform };
}

const treatments = fc
  .record({ oid: oids, format: formats, transform: fc.option(transforms, { nil: undefined }) })
  .map(({ oid, format, transform }) => treat(oid, format, transform));

const everything = createContentDetectors(
  [
    ...DETECTORS.map((detector) => ({ source: { detector }, transform: redact, rule: 'r' })),
    { source: { pattern: 'CANARY[0-9]+' }, transform: redact, rule: 'r' },
  ],
  () => key,
)!;
const fields = createFieldMasks([{ match: '**.secret', transform: redact, rule: 'f' }], () => key)!;

/** Runs what may only fail as masking fails. */
function onlyMaskErrors(run: () => void): void {
  try {
    run();
  } catch (error) {
    if (!(error instanceof MaskError)) throw error;
  }
}

describe('arbitrary bytes', () => {
  test('as rows: nothing but MaskError, the sink whole', () => {
    fc.assert(
      fc.property(fc.array(treatments, { maxLength: 4 }), fc.uint8Array({ maxLength: 80 }), (columns, bytes) => {
        const sink = createByteSink(1);
        sink.reserve(3);
        sink.length = 3;
        const source = Buffer.from(bytes);
        const masker = createRowMasker(columns, everything, fields);
        onlyMaskErrors(() => {
          if (masker.mask(source, 0, source.length, sink)) decodeMessage(sink.bytes.subarray(3, sink.length));
          else expect(sink.length).toBe(3);
        });
      }),
      { numRuns: 3000 },
    );
  });

  test('as values of every type: well-formed rows come out well-formed', () => {
    const jsonLike = fc
      .string({ unit: fc.constantFrom(...'{}[]",:\\tu0aé1e-. \n'), maxLength: 40 })
      .map((text) => Buffer.from(text));
    const value = fc.oneof(
      fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
      jsonLike,
    );
    fc.assert(
      fc.property(
        fc.array(fc.tuple(treatments, fc.option(value, { nil: null })), { minLength: 1, maxLength: 4 }),
        (cells) => {
          const row = encodeRow(cells.map(([, bytes]) => bytes));
          const sink = createByteSink(1);
          const masker = createRowMasker(
            cells.map(([treatment]) => treatment),
            everything,
            fields,
          );
          if (!masker.mask(row, 0, row.length, sink)) return;
          expect(decodeMessage(sink.bytes.subarray(0, sink.length))).toHaveLength(cells.length);
        },
      ),
      { numRuns: 3000 },
    );
  });

  test('as errors, notices and notifications', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.boolean(), (bytes, touchesProtected) => {
        const message = Buffer.from(bytes);
        onlyMaskErrors(() => redactReport(message, { touchesProtected, content: everything }));
        onlyMaskErrors(() => redactNotification(message, everything));
      }),
      { numRuns: 2000 },
    );
  });

  test('as COPY rows, split anywhere: the same rows as when whole', () => {
    const text = fc.string({
      unit: fc.constantFrom('a', 'ana@example.com', '\t', '\n', '\\', '"', ',', '\r', '\\N'),
      maxLength: 30,
    });
    fc.assert(
      fc.property(text, fc.constantFrom('text' as const, 'csv' as const), fc.nat(), (body, format, cut) => {
        const run = (parts: readonly string[]): string => {
          const masker = createCopyMasker({ format }, everything, fields)!;
          let out = '';
          for (const part of parts) {
            const sink = createByteSink(1);
            const bytes = Buffer.from(part);
            if (!masker.mask(bytes, 0, bytes.length, sink)) out += part;
            else out += payloads(sink.bytes.subarray(0, sink.length));
          }
          const sink = createByteSink(1);
          masker.finish(sink);
          return out + payloads(sink.bytes.subarray(0, sink.length));
        };
        const at = cut % (body.length + 1);
        const whole = run([body]);
        expect(run([body.slice(0, at), body.slice(at)])).toBe(whole);
      }),
      { numRuns: 2000 },
    );
  });
});

function payloads(bytes: Buffer): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 1 + bytes.readInt32BE(at + 1)) {
    text += bytes.toString('utf8', at + 5, at + 1 + bytes.readInt32BE(at + 1));
  }
  return text;
}

describe('against the plain way', () => {
  test('untreated values and NULLs are kept, treated ones replaced', () => {
    const cell = fc.tuple(fc.boolean(), fc.option(fc.uint8Array({ maxLength: 100 }), { nil: null }));
    fc.assert(
      fc.property(fc.array(cell, { maxLength: 12 }), fc.nat({ max: 7 }), (cells, offset) => {
        const values = cells.map(([, bytes]): Value => (bytes === null ? null : Buffer.from(bytes)));
        const columns = cells.map(([masked]) => treat(25, 1, masked ? redact : undefined));
        const body = encodeRow(values);
        const source = Buffer.concat([Buffer.alloc(offset, 'x'), body, Buffer.alloc(5, 'y')]);
        const sink = createByteSink(1);
        const changed = createRowMasker(columns, undefined).mask(source, offset, offset + body.length, sink);
        const expected = values.map((value, i) => (value !== null && cells[i]![0] ? Buffer.from('***') : value));
        expect(changed).toBe(values.some((value, i) => value !== null && cells[i]![0]));
        if (changed) expect(decodeMessage(sink.bytes.subarray(0, sink.length))).toEqual(expected);
      }),
      { numRuns: 2000 },
    );
  });

  test('JSON fields: as parsing, replacing and comparing says', () => {
    const replaced = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(replaced);
      if (typeof value !== 'object' || value === null) return value;
      return Object.fromEntries(
        Object.entries(value).map(([name, inner]) => [
          name,
          name === 'secret' ? (inner === null ? null : '***') : replaced(inner),
        ]),
      );
    };
    const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
      tree: fc.oneof(
        { maxDepth: 5 },
        fc.constantFrom<unknown>(null, true, 1.5, 'x', 'a"\\\n\u00e9😀'),
        fc.array(tie('tree'), { maxLength: 3 }),
        fc.dictionary(fc.constantFrom('secret', 'a', 'b"', 'ü'), tie('tree'), { maxKeys: 3 }),
      ),
    }));
    fc.assert(
      fc.property(tree, fc.constantFrom(0, 1, 3), (value, space) => {
        const bytes = Buffer.from(JSON.stringify(value, undefined, space));
        const shown = fields.mask(bytes, 0, bytes.length, () => {}) ?? bytes;
        // Laid out as before, too: nothing but the replaced values changed.
        const expected = JSON.stringify(replaced(JSON.parse(bytes.toString())), undefined, space);
        expect(shown.toString()).toBe(expected);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('canaries', () => {
  const CANARY = 'CANARY4711';

  test('a protected value never comes out, in any type and format', () => {
    fc.assert(
      fc.property(oids, formats, transforms, fc.string({ maxLength: 6 }), (oid, format, transform, around) => {
        const value = Buffer.from(`${around}${CANARY}${around}`);
        const row = encodeRow([Buffer.from('before'), value, Buffer.from('after')]);
        const columns = [treat(25, 0, undefined), treat(oid, format, transform), treat(25, 0, undefined)];
        const sink = createByteSink(1);
        expect(createRowMasker(columns, undefined).mask(row, 0, row.length, sink)).toBe(true);
        const shown = sink.bytes.subarray(0, sink.length);
        expect(shown.includes(CANARY)).toBe(false);
        const [before, , after] = decodeMessage(shown);
        expect([before?.toString(), after?.toString()]).toEqual(['before', 'after']);
      }),
      { numRuns: 2000 },
    );
  });

  test('content never comes out of what may hold text, wherever it stands', () => {
    const holders = fc.constantFrom(
      17,
      19,
      25,
      114,
      142,
      199,
      705,
      1007,
      1009,
      1016,
      1042,
      1043,
      2249,
      3614,
      3802,
      3807,
      16_500,
    );
    const around = fc.string({ unit: fc.constantFrom(...'ab {}[]",:\\()<>&;0é\n'), maxLength: 12 });
    fc.assert(
      fc.property(holders, formats, around, around, (oid, format, before, after) => {
        const value = Buffer.from(`${before}${CANARY} ${after}`);
        const row = encodeRow([value]);
        const sink = createByteSink(1);
        const masker = createRowMasker([treat(oid, format, undefined)], everything, fields);
        expect(masker.mask(row, 0, row.length, sink)).toBe(true);
        expect(sink.bytes.subarray(0, sink.length).includes(CANARY)).toBe(false);
      }),
      { numRuns: 3000 },
    );
  });

  test('content never comes out of a binary array', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.constant(CANARY), fc.string({ maxLength: 60 })), { maxLength: 6 }),
        fc.nat({ max: 60 }),
        (texts, at) => {
          const elements = [...texts, 'x'.repeat(at) + CANARY].map((text) => Buffer.from(text));
          const parts = elements.flatMap((element) => [word(element.length), element]);
          const array = Buffer.concat([word(1), word(0), word(25), word(elements.length), word(1), ...parts]);
          const row = encodeRow([array]);
          const sink = createByteSink(1);
          expect(createRowMasker([treat(1009, 1, undefined)], everything).mask(row, 0, row.length, sink)).toBe(true);
          expect(decodeMessage(sink.bytes.subarray(0, sink.length))).toEqual([null]);
        },
      ),
      { numRuns: 1000 },
    );
  });

  test('a touched error shows nothing that a function could have written', () => {
    const code = fc.constantFrom(...'SVCMDHPpqWstcdnFLRZ');
    const text = fc.constantFrom(CANARY, `x ${CANARY}`, 'P0001', '15', 'ERROR');
    fc.assert(
      fc.property(fc.array(fc.tuple(code, text), { maxLength: 10 }), (said) => {
        const body = Buffer.from(`${said.map(([field, words]) => `${field}${words}\0`).join('')}\0`);
        const shown = redactReport(Buffer.concat([Buffer.from('E'), word(body.length + 4), body]), {
          touchesProtected: true,
        })!;
        // The server's own source places are names that a statement cannot choose.
        const chosen = said.some(([field, words]) => 'FR'.includes(field) && words === CANARY);
        expect(shown.includes(CANARY)).toBe(chosen);
      }),
      { numRuns: 1000 },
    );
  });
});

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}
