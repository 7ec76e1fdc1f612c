import { cpuUsage } from 'node:process';
import { describe, expect, test } from 'vitest';
import type { Detector, Transform } from '../../policy/masking.ts';
import { createContentDetectors } from './detectors.ts';

const redact: Transform = { type: 'redact', with: '***' };
const noKeys = (): undefined => undefined;

function detect(detector: Detector, text: string, transform: Transform = redact): string | undefined {
  const detectors = createContentDetectors([{ source: { detector }, transform, rule: 'shop/pii' }], () =>
    Buffer.from('a key'),
  );
  return detectors?.maskText(text);
}

/** [text, what is shown; undefined: unchanged] */
const CASES: Readonly<Record<Detector, readonly (readonly [string, string | undefined])[]>> = {
  CreditCard: [
    ['4111111111111111', '***'],
    ['card 4111 1111 1111 1111.', 'card ***.'],
    ['4111-1111-1111-1111', '***'],
    ['4111\u00a01111\u00a01111\u00a01111', '***'],
    ['4111\u20131111\u20131111\u20131111', '***'],
    ['x4111111111111111y', 'x***y'],
    ['378282246310005', '***'],
    ['3782 822463 10005', '***'],
    ['5555555555554444,4111111111111111', '***,***'],
    ['6011111111111117', '***'],
    ['30569309025904', '***'],
    ['3530111333300000', '***'],
    ['2223003122003222', '***'],
    ['6200000000000005', '***'],
    ['order 42 4111111111111111', 'order 42 ***'],
    ['1234 4111 1111 1111 1111', '1234 ***'],
    ['4111111111111112', undefined],
    ['1111111111111117', undefined],
    ['41111111111111111111111', undefined],
    ['4111 1111-1111 1111', undefined],
    ['2024-01-15 10:00:00', undefined],
  ],
  IBAN: [
    ['DE89370400440532013000', '***'],
    ['DE89 3704 0044 0532 0130 00', '***'],
    ['to GB82 WEST 1234 5698 7654 32, please', 'to ***, please'],
    ['gb82west12345698765432', '***'],
    ['NO9386011117947', '***'],
    ['FR1420041010050500013M02606', '***'],
    ['DE89370400440532013001', undefined],
    ['XDE89370400440532013000', undefined],
    ['DE8937040044053201300', undefined],
    ['ZZ89370400440532013000', undefined],
  ],
  Email: [
    ['ana@example.com', '***'],
    ['<ana.b+c@mail.example.co.uk>.', '<***>.'],
    ['write to ana@example.com.', 'write to ***.'],
    ['"ana b"@example.com', '***'],
    ['jürgen@bücher.example', '***'],
    ["o'neil@example.org,x", '***,x'],
    ['ana@localhost', undefined],
    ['@example.com', undefined],
    ['a @ b.c', undefined],
    ['ana@example.1', undefined],
  ],
  PhoneNumber: [
    ['+14155550123', '***'],
    ['+49 30 1234567', '***'],
    ['+1 (415) 555-0123', '***'],
    ['(415) 555-0123', '***'],
    ['415-555-0123', '***'],
    ['415.555.0123', '***'],
    ['call 1-415-555-0123 now', 'call *** now'],
    ['0049 30 1234567', '***'],
    ['+49 30 123456 +49 30 654321', '*** ***'],
    ['123 415 555 0123', '123 ***'],
    ['4155550123', undefined],
    ['123-456-7890', undefined],
    ['2024-01-15', undefined],
    ['+12', undefined],
  ],
  USSocialSecurityNumber: [
    ['078-05-1120', '***'],
    ['ssn:078 05 1120;', 'ssn:***;'],
    ['000-12-3456', undefined],
    ['666-12-3456', undefined],
    ['900-12-3456', undefined],
    ['123-00-4567', undefined],
    ['123-45-0000', undefined],
    ['078-05 1120', undefined],
    ['1078-05-1120', undefined],
    ['078-05-11201', undefined],
    ['078-05-1120-1', undefined],
  ],
  IPAddress: [
    ['10.0.0.1', '***'],
    ['from 192.168.1.254:5432', 'from ***:5432'],
    ['2001:db8::1', '***'],
    ['[::1]:80', '[***]:80'],
    ['fe80::1, ok', '***, ok'],
    ['::ffff:10.0.0.1', '***'],
    ['10.0.0.256', undefined],
    ['1.2.3', undefined],
    ['1.2.3.4.5', undefined],
    ['12:34:56', undefined],
    ['std::map', undefined],
    ['x::text', undefined],
  ],
  JWT: [
    ['eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl', '***'],
    ['token=eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.', 'token=***'],
    ['eyJhbGciOiJSU0EtT0FFUCJ9.a2V5.aXY.Y2lwaGVy.dGFn end', '*** end'],
    ['eyJhIjoxfQ.eyJzdWIiOiJhIn0.c2ln', undefined],
    ['eyJhbGciOiJIUzI1NiJ9', undefined],
  ],
  PrivateKey: [
    ['-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n', '***\n'],
    ['a -----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn', 'a ***'],
    ['-----BEGIN PGP PRIVATE KEY BLOCK-----\nx\n-----END PGP PRIVATE KEY BLOCK-----', '***'],
    ['PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1\nAAAA', '***'],
    ['-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----', undefined],
  ],
  AWSAccessKey: [
    ['AKIAIOSFODNN7EXAMPLE', '***'],
    ['id=ASIAIOSFODNN7EXAMPLE;', 'id=***;'],
    ['aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY', 'aws_secret_access_key = ***'],
    ['{"SecretAccessKey": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}', '{"SecretAccessKey": "***"}'],
    ['AKIAIOSFODNN7EXAMPL', undefined],
    ['XAKIAIOSFODNN7EXAMPLE', undefined],
  ],
  GitHubToken: [
    ['ghp_abcdefghijklmnopqrstuvwxyz0123456789', '***'],
    [`x github_pat_${'A1'.repeat(30)} y`, 'x *** y'],
    ['ghs_abcdefghijklmnopqrstuvwxyz0123456789', '***'],
    ['ghp_short', undefined],
    ['ghx_abcdefghijklmnopqrstuvwxyz0123456789', undefined],
  ],
  BearerToken: [
    ['Authorization: Bearer abc123abc123abc123', 'Authorization: Bearer ***'],
    ['BEARER  c2VjcmV0LXNlY3JldC1zZWNyZXQ=', 'BEARER  ***'],
    ['the bearer of responsibilities', undefined],
    ['bearer short', undefined],
  ],
  PasswordInURL: [
    ['postgres://app:hunter2@db/shop', 'postgres://app:***@db/shop'],
    ['see https://u:p@ss@host/x@y', 'see https://u:***@host/x@y'],
    ['redis://:hunter2@cache:6379/0', 'redis://:***@cache:6379/0'],
    ['postgres://app:hun/ter2@db/shop', 'postgres://app:***@db/shop'],
    [
      'jdbc:postgresql://db/shop?user=a&password=hunter2&ssl=true',
      'jdbc:postgresql://db/shop?user=a&password=***&ssl=true',
    ],
    ['http://host:8080/a@b', undefined],
    ['http://user@host/', undefined],
  ],
};

