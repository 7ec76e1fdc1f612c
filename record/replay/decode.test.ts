import { isUtf8 } from 'node:buffer';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { RecordedEvent } from '../format.ts';
import { createRowReader, type RecordedRow } from './postgres-rows.ts';
import { valueText } from './postgres-values.ts';
import { createResultReader, type ResultEnd } from './results.ts';
import { copyData, dataRow } from './rows.fixture.ts';
import { layOut } from './sql-layout.ts';
import { createStepReader } from './steps.ts';

const EVENT_TYPES = [
  'session.start',
  'session.authenticated',
  'session.end',
  'statement.parsed',
  'command.received',
  'command.denied',
  'command.held',
  'command.released',
  'command.executed',
  'command.failed',
  'result.chunk',
  'output.chunk',
  'file.operation',
  'file.denied',
  'file.closed',
  'credential.used',
];
const bytes = fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array));
const cells = fc.array(fc.option(bytes, { nil: null }), { maxLength: 6 });
const cuts = fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 40 });

/** The bytes in pieces of these lengths, over and over. */
function pieces(whole: Buffer, lengths: readonly number[]): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0, i = 0; at < whole.length; i++) {
    const length = lengths[i % Math.max(1, lengths.length)] ?? whole.length;
    parts.push(whole.subarray(at, at + length));
    at += length;
  }
  return parts;
}

function readRows(parts: readonly Buffer[]): RecordedRow[] {
  const reader = createRowReader();
  return [...parts.flatMap((part) => reader.feed(part)), ...reader.end()];
}

describe('rows', () => {
  test('come back as they were, cut anywhere', () => {
    fc.assert(
      fc.property(fc.array(cells, { maxLength: 8 }), cuts, (rows, lengths) => {
        const whole = Buffer.concat(rows.map((row) => dataRow(...row)));
        expect(readRows(pieces(whole, lengths))).toEqual(rows.map((row) => ({ type: 'row', cells: row, cut: false })));
      }),
    );
  });

  test('any bytes at all: nothing is thrown, and reading stops at what is no row', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), cuts, (array, lengths) => {
        const rows = readRows(pieces(Buffer.from(array), lengths));
        const bad = rows.findIndex(({ type }) => type === 'unreadable');
        expect(bad === -1 || bad === rows.length - 1).toBe(true);
      }),
    );
  });

  test('a result that was cut off gives its whole rows and what there is of the last', () => {
    fc.assert(
      fc.property(fc.array(cells, { minLength: 1, maxLength: 5 }), fc.nat(), (rows, nat) => {
        const whole = Buffer.concat(rows.map((row) => dataRow(...row)));
        const kept = whole.subarray(0, nat % whole.length);
        const found = readRows([kept]).filter((row) => row.type === 'row');
        const complete = found.filter(({ cut }) => !cut);
        expect(complete.map((row) => row.cells)).toEqual(rows.slice(0, complete.length));
        expect(found.length - complete.length).toBeLessThanOrEqual(1);
      }),
    );
  });

  test('of a row beyond a mebibyte a part is kept, and the next row is read', () => {
    const large = dataRow('a', Buffer.alloc(5 << 20, 0x78));
    const rows = readRows(pieces(Buffer.concat([large, dataRow('next')]), [65_536]));
    expect(rows).toMatchObject([
      { type: 'row', cut: true },
      { type: 'row', cut: false, cells: [Buffer.from('next')] },
    ]);
    const kept = rows[0]?.type === 'row' ? rows[0].cells.reduce((sum, cell) => sum + (cell?.length ?? 0), 0) : 0;
    expect(kept).toBeLessThanOrEqual(1 << 20);
  });
});

