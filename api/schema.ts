import { readFileSync } from 'node:fs';
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import { parse } from 'yaml';

/** Kinds of sallyport.dev/v1alpha1 and the file that defines each. */
export const KINDS = {
  AccessConnection: 'accessconnections',
  AccessPolicy: 'accesspolicies',
  MaskingRule: 'maskingrules',
  ApprovalRequest: 'approvalrequests',
} as const;
export type Kind = keyof typeof KINDS;

export const API_VERSION = 'sallyport.dev/v1alpha1';

/** A rule of x-kubernetes-validations. */
export interface SchemaRule {
  readonly rule: string;
  readonly message: string;
  readonly optionalOldSelf?: boolean;
}

/** The part of a structural OpenAPI schema that the CRDs use. */
export interface Schema {
  readonly type?: string;
  readonly format?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema;
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly enum?: readonly unknown[];
  readonly default?: unknown;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly minProperties?: number;
  readonly maxProperties?: number;
  readonly 'x-kubernetes-list-type'?: 'atomic' | 'set' | 'map';
  readonly 'x-kubernetes-list-map-keys'?: readonly string[];
  readonly 'x-kubernetes-validations'?: readonly SchemaRule[];
}

const schemas = new Map<Kind, Schema>();

/** `openAPIV3Schema` of a kind, as it stands in crds/. */
export function schemaOf(kind: Kind): Schema {
  let schema = schemas.get(kind);
  if (schema === undefined) {
    // dist/api/schema.js lies one folder deeper than api/schema.ts.
    const candidates = [`../crds/${KINDS[kind]}.yaml`, `../../crds/${KINDS[kind]}.yaml`];
    const crd = parse(readFirst(candidates.map((path) => new URL(path, import.meta.url)))) as {
      spec: { versions: [{ schema: { openAPIV3Schema: Schema } }] };
    };
    schema = crd.spec.versions[0].schema.openAPIV3Schema;
    schemas.set(kind, schema);
  }
  return schema;
}

function readFirst(candidates: readonly URL[]): string {
  let failure: unknown;
  for (const url of candidates) {
    try {
      return readFileSync(url, 'utf8');
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

/** Structural part of the schema for ajv: unknown fields are refused, as the API server's strict validation does. */
function structural(schema: Schema): Record<string, unknown> {
  const {
    properties,
    additionalProperties,
    items,
    'x-kubernetes-validations': _rules,
    'x-kubernetes-list-type': listType,
    'x-kubernetes-list-map-keys': keys,
    ...rest
  } = schema;
  const copy: Record<string, unknown> = Object.fromEntries(
    Object.entries(rest).filter(([key]) => !key.startsWith('x-kubernetes-')),
  );
  if (items !== undefined) copy['items'] = structural(items);
  if (properties !== undefined) {
    copy['properties'] = Object.fromEntries(
      Object.entries(properties).map(([name, child]) => [name, structural(child)]),
    );
    copy['additionalProperties'] = false;
  }
  // An object of no fields, such as `nullify: {}`: the API server knows none of what is written into it.
  else if (schema.type === 'object' && additionalProperties === undefined) copy['additionalProperties'] = false;
  if (additionalProperties !== undefined) copy['additionalProperties'] = structural(additionalProperties);
  if (listType === 'set') copy['uniqueItems'] = true;
  if (listType === 'map') copy['uniqueKeys'] = keys;
  return copy;
}

const LABEL_VALUE = '^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$';
const LABEL_KEY = '^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$';
const anything = {};
const OBJECT_META = {
  type: 'object',
  required: ['name'],
  additionalProperties: false,
  properties: {
    name: {
      type: 'string',
      minLength: 1,
      maxLength: 253,
      pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$',
    },
    namespace: { type: 'string', minLength: 1, maxLength: 63, pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$' },
    labels: {
      type: 'object',
      propertyNames: { pattern: LABEL_KEY, maxLength: 317 },
      additionalProperties: { type: 'string', maxLength: 63, pattern: LABEL_VALUE },
    },
    annotations: {
      type: 'object',
      propertyNames: { pattern: LABEL_KEY, maxLength: 317 },
      additionalProperties: { type: 'string', maxLength: 262_144 },
    },
    generateName: { type: 'string' },
    uid: { type: 'string' },
    resourceVersion: { type: 'string' },
    generation: { type: 'integer' },
    creationTimestamp: { type: ['string', 'null'] },
    deletionTimestamp: { type: ['string', 'null'] },
    deletionGracePeriodSeconds: { type: 'integer' },
    finalizers: { type: 'array', items: { type: 'string' } },
    ownerReferences: { type: 'array', items: anything },
    managedFields: { type: 'array', items: anything },
    selfLink: { type: 'string' },
  },
};

const RFC3339 = /^\d{4}-(0[1-9]|1[0-2])-([0-2]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;

const ajv = new Ajv({ allErrors: true, strict: false, useDefaults: true, verbose: true });
ajv.addFormat('int32', { type: 'number', validate: (value) => value >= -(2 ** 31) && value < 2 ** 31 });
// Above 2^53 a number of YAML is no longer the one that was written.
ajv.addFormat('int64', { type: 'number', validate: Number.isSafeInteger });
ajv.addFormat('date-time', (text) => RFC3339.test(text) && !Number.isNaN(Date.parse(text)));
ajv.addKeyword({
  keyword: 'uniqueKeys',
  type: 'array',
  schemaType: 'array',
  error: { message: 'must not hold two items with the same key' },
  validate: (keys: readonly string[], list: readonly Record<string, unknown>[]) =>
    new Set(list.map((item) => JSON.stringify(keys.map((key) => item[key])))).size === list.length,
});

/**
 * Takes out fields that are written but empty (`approval:`), as the API server does before it looks at an object, and tells which.
 * Must run before the structure is checked.
 */
export function pruneNulls(kind: Kind, object: unknown): (string | number)[][] {
  const pruned: (string | number)[][] = [];
  const walk = (schema: Schema, value: unknown, path: (string | number)[]): void => {
    if (Array.isArray(value)) {
      const { items } = schema;
      if (items !== undefined) value.forEach((item, index) => void walk(items, item, [...path, index]));
      return;
    }
    if (typeof value !== 'object' || value === null) return;
    const holder = value as Record<string, unknown>;
    for (const [key, member] of Object.entries(holder)) {
      const child = schema.properties?.[key] ?? schema.additionalProperties;
      if (child === undefined) continue;
      if (member === null) {
        delete holder[key];
        pruned.push([...path, key]);
      } else walk(child, member, [...path, key]);
    }
  };
  walk(schemaOf(kind), object, []);
  return pruned;
}

const validators = new Map<Kind, ValidateFunction>();

function validatorOf(kind: Kind): ValidateFunction {
  let validate = validators.get(kind);
  if (validate === undefined) {
    const schema = structural(schemaOf(kind)) as { properties: Record<string, unknown>; required: string[] };
    schema.properties['metadata'] = OBJECT_META;
    schema.required = ['metadata', ...schema.required];
    validate = ajv.compile(schema);
    validators.set(kind, validate);
  }
  return validate;
}

/**
 * Checks the structure of one object and fills its defaults in. Empty: it is as the schema asks. The rules that need more than one
 * field are in rules.ts.
 */
export function checkStructure(kind: Kind, object: unknown): readonly ErrorObject[] {
  const validate = validatorOf(kind);
  return validate(object) ? [] : (validate.errors ?? []);
}
