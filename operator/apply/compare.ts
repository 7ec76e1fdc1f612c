/**
 * Whether an object is as it should be, without asking the API server. What it fills in by itself (defaults, allocated addresses) is
 * no difference; what somebody changed, and what somebody added to a list of ours, is.
 */
export type Difference =
  | 'none'
  /** Something that we set is missing or other: server-side apply mends it. */
  | 'changed'
  /** A list of ours has more than we put there: server-side apply leaves what others own, so it has to be replaced. */
  | 'extended';

/** Metadata that we set; the rest of it is the API server's and other people's. */
const METADATA = ['labels', 'annotations', 'ownerReferences'] as const;
const NOT_COMPARED = new Set(['apiVersion', 'kind', 'metadata', 'status']);

interface Comparable {
  readonly metadata: object;
}

export function difference(desired: Comparable, live: Comparable): Difference {
  const wanted = desired.metadata as Readonly<Record<string, unknown>>;
  const present = live.metadata as Readonly<Record<string, unknown>>;
  const parts: Difference[] = METADATA.map((name) =>
    // Labels and annotations of others are none of ours; owners are, also where we set none: one that is gone takes the object along.
    compare(wanted[name] ?? (name === 'ownerReferences' ? [] : undefined), present[name]),
  );
  const fields = live as unknown as Readonly<Record<string, unknown>>;
  for (const [name, value] of Object.entries(desired)) {
    if (!NOT_COMPARED.has(name)) parts.push(compare(value, fields[name]));
  }
  // Keys of a ConfigMap or Secret are a map, so what is added there is seen only by counting.
  for (const name of ['data', 'binaryData', 'rules', 'subjects'] as const) {
    const count = (value: unknown): number => (isRecord(value) ? Object.keys(value).length : 0);
    if (name in desired || name in live) {
      const [mine, theirs] = [(desired as Record<string, unknown> & Comparable)[name], fields[name]];
      if (isRecord(mine) && count(theirs) > count(mine)) parts.push('extended');
    }
  }
  if (parts.includes('extended')) return 'extended';
  return parts.includes('changed') ? 'changed' : 'none';
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What the API server leaves out when it stores it. */
const isEmpty = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  value === false ||
  value === '' ||
  (Array.isArray(value) && value.length === 0) ||
  (isRecord(value) && Object.keys(value).length === 0);

function compare(desired: unknown, live: unknown): Difference {
  if (isEmpty(desired)) {
    if (isEmpty(live)) return 'none';
    // An empty object asks for nothing in particular, such as `emptyDir: {}`; an empty list and a false are meant.
    if (isRecord(desired) || desired === undefined || desired === null) return 'none';
    return Array.isArray(live) ? 'extended' : 'changed';
  }
  if (Array.isArray(desired)) return compareLists(desired, live);
  if (isRecord(desired)) {
    if (!isRecord(live)) return 'changed';
    return worst(Object.entries(desired).map(([name, value]) => compare(value, live[name])));
  }
  return sameScalar(desired, live) ? 'none' : 'changed';
}

function compareLists(desired: readonly unknown[], live: unknown): Difference {
  if (!Array.isArray(live)) return 'changed';
  if (live.length < desired.length) return 'changed';
  const keyed = desired.every((item) => isRecord(item) && typeof nameOf(item) === 'string');
  const differences = desired.map((item, index) => {
    const other: unknown = keyed
      ? live.find((candidate) => isRecord(candidate) && nameOf(candidate) === nameOf(item as Record<string, unknown>))
      : live[index];
    return other === undefined ? 'changed' : compare(item, other);
  });
  return worst([...differences, live.length > desired.length ? 'extended' : 'none']);
}

/** By what server-side apply tells the entries of a list apart, as far as our lists have it. */
function nameOf(item: Readonly<Record<string, unknown>>): unknown {
  return item['uid'] ?? item['topologyKey'] ?? item['name'];
}

function sameScalar(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  // Quantities may come back in another spelling of the same string only after defaulting; numbers never do.
  return typeof a === 'number' && typeof b === 'string' ? String(a) === b : false;
}

function worst(differences: readonly Difference[]): Difference {
  if (differences.includes('extended')) return 'extended';
  return differences.includes('changed') ? 'changed' : 'none';
}
