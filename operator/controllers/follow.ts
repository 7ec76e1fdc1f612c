import type { Controller } from '../../kube/controller.ts';
import type { KubeObject, Reflector } from '../../kube/types.ts';

/**
 * As `controller.follow`, for kinds whose status is written by the operator itself: a change of the status alone is none. Labels count,
 * since policies select by them.
 */
export function followSpec<T extends KubeObject>(
  controller: Controller,
  reflector: Reflector<T>,
  keysOf: (object: T) => Iterable<string>,
): () => void {
  const add = (object: T): void => {
    for (const key of keysOf(object)) controller.add(key);
  };
  const end = reflector.onChange((change) => {
    if (change.type === 'updated') {
      if (essence(change.previous) === essence(change.object)) return;
      add(change.previous);
    }
    add(change.object);
  });
  for (const object of reflector.list()) add(object);
  return end;
}

const essence = ({ metadata: { uid, generation, labels, deletionTimestamp } }: KubeObject): string =>
  JSON.stringify([uid, generation, labels, deletionTimestamp]);
