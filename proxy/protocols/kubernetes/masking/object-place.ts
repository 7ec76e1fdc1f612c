import { isUtf8 } from 'node:buffer';
import type { JsonPlace, PlaceMask } from '../../../masking/body/place.ts';
import type { PathNode } from '../../../masking/fields.ts';
import { namedValues } from './managed-fields.ts';
import {
  isCustomResource,
  type KubernetesRules,
  type ObjectIdentity,
  type ObjectRules,
  stricterOf,
  strictestOf,
} from './rules.ts';

/**
 * What is masked where in an object of Kubernetes. The object is there twice: as a value that JSON.parse made, which says what each place
 * is (is it a Secret, which variable is this the value of), and as bytes, which are rewritten in place, so that numbers and everything
 * else that no mask is about stay as they were written.
 */
export interface ObjectPlace extends JsonPlace {
  /** The string holds a document of its own; masks of it are those of this place. */
  readonly inner?: { readonly value: unknown; readonly place: ObjectPlace };
  step(key: string): ObjectPlace | undefined;
}

export interface ObjectContext {
  readonly rules: KubernetesRules;
  /** What an object is that does not say it (items of a list, what the URL names), and where it is. */
  readonly identity: ObjectIdentity;
  readonly kind: string | undefined;
  /** Masks the text of a string that holds a document. */
  readonly nested: (text: Buffer, place: JsonPlace) => Buffer;
  /** Values of the object that the document stands in, which are masked there. */
  readonly copies?: readonly Copy[];
}

/** A text that is masked wherever it stands in an object. */
interface Copy {
  readonly text: string;
  readonly mask: PlaceMask;
}

type Members = Readonly<Record<string, unknown>>;

/** Documents in strings of documents in strings: deeper ones are not shown. */
const MOST_LEVELS = 4;
/** Shorter values stand in other places by chance. */
const SHORTEST_COPY = 8;
const WITHHELD = Buffer.from('***', 'latin1');

