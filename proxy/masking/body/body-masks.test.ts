import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { MaskingRule } from '../../../api/resources.ts';
import { compileMask, planMasks } from '../../../policy/mask-plan.ts';
import { mask } from '../../../policy/testing/build.ts';
import { createBodyMasks } from './body-masks.ts';
import type { BodyLimits, BodyMasks, HeaderFields } from './port.ts';

type Spec = Omit<MaskingRule['spec'], 'connections'>;

const masksOf = (spec: Spec, limits: Partial<BodyLimits> = {}): BodyMasks =>
  createBodyMasks(planMasks([compileMask(mask('web', spec))]), () => Buffer.from('key'), limits);

const EMAIL: Spec = { content: [{ detectors: ['Email'] }] };
const FIELDS: Spec = {
  fields: [{ match: ['**.password', 'items.*.ssn'] }, { match: ['card'], transform: { partial: { keepLast: 4 } } }],
};

interface Told {
  readonly type?: string | undefined;
  readonly status?: number;
  readonly method?: string;
  readonly headers?: HeaderFields;
  readonly size?: number;
}

function answerOf(
  masks: BodyMasks,
  { type = 'application/json', status = 200, method = 'GET', headers = [] }: Told,
  count = (_: string) => {},
) {
  const fields = type === '' ? headers : ['content-type', type, ...headers];
  return masks.answer({ status, headers: fields }, { method, count });
}

function see(masks: BodyMasks, body: string | Buffer, told: Told = {}): string {
  const answer = answerOf(masks, told);
  if (answer.body === 'refused') throw answer.error;
  const bytes = Buffer.from(body as string);
  if (answer.body === 'untouched') return bytes.toString('utf8');
  const out: Buffer[] = [];
  const size = told.size ?? 5;
  for (let at = 0; at < bytes.length; at += size) {
    const lent = Buffer.from(bytes.subarray(at, at + size));
    const shown = answer.transform.write(lent);
    if (shown !== undefined) out.push(Buffer.from(shown));
    lent.fill(0);
  }
  const last = answer.transform.end();
  if (last !== undefined) out.push(last);
  return Buffer.concat(out).toString('utf8');
}