describe.each(Object.entries(CASES))('%s', (detector, cases) => {
  test.each(cases)('%j becomes %j', (text, shown) => {
    expect(detect(detector as Detector, text)).toBe(shown);
  });

  test.each(cases.filter(([, shown]) => shown !== undefined))('%j is found in the middle of a buffer', (text) => {
    const detectors = createContentDetectors(
      [{ source: { detector: detector as Detector }, transform: redact, rule: 'r' }],
      noKeys,
    )!;
    const value = Buffer.from(text);
    const around = Buffer.concat([Buffer.from('99 a'), value, Buffer.from('7z')]);
    const shown = detectors.mask(around, 4, 4 + value.length, () => {});
    expect(shown?.toString()).toBe(detect(detector as Detector, text));
  });
});

/** Longer than what is looked through for hints; digits, colons, dots and names begin everywhere, and nothing is found. */
const LINES =
  '2026-11-26 12:00:00.123 host-7: 10 of 12 keys of bob, a secret_access_key, see ::, 1.2.3, + and (40)\n'.repeat(30);

// A private key that has no end goes to the end of the text.
test.each(Object.entries(CASES).filter(([detector]) => detector !== 'PrivateKey'))(
  '%s is found in a long text as by itself',
  (detector, cases) => {
    expect(detect(detector as Detector, LINES)).toBeUndefined();
    for (const [text, shown] of cases) {
      const found = detect(detector as Detector, `${LINES}${text}\n${LINES}`);
      expect(found).toBe(shown === undefined ? undefined : `${LINES}${shown}\n${LINES}`);
    }
  },
);

