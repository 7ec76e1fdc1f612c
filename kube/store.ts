import type { Change, KubeObject } from './types.ts';

/**
 * Objects by namespace and name. It says what changed: the same name with another UID is a deletion and an addition, since whoever
 * keeps something for the old object has to let go of it.
 */
export interface Store<T extends KubeObject> {
  get(namespace: string | undefined, name: string): T | undefined;
  list(namespace?: string): T[];
  readonly size: number;
  /** @returns the changes, none when this version was known */
  put(object: T): Change<T>[];
  /** Takes away what has this name, if it is this object. */
  remove(object: T): Change<T>[];
  /** Makes the store equal to a list. */
  replace(objects: readonly T[]): Change<T>[];
}

/** Of cluster-scoped objects. No namespace has this name. */
const CLUSTER = '';

export function createStore<T extends KubeObject>(): Store<T> {
  let spaces = new Map<string, Map<string, T>>();
  let size = 0;

  const spaceOf = (object: T): string => object.metadata.namespace ?? CLUSTER;

  const put = (object: T): Change<T>[] => {
    const space = spaces.get(spaceOf(object)) ?? new Map<string, T>();
    if (space.size === 0) spaces.set(spaceOf(object), space);
    const previous = space.get(object.metadata.name);
    if (previous === undefined) size++;
    else if (isSame(previous, object) && previous.metadata.resourceVersion === object.metadata.resourceVersion)
      return [];
    space.set(object.metadata.name, object);
    return changesFrom(previous, object);
  };

  return {
    get: (namespace, name) => spaces.get(namespace ?? CLUSTER)?.get(name),
    list: (namespace) =>
      namespace === undefined
        ? [...spaces.values()].flatMap((space) => [...space.values()])
        : [...(spaces.get(namespace)?.values() ?? [])],
    get size() {
      return size;
    },
    put,
    remove(object) {
      const space = spaces.get(spaceOf(object));
      const previous = space?.get(object.metadata.name);
      // The end of an object whose successor is here already, told again.
      if (space === undefined || previous === undefined || !isSame(previous, object)) return [];
      space.delete(object.metadata.name);
      if (space.size === 0) spaces.delete(spaceOf(object));
      size--;
      return [{ type: 'deleted', object }];
    },
    replace(objects) {
      const before = spaces;
      spaces = new Map();
      size = 0;
      const changes: Change<T>[] = [];
      for (const object of objects) {
        const previous = before.get(spaceOf(object))?.get(object.metadata.name);
        const unchanged =
          previous !== undefined &&
          isSame(previous, object) &&
          previous.metadata.resourceVersion === object.metadata.resourceVersion;
        put(unchanged ? previous : object);
        if (!unchanged) changes.push(...changesFrom(previous, object));
      }
      const gone: Change<T>[] = [];
      for (const [name, space] of before) {
        for (const object of space.values()) {
          if (spaces.get(name)?.has(object.metadata.name) !== true) gone.push({ type: 'deleted', object });
        }
      }
      return [...gone, ...changes];
    },
  };
}

const isSame = (a: KubeObject, b: KubeObject): boolean => a.metadata.uid === b.metadata.uid;

function changesFrom<T extends KubeObject>(previous: T | undefined, object: T): Change<T>[] {
  if (previous === undefined) return [{ type: 'added', object }];
  if (isSame(previous, object)) return [{ type: 'updated', object, previous }];
  return [
    { type: 'deleted', object: previous },
    { type: 'added', object },
  ];
}
