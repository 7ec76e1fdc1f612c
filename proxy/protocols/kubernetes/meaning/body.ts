import { type Document, isAlias, isScalar, parseAllDocuments, visit } from 'yaml';
import type { RequestInfo } from '../request/request-info.ts';
import { ambiguity, isObject, type JsonObject } from './json.ts';
import type { Patch } from './pointer.ts';
import type { BodyRefusal } from './port.ts';
import { type ProtobufObject, parseProtobuf } from './protobuf.ts';

/** What goes to the API server: of these bytes the meaning was read. */
export interface Written {
  readonly bytes: Buffer;
  readonly contentType: string;
  /** It is not what the client sent: YAML is sent on as the JSON that was read of it. */
  readonly rewritten: boolean;
}

export type RequestBody =
  | { readonly type: 'none' }
  | { readonly type: 'object'; readonly value: JsonObject; readonly written: Written }
  | { readonly type: 'patch'; readonly patch: Patch; readonly written: Written }
  | { readonly type: 'protobuf'; readonly object: ProtobufObject; readonly written: Written };

const JSON_TYPE = 'application/json';
const PATCHES: ReadonlyMap<string, Patch['type']> = new Map([
  ['application/json-patch+json', 'json'],
  ['application/merge-patch+json', 'merge'],
  ['application/strategic-merge-patch+json', 'strategic'],
  ['application/apply-patch+yaml', 'apply'],
]);

/** As `maxJSONPatchOperations` of the API server. */
const MOST_OPERATIONS = 10_000;
/** Longest YAML that is parsed, which takes much longer than JSON; that may be as long as the lane lets a body be. */
const LONGEST_YAML = 32 * 1024;
/**
 * What parsing it takes goes by its tokens, about 10 µs for each, not by its bytes: 32 KiB of empty lists are 30,000. Nobody else is
 * served meanwhile, and this is enough for a manifest of those bytes.
 */
const MOST_YAML_TOKENS = 6_000;
const YAML_TOKEN = /[\n,[\]{}]|[-?:][ \n]/g;

function refuse(refusal: string, status: 400 | 415 = 400): BodyRefusal {
  return { status, refusal };
}

type Parsed = { readonly value: unknown } | BodyRefusal;