describe('JSON', () => {
  it('keeps its bytes where no mask is, and types where one is', () => {
    const masks = masksOf(FIELDS);
    expect(see(masks, ' {"a" : 1.50e2, "password" : "x", "b":[ ] }\n')).toBe(
      ' {"a" : 1.50e2, "password" : "***", "b":[ ] }\n',
    );
    expect(see(masks, '{"items":[{"ssn":123},{"ssn":true},{"ssn":null},{"ssn":{"a":1}},{"ssn":["1"]}]}')).toBe(
      '{"items":[{"ssn":0},{"ssn":false},{"ssn":null},{"ssn":{}},{"ssn":[]}]}',
    );
    expect(see(masks, '{"card":"4111111111111111"}')).toBe('{"card":"************1111"}');
    const nullify = masksOf({ fields: [{ match: ['a'], transform: { nullify: {} } }] });
    expect(see(nullify, '{"a":1}{"a":{"b":2}}')).toBe('{"a":null}{"a":null}');
  });

  it('is masked whatever way keys and values are written', () => {
    const masks = masksOf({ ...FIELDS, ...EMAIL });
    expect(see(masks, '{"p\\u0061ssword":"x","password":1,"password":"y"}')).toBe(
      '{"p\\u0061ssword":"***","password":0,"password":"***"}',
    );
    expect(see(masks, '\ufeff{"a":"ana\\u0040example.com"}')).toBe('{"a":"***"}');
    expect(JSON.parse(see(masks, '{"ana@example.com":1,"bob@example.com":2,"c":3}'))).toEqual({
      '***': 1,
      '***~2': 2,
      c: 3,
    });
    expect(
      see(masksOf({ content: [{ detectors: ['CreditCard'] }] }), '[4111111111111111,"4111 1111 1111 1111",12]'),
    ).toBe('[0,"***",12]');
  });

  it('in strings of JSON is masked too', () => {
    const masks = masksOf({ ...FIELDS, ...EMAIL });
    const inner = JSON.stringify({ password: 'x', items: [{ ssn: 1 }], n: 'ana@example.com' });
    const shown = JSON.parse(
      see(masks, JSON.stringify({ body: inner, twice: JSON.stringify(inner), text: '{not json ana@example.com' })),
    );
    const hidden = { password: '***', items: [{ ssn: 0 }], n: '***' };
    expect(JSON.parse(shown.body)).toEqual(hidden);
    expect(JSON.parse(JSON.parse(shown.twice))).toEqual(hidden);
    expect(shown.text).toBe('{not json ***');
  });

  it('may be a stream of documents', () => {
    const lines = '{"password":"a"}\n{"password":"b"}\n\u001e{"password":"c"}';
    for (const type of [
      'application/x-ndjson',
      'application/json-seq',
      'application/vnd.x+json; charset=UTF-8',
      'APPLICATION/JSON',
    ]) {
      expect(see(masksOf(FIELDS), lines, { type })).toBe(lines.replaceAll(/"[abc]"/g, '"***"'));
    }
  });

  it.each([
    ['{"password":"x"', 'ends too early'],
    ['{"a":"\\x"}', 'not JSON|is not'],
    ['{"a":01}', 'number'],
    ["{'a':1}", 'no key'],
    ['<html>', 'unexpected'],
    ['{"a":nul}', 'unknown word'],
    ['{"a":"\u0001"}', 'control character'],
    [`${'['.repeat(600)}`, 'larger than'],
    [Buffer.from([0x22, 0xff, 0x22]), 'UTF-8'],
    [Buffer.from('{"password":"x"}', 'utf16le'), 'is not'],
  ] as const)('that is none is not passed on (%#)', (body, why) => {
    expect(() => see(masksOf(FIELDS), body as string)).toThrow(new RegExp(why));
  });

  it('holds no more than the longest scalar, and shows nothing of a longer one', () => {
    const masks = masksOf(EMAIL, { scalar: 1024 });
    const long = 'x'.repeat(5000);
    expect(see(masks, `{"a":"${long} ana@example.com","b":"ana@example.com"}`)).toBe('{"a":"***","b":"***"}');
    expect(() => see(masksOf(EMAIL, { key: 64 }), `{"${long}":1}`)).toThrow('larger than');
    // Of fields alone nothing is held that no mask is about.
    const answer = answerOf(masksOf(FIELDS), {});
    if (answer.body !== 'masked') throw new Error(answer.body);
    const { transform } = answer;
    let inside = transform.write(Buffer.from('{"a":"'))?.length ?? 0;
    for (let index = 0; index < 100; index++) inside += transform.write(Buffer.alloc(1000, 0x61))?.length ?? 0;
    expect(inside).toBe(100_006);
  });
});

