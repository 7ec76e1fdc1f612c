/** JSON as data: what is read of bodies, and how one is written anew without losing what JavaScript's numbers cannot hold. */

export type JsonObject = { readonly [member: string]: unknown };

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The member at a path of names; undefined where there is none, or something on the way is no object. */
export function member(value: unknown, ...path: readonly string[]): unknown {
  let at = value;
  for (const name of path) {
    if (!isObject(at) || !Object.hasOwn(at, name)) return undefined;
    at = at[name];
  }
  return at;
}

export function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Whether two values are the same JSON; the order of members does not count. */
export function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a)) {
    return Array.isArray(b) && a.length === b.length && a.every((value, index) => same(value, b[index]));
  }
  if (!isObject(a) || !isObject(b)) return false;
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length && names.every((name) => Object.hasOwn(b, name) && same(a[name], b[name]))
  );
}

/**
 * A name that an object of this JSON has twice. Go keeps the last one in a map, and mixes both in a struct: no reader is right for both.
 * @param json valid JSON: `JSON.parse` has taken it
 */
export function duplicateName(json: string): string | undefined {
  /** Names of each object that is open; undefined: an array. */
  const open: (Set<string> | undefined)[] = [];
  const token = /"(?:[^"\\]|\\.)*"|[{}[\]:,]/gs;
  let pending: string | undefined;
  for (const [found] of json.matchAll(token)) {
    switch (found) {
      case '{':
        open.push(new Set());
        break;
      case '[':
        open.push(undefined);
        break;
      case '}':
      case ']':
        open.pop();
        break;
      case ',':
        break;
      case ':': {
        const names = open.at(-1);
        const name = JSON.parse(pending ?? '""') as string;
        if (names?.has(name) === true) return name;
        names?.add(name);
        break;
      }
      default:
        pending = found;
    }
  }
  return undefined;
}

/** TypeScript's library does not have it yet: https://tc39.es/proposal-json-parse-with-source/ */
const { rawJSON } = JSON as unknown as { rawJSON(source: string): unknown };
type Reviver = (this: unknown, name: string, value: unknown, context: { readonly source?: string }) => unknown;
const exactNumbers: Reviver = (_name, value, { source }) =>
  typeof value === 'number' && source !== undefined && String(value) !== source ? rawJSON(source) : value;

/** The JSON with a change made to it, numbers as they were written. The value handed over has them as they are for `JSON.stringify`. */
export function edited(json: string, change: (value: unknown) => unknown): Buffer {
  const value: unknown = JSON.parse(json, exactNumbers as (name: string, value: unknown) => unknown);
  return Buffer.from(JSON.stringify(change(value)));
}

/** Whether a `metadata.resourceVersion` names a version. None and zero do not: whatever is there is meant then. */
export function isVersion(value: unknown): value is string {
  return typeof value === 'string' && !/^0*$/.test(value);
}
