import type { PatchOperation } from '../admission.ts';

/** RFC 6902, as far as injection uses it; written apart from what makes the patch. @throws Error where the API server would refuse */
export function applyPatch(document: unknown, patch: readonly PatchOperation[]): unknown {
  const copy: unknown = structuredClone(document);
  for (const operation of patch) {
    const keys = operation.path.split('/').slice(1);
    const steps = keys.map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
    const last = steps.pop();
    if (last === undefined) throw new Error('the whole document');
    let parent = copy as Record<string, unknown>;
    for (const step of steps) {
      const next = parent[step];
      if (typeof next !== 'object' || next === null) throw new Error(`${operation.path}: no parent`);
      parent = next as Record<string, unknown>;
    }
    if (operation.op !== 'add' && parent[last] === undefined) throw new Error(`${operation.path}: not there`);
    if (operation.op === 'remove') delete parent[last];
    else if (Array.isArray(parent) && operation.op === 'add')
      parent.splice(last === '-' ? parent.length : Number(last), 0, structuredClone(operation.value));
    else parent[last] = structuredClone(operation.value);
  }
  return copy;
}
