import type { AccessPolicy } from '../api/resources.ts';
import { type Condition, compileCondition } from './cel.ts';
import type { SqlCommand, SqlTuple, StatementKind } from './command.ts';
import type { ApprovalRequirement, EffectiveLimits, RuleRef } from './decision.ts';
import { durationMs } from './duration.ts';
import { compileQualifiedGlobs, type QualifiedGlobs } from './glob.ts';
import { compileHttp, type HttpMatcher } from './http/match.ts';
import { expandStatements, isOpaque } from './kinds.ts';
import { compileKubernetes, type KubernetesMatcher } from './kubernetes/match.ts';
import { compileSsh, type SshMatcher } from './ssh/match.ts';

export type RuleSpec = AccessPolicy['spec']['rules'][number];
export type Protocol = 'Postgres' | 'SSH' | 'Kubernetes' | 'HTTP';
export type Effect = 'Allow' | 'Deny' | 'RequireApproval';

/** One rule of an AccessPolicy, ready to be matched. */
export interface CompiledRule {
  readonly ref: RuleRef;
  readonly effect: Effect;
  /** Undefined: every command (Deny and RequireApproval only). */
  readonly protocol: Protocol | undefined;
  readonly sql: SqlMatcher | undefined;
  readonly ssh: SshMatcher | undefined;
  readonly kubernetes: KubernetesMatcher | undefined;
  readonly http: HttpMatcher | undefined;
  readonly when: Condition | undefined;
  readonly message: string | undefined;
  readonly limits: EffectiveLimits;
  /** What a person has to do: always for RequireApproval, for Allow when it carries `approval`. */
  readonly approval: ApprovalRequirement | undefined;
  readonly spec: RuleSpec;
}

export interface SqlMatcher {
  /** Undefined: any. */
  readonly kinds: ReadonlySet<StatementKind> | undefined;
  readonly relations: QualifiedGlobs | undefined;
  readonly functions: QualifiedGlobs | undefined;
}

const DEFAULT_APPROVAL_TIMEOUT_MS = 600_000;

/** `conditions` caches compiled expressions over all rules of a bundle. */
export function compileRule(policy: AccessPolicy, spec: RuleSpec, conditions: Map<string, Condition>): CompiledRule {
  const ref: RuleRef = {
    namespace: policy.metadata.namespace,
    policy: policy.metadata.name,
    rule: spec.name,
    generation: policy.metadata.generation ?? 1,
  };
  const { effect } = spec;
  return {
    ref,
    effect,
    protocol: protocolOf(spec),
    sql: spec.sql && {
      kinds: spec.sql.statements && expandStatements(spec.sql.statements, effect === 'Allow'),
      relations: spec.sql.relations && compileQualifiedGlobs(spec.sql.relations),
      functions: spec.sql.functions && compileQualifiedGlobs(spec.sql.functions),
    },
    ssh: spec.ssh && compileSsh(spec.ssh),
    kubernetes: spec.kubernetes && compileKubernetes(spec.kubernetes),
    http: spec.http && compileHttp(spec.http),
    when: spec.when === undefined ? undefined : conditionFor(spec.when, conditions),
    message: spec.message,
    limits: limitsOf(spec),
    approval: approvalOf(spec, ref),
    spec,
  };
}

function conditionFor(text: string, conditions: Map<string, Condition>): Condition {
  const known = conditions.get(text);
  if (known !== undefined) return known;
  const condition = compileCondition(text);
  conditions.set(text, condition);
  return condition;
}

function protocolOf(spec: RuleSpec): Protocol | undefined {
  if (spec.sql !== undefined) return 'Postgres';
  if (spec.ssh !== undefined) return 'SSH';
  if (spec.kubernetes !== undefined) return 'Kubernetes';
  if (spec.http !== undefined) return 'HTTP';
  return undefined;
}

function limitsOf({ limits = {} }: RuleSpec): EffectiveLimits {
  const { maxDuration, ...numbers } = limits;
  const maxDurationMs = maxDuration === undefined ? undefined : durationMs(maxDuration);
  return { ...numbers, ...(maxDurationMs === undefined ? {} : { maxDurationMs }) };
}

