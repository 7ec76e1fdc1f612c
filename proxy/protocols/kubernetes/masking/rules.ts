import { compileGlob, type Glob } from '../../../../policy/glob.ts';
import type { FieldMask, KubernetesMask, KubernetesPlace, MaskPlan } from '../../../../policy/masking.ts';
import { TRANSFORM_STRICTNESS } from '../../../../policy/masking.ts';
import type { PlaceMask } from '../../../masking/body/place.ts';
import { createFieldMasks, type PathNode } from '../../../masking/fields.ts';
import type { TokenKeys } from '../../../masking/port.ts';
import { compileTransform, tokenKeyFor } from '../../../masking/transforms.ts';

/** Which object it is, as far as rules tell objects apart. */
export interface ObjectIdentity {
  /** `resource.group`; the core group without a dot; undefined: not known, any rule may be about it. */
  readonly resource: string | undefined;
  /** Undefined: not known; empty: it has none. */
  readonly namespace: string | undefined;
  readonly name: string | undefined;
}

/** The masks of one object. */
export interface ObjectRules {
  /** Places that some rule is about. */
  readonly places: ReadonlySet<KubernetesPlace>;
  /** Of a key in data of Secrets and ConfigMaps, of a variable, of an annotation. */
  key(place: Exclude<KubernetesPlace, 'fields'>, key: string): PlaceMask | undefined;
  /** Where the paths of fields begin. */
  readonly fields: readonly PathNode[];
  /** The strictest mask of all that are about it: for what must not be shown and fits no place. */
  readonly strictest: PlaceMask | undefined;
}

export interface KubernetesRules {
  /** True when no rule is about anything but content. */
  readonly empty: boolean;
  of(identity: ObjectIdentity): ObjectRules;
  /** Whether a rule is about values of such an object that a table might show. */
  shownInTables(identity: ObjectIdentity): boolean;
}

interface CompiledEntry {
  readonly source: KubernetesMask;
  readonly resources: readonly Glob[];
  readonly namespaces: readonly Glob[];
  readonly names: readonly Glob[];
  readonly key: Glob;
  readonly mask: PlaceMask;
}

/** Masks of objects are made when first met: which rules are about an object depends on few things. */
const MOST_REMEMBERED = 512;

function matches(globs: readonly Glob[], text: string | undefined): boolean {
  return globs.length === 0 || text === undefined || globs.some((glob) => glob.matches(text));
}

export function strictestOf(masks: readonly PlaceMask[]): PlaceMask | undefined {
  if (masks.length < 2) return masks[0];
  const strictest = masks.reduce((a, b) =>
    TRANSFORM_STRICTNESS[b.transform.type] > TRANSFORM_STRICTNESS[a.transform.type] ? b : a,
  );
  return { ...strictest, rules: [...new Set(masks.flatMap(({ rules }) => rules))] };
}

/** The stricter of two, for the hot path: no list is made. */
export function stricterOf(a: PlaceMask | undefined, b: PlaceMask | undefined): PlaceMask | undefined {
  return a === undefined ? b : b === undefined ? a : strictestOf([a, b]);
}

/** @throws MaskError SPM003 a key is missing, SPM007 a path cannot be read */
export function compileRules(plan: MaskPlan, keys: TokenKeys): KubernetesRules {
  const entries = plan.kubernetes.map((source): CompiledEntry => {
    const { transform, rule } = source;
    return {
      source,
      resources: source.resources.map(compileGlob),
      namespaces: source.namespaces.map(compileGlob),
      names: source.names.map(compileGlob),
      key: compileGlob(source.match),
      mask: { transform, apply: compileTransform(transform, tokenKeyFor(transform, keys, rule), rule), rules: [rule] },
    };
  });
  const remembered = new Map<string, ObjectRules>();
  const general = createFieldMasks(plan.fields, keys)?.root;
  const fieldMasks = new Map<string, PathNode | undefined>();

  function isAbout(
    { resources, namespaces, names }: CompiledEntry,
    { resource, namespace, name }: ObjectIdentity,
  ): boolean {
    return matches(resources, resource) && matches(namespaces, namespace) && matches(names, name);
  }

  function fieldsOf(indices: readonly number[]): PathNode | undefined {
    const fields = indices.map((index): FieldMask => entries[index]!.source);
    const id = indices.join();
    if (!fieldMasks.has(id)) fieldMasks.set(id, createFieldMasks(fields, keys)?.root);
    return fieldMasks.get(id);
  }

  function make(applying: readonly number[]): ObjectRules {
    const own = applying.map((index) => entries[index]!);
    const fieldIndices = applying.filter((index) => entries[index]!.source.place === 'fields');
    const cache = new Map<string, PlaceMask | undefined>();
    return {
      places: new Set(own.map(({ source }) => source.place)),
      fields: [general, fieldsOf(fieldIndices)].filter((node) => node !== undefined),
      strictest: strictestOf(own.map(({ mask }) => mask)),
      key(place, key) {
        const id = `${place} ${key}`;
        if (cache.has(id)) return cache.get(id);
        const mask = strictestOf(
          own.filter((entry) => entry.source.place === place && entry.key.matches(key)).map((entry) => entry.mask),
        );
        if (cache.size < MOST_REMEMBERED * 8) cache.set(id, mask);
        return mask;
      },
    };
  }

  for (const entry of entries.keys()) if (entries[entry]!.source.place === 'fields') fieldsOf([entry]);

  return {
    empty: entries.length === 0 && general === undefined,
    of(identity) {
      const applying = [...entries.keys()].filter((index) => isAbout(entries[index]!, identity));
      const id = applying.join();
      let rules = remembered.get(id);
      if (rules === undefined) {
        rules = make(applying);
        if (remembered.size >= MOST_REMEMBERED) remembered.clear();
        remembered.set(id, rules);
      }
      return rules;
    },
    shownInTables(identity) {
      if (general !== undefined) return true;
      return entries.some(
        (entry) =>
          ['fields', 'annotations', 'env'].includes(entry.source.place) &&
          isAbout(entry, identity) &&
          isPrinted(entry, identity),
      );
    },
  };
}

/** Where values stand in objects that do not come with Kubernetes is not known; undefined: nor is what it is. */
export function isCustomResource(resource: string | undefined): boolean {
  return resource === undefined || !BUILT_IN_GROUP.test(resource);
}

const BUILT_IN_GROUP = /^[a-z]+$|^[a-z]+\.(apps|batch|autoscaling|policy|extensions|[a-z.]*k8s\.io)$/;

/** The API server's own printers show no annotations and no environment; columns of custom resources may show anything. */
function isPrinted({ source }: CompiledEntry, { resource }: ObjectIdentity): boolean {
  return source.place === 'fields' || isCustomResource(resource);
}
