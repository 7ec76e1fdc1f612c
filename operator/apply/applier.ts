import { isConflict, isInvalid, type KubeError } from '../../kube/errors.ts';
import { isOlder } from '../../kube/reflector.ts';
import type { KubeClient, KubeObject, Log, Reflector, ResourceType } from '../../kube/types.ts';
import { difference } from './compare.ts';

/** Who set the fields of an object: one name a component, so that each can tell its own. */
export type FieldManager = 'sallyport-proxies' | 'sallyport-agents' | 'sallyport-archive' | 'sallyport-status';

/** Makes objects as they should be, with as few requests as that takes: none when they are. */
export interface Applier {
  /** What is there now, as far as it is known: the copy, or what was written since. */
  current<T extends KubeObject>(type: ResourceType<T>, namespace: string | undefined, name: string): T | undefined;
  /** The copy of a type, for who wants to hear of changes. */
  copy<T extends KubeObject>(type: ResourceType<T>): Reflector<T>;
  /** All of ours in a namespace; without one those of the cluster. */
  list<T extends KubeObject>(type: ResourceType<T>, namespace?: string): T[];
  /** @throws KubeError */
  ensure<T extends KubeObject>(
    type: ResourceType<T>,
    desired: KubeObject & Partial<T>,
    fieldManager: FieldManager,
    signal: AbortSignal,
  ): Promise<void>;
  /** Removes exactly this object, not another of its name. @throws KubeError */
  remove(type: ResourceType, object: KubeObject, signal: AbortSignal): Promise<void>;
}

export interface ApplierOptions {
  readonly client: KubeClient;
  /** Copies of the operator's own objects, one a type. */
  readonly copies: readonly Reflector<KubeObject>[];
  readonly log: Log;
  /** Milliseconds. */
  readonly now: () => number;
}

const BELIEVED_MS = 10_000;

const idOf = (type: ResourceType, namespace: string | undefined, name: string): string =>
  `${type.group}/${type.plural}/${namespace ?? ''}/${name}`;

/** Kinds that hold what cannot be made again: never replaced, whatever the API server refuses. */
const KEPT = new Set(['StatefulSet', 'Secret', 'ConfigMap']);

export function createApplier({ client, copies, log, now }: ApplierOptions): Applier {
  const byType = new Map(copies.map((copy) => [`${copy.type.group}/${copy.type.plural}`, copy]));
  /** What was written and may not be in the copy yet: a watch is a moment behind. Not believed for long: etcd may have been restored. */
  const written = new Map<string, { readonly object: KubeObject; readonly at: number }>();

  for (const copy of copies) {
    copy.onChange((change) => {
      const { namespace, name, resourceVersion = '' } = change.object.metadata;
      const id = idOf(copy.type, namespace, name);
      const mine = written.get(id)?.object.metadata.resourceVersion;
      if (mine !== undefined && !isOlder(resourceVersion, mine)) written.delete(id);
    });
  }

  function copyOf<T extends KubeObject>(type: ResourceType<T>): Reflector<T> {
    const copy = byType.get(`${type.group}/${type.plural}`);
    if (copy === undefined) throw new Error(`no copy of ${type.plural} is kept`);
    return copy as unknown as Reflector<T>;
  }

  function current<T extends KubeObject>(type: ResourceType<T>, namespace: string | undefined, name: string) {
    const id = idOf(type, namespace, name);
    const mine = written.get(id);
    if (mine !== undefined && now() - mine.at < BELIEVED_MS) return mine.object as T;
    written.delete(id);
    return copyOf(type).get(namespace, name);
  }

  async function replace<T extends KubeObject>(
    type: ResourceType<T>,
    desired: KubeObject & Partial<T>,
    live: T,
    fieldManager: FieldManager,
    signal: AbortSignal,
  ): Promise<T> {
    const { labels, annotations, resourceVersion } = live.metadata;
    const metadata = {
      ...desired.metadata,
      labels: { ...labels, ...desired.metadata.labels },
      annotations: { ...annotations, ...desired.metadata.annotations },
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    };
    return client.update(type, { ...desired, metadata } as unknown as T, { signal, fieldManager });
  }

  async function write<T extends KubeObject>(
    type: ResourceType<T>,
    desired: KubeObject & Partial<T>,
    live: T | undefined,
    fieldManager: FieldManager,
    signal: AbortSignal,
  ): Promise<T> {
    try {
      return await client.apply(type, desired, { fieldManager, force: true, signal });
    } catch (error) {
      // A field that cannot be changed was changed, such as roleRef: the object is made anew.
      if (live === undefined || !isInvalid(error) || KEPT.has(type.kind)) throw error;
      const { namespace, name } = desired.metadata;
      log.warn({ kind: type.kind, namespace, name, reason: (error as KubeError).reason }, 'an object is replaced');
      await client.delete(type, { namespace, name }, { uid: live.metadata.uid, propagation: 'Background', signal });
      return client.apply(type, desired, { fieldManager, force: true, signal });
    }
  }

  return {
    current,
    copy: copyOf,
    list: (type, namespace) => copyOf(type).list(namespace),
    async ensure(type, desired, fieldManager, signal) {
      const { namespace, name } = desired.metadata;
      const live = current(type, namespace, name);
      if (live?.metadata.deletionTimestamp !== undefined) return;
      if (live !== undefined && difference(desired, live) === 'none') return;
      let made = await write(type, desired, live, fieldManager, signal);
      if (difference(desired, made) === 'extended') {
        log.warn({ kind: type.kind, namespace, name }, 'what somebody added to an object is taken back');
        made = await replace(type, desired, made, fieldManager, signal);
      }
      const id = idOf(type, namespace, name);
      const copied = copyOf(type).get(namespace, name)?.metadata.resourceVersion;
      if (copied === undefined || isOlder(copied, made.metadata.resourceVersion ?? ''))
        written.set(id, { object: made, at: now() });
    },
    async remove(type, object, signal) {
      const { namespace, name, uid } = object.metadata;
      try {
        await client.delete(type, { namespace, name }, { uid, propagation: 'Background', signal });
      } catch (error) {
        // Another object has the name by now: that one is judged when its time comes.
        if (!isConflict(error)) throw error;
      }
      written.delete(idOf(type, namespace, name));
    },
  };
}
