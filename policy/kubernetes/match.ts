import type { AccessPolicy } from '../../api/resources.ts';
import type {
  ApiTuple,
  KubernetesExec,
  KubernetesOperation,
  KubernetesTarget,
  KubernetesTuple,
  OperationTuple,
  PathTuple,
} from '../command.ts';
import { compileGlob, type Glob } from '../glob.ts';
import { type ArgvPattern, compileArgvPattern, grantsArgv, hitsArgv, hitsWrapped } from '../ssh/argv-pattern.ts';
import { explicitReason } from './explicit.ts';
import { spansNamespaces } from './namespaces.ts';
import { isScale, SCALES, sameRequests } from './operations.ts';
import {
  compileResource,
  concernsResource,
  matchesResource,
  namesResource,
  type ResourcePattern,
} from './resource-pattern.ts';

export type KubernetesSpec = NonNullable<AccessPolicy['spec']['rules'][number]['kubernetes']>;

/** The lists of `kubernetes` in a rule. Undefined: any. */
export interface KubernetesMatcher {
  readonly operations: ReadonlySet<KubernetesOperation> | undefined;
  readonly verbs: ReadonlySet<string> | undefined;
  readonly apiGroups: ReadonlySet<string> | undefined;
  readonly resources: readonly ResourcePattern[] | undefined;
  readonly resourceNames: ReadonlySet<string> | undefined;
  readonly namespaces: readonly Glob[] | undefined;
  readonly commands: readonly ArgvPattern[] | undefined;
  readonly nonResourceURLs: readonly string[] | undefined;
}

export function compileKubernetes(spec: KubernetesSpec): KubernetesMatcher {
  return {
    operations: spec.operations && new Set(spec.operations),
    verbs: spec.verbs && new Set(spec.verbs),
    apiGroups: spec.apiGroups && new Set(spec.apiGroups),
    resources: spec.resources?.map(compileResource),
    resourceNames: spec.resourceNames && new Set(spec.resourceNames),
    namespaces: spec.namespaces?.map(compileGlob),
    commands: spec.commands?.map(compileArgvPattern),
    nonResourceURLs: spec.nonResourceURLs,
  };
}

/** Scaling concerns the subresource by whatever route it is asked for. */
const concerns =
  (operation: KubernetesOperation): MatchResource =>
  (pattern, resource, subresource) =>
    concernsResource(pattern, resource, subresource) ||
    (isScale(operation) && concernsResource(pattern, resource, 'scale'));

/** Whether the lists of an Allow rule cover the whole tuple; what a list that is absent would mean, it does not grant. */
export function coversKubernetes(matcher: KubernetesMatcher, tuple: KubernetesTuple): boolean {
  switch (tuple.type) {
    case 'path':
      return coversPath(matcher, tuple);
    case 'api':
      return coversVerb(matcher, tuple) || readsScale(matcher, tuple);
    case 'operation':
      return coversOperation(matcher, tuple) || createsReplicas(matcher, tuple);
    case 'unknown':
      return matcher.operations?.has('Opaque') === true && coversTarget(matcher, tuple, concernsResource);
    default:
      return tuple satisfies never;
  }
}

function coversPath({ verbs, nonResourceURLs }: KubernetesMatcher, { verb, path }: PathTuple): boolean {
  if (verbs === undefined || nonResourceURLs === undefined) return false;
  return (verbs.has('*') || verbs.has(verb)) && nonResourceURLs.some((pattern) => matchesUrl(pattern, path));
}

const matchesUrl = (pattern: string, path: string): boolean =>
  pattern.endsWith('*') ? path.startsWith(pattern.slice(0, -1)) : path === pattern;

type Requested = KubernetesTarget & { readonly verb: string };
type MatchResource = (pattern: ResourcePattern, resource: string, subresource: string) => boolean;

function coversTarget(matcher: KubernetesMatcher, target: KubernetesTarget, matches: MatchResource): boolean {
  const { apiGroups, resources, resourceNames, namespaces } = matcher;
  if (namespaces?.some((glob) => glob.matches(target.namespace)) !== true) return false;
  if (apiGroups !== undefined && !apiGroups.has('*') && !apiGroups.has(target.group)) return false;
  if (resourceNames !== undefined && !resourceNames.has(target.name)) return false;
  return resources?.some((one) => matches(one, target.resource, target.subresource)) !== false;
}

function coversVerb(matcher: KubernetesMatcher, tuple: Requested): boolean {
  const { verbs, resources } = matcher;
  if (verbs === undefined || resources === undefined) return false;
  const named = explicitReason(tuple.verb, tuple) !== undefined;
  if (!verbs.has(tuple.verb) && (named || !verbs.has('*'))) return false;
  return coversTarget(matcher, tuple, named ? namesResource : matchesResource);
}

/** Who may scale may look at the scale: kubectl does before it writes. */
function readsScale(matcher: KubernetesMatcher, tuple: ApiTuple): boolean {
  if (tuple.verb !== 'get' || tuple.subresource !== 'scale') return false;
  return SCALES.some((one) => matcher.operations?.has(one)) && coversTarget(matcher, tuple, concernsResource);
}

