import { GROUP } from '../../../api/cluster.ts';
import type { ApprovalRequest } from '../../../api/resources.ts';
import { type RequestObject, readRequest, requestOf } from '../../../approval/object.ts';
import { isAlreadyExists, isConflict, isNotFound } from '../../../kube/errors.ts';
import { type KubeClient, type Reflector, resourceType } from '../../../kube/types.ts';
import { ApprovalError } from '../errors.ts';
import { isRequestRef, type RequestRef, type RequestStore, refOf, type StoredRequest } from '../request-store.ts';

/** The resource, for a client of the API server. */
export const APPROVAL_REQUESTS = resourceType<RequestObject>(GROUP, 'v1alpha1', 'approvalrequests', 'ApprovalRequest');

/**
 * What a replica keeps of requests in memory: what lists, limits and looks for holders need. Ended ones stay for 30 days, and their
 * commands may be long; what is decided on is read anew in any case.
 */
export function essentialRequest(object: RequestObject): RequestObject {
  const { connectionRef, requester, request, reuseFor, expiresAt } = object.spec;
  const { protocol, hash, fingerprint } = request;
  const { apiVersion, kind, metadata, status } = object;
  return {
    apiVersion,
    kind,
    metadata,
    spec: {
      connectionRef,
      requirements: [],
      requester,
      request: { protocol, summary: '', hash, ...(fingerprint === undefined ? {} : { fingerprint }) },
      ...(reuseFor === undefined ? {} : { reuseFor }),
      expiresAt,
    },
    ...(status === undefined ? {} : { status }),
  };
}

export interface RequestObjectsOptions {
  readonly client: KubeClient;
  /** Of the requests in `namespace`, which may be `essentialRequest`s; somebody runs it. */
  readonly reflector: Reflector<RequestObject>;
  /** Where this proxy serves connections. */
  readonly namespace: string;
  /** Milliseconds between regular looks at what the reflector holds, besides those at its changes. */
  readonly lookMs?: number;
}

/** Nothing is asked of the API server for it: it is what notices that time passed and that keys changed. */
const LOOK_MS = 5000;
/** The first list of the requests is waited for so long. */
const SYNC_MS = 10_000;
/** Others change an object at most this often in a row before that counts as an error. */
const ATTEMPTS = 20;

/**
 * Requests as objects of the API server, which all replicas share. Lists and limits come from a watch; what is decided on is read anew.
 * A proxy makes requests and writes their status, and nothing else.
 */
export function createRequestObjects(options: RequestObjectsOptions): RequestStore {
  const { client, reflector, namespace: own } = options;

  async function get(ref: RequestRef): Promise<RequestObject | undefined> {
    return isRequestRef(ref) && ref.namespace === own ? client.get(APPROVAL_REQUESTS, ref) : undefined;
  }

  async function update(
    ref: RequestRef,
    change: (request: ApprovalRequest) => ApprovalRequest | undefined,
  ): Promise<StoredRequest | undefined> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const found = await get(ref);
      if (found === undefined) return undefined;
      const changed = change(requestOf(found));
      if (changed === undefined) return storedOf(found);
      const { status } = changed;
      try {
        return storedOf(
          await client.updateStatus(APPROVAL_REQUESTS, { ...found, ...(status === undefined ? {} : { status }) }),
        );
      } catch (error) {
        if (isNotFound(error)) return undefined;
        // A vote, or another replica, came in between: what is to be written is asked again.
        if (!isConflict(error)) throw error;
      }
    }
    throw new ApprovalError('SPV021', [`${ref.namespace}/${ref.name}`]);
  }

  return {
    place: `namespace ${own}`,
    async prepare(namespace) {
      if (namespace !== own) throw new ApprovalError('SPV004', ['the connection is of another namespace']);
      await reflector.synced(AbortSignal.timeout(SYNC_MS));
    },
    namespaces: () => Promise.resolve([own]),
    names: (namespace) =>
      Promise.resolve(
        reflector
          .list(namespace)
          .map(({ metadata }) => metadata.name)
          .sort(),
      ),
    async read(ref) {
      const found = await get(ref);
      return found === undefined ? undefined : checkedOf(found);
    },
    peek({ namespace, name }) {
      const found = reflector.get(namespace, name);
      return Promise.resolve(found === undefined ? undefined : storedOf(found));
    },
    stamp({ namespace, name }) {
      const found = reflector.get(namespace, name);
      return Promise.resolve(found === undefined ? undefined : stampOf(found));
    },
    writtenAt: () => Infinity,
    async create(request) {
      const { uid: _uid, creationTimestamp: _at, ...metadata } = request.metadata;
      const { status, ...rest } = request;
      try {
        await client.create(APPROVAL_REQUESTS, { ...rest, metadata });
      } catch (error) {
        if (isAlreadyExists(error)) return undefined;
        throw error;
      }
      // The API server takes no status with a new object.
      return update(refOf(request), (found) => ({ ...found, status: { ...found.status, ...status } }));
    },
    update,
    // Ended ones are the operator's to remove, and nothing lies beside an object.
    remove: () => Promise.resolve(),
    removeDrafts: () => Promise.resolve(),
    watch(namespace, onChange) {
      const unsubscribe = reflector.onChange(({ object: { metadata } }) => {
        if (metadata.namespace === namespace) onChange(metadata.name);
      });
      const timer = setInterval(() => onChange(undefined), options.lookMs ?? LOOK_MS);
      timer.unref();
      return {
        close() {
          clearInterval(timer);
          unsubscribe();
        },
      };
    },
  };
}

const stampOf = ({ metadata }: RequestObject): string => `${metadata.uid ?? ''} ${metadata.resourceVersion ?? ''}`;

const storedOf = (object: RequestObject): StoredRequest => ({ request: requestOf(object), stamp: stampOf(object) });

/** Whatever the resource kind is defined as in this cluster, what is counted has the shape that this proxy knows. @throws ApprovalError SPV020 */
function checkedOf(object: RequestObject): StoredRequest {
  const request = readRequest(object);
  if (typeof request !== 'string') return { request, stamp: stampOf(object) };
  const { namespace, name } = object.metadata;
  throw new ApprovalError('SPV020', [`${namespace}/${name}`, request]);
}
