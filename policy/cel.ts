import { CelScalar, celEnv, celFunc, isCelError, parse, plan } from '@bufbuild/cel';
import { type Expr, ExprSchema } from '@bufbuild/cel-spec/cel/expr/syntax_pb.js';
import { create } from '@bufbuild/protobuf';
import { CEL_CAPS, checkExpression } from './cel-check.ts';
import { timeFunctions } from './cel-time.ts';
import type { CelVariables } from './cel-variables.ts';
import { compilePattern, type Pattern } from './pattern.ts';

/** A compiled `when`. */
export interface Condition {
  readonly text: string;
  /** What the expression reads, such as `command.text`; also of one that did not compile, as far as it is known. */
  readonly paths: ReadonlySet<string>;
  /** Set when the expression does not compile: `evaluate` then always fails with it. */
  readonly error?: string;
  evaluate(variables: CelVariables): ConditionResult;
}

/** `error`: the expression could not be evaluated; what that means is up to the effect of the rule (docs/policy.md, semantics 9). */
export type ConditionResult = boolean | { readonly error: string };

/** Turns of all macros of one evaluation together. Lists of 1,000 inside each other would otherwise be 10^9. */
export const MAX_STEPS = 100_000;
const MAX_ERROR_LENGTH = 300;
const STEP = '@sallyport_step';

// Evaluation is synchronous, so one counter serves all conditions.
let steps = 0;

/** What replaces functions of the library, so that the conformance data can be run on exactly these. */
export const replacements = {
  funcs: [...timeFunctions],
  re2: {
    compile(source: string): Pattern {
      const pattern = compilePattern(source);
      if (typeof pattern === 'string') throw new Error(`matches: ${pattern}`);
      return pattern;
    },
  },
};

const environment = celEnv({
  ...replacements,
  funcs: [
    ...replacements.funcs,
    celFunc(STEP, [], CelScalar.BOOL, () => {
      steps += 1;
      if (steps > MAX_STEPS)
        throw new Error(`more than ${MAX_STEPS} steps: the lists are too long for this expression`);
      return true;
    }),
  ],
});

/** Compiles one expression. Never throws: an expression that cannot be used becomes a condition that always fails. */
export function compileCondition(text: string): Condition {
  if (text.length > CEL_CAPS.characters) {
    return broken(text, `the expression has ${text.length} characters; at most ${CEL_CAPS.characters} are taken`);
  }
  let root: Expr;
  try {
    root = parse(text).expr;
  } catch (error) {
    // Deep nesting ends the parser with a RangeError, everything else with a syntax error: both mean that it is not usable.
    return broken(text, error instanceof RangeError ? 'the expression is nested too deep' : describe(error));
  }
  const { paths, errors } = checkExpression(
    root,
    (name) => name !== STEP && environment.funcs.find(name) !== undefined,
  );
  if (errors.length > 0) return broken(text, errors.join('; '), paths);
  let program: ReturnType<typeof plan>;
  try {
    program = plan(environment, countSteps(root));
  } catch (error) {
    return broken(text, describe(error), paths);
  }
  return {
    text,
    paths,
    evaluate(variables) {
      for (const path of variables.oversized) {
        if (paths.has(path)) return { error: `${path} is too large for a condition` };
      }
      steps = 0;
      const result = program(variables.bindings);
      if (typeof result === 'boolean') return result;
      if (isCelError(result)) return { error: describe(result) };
      return { error: 'the expression gives neither true nor false' };
    },
  };
}

function broken(text: string, error: string, paths: ReadonlySet<string> = new Set()): Condition {
  return { text, paths, error, evaluate: () => ({ error }) };
}

/** Values of claims may stand in a message of the library, so it is kept short. */
function describe(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.length > MAX_ERROR_LENGTH ? `${message.slice(0, MAX_ERROR_LENGTH)}…` : message;
}

/** Makes every turn of every macro call the step function, since the library has no budget of its own. */
function countSteps(expr: Expr): Expr {
  const kind = expr.exprKind;
  switch (kind.case) {
    case 'selectExpr':
      if (kind.value.operand !== undefined) kind.value.operand = countSteps(kind.value.operand);
      return expr;
    case 'callExpr':
      if (kind.value.target !== undefined) kind.value.target = countSteps(kind.value.target);
      kind.value.args = kind.value.args.map(countSteps);
      return expr;
    case 'listExpr':
      kind.value.elements = kind.value.elements.map(countSteps);
      return expr;
    case 'structExpr':
      for (const entry of kind.value.entries) {
        if (entry.keyKind.case === 'mapKey') entry.keyKind.value = countSteps(entry.keyKind.value);
        if (entry.value !== undefined) entry.value = countSteps(entry.value);
      }
      return expr;
    case 'comprehensionExpr': {
      const { iterRange, accuInit, loopCondition, loopStep, result } = kind.value;
      if (iterRange !== undefined) kind.value.iterRange = countSteps(iterRange);
      if (accuInit !== undefined) kind.value.accuInit = countSteps(accuInit);
      if (loopStep !== undefined) kind.value.loopStep = countSteps(loopStep);
      if (result !== undefined) kind.value.result = countSteps(result);
      if (loopCondition !== undefined)
        kind.value.loopCondition = both(call(STEP, []), countSteps(loopCondition), expr.id);
      return expr;
    }
    case 'constExpr':
    case 'identExpr':
    case undefined:
      return expr;
    default: {
      const never: never = kind;
      throw new Error(`CEL expression of unknown kind ${JSON.stringify(never)}`);
    }
  }
}

function call(name: string, args: Expr[], id = 0n): Expr {
  return create(ExprSchema, { id, exprKind: { case: 'callExpr', value: { function: name, args } } });
}

function both(left: Expr, right: Expr, id: bigint): Expr {
  return call('_&&_', [left, right], id);
}
