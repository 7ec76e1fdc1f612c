import { describe, expect, test } from 'vitest';
import type { Detector, Transform } from '../../policy/masking.ts';
import { createContentDetectors } from './detectors.ts';
import { createFieldMasks } from './fields.ts';
import type { ColumnTreatment } from './port.ts';
import { createRowMasker } from './rows.ts';
import { createByteSink } from './sink.ts';

const key = Buffer.from('the key of this test');
const redact: Transform = { type: 'redact', with: '***' };
const tokenize: Transform = { type: 'tokenize' };

type Value = Buffer | string | null;

function body(values: readonly Value[]): Buffer {
  const parts: Buffer[] = [int16(values.length)];
  for (const value of values) {
    const bytes = value === null ? null : Buffer.from(value);
    parts.push(int32(bytes === null ? -1 : bytes.length));
    if (bytes !== null) parts.push(bytes);
  }
  return Buffer.concat(parts);
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function int64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(value);
  return bytes;
}

function message(values: readonly Value[]): Buffer {
  const bytes = body(values);
  return Buffer.concat([Buffer.from('D'), int32(bytes.length + 4), bytes]);
}

function detectors(...names: Detector[]): ReturnType<typeof createContentDetectors> {
  return createContentDetectors(
    names.map((detector) => ({ source: { detector }, transform: redact, rule: 'shop/content' })),
    () => key,
  );
}

function column(typeOid: number, format: 0 | 1, transform?: Transform): ColumnTreatment {
  const base = { typeOid, format, rules: ['shop/pii'] };
  if (transform === undefined) return base;
  return transform.type === 'tokenize' ? { ...base, transform, tokenKey: key } : { ...base, transform };
}

/** What one value of one column is shown as; undefined: the row stays as it is. */
function show(
  treatment: ColumnTreatment,
  value: Value,
  content?: ReturnType<typeof createContentDetectors>,
  fields?: ReturnType<typeof createFieldMasks>,
): Buffer | null | undefined {
  const sink = createByteSink(16);
  const bytes = Buffer.concat([Buffer.from('99'), body([value]), Buffer.from('99')]);
  const masker = createRowMasker([treatment], content, fields);
  if (!masker.mask(bytes, 2, bytes.length - 2, sink)) {
    expect(sink.length).toBe(0);
    return undefined;
  }
  const shown = sink.bytes.subarray(0, sink.length);
  expect(shown[0]).toBe(0x44);
  expect(shown.readInt32BE(1)).toBe(shown.length - 1);
  expect(shown.readInt16BE(5)).toBe(1);
  const length = shown.readInt32BE(7);
  expect(shown.length).toBe(11 + Math.max(0, length));
  return length === -1 ? null : shown.subarray(11);
}

