/**
 * What the runtime speaks of: objects, their types, and a client of an API server. Nothing here knows a resource of Sallyport.
 * Types follow the Kubernetes API conventions (sig-architecture, api-conventions.md).
 */

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
}

export interface ObjectMeta {
  /** Empty where the API server makes it: with `generateName`, and in reviews, which are not kept. */
  readonly name: string;
  readonly generateName?: string;
  /** Absent on cluster-scoped objects. */
  readonly namespace?: string;
  /** Another UID under the same name is another object. */
  readonly uid?: string;
  /** Of this version of the object: given back in an update it is a compare-and-set. */
  readonly resourceVersion?: string;
  /** Counts changes of the spec; `status.observedGeneration` refers to it. */
  readonly generation?: number;
  readonly creationTimestamp?: string;
  /** Set while the object is being deleted. */
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly OwnerReference[];
  readonly finalizers?: readonly string[];
}

export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
}

/** A type of objects, as the API server serves it; made by `resourceType`. */
export interface ResourceType<T extends KubeObject = KubeObject> {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  /** As in the path, `networkpolicies`. */
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  /** Never there: it lets the compiler carry `T`. */
  readonly __object?: T;
}

/** @returns the type of `T`; `apiVersion` of its objects is `apiVersionOf(type)` */
export function resourceType<T extends KubeObject>(
  group: string,
  version: string,
  plural: string,
  kind: string,
  scope: 'namespaced' | 'cluster' = 'namespaced',
): ResourceType<T> {
  return { group, version, plural, kind, namespaced: scope === 'namespaced' };
}

export const apiVersionOf = (type: ResourceType): string =>
  type.group === '' ? type.version : `${type.group}/${type.version}`;

/** An object by name. `namespace` is needed for namespaced types, and not allowed for others. */
export interface ObjectRef {
  readonly namespace?: string | undefined;
  readonly name: string;
}

export interface CallOptions {
  /** Gives the call up. Every call also has a time-out of its own. */
  readonly signal?: AbortSignal | undefined;
}

export interface Selection {
  /** Absent: all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
}

export interface ListOptions extends Selection, CallOptions {
  /** Objects in one page. */
  readonly limit?: number;
  /** Of the page before. */
  readonly continue?: string | undefined;
  /** Absent: as new as the API server has it (a consistent read). `'0'`: whatever its cache holds. */
  readonly resourceVersion?: string;
}

export interface ObjectList<T> {
  readonly items: readonly T[];
  /** Where a watch goes on from. */
  readonly resourceVersion: string;
  /** Asks for the next page. */
  readonly continue?: string;
}

export interface WatchOptions extends Selection {
  readonly resourceVersion: string;
  /** The API server ends the watch after it. */
  readonly timeoutSeconds: number;
  /** Ends the watch. */
  readonly signal: AbortSignal;
  /** Called with every piece that arrives, whole event or not: a silence can be told. */
  readonly onBytes?: (() => void) | undefined;
}

/** One event of a watch. A bookmark has nothing but `metadata.resourceVersion`. An error's object is a `Status`. */
export type WatchEvent<T> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: T }
  | { readonly type: 'BOOKMARK'; readonly resourceVersion: string }
  | { readonly type: 'ERROR'; readonly status: Status };

/** What the API server says when it refuses (meta/v1 Status). */
export interface Status {
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
  readonly details?: {
    readonly causes?: readonly { readonly reason?: string; readonly field?: string; readonly message?: string }[];
    readonly retryAfterSeconds?: number;
  };
}

export interface WriteOptions extends CallOptions {
  /** Admission and validation run, nothing is stored. */
  readonly dryRun?: boolean;
  /** Who set these fields (`metadata.managedFields`). */
  readonly fieldManager?: string;
}

export interface ApplyOptions extends CallOptions {
  readonly fieldManager: string;
  /** Takes over fields that another manager set. */
  readonly force?: boolean;
  readonly subresource?: 'status' | 'scale';
  readonly dryRun?: boolean;
}

export interface Patch {
  /** JSON patch is RFC 6902, merge is RFC 7386, strategic is Kubernetes' own (built-in types only). */
  readonly type: 'json' | 'merge' | 'strategic';
  readonly body: unknown;
  readonly subresource?: string;
}

export interface DeleteOptions extends CallOptions {
  /** Preconditions: 409 when the object is another one, or changed. */
  readonly uid?: string | undefined;
  readonly resourceVersion?: string | undefined;
  readonly propagation?: 'Foreground' | 'Background' | 'Orphan';
  readonly gracePeriodSeconds?: number;
}

export interface RawRequest extends CallOptions {
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON; a text as it is when `headers` name its content type. */
  readonly body?: unknown;
  /** Milliseconds until the answer is complete. */
  readonly timeoutMs?: number;
  /** A longer answer is an error (SPB012), read no further. */
  readonly maxBytes?: number;
}

