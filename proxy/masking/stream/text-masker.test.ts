import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { BinaryOutput, ContentMask, Detector, Transform } from '../../../policy/masking.ts';
import { createContentDetectors } from '../detectors.ts';
import { createTextMasker, TEXT_LIMITS, type TextLimits } from './text-masker.ts';

const redact = (): Transform => ({ type: 'redact', with: '***' });
const ALL: readonly Detector[] = [
  'CreditCard',
  'IBAN',
  'Email',
  'PhoneNumber',
  'USSocialSecurityNumber',
  'IPAddress',
  'JWT',
  'PrivateKey',
  'AWSAccessKey',
  'GitHubToken',
  'BearerToken',
  'PasswordInURL',
];

const detector = (name: Detector, transform = redact()): ContentMask => ({
  source: { detector: name },
  transform,
  rule: 'shop/pii',
});
const pattern = (source: string, transform = redact()): ContentMask => ({
  source: { pattern: source },
  transform,
  rule: 'shop/own',
});
const EVERYTHING = ALL.map((name) => detector(name));
/** Small enough that a few hundred bytes are cut. */
const SMALL: TextLimits = { window: 512, longestMatch: 128, context: 64 };

interface Settings {
  readonly masks?: readonly ContentMask[];
  readonly binary?: BinaryOutput;
  readonly limits?: TextLimits;
  readonly counts?: Map<string, number>;
}

function maskerOf({ masks = EVERYTHING, binary = 'Search', limits = TEXT_LIMITS, counts = new Map() }: Settings) {
  const detectors = createContentDetectors(masks, () => Buffer.from('0123456789abcdef'))!;
  return createTextMasker({
    detectors,
    binary,
    limits,
    count: (name) => counts.set(name, (counts.get(name) ?? 0) + 1),
  });
}

function masked(bytes: Buffer | string, settings: Settings = {}, sizes: readonly number[] = []): Buffer {
  const masker = maskerOf(settings);
  const whole = Buffer.from(bytes);
  const shown: Buffer[] = [];
  let at = 0;
  for (let i = 0; at < whole.length; i++) {
    const size = sizes.length === 0 ? whole.length : sizes[i % sizes.length]!;
    // A copy that is written over afterwards: the chunk is not the masker's.
    const chunk = Buffer.from(whole.subarray(at, at + size));
    shown.push(...masker.push(chunk).map((piece) => Buffer.from(piece)));
    chunk.fill(0x21);
    at += size;
  }
  shown.push(...masker.end());
  return Buffer.concat(shown);
}

const text = (input: string, settings?: Settings): string => masked(input, settings).toString('latin1');

/** The same for every place at which the stream is cut in two, and byte by byte. */
function expectSameEverywhere(bytes: Buffer, settings: Settings): Buffer {
  const whole = masked(bytes, settings);
  expect(masked(bytes, settings, [1]).equals(whole), 'byte by byte').toBe(true);
  for (let at = 1; at < bytes.length; at++) {
    const cut = masked(bytes, settings, [at, bytes.length]);
    if (!cut.equals(whole)) expect(`${at}: ${cut.toString('latin1')}`).toBe(whole.toString('latin1'));
  }
  return whole;
}

const PEM = `-----BEGIN OPENSSH PRIVATE KEY-----\n${'b3BlbnNzaC1rZXktdjEAAAAABG5vbmU\n'.repeat(4)}-----END OPENSSH PRIVATE KEY-----\n`;
const JWT = `${Buffer.from('{"alg":"HS256"}').toString('base64url')}.eyJzdWIiOiIxIn0.c2lnbmF0dXJl`;
const VALUES = [
  '4111 1111 1111 1111',
  '5500005555555559',
  'DE89 3704 0044 0532 0130 00',
  'ana@example.com',
  '"a b"@example.com',
  '+49 30 1234567',
  '(212) 555-0123',
  '536-90-4399',
  '10.1.2.3',
  'fe80::1ff:fe23:4567:890a',
  JWT,
  'AKIAIOSFODNN7EXAMPLE',
  `aws_secret_access_key = ${'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'}`,
  `ghp_${'a1B2'.repeat(9)}`,
  `Authorization: Bearer ${'abcDEF123._-'.repeat(3)}`,
  'postgres://app:s3cr3t-pass@db/shop',
  PEM,
];

