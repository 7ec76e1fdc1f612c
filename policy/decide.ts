import type { CompiledConnection, DecideContext } from './bundle.ts';
import { canonicalJson } from './canonical.ts';
import type { ScopeVariables } from './cel-variables.ts';
import type { Command } from './command.ts';
import type { ApprovalRequirement, Decision, EffectiveLimits, RuleRef } from './decision.ts';
import { type Candidates, type Judged, TupleJudge } from './judge-tuple.ts';
import { loosest, strictest } from './limits.ts';
import { type CompiledRule, ruleName } from './rule.ts';
import { allowedInstead, tupleWords } from './words.ts';

/** Everything that stays the same for one subject on one connection. */
export interface DecisionScope {
  readonly connection: CompiledConnection;
  readonly candidates: Candidates;
  readonly variables: ScopeVariables;
  readonly mayConnect: boolean;
}

/**
 * Decides one command: deny when any tuple is denied, hold when any tuple is held, allow when every tuple is covered. Pure: the same
 * command, context and scope give the same decision.
 *
 * @throws Error when the command is of another protocol than the connection, which no caller may let happen.
 */
export function decide(scope: DecisionScope, command: Command, context: DecideContext): Decision {
  const { connection, candidates } = scope;
  if (command.protocol !== connection.protocol) {
    throw new Error(
      `${connection.namespace}/${connection.name} speaks ${connection.protocol}, not ${command.protocol}`,
    );
  }
  const judge = new TupleJudge(candidates, scope.variables, command, context);
  const judged = command.tuples.map((tuple) => judge.judge(tuple));
  const tuples = judged.map((one) => one.verdict);
  const ceiling = ceilingOf(connection);
  const { reuse } = judge;

  const denied = judged.filter((one) => one.verdict.verdict === 'Deny');
  const firm = denied.filter((one) => one.firm);
  // A statement without any tuple is one that nobody judged. An empty query has neither.
  const unjudged = command.tuples.length === 0 && (command.statements.length > 0 || !scope.mayConnect);
  const observes = connection.mode === 'Observe' && firm.length === 0 && !unjudged && scope.mayConnect;

  if ((denied.length > 0 || unjudged) && !observes) {
    // What a rule says is the better answer than that nothing allows something else.
    const first = denied.find((one) => one.verdict.rules.length > 0) ?? firm[0] ?? denied[0];
    const hint = allowedInstead(candidates.allow);
    const message = first?.verdict.message;
    return {
      verdict: 'Deny',
      tuples,
      rules: uniqueRefs(denied.flatMap((one) => one.verdict.rules)),
      denied: first === undefined ? 'a command without a judgement' : tupleWords(first.verdict.tuple),
      ...(message === undefined ? {} : { message }),
      ...(hint === undefined ? {} : { hint }),
      requirements: [],
      limits: ceiling,
      reuse,
    };
  }

  const held = judged.filter((one) => one.verdict.verdict === 'RequireApproval');
  const limits = limitsOf(judged, ceiling);
  if (held.length > 0 && !observes) {
    const message = held.find((one) => one.verdict.message !== undefined)?.verdict.message;
    return {
      verdict: 'RequireApproval',
      tuples,
      rules: uniqueRefs(held.flatMap((one) => one.verdict.rules)),
      ...(message === undefined ? {} : { message }),
      requirements: requirementsOf(held),
      limits,
      reuse,
    };
  }

  const observed = denied.length > 0 ? 'Deny' : held.length > 0 ? 'RequireApproval' : undefined;
  const wanted = observed === 'Deny' ? denied : held;
  return {
    verdict: 'Allow',
    ...(observed === undefined ? {} : { observed }),
    tuples,
    rules: uniqueRefs((observed === undefined ? judged : wanted).flatMap((one) => one.verdict.rules)),
    ...(observed === 'Deny' && denied[0] !== undefined ? { denied: tupleWords(denied[0].verdict.tuple) } : {}),
    requirements: [],
    limits,
    reuse,
  };
}

function ceilingOf({ limits }: CompiledConnection): EffectiveLimits {
  const { commandsPerMinute, maxRowsReturned, maxBytesReturned, maxRowsAffected } = limits;
  return {
    ...(commandsPerMinute === undefined ? {} : { commandsPerMinute }),
    ...(maxRowsReturned === undefined ? {} : { maxRowsReturned }),
    ...(maxBytesReturned === undefined ? {} : { maxBytesReturned }),
    ...(maxRowsAffected === undefined ? {} : { maxRowsAffected }),
  };
}

/** Loosest over the grants of a tuple, strictest over tuples, over the rules that hold, and under the connection's ceiling. */
function limitsOf(judged: readonly Judged[], ceiling: EffectiveLimits): EffectiveLimits {
  const all = [ceiling];
  let last: readonly CompiledRule[] | undefined;
  for (const { grants, holds } of judged) {
    // Most tuples of a command are covered by one and the same rule.
    const repeated = last !== undefined && grants.length === 1 && last.length === 1 && grants[0] === last[0];
    if (grants.length > 0 && !repeated) all.push(loosest(grants.map((rule) => rule.limits)));
    for (const rule of holds) all.push(rule.limits);
    last = grants;
  }
  return strictest(all);
}

/** One requirement for each rule that holds a tuple, and one for each tuple that is granted only with approval. */
function requirementsOf(held: readonly Judged[]): readonly ApprovalRequirement[] {
  const requirements = new Map<string, ApprovalRequirement>();
  const add = (requirement: ApprovalRequirement | undefined): void => {
    if (requirement !== undefined) requirements.set(ruleName(requirement.rule), requirement);
  };
  for (const { grants, holds } of held) {
    for (const rule of holds) add(rule.approval);
    if (grants.every((rule) => rule.approval !== undefined)) add(easiest(grants));
  }
  return [...requirements].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, requirement]) => requirement);
}

/** Of several grants with approval any one is enough: the one that asks least, so that adding a rule never asks for more. */
function easiest(grants: readonly CompiledRule[]): ApprovalRequirement | undefined {
  let best: ApprovalRequirement | undefined;
  for (const { approval } of grants) {
    if (approval !== undefined && (best === undefined || asksLess(approval, best))) best = approval;
  }
  return best;
}

function asksLess(a: ApprovalRequirement, b: ApprovalRequirement): boolean {
  if (a.requiredApprovals !== b.requiredApprovals) return a.requiredApprovals < b.requiredApprovals;
  if ((a.approvers === undefined) !== (b.approvers === undefined)) return a.approvers === undefined;
  return canonicalJson(a) < canonicalJson(b);
}

/** Each rule once, in the order of their names: neither the order of rules nor that of tuples shows. */
function uniqueRefs(refs: readonly RuleRef[]): readonly RuleRef[] {
  if (refs.length < 2) return refs;
  const unique = new Map<string, RuleRef>();
  for (const ref of refs) unique.set(ruleName(ref), ref);
  if (unique.size === 1) return [...unique.values()];
  return [...unique].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, ref]) => ref);
}
