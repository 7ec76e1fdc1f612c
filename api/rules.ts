import { isIP, isIPv4 } from 'node:net';
import { CelScalar, celEnv, celFunc, celMethod, isCelError, listType, parse, plan } from '@bufbuild/cel';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { RE2JS } from 're2js';
import type { CheckObject, RuleViolation } from './load.ts';
import { type Schema, type SchemaRule, schemaOf } from './schema.ts';

/**
 * The CRDs' own CEL rules (x-kubernetes-validations), evaluated as the API server does when an object is created: rules that compare
 * with the old object (`oldSelf`) have nothing to compare with and are left out, unless they ask for it (`optionalOldSelf`).
 * https://kubernetes.io/docs/reference/using-api/cel/
 */
type Program = ReturnType<typeof plan>;
type Bindings = Parameters<Program>[0];
type Value = Bindings extends Record<string, infer V> | undefined ? V : never;

const INT32_PREFIX = /^(0|[1-9]\d{0,2})$/;

/** As Go's netip.ParseAddr without zones, and without IPv4 in IPv6, which Kubernetes refuses too. */
function isAddress(text: string): boolean {
  return isIP(text) !== 0 && !text.includes('%') && !/^::ffff:\d+\./i.test(text);
}

function isRange(text: string): boolean {
  const [address = '', prefix = '', ...rest] = text.split('/');
  if (rest.length > 0 || !INT32_PREFIX.test(prefix) || !isAddress(address)) return false;
  return Number(prefix) <= (isIPv4(address) ? 32 : 128);
}

const environment = celEnv({
  // The same RE2 that compiles content patterns, so that a pattern which passes here can be used there.
  re2: {
    compile(source: string) {
      const pattern = RE2JS.compile(source);
      return { test: (text: string) => pattern.test(text) };
    },
  },
  funcs: [
    celFunc('isIP', [CelScalar.STRING], CelScalar.BOOL, isAddress),
    celFunc('isCIDR', [CelScalar.STRING], CelScalar.BOOL, isRange),
    // An optional is bound as a list of none or one, since the library has no optionals.
    celMethod('hasValue', listType(CelScalar.DYN), [], CelScalar.BOOL, function () {
      return this.size > 0;
    }),
  ],
});

const programs = new WeakMap<SchemaRule, Program>();

function programOf(rule: SchemaRule): Program {
  let program = programs.get(rule);
  if (program === undefined) {
    program = plan(environment, parse(rule.rule));
    programs.set(rule, program);
  }
  return program;
}

/** A value as CEL sees it: integers as int, objects as maps, date-times as timestamps. */
function celValue(schema: Schema | undefined, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => celValue(schema?.items, item));
  if (typeof value === 'object' && value !== null) {
    const child = (key: string): Schema | undefined => schema?.properties?.[key] ?? schema?.additionalProperties;
    return new Map(Object.entries(value).map(([key, member]) => [key, celValue(child(key), member)]));
  }
  if (typeof value === 'number' && schema?.type === 'integer') return BigInt(value);
  if (typeof value === 'string' && schema?.format === 'date-time') return timestampFromDate(new Date(value));
  return value;
}

function violation(rule: SchemaRule, self: unknown): string | undefined {
  if (/\boldSelf\b/.test(rule.rule) && rule.optionalOldSelf !== true) return undefined;
  const result = programOf(rule)({ self, oldSelf: [] } as Record<string, Value>);
  if (result === true) return undefined;
  if (isCelError(result)) return `${rule.message} (${result.message})`;
  return rule.message;
}

function walk(
  schema: Schema,
  value: unknown,
  path: readonly (string | number)[],
  report: (found: RuleViolation) => void,
): void {
  for (const rule of schema['x-kubernetes-validations'] ?? []) {
    const message = violation(rule, celValue(schema, value));
    if (message !== undefined) report({ path, message });
  }
  if (Array.isArray(value)) {
    const { items } = schema;
    if (items !== undefined) value.forEach((item, index) => void walk(items, item, [...path, index], report));
    return;
  }
  if (typeof value !== 'object' || value === null) return;
  for (const [key, member] of Object.entries(value)) {
    const child = schema.properties?.[key] ?? schema.additionalProperties;
    if (child !== undefined) walk(child, member, [...path, key], report);
  }
}

/**
 * Every rule of the kind's schema that the object breaks, with the path of the field that the rule stands at. The object is already
 * as the structure asks for and has its defaults.
 */
export const checkRules: CheckObject = (kind, object) => {
  const found: RuleViolation[] = [];
  walk(schemaOf(kind), object, [], (violation) => found.push(violation));
  return found;
};
