import { isDeepStrictEqual } from 'node:util';
import type { PatchOperation } from '../admission.ts';

type Json = Readonly<Record<string, unknown>>;

const isRecord = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** RFC 6901, section 3. */
const escaped = (key: string): string => key.replaceAll('~', '~0').replaceAll('/', '~1');

/** What makes an element of a list of Kubernetes the same one after a change. */
function identity(value: unknown): unknown {
  if (!isRecord(value)) return value;
  return value['mountPath'] ?? value['name'] ?? value['ip'] ?? value;
}

/** Where the elements of `before` begin in `after`, unbroken and in order; -1 when they do not. */
function offsetOf(before: readonly unknown[], after: readonly unknown[]): number {
  const first = after.findIndex((one) => isDeepStrictEqual(identity(one), identity(before[0])));
  const unbroken = before.every((one, index) => isDeepStrictEqual(identity(one), identity(after[first + index])));
  return first >= 0 && unbroken ? first : -1;
}

function listPatch(before: readonly unknown[], after: readonly unknown[], path: string): PatchOperation[] {
  const first = before.length === 0 ? -1 : offsetOf(before, after);
  if (first < 0) return [{ op: 'replace', path, value: after }];
  return [
    ...after.slice(0, first).map((value, index): PatchOperation => ({ op: 'add', path: `${path}/${index}`, value })),
    ...before.flatMap((one, index) => jsonPatch(one, after[first + index], `${path}/${first + index}`)),
    ...after.slice(first + before.length).map((value): PatchOperation => ({ op: 'add', path: `${path}/-`, value })),
  ];
}

/** A JSON Patch (RFC 6902) that makes `after` of `before`, in steps that a person can read. Both are JSON. */
export function jsonPatch(before: unknown, after: unknown, path = ''): PatchOperation[] {
  if (isDeepStrictEqual(before, after)) return [];
  if (Array.isArray(before) && Array.isArray(after)) return listPatch(before, after, path);
  if (!isRecord(before) || !isRecord(after)) return [{ op: 'replace', path, value: after }];
  const removed = Object.keys(before).filter((key) => after[key] === undefined && before[key] !== undefined);
  return [
    ...removed.map((key): PatchOperation => ({ op: 'remove', path: `${path}/${escaped(key)}` })),
    ...Object.entries(after).flatMap(([key, value]): PatchOperation[] => {
      if (value === undefined) return [];
      const at = `${path}/${escaped(key)}`;
      return before[key] === undefined ? [{ op: 'add', path: at, value }] : jsonPatch(before[key], value, at);
    }),
  ];
}
