import { isMembers } from './object-place.ts';

/**
 * Who set which field (`metadata.managedFields`), as names of members. Items of lists are named there by their values: `v:VALUE` of a set,
 * `k:KEYS` of a list whose items have keys.
 * https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/ (FieldsV1)
 */

function addScalars(value: unknown, found: Set<string>): void {
  if (typeof value === 'object' && value !== null) for (const one of Object.values(value)) addScalars(one, found);
  else found.add(String(value));
}

/** Every value by which an item of a list is named. */
export function namedValues(fields: unknown, found: Set<string> = new Set()): ReadonlySet<string> {
  if (!isMembers(fields)) return found;
  for (const [name, below] of Object.entries(fields)) {
    if (name.startsWith('v:') || name.startsWith('k:')) addScalars(parsed(name.slice(2)), found);
    namedValues(below, found);
  }
  return found;
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    // No API server writes that; it counts as the text that it is.
    return json;
  }
}