describe('a protected column', () => {
  test.each([
    ['text', 25, 0, 'secret', '***'],
    ['text in binary', 25, 1, 'secret', '***'],
    ['varchar', 1043, 0, 'secret', '***'],
    ['bpchar', 1042, 0, 'secret   ', '***'],
    ['json', 114, 0, '{"a":1}', '"***"'],
    ['json in binary', 114, 1, '{"a":1}', '"***"'],
    ['jsonb', 3802, 0, '{"a":1}', '"***"'],
    ['jsonb in binary', 3802, 1, '\u0001{"a":1}', '\u0001"***"'],
    ['bytea', 17, 0, '\\x7365', '\\x2a2a2a'],
    ['bytea in binary', 17, 1, 'se', '***'],
    ['int4', 23, 0, '42', null],
    ['int8 in binary', 20, 1, '12345678', null],
    ['date', 1082, 0, '1970-01-01', null],
    ['uuid', 2950, 0, '00000000-0000-0000-0000-000000000000', null],
    ['numeric', 1700, 0, '1.5', null],
    ['bool', 16, 0, 't', null],
    ['text[]', 1009, 0, '{a}', null],
    ['xml', 142, 0, '<a/>', null],
    ['a type that is not built in', 99_999, 0, 'happy', null],
  ] as const)('%s is redacted', (_, oid, format, value, shown) => {
    expect(show(column(oid, format, redact), value)?.toString() ?? null).toBe(shown);
    expect(show(column(oid, format, { type: 'nullify' }), value)).toBeNull();
  });

  test('citext is text when the catalog says so', () => {
    expect(show({ ...column(99_999, 0, redact), holdsText: true }, 'secret')?.toString()).toBe('***');
  });

  test('NULL stays NULL, and the row as it is', () => {
    expect(show(column(25, 0, redact), null)).toBeUndefined();
  });

  test('the same value gives the same token whatever type and format carry it', () => {
    const token = show(column(25, 0, tokenize), 'ana')?.toString();
    expect(token).toMatch(/^sptok_/);
    expect(show(column(25, 1, tokenize), 'ana')?.toString()).toBe(token);
    expect(show(column(1042, 0, tokenize), 'ana       ')?.toString()).toBe(token);
    expect(show(column(17, 1, tokenize), 'ana')?.toString()).toBe(token);
    expect(show(column(17, 0, tokenize), '\\x616e61')?.toString()).toBe(`\\x${Buffer.from(token!).toString('hex')}`);
    expect(show(column(17, 0, tokenize), '\\141na')?.toString()).toBe(`\\x${Buffer.from(token!).toString('hex')}`);
    expect(show(column(3802, 0, tokenize), '"ana"')?.toString()).toBe(`"${token}"`);
    expect(show(column(3802, 1, tokenize), '\u0001"\\u0061na"')?.toString()).toBe(`\u0001"${token}"`);
  });

  test('partial never shows a JSON object, and keeps characters of a JSON string', () => {
    const partial: Transform = { type: 'partial', keepFirst: 0, keepLast: 4 };
    expect(show(column(3802, 0, partial), '{"secret": "abcdefghij"}')?.toString()).toBe('"***"');
    expect(show(column(3802, 0, partial), '"4111111111111111"')?.toString()).toBe('"************1111"');
    expect(show(column(3802, 0, partial), '4111111111111111')?.toString()).toBe('"************1111"');
    expect(show(column(3802, 0, partial), 'not json at all')?.toString()).toBe('"***"');
    expect(show(column(1042, 0, partial), '4111111111111111    ')?.toString()).toBe('************1111');
  });
});