describe('text', () => {
  it('is searched, and documents in it are masked by their fields', () => {
    const masks = masksOf({ ...FIELDS, ...EMAIL });
    expect(see(masks, 'mail ana@example.com\r\n[INFO] {x}\n', { type: 'text/plain' })).toBe('mail ***\r\n[INFO] {x}\n');
    const lines = 'up\n{"password":"x"}\n2026 {"a":{"password":"x"}} end {"password":1}\ndown {\n';
    expect(see(masks, lines, { type: 'text/plain' })).toBe(
      'up\n{"password":"***"}\n2026 {"a":{"password":"***"}} end {"password":0}\ndown {\n',
    );
    const pretty = JSON.stringify({ list: [{ password: 'x', mail: 'ana@example.com' }] }, null, 2);
    for (const [before, after] of [
      ['', ''],
      [")]}',\n", ''],
      ['callback(', ');\n'],
      ['while(1);', ''],
    ]) {
      expect(see(masks, before + pretty + after, { type: 'text/javascript' })).toBe(
        before + pretty.replace('"x"', '"***"').replace('ana@example.com', '***') + after,
      );
    }
    expect(see(masks, `<a href="mailto:ana@example.com">\n`, { type: 'text/html; charset=iso-8859-1' })).toBe(
      '<a href="mailto:***">\n',
    );
  });

  it('of unknown type is searched as well, and refused when it is none', () => {
    const masks = masksOf({ ...FIELDS, ...EMAIL });
    expect(see(masks, '{"password":"x"}', { type: '' })).toBe('{"password":"***"}');
    expect(() => see(masks, Buffer.from('a\0b'), { type: '' })).toThrow('no text');
  });

  it('in another encoding than it says shows no fields', () => {
    const masks = masksOf(FIELDS);
    const odd = Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xe9]), Buffer.from('","password":"x"}\n')]);
    expect(() => see(masks, Buffer.from('{"password":"x"}', 'utf16le'), { type: 'text/plain' })).toThrow('no text');
    expect(() => see(masks, odd, { type: 'text/plain' })).toThrow('no text');
    expect(see(masks, odd, { type: 'text/plain; charset=iso-8859-1' })).toContain('"password":"***"');
    const event = Buffer.concat([Buffer.from('data: '), odd, Buffer.from('\n')]);
    expect(see(masks, event, { type: 'text/event-stream' })).toContain('"password":"***"');
  });

  it('of events is masked event by event', () => {
    const masks = masksOf({ ...FIELDS, ...EMAIL });
    const type = 'text/event-stream';
    const events =
      'id: 1\ndata: {"password":\ndata: "x"}\n\n: note\r\n\r\nevent: m\ndata: ana@example.com\n\ndata: plain\n\n';
    expect(see(masks, events, { type })).toBe(
      'id: 1\ndata: {"password":\ndata: "***"}\n\n: note\r\n\r\nevent: m\ndata: ***\n\ndata: plain\n\n',
    );
    const answer = answerOf(masks, { type });
    if (answer.body !== 'masked') throw new Error(answer.body);
    expect(answer.transform.write(Buffer.from('data: 1\n\nda'))?.toString()).toBe('data: 1\n\n');
    expect(() => see(masksOf(EMAIL, { event: 100 }), `data: ${'x'.repeat(200)}\n`, { type })).toThrow('larger than');
  });

  it('of forms is masked behind its encoding', () => {
    const masks = masksOf({ ...FIELDS, ...EMAIL });
    const type = 'application/x-www-form-urlencoded';
    expect(see(masks, 'a=ana%40example.com&p%61ssword=x&n=1', { type })).toBe('a=***&password=***&n=1');
    expect(see(masks, 'a=1&b=%20', { type })).toBe('a=1&b=%20');
  });
});

describe('what cannot be looked into', () => {
  const type = 'image/png';

  it('is refused, unless a rule says otherwise', () => {
    expect(answerOf(masksOf(EMAIL), { type }).body).toBe('refused');
    expect(answerOf(masksOf(FIELDS), { type }).body).toBe('refused');
    expect(answerOf(masksOf({ ...EMAIL, binaryOutput: 'Pass' }), { type }).body).toBe('untouched');
    expect(see(masksOf({ ...EMAIL, binaryOutput: 'Search' }), 'a\0 mail ana@example.com', { type })).toBe(
      'a\0 mail ***',
    );
    expect(answerOf(masksOf({ columns: [{ match: ['a.b.c'] }] }), { type }).body).toBe('untouched');
    for (const told of [
      { type: 'application/json; charset=utf-16' },
      { type: 'application/json', headers: ['content-type', 'text/plain'] },
      { status: 206 },
      { headers: ['content-encoding', 'compress'] },
      { type: 'multipart/byteranges; boundary=x' },
      { type: 'text/plain; charset=shift_jis' },
    ]) {
      expect(answerOf(masksOf(EMAIL), told).body, JSON.stringify(told)).toBe('refused');
    }
  });
});

