import type {
  KubernetesCommand,
  KubernetesFacts,
  KubernetesOperation,
  KubernetesTarget,
  KubernetesTuple,
  OperationTuple,
} from '../command.ts';
import { execsOf } from './exec.ts';
import { operationOf } from './operations.ts';

/** A request as the API server's RequestInfo understands it, with what its URL says besides. */
export interface KubernetesRequest extends KubernetesTarget {
  /** Method and URL. */
  readonly text: string;
  readonly verb: string;
  readonly version: string;
  /** Set for a URL that is no resource: nothing else of the target counts then. */
  readonly path?: string;
  /** exec, attach, logs, debug. */
  readonly container?: string;
  /** `command` of an exec or of a debug container; absent or empty where what runs cannot be known. */
  readonly argv?: readonly string[];
  readonly stdin?: boolean;
  readonly tty?: boolean;
  readonly dryRun?: boolean;
}

/**
 * What the body does beyond the verb. The target is what it is done to: of an autoscaler the workload that it scales, of a pod that runs
 * as another service account that account (`serviceaccounts`), else the object of the request.
 */
export interface KubernetesEffect extends Omit<KubernetesTarget, 'subresource'> {
  readonly operation: OperationTuple['operation'];
  readonly replicas?: number;
  readonly previousReplicas?: number;
  /** Exec only, as in the request. */
  readonly container?: string;
  readonly argv?: readonly string[];
}

export interface KubernetesMeaning {
  readonly effects: readonly KubernetesEffect[];
  /** The effects are all that the request does: a patch that changes nothing but `spec.replicas`. */
  readonly only?: boolean;
  /**
   * Verbs that the request may turn out to be besides its own, which the caller needs too: `create` for an apply or an update of what
   * is not there yet.
   */
  readonly also?: readonly string[];
  /** JSON of the object as it will be. */
  readonly object?: unknown;
  /** What could not be understood, in words that complete "cannot be judged: ...". */
  readonly unknown?: string;
}

/**
 * The command that policy decides on, from what a request says and what its body means. What an operation is by its URL alone (exec,
 * scale, reads of secrets, changes of RBAC ...) is found here; `meaning` adds what only the body tells.
 */
export function kubernetesCommand(
  request: KubernetesRequest,
  meaning: KubernetesMeaning = { effects: [] },
): KubernetesCommand {
  const statements: KubernetesFacts[] = [];
  const tuples: KubernetesTuple[] = [];
  const { verb, dryRun = false, stdin = false, tty = false, container = '' } = request;
  const target: KubernetesTarget = {
    group: request.group,
    resource: request.resource,
    subresource: request.subresource,
    namespace: request.namespace,
    name: request.name,
  };
  const fact = (operation: KubernetesOperation | '', at: KubernetesTarget, rest: Partial<KubernetesFacts>): number =>
    statements.push({
      ...at,
      operation,
      verb,
      version: request.version,
      path: '',
      container,
      argv: [],
      stdin,
      tty,
      dryRun,
      ...(meaning.object === undefined ? {} : { object: meaning.object }),
      ...rest,
    }) - 1;
  const unknown = (reason: string): void => {
    tuples.push({ type: 'unknown', verb, ...target, reason, statement: fact('Opaque', target, {}) });
  };
  const operate = (
    effect: Omit<KubernetesEffect, keyof KubernetesTarget>,
    at: KubernetesTarget,
    does: string = verb,
  ): void => {
    const { operation, replicas, previousReplicas } = effect;
    if (operation === 'Exec') {
      for (const exec of execsOf(effect.argv ?? [])) {
        const rest = { argv: exec.argv, ...(effect.container === undefined ? {} : { container: effect.container }) };
        tuples.push({ type: 'operation', operation, verb: does, ...at, exec, statement: fact(operation, at, rest) });
      }
      return;
    }
    const rest = {
      ...(replicas === undefined ? {} : { replicas }),
      ...(previousReplicas === undefined ? {} : { previousReplicas }),
    };
    tuples.push({ type: 'operation', operation, verb: does, ...at, statement: fact(operation, at, rest) });
  };

  if (request.path !== undefined) {
    const nothing = { group: '', resource: '', subresource: '', namespace: '', name: '' };
    tuples.push({
      type: 'path',
      verb,
      path: request.path,
      statement: fact('', nothing, { version: '', path: request.path }),
    });
    if (meaning.unknown !== undefined) unknown(meaning.unknown);
    return { protocol: 'Kubernetes', text: request.text, statements, tuples };
  }
  const own = operationOf(verb, target);
  // The body says it better: a scale subresource whose direction is known, a debug container with its command.
  const told = own !== undefined && meaning.effects.some(({ operation }) => isOneOf(own.operation, operation));
  if (own !== undefined && !told) operate({ operation: own.operation, argv: request.argv ?? [] }, target);
  if (own?.also !== false && meaning.only !== true) {
    tuples.push({ type: 'api', verb, ...target, statement: fact('', target, {}) });
  }
  for (const other of meaning.also ?? []) {
    // Done to the object, by whatever subresource.
    const whole = { ...target, subresource: '' };
    tuples.push({ type: 'api', verb: other, ...whole, statement: fact('', whole, { verb: other }) });
  }
  for (const effect of meaning.effects) {
    const { group, resource, namespace, name } = effect;
    if (group === target.group && resource === target.resource) {
      // What an apply makes anew is created with its replicas, as by a create.
      const made = meaning.also?.includes('create') === true && effect.previousReplicas === 0;
      operate(effect, { ...target, namespace, name }, made ? 'create' : verb);
    } else {
      const scales = isOneOf('Scale', effect.operation);
      // What will be done to the other object, in the words of RBAC where there are some.
      operate(
        effect,
        { group, resource, subresource: scales ? 'scale' : '', namespace, name },
        scales ? 'update' : 'use',
      );
    }
  }
  if (meaning.unknown !== undefined) unknown(meaning.unknown);
  return { protocol: 'Kubernetes', text: request.text, statements, tuples };
}

function isOneOf(general: KubernetesOperation, operation: KubernetesOperation): boolean {
  return general === operation || (general === 'Scale' && (operation === 'ScaleOut' || operation === 'ScaleIn'));
}
