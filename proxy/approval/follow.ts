import type { ApprovalRequest } from '../../api/resources.ts';
import { ApprovalError } from './errors.ts';
import type { RequestRef, RequestStore, RequestWatch } from './request-store.ts';

const POLL_MS = 500;

/**
 * The request as soon as the test holds for it.
 * @returns undefined when the signal ends the wait first
 */
export async function awaitRequest(
  requests: RequestStore,
  ref: RequestRef,
  test: (request: ApprovalRequest) => boolean,
  signal: AbortSignal,
): Promise<ApprovalRequest | undefined> {
  for await (const request of changes(
    requests,
    ref.namespace,
    signal,
    (name) => name === undefined || name === ref.name,
  )) {
    if (request.metadata.name === ref.name && test(request)) return request;
  }
  return undefined;
}

/** Every request of the namespaces, and again whenever one changes, until the signal. Broken files are told to `onBroken`. */
export async function* followRequests(
  requests: RequestStore,
  namespace: string | undefined,
  signal: AbortSignal,
  onBroken: (error: ApprovalError) => void,
): AsyncGenerator<ApprovalRequest> {
  yield* changes(requests, namespace, signal, () => true, onBroken);
}

async function* changes(
  requests: RequestStore,
  only: string | undefined,
  signal: AbortSignal,
  concerns: (name: string | undefined) => boolean,
  onBroken: (error: ApprovalError) => void = () => {},
): AsyncGenerator<ApprovalRequest> {
  const watches = new Map<string, RequestWatch>();
  const seen = new Map<string, string>();
  let due = Promise.withResolvers<void>();
  const wake = (): void => due.resolve();
  // Namespaces that come later are found by the regular look.
  const poll = setInterval(wake, POLL_MS);
  signal.addEventListener('abort', wake, { once: true });
  try {
    while (!signal.aborted) {
      due = Promise.withResolvers<void>();
      for (const namespace of only === undefined ? await requests.namespaces() : [only]) {
        if (!watches.has(namespace)) {
          const watch = requests.watch(namespace, (name) => concerns(name) && wake());
          watches.set(namespace, watch);
        }
        for (const name of await requests.names(namespace)) {
          if (!concerns(name)) continue;
          const key = `${namespace}/${name}`;
          const stamp = await requests.stamp({ namespace, name });
          if (stamp === undefined || seen.get(key) === stamp) continue;
          seen.set(key, stamp);
          try {
            const stored = await requests.read({ namespace, name });
            if (stored !== undefined) yield stored.request;
          } catch (error) {
            if (!(error instanceof ApprovalError)) throw error;
            onBroken(error);
          }
        }
      }
      if (!signal.aborted) await due.promise;
    }
  } finally {
    clearInterval(poll);
    signal.removeEventListener('abort', wake);
    for (const watch of watches.values()) watch.close();
  }
}
