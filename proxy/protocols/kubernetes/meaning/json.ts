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

/** Levels of objects and lists in one another: more than any object of Kubernetes has, less than the stack holds. */
const DEEPEST = 500;
const [QUOTE, BACKSLASH, COLON] = ['"', '\\', ':'].map((character) => character.charCodeAt(0));
const [OPEN_OBJECT, CLOSE_OBJECT, OPEN_LIST, CLOSE_LIST] = ['{', '}', '[', ']'].map((character) =>
  character.charCodeAt(0),
);

/** Where the string that begins at `start` ends: behind its quote. */
function endOfString(json: string, start: number): number {
  let at = start + 1;
  for (let code = json.charCodeAt(at); code !== QUOTE; code = json.charCodeAt(at)) at += code === BACKSLASH ? 2 : 1;
  return at + 1;
}

/**
 * What two readers could take for two things, in words that complete "the body is not understood: ...": a name that an object has twice.
 * Go keeps the last one in a map, and mixes both in a struct: no reader is right for both. And what is nested too deep to be walked.
 * @param json valid JSON: `JSON.parse` has taken it
 */
export function ambiguity(json: string): string | undefined {
  /** Names of each object that is open; undefined: a list. */
  const open: (Set<string> | undefined)[] = [];
  let [start, end] = [0, 0];
  for (let at = 0; at < json.length; at++) {
    switch (json.charCodeAt(at)) {
      case QUOTE:
        [start, end] = [at, endOfString(json, at)];
        at = end - 1;
        break;
      case OPEN_OBJECT:
        open.push(new Set());
        break;
      case OPEN_LIST:
        open.push(undefined);
        break;
      case CLOSE_OBJECT:
      case CLOSE_LIST:
        open.pop();
        break;
      case COLON: {
        const names = open.at(-1);
        const name = JSON.parse(json.slice(start, end)) as string;
        if (names?.has(name) === true) return `the member ${JSON.stringify(name)} is there twice`;
        names?.add(name);
        break;
      }
      default:
    }
    if (open.length > DEEPEST) return `it is nested deeper than ${DEEPEST} levels`;
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