export function isMembers(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function member(value: unknown, key: string): unknown {
  return isMembers(value) && Object.hasOwn(value, key) ? value[key] : undefined;
}

function textMember(value: unknown, key: string): string | undefined {
  const text = member(value, key);
  return typeof text === 'string' ? text : undefined;
}

/** Identifiers that clients hand back, and words of the API: a detector that took one for a value would break every client. */
const PLAIN_METADATA = new Set([
  'name',
  'namespace',
  'generateName',
  'uid',
  'resourceVersion',
  'continue',
  'selfLink',
  'creationTimestamp',
  'deletionTimestamp',
]);

/** The plural as an API server guesses it (meta.UnsafeGuessKindToResource). */
function resourceOfKind(kind: string, apiVersion: string): string {
  const singular = kind.toLowerCase();
  const plural = singular.endsWith('s')
    ? `${singular}es`
    : singular.endsWith('y')
      ? `${singular.slice(0, -1)}ies`
      : `${singular}s`;
  const slash = apiVersion.indexOf('/');
  return slash < 0 ? plural : `${plural}.${apiVersion.slice(0, slash)}`;
}

/** Kinds that stand for another object. */
const STAND_INS = new Set(['PartialObjectMetadata', 'PartialObjectMetadataList', 'Table', 'List']);

/** A walk through one document. Copies of what is masked in a Secret or ConfigMap are masked in all of that object. */
interface Scope {
  readonly rules: ObjectRules;
  readonly identity: ObjectIdentity;
  readonly kind: string | undefined;
  readonly copies: readonly Copy[];
}

/** Values that are masked in the object; undefined: not all of it is there. */
type Hidden = () => ReadonlySet<string> | undefined;

const MANAGED = 'managedFields';
const EMPTY = Buffer.from('{}', 'latin1');
const NO_FIELDS: ObjectPlace = { mask: undefined, whole: () => EMPTY, step: () => undefined };

/** In objects of Kubernetes' own no item of a list is named by a variable's value, or by a key of a Secret. */
function mayNameValues({ rules, identity }: Scope): boolean {
  return rules.strictest !== undefined && isCustomResource(identity.resource);
}

function namesHidden(fields: unknown, hidden: Hidden): boolean {
  const named = namedValues(fields);
  if (named.size === 0) return false;
  const values = hidden();
  return values === undefined || !named.isDisjointFrom(values);
}

export function objectPlace(value: unknown, context: ObjectContext, level = 0): ObjectPlace {
  const { rules } = context;

  function scopeOf(object: Members, outer: ObjectIdentity, outerKind: string | undefined): Scope {
    const said = textMember(object, 'kind');
    const kind = said === undefined || STAND_INS.has(said) ? outerKind : said;
    const metadata = member(object, 'metadata');
    const guessed = kind === undefined ? undefined : resourceOfKind(kind, textMember(object, 'apiVersion') ?? '');
    const identity: ObjectIdentity = {
      resource: outer.resource ?? guessed,
      namespace: textMember(metadata, 'namespace') ?? outer.namespace,
      name: textMember(metadata, 'name') ?? outer.name,
    };
    const own = rules.of(identity);
    return { rules: own, identity, kind, copies: [...(context.copies ?? []), ...copiesOf(object, kind, own)] };
  }

  function anObject(
    object: Members,
    nodes: readonly PathNode[],
    outer: ObjectIdentity,
    kind: string | undefined,
  ): ObjectPlace {
    const scope = scopeOf(object, outer, kind);
    const paths = [...new Set([...scope.rules.fields, ...nodes])];
    const items = Array.isArray(object['items']) && (scope.kind === undefined || isListKind(object, scope.kind));
    const self: ObjectPlace = place(paths, (key) => {
      const below = stepAll(paths, key);
      const inside = member(object, key);
      if (key === 'kind' || key === 'apiVersion') return PLAIN;
      if (key === 'metadata') return metadataPlace(inside, below, scope, () => hiddenIn(object, self));
      if (items && key === 'items') return itemsPlace(inside, below, scope);
      if (scope.kind === 'Secret') {
        if (key === 'data') return keysPlace(inside, below, scope, 'secrets', true);
        if (key === 'stringData') return keysPlace(inside, below, scope, 'secrets', false);
        if (key === 'type') return PLAIN;
      }
      if (scope.kind === 'ConfigMap') {
        if (key === 'data') return keysPlace(inside, below, scope, 'configMaps', false);
        if (key === 'binaryData') return keysPlace(inside, below, scope, 'configMaps', true);
      }
      return anything(inside, below, scope, key);
    });
    return self;
  }

  /** Values that are masked in an object; undefined: not all of it is there. */
  function hiddenIn(object: Members, at: ObjectPlace): ReadonlySet<string> | undefined {
    if (STAND_INS.has(textMember(object, 'kind') ?? '')) return undefined;
    const hidden = new Set<string>();
    const add = (value: string | number | boolean): void => void hidden.add(String(value));
    for (const [key, one] of Object.entries(object)) {
      const below = at.step(key);
      if (key !== 'metadata') eachMasked(one, below, add);
      else if (isMembers(one)) {
        for (const [name, inner] of Object.entries(one)) {
          if (name !== MANAGED) eachMasked(inner, below?.step(name), add);
        }
      }
    }
    return hidden;
  }

  function itemsPlace(list: unknown, nodes: readonly PathNode[], scope: Scope): ObjectPlace {
    const kind = scope.kind?.endsWith('List') === true ? scope.kind.slice(0, -4) : scope.kind;
    return place(nodes, (key) => {
      const item: unknown = Array.isArray(list) ? list[Number(key)] : undefined;
      return isMembers(item)
        ? anObject(item, stepAll(nodes, key), scope.identity, kind)
        : anything(item, [], scope, key);
    });
  }

  /** Who set what; without it where that names a value that is masked. */
  function managersPlace(managers: unknown, nodes: readonly PathNode[], scope: Scope, hidden: Hidden): ObjectPlace {
    return place(nodes, (index) => {
      const manager = Array.isArray(managers) ? (managers[Number(index)] as unknown) : undefined;
      const known = anything(manager, stepAll(nodes, index), scope, MANAGED) ?? UNMASKED;
      const fields = member(manager, 'fieldsV1');
      return {
        ...known,
        step: (key) => (key === 'fieldsV1' && namesHidden(fields, hidden) ? NO_FIELDS : known.step(key)),
      };
    });
  }

  function metadataPlace(metadata: unknown, nodes: readonly PathNode[], scope: Scope, hidden: Hidden): ObjectPlace {
    return place(nodes, (key) => {
      const below = stepAll(nodes, key);
      const inside = member(metadata, key);
      if (key === MANAGED && (scope.rules.fields.length > 0 || mayNameValues(scope))) {
        return managersPlace(inside, below, scope, hidden);
      }
      if (PLAIN_METADATA.has(key)) return maskOf(below) === undefined ? PLAIN : anything(inside, below, scope, key);
      if (key !== 'annotations') return anything(inside, below, scope, key);
      return place(below, (name) => {
        const annotation = member(inside, name);
        const further = stepAll(below, name);
        const mask = stricterOf(scope.rules.key('annotations', name), maskOf(further));
        if (mask !== undefined) return scalar(mask);
        if (typeof annotation === 'string' && looksPacked(annotation) && scope.rules.strictest !== undefined) {
          // Tools keep the applied object as base64 of gzip: nothing in it can be told apart.
          return scalar(scope.rules.strictest);
        }
        if (typeof annotation !== 'string') return anything(annotation, further, scope, name);
        return textPlace(annotation, further, scope, name === LAST_APPLIED ? scope.kind : undefined);
      });
    });
  }

  function keysPlace(
    keys: unknown,
    nodes: readonly PathNode[],
    scope: Scope,
    of: 'secrets' | 'configMaps',
    base64: boolean,
  ): ObjectPlace {
    return place(nodes, (key) => {
      const below = stepAll(nodes, key);
      const mask = stricterOf(scope.rules.key(of, key), maskOf(below));
      if (mask !== undefined) return scalar({ ...mask, ...(base64 ? { base64: true } : {}), leaves: true });
      return anything(member(keys, key), below, scope, key);
    });
  }

  /** Any value: it may hold objects, and variables of containers. */
  function anything(inside: unknown, nodes: readonly PathNode[], scope: Scope, key: string): ObjectPlace | undefined {
    if (typeof inside === 'string') return textPlace(inside, nodes, scope, undefined);
    if (isMembers(inside)) {
      if (typeof inside['kind'] === 'string' && isObjectLike(inside)) {
        return anObject(inside, nodes, { ...scope.identity, resource: undefined, name: undefined }, undefined);
      }
      const variable = textMember(inside, 'name');
      const isVariable = variable !== undefined && Object.hasOwn(inside, 'value');
      const variables = key === 'env' ? inside : undefined;
      return place(nodes, (name) => {
        const below = stepAll(nodes, name);
        const env =
          isVariable && name === 'value'
            ? scope.rules.key('env', variable)
            : variables === undefined
              ? undefined
              : scope.rules.key('env', name);
        const mask = stricterOf(env, maskOf(below));
        if (mask !== undefined && !isMembers(inside[name])) return scalar({ ...mask, leaves: true });
        return anything(member(inside, name), below, scope, name);
      });
    }
    if (Array.isArray(inside)) {
      return place(nodes, (index) => anything(inside[Number(index)], stepAll(nodes, index), scope, key));
    }
    return place(nodes, () => undefined);
  }

  function textPlace(text: string, nodes: readonly PathNode[], scope: Scope, kind: string | undefined): ObjectPlace {
    const own = maskOf(nodes);
    const document = own === undefined ? parsed(text) : undefined;
    if (document === undefined) {
      const mask = stricterOf(copyIn(text, scope), own);
      return mask === undefined ? UNMASKED : masked(mask);
    }
    if (level >= MOST_LEVELS) return literal(WITHHELD);
    const outer = kind === undefined ? { ...scope.identity, resource: undefined, name: undefined } : scope.identity;
    const inner = objectPlace(document, { ...context, identity: outer, kind, copies: scope.copies }, level + 1);
    // Paths that lead here go on inside.
    const onward = nodes.length === 0 ? inner : within(inner, anything(document, nodes, scope, ''));
    const shown = context.nested(Buffer.from(text, 'utf8'), onward);
    return { ...literal(shown), inner: { value: document, place: onward } };
  }

  const paths = rules.of(context.identity).fields;
  if (isMembers(value)) return anObject(value, [], context.identity, context.kind);
  return anything(value, paths, scopeOf({}, context.identity, context.kind), '') ?? UNMASKED;
}

function place(nodes: readonly PathNode[], step: (key: string) => ObjectPlace | undefined): ObjectPlace {
  const mask = maskOf(nodes);
  return { mask: mask === undefined ? undefined : { ...mask, leaves: true }, step };
}

const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';

const UNMASKED: ObjectPlace = { mask: undefined, step: () => undefined };
const PLAIN: ObjectPlace = { mask: undefined, plain: true, step: () => undefined };

function scalar(mask: PlaceMask): ObjectPlace {
  const self: ObjectPlace = { mask, step: () => self };
  return self;
}

export const REDACTED: PlaceMask = {
  transform: { type: 'redact', with: '***' },
  apply: () => WITHHELD,
  rules: [],
};

/** Every scalar at the place and below it. */
export function masked(mask: PlaceMask): ObjectPlace {
  return scalar({ ...mask, leaves: true });
}

/** The string is replaced by this text, whatever it is. */
function literal(text: Buffer): ObjectPlace {
  return { mask: { transform: { type: 'redact', with: '' }, apply: () => text, rules: [] }, step: () => undefined };
}

/** Calls back for every scalar that is masked, also in documents in strings. */
export function eachMasked(
  value: unknown,
  at: ObjectPlace | undefined,
  visit: (scalar: string | number | boolean, mask: PlaceMask) => void,
): void {
  if (at === undefined || value === null || value === undefined) return;
  if (at.inner !== undefined) {
    eachMasked(at.inner.value, at.inner.place, visit);
    return;
  }
  const { mask } = at;
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') {
    if (mask !== undefined) visit(value, mask);
    return;
  }
  for (const [key, one] of Object.entries(value)) eachMasked(one, mask === undefined ? at.step(key) : at, visit);
}

