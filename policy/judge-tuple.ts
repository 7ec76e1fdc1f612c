import type { DecideContext } from './bundle.ts';
import { type CelVariables, commandVariables, type ScopeVariables } from './cel-variables.ts';
import type { Command, Tuple } from './command.ts';
import type { Reuse, TupleVerdict } from './decision.ts';
import type { MaskPlan } from './masking.ts';
import { coversTuple, hitsTuple, isHarmlessTuple, isOpaqueTuple, reuseOfCommand } from './match-tuple.ts';
import { type CompiledRule, ruleName } from './rule.ts';
import { opaqueAdvice, uncoveredAdvice } from './words.ts';

/** What one subject faces on one connection: the rules that are about both, in a fixed order. */
export interface Candidates {
  readonly allow: readonly CompiledRule[];
  readonly deny: readonly CompiledRule[];
  readonly requireApproval: readonly CompiledRule[];
  /** `NAMESPACE/NAME` of the masking rules in force. */
  readonly maskingRules: readonly string[];
  /** Paths that conditions of these rules read. */
  readonly reads: ReadonlySet<string>;
  /** How masking rules protect what is read of a file, or of anything below a folder. */
  readonly protects?: MaskPlan['file'];
}

/** A tuple's verdict with the rules behind it. */
export interface Judged {
  readonly verdict: TupleVerdict;
  /** Denied by a rule, or because nobody can say what it would show: Observe does not let that pass. */
  readonly firm: boolean;
  /** The Allow rules that cover it and count: those without `approval` if there is one, else those with. */
  readonly grants: readonly CompiledRule[];
  /** The RequireApproval rules that hit it. */
  readonly holds: readonly CompiledRule[];
}

const EMPTY: readonly CompiledRule[] = [];

/** Judges the tuples of one command at one time; conditions are evaluated once per rule and sub-statement. */
export class TupleJudge {
  /** How long the verdicts may be reused, from the conditions that were looked at so far. */
  reuse: Reuse;
  readonly #candidates: Candidates;
  readonly #variables: ScopeVariables;
  readonly #command: Command;
  readonly #context: DecideContext;
  #bindings: Map<number, CelVariables> | undefined;
  #results: Map<CompiledRule, Map<number, boolean | { readonly error: string }>> | undefined;

  constructor(candidates: Candidates, variables: ScopeVariables, command: Command, context: DecideContext) {
    this.#candidates = candidates;
    this.#variables = variables;
    this.#command = command;
    this.#context = context;
    this.reuse = reuseOfCommand(command);
  }

