import type { KubernetesOperation, KubernetesTarget, OperationTuple } from '../command.ts';

/** What a verb and a resource mean by themselves. */
export interface ImpliedOperation {
  readonly operation: Exclude<KubernetesOperation, 'Opaque'>;
  /** The request is more than the operation, so that its verb has to be granted too. */
  readonly also: boolean;
}

const WRITES: ReadonlySet<string> = new Set(['create', 'update', 'patch', 'delete', 'deletecollection']);
const CHANGES: ReadonlySet<string> = new Set(['update', 'patch']);
const CREATES: ReadonlySet<string> = new Set(['create']);

/** The operation that a request on a resource is, whatever its body says; undefined for none. */
export function operationOf(
  verb: string,
  { group, resource, subresource }: Pick<KubernetesTarget, 'group' | 'resource' | 'subresource'>,
): ImpliedOperation | undefined {
  if (subresource === 'scale') return CHANGES.has(verb) || verb === 'create' ? alone('Scale') : undefined;
  if (group === 'rbac.authorization.k8s.io') return WRITES.has(verb) ? alone('ChangeRBAC') : undefined;
  if (group !== '') return undefined;
  if (resource === 'secrets') return readsSecret(verb);
  if (resource === 'serviceaccounts' && subresource === 'token') {
    return CREATES.has(verb) ? alone('Impersonate') : undefined;
  }
  if (resource !== 'pods') return undefined;
  switch (subresource) {
    case 'exec':
    case 'attach':
      // GET is how a WebSocket begins.
      return alone('Exec');
    case 'ephemeralcontainers':
      return CHANGES.has(verb) ? alone('Exec') : undefined;
    case 'portforward':
      return alone('PortForward');
    case 'eviction':
      return CREATES.has(verb) ? alone('Evict') : undefined;
    default:
      return undefined;
  }
}

const alone = (operation: ImpliedOperation['operation']): ImpliedOperation => ({ operation, also: false });

/** Writes answer with the object: a patch that changes nothing, and a delete that a finalizer delays, show what was there. */
function readsSecret(verb: string): ImpliedOperation | undefined {
  if (verb === 'create' || verb === 'update') return undefined;
  return { operation: 'ReadSecret', also: WRITES.has(verb) };
}

export const SCALES: readonly KubernetesOperation[] = ['Scale', 'ScaleOut', 'ScaleIn'];

export function isScale(operation: KubernetesOperation): boolean {
  return SCALES.includes(operation);
}

/**
 * The requests, in the words of RBAC, by which the same could have been done: a rule that takes away one of them hits the operation by
 * every route. An exec begins with POST or, over WebSocket, with GET; a list shows what a get shows.
 */
export function sameRequests(tuple: OperationTuple): readonly (KubernetesTarget & { readonly verb: string })[] {
  const { operation } = tuple;
  switch (operation) {
    case 'Scale':
    case 'ScaleOut':
    case 'ScaleIn':
      return [
        tuple,
        { ...tuple, verb: 'update', subresource: 'scale' },
        { ...tuple, verb: 'patch', subresource: 'scale' },
      ];
    case 'Exec':
    case 'PortForward':
      return [tuple, { ...tuple, verb: 'create' }, { ...tuple, verb: 'get' }];
    case 'ReadSecret':
      return [tuple, { ...tuple, verb: 'get' }];
    case 'Evict':
      return [tuple, { ...tuple, verb: 'delete', subresource: '' }];
    case 'ChangeRBAC':
    case 'Impersonate':
    case 'PrivilegedPod':
    case 'UseServiceAccount':
      return [tuple];
    default:
      return operation satisfies never;
  }
}