describe('content in other columns', () => {
  const card = detectors('CreditCard')!;
  const C = '4111111111111111';

  test.each([
    ['text', 25, 0, `a ${C} b`, 'a *** b'],
    ['text that is JSON with escapes', 25, 0, '{"a":"\\u0034111111111111111"}', '{"a":"***"}'],
    ['text that is a JSON string with escapes', 25, 0, '"\\u0034111111111111111"', '"***"'],
    ['text that only begins like JSON', 25, 0, `"a" ${C}`, '"a" ***'],
    ['json string', 114, 0, `{"a": "x ${C}" , "b":1}`, '{"a": "x ***" , "b":1}'],
    ['json number', 114, 0, `[1, ${C}]`, '[1, "***"]'],
    ['json key', 114, 0, `{"${C}":1}`, '{"***":1}'],
    ['broken json', 114, 0, `{"a":"${C}`, null],
    ['jsonb in binary', 3802, 1, `\u0001["${C}"]`, '\u0001["***"]'],
    ['jsonb of an unknown version', 3802, 1, `\u0002["${C}"]`, null],
    ['int8', 20, 0, C, null],
    ['numeric', 1700, 0, `${C}.00`, null],
    ['float8', 701, 0, '4.111111111111111e+15', null],
    ['bytea', 17, 0, `\\x${Buffer.from(C).toString('hex')}`, '\\x2a2a2a'],
    ['bytea in binary', 17, 1, C, '***'],
    ['text[]', 1009, 0, `{a,${C},"b c"}`, '{a,***,"b c"}'],
    ['int8[]', 1016, 0, `{1,${C}}`, null],
    ['json inside text[]', 1009, 0, '{"[\\"\\\\u0034111111111111111\\"]"}', null],
    ['record', 2249, 0, `(1,${C})`, '(1,***)'],
    ['xml', 142, 0, `<a>${C}</a>`, '<a>***</a>'],
    ['xml with character references', 142, 0, '<a>&#52;111111111111111</a>', null],
    ['tsvector', 3614, 0, `'${C}':1`, null],
    ['citext', 99_999, 0, C, '***'],
  ] as const)('is masked in %s', (_, oid, format, value, shown) => {
    expect(show(column(oid, format), value, card)?.toString() ?? null).toBe(shown);
    expect(show(column(oid, format), value, card)).not.toBeUndefined();
  });

  test('is masked in binary numbers', () => {
    expect(show(column(20, 1), int64(4111111111111111n), card)).toBeNull();
    expect(show(column(20, 1), int64(-4111111111111111n), card)).toBeNull();
    expect(show(column(20, 1), int64(4111111111111112n), card)).toBeUndefined();
    expect(show(column(20, 1), int64(42n), card)).toBeUndefined();
    const float = Buffer.alloc(8);
    float.writeDoubleBE(4111111111111111);
    expect(show(column(701, 1), float, card)).toBeNull();
    // 4111 1111 1111 1111 in base 10000: four groups, weight 3
    const numeric = Buffer.concat([4, 3, 0, 0, 4111, 1111, 1111, 1111].map(int16));
    expect(show(column(1700, 1), numeric, card)).toBeNull();
  });

  test('is masked in binary arrays and records, also right behind a length that looks like a digit', () => {
    const text = `${C}${' '.repeat(32)}`;
    expect(text.length).toBe(0x30);
    const array = Buffer.concat([
      int32(1),
      int32(0),
      int32(25),
      int32(1),
      int32(1),
      int32(text.length),
      Buffer.from(text),
    ]);
    expect(show(column(1009, 1), array, card)).toBeNull();
    const numbers = Buffer.concat([
      int32(1),
      int32(0),
      int32(20),
      int32(1),
      int32(1),
      int32(8),
      int64(4111111111111111n),
    ]);
    expect(show(column(1016, 1), numbers, card)).toBeNull();
    const record = Buffer.concat([
      int32(2),
      int32(23),
      int32(4),
      int32(7),
      int32(25),
      int32(text.length),
      Buffer.from(text),
    ]);
    expect(show(column(2249, 1), record, card)).toBeNull();
    const harmless = Buffer.concat([int32(1), int32(0), int32(25), int32(1), int32(1), int32(3), Buffer.from('abc')]);
    expect(show(column(1009, 1), harmless, card)).toBeUndefined();
  });

  test('inet becomes NULL under IPAddress in both formats', () => {
    const ip = detectors('IPAddress')!;
    expect(show(column(869, 0), '10.0.0.1', ip)).toBeNull();
    expect(show(column(869, 1), Buffer.from([2, 32, 0, 4, 10, 0, 0, 1]), ip)).toBeNull();
    expect(show(column(869, 1), Buffer.from([3, 128, 0, 16, ...new Uint8Array(15), 1]), ip)).toBeNull();
    expect(show(column(869, 0), '10.0.0.1', card)).toBeUndefined();
  });

  test("users' patterns reach every number", () => {
    const pattern = createContentDetectors(
      [{ source: { pattern: '^123456$' }, transform: redact, rule: 'shop/number' }],
      () => key,
    )!;
    expect(show(column(23, 0), '123456', pattern)).toBeNull();
    expect(show(column(23, 1), int32(123456), pattern)).toBeNull();
    expect(show(column(21, 1), int16(1234), pattern)).toBeUndefined();
    expect(show(column(20, 1), int64(123456n), pattern)).toBeNull();
  });
});

