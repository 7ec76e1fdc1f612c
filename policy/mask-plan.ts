import type { MaskingRule } from '../api/resources.ts';
import { canonicalJson } from './canonical.ts';
import { compileGlob, type Glob } from './glob.ts';
import { compileFiles, type FilePattern, protectionOf } from './mask-files.ts';
import {
  type BinaryOutput,
  type ColumnMask,
  type ContentMask,
  DETECTORS,
  type Detector,
  type FieldMask,
  KUBERNETES_PLACES,
  type KubernetesMask,
  type MaskPlan,
  TRANSFORM_STRICTNESS,
  type Transform,
} from './masking.ts';

type TransformSpec = NonNullable<NonNullable<MaskingRule['spec']['columns']>[number]['transform']>;

/** One pattern of `columns`, with what it does. */
interface ColumnPattern {
  readonly schema: Glob;
  readonly relation: Glob;
  readonly column: Glob;
  readonly transform: Transform;
  readonly allowEquality: boolean;
  readonly rule: string;
}

/** A MaskingRule with its patterns compiled, whoever it is for. */
export interface CompiledMask {
  readonly object: MaskingRule;
  readonly rule: string;
  readonly columns: readonly ColumnPattern[];
  readonly fields: readonly FieldMask[];
  readonly content: readonly ContentMask[];
  readonly files: readonly FilePattern[];
  /** Undefined: the rule looks at no content. */
  readonly binaryOutput: BinaryOutput | undefined;
  /** Undefined: the rule is about nothing that HTTP bodies hold. */
  readonly opaqueBodies: BinaryOutput | undefined;
  readonly kubernetes: readonly KubernetesMask[];
}

const DEFAULT_REDACTION = '***';
/** Column names come from catalogs; an agent that may create tables must not make the memory grow without end. */
const MAX_REMEMBERED = 20_000;

export function compileMask(object: MaskingRule): CompiledMask {
  const { namespace, name } = object.metadata;
  const rule = `${namespace}/${name}`;
  const { columns = [], fields = [], content = [], files, binaryOutput } = object.spec;
  const kubernetes = compileKubernetes(object, rule);
  return {
    object,
    rule,
    columns: columns.flatMap(({ match, transform, allowEquality = false }) =>
      match.map((pattern) => {
        const [schema = '', relation = '', column = ''] = pattern.split('.');
        return {
          schema: compileGlob(schema),
          relation: compileGlob(relation),
          column: compileGlob(column),
          transform: transformOf(transform, namespace),
          allowEquality,
          rule,
        };
      }),
    ),
    fields: fields.flatMap(({ match, transform }) =>
      match.map((pattern) => ({ match: pattern, transform: transformOf(transform, namespace), rule })),
    ),
    content: content.flatMap(({ detectors = [], pattern, transform: spec }): ContentMask[] => {
      const transform = transformOf(spec, namespace);
      if (pattern !== undefined) return [{ source: { pattern }, transform, rule }];
      return detectors.filter(isDetector).map((detector) => ({ source: { detector }, transform, rule }));
    }),
    files: compileFiles(files, rule),
    binaryOutput: content.length === 0 ? undefined : (binaryOutput ?? 'Search'),
    opaqueBodies: content.length + fields.length + kubernetes.length === 0 ? undefined : (binaryOutput ?? 'Deny'),
    kubernetes,
  };
}

function compileKubernetes({ metadata, spec }: MaskingRule, rule: string): readonly KubernetesMask[] {
  return (spec.kubernetes ?? []).flatMap((entry) =>
    KUBERNETES_PLACES.flatMap((place) =>
      (entry[place] ?? []).map(
        (match): KubernetesMask => ({
          place,
          match,
          resources: place === 'fields' ? (entry.resources ?? ['*']) : [],
          namespaces: entry.namespaces ?? [],
          names: entry.names ?? [],
          transform: transformOf(entry.transform, metadata.namespace),
          rule,
        }),
      ),
    ),
  );
}

function isDetector(name: string): name is Detector {
  return (DETECTORS as readonly string[]).includes(name);
}

function transformOf(spec: TransformSpec | undefined, namespace: string): Transform {
  if (spec?.nullify !== undefined) return { type: 'nullify' };
  if (spec?.tokenize !== undefined) {
    const ref = spec.tokenize.keySecretRef;
    if (ref === undefined) return { type: 'tokenize' };
    return { type: 'tokenize', keyRef: { namespace, name: ref.name, key: ref.key ?? 'key' } };
  }
  if (spec?.partial !== undefined) {
    return { type: 'partial', keepFirst: spec.partial.keepFirst ?? 0, keepLast: spec.partial.keepLast ?? 0 };
  }
  return { type: 'redact', with: spec?.redact?.with ?? DEFAULT_REDACTION };
}

