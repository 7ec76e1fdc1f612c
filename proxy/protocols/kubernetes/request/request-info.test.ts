import { expect, test } from 'vitest';
import { selectedName } from './field-selector.ts';
import { parseRequestInfo, type RequestInfo, type RequestLine } from './request-info.ts';

function line(method: string, target: string): RequestLine {
  const url = new URL(target, 'https://cluster');
  const segments = url.pathname === '/' ? [] : url.pathname.slice(1).split('/').map(decodeURIComponent);
  return { method, path: decodeURIComponent(url.pathname), segments, query: [...url.searchParams] };
}

function parsed(method: string, target: string): RequestInfo {
  const info = parseRequestInfo(line(method, target));
  if ('refusal' in info) throw new Error(info.refusal);
  return info;
}

test.each([
  ['GET', '/api/v1/pods', 'list', 'pods', '', ''],
  ['HEAD', '/api/v1/namespaces/shop/pods/web', 'get', 'pods', 'web', 'shop'],
  ['GET', '/api/v1/namespaces/shop/pods?watch=1', 'watch', 'pods', '', 'shop'],
  ['GET', '/api/v1/watch/namespaces/shop/pods/web', 'watch', 'pods', 'web', 'shop'],
  ['DELETE', '/api/v1/namespaces/shop/pods', 'deletecollection', 'pods', '', 'shop'],
  ['DELETE', '/api/v1/namespaces', 'deletecollection', 'namespaces', '', ''],
  ['DELETE', '/api/v1/namespaces/shop/', 'delete', 'namespaces', 'shop', 'shop'],
  ['GET', '/api/v1/secrets?fieldSelector=metadata.name%3Dtoken', 'list', 'secrets', 'token', ''],
  [
    'DELETE',
    '/api/v1/namespaces/shop/secrets?fieldSelector=metadata.name%3Dtoken',
    'deletecollection',
    'secrets',
    '',
    'shop',
  ],
  ['PATCH', '/apis/apps/v1/namespaces/shop/deployments/web/scale', 'patch', 'deployments', 'web', 'shop'],
  ['GET', '/api/v1/namespaces/shop/pods/web/exec?command=ls', 'get', 'pods', 'web', 'shop'],
  ['POST', '/api/v1/namespaces/shop/pods/web/exec', 'create', 'pods', 'web', 'shop'],
])('%s %s is %s on %s', (method, target, verb, resource, name, namespace) => {
  expect(parsed(method, target)).toMatchObject({ isResourceRequest: true, verb, resource, name, namespace });
}); // prettier-ignore

test.each(['/', '/api', '/api/v1', '/apis/apps/v1', '/healthz', '/apis/apps', '/openapi/v3/apis/apps/v1'])(
  '%s is no resource',
  (target) => {
    expect(parsed('GET', target)).toMatchObject({ isResourceRequest: false, verb: 'get', path: target, resource: '' });
  },
);

test('subresources of a namespace are not resources in it', () => {
  expect(parsed('PUT', '/api/v1/namespaces/shop/finalize')).toMatchObject({
    verb: 'update',
    resource: 'namespaces',
    subresource: 'finalize',
    name: 'shop',
  });
});

test.each([
  ['GET', '/api/v1/pods?watch=maybe', /neither true nor false/],
  ['GET', '/api/v1/pods?watch=', /neither true nor false/],
  ['GET', '/api/v1/pods?watch=false&watch=true', /there twice/],
  ['GET', '/api/v1/pods?fieldSelector=metadata.name%3Da&fieldSelector=metadata.name%3Db', /there twice/],
  ['GET', '/api/v1/pods?fieldSelector=metadata.name', /field selector/],
  ['GET', '/api/v1/pods?labelSelector=a%3D%3D%3Db', /label selector/],
  ['GET', '/api/v1/pods?limit=ten', /no number/],
  ['PATCH', '/api/v1/namespaces/shop/pods/web?dryRun=None', /dryRun/],
  ['GET', '/api/v1/watch', /nothing follows/],
  ['get', '/api/v1/pods', /method get/],
  ['constructor', '/api/v1/pods', /method constructor/],
  ['OPTIONS', '/api/v1/pods', /method OPTIONS/],
  ['PROPFIND', '/healthz', /method PROPFIND/],
])('%s %s is refused', (method, target, why) => {
  expect(parseRequestInfo(line(method, target))).toMatchObject({ refusal: expect.stringMatching(why) });
});

test('what is behind a proxy may repeat its parameters', () => {
  expect(parsed('GET', '/api/v1/namespaces/shop/services/web/proxy/find?watch=maybe&watch=no').subresource).toBe(
    'proxy',
  );
});

test('a command may have equal words', () => {
  expect(parsed('POST', '/api/v1/namespaces/shop/pods/web/exec?command=echo&command=echo').verb).toBe('create');
});

test.each([
  ['metadata.name=a,metadata.name=b', 'a'],
  ['metadata.name!=a', undefined],
  ['metadata.name=a\\,b', 'a,b'],
  ['metadata.name=a\\b', null],
  ['metadata.name=a=b', null],
  ['metadata.name=..', undefined],
])('the selector %s is of %s', (selector, name) => {
  expect(selectedName(selector)).toBe(name);
});