describe('values', () => {
  test('any bytes of any type in any format are text', () => {
    const types = fc.oneof(
      fc.integer({ min: 0, max: 4000 }),
      fc.constantFrom(16, 20, 21, 23, 1700, 1082, 1114, 1184, 2950, 3802, 1007, 1009, 1231),
    );
    fc.assert(
      fc.property(bytes, fc.option(types, { nil: undefined }), fc.constantFrom(0, 1, 7), (value, type, format) => {
        const text = valueText(value, type, format);
        expect(isUtf8(Buffer.from(text))).toBe(true);
        if (format === 0 && isUtf8(value)) expect(text).toBe(value.toString('utf8'));
      }),
      { numRuns: 2000 },
    );
  });

  test.each([
    ['numeric', 1700, '0002000000000002' + '0001' + '1388', '1.50'],
    ['numeric, negative and small', 1700, '0001fffe40000008' + '0007', '-0.00000007'],
    ['numeric, NaN', 1700, '00000000c0000000', 'NaN'],
    ['numeric, zero with a scale', 1700, '0000000000000003', '0.000'],
    ['date, infinite', 1082, '7fffffff', 'infinity'],
    ['timestamp before the epoch', 1114, 'ffffffffffffffff', '1999-12-31 23:59:59.999999'],
    ['jsonb of an unknown version', 3802, '027b7d', '\\x027b7d'],
    ['int4 of another length', 23, '0001', '\\x0001'],
    ['point', 600, '00', '\\x00'],
  ])('%s in binary', (_name, type, hex, text) => {
    expect(valueText(Buffer.from(hex, 'hex'), type, 1)).toBe(text);
  });

  test('a long one is cut between characters and says so', () => {
    expect(valueText(Buffer.from('ü'.repeat(20_000)), 25, 0)).toBe(`${'ü'.repeat(8_192)}… (40000 bytes)`);
    expect(valueText(Buffer.from(`x${'ü'.repeat(20_000)}`), 25, 0)).toBe(`x${'ü'.repeat(8_191)}… (40001 bytes)`);
  });
});

describe('results', () => {
  const event = (members: object): RecordedEvent => ({ v: 1, n: 1, t: '', e: 'result.chunk', ...members });
  const chunk = (offset: number, data: Buffer, more: object = {}): RecordedEvent =>
    event({ encoding: 'postgres-messages+base64', offset, data: data.toString('base64'), ...more });

  function read(events: readonly RecordedEvent[]): {
    rows: (string | null)[][];
    columns: string[][];
    ends: ResultEnd[];
  } {
    const reader = createResultReader();
    const found = events.map((one) => reader.enter(one));
    return {
      rows: found.flatMap(({ rows }) => rows.flatMap((batch) => batch.rows.map((row) => [...row]))),
      columns: found.flatMap(({ rows }) => rows.map(({ columns }) => [...columns])),
      ends: found.flatMap(({ end }) => end ?? []),
    };
  }

  test('over several chunks, cut amid rows', () => {
    const whole = Buffer.concat([dataRow('1', 'a'), dataRow('2', null), dataRow('3', 'c')]);
    const found = read([chunk(0, whole.subarray(0, 20)), chunk(20, whole.subarray(20), { bytes: whole.length })]);
    expect(found.rows).toEqual([
      ['1', 'a'],
      ['2', null],
      ['3', 'c'],
    ]);
    expect(found.columns).toEqual(
      [
        ['col1', 'col2'],
        ['col1', 'col2'],
      ].slice(0, found.columns.length),
    );
    expect(found.ends).toEqual([{ rows: 3, bytes: whole.length }]);
  });

  test('a missing chunk, another encoding and bytes that are no rows are said to be so', () => {
    const row = dataRow('1');
    expect(read([chunk(0, row), chunk(99, row, { bytes: 200 })]).ends[0]?.problem).toContain('missing');
    expect(read([chunk(7, row, { bytes: 200 })]).ends[0]?.problem).toContain('missing');
    expect(read([event({ encoding: 'x', offset: 0, data: '', bytes: 1 })]).ends[0]?.problem).toContain('not known');
    expect(read([chunk(0, Buffer.from('not rows'), { bytes: 8 })]).ends[0]?.problem).toBe('its bytes are not rows');
  });

  test('COPY: lines as they came, an empty one too; in binary, that it is not read', () => {
    const text = Buffer.concat([copyData('1\ta\n'), copyData('\n'), copyData('2\t\\N\nlast')]);
    expect(read([chunk(0, text, { bytes: text.length })])).toMatchObject({
      rows: [['1\ta'], [''], ['2\t\\N'], ['last']],
      ends: [{ rows: 4 }],
    });
    const binary = copyData(Buffer.from('PGCOPY\n\xff\r\n\0rest', 'latin1'));
    expect(read([chunk(0, binary, { bytes: binary.length })]).ends[0]?.problem).toContain('binary');
  });

  test('many rows come in batches of bounded size', () => {
    const whole = Buffer.concat(Array.from({ length: 3000 }, (_, index) => dataRow(String(index), 'x'.repeat(100))));
    const reader = createResultReader();
    const { rows } = reader.enter(chunk(0, whole, { bytes: whole.length }));
    expect(rows.flatMap((batch) => batch.rows)).toHaveLength(3000);
    for (const batch of rows) expect(batch.rows.length).toBeLessThanOrEqual(256);
    expect(rows.map(({ first }) => first)).toEqual(rows.map((_, index) => index === 0));
  });
});