test('fields of JSON columns are masked beside content', () => {
  const fields = createFieldMasks([{ match: '**.ssn', transform: redact, rule: 'shop/fields' }], () => key);
  const value = '{"a": {"ssn": "x"}, "b": "4111111111111111"}';
  expect(show(column(3802, 0), value, detectors('CreditCard'), fields)?.toString()).toBe(
    '{"a": {"ssn": "***"}, "b": "***"}',
  );
  expect(show(column(25, 0), value, undefined, fields)?.toString()).toBe(
    '{"a": {"ssn": "***"}, "b": "4111111111111111"}',
  );
  expect(show(column(2249, 0), '("{""ssn"": 1}")', undefined, fields)).toBeNull();
  expect(show(column(3802, 0), '{"ssn": ', undefined, fields)?.toString()).toBe('"***"');
});

describe('rows', () => {
  test('only the protected value changes', () => {
    const masker = createRowMasker(
      [column(23, 0), column(25, 0, redact), column(25, 0), column(25, 0, redact)],
      undefined,
    );
    const sink = createByteSink(8);
    const source = body(['1', 'secret', 'x'.repeat(100), 'another']);
    expect(masker.mask(source, 0, source.length, sink)).toBe(true);
    expect(sink.bytes.subarray(0, sink.length)).toEqual(message(['1', '***', 'x'.repeat(100), '***']));
    expect(Object.fromEntries(masker.takeCounts())).toEqual({ 'shop/pii': 2 });
    expect(masker.takeCounts().size).toBe(0);
  });

  test('are appended to what the sink holds', () => {
    const masker = createRowMasker([column(25, 0, redact)], undefined);
    const sink = createByteSink(4);
    for (const value of ['a', 'bb', 'ccc']) masker.mask(body([value]), 0, body([value]).length, sink);
    expect(sink.bytes.subarray(0, sink.length)).toEqual(
      Buffer.concat([message(['***']), message(['***']), message(['***'])]),
    );
  });

  /** Rows of every kind: replaced and not, NULL, shorter and longer than what is shown, long enough for the engine's copy. */
  const mixed: readonly (readonly Value[])[] = [
    ['1', 'secret', 'plain'],
    ['2', null, 'plain'],
    ['3', '', null],
    ['4', 'x'.repeat(300), 'ana@example.com'],
    [null, null, null],
    ['5', '***', 'y'.repeat(200)],
    ['6', 'no', 'to bo@example.com'],
  ];
  const columns = [column(23, 0), column(25, 0, redact), column(25, 0)];

  test('one behind the other come out as one by one', () => {
    const run = Buffer.concat(mixed.map(message));
    const email = detectors('Email');
    const masker = createRowMasker(columns, email);
    const together = createByteSink(8);
    together.reserve(3);
    together.length = 3;
    const source = Buffer.concat([Buffer.from('99'), run, Buffer.from('99')]);
    expect(masker.maskRun(source, 2, 2 + run.length, together)).toBe(2 + run.length);
    expect(masker.ranRows).toBe(mixed.length);
    const single = createRowMasker(columns, email);
    const alone = createByteSink(8);
    for (const row of mixed) {
      if (single.mask(body(row), 0, body(row).length, alone)) continue;
      const same = message(row);
      alone.reserve(same.length);
      same.copy(alone.bytes, alone.length);
      alone.length += same.length;
    }
    expect(together.bytes.subarray(3, together.length)).toEqual(alone.bytes.subarray(0, alone.length));
    const shown = mixed.map(([id, secret, text]): Value[] => {
      const found = text?.toString().replace(/(ana|bo)@example.com/, '***');
      return [id ?? null, secret === null ? null : '***', found ?? null];
    });
    expect(together.bytes.subarray(3, together.length)).toEqual(Buffer.concat(shown.map(message)));
    expect(masker.takeCounts()).toEqual(single.takeCounts());
  });

  test('a run ends before a row that is not whole, wherever the bytes are cut', () => {
    const run = Buffer.concat(mixed.map(message));
    const masker = createRowMasker(columns, undefined);
    const whole = createByteSink();
    masker.maskRun(run, 0, run.length, whole);
    for (let cut = 0; cut <= run.length; cut++) {
      const sink = createByteSink();
      const stop = masker.maskRun(run, 0, cut, sink);
      expect(stop).toBeLessThanOrEqual(cut);
      expect(masker.maskRun(run, stop, run.length, sink)).toBe(run.length);
      if (sink.bytes.compare(whole.bytes, 0, whole.length, 0, sink.length) !== 0) expect.fail(`cut at ${cut}`);
    }
  });

  test('a run ends before a message of another type and before an impossible length', () => {
    const masker = createRowMasker(columns, undefined);
    const row = message(['1', 'secret', 'x']);
    for (const behind of [
      Buffer.from('C\0\0\0\u0009SELECT'),
      Buffer.from('D\0\0\0\u0003aaaaaaa'),
      Buffer.from('D\u00ff\0\0\0'),
    ]) {
      const sink = createByteSink();
      expect(masker.maskRun(Buffer.concat([row, behind]), 0, row.length + behind.length, sink)).toBe(row.length);
      expect(sink.bytes.subarray(0, sink.length)).toEqual(message(['1', '***', 'x']));
    }
  });

  test('of a run with a malformed row nothing is in the sink', () => {
    const masker = createRowMasker(columns, undefined);
    const sink = createByteSink();
    const run = Buffer.concat([message(['1', 'secret', 'x']), message(['2', 'secret'])]);
    expect(() => masker.maskRun(run, 0, run.length, sink)).toThrow(expect.objectContaining({ code: 'SPM002' }));
    expect(sink.length).toBe(0);
  });

  test('counts finds by detector', () => {
    const masker = createRowMasker([column(25, 0)], detectors('Email'));
    const row = body(['ana@example.com, bo@example.com']);
    masker.mask(row, 0, row.length, createByteSink());
    expect(Object.fromEntries(masker.byName)).toEqual({ Email: 2 });
  });

  test('inactive when no value could change', () => {
    expect(createRowMasker([column(25, 0)], undefined).active).toBe(false);
    expect(createRowMasker([column(16, 0)], detectors('Email')).active).toBe(false);
    expect(createRowMasker([column(25, 0)], detectors('Email')).active).toBe(true);
  });

  const good = body(['secret', 'b']);
  test.each([
    ['empty', Buffer.alloc(0), 'SPM001'],
    ['one byte', Buffer.alloc(1), 'SPM001'],
    ['too few columns', body(['a']), 'SPM002'],
    ['too many columns', body(['a', 'b', 'c']), 'SPM002'],
    ['cut', good.subarray(0, good.length - 1), 'SPM001'],
    ['cut in a length', good.subarray(0, good.length - 3), 'SPM001'],
    ['a byte too many', Buffer.concat([good, Buffer.alloc(1)]), 'SPM001'],
    ['a negative length', Buffer.concat([int16(2), int32(-2), int32(-1)]), 'SPM001'],
    ['a huge length', Buffer.concat([int16(2), int32(0x7fffffff), int32(-1)]), 'SPM001'],
  ])('a malformed one is an error and leaves nothing in the sink: %s', (_, bytes, code) => {
    const masker = createRowMasker([column(25, 0, redact), column(25, 0)], undefined);
    const sink = createByteSink(4);
    // The same bytes with more behind them: lengths must not reach past the row.
    const source = Buffer.concat([bytes, Buffer.alloc(64, 'x')]);
    expect(() => masker.mask(source, 0, bytes.length, sink)).toThrow(expect.objectContaining({ code }));
    expect(sink.length).toBe(0);
  });
});
