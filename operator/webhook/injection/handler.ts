import type { AccessConnection } from '../../../api/resources.ts';
import type { AdmissionHandler, AdmissionResponse } from '../admission.ts';
import { type WebhookErrorCode, webhookMessage } from '../errors.ts';
import { inject } from './inject.ts';
import type { Injector } from './parts.ts';
import { isPod } from './pod.ts';

/** Copies of what the API server has, kept up to date by somebody else: the handler itself asks nobody. */
export interface InjectionStores {
  readonly connections: {
    readonly hasSynced: boolean;
    list(): readonly AccessConnection[];
  };
  readonly namespaces: {
    readonly hasSynced: boolean;
    onChange(listener: () => void): () => void;
    get(
      namespace: undefined,
      name: string,
    ): { readonly metadata: { readonly labels?: Readonly<Record<string, string>> } } | undefined;
  };
}

const refused = (status: number, code: WebhookErrorCode, fills: readonly string[] = []): AdmissionResponse => ({
  allowed: false,
  status,
  code,
  message: webhookMessage(code, fills),
});

const ARRIVES_WITHIN_MS = 3000;

/** Resolves when the store has changed so that the condition holds, or with the signal. */
function changed(
  store: Pick<InjectionStores['namespaces'], 'onChange'>,
  holds: () => boolean,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve) => {
    const stop = store.onChange(() => {
      if (holds()) end();
    });
    const end = (): void => {
      stop();
      signal.removeEventListener('abort', end);
      resolve();
    };
    if (signal.aborted) end();
    else signal.addEventListener('abort', end);
  });
}

/** Judges the creation of pods: patches those that want a connector, refuses those that cannot have one. */
export function createInjectionHandler(stores: InjectionStores, injector: Injector): AdmissionHandler {
  const namespaceLabels = (name: string): Readonly<Record<string, string>> | undefined => {
    const found = stores.namespaces.get(undefined, name);
    return found === undefined ? undefined : (found.metadata.labels ?? {});
  };
  const knows = (namespace: string): boolean =>
    stores.connections.hasSynced && stores.namespaces.hasSynced && namespaceLabels(namespace) !== undefined;
  return async ({ namespace, object, operation, resource, subResource }, signal) => {
    // A configuration that sends more than it should must not keep the cluster from working.
    if (operation !== 'CREATE' || resource.resource !== 'pods' || (subResource ?? '') !== '') return { allowed: true };
    if (!isPod(object)) return refused(422, 'SPW020');
    // Injecting with half of the connections would let a pod dial the others directly. A namespace that was made a moment ago, as by
    // one `kubectl apply` with its pods, is on its way.
    if (!knows(namespace))
      await changed(
        stores.namespaces,
        () => knows(namespace),
        AbortSignal.any([signal, AbortSignal.timeout(ARRIVES_WITHIN_MS)]),
      );
    if (!knows(namespace)) return refused(503, 'SPW021', [namespace]);
    const injection = inject(object, {
      ...injector,
      namespace,
      namespaceLabels,
      connections: stores.connections.list(),
    });
    switch (injection.type) {
      case 'none':
        return { allowed: true };
      case 'refusal':
        return { allowed: false, status: 403, ...injection.refusal };
      case 'patch':
        return { allowed: true, patch: injection.patch, warnings: injection.plan.warnings };
      default:
        return injection satisfies never;
    }
  };
}
