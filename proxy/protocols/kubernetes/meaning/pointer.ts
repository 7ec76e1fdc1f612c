import { isObject, type JsonObject, list, text } from './json.ts';

/** Names of members from the root of an object on. */
export type Path = readonly string[];

/** JSON Pointer, RFC 6901. Undefined: it does not begin at the root, which the API server's library overlooks. */
export function parsePointer(pointer: unknown): Path | undefined {
  if (pointer === '') return [];
  if (typeof pointer !== 'string' || !pointer.startsWith('/')) return undefined;
  return pointer
    .slice(1)
    .split('/')
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
}

/** One is a part of the other: what is done at one shows at the other. */
export function overlap(a: Path, b: Path): boolean {
  const shorter = a.length < b.length ? a : b;
  return shorter.every((name, index) => name === a[index] && name === b[index]);
}

export type Patch =
  /** RFC 6902. */
  | { readonly type: 'json'; readonly operations: readonly unknown[] }
  /** RFC 7386. */
  | { readonly type: 'merge'; readonly value: JsonObject }
  /** https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md */
  | { readonly type: 'strategic'; readonly value: JsonObject }
  /** Server-side apply: fields that this manager set earlier and does not name any more go away too. */
  | { readonly type: 'apply'; readonly value: JsonObject };

const ANYWHERE: readonly Path[] = [[]];

/** Where an operation of a JSON patch changes something. */
function changedBy(operation: unknown): readonly Path[] {
  const { op, path, from } = isObject(operation) ? operation : { op: undefined, path: undefined, from: undefined };
  if (op === 'test') return [];
  const at = parsePointer(path);
  if (at === undefined) return ANYWHERE;
  if (op === 'add' || op === 'remove' || op === 'replace' || op === 'copy') return [at];
  const source = parsePointer(from);
  return op === 'move' && source !== undefined ? [at, source] : ANYWHERE;
}

/** Directives that a strategic merge patch has for a list name the list; all others are about the object that they stand in. */
function directs(directive: string, name: string): boolean {
  if (!directive.startsWith('$')) return false;
  const slash = directive.indexOf('/');
  return slash === -1 || directive.slice(slash + 1) === name;
}

function mergeChanges(patch: JsonObject, path: Path, strategic: boolean): boolean {
  let at: unknown = patch;
  for (const name of path) {
    // What is no object takes the place of all that was there.
    if (!isObject(at)) return true;
    if (strategic && Object.keys(at).some((known) => directs(known, name))) return true;
    if (!Object.hasOwn(at, name)) return false;
    at = at[name];
  }
  return true;
}

/** Whether a patch may change what is at a path, above or below it. Certain only where it says no. */
export function mayChange(patch: Patch, path: Path): boolean {
  switch (patch.type) {
    case 'json':
      return patch.operations.some((operation) => changedBy(operation).some((changed) => overlap(changed, path)));
    case 'merge':
      return mergeChanges(patch.value, path, false);
    case 'strategic':
      return mergeChanges(patch.value, path, true);
    case 'apply':
      return true;
    default: {
      const never: never = patch;
      throw new Error(`patch of unknown type ${JSON.stringify(never)}`);
    }
  }
}

/** Members that say which object is meant, and on which state of it: they change nothing. */
const ADDRESS: readonly Path[] = [
  ['apiVersion'],
  ['kind'],
  ['metadata', 'name'],
  ['metadata', 'namespace'],
  ['metadata', 'uid'],
  ['metadata', 'resourceVersion'],
];

function leaves(value: unknown, at: Path): readonly Path[] {
  if (!isObject(value) || Object.keys(value).length === 0) return [at];
  return Object.entries(value).flatMap(([name, inner]) => leaves(inner, [...at, name]));
}

/** Whether a patch changes what is at the path and nothing else. */
export function changesOnly(patch: Patch, path: Path): boolean {
  const changed =
    patch.type === 'json'
      ? patch.operations.flatMap(changedBy)
      : leaves(patch.value, []).filter((leaf) => !ADDRESS.some((address) => samePath(address, leaf)));
  return patch.type !== 'apply' && changed.length > 0 && changed.every((leaf) => samePath(leaf, path));
}

function samePath(a: Path, b: Path): boolean {
  return a.length === b.length && overlap(a, b);
}

/**
 * The value that a patch gives to what is at the path, where its text alone says so.
 * @returns undefined where it takes it from elsewhere, removes it, or does not change it
 */
export function literalAt(patch: Patch, path: Path): unknown {
  if (patch.type !== 'json') {
    let at: unknown = patch.value;
    for (const name of path) {
      if (!isObject(at) || Object.keys(at).some((known) => known.startsWith('$') && directs(known, name)))
        return undefined;
      at = Object.hasOwn(at, name) ? at[name] : undefined;
    }
    return at ?? undefined;
  }
  const touching = list(patch.operations).filter((operation) => changedBy(operation).some((at) => overlap(at, path)));
  const last = touching.at(-1);
  if (!isObject(last) || (last['op'] !== 'add' && last['op'] !== 'replace')) return undefined;
  const at = parsePointer(text(last['path']));
  return at !== undefined && samePath(at, path) ? (last['value'] ?? undefined) : undefined;
}
