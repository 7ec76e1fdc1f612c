import { describe, expect, it } from 'vitest';
import { errorOf, eventOf, listOf, refusal, retryAfterMs } from './answers.ts';
import { PODS, SECRETS } from './builtin.ts';

const status = (code: number, more: object = {}) =>
  Buffer.from(JSON.stringify({ kind: 'Status', apiVersion: 'v1', code, ...more }));

describe('a refusal', () => {
  it.each([
    [400, 'SPB007'],
    [401, 'SPB003'],
    [403, 'SPB004'],
    [404, 'SPB005'],
    [409, 'SPB006'],
    [410, 'SPB008'],
    [413, 'SPB007'],
    [422, 'SPB007'],
    [429, 'SPB009'],
    [302, 'SPB011'],
    [418, 'SPB011'],
    [500, 'SPB010'],
    [503, 'SPB010'],
    [504, 'SPB010'],
  ])('with status %i is %s', (code, expected) => {
    const refused = refusal({ status: code, headers: {}, body: status(code, { reason: 'Why' }) }, 'get pods a/b');
    expect(refused).toMatchObject({ code: expected, status: code, reason: 'Why', object: 'get pods a/b' });
    expect(refused?.message).toContain('get pods a/b');
  });

  it('is none for success', () => {
    expect(refusal({ status: 201, headers: {}, body: Buffer.from('{}') }, 'x')).toBeUndefined();
  });

  it('is understood without a Status too', () => {
    const answer = { status: 502, headers: {}, body: Buffer.from('<html>') };
    expect(refusal(answer, 'list pods')).toMatchObject({ code: 'SPB010', status: 502, reason: undefined });
  });

  it('leaves out what may hold a secret', () => {
    const said = {
      message: 'Secret is invalid: data: hunter2',
      details: { causes: [{ field: 'data', message: 'hunter2' }] },
    };
    const body = status(422, said);
    const refused = refusal({ status: 422, headers: {}, body }, `update ${SECRETS.plural} a/b`, true);
    expect(JSON.stringify({ ...refused, message: refused?.message, cause: refused?.cause })).not.toContain('hunter2');
  });

  it('says how long to wait, by header before body', () => {
    const body = status(429, { details: { retryAfterSeconds: 7 } });
    expect(refusal({ status: 429, headers: {}, body }, 'x')?.retryAfterMs).toBe(7000);
    expect(refusal({ status: 429, headers: { 'retry-after': '2' }, body }, 'x')?.retryAfterMs).toBe(2000);
  });

  it('has words of a bounded length', () => {
    expect(errorOf(403, { message: 'x'.repeat(100_000) }, 'get pods').message.length).toBeLessThan(1100);
  });
});

it('understands Retry-After as seconds and as a date', () => {
  expect(retryAfterMs('3')).toBe(3000);
  expect(retryAfterMs('Thu, 01 Jan 1970 00:00:00 GMT')).toBe(0);
  expect(retryAfterMs('soon')).toBeUndefined();
  expect(retryAfterMs(undefined)).toBeUndefined();
});

const pod = { metadata: { namespace: 'a', name: 'b', uid: 'u', resourceVersion: '7' } };

describe('a list', () => {
  it('gives its items what built-in types leave out', () => {
    const list = listOf({ metadata: { resourceVersion: '9', continue: '' }, items: [structuredClone(pod)] }, PODS, 'x');
    expect(list).toMatchObject({ resourceVersion: '9', items: [{ apiVersion: 'v1', kind: 'Pod', ...pod }] });
    expect(list.continue).toBeUndefined();
  });

  it('may be empty, as Go writes it', () => {
    expect(listOf({ metadata: { resourceVersion: '9' }, items: null }, PODS, 'x').items).toEqual([]);
  });

  it.each<[string, unknown]>([
    ['nothing', null],
    ['a Status', { kind: 'Status', metadata: {} }],
    ['a list without version', { metadata: {}, items: [] }],
    ['a list without items', { metadata: { resourceVersion: '1' } }],
    [
      'an item without UID',
      { metadata: { resourceVersion: '1' }, items: [{ metadata: { ...pod.metadata, uid: undefined } }] },
    ],
    [
      'an item without namespace',
      { metadata: { resourceVersion: '1' }, items: [{ metadata: { ...pod.metadata, namespace: '' } }] },
    ],
    ['an item of another kind', { metadata: { resourceVersion: '1' }, items: [{ ...pod, kind: 'Secret' }] }],
  ])('is not %s', (_, value) => {
    expect(() => listOf(value, PODS, 'list pods')).toThrow(expect.objectContaining({ code: 'SPB013' }));
  });
});

describe('an event', () => {
  it('is read with its object', () => {
    expect(eventOf(JSON.stringify({ type: 'ADDED', object: pod }), PODS, 'x')).toMatchObject({
      type: 'ADDED',
      object: pod,
    });
    const bookmark = { type: 'BOOKMARK', object: { kind: 'Pod', metadata: { resourceVersion: '8' } } };
    expect(eventOf(JSON.stringify(bookmark), PODS, 'x')).toEqual({ type: 'BOOKMARK', resourceVersion: '8' });
    const error = { type: 'ERROR', object: { kind: 'Status', code: 410 } };
    expect(eventOf(JSON.stringify(error), PODS, 'x')).toMatchObject({ type: 'ERROR', status: { code: 410 } });
  });

  it.each([
    '',
    '{',
    'null',
    '[]',
    '{"type":"NEW","object":{}}',
    '{"type":"ADDED"}',
    '{"type":"ADDED","object":{"metadata":{}}}',
    '{"type":"BOOKMARK","object":{"metadata":{}}}',
  ])('is not %s', (line) => {
    expect(() => eventOf(line, PODS, 'watch pods')).toThrow(expect.objectContaining({ code: 'SPB013' }));
  });

  it('that cannot be read is not quoted', () => {
    const line = '{"object":{"data":{"password":"hunter2"';
    expect(() => eventOf(line, SECRETS, 'watch secrets')).toThrow(expect.not.stringContaining('hunter2'));
  });
});