function coversOperation(matcher: KubernetesMatcher, tuple: OperationTuple): boolean {
  const { operations, commands } = matcher;
  if (operations === undefined || !coversTarget(matcher, tuple, concerns(tuple.operation))) return false;
  if (tuple.exec?.wrapper === true && operations.has('Opaque')) return true;
  if (!givesOperation(operations, tuple.operation)) return false;
  return tuple.exec === undefined || grantsExec(commands, tuple.exec);
}

/** Narrowly: a direction that is not known may be either. */
function givesOperation(operations: ReadonlySet<KubernetesOperation>, operation: OperationTuple['operation']): boolean {
  if (operations.has(operation)) return true;
  if (operation === 'Scale') return operations.has('ScaleOut') && operations.has('ScaleIn');
  return isScale(operation) && operations.has('Scale');
}

function grantsExec(commands: readonly ArgvPattern[] | undefined, { argv, wrapper, shell }: KubernetesExec): boolean {
  return (
    commands?.some(
      (pattern) => grantsArgv(pattern, argv, wrapper) || (shell !== undefined && grantsArgv(pattern, shell, true)),
    ) === true
  );
}

/** A new object has the replicas that it is created with: who may create it may say how many. Rules about scaling hit it all the same. */
function createsReplicas(matcher: KubernetesMatcher, tuple: OperationTuple): boolean {
  if (tuple.verb !== 'create' || tuple.subresource !== '' || !isScale(tuple.operation)) return false;
  return coversVerb(matcher, tuple);
}

/** Whether an Allow rule names the program of a wrapper, or the shell whose script it is in. */
export function namesCommand(matcher: KubernetesMatcher, tuple: OperationTuple): boolean {
  const { operations } = matcher;
  return (
    operations?.has('Exec') === true &&
    tuple.exec !== undefined &&
    coversTarget(matcher, tuple, concernsResource) &&
    grantsExec(matcher.commands, tuple.exec)
  );
}

/** Whether the lists of a Deny or RequireApproval rule hit the tuple. Not for what is opaque, which every rule hits. */
export function hitsKubernetes(matcher: KubernetesMatcher, tuple: KubernetesTuple): boolean {
  switch (tuple.type) {
    case 'path':
      return hitsPath(matcher, tuple);
    case 'api':
      return hitsVerb(matcher, tuple);
    case 'operation':
      return hitsOperation(matcher, tuple) || sameRequests(tuple).some((one) => hitsVerb(matcher, one));
    case 'unknown':
      return true;
    default:
      return tuple satisfies never;
  }
}

function hitsPath(matcher: KubernetesMatcher, { verb, path }: PathTuple): boolean {
  const { operations, apiGroups, resources, resourceNames, namespaces, nonResourceURLs, verbs } = matcher;
  // Any of these makes it a rule about resources.
  if ([operations, apiGroups, resources, resourceNames, namespaces].some((list) => list !== undefined)) return false;
  if (verbs !== undefined && !verbs.has('*') && !verbs.has(verb)) return false;
  return nonResourceURLs?.some((pattern) => matchesUrl(pattern, path)) !== false;
}

/** Names of collections, and of what is still to be named, are not known: they may be the one. */
function hitsTarget(matcher: KubernetesMatcher, target: KubernetesTarget, matches: MatchResource): boolean {
  const { apiGroups, resources, resourceNames, namespaces, nonResourceURLs } = matcher;
  if (nonResourceURLs !== undefined) return false;
  if (namespaces !== undefined && !spansNamespaces(target)) {
    if (!namespaces.some((glob) => glob.matches(target.namespace))) return false;
  }
  if (apiGroups !== undefined && !apiGroups.has('*') && !apiGroups.has(target.group)) return false;
  if (resourceNames !== undefined && target.name !== '' && !resourceNames.has(target.name)) return false;
  return resources?.some((one) => matches(one, target.resource, target.subresource)) !== false;
}

/** Widely: who forbids to delete means deleting everything at once too. */
function hitsVerb(matcher: KubernetesMatcher, tuple: Requested): boolean {
  const { operations, verbs } = matcher;
  if (verbs === undefined) {
    if (operations !== undefined) return false;
  } else if (!verbs.has('*') && !verbs.has(tuple.verb)) {
    if (tuple.verb !== 'deletecollection' || !verbs.has('delete')) return false;
  }
  return hitsTarget(matcher, tuple, matchesResource);
}

function hitsOperation(matcher: KubernetesMatcher, tuple: OperationTuple): boolean {
  const { operations, commands } = matcher;
  if (operations === undefined || !takesOperation(operations, tuple.operation)) return false;
  if (!hitsTarget(matcher, tuple, concerns(tuple.operation))) return false;
  return tuple.exec === undefined || commands === undefined || hitsExec(commands, tuple.exec);
}

function takesOperation(operations: ReadonlySet<KubernetesOperation>, operation: OperationTuple['operation']): boolean {
  if (operations.has(operation)) return true;
  if (operation === 'Scale') return operations.has('ScaleOut') || operations.has('ScaleIn');
  return isScale(operation) && operations.has('Scale');
}

function hitsExec(commands: readonly ArgvPattern[], { argv, wrapper, shell }: KubernetesExec): boolean {
  if (argv.length === 0) return true;
  const hits = wrapper ? hitsWrapped : hitsArgv;
  return commands.some((pattern) => hits(pattern, argv) || (shell !== undefined && hitsArgv(pattern, shell)));
}
