import { canonicalJson } from './canonical.ts';
import type { StatementKind } from './command.ts';
import { type CompiledRule, hits } from './rule.ts';

/**
 * What a scope may give at most, whatever the text of a command: the fence that a target can hold by itself. Conditions and
 * approvals can only narrow it, so they are left out; a Deny rule without a condition narrows it always, so it counts.
 */
export interface Rights {
  /** Equal for scopes whose rights are the same on every catalog; says nothing of subjects. */
  readonly key: string;
  /** Kinds that some Allow rule gives on the relation and no unconditional Deny rule takes. */
  on(schema: string, name: string): ReadonlySet<StatementKind>;
  /** Kinds that some Allow rule gives on some name, there or not, in the schema. */
  within(schema: string): ReadonlySet<StatementKind>;
  /** Functions outside pg_catalog that some Allow rule lets be called. */
  calls(schema: string, name: string): boolean;
  /** Kinds that some Allow rule gives on anything, such as CreateSchema. */
  readonly kinds: ReadonlySet<StatementKind>;
}

/** @param candidates the rules that are about one subject on one connection */
export function rightsOf({
  allow,
  deny,
}: {
  readonly allow: readonly CompiledRule[];
  readonly deny: readonly CompiledRule[];
}): Rights {
  const always = deny.filter(({ when }) => when === undefined || when.error !== undefined);
  const kinds = new Set<StatementKind>();
  for (const { sql } of allow) for (const kind of sql?.kinds ?? []) if (!deniedAlways(kind, always)) kinds.add(kind);
  return {
    key: canonicalJson({ allow: essences(allow), deny: essences(always) }),
    kinds,
    on(schema, name) {
      const found = new Set<StatementKind>();
      for (const { sql } of allow) {
        if (sql?.kinds === undefined || sql.relations?.matches(schema, name) !== true) continue;
        for (const kind of sql.kinds) {
          const tuple = { type: 'relation', kind, schema, name, statement: 0 } as const;
          if (!always.some((rule) => hits(rule, tuple, kind))) found.add(kind);
        }
      }
      return found;
    },
    within(schema) {
      const found = new Set<StatementKind>();
      for (const { sql } of allow) {
        if (sql?.kinds === undefined || sql.relations?.reaches(schema) !== true) continue;
        for (const kind of sql.kinds) {
          const taken = always.some(
            (rule) =>
              (rule.sql?.relations === undefined || rule.sql.relations.any) && hits(rule, nameless(kind, schema), kind),
          );
          if (!taken) found.add(kind);
        }
      }
      return found;
    },
    calls(schema, name) {
      const tuple = { type: 'function', schema, name, statement: 0, judgement: 'user' } as const;
      return allow.some(({ sql }) => {
        if (sql?.functions?.matches(schema, name) !== true) return false;
        // A function is judged with the kind of the statement that calls it: one kind that is left is enough to need the right.
        return [...(sql.kinds ?? [])].some((kind) => !always.some((rule) => hits(rule, tuple, kind)));
      });
    },
  };
}

/** A relation of no name that a rule could tell from another. */
const nameless = (kind: StatementKind, schema: string) =>
  ({ type: 'relation', kind, schema, name: '', statement: 0 }) as const;

/** A Deny rule about everything, or about the kind with no name to it. */
function deniedAlways(kind: StatementKind, always: readonly CompiledRule[]): boolean {
  return always.some((rule) => hits(rule, { type: 'kind', kind, statement: 0 }, kind));
}

/** The part of each rule that rights depend on, each once and in one order. */
function essences(rules: readonly CompiledRule[]): readonly string[] {
  const texts = rules.map(({ protocol, sql }) =>
    canonicalJson({
      everything: protocol === undefined,
      kinds: sql?.kinds === undefined ? null : [...sql.kinds].sort(),
      relations: sql?.relations === undefined ? null : [...sql.relations.patterns].sort(),
      functions: sql?.functions === undefined ? null : [...sql.functions.patterns].sort(),
    }),
  );
  return [...new Set(texts)].sort();
}