function decodeText(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function parseJson(source: string): Parsed {
  let value: unknown;
  try {
    value = JSON.parse(source);
  } catch {
    return refuse('it is no valid JSON');
  }
  const odd = ambiguity(source);
  return odd === undefined ? { value } : refuse(odd);
}

/**
 * YAML as the API server's library reads it (1.1), without what two readers could take for two things: anchors, tags, merged mappings,
 * repeated keys, more than one document. It is sent on as JSON, so that there is but one reading of it.
 */
function parseYaml(source: string): Parsed {
  if (source.length > LONGEST_YAML) return refuse('the YAML is longer than 32 KiB: send JSON');
  if (hasMoreTokens(source, MOST_YAML_TOKENS)) {
    return refuse(`the YAML has more than ${MOST_YAML_TOKENS} lines, items and members: send JSON`);
  }
  try {
    const options = {
      version: '1.1',
      uniqueKeys: false,
      merge: false,
      stringKeys: true,
      prettyErrors: false,
      logLevel: 'silent',
    } as const;
    const documents = parseAllDocuments(source, options);
    const [document] = documents;
    if (document === undefined || documents.length > 1) return refuse('the YAML is not one document');
    if (document.errors.length > 0) return refuse('it is no valid YAML');
    const odd = oddity(document);
    if (odd !== undefined) return refuse(`${odd}: send JSON`);
    const value: unknown = document.toJS({ maxAliasCount: 0 });
    if (!jsonOnly(value)) return refuse('the YAML has values that JSON has none for: send JSON');
    return parseJson(JSON.stringify(value));
  } catch {
    // Nested deeper than the stack, or a value that cannot be made.
    return refuse('it is no valid YAML');
  }
}

function hasMoreTokens(source: string, most: number): boolean {
  let left = most;
  for (const _token of source.matchAll(YAML_TOKEN)) if (left-- === 0) return true;
  return false;
}

/** What in a document two readers could take for two things. */
function oddity(document: Document): string | undefined {
  let odd: string | undefined;
  visit(document, {
    Map(_, { items }) {
      const names = items.map(({ key }) => (isScalar(key) ? String(key.value) : ''));
      // The library's own check compares each with each.
      if (new Set(names).size < names.length) odd = 'a name stands twice in one mapping of the YAML';
      if (names.includes('<<')) odd = 'merged mappings of YAML are not taken';
    },
    Node(_, node) {
      // A tag stands there only where the text names one.
      const indirect = isAlias(node) || node.anchor !== undefined || node.tag !== undefined;
      if (indirect) odd = 'anchors, aliases and tags of YAML are not taken';
    },
  });
  return odd;
}

/** Dates, binary and NaN have no JSON that everybody agrees on. */
function jsonOnly(value: unknown): boolean {
  if (Array.isArray(value)) return value.every(jsonOnly);
  if (typeof value === 'number') return Number.isFinite(value) && Math.abs(value) <= Number.MAX_SAFE_INTEGER;
  if (typeof value !== 'object' || value === null) return typeof value !== 'bigint' && value !== undefined;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype && Object.values(value).every(jsonOnly);
}

interface ReadText {
  readonly value: unknown;
  readonly written: Written;
}

function readText(bytes: Buffer, contentType: string, yaml: boolean): ReadText | BodyRefusal {
  const source = decodeText(bytes);
  if (source === undefined) return refuse('it is not UTF-8');
  const json = parseJson(source);
  if ('value' in json) return { value: json.value, written: { bytes, contentType, rewritten: false } };
  if (!yaml) return json;
  const parsed = parseYaml(source);
  if (!('value' in parsed)) return parsed;
  const type = contentType === 'application/yaml' ? JSON_TYPE : contentType;
  return {
    value: parsed.value,
    written: { bytes: Buffer.from(JSON.stringify(parsed.value)), contentType: type, rewritten: true },
  };
}

function readPatch(bytes: Buffer, contentType: string): RequestBody | BodyRefusal {
  const type = PATCHES.get(contentType);
  if (type === undefined) return refuse(`patches of type ${JSON.stringify(contentType)} are not taken`, 415);
  const read = readText(bytes, contentType, type === 'apply');
  if ('refusal' in read) return read;
  const { value, written } = read;
  if (type === 'json') {
    if (!Array.isArray(value) || !value.every(isObject)) return refuse('a JSON patch is a list of operations');
    if (value.length > MOST_OPERATIONS) return refuse(`a JSON patch has at most ${MOST_OPERATIONS} operations`);
    return { type: 'patch', patch: { type, operations: value }, written };
  }
  if (!isObject(value)) return refuse('the patch is no object');
  return { type: 'patch', patch: { type, value }, written };
}

function readObject(bytes: Buffer, contentType: string): RequestBody | BodyRefusal {
  switch (contentType) {
    case 'application/vnd.kubernetes.protobuf': {
      const object = parseProtobuf(bytes);
      if (object === undefined) return refuse('it is no object in protobuf');
      return { type: 'protobuf', object, written: { bytes, contentType, rewritten: false } };
    }
    case '':
    case JSON_TYPE:
    case 'application/yaml': {
      const read = readText(bytes, contentType === '' ? JSON_TYPE : contentType, contentType === 'application/yaml');
      if ('refusal' in read) return read;
      if (!isObject(read.value)) return refuse('it is no object');
      return { type: 'object', value: read.value, written: read.written };
    }
    default:
      return refuse(`bodies of type ${JSON.stringify(contentType)} are not taken`, 415);
  }
}

/** Whether the body is read at all: those of proxied requests and of reads mean nothing to the API server. */
export function hasMeaning({ isResourceRequest, verb, subresource }: RequestInfo): boolean {
  return isResourceRequest && subresource !== 'proxy' && (verb === 'create' || verb === 'update' || verb === 'patch');
}

/**
 * Reads the body of a write. What is taken is less than what an API server takes: each form that is read differently by two readers is
 * refused, as is CBOR.
 */
export function readRequestBody(
  info: RequestInfo,
  contentType: string | undefined,
  bytes: Buffer,
): RequestBody | BodyRefusal {
  if (!hasMeaning(info)) return { type: 'none' };
  const type = (contentType ?? '').split(';', 1)[0] ?? '';
  // Patch types it compares as they are; of the others it knows the media type in whatever case.
  if (info.verb === 'patch') return readPatch(bytes, type);
  if (bytes.length === 0) return { type: 'none' };
  return readObject(bytes, type.trim().toLowerCase());
}
