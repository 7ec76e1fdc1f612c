import type { RequestBody } from './body.ts';
import { edited, isObject, isVersion, list, member } from './json.ts';
import { overlap, type Patch, parsePointer } from './pointer.ts';

/**
 * A body that the API server takes only for the state of the object that it was judged on: it compares `metadata.resourceVersion` and
 * answers 409 where that has changed.
 * https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
 */
export interface Pinned {
  readonly bytes: Buffer;
  /** The version that the client named itself; its own goes first. */
  readonly named?: string;
}

function withVersion(value: unknown, resourceVersion: string): unknown {
  if (!isObject(value)) return value;
  const metadata = value['metadata'];
  return { ...value, metadata: { ...(isObject(metadata) ? metadata : {}), resourceVersion } };
}

/** Undefined: the client's patch touches what would pin it. */
function pinOperations(operations: readonly unknown[], json: string, resourceVersion: string): Pinned {
  const path = '/metadata/resourceVersion';
  const touched = operations.some((operation) =>
    [member(operation, 'path'), member(operation, 'from')].some((pointer) => {
      const at = parsePointer(pointer);
      return at === undefined ? pointer !== undefined : overlap(at, ['metadata', 'resourceVersion']);
    }),
  );
  // What comes last is what is compared (409); where the client itself writes there, the state before its patch is (422).
  const added = touched
    ? (all: readonly unknown[]) => [{ op: 'test', path, value: resourceVersion }, ...all]
    : (all: readonly unknown[]) => [...all, { op: 'add', path, value: resourceVersion }];
  return { bytes: edited(json, (value) => added(list(value))) };
}

/** Whether directives of a strategic merge patch stand where they could undo it. */
function directed(patch: Exclude<Patch, { type: 'json' }>): boolean {
  const metadata = patch.value['metadata'];
  const names = [...Object.keys(patch.value), ...(isObject(metadata) ? Object.keys(metadata) : [])];
  return patch.type === 'strategic' && names.some((name) => name === '$patch' || name === '$retainKeys');
}

/** Undefined: it cannot be pinned. */
export function pin(body: RequestBody, resourceVersion: string): Pinned | undefined {
  if (body.type === 'none' || resourceVersion === '') return undefined;
  const { bytes } = body.written;
  if (body.type === 'protobuf') {
    const named = body.object.resourceVersion;
    return isVersion(named) ? { bytes, named } : undefined;
  }
  const json = bytes.toString('utf8');
  const patch = body.type === 'patch' ? body.patch : ({ type: 'merge', value: body.value } as const);
  if (patch.type === 'json') return pinOperations(patch.operations, json, resourceVersion);
  if (directed(patch)) return undefined;
  const { value } = patch;
  const metadata = member(value, 'metadata');
  if (Object.hasOwn(value, 'metadata') && !isObject(metadata)) return undefined;
  const named = member(metadata, 'resourceVersion');
  if (isVersion(named)) return { bytes, named };
  const unnamed = named === undefined || typeof named === 'string';
  return unnamed ? { bytes: edited(json, (whole) => withVersion(whole, resourceVersion)) } : undefined;
}
