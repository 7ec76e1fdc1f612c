import { isForbidden } from '../../kube/errors.ts';
import type { KubeObject, ResourceType } from '../../kube/types.ts';
import type { Applier, FieldManager } from '../apply/applier.ts';
import { OperatorError } from '../errors.ts';

/** One object to be, with its type. */
export interface Desired {
  readonly type: ResourceType;
  readonly object: KubeObject;
}

export const desired = <T extends KubeObject>(type: ResourceType<T>, object: KubeObject): Desired => ({
  type: type as unknown as ResourceType,
  object,
});

const nameOf = ({ type, object: { metadata } }: Desired): string =>
  `${type.kind} ${metadata.namespace === undefined ? '' : `${metadata.namespace}/`}${metadata.name}`;

/**
 * Makes all of them so, in order. One that cannot be applied, by a quota or by somebody's policy, does not keep the others from it.
 * @returns what could not be applied, each a sentence
 */
export async function applyAll(
  applier: Applier,
  objects: readonly Desired[],
  fieldManager: FieldManager,
  signal: AbortSignal,
): Promise<OperatorError[]> {
  const failures: OperatorError[] = [];
  for (const each of objects) {
    try {
      await applier.ensure(each.type, each.object, fieldManager, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      // The namespace goes, and with it everything in it: nothing is to be done.
      if (isForbidden(error) && error.causes.some(({ field, message }) => /terminat/i.test(`${field} ${message}`)))
        return [];
      failures.push(
        new OperatorError('SPO004', [nameOf(each), error instanceof Error ? error.message : String(error)], error),
      );
    }
  }
  return failures;
}

/** Removes those of ours that are no longer wanted. */
export async function removeOthers(
  applier: Applier,
  present: readonly Desired[],
  wanted: readonly Desired[],
  signal: AbortSignal,
): Promise<void> {
  const names = new Set(wanted.map(nameOf));
  for (const each of present) {
    if (names.has(nameOf(each)) || each.object.metadata.deletionTimestamp !== undefined) continue;
    await applier.remove(each.type, each.object, signal);
  }
}
