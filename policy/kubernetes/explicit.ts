import type { KubernetesTarget } from '../command.ts';

const WRITES: ReadonlySet<string> = new Set(['create', 'update', 'patch', 'delete', 'deletecollection']);
const READS: ReadonlySet<string> = new Set(['get', 'list', 'watch']);

/** Subresources that reach further than the object, whatever resource they belong to. */
const SUBRESOURCES: ReadonlySet<string> = new Set([
  'status',
  'scale',
  'proxy',
  'exec',
  'attach',
  'portforward',
  'ephemeralcontainers',
  'token',
  'approval',
  'binding',
  'finalize',
]);

/** Groups in which every write changes what the API server does for everybody, or who may do what. */
const GUARDED_GROUPS: ReadonlySet<string> = new Set([
  'rbac.authorization.k8s.io',
  'admissionregistration.k8s.io',
  'apiregistration.k8s.io',
  'apiextensions.k8s.io',
  // Who may write here gives themselves what they like.
  'sallyport.dev',
]);

/**
 * Why a request is never inside a wildcard of an Allow rule, so that the rule has to name verb and resource; undefined where it may be.
 * In words that complete "covered only by name: ...".
 */
export function explicitReason(verb: string, { group, resource, subresource }: KubernetesTarget): string | undefined {
  if (verb === 'deletecollection') return 'deletecollection takes everything at once';
  if (!READS.has(verb) && !WRITES.has(verb))
    return `${verb === '' ? 'a request without a verb' : verb} is no verb of RBAC's`;
  if (subresource !== '' && SUBRESOURCES.has(subresource))
    return `${resource}/${subresource} is never inside a wildcard`;
  if (group === '' && (resource === 'secrets' || resource === 'bindings'))
    return `${resource} are never inside a wildcard`;
  if (WRITES.has(verb) && GUARDED_GROUPS.has(group)) return `writes in ${group} are never inside a wildcard`;
  return undefined;
}
