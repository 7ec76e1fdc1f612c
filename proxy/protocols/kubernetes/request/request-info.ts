/**
 * What a request is about, exactly as the API server computes it for authorization:
 * k8s.io/apiserver/pkg/endpoints/request/requestinfo.go. test/cluster/kube-request-info.test.ts compares the two.
 */
import { isPlainLabelSelector, selectedName } from './field-selector.ts';

/** The parts of a normalised request head that say what it is about. Everything is decoded, once. */
export interface RequestLine {
  /** Methods are case-sensitive. */
  readonly method: string;
  readonly path: string;
  /** Of `path`; of `/a/b/` these may end with an empty one. */
  readonly segments: readonly string[];
  readonly query: readonly (readonly [name: string, value: string])[];
}

/** Field by field what the API server's own RequestInfo holds. */
export interface RequestInfo {
  /** False: a path outside the API, such as `/healthz`, or one of discovery, such as `/apis/apps/v1`. */
  readonly isResourceRequest: boolean;
  readonly path: string;
  /**
   * For resources an API verb: get, list, watch, create, update, patch, delete, deletecollection, or `proxy` for a path form that no API
   * server serves any more. Otherwise the method in lower case. `exec` and its like are get or create here, whatever their operation is:
   * the API server authorizes them so.
   */
  readonly verb: string;
  /** `api` or `apis`; empty for other paths. */
  readonly apiPrefix: string;
  /** Empty for the core group. */
  readonly apiGroup: string;
  readonly apiVersion: string;
  /** Empty for what has none, and for lists over all namespaces. Of the object `namespaces/x` it is `x`. */
  readonly namespace: string;
  readonly resource: string;
  readonly subresource: string;
  /** Also from the field selector `metadata.name=NAME` of list and watch. Empty: none, or one that the body tells. */
  readonly name: string;
  /** Segments from the resource on; those behind the subresource are not interpreted. */
  readonly parts: readonly string[];
  readonly fieldSelector: string;
  readonly labelSelector: string;
}

/** Why a request is not looked at further; the words complete "the request is not understood: ...". */
export interface RequestRefusal {
  readonly status: 400 | 405;
  readonly refusal: string;
}

const RESOURCE_VERBS: ReadonlyMap<string, string> = new Map([
  ['POST', 'create'],
  ['GET', 'get'],
  ['HEAD', 'get'],
  ['PUT', 'update'],
  ['PATCH', 'patch'],
  ['DELETE', 'delete'],
]);
const NAMESPACE_SUBRESOURCES: ReadonlySet<string> = new Set(['status', 'finalize']);
const VERBS_WITH_SELECTORS: ReadonlySet<string> = new Set(['list', 'watch', 'deletecollection']);

/** May be there more than once: each has a meaning. */
const REPEATABLE: ReadonlySet<string> = new Set(['command', 'ports', 'port']);
/** Where Go takes any value but `false` and `0` for true, and people may mean something else. */
const BOOLEANS: ReadonlySet<string> = new Set([
  'watch',
  'allowWatchBookmarks',
  'sendInitialEvents',
  'force',
  'orphanDependents',
  'ignoreStoreReadErrorWithClusterBreakingPotential',
  'stdin',
  'stdout',
  'stderr',
  'tty',
  'follow',
  'previous',
  'timestamps',
]);
const INTEGERS: ReadonlySet<string> = new Set(['limit', 'timeoutSeconds']);

function refuse(refusal: string, status: 400 | 405 = 400): RequestRefusal {
  return { status, refusal };
}

/** Why a parameter could mean one thing here and another to the API server; undefined when it cannot. */
function oddParameter(query: RequestLine['query']): string | undefined {
  const seen = new Set<string>();
  for (const [name, value] of query) {
    if (seen.has(name) && !REPEATABLE.has(name)) return `the parameter ${name} is there twice`;
    seen.add(name);
    if (BOOLEANS.has(name) && !/^(true|false|1|0)$/i.test(value))
      return `the parameter ${name} is neither true nor false`;
    if (INTEGERS.has(name) && !/^[0-9]{1,18}$/.test(value)) return `the parameter ${name} is no number`;
    if (name === 'dryRun' && value !== 'All') return 'the parameter dryRun takes no other value than All';
    if (name === 'labelSelector' && !isPlainLabelSelector(value)) return 'the label selector is not understood';
    if (name === 'fieldSelector' && selectedName(value) === null) return 'the field selector is not understood';
  }
  return undefined;
}