  judge(tuple: Tuple): Judged {
    const { allow, deny, requireApproval, maskingRules } = this.#candidates;
    const opaque = isOpaqueTuple(tuple, this.#command, allow);
    const errors: string[] = [];

    const denying = deny.length === 0 ? EMPTY : deny.filter((rule) => this.#hits(rule, tuple, opaque, errors));
    if (denying.length > 0) {
      const message = opaque ? opaqueMessage(denying, tuple) : undefined;
      return this.#decided(tuple, 'Deny', 'rule', denying, errors, {
        firm: true,
        ...(message === undefined ? {} : { message }),
      });
    }

    if (opaque && maskingRules.length > 0) {
      const message = `What it reads cannot be seen from its text, and masking rules are in force here: ${maskingRules.join(', ')}.`;
      return this.#decided(tuple, 'Deny', 'default', EMPTY, errors, { firm: true, message });
    }

    if (tuple.type === 'file' && tuple.unseen === true && tuple.operation === 'ReadFile') {
      const protection = this.#candidates.protects?.(tuple.path, tuple.tree);
      if (protection !== undefined) {
        const message = `Masking rules protect what is read of it: ${protection.rules.join(', ')}.`;
        return this.#decided(tuple, 'Deny', 'default', EMPTY, errors, { firm: true, message });
      }
    }

    const holds =
      requireApproval.length === 0 ? EMPTY : requireApproval.filter((rule) => this.#hits(rule, tuple, opaque, errors));
    const harmless = isHarmlessTuple(tuple, this.#command, allow);
    const covering = harmless ? EMPTY : this.#covering(tuple, errors);
    if (!harmless && covering.length === 0) {
      const message = uncoveredAdvice(tuple);
      return this.#decided(tuple, 'Deny', 'default', EMPTY, errors, message === undefined ? {} : { message });
    }

    // A rule that grants only after approval adds nothing, neither its limits, to what another grants without.
    const free = covering.filter((rule) => rule.approval === undefined);
    const grants = free.length > 0 ? free : covering;
    if (holds.length > 0) return this.#decided(tuple, 'RequireApproval', 'rule', holds, errors, { grants, holds });
    if (harmless) return this.#decided(tuple, 'Allow', 'harmless', EMPTY, errors, {});
    const verdict = free.length > 0 ? 'Allow' : 'RequireApproval';
    return this.#decided(tuple, verdict, 'rule', grants, errors, { grants });
  }

  #decided(
    tuple: Tuple,
    verdict: TupleVerdict['verdict'],
    because: TupleVerdict['because'],
    rules: readonly CompiledRule[],
    errors: readonly string[],
    rest: {
      firm?: boolean;
      message?: string;
      grants?: readonly CompiledRule[];
      holds?: readonly CompiledRule[];
    },
  ): Judged {
    const message =
      rest.message ?? (verdict === 'Allow' ? undefined : rules.find((rule) => rule.message !== undefined)?.message);
    return {
      verdict: {
        tuple,
        verdict,
        because,
        rules: rules.map((rule) => rule.ref),
        ...(message === undefined ? {} : { message }),
        ...(errors.length === 0 ? {} : { errors }),
      },
      firm: rest.firm === true,
      grants: rest.grants ?? EMPTY,
      holds: rest.holds ?? EMPTY,
    };
  }

  #covering(tuple: Tuple, errors: string[]): readonly CompiledRule[] {
    let covering: CompiledRule[] | undefined;
    for (const rule of this.#candidates.allow) {
      if (!coversTuple(rule, tuple, this.#command)) continue;
      if (rule.when !== undefined) {
        const result = this.#condition(rule, tuple.statement);
        if (typeof result !== 'boolean') errors.push(`${ruleName(rule.ref)}: ${result.error}`);
        if (result !== true) continue;
      }
      covering ??= [];
      covering.push(rule);
    }
    return covering ?? EMPTY;
  }

  /** A condition that fails counts as met here: an error must never open what a rule closes. */
  #hits(rule: CompiledRule, tuple: Tuple, opaque: boolean, errors: string[]): boolean {
    if (!hitsTuple(rule, tuple, this.#command, opaque)) return false;
    if (rule.when === undefined) return true;
    // What the command does is not known, so a condition about it says nothing.
    if (opaque && readsCommand(rule)) return true;
    const result = this.#condition(rule, tuple.statement);
    if (typeof result === 'boolean') return result;
    errors.push(`${ruleName(rule.ref)}: ${result.error}`);
    return true;
  }

  #condition(rule: CompiledRule, statement: number): boolean | { readonly error: string } {
    const { when } = rule;
    if (when === undefined) return true;
    this.reuse = shorter(this.reuse, reuseOf(when.paths));
    this.#results ??= new Map();
    let results = this.#results.get(rule);
    if (results === undefined) {
      results = new Map();
      this.#results.set(rule, results);
    }
    let result = results.get(statement);
    if (result === undefined) {
      result = when.evaluate(this.#variablesOf(statement));
      results.set(statement, result);
    }
    return result;
  }

  #variablesOf(statement: number): CelVariables {
    this.#bindings ??= new Map();
    let bindings = this.#bindings.get(statement);
    if (bindings === undefined) {
      bindings = commandVariables(this.#variables, this.#command, statement, this.#context, this.#candidates.reads);
      this.#bindings.set(statement, bindings);
    }
    return bindings;
  }
}

/** The message of a rule about something else would only confuse; that of a rule about everything is the answer. */
function opaqueMessage(denying: readonly CompiledRule[], tuple: Tuple): string | undefined {
  const everything = denying.find((rule) => rule.protocol === undefined && rule.message !== undefined);
  if (everything !== undefined) return everything.message;
  return `What it does cannot be seen from its text, so every Deny rule applies to it: ${opaqueAdvice(tuple)}.`;
}

function readsCommand(rule: CompiledRule): boolean {
  // An expression that does not compile may read anything.
  if (rule.when?.error !== undefined) return true;
  for (const path of rule.when?.paths ?? []) if (path.startsWith('command.')) return true;
  return false;
}

/** What of a command is not in its text: the body of a request, its headers, what is there already. */
const BESIDE_TEXT =
  /^command\.(kubernetes\.(object|replicas|previousReplicas)|http\.(headers|contentType|body)|mcp\..*)$/;

/** How long a verdict holds that looked at these paths. */
export function reuseOf(paths: ReadonlySet<string>): Reuse {
  let reuse: Reuse = 'shape';
  for (const path of paths) {
    if (path === 'now' || path.startsWith('session.') || BESIDE_TEXT.test(path)) return 'never';
    if (path === 'command.text' || path === 'command.sql.hasLiterals') reuse = 'text';
  }
  return reuse;
}

const SHORTER: Readonly<Record<Reuse, number>> = { shape: 0, text: 1, never: 2 };

function shorter(a: Reuse, b: Reuse): Reuse {
  return SHORTER[a] >= SHORTER[b] ? a : b;
}