/** Both places at once. */
function within(a: ObjectPlace, b: ObjectPlace | undefined): ObjectPlace {
  if (b === undefined) return a;
  const mask = stricterOf(a.mask, b.mask);
  return {
    mask,
    ...(a.plain === true && b.plain === true ? { plain: true } : {}),
    step(key) {
      const left = a.step(key);
      const right = b.step(key);
      return left === undefined ? right : within(left, right);
    },
  };
}

function stepAll(nodes: readonly PathNode[], key: string): readonly PathNode[] {
  if (nodes.length === 0) return nodes;
  return nodes.map((node) => node.step(key)).filter((node) => node !== undefined);
}

function maskOf(nodes: readonly PathNode[]): PlaceMask | undefined {
  if (nodes.length === 0) return undefined;
  return strictestOf(nodes.map((node) => node.mask).filter((mask) => mask !== undefined));
}

function isListKind(object: Members, kind: string): boolean {
  const said = textMember(object, 'kind');
  return said === undefined || said.endsWith('List') || kind.endsWith('List');
}

/** It has a kind and looks like an object of the API: not a reference to one. */
function isObjectLike(value: Members): boolean {
  return (
    Object.hasOwn(value, 'metadata') ||
    Object.hasOwn(value, 'data') ||
    Object.hasOwn(value, 'stringData') ||
    Object.hasOwn(value, 'items') ||
    Object.hasOwn(value, 'spec')
  );
}