export interface RawAnswer {
  readonly status: number;
  readonly body: Buffer;
}

/**
 * A client of one API server; one pool of connections for all of it. Every method throws `KubeError`, or the reason of the signal.
 * Nothing is tried twice except a read on a kept connection that the server had closed, and any call once after 401 with the
 * credential read again: who calls decides what may be repeated.
 */
export interface KubeClient {
  /** @returns undefined when there is no such object (or namespace, or type) */
  get<T extends KubeObject>(type: ResourceType<T>, ref: ObjectRef, options?: CallOptions): Promise<T | undefined>;
  /** One page; all of it without `limit`. */
  list<T extends KubeObject>(type: ResourceType<T>, options?: ListOptions): Promise<ObjectList<T>>;
  /** All of it, in pages, of one moment. */
  listAll<T extends KubeObject>(type: ResourceType<T>, options?: Omit<ListOptions, 'continue'>): Promise<ObjectList<T>>;
  /** Ends when the server closes; throws when it broke off. Bookmarks are asked for. */
  watch<T extends KubeObject>(type: ResourceType<T>, options: WatchOptions): AsyncIterable<WatchEvent<T>>;
  /** Also for what is only created, such as TokenReview: the answer has its status. */
  create<T extends KubeObject>(type: ResourceType<T>, object: T, options?: WriteOptions): Promise<T>;
  /** With `metadata.resourceVersion` a compare-and-set: 409 (SPB006) when it was changed meanwhile. */
  update<T extends KubeObject>(type: ResourceType<T>, object: T, options?: WriteOptions): Promise<T>;
  updateStatus<T extends KubeObject>(type: ResourceType<T>, object: T, options?: WriteOptions): Promise<T>;
  /** Server-side apply: makes the fields of `object` so, creates it when it is not there. */
  apply<T extends KubeObject>(
    type: ResourceType<T>,
    object: KubeObject & Partial<T>,
    options: ApplyOptions,
  ): Promise<T>;
  patch<T extends KubeObject>(type: ResourceType<T>, ref: ObjectRef, patch: Patch, options?: WriteOptions): Promise<T>;
  /** @returns false when it was not there */
  delete(type: ResourceType, ref: ObjectRef, options?: DeleteOptions): Promise<boolean>;
  /** Any path, `/version`, `/api/v1/namespaces/x/pods/y/log`. Statuses outside 2xx throw. */
  request(method: string, path: string, options?: RawRequest): Promise<RawAnswer>;
  /** As `request`, but the body as it comes, without limit and time-out: logs that are followed. */
  stream(method: string, path: string, options: RawRequest & { readonly signal: AbortSignal }): AsyncIterable<Buffer>;
  /** Lets idle connections go. Calls that run are not ended by it. */
  close(): void;
}

/** A change of a store. What was deleted is in `object`, as it was last seen. */
export type Change<T> =
  | { readonly type: 'added'; readonly object: T }
  | { readonly type: 'updated'; readonly object: T; readonly previous: T }
  | { readonly type: 'deleted'; readonly object: T };

export interface ReflectorStatus {
  /** Of the last successful list or event: milliseconds of `now`; undefined before the first. */
  readonly heardAt: number | undefined;
  readonly phase: 'stopped' | 'listing' | 'watching' | 'waiting';
  /** Why it waits. */
  readonly problem: Error | undefined;
}

/** A copy of what the API server has of one type. Objects are frozen, and without `managedFields`. */
export interface Reflector<T extends KubeObject> {
  readonly type: ResourceType<T>;
  get(namespace: string | undefined, name: string): T | undefined;
  /** Without a namespace all of them. */
  list(namespace?: string): T[];
  readonly size: number;
  /**
   * Called after the store has changed, in order. One that throws is logged and counted; it does not stop the others.
   * A listener that comes late gets no past changes: read `list()`. @returns takes it off
   */
  onChange(listener: (change: Change<T>) => void): () => void;
  /** Resolves when the store was filled once; rejects with the signal's reason. */
  synced(signal: AbortSignal): Promise<void>;
  readonly hasSynced: boolean;
  status(): ReflectorStatus;
  /** Resolves after the signal; never rejects because of the API server. To be called once. */
  run(signal: AbortSignal): Promise<void>;
}

/** As pino's, a subset: `log.warn({ namespace }, 'text')`. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** `NAMESPACE/NAME`, or the name alone of a cluster-scoped object: how keys of queues are written. */
export const keyOf = (object: { readonly metadata: ObjectMeta }): string =>
  object.metadata.namespace === undefined
    ? object.metadata.name
    : `${object.metadata.namespace}/${object.metadata.name}`;

/** The other way round. */
export function refOf(key: string): ObjectRef {
  const slash = key.indexOf('/');
  return slash < 0 ? { name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}