describe('the way a stream is cut', () => {
  it.each(VALUES)('changes nothing: %s', (value) => {
    const input = Buffer.from(`first\nbefore ${value} behind\r\nlast, without an end ${value}`);
    const shown = expectSameEverywhere(input, {}).toString('latin1');
    const secret = /(\S{8,})\n?$/.exec(value)?.[1] ?? value;
    if (value !== PEM) expect(shown).not.toContain(secret.split('@').length > 1 ? '@example.com' : secret);
    expect(shown).toContain('first\nbefore ');
  });

  const piece = fc.oneof(
    fc.constantFrom(...VALUES),
    fc.constantFrom(
      '\n',
      '\r\n',
      '\r',
      ' ',
      '\t',
      '\0',
      '"',
      '-----',
      '\u001b[31m',
      '\u001b[m',
      '\b',
      'key=',
      'END',
      '@',
      '.',
    ),
    fc.string({ unit: 'grapheme', maxLength: 12 }),
    fc.constantFrom('x'.repeat(40), '7'.repeat(30), ' '.repeat(50), 'bearer ', 'BEGIN', 'EMP-12', 'EMP-', '4711\n'),
  );
  const bytes = fc
    .array(
      fc.oneof(
        { weight: 6, arbitrary: piece.map((one) => Buffer.from(one)) },
        { weight: 1, arbitrary: fc.uint8Array({ maxLength: 24 }).map((one) => Buffer.from(one)) },
      ),
      { maxLength: 40 },
    )
    .map((parts) => Buffer.concat(parts));
  const masks = fc.constantFrom<readonly ContentMask[]>(
    EVERYTHING,
    [detector('Email'), pattern('key=\\S+')],
    [pattern('BEGIN[\\s\\S]*?END'), detector('CreditCard', { type: 'partial', keepFirst: 0, keepLast: 4 })],
    [pattern('^x+$'), pattern('[^"]{3,20}"'), detector('PrivateKey', { type: 'nullify' })],
    [pattern('EMP-[0-9]{2,4}'), pattern('[0-9]+[^\\n\\r]*|x*'), detector('CreditCard'), detector('PrivateKey')],
    [pattern('EMP-\\s*[0-9]+'), pattern('EMP-1.'), detector('Email')],
    [pattern('é+|ß'), detector('BearerToken', { type: 'tokenize' }), pattern('(?i)K:\\s*\\d+')],
  );

  it('changes nothing, whatever the bytes, the masks and the sizes of chunks', () => {
    fc.assert(
      fc.property(
        bytes,
        masks,
        fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 6 }),
        fc.constantFrom<TextLimits>(SMALL, TEXT_LIMITS),
        fc.constantFrom<BinaryOutput>('Search', 'Deny', 'Pass'),
        (input, chosen, sizes, limits, binary) => {
          const settings = { masks: chosen, limits, binary };
          const once = masked(input, settings);
          expect(masked(input, settings, sizes).toString('latin1')).toBe(once.toString('latin1'));
          expect(masked(input, settings, [1]).toString('latin1')).toBe(once.toString('latin1'));
        },
      ),
      { numRuns: 250 },
    );
  });

  it('shows no canary, whatever stands around it', () => {
    const canaries = VALUES.filter((value) => value !== PEM && !value.startsWith('"'));
    const secrets = canaries.map((value) => /\S+$/.exec(value.replace(/@db.*$/, ''))?.[0] ?? value);
    // Letters alone: none of it can be part of a value, and none of it takes one apart.
    const around = fc.string({
      unit: fc.constantFrom('x', 'y', ' ', '\n', '\r', '\t', ',', '(', 'ü', '日', '\0'),
      maxLength: 300,
    });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(around, fc.nat({ max: canaries.length - 1 })), { minLength: 1, maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 6 }),
        fc.boolean(),
        (parts, sizes, lines) => {
          const input = parts.map(([before, index]) => `${before} ${canaries[index]!} `).join(lines ? '\n' : ' ');
          const shown = masked(input, { limits: SMALL }, sizes).toString('utf8');
          for (const [, index] of parts) {
            if (shown.includes(secrets[index]!)) expect(shown).not.toContain(secrets[index]!);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('counts each value once', () => {
    for (const sizes of [[], [1], [7]]) {
      const counts = new Map<string, number>();
      masked('a@example.com b@example.com\n4111111111111111\n', { counts }, sizes);
      expect(Object.fromEntries(counts)).toEqual({ Email: 2, CreditCard: 1 });
    }
  });
});

describe('a line without an end', () => {
  it('is cut without cutting a value', () => {
    const values = [
      '4111 1111 1111 1111',
      'ana@example.com',
      `aws_secret_access_key = ${'k'.repeat(40)}`,
      `Bearer ${'t0ken'.repeat(6)}`,
    ];
    for (const value of values) {
      for (let before = 300; before < 560; before += 3) {
        const input = `${'.'.repeat(before)} ${value} ${'.'.repeat(700)} ${value} ${'.'.repeat(300)}`;
        const shown = text(input, { limits: SMALL });
        const secret = value.slice(-12);
        expect(shown.includes(secret), `${value} behind ${before}: ${shown}`).toBe(false);
        expect(shown.length).toBeGreaterThan(1000);
      }
    }
  });

  it('shows nothing of a value that is longer than can be kept, up to the end of the line', () => {
    const shown = text(`Authorization: Bearer ${'a1'.repeat(2000)} tail\nnext line\n`, { limits: SMALL });
    expect(shown).toBe('Authorization: Bearer ***\nnext line\n');
  });

  it('needs no more memory than the window', () => {
    const masker = maskerOf({});
    let shown = 0;
    const chunk = Buffer.from('word and number 1234567890 '.repeat(1200));
    for (let i = 0; i < 40; i++) {
      const before = shown;
      for (const piece of masker.push(chunk)) shown += piece.length;
      // What is kept is what went in and did not come out.
      expect((i + 1) * chunk.length - shown).toBeLessThanOrEqual(TEXT_LIMITS.window);
      expect(shown).toBeGreaterThanOrEqual(before);
    }
  });
});

describe('private keys', () => {
  it('are found across lines, and what follows is shown', () => {
    expect(text(`a\n${PEM}b\n`)).toBe('a\n***\nb\n');
    expect(text(`${PEM}${PEM}b`)).toBe('***\n***\nb');
  });

  it('without an end hide everything behind them', () => {
    expect(text(`a\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\n`)).toBe('a\n***');
    const long = `-----BEGIN RSA PRIVATE KEY-----\n${'MIIEabcd\n'.repeat(400)}`;
    expect(text(`a\n${long}`, { limits: SMALL })).toBe('a\n***\n');
    expect(text(`a\n${long}-----END RSA PRIVATE KEY-----\nb\n`, { limits: SMALL })).toBe('a\n***\nb\n');
  });

  it('of PuTTY end with their MAC', () => {
    expect(text('PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1\nAAAA\nPrivate-MAC: 00ff\nnext\n')).toBe(
      '***next\n',
    );
  });

  it('public ones and certificates stay', () => {
    const certificate = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';
    expect(text(certificate)).toBe(certificate);
  });
});

describe("users' patterns", () => {
  it('match within a line, and across lines where they can', () => {
    expect(text('pin=1234\npin=5678', { masks: [pattern('pin=\\d+')] })).toBe('***\n***');
    const block = 'a\nBEGIN SECRET\none\ntwo\nEND SECRET\nb\n';
    expectSameEverywhere(Buffer.from(block), { masks: [pattern('BEGIN SECRET[\\s\\S]*?END SECRET')] });
    expect(text(block, { masks: [pattern('BEGIN SECRET[\\s\\S]*?END SECRET')] })).toBe('a\n***\nb\n');
    expect(text('password:\n  hunter2\nok\n', { masks: [pattern('password:\\s*\\S+')] })).toBe('***\nok\n');
  });

  it('that match lines of their own see each line as one', () => {
    expect(text('xx\nxxy\nxx\n', { masks: [pattern('^x+$')] })).toBe('xx\nxxy\nxx\n'.replace(/^xx$/gm, 'xx'));
    expect(text('xx\nxxy\nxx', { masks: [pattern('(?m)^x+$')] })).toBe('***\nxxy\n***');
  });

  it('show what came before a match that may go on', () => {
    const masker = maskerOf({ masks: [pattern('password:\\s*\\S+')] });
    expect(Buffer.concat(masker.push(Buffer.from('one\npassword:\n'))).toString()).toBe('one\n');
    expect(Buffer.concat(masker.push(Buffer.from('x\n'))).toString()).toBe('***\n');
  });

  it('too long to be kept are withheld from where they begin', () => {
    const shown = text(`a\nBEGIN ${'x\n'.repeat(1000)} secret`, { masks: [pattern('BEGIN[\\s\\S]*')], limits: SMALL });
    expect(shown).toBe('a\n***');
  });
});

describe('escape sequences and overstrikes', () => {
  it.each([
    '\u001b[01;31m\u001b[K4111\u001b[m\u001b[K 1111 1111 1111',
    '4\b411111111111\b11111',
    'ana\u001b]8;;x\u0007@example.com',
    '10.1\u001b(B.2.3',
  ])('between the letters of a value hide nothing: %j', (value) => {
    const shown = expectSameEverywhere(Buffer.from(`see ${value} there\n`), {}).toString();
    expect(shown.replaceAll(/[^ -~]\[[0-9;]*[mK]/g, '')).toBe('see *** there\n');
  });

  it('stay where nothing is found', () => {
    const line = '\u001b[1mbold\u001b[0m and \u001b]0;title\u0007 ok\n';
    expect(text(line)).toBe(line);
  });
});

describe('binary output', () => {
  it('of random bytes passes as it is, every value of a byte in it', () => {
    const every = Buffer.from(Array.from({ length: 256 }, (_, value) => value));
    const input = Buffer.concat([every, randomBytes(2 * 1024 * 1024), every]);
    expect(masked(input, {}, [32_768]).equals(input)).toBe(true);
  });

  it('hides no text, whatever stands before it', () => {
    const secret = 'mail ana@example.com or 4111111111111111 now';
    for (const before of [
      '\0',
      '\xff\xfe',
      '\x7fELF\x02\x01\x01\0\0\xf0\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9',
      '\x80\n',
    ]) {
      const shown = text(Buffer.from(`${before}${secret}\n${secret}`, 'latin1').toString('latin1'), {});
      expect(shown).not.toContain('ana@');
      expect(masked(Buffer.from(`${before}${secret}\n${secret}`, 'latin1')).toString('latin1')).toBe(
        `${before}mail *** or *** now\nmail *** or *** now`,
      );
    }
  });

  it('text of another encoding is text', () => {
    expect(masked(Buffer.from('Jürg;jg@x.ch\nZoë;z@x.ch', 'latin1')).toString('latin1')).toBe('Jürg;***\nZoë;***');
  });

  it('zero bytes separate, as in an environment', () => {
    expect(text('A=1\0MAIL=a@example.com\0B=2\0')).toBe('A=1\0MAIL=***\0B=2\0'.replace('MAIL=***', '***'));
  });

  it('ends the command where a rule denies it, after what came before', () => {
    for (const bad of ['\0', '\xff']) {
      const input = Buffer.from(`one a@example.com\ntwo${bad}\nthree\n`, 'latin1');
      for (const sizes of [[], [1], [5]]) {
        const masker = maskerOf({ binary: 'Deny' });
        const shown: Buffer[] = [];
        for (let at = 0; at < input.length; at += sizes[0] ?? input.length)
          shown.push(...masker.push(input.subarray(at, at + (sizes[0] ?? input.length))));
        shown.push(...masker.end());
        expect(Buffer.concat(shown).toString()).toBe('one ***\n');
        expect(masker.failure?.code).toBe('SPM008');
      }
    }
    expect(maskerOf({ binary: 'Deny' }).failure).toBeUndefined();
  });

  it('is not looked at where a rule says so', () => {
    expect(text('a@example.com\nx\0\na@example.com\n', { binary: 'Pass' })).toBe('***\nx\0\na@example.com\n');
  });
});

describe('transforms', () => {
  it('stand in the text', () => {
    const of = (transform: Transform) =>
      text('card 4111111111111111.\n', { masks: [detector('CreditCard', transform)] });
    expect(of({ type: 'partial', keepFirst: 0, keepLast: 4 })).toBe('card ************1111.\n');
    expect(of({ type: 'nullify' })).toBe('card .\n');
    expect(of({ type: 'tokenize' })).toMatch(/^card sptok_[a-z2-7]{26}\.\n$/);
  });

  it('of a pattern that takes too long hide the line', () => {
    const line = 'a'.repeat(40_000);
    expect(text(`before\n${line}\nbehind\n`, { masks: [pattern('a')] })).toBe('before\n***\nbehind\n');
  });
});
