import { KubeError } from './errors.ts';
import type { KubeObject, ObjectRef, ResourceType, Selection } from './types.ts';

/** Paths of the API (kubernetes.io/docs/reference/using-api/api-concepts): `/apis/GROUP/VERSION/namespaces/NS/PLURAL/NAME/SUBRESOURCE`. */

type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** The API's own rule for a name in a path (apimachinery, validation/path): one segment, and not a way up. */
function segment(name: string): string {
  if (name === '' || name === '.' || name === '..' || /[/%]/.test(name)) {
    throw new KubeError('SPB022', [JSON.stringify(name)]);
  }
  return encodeURIComponent(name);
}

/** Of all objects of a type, or of those in a namespace. */
export function collectionPath(type: ResourceType, namespace: string | undefined): string {
  const root = type.group === '' ? `/api/${type.version}` : `/apis/${type.group}/${type.version}`;
  if (namespace === undefined) return `${root}/${type.plural}`;
  if (!type.namespaced) throw new KubeError('SPB022', [`${type.plural} have no namespace, and ${namespace} was given`]);
  return `${root}/namespaces/${segment(namespace)}/${type.plural}`;
}

/** Where an object of this namespace is made. */
export function creationPath(type: ResourceType, object: KubeObject): string {
  if (type.namespaced && object.metadata.namespace === undefined) {
    throw new KubeError('SPB022', [`a ${type.kind} needs a namespace`]);
  }
  return collectionPath(type, object.metadata.namespace);
}

export function objectPath(type: ResourceType, ref: ObjectRef, subresource?: string): string {
  if (type.namespaced && ref.namespace === undefined) {
    throw new KubeError('SPB022', [`${type.plural} ${ref.name} needs a namespace`]);
  }
  const path = `${collectionPath(type, ref.namespace)}/${segment(ref.name)}`;
  return subresource === undefined ? path : `${path}/${subresource}`;
}

export function withQuery(path: string, query: Query): string {
  const pairs = Object.entries(query).filter(
    (pair): pair is [string, string | number | boolean] => pair[1] !== undefined,
  );
  if (pairs.length === 0) return path;
  return `${path}?${new URLSearchParams(pairs.map(([name, value]) => [name, String(value)])).toString()}`;
}

/** How messages name it: `get pods default/web`, `list pods`, `watch pods in default`. */
export function describe(verb: string, type: ResourceType, ref?: ObjectRef, subresource?: string): string {
  const plural = subresource === undefined ? type.plural : `${type.plural}/${subresource}`;
  if (ref === undefined) return `${verb} ${plural}`;
  return `${verb} ${plural} ${ref.namespace === undefined ? ref.name : `${ref.namespace}/${ref.name}`}`;
}

export const describeSelection = (verb: string, type: ResourceType, selection: Selection): string =>
  selection.namespace === undefined ? `${verb} ${type.plural}` : `${verb} ${type.plural} in ${selection.namespace}`;