describe('compressed bodies', () => {
  const masks = masksOf(FIELDS, { inflated: 4 * 1024 * 1024 });
  const body = JSON.stringify({ password: 'x', rest: 'y'.repeat(1000) });
  const hidden = body.replace('"x"', '"***"');

  it.each([
    ['gzip', gzipSync(body)],
    ['x-gzip', Buffer.concat([gzipSync(body.slice(0, 5)), gzipSync(body.slice(5))])],
    ['deflate', deflateSync(body)],
    ['deflate', deflateRawSync(body)],
    ['br', brotliCompressSync(body)],
    ['zstd', zstdCompressSync(body)],
    ['gzip, BR', brotliCompressSync(gzipSync(body))],
    ['identity', Buffer.from(body)],
  ])('are sent as they are behind %s', (coding, bytes) => {
    const told = { headers: ['content-encoding', coding], size: 100 };
    expect(see(masks, bytes, told)).toBe(hidden);
    const answer = answerOf(masks, told);
    expect(answer.body === 'masked' && answer.head.headers).toEqual(['content-type', 'application/json']);
  });

  it('that become too large, or are broken, end', () => {
    const headers = ['content-encoding', 'gzip'];
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024, 0x20));
    expect(() => see(masks, bomb, { headers, size: 65_536 })).toThrow('becomes more than');
    expect(() => see(masks, gzipSync(body).subarray(0, 20), { headers })).toThrow('gzip that is broken');
    expect(() => see(masks, Buffer.alloc(2 * 1024 * 1024), { headers, size: 65_536 })).toThrow(
      'compressed body of more than',
    );
  });
});

describe('header fields', () => {
  it('that tell of the bytes go when the body changes', () => {
    const headers = [
      ...[
        'etag',
        '"a"',
        'content-length',
        '12',
        'digest',
        'x',
        'content-digest',
        'x',
        'repr-digest',
        'x',
        'content-md5',
        'x',
      ],
      ...['accept-ranges', 'bytes', 'x-amz-checksum-sha256', 'x', 'cache-control', 'no-store', 'last-modified', 'now'],
    ];
    const kept = ['content-type', 'application/json', 'cache-control', 'no-store', 'last-modified', 'now'];
    expect(answerOf(masksOf(EMAIL), { type: 'image/png', headers: ['content-length', '0'] }).body).toBe('untouched');
    for (const told of [{}, { method: 'HEAD' }, { status: 304 }]) {
      const answer = answerOf(masksOf(EMAIL), { headers, ...told });
      expect(answer.body === 'refused' ? undefined : answer.head.headers).toEqual(kept);
    }
    expect(
      masksOf(EMAIL).request(['range', 'bytes=0-1', 'if-range', 'x', 'accept', '*/*', 'accept-encoding', 'gzip, br']),
    ).toEqual(['accept', '*/*', 'accept-encoding', 'identity']);
  });

  it('that hold values are masked, also behind percent-encoding, also of redirects and trailers', () => {
    const masks = masksOf({ ...EMAIL, ...FIELDS });
    const counts: string[] = [];
    const headers = [
      'location',
      '/u?mail=ana%40example.com&x=1',
      'x-user',
      'ana@example.com',
      'x-json',
      '{"password":"x"}',
    ];
    const answer = answerOf(masks, { status: 302, headers }, (name) => counts.push(name));
    expect(answer.body === 'masked' && answer.head.headers.slice(2)).toEqual([
      ...['location', '/u?mail=***&x=1', 'x-user', '***', 'x-json', '{"password":"***"}'],
    ]);
    expect(counts).toEqual(['Email', 'Email', 'shop/web']);
    expect(masks.trailers(['x-last', 'ana@example.com'], () => {})).toEqual(['x-last', '***']);
    expect(masks.text('to ana@example.com', () => {})).toBe('to ***');
  });
});
