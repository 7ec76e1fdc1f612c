import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bearerToken, saslInitialResponse } from './client-auth-oauthbearer.ts';
import {
  agreedMinor,
  negotiateProtocolVersion,
  readStartupPacket,
  type StartupMessage,
  startupRequest,
} from './startup.ts';
import { StartupError } from './startup-errors.ts';
import { splitOptions } from './startup-options.ts';

function packet(code: number, body: Uint8Array = Buffer.alloc(0), length = 8 + body.length): Buffer {
  const head = Buffer.alloc(8);
  head.writeInt32BE(length, 0);
  head.writeInt32BE(code, 4);
  return Buffer.concat([head, body]);
}
const strings = (...texts: string[]): Buffer => Buffer.from(texts.map((text) => `${text}\0`).join(''), 'utf8');
const V3 = 196_608;
const SSL = 80_877_103;
const CANCEL = 80_877_102;

function codeOf(attempt: () => unknown): string {
  try {
    attempt();
  } catch (error) {
    if (error instanceof StartupError) return error.code;
    throw error;
  }
  return 'accepted';
}

const message = (...texts: string[]): StartupMessage => {
  const found = readStartupPacket(packet(V3, strings(...texts, '')))?.packet;
  if (found?.type !== 'StartupMessage') throw new Error('not a StartupMessage');
  return found;
};

describe('first packets', () => {
  test('requests for encryption and cancellation', () => {
    expect(readStartupPacket(packet(SSL))).toEqual({ packet: { type: 'SSLRequest' }, length: 8 });
    expect(readStartupPacket(packet(80_877_104))).toEqual({ packet: { type: 'GSSENCRequest' }, length: 8 });
    const secret = Buffer.alloc(32, 7);
    const body = Buffer.concat([Buffer.from([0, 0, 1, 0]), secret]);
    expect(readStartupPacket(packet(CANCEL, body))?.packet).toEqual({ type: 'CancelRequest', processId: 256, secret });
    expect(readStartupPacket(packet(CANCEL, body.subarray(0, 8)))?.packet).toMatchObject({
      secret: Buffer.alloc(4, 7),
    });
  });

  test('a StartupMessage, at whatever byte it is split, with what follows left alone', () => {
    const bytes = packet(V3 + 2, strings('user', 'ada', 'database', 'shop', '_pq_.new', 'x', ''));
    for (let at = 0; at < bytes.length; at++) expect(readStartupPacket(bytes.subarray(0, at))).toBeUndefined();
    const found = readStartupPacket(Buffer.concat([bytes, Buffer.from('p rest')]));
    expect(found).toMatchObject({ length: bytes.length, packet: { minor: 2, protocolOptions: ['_pq_.new'] } });
  });

  test.each<[string, string, Buffer]>([
    ['too short', 'SPG101', packet(V3, Buffer.alloc(0), 7)],
    ['length 0', 'SPG101', packet(V3, Buffer.alloc(0), 0)],
    ['negative', 'SPG101', packet(V3, Buffer.alloc(0), -1)],
    ['too long', 'SPG101', packet(V3, Buffer.alloc(0), 10_001)],
    ['HTTP', 'SPG101', Buffer.from('GET / HTTP/1.1\r\n')],
    ['SSLRequest with a body', 'SPG101', packet(SSL, Buffer.alloc(4))],
    ['CancelRequest without a secret', 'SPG101', packet(CANCEL, Buffer.alloc(4))],
    ['CancelRequest with too long a secret', 'SPG101', packet(CANCEL, Buffer.alloc(261))],
    ['protocol 2', 'SPG102', packet(131_072, strings('x'))],
    ['protocol 4', 'SPG102', packet(262_144, strings('x'))],
    ['no terminator', 'SPG104', packet(V3, strings('user', 'ada'))],
    ['a name without a value', 'SPG104', packet(V3, strings('user'))],
    ['a string without its NUL', 'SPG104', packet(V3, Buffer.from('user'))],
    ['an empty body', 'SPG104', packet(V3)],
    ['bytes after the terminator', 'SPG104', packet(V3, strings('user', 'ada', '', 'more'))],
    ['text that is not UTF-8', 'SPG104', packet(V3, Buffer.from('user\0\xff\0\0', 'latin1'))],
  ])('%s: %s', (_name, code, bytes) => {
    expect(codeOf(() => readStartupPacket(bytes))).toBe(code);
  });

  test('any bytes are a packet, an error of ours, or too few', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.constantFrom(V3, V3 + 2, SSL, CANCEL, 0), (body, code) => {
        for (const bytes of [Buffer.from(body), packet(code, body)]) {
          expect(codeOf(() => readStartupPacket(bytes))).toMatch(/^(accepted|SPG10[124])$/);
        }
      }),
    );
  });
});