/** True also where the API server would take another value for true: such values are refused before. */
export function booleanParameter(query: RequestLine['query'], name: string): boolean {
  const value = query.find(([known]) => known === name)?.[1];
  return value !== undefined && value !== '0' && value.toLowerCase() !== 'false';
}

/** The first value of a parameter; undefined when it is not there. */
export function parameter(query: RequestLine['query'], name: string): string | undefined {
  return query.find(([known]) => known === name)?.[1];
}

/** Of `/a/b/` the parts are `a` and `b`; the API server trims slashes at both ends. */
function trimmed(segments: readonly string[]): readonly string[] {
  return segments.at(-1) === '' ? segments.slice(0, -1) : segments;
}

/** Parts of a resource request behind prefix, group and version, and what stood before them. */
interface Located {
  readonly apiPrefix: string;
  readonly apiGroup: string;
  readonly apiVersion: string;
  readonly rest: readonly string[];
}

function locate(segments: readonly string[]): Located | undefined {
  const [apiPrefix = '', ...behind] = segments;
  if (segments.length < 3 || (apiPrefix !== 'api' && apiPrefix !== 'apis')) return undefined;
  if (apiPrefix === 'apis' && behind.length < 3) return undefined;
  const [apiGroup, apiVersion, rest] =
    apiPrefix === 'api' ? ['', behind[0], behind.slice(1)] : [behind[0], behind[1], behind.slice(2)];
  return { apiPrefix, apiGroup: apiGroup ?? '', apiVersion: apiVersion ?? '', rest };
}

/**
 * @returns a refusal for what the API server and we could understand differently: methods without a verb, parameters that are there
 *   twice, booleans that are no booleans, selectors that it would not parse
 */
export function parseRequestInfo({ method, path, segments, query }: RequestLine): RequestInfo | RequestRefusal {
  const none = { apiPrefix: '', apiGroup: '', apiVersion: '', namespace: '', resource: '', subresource: '', name: '' };
  const located = locate(trimmed(segments));
  const resourceVerb = RESOURCE_VERBS.get(method);
  if (resourceVerb === undefined && (located !== undefined || method !== 'OPTIONS')) {
    return refuse(`the method ${method} has no meaning here`, 405);
  }
  if (located === undefined) {
    const verb = method.toLowerCase();
    return { ...none, isResourceRequest: false, path, verb, parts: [], fieldSelector: '', labelSelector: '' };
  }

  const { rest, ...where } = located;
  const byPath = rest[0] === 'watch' || rest[0] === 'proxy';
  if (byPath && rest.length < 2) return refuse('nothing follows the verb in the path');
  const [verbOfPath, shifted] = byPath ? [rest[0] ?? '', rest.slice(1)] : [resourceVerb ?? '', rest];

  let parts = shifted;
  let namespace = '';
  if (parts[0] === 'namespaces' && parts.length > 1) {
    namespace = parts[1] ?? '';
    if (parts.length > 2 && !NAMESPACE_SUBRESOURCES.has(parts[2] ?? '')) parts = parts.slice(2);
  }
  const resource = parts[0] ?? '';
  const subresource = verbOfPath === 'proxy' ? '' : (parts[2] ?? '');
  // Behind `proxy` they belong to whoever is proxied to.
  const odd = subresource === 'proxy' || verbOfPath === 'proxy' ? undefined : oddParameter(query);
  if (odd !== undefined) return refuse(odd);

  let name = parts[1] ?? '';
  let verb = verbOfPath;
  if (name === '' && verb === 'get') {
    verb = booleanParameter(query, 'watch') ? 'watch' : 'list';
    name = selectedName(parameter(query, 'fieldSelector') ?? '') ?? '';
  } else if (name === '' && verb === 'delete') {
    verb = 'deletecollection';
  }
  const selects = !byPath && VERBS_WITH_SELECTORS.has(verb);
  return {
    ...where,
    isResourceRequest: true,
    path,
    verb,
    namespace,
    resource,
    subresource,
    name,
    parts,
    fieldSelector: selects ? (parameter(query, 'fieldSelector') ?? '') : '',
    labelSelector: selects ? (parameter(query, 'labelSelector') ?? '') : '',
  };
}