describe('content detectors', () => {
  test('none without masks', () => {
    expect(createContentDetectors([], noKeys)).toBeUndefined();
  });

  test('overlapping finds become one, under the stricter transform', () => {
    const detectors = createContentDetectors(
      [
        { source: { detector: 'CreditCard' }, transform: { type: 'partial', keepFirst: 0, keepLast: 4 }, rule: 'a' },
        { source: { pattern: 'no [0-9]+' }, transform: { type: 'redact', with: '[x]' }, rule: 'b' },
      ],
      noKeys,
    )!;
    expect(detectors.maskText('no 4111111111111111 ok')).toBe('[x] ok');
    expect(detectors.maskText('4111111111111111 ok')).toBe('************1111 ok');
  });

  test('nullify makes the whole value NULL', () => {
    const detectors = createContentDetectors(
      [{ source: { detector: 'Email' }, transform: { type: 'nullify' }, rule: 'a' }],
      noKeys,
    )!;
    const text = Buffer.from('x ana@example.com');
    expect(detectors.mask(text, 0, text.length, () => {})).toBeNull();
  });

  test("users' patterns see characters, and count under their rule", () => {
    const detectors = createContentDetectors(
      [
        {
          source: { pattern: 'EMP-[0-9]{6}|\\bß+\\b' },
          transform: { type: 'redact', with: '[employee]' },
          rule: 'shop/emp',
        },
      ],
      noKeys,
    )!;
    const counts: string[] = [];
    expect(detectors.maskText('ü EMP-123456, ü EMP-654321', (name) => counts.push(name))).toBe(
      'ü [employee], ü [employee]',
    );
    expect(counts).toEqual(['shop/emp', 'shop/emp']);
  });

  test.each(['(', '(?<x>a)\\1', 'a'.repeat(513), '(((a{100}){100}){100})'])('refuses the pattern %s', (pattern) => {
    expect(() =>
      createContentDetectors([{ source: { pattern }, transform: redact, rule: 'shop/bad' }], noKeys),
    ).toThrow(expect.objectContaining({ code: 'SPM004' }));
  });

  test('tokenize without a key is an error where the mask is made', () => {
    expect(() =>
      createContentDetectors([{ source: { detector: 'Email' }, transform: { type: 'tokenize' }, rule: 'r' }], noKeys),
    ).toThrow(expect.objectContaining({ code: 'SPM003' }));
  });

  test('a value too large to search is withheld', () => {
    const detectors = createContentDetectors([{ source: { pattern: 'zzz' }, transform: redact, rule: 'r' }], noKeys)!;
    const large = Buffer.alloc(1024 * 1024 + 1, 'a');
    expect(detectors.mask(large, 0, large.length, () => {})?.toString()).toBe('***');
  });

  test('a pattern with very many matches in a large value is withheld instead of searched for ever', () => {
    const detectors = createContentDetectors([{ source: { pattern: 'a' }, transform: redact, rule: 'r' }], noKeys)!;
    const large = Buffer.alloc(512 * 1024, 'a');
    expect(detectors.mask(large, 0, large.length, () => {})?.toString()).toBe('***');
  });

  test.each([
    ['digits', '4'],
    ['digits and blanks', '4 '],
    ['groups', '4111 '],
    ['at signs', 'a@'],
    ['dots and at signs', '.@a'],
    ['colons', '::1.'],
    ['headers', 'eyJ'],
    ['headers with dots', 'eyJ.'],
    ['key armour', '-----BEGIN PRIVATE '],
    ['urls', 'a://b:'],
    ['bearers', 'bearer '],
    ['plus signs', '+1 '],
    ['country codes', 'DE89'],
    ['secret names', 'secret_access_key='],
    ['underscores', 'ghp_'],
  ])('one megabyte of %s takes linear time', (_, unit) => {
    const detectors = createContentDetectors(
      (Object.keys(CASES) as Detector[]).map((detector) => ({ source: { detector }, transform: redact, rule: 'r' })),
      noKeys,
    )!;
    const value = (size: number): Buffer => Buffer.alloc(size, unit);
    const time = (bytes: Buffer): number => {
      const from = cpuUsage();
      detectors.mask(bytes, 0, bytes.length, () => {});
      return cpuUsage(from).user;
    };
    time(value(65_536));
    const small = Math.max(500, time(value(131_072)));
    // Eight times the bytes: square time would be sixty-four times as long.
    expect(time(value(1_048_576))).toBeLessThan(small * 32);
  });
});