describe('the protocol version', () => {
  test('is negotiated down for a newer minor version or unknown options, and only then', () => {
    expect(negotiateProtocolVersion(message('user', 'a'))).toBeUndefined();
    const base = { ...message('user', 'a'), protocolOptions: ['_pq_.test_protocol_negotiation'] };
    const bytes = negotiateProtocolVersion({ ...base, minor: 9999 });
    expect(bytes?.toString('latin1', 0, 1)).toBe('v');
    expect(bytes?.readInt32BE(1)).toBe((bytes?.length ?? 0) - 1);
    expect(bytes?.readInt32BE(5)).toBe(V3 + 2);
    expect(bytes?.readInt32BE(9)).toBe(1);
    expect(bytes?.toString('latin1', 13)).toBe('_pq_.test_protocol_negotiation\0');
    expect(negotiateProtocolVersion({ ...base, minor: 0 })?.readInt32BE(5)).toBe(V3);
    expect([0, 1, 2, 9999].map((minor) => agreedMinor({ ...base, minor }))).toEqual([0, 0, 2, 2]);
  });
});

describe('start-up parameters', () => {
  test('user is free text, the database defaults to it, application_name is cleaned as by the server', () => {
    const request = startupRequest(message('user', 'système', 'application_name', `Ünï\n${'x'.repeat(80)}`));
    expect(request.user).toBe('système');
    expect(request.database).toBe('système');
    expect(request.applicationName).toMatch(/^\?\?n\?\?\?x+$/);
    expect(request.applicationName).toHaveLength(63);
  });

  test('options are settings, and what stands by itself wins over them', () => {
    const request = startupRequest(
      message(
        'user',
        'a',
        'options',
        '-c search_path=shop,\\ public --statement-timeout=5s -cTimeZone=UTC',
        'TimeZone',
        'Europe/Berlin',
      ),
    );
    expect([...request.settings]).toEqual([
      ['search_path', 'shop, public'],
      ['statement_timeout', '5s'],
      ['timezone', 'Europe/Berlin'],
    ]);
  });

  test('client_encoding is pinned to UTF8, under its names', () => {
    for (const name of ['UTF8', 'utf-8', 'UNICODE', 'SQL_ASCII', "'utf8'"]) {
      expect(startupRequest(message('user', 'a', 'client_encoding', name)).settings.get('client_encoding')).toBe(
        'UTF8',
      );
    }
  });

  test('how to authenticate can be said', () => {
    expect(startupRequest(message('user', 'a', 'options', '-csallyport.auth=oauthbearer')).authentication).toBe(
      'oauthbearer',
    );
    expect(startupRequest(message('user', 'a')).authentication).toBeUndefined();
  });

  test.each([
    ['SPG104', ['database', 'shop']],
    ['SPG105', ['user', 'a', 'role', 'postgres']],
    ['SPG105', ['user', 'a', 'session_authorization', 'postgres']],
    ['SPG105', ['user', 'a', 'client_encoding', 'LATIN1']],
    ['SPG105', ['user', 'a', 'standard_conforming_strings', 'off']],
    ['SPG105', ['user', 'a', 'default_transaction_read_only', 'off']],
    ['SPG105', ['user', 'a', 'options', '-c role=postgres']],
    ['SPG105', ['user', 'a', 'options', '--ROLE=postgres']],
    ['SPG105', ['user', 'a', 'options', '-c ro\\le=postgres']],
    ['SPG105', ['user', 'a', 'options', '--session-preload-libraries=evil']],
    ['SPG105', ['user', 'a', 'options', '-e']],
    ['SPG105', ['user', 'a', 'options', '-c']],
    ['SPG105', ['user', 'a', 'options', '--']],
    ['SPG105', ['user', 'a', 'options', '-c =x']],
    ['SPG105', ['user', 'a', 'options', 'search_path=x']],
    ['SPG106', ['user', 'a', 'replication', 'database']],
    ['SPG106', ['user', 'a', 'replication', 'true']],
    ['SPG115', ['user', 'a', 'options', '-c sallyport.auth=none']],
  ])('refused with %s: %o', (code, texts) => {
    expect(codeOf(() => startupRequest(message(...texts)))).toBe(code);
  });

  test('the lane may judge settings by its own rules', () => {
    const request = startupRequest(message('user', 'a', 'my.setting', 'x'), (name) => name.startsWith('my.'));
    expect(request.settings.get('my.setting')).toBe('x');
  });

  test('any options are settings or an error of ours', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('-c', '--', '-', ' ', '\\', '=', 'a', '\t', "'", 'ß')), (parts) => {
        expect(codeOf(() => splitOptions(parts.join('')))).toMatch(/^(accepted|SPG105)$/);
      }),
    );
  });
});

