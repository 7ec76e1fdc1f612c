import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { environment, NO_MASKS } from '../sql/analyse.fixture.ts';
import { analyse } from '../sql/analyse.ts';
import * as encode from '../wire/encode.ts';
import { F } from '../wire/messages.ts';
import { lastingState } from './lasting.ts';
import { setAgain } from './settings.ts';
import { createSplitter } from './split.ts';
import { Statements } from './statements.ts';

describe('cutting bytes into messages', () => {
  test('comes out the same however the bytes arrive', () => {
    const messages = fc.array(
      fc.record({ type: fc.constantFrom('Q', 'P', 'd', 'S'), body: fc.uint8Array({ maxLength: 40 }) }),
      { maxLength: 8 },
    );
    fc.assert(
      fc.property(messages, fc.array(fc.nat({ max: 200 })), (all, cuts) => {
        const bytes = Buffer.concat(
          all.map(({ type, body }) => {
            const head = Buffer.from([type.charCodeAt(0), 0, 0, 0, 0]);
            head.writeUInt32BE(4 + body.length, 1);
            return Buffer.concat([head, body]);
          }),
        );
        const splitter = createSplitter(new Set([F.CopyData]));
        const out: Buffer[] = [];
        const types: number[] = [];
        const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
        for (const [at, place] of [...places, bytes.length].entries()) {
          splitter.feed(bytes.subarray(at === 0 ? 0 : places[at - 1], place), (piece) => {
            out.push(Buffer.from(piece.bytes));
            if (piece.type !== F.CopyData) types.push(piece.type);
          });
        }
        expect(Buffer.concat(out).equals(bytes)).toBe(true);
        expect(types).toEqual(all.filter(({ type }) => type !== 'd').map(({ type }) => type.charCodeAt(0)));
      }),
    );
  });

  test('a length that cannot be is refused', () => {
    expect(() => createSplitter(new Set()).feed(Buffer.from([0x51, 0, 0, 0, 1]), () => {})).toThrow(
      'impossible length',
    );
  });
});

describe('prepared statements over several connections', () => {
  const parse = encode.parse('s', 'SELECT 1');
  const bind = encode.bind('', 's');

  test('are prepared again where they are asked for, and once', () => {
    const statements = new Statements();
    statements.sent(F.Parse, parse);
    expect(statements.parsed()).toBe(false);
    statements.settled();
    expect(statements.before(F.Bind, bind)).toEqual([]);
    statements.connected();
    expect(statements.before(F.Bind, bind)).toEqual([parse]);
    expect(statements.parsed()).toBe(true);
    expect(statements.before(F.Describe, encode.describe('S', 's'))).toEqual([]);
    expect(statements.before(F.Describe, encode.describe('P', 's'))).toEqual([]);
    expect(statements.before(F.Bind, encode.bind('', 'unknown'))).toEqual([]);
  });

  test('one that the server refused is not there; one that was there before stays', () => {
    const statements = new Statements();
    statements.sent(F.Parse, parse);
    statements.settled();
    statements.connected();
    expect(statements.before(F.Bind, bind)).toEqual([]);
    statements.sent(F.Parse, parse);
    statements.parsed();
    statements.settled();
    statements.sent(F.Parse, encode.parse('s', 'SELECT 2'));
    statements.settled();
    statements.connected();
    expect(statements.before(F.Bind, bind)).toEqual([parse]);
  });

  test('Close, a simple query and SQL take them away', () => {
    const statements = new Statements();
    for (const name of ['', 'a', 'b']) {
      statements.sent(F.Parse, encode.parse(name, 'SELECT 1'));
      statements.parsed();
    }
    statements.sent(F.Close, encode.close('S', 'a'));
    statements.closed();
    statements.sent(F.Query, encode.query('SELECT 1'));
    statements.settled();
    statements.connected();
    for (const name of ['', 'a']) expect(statements.before(F.Bind, encode.bind('', name))).toEqual([]);
    expect(statements.before(F.Query, encode.query('DEALLOCATE b'))).toHaveLength(1);
    statements.parsed();
    statements.keep(new Set());
    statements.connected();
    expect(statements.before(F.Bind, encode.bind('', 'b'))).toEqual([]);
  });

  test('a Close that was skipped after an error took nothing', () => {
    const statements = new Statements();
    statements.sent(F.Parse, parse);
    statements.parsed();
    statements.settled();
    statements.sent(F.Close, encode.close('S', 's'));
    statements.settled();
    statements.connected();
    expect(statements.before(F.Bind, bind)).toEqual([parse]);
  });
});

describe('what outlives its command', () => {
  const found = (sql: string): string | undefined => lastingState(analyse(sql, environment(), NO_MASKS, undefined));

  test.each([
    ['CREATE TEMP TABLE t (id int)', 'temporary object'],
    ['SELECT 1 AS a INTO TEMP t', 'temporary object'],
    ['DECLARE c CURSOR WITH HOLD FOR SELECT 1', 'WITH HOLD'],
    ['LISTEN a', 'LISTEN'],
    ['SELECT pg_advisory_lock(1)', 'pg_advisory_lock'],
    ['PREPARE p AS SELECT 1', 'PREPARE p'],
    ["SET app.x = '1'", 'app.x'],
  ])('%s', (sql, words) => expect(found(sql)).toContain(words));

  test.each([
    'SELECT 1',
    'UNLISTEN *',
    'DECLARE c SCROLL CURSOR FOR SELECT 1',
    'SELECT pg_advisory_xact_lock(1)',
    "SET LOCAL app.x = '1'",
    "SET work_mem = '4MB'",
    'RESET app.x',
    'DISCARD ALL',
  ])('%s: nothing', (sql) => expect(found(sql)).toBeUndefined());
});

test('settings are set again in one query, the role last', () => {
  expect(setAgain(new Map([['role', 'none']]))).toBeUndefined();
  const query =
    setAgain(
      new Map([
        ['role', 'r'],
        ['search_path', `"it's", public`],
      ]),
    )?.toString('utf8', 5) ?? '';
  expect(query).toBe(
    `SELECT pg_catalog.set_config('search_path', '"it''s", public', false), pg_catalog.set_config('role', 'r', false)\0`,
  );
});