/** Base64 of gzip, zlib, zstd, zip, bzip2, xz or lz4, or of a document of JSON. */
function looksPacked(text: string): boolean {
  const packed =
    /^(?:H4sI|eA[E-H]|eF[4-7]|eJ[w-z]|eN[o-r]|KLUv|UEsD|Qlpo[MNO]|\/Td6W|BCJNG|ey[AIJ0]|ewo)[A-Za-z0-9+/_=\s-]+$/;
  return text.length > 40 && packed.test(text);
}

function parsed(text: string): unknown {
  let at = 0;
  while (at < text.length && text.charCodeAt(at) <= 0x20) at++;
  if (text[at] !== '{' && text[at] !== '[') return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return value;
  } catch {
    // It only looks like a document, and is searched as text.
    return undefined;
  }
}

/** What is masked in the object's data, as it is and as base64: a patch may have copied it elsewhere. */
function copiesOf(object: Members, kind: string | undefined, rules: ObjectRules): readonly Copy[] {
  const of = kind === 'Secret' ? 'secrets' : kind === 'ConfigMap' ? 'configMaps' : undefined;
  if (of === undefined) return [];
  const copies: Copy[] = [];
  const add = (text: string, mask: PlaceMask): void => {
    if (text.length >= SHORTEST_COPY) copies.push({ text, mask });
  };
  for (const part of ['data', 'stringData', 'binaryData']) {
    const keys = member(object, part);
    if (!isMembers(keys)) continue;
    for (const [key, value] of Object.entries(keys)) {
      const mask = rules.key(of, key);
      if (mask === undefined || typeof value !== 'string') continue;
      add(value, mask);
      if ((part === 'data' && kind === 'Secret') || part === 'binaryData') {
        const bytes = Buffer.from(value, 'base64');
        if (isUtf8(bytes)) add(bytes.toString('utf8'), mask);
      } else add(Buffer.from(value, 'utf8').toString('base64'), mask);
    }
  }
  return copies;
}

function copyIn(text: string, { copies }: Scope): PlaceMask | undefined {
  if (copies.length === 0) return undefined;
  return strictestOf(copies.filter((copy) => text.includes(copy.text)).map(({ mask }) => mask));
}