describe('OAUTHBEARER', () => {
  const first = (text: string): Buffer => Buffer.from(text, 'latin1');

  test('gives the token, or asks for discovery', () => {
    expect(bearerToken(first('n,,\x01auth=Bearer a.b-c_d\x01\x01'))).toBe('a.b-c_d');
    expect(bearerToken(first('y,,\x01host=x\x01port=1\x01auth=bearer  x==\x01\x01'))).toBe('x==');
    expect(bearerToken(first('n,,\x01auth=\x01\x01'))).toBeUndefined();
  });

  test.each([
    '',
    'n',
    'n,',
    'n,,',
    'p=tls-unique,,\x01auth=Bearer a\x01\x01',
    'x,,\x01auth=Bearer a\x01\x01',
    'n;,\x01auth=Bearer a\x01\x01',
    'n,a=root,\x01auth=Bearer a\x01\x01',
    'n,x,\x01auth=Bearer a\x01\x01',
    'n,,auth=Bearer a\x01\x01',
    'n,,\x01auth=Bearer a',
    'n,,\x01auth=Bearer a\x01',
    'n,,\x01auth=Bearer a\x01\x01more',
    'n,,\x01\x01',
    'n,,\x01host=a\x01\x01',
    'n,,\x01auth\x01\x01',
    'n,,\x01=x\x01\x01',
    'n,,\x01a1=x\x01auth=Bearer a\x01\x01',
    'n,,\x01auth=Bearer a\x01auth=Bearer b\x01\x01',
    'n,,\x01auth=Basic a\x01\x01',
    'n,,\x01auth=Bearer\x01\x01',
    'n,,\x01auth=Bearer a b\x01\x01',
    'n,,\x01auth=Bearer \xff\x01\x01',
    'n,,\x01auth=Bearer a\0\x01\x01',
  ])('refuses %j', (text) => {
    expect(codeOf(() => bearerToken(first(text)))).toBe('SPG111');
  });

  test('initial response: lengths have to agree', () => {
    const initial = (mechanism: string, length: number, data: string): Buffer => {
      const size = Buffer.alloc(4);
      size.writeInt32BE(length);
      return Buffer.concat([Buffer.from(`${mechanism}\0`), size, Buffer.from(data)]);
    };
    expect(saslInitialResponse(initial('OAUTHBEARER', 3, 'n,,')).response?.toString()).toBe('n,,');
    expect(saslInitialResponse(initial('OAUTHBEARER', -1, '')).response).toBeUndefined();
    for (const bad of [
      initial('OAUTHBEARER', 4, 'n,,'),
      initial('OAUTHBEARER', -1, 'x'),
      initial('OAUTHBEARER', -2, ''),
      initial('SCRAM-SHA-256', 3, 'n,,'),
    ]) {
      expect(codeOf(() => saslInitialResponse(bad))).toBe('SPG111');
    }
    const whole = initial('OAUTHBEARER', 3, 'n,,');
    for (let at = 0; at < whole.length; at++)
      expect(codeOf(() => saslInitialResponse(whole.subarray(0, at)))).toBe('SPG111');
  });

  test('any bytes give a token, discovery or an error of ours', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('n,,', '\x01', 'auth=', 'Bearer ', 'abc', '=', '\0', '\xff', ',')),
        (parts) => {
          expect(codeOf(() => bearerToken(first(parts.join(''))))).toMatch(/^(accepted|SPG111)$/);
        },
      ),
    );
  });
});