function approvalOf(spec: RuleSpec, rule: RuleRef): ApprovalRequirement | undefined {
  if (spec.effect === 'Deny' || (spec.effect === 'Allow' && spec.approval === undefined)) return undefined;
  const { requiredApprovals = 1, approvers, timeout, hold = 'Wait', reuseFor } = spec.approval ?? {};
  const reuseForMs = reuseFor === undefined ? undefined : durationMs(reuseFor);
  return {
    rule,
    requiredApprovals,
    ...(approvers === undefined ? {} : { approvers }),
    timeoutMs: (timeout === undefined ? undefined : durationMs(timeout)) ?? DEFAULT_APPROVAL_TIMEOUT_MS,
    hold,
    ...(reuseForMs === undefined ? {} : { reuseForMs }),
    ...(spec.message === undefined ? {} : { message: spec.message }),
  };
}

/** The kind that a tuple is judged with: its own, and for a function that of the sub-statement which calls it. */
export function kindOf(tuple: SqlTuple, command: SqlCommand): StatementKind | undefined {
  switch (tuple.type) {
    case 'relation':
    case 'kind':
      return tuple.kind;
    case 'function':
      return command.statements[tuple.statement]?.kind;
    default: {
      const never: never = tuple;
      throw new Error(`tuple of unknown type ${JSON.stringify(never)}`);
    }
  }
}

/** Whether the lists of an Allow rule cover the whole tuple; `when` is not looked at. */
export function covers(rule: CompiledRule, tuple: SqlTuple, kind: StatementKind | undefined): boolean {
  const { sql } = rule;
  // The schema refuses an Allow without these lists; an Allow that says nothing grants nothing.
  if (sql?.kinds === undefined || sql.relations === undefined || kind === undefined || !sql.kinds.has(kind))
    return false;
  switch (tuple.type) {
    case 'kind':
      return true;
    case 'relation':
      return sql.relations.matches(tuple.schema, tuple.name);
    case 'function':
      switch (tuple.judgement) {
        case 'safe':
        case 'volatile':
          return true;
        case 'dangerous':
          return sql.functions?.names(tuple.schema, tuple.name) === true;
        case 'user':
        case 'unknown':
          return sql.functions?.matches(tuple.schema, tuple.name) === true;
        default: {
          const never: never = tuple.judgement;
          throw new Error(`function with unknown judgement ${String(never)}`);
        }
      }
    default: {
      const never: never = tuple;
      throw new Error(`tuple of unknown type ${JSON.stringify(never)}`);
    }
  }
}

/**
 * Whether the lists of a Deny or RequireApproval rule hit the tuple; `when` is not looked at. A list that is absent means any, except
 * that a rule which lists only relations is not about functions, and the other way round. A function whose sub-statement is not there
 * counts as one of unknown kind.
 */
export function hits(rule: CompiledRule, tuple: SqlTuple, kind: StatementKind | undefined): boolean {
  const { sql } = rule;
  if (rule.protocol === undefined) return true;
  if (sql === undefined) return false;
  // It could touch anything.
  if (kind === undefined || isOpaque(kind)) return true;
  if (sql.kinds !== undefined && !sql.kinds.has(kind)) return false;
  switch (tuple.type) {
    case 'kind':
      return sql.relations === undefined && sql.functions === undefined;
    case 'relation':
      return sql.relations === undefined
        ? sql.functions === undefined
        : sql.relations.matches(tuple.schema, tuple.name);
    case 'function':
      return sql.functions === undefined
        ? sql.relations === undefined
        : sql.functions.matches(tuple.schema, tuple.name);
    default: {
      const never: never = tuple;
      throw new Error(`tuple of unknown type ${JSON.stringify(never)}`);
    }
  }
}

/** `NAMESPACE/POLICY/RULE`: how a rule is named to people, and the order in which rules are listed. */
export function ruleName(ref: RuleRef): string {
  return `${ref.namespace}/${ref.policy}/${ref.rule}`;
}
