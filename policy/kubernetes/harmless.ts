import type { KubernetesTuple } from '../command.ts';

/** As RBAC's ClusterRoles system:discovery and system:public-info-viewer, without slashes at the end. */
const EXACT: ReadonlySet<string> = new Set([
  '/',
  '/api',
  '/apis',
  '/healthz',
  '/livez',
  '/openapi',
  '/readyz',
  '/swagger.json',
  '/version',
]);
const BELOW: readonly string[] = ['/api/', '/apis/', '/healthz/', '/livez/', '/openapi/', '/readyz/'];

/** What somebody asks about themselves: ClusterRole system:basic-user. */
const SELF_REVIEWS: ReadonlySet<string> = new Set([
  'authorization.k8s.io/selfsubjectaccessreviews',
  'authorization.k8s.io/selfsubjectrulesreviews',
  'authentication.k8s.io/selfsubjectreviews',
]);

/** What needs no rule of its own: discovery, version, OpenAPI, health and questions about oneself. */
export function isHarmless(tuple: KubernetesTuple): boolean {
  switch (tuple.type) {
    case 'path': {
      const path = tuple.path.length > 1 && tuple.path.endsWith('/') ? tuple.path.slice(0, -1) : tuple.path;
      if (tuple.verb !== 'get' && tuple.verb !== 'head') return false;
      return EXACT.has(path) || BELOW.some((prefix) => path.startsWith(prefix));
    }
    case 'api':
      return (
        tuple.verb === 'create' && tuple.subresource === '' && SELF_REVIEWS.has(`${tuple.group}/${tuple.resource}`)
      );
    case 'operation':
    case 'unknown':
      return false;
    default:
      return tuple satisfies never;
  }
}
