import type { AccessPolicy, Problem, Resources } from '../api/resources.ts';
import type { Bundle, CompiledConnection } from './bundle.ts';
import { canonicalJson, sha256 } from './canonical.ts';
import type { Condition } from './cel.ts';
import { byAge, compileConnection } from './connection.ts';
import { type CompiledMask, compileMask } from './mask-plan.ts';
import { matchesAnySubject, type SubjectEntry } from './match-subject.ts';
import { findProblems } from './problems.ts';
import { type CompiledRule, compileRule, type Effect } from './rule.ts';
import { createScope } from './scope.ts';
import { selectsConnection } from './select-connection.ts';

export interface CompileOptions {
  /** Policies and masking rules of this namespace are guardrails for the connections of all namespaces. */
  readonly guardrailNamespace: string;
  /** Largest bundle, in bytes of canonical JSON, before a problem is reported. */
  readonly maxBytes?: number;
}

export interface Compiled {
  readonly bundle: Bundle;
  /** Sorted by object and code. Never a reason not to use the bundle: errors fail closed inside it already. */
  readonly problems: readonly Problem[];
}

/** An AccessPolicy with its rules ready to be matched. */
export interface CompiledPolicy {
  readonly object: AccessPolicy;
  readonly rules: readonly CompiledRule[];
}

/** 16 MiB: what one proxy holds and hashes at each change without being noticed. */
const DEFAULT_MAX_BYTES = 16 * 1024 * 1024;

/**
 * Makes the bundle of all resources. Never throws for what stands in them: an unusable condition makes its rule fail closed, and
 * everything else that looks wrong is reported. The order of objects, rules and list members changes nothing, not even the hash.
 */
export function compile(resources: Resources, options: CompileOptions): Compiled {
  const text = canonicalJson({
    guardrailNamespace: options.guardrailNamespace,
    connections: resources.connections.map(essence),
    policies: resources.policies.map(essence),
    maskingRules: resources.maskingRules.map(essence),
  });
  const conditions = new Map<string, Condition>();
  const policies = sorted(resources.policies).map(
    (object): CompiledPolicy => ({
      object,
      rules: [...object.spec.rules]
        .sort((a, b) => compare(canonicalJson([a.name, a]), canonicalJson([b.name, b])))
        .map((rule) => compileRule(object, rule, conditions)),
    }),
  );
  const masks = sorted(resources.maskingRules).map(compileMask);
  const connections = [...resources.connections].sort(byAge).map(compileConnection);
  const bundle = createBundle(sha256(text), connections, policies, masks, options.guardrailNamespace);
  const size = { bytes: Buffer.byteLength(text), limit: options.maxBytes ?? DEFAULT_MAX_BYTES };
  return { bundle, problems: findProblems(resources, policies, options.guardrailNamespace, size) };
}

/** What of an object a decision can depend on. A generation changes only with the spec. */
function essence({ metadata, spec }: { metadata: AccessPolicy['metadata']; spec: object }): object {
  const { namespace, name, uid, labels, creationTimestamp } = metadata;
  return { namespace, name, uid, labels, creationTimestamp, spec };
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function sorted<T extends { metadata: AccessPolicy['metadata']; spec: object }>(objects: readonly T[]): T[] {
  const key = (object: T): string =>
    `${object.metadata.namespace}\0${object.metadata.name}\0${canonicalJson(object.spec)}`;
  return objects
    .map((object) => ({ object, key: key(object) }))
    .sort((a, b) => compare(a.key, b.key))
    .map(({ object }) => object);
}

function createBundle(
  hash: string,
  connections: readonly CompiledConnection[],
  policies: readonly CompiledPolicy[],
  masks: readonly CompiledMask[],
  guardrailNamespace: string,
): Bundle {
  const byName = new Map<string, CompiledConnection>();
  for (const connection of connections) {
    const key = `${connection.namespace}/${connection.name}`;
    if (!byName.has(key)) byName.set(key, connection);
  }
  return {
    hash,
    connections,
    connection: (namespace, name) => byName.get(`${namespace}/${name}`),
    scope(subject, connection) {
      const rules: Record<Effect, CompiledRule[]> = { Allow: [], Deny: [], RequireApproval: [] };
      let named = false;
      for (const { object, rules: ofPolicy } of policies) {
        const { namespace } = object.metadata;
        const { spec } = object;
        if (!selectsConnection(spec.connections, namespace, connection, guardrailNamespace)) continue;
        if (!matchesAnySubject(spec.subjects, subject, namespace)) continue;
        if (matchesAnySubject(spec.exceptSubjects, subject, namespace)) continue;
        const guardrail = namespace === guardrailNamespace;
        // Being forbidden something together with everybody else is not being named.
        const entries = ofPolicy.some(({ effect }) => effect !== 'Deny')
          ? spec.subjects
          : spec.subjects.filter(isSpecific);
        if (!guardrail && matchesAnySubject(entries, subject, namespace)) named = true;
        for (const rule of ofPolicy) {
          if (rule.protocol !== undefined && rule.protocol !== connection.protocol) continue;
          // An Allow says which protocol it is about; and a guardrail never grants.
          if (rule.effect === 'Allow' && (guardrail || rule.protocol === undefined)) continue;
          rules[rule.effect].push(rule);
        }
      }
      const applying = masks.filter(({ object: { metadata, spec } }) => {
        if (!selectsConnection(spec.connections, metadata.namespace, connection, guardrailNamespace)) return false;
        return !matchesAnySubject(spec.exceptSubjects, subject, metadata.namespace);
      });
      return createScope({
        subject,
        connection,
        allow: rules.Allow,
        deny: rules.Deny,
        requireApproval: rules.RequireApproval,
        masks: applying,
        named,
      });
    },
  };
}

function isSpecific(entry: SubjectEntry): boolean {
  return entry.everyone !== true;
}
