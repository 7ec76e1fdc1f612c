import type { ApprovalRequest } from '../../api/resources.ts';
import { COUNT_WANTED } from '../../approval/state.ts';
import { createReflector } from '../../kube/reflector.ts';
import { type KubeObject, resourceType } from '../../kube/types.ts';
import { ApprovalError } from '../../proxy/approval/errors.ts';
import type { CliIo } from '../io.ts';
import type { RequestDesk, RequestPlace } from '../places/requests.ts';
import { APPROVAL_REQUESTS, type Cluster, listed, openCluster, withClusterOptions } from './cluster.ts';

interface SelfSubjectReview extends KubeObject {
  readonly status?: { readonly userInfo?: { readonly username?: string } };
}
const SELF_SUBJECT_REVIEWS = resourceType<SelfSubjectReview>(
  'authentication.k8s.io',
  'v1',
  'selfsubjectreviews',
  'SelfSubjectReview',
  'cluster',
);

/** Requests in a cluster. Who votes is who the API server says: admission stamps and signs it. */
export function clusterRequests(): RequestPlace {
  return {
    options: withClusterOptions,
    voterOptions: (command) => command,
    open: async (options, io) => clusterDesk(await openCluster(options, io), io),
  };
}

function clusterDesk(cluster: Cluster, io: CliIo): RequestDesk {
  const { client, namespace, homeNamespace } = cluster;
  const selection = namespace === undefined ? {} : { namespace };

  async function find(name: string): Promise<ApprovalRequest> {
    const [before = '', after] = name.split('/', 2);
    const ref = after === undefined ? { namespace: homeNamespace, name } : { namespace: before, name: after };
    if (after === undefined && namespace === undefined) {
      const all = await listed(() => client.listAll(APPROVAL_REQUESTS, { fieldSelector: `metadata.name=${name}` }));
      const [first, second] = all.items;
      if (second !== undefined) {
        throw new ApprovalError('SPV023', [name, all.items.map(({ metadata }) => metadata.namespace).join(', ')]);
      }
      if (first !== undefined) return first;
    }
    const found = await client.get(APPROVAL_REQUESTS, ref);
    if (found === undefined) throw new ApprovalError('SPV022', [JSON.stringify(name), `namespace ${ref.namespace}`]);
    return found;
  }

  /** Every request that is selected, and each change, until the signal. */
  async function* changes(selector: object, signal: AbortSignal): AsyncGenerator<ApprovalRequest> {
    const queue: ApprovalRequest[] = [];
    let due = Promise.withResolvers<void>();
    const wake = (): void => due.resolve();
    const told = (fields: object, message: string): void =>
      void io.stderr.write(`${message} ${JSON.stringify(fields)}\n`);
    const silent = (): void => undefined;
    const reflector = createReflector({
      client,
      type: APPROVAL_REQUESTS,
      ...selector,
      log: { debug: silent, info: silent, warn: told, error: told },
    });
    const off = reflector.onChange(({ type, object }) => {
      if (type === 'deleted') return;
      queue.push(object);
      wake();
    });
    signal.addEventListener('abort', wake, { once: true });
    const running = reflector.run(signal);
    try {
      while (!signal.aborted) {
        due = Promise.withResolvers<void>();
        for (const request of queue.splice(0)) yield request;
        if (queue.length === 0 && !signal.aborted) await due.promise;
      }
    } finally {
      signal.removeEventListener('abort', wake);
      off();
      void running;
    }
  }

  return {
    list: async () => [...(await listed(() => client.listAll(APPROVAL_REQUESTS, selection))).items],
    find,
    changes: (signal) => changes(selection, signal),
    async awaitChange(request, test, signal) {
      const { namespace: place, name } = request.metadata;
      const own = new AbortController();
      const either = AbortSignal.any([signal, own.signal]);
      try {
        const selector = { namespace: place, fieldSelector: `metadata.name=${name}` };
        for await (const changed of changes(selector, either)) if (test(changed)) return changed;
        return undefined;
      } finally {
        own.abort();
      }
    },
    async wantCount(request) {
      const body = { metadata: { annotations: { [COUNT_WANTED]: new Date().toISOString() } } };
      await client.patch(APPROVAL_REQUESTS, refOf(request), { type: 'merge', body });
    },
    async voter(shown) {
      const review: SelfSubjectReview = {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'SelfSubjectReview',
        metadata: { name: '' },
      };
      const { status } = await client.create(SELF_SUBJECT_REVIEWS, review);
      return {
        name: status?.userInfo?.username ?? 'unknown',
        async cast(verdict, reason) {
          // The tests make sure that the vote is about what was shown; who, when and how are stamped by admission.
          const body = [
            { op: 'test', path: '/metadata/uid', value: shown.metadata.uid },
            { op: 'test', path: '/spec/request/hash', value: shown.spec.request.hash },
            { op: 'add', path: '/spec/decisions/-', value: { verdict, ...(reason === undefined ? {} : { reason }) } },
          ];
          return client.patch(APPROVAL_REQUESTS, refOf(shown), { type: 'json', body });
        },
      };
    },
  };
}

const refOf = ({ metadata }: ApprovalRequest) => ({ namespace: metadata.namespace, name: metadata.name });
