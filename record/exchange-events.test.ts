import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bodyReading, exchangeFragment, exchangeOutcome, recordedHeaders } from './exchange-events.ts';

const parsed = (members: string): unknown => JSON.parse(`{${members.replace(/^,/, '')}}`);

describe('headers of an exchange', () => {
  it('are those of the allow-list, repeated ones as one, and of a value its beginning', () => {
    const fields = ['accept', 'text/"html"', 'authorization', 'Bearer s', 'accept', 'b', 'cookie', 'x=1'];
    expect(JSON.parse(recordedHeaders(fields, 'request'))).toEqual({ accept: 'text/"html", b' });
    expect(JSON.parse(recordedHeaders(['server', 'x'.repeat(600)], 'response'))).toEqual({ server: 'x'.repeat(512) });
    expect(recordedHeaders(['authorization', 'Bearer s'], 'request')).toBe('');
    expect(recordedHeaders(['set-cookie', 'a=b'], 'response')).toBe('');
  });

  it('are whole JSON whatever their values are', () => {
    const names = fc.constantFrom('accept', 'user-agent', 'prefer', 'x-api-key');
    const bytes = fc.array(fc.nat(255), { maxLength: 20 });
    const latin1 = bytes.map((codes) => String.fromCharCode(...codes));
    fc.assert(
      fc.property(fc.array(fc.tuple(names, latin1), { maxLength: 8 }), (all) => {
        const text = recordedHeaders(all.flat(), 'request');
        const expected: Record<string, string> = {};
        for (const [name, value] of all) {
          if (name === 'x-api-key') continue;
          const before = expected[name];
          expected[name] = before === undefined ? value : `${before}, ${value}`;
        }
        expect(text === '' ? {} : JSON.parse(text)).toEqual(expected);
      }),
    );
  });
});

describe('events of an exchange', () => {
  const request = { method: 'GET', host: 'api.example.com', target: '/a?b="c"', version: '1.1' };

  it('say what was asked for, at Metadata without target and headers', () => {
    const headers = recordedHeaders(['accept', '*/*'], 'request');
    const whole = { ...request, headers, length: 3, upgrade: 'websocket', details: { kubernetes: { words: 'x' } } };
    expect(parsed(exchangeFragment(whole, 'Full'))).toEqual({ ...whole, headers: { accept: '*/*' } });
    expect(parsed(exchangeFragment(whole, 'Metadata'))).toEqual({
      ...{ method: 'GET', host: 'api.example.com', version: '1.1', length: 3, upgrade: 'websocket' },
      details: { kubernetes: { words: 'x' } },
    });
    expect(parsed(exchangeFragment({ ...request, headers: '' }, 'Commands'))).toEqual(request);
  });

  it('say what came of it', () => {
    const headers = recordedHeaders(['server', 'x', 'set-cookie', 's'], 'response');
    const outcome = { status: 200, bytes: 7, requestBytes: 0, headers, durationMicros: 12.6, headMicros: 3.2 };
    const masked = new Map([['people', 2]]);
    expect(parsed(exchangeOutcome('"session":"s"', 4, { ...outcome, code: 'SPE023', masked }, 'Full'))).toEqual({
      ...{ session: 's', seq: 4, status: 200, code: 'SPE023', bytes: 7, requestBytes: 0, headers: { server: 'x' } },
      ...{ us: 13, headUs: 3, masked: { people: 2 } },
    });
    expect(
      parsed(exchangeOutcome('"session":"s"', 4, { ...outcome, headMicros: undefined, masked: new Map() }, 'Metadata')),
    ).toEqual({ session: 's', seq: 4, status: 200, bytes: 7, requestBytes: 0, us: 13 });
  });

  it('say how the bytes of a body are read', () => {
    expect(parsed(bodyReading('text/plain', 'gzip'))).toEqual({ contentType: 'text/plain', contentEncoding: 'gzip' });
    expect(bodyReading(undefined)).toBe('');
  });
});
