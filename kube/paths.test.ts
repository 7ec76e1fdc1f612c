import { describe, expect, it } from 'vitest';
import { CLUSTER_ROLES, DEPLOYMENTS, PODS } from './builtin.ts';
import { collectionPath, creationPath, objectPath, withQuery } from './paths.ts';

it('follows the layout of the API', () => {
  expect(collectionPath(PODS, undefined)).toBe('/api/v1/pods');
  expect(objectPath(PODS, { namespace: 'a', name: 'b' }, 'status')).toBe('/api/v1/namespaces/a/pods/b/status');
  expect(objectPath(DEPLOYMENTS, { namespace: 'a', name: 'b' })).toBe('/apis/apps/v1/namespaces/a/deployments/b');
  const role = { name: 'system:auth-delegator' };
  expect(objectPath(CLUSTER_ROLES, role)).toBe(
    '/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Aauth-delegator',
  );
});

it('writes queries, without what is not asked', () => {
  expect(withQuery('/x', {})).toBe('/x');
  expect(withQuery('/x', { labelSelector: 'a=b,c in (d)', limit: 5, continue: undefined })).toBe(
    '/x?labelSelector=a%3Db%2Cc+in+%28d%29&limit=5',
  );
});

describe('a name never leads elsewhere', () => {
  it.each(['', '.', '..', '../../nodes/x', 'a/b', 'a%2fb'])('such as %j', (name) => {
    expect(() => objectPath(PODS, { namespace: 'a', name })).toThrow(expect.objectContaining({ code: 'SPB022' }));
    expect(() => objectPath(PODS, { namespace: name, name: 'a' })).toThrow(expect.objectContaining({ code: 'SPB022' }));
  });

  it('such as a query', () => {
    expect(objectPath(PODS, { namespace: 'a', name: 'b?dryRun=All#' })).toBe(
      '/api/v1/namespaces/a/pods/b%3FdryRun%3DAll%23',
    );
  });
});

it('insists on a namespace where there must be one, and on none elsewhere', () => {
  expect(() => objectPath(PODS, { name: 'a' })).toThrow('needs a namespace');
  expect(() => creationPath(PODS, { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'a' } })).toThrow(
    'needs a namespace',
  );
  expect(() => objectPath(CLUSTER_ROLES, { namespace: 'a', name: 'a' })).toThrow('have no namespace');
});