test('events with any members at all become steps: nothing is thrown, and time never goes back', () => {
  const types = fc.constantFrom(...EVENT_TYPES, 'session.interrupted', 'session.refused', 'anything');
  const event = fc.record({
    e: types,
    t: fc.oneof(
      fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
      fc.string(),
    ),
  });
  const members = fc.dictionary(
    fc.constantFrom(
      'seq',
      'text',
      'rules',
      'votes',
      'requirements',
      'parameters',
      'masked',
      'who',
      'columns',
      'formats',
      'data',
      'offset',
      'bytes',
      'encoding',
      'lastEvent',
    ),
    fc.oneof(fc.anything(), fc.constant(0), fc.constant('postgres-messages+base64')),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(event, members), { maxLength: 20 }), (events) => {
      const reader = createStepReader();
      const times = events
        .flatMap(([head, more]) => reader.enter({ ...more, v: 1, n: 1, ...head }))
        .map(({ atMicros }) => atMicros);
      expect(times).toEqual(times.toSorted((a, b) => a - b));
    }),
  );
});

describe('a statement laid out', () => {
  test('keeps everything but white space, whatever it is', () => {
    const words = fc.array(
      fc.constantFrom(
        'select',
        ' ',
        '\n',
        "'",
        '"',
        '$$',
        '$a$',
        '--',
        '/*',
        '*/',
        '(',
        ')',
        ';',
        'from',
        'where',
        'and',
        'between',
        'join',
        'left',
        '1',
        'é',
        '\\',
        "E'",
      ),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ maxLength: 200 }),
          words.map((list) => list.join('')),
        ),
        (text) => {
          const shown = layOut(text)
            .map((line) => line.map((piece) => piece.text).join(''))
            .join('\n');
          expect(shown.replaceAll(/\s/g, '')).toBe(text.replaceAll(/\s/g, ''));
        },
      ),
      { numRuns: 2000 },
    );
  });

  test.each([
    ['SELECT 1', 'SELECT 1'],
    [
      "SELECT a, b FROM t LEFT OUTER JOIN u ON t.x = u.x WHERE a BETWEEN 1 AND 2 AND b = 'x AND y FROM z' ORDER BY a",
      "SELECT a, b\nFROM t\nLEFT OUTER JOIN u ON t.x = u.x\nWHERE a BETWEEN 1 AND 2\n  AND b = 'x AND y FROM z'\nORDER BY a",
    ],
    [
      'SELECT (SELECT max(x) FROM t WHERE x > 1) AS most FROM a_long_name_of_a_table WHERE y',
      'SELECT (SELECT max(x) FROM t WHERE x > 1) AS most\nFROM a_long_name_of_a_table\nWHERE y',
    ],
    ['SELECT 1\n  FROM   t', 'SELECT 1\n  FROM   t'],
  ])('%s', (text, expected) => {
    expect(
      layOut(text)
        .map((line) => line.map((piece) => piece.text).join(''))
        .join('\n'),
    ).toBe(expected);
  });
});
