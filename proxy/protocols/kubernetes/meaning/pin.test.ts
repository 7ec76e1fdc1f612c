import { expect, test } from 'vitest';
import { readRequestBody } from './body.ts';
import { pin } from './pin.ts';

const patched = { isResourceRequest: true, verb: 'patch', subresource: '' };
const updated = { ...patched, verb: 'update' };

function pinned(verb: typeof patched, contentType: string, json: string): unknown {
  const info = { ...verb, path: '', apiPrefix: 'apis', apiGroup: 'apps', apiVersion: 'v1', namespace: 'shop' };
  const whole = { ...info, resource: 'deployments', name: 'web', parts: [], fieldSelector: '', labelSelector: '' };
  const body = readRequestBody(whole, contentType, Buffer.from(json));
  if ('refusal' in body) throw new Error(body.refusal);
  const result = pin(body, '42');
  return result === undefined ? undefined : { text: result.bytes.toString(), named: result.named };
}

const MERGE = 'application/merge-patch+json';
const STRATEGIC = 'application/strategic-merge-patch+json';
const JSON_PATCH = 'application/json-patch+json';

test.each([
  [
    'a merge patch',
    patched,
    MERGE,
    '{"spec":{"n":12345678901234567890}}',
    '{"spec":{"n":12345678901234567890},"metadata":{"resourceVersion":"42"}}',
  ],
  [
    'one with a version of zero, which is none',
    patched,
    MERGE,
    '{"metadata":{"resourceVersion":"0"}}',
    '{"metadata":{"resourceVersion":"42"}}',
  ],
  [
    'an update',
    updated,
    'application/json',
    '{"metadata":{"name":"web"}}',
    '{"metadata":{"name":"web","resourceVersion":"42"}}',
  ],
  [
    'a JSON patch',
    patched,
    JSON_PATCH,
    '[{"op":"remove","path":"/spec/a"}]',
    '[{"op":"remove","path":"/spec/a"},{"op":"add","path":"/metadata/resourceVersion","value":"42"}]',
  ],
  [
    'a JSON patch that writes there itself',
    patched,
    JSON_PATCH,
    '[{"op":"remove","path":"/metadata"}]',
    '[{"op":"test","path":"/metadata/resourceVersion","value":"42"},{"op":"remove","path":"/metadata"}]',
  ],
])('%s is pinned', (_name, verb, contentType, json, text) => {
  expect(pinned(verb, contentType, json)).toEqual({ text, named: undefined });
}); // prettier-ignore

test('the version that a client names stays', () => {
  const json = '{"metadata":{"resourceVersion":"7"}}';
  expect(pinned(patched, MERGE, json)).toEqual({ text: json, named: '7' });
});

test.each([
  [MERGE, '{"metadata":null}'],
  [MERGE, '{"metadata":{"resourceVersion":null}}'],
  [MERGE, '{"metadata":{"resourceVersion":7}}'],
  [STRATEGIC, '{"metadata":{"$patch":"replace"}}'],
  [STRATEGIC, '{"$patch":"replace"}'],
])('%s %s cannot be pinned', (contentType, json) => {
  expect(pinned(patched, contentType, json)).toBeUndefined();
});