/** The stricter of two; two partials keep only what both keep. Symmetric, so that order cannot matter. */
export function stricter(a: Transform, b: Transform): Transform {
  const difference = TRANSFORM_STRICTNESS[a.type] - TRANSFORM_STRICTNESS[b.type];
  if (difference !== 0) return difference > 0 ? a : b;
  if (a.type === 'partial' && b.type === 'partial') {
    return {
      type: 'partial',
      keepFirst: Math.min(a.keepFirst, b.keepFirst),
      keepLast: Math.min(a.keepLast, b.keepLast),
    };
  }
  // Equally strict: two texts or two keys. Any fixed choice will do, as long as it is always the same one.
  return canonicalJson(a) <= canonicalJson(b) ? a : b;
}

/** The plan of the masks given, which are those that apply to one subject on one connection. */
export function planMasks(masks: readonly CompiledMask[]): MaskPlan {
  const patterns = masks.flatMap((mask) => mask.columns);
  const byText = (a: object, b: object): number => (canonicalJson(a) < canonicalJson(b) ? -1 : 1);
  const fields = masks.flatMap((mask) => mask.fields).sort(byText);
  const content = masks.flatMap((mask) => mask.content).sort(byText);
  const kubernetes = masks.flatMap((mask) => mask.kubernetes).sort(byText);
  const files = masks.flatMap((mask) => mask.files);
  const remembered = new Map<string, Map<string, ColumnMask | undefined>>();
  let size = 0;

  function look(schema: string, relation: string, column: string): ColumnMask | undefined {
    let mask: { transform: Transform; allowEquality: boolean; rules: Set<string> } | undefined;
    for (const pattern of patterns) {
      if (!pattern.column.matches(column) || !pattern.relation.matches(relation) || !pattern.schema.matches(schema))
        continue;
      if (mask === undefined) {
        mask = { transform: pattern.transform, allowEquality: pattern.allowEquality, rules: new Set([pattern.rule]) };
      } else {
        mask.transform = stricter(mask.transform, pattern.transform);
        mask.allowEquality &&= pattern.allowEquality;
        mask.rules.add(pattern.rule);
      }
    }
    return mask && { transform: mask.transform, allowEquality: mask.allowEquality, rules: [...mask.rules].sort() };
  }

  return {
    empty: patterns.length + fields.length + content.length + kubernetes.length + files.length === 0,
    hasColumns: patterns.length > 0,
    column(schema, relation, column) {
      if (patterns.length === 0) return undefined;
      // A NUL cannot stand in a PostgreSQL name, so two names never run together.
      const key = `${schema}\0${relation}`;
      let columns = remembered.get(key);
      if (columns === undefined) {
        if (size >= MAX_REMEMBERED) {
          remembered.clear();
          size = 0;
        }
        columns = new Map();
        remembered.set(key, columns);
      }
      if (columns.has(column)) return columns.get(column);
      const mask = look(schema, relation, column);
      columns.set(column, mask);
      size += 1;
      return mask;
    },
    transforms: distinctTransforms(patterns),
    fields,
    content,
    binaryOutput: strictestBinary(masks.map((mask) => mask.binaryOutput)) ?? 'Search',
    opaqueBodies: strictestBinary(masks.map((mask) => mask.opaqueBodies)) ?? 'Pass',
    kubernetes,
    hasFiles: files.length > 0,
    file: (path, tree = false) => (files.length === 0 ? undefined : protectionOf(files, path, tree)),
  };
}

/** Stricter first. */
const BINARY_OUTPUT = ['Deny', 'Search', 'Pass'] as const satisfies readonly BinaryOutput[];

function strictestBinary(choices: readonly (BinaryOutput | undefined)[]): BinaryOutput | undefined {
  return BINARY_OUTPUT.find((one) => choices.includes(one));
}

function distinctTransforms(patterns: readonly ColumnPattern[]): readonly Transform[] {
  const distinct = new Map<string, Transform>();
  for (const { transform } of patterns) distinct.set(canonicalJson(transform), transform);
  return [...distinct].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, transform]) => transform);
}
