import type { CompiledConnection, DecideContext, PolicyScope } from '../../../policy/bundle.ts';
import type { Decision, RuleRef } from '../../../policy/decision.ts';
import { decisionFragment } from '../../../record/events.ts';
import type { Catalog } from './catalog/types.ts';
import { type LaneReport, laneError } from './errors.ts';
import { lastingState } from './per-command/lasting.ts';
import { analyse, analyseAsync, PARSE_INLINE_LIMIT } from './sql/analyse.ts';
import { protect } from './sql/protection.ts';
import { shapeKey } from './sql/shape.ts';
import type { Analysis, NameEnvironment, Protection, StatementEffect } from './sql/types.ts';

/**
 * What the lane does with one text in one environment: analysis, decision and what was derived from them once, so that the next
 * arrival of the same text costs a look-up.
 */
export interface Verdict {
  readonly analysis: Analysis;
  readonly decision: Decision;
  /** Undefined: forward. */
  readonly denial: LaneReport | undefined;
  /** Waits for people: to be handed to the approval port before it is denied or forwarded. */
  readonly needsApproval: boolean;
  readonly writes: boolean;
  readonly modifiesRows: boolean;
  readonly touchesProtected: boolean;
  /** Some sub-statement has an effect on the session: the slow path looks at each. */
  readonly hasEffects: boolean;
  readonly hasLimits: boolean;
  /** EXECUTE: what it does is that of a name, which may come to mean another statement. */
  readonly byName: boolean;
  /** EXECUTE and FETCH: the columns of its rows are those of a name, too. */
  readonly rowsByName: boolean;
  /** `,"verdict":…` members of the record, the same for each arrival. */
  readonly recordMembers: string;
  /** The same in UTF-8, made at first use. */
  decisionBytes: Buffer | undefined;
  /** The same behind `,"text":…` of the text that was analysed. */
  recordBytes: Buffer | undefined;
  /** The environment in which all this holds. */
  readonly environment: Environment;
  /** True when the decision must be made anew at each arrival. */
  readonly volatile: boolean;
}

/** One meaning of names, with the verdicts made under it. Interned: equal meanings are the same object. */
export interface Environment {
  readonly key: string;
  readonly searchPath: readonly string[];
  readonly role: string;
  readonly catalog: Catalog | undefined;
  readonly temporary: ReadonlySet<string>;
  readonly uncommitted: boolean;
  readonly protection: Protection | undefined;
  readonly byText: Map<string, Verdict>;
  readonly byShape: Map<string, Verdict>;
}

/** One subject on one connection under one bundle; shared by all its sessions. */
export interface Judgement {
  readonly scope: PolicyScope;
  readonly connection: CompiledConnection;
  environment(names: Omit<Environment, 'key' | 'protection' | 'byText' | 'byShape'>): Environment;
}

const CACHE_LIMIT = 4096;
/** Each holds caches of its own. */
const ENVIRONMENT_LIMIT = 64;

function remember<V>(cache: Map<string, V>, key: string, value: V, limit = CACHE_LIMIT): V {
  // Dropping everything is cheaper than keeping an order on every hit, and a working set of thousands of texts is rare.
  if (cache.size >= limit) cache.clear();
  cache.set(key, value);
  return value;
}

export function createJudgement(scope: PolicyScope, connection: CompiledConnection): Judgement {
  const environments = new Map<string, Environment>();
  const protections = new WeakMap<Catalog, Protection>();
  let inForce: Catalog | undefined;

  function protectionOf(catalog: Catalog | undefined): Protection | undefined {
    if (catalog === undefined || !scope.masks.hasColumns) return undefined;
    let protection = protections.get(catalog);
    if (protection === undefined) {
      protection = protect(catalog, scope.masks);
      protections.set(catalog, protection);
    }
    return protection;
  }

  return {
    scope,
    connection,
    environment(names) {
      // Every DDL statement makes a catalog of some megabytes: environments of older ones must not keep them.
      if (names.catalog !== inForce) environments.clear();
      inForce = names.catalog;
      const key = JSON.stringify([
        names.searchPath,
        names.role,
        names.catalog?.generation ?? 0,
        [...names.temporary].sort(),
        names.uncommitted,
      ]);
      const known = environments.get(key);
      if (known !== undefined) return known;
      const protection = protectionOf(names.catalog);
      const made = { key, ...names, protection, byText: new Map(), byShape: new Map() };
      return remember(environments, key, made, ENVIRONMENT_LIMIT);
    },
  };
}

export function ruleName(rule: RuleRef): string {
  return `${rule.namespace}/${rule.policy}/${rule.rule}`;
}

/** A temporary object that would stand before a relation of the search path: every later verdict on that name would be wrong. */
function shadowed(analysis: Analysis, environment: Environment, scope: PolicyScope): string | undefined {
  const { catalog } = environment;
  if (catalog === undefined || !scope.relationSensitive) return undefined;
  for (const { effects } of analysis.statements) {
    for (const effect of effects) {
      if (effect.type !== 'createTemporary') continue;
      const schema = ['pg_catalog', ...environment.searchPath].find(
        (name) => catalog.relation(name, effect.name) !== undefined,
      );
      if (schema !== undefined) return `${schema}.${effect.name}`;
    }
  }
  return undefined;
}

const READ_ONLY = new Set(['transaction_read_only', 'default_transaction_read_only']);

/** Whether a session that may only read is to be made one that may write: the backstop has to stay. */
function opensWriting(analysis: Analysis, readOnly: boolean): boolean {
  if (!readOnly) return false;
  return analysis.statements.some(({ effects }) =>
    effects.some(
      (effect) =>
        effect.type === 'set' &&
        READ_ONLY.has(effect.name.toLowerCase()) &&
        effect.value !== undefined &&
        !/^(on|true|yes|1)$/i.test(effect.value),
    ),
  );
}

function denialOf(
  analysis: Analysis,
  decision: Decision,
  environment: Environment,
  scope: PolicyScope,
): LaneReport | undefined {
  if (decision.verdict === 'Deny') {
    const rule = decision.rules[0];
    const because = rule === undefined ? 'No rule allows it.' : `Rule ${ruleName(rule)}.`;
    const fill = [decision.denied ?? 'not allowed', decision.message].filter((part) => part).join('. ');
    return laneError('SPG001', fill, { detail: because, ...(decision.hint ? { hint: decision.hint } : {}) });
  }
  if (analysis.refusal !== undefined) {
    const { code, reason, hint } = analysis.refusal;
    return laneError('SPG001', reason, {
      detail: `${code}: this statement could reveal or change what is protected.`,
      hint,
    });
  }
  const lasting = scope.perCommand ? lastingState(analysis) : undefined;
  if (lasting !== undefined) return laneError('SPG040', lasting);
  if (opensWriting(analysis, scope.readOnly)) {
    return laneError('SPG001', 'this session only reads', {
      hint: 'No rule allows you to write here: leave the transaction read only.',
    });
  }
  const hidden = shadowed(analysis, environment, scope);
  if (hidden !== undefined) {
    return laneError('SPG001', `a temporary object would hide ${hidden}`, {
      hint: 'Give the temporary object a name of its own.',
    });
  }
  return undefined;
}

/** Rules of the protected columns that the results show, masked: what a back-test compares. */
export function maskingRulesOf(analysis: Analysis): readonly string[] {
  const rules = new Set<string>();
  for (const { outputs } of analysis.statements) {
    for (const column of outputs ?? []) for (const rule of column?.mask.rules ?? []) rules.add(rule);
  }
  return rules.size === 0 ? [] : [...rules].sort();
}

export function createVerdict(
  analysis: Analysis,
  decision: Decision,
  environment: Environment,
  scope: PolicyScope,
): Verdict {
  const denial = denialOf(analysis, decision, environment, scope);
  const has = (type: StatementEffect['type']): boolean =>
    analysis.statements.some(({ effects }) => effects.some((effect) => effect.type === type));
  // Of a cursor it is not known here what it reads.
  const fetches = has('fetch');
  const byName = has('execute');
  return {
    analysis,
    decision,
    denial,
    needsApproval: denial === undefined && decision.verdict === 'RequireApproval',
    writes: analysis.statements.some((statement) => statement.writes),
    modifiesRows: analysis.statements.some((statement) => statement.modifiesRows),
    touchesProtected:
      analysis.statements.some((statement) => statement.touchesProtected) || (fetches && scope.masks.hasColumns),
    hasEffects: analysis.statements.some((statement) => statement.effects.length > 0),
    hasLimits: Object.keys(decision.limits).length > 0,
    byName,
    rowsByName: byName || fetches,
    recordMembers: decisionFragment(decision, maskingRulesOf(analysis)),
    decisionBytes: undefined,
    recordBytes: undefined,
    environment,
    volatile: decision.reuse === 'never',
  };
}

/** Looks the bytes up without decoding them; undefined: not known, or to be decided anew. */
export function cachedVerdict(
  environment: Environment,
  bytes: Buffer,
  start: number,
  end: number,
): Verdict | undefined {
  const key = shapeKey(bytes, start, end);
  if (key === undefined) return undefined;
  return environment.byShape.get(key);
}

function environmentForAnalysis(
  judgement: Judgement,
  environment: Environment,
  prepared: NameEnvironment['prepared'],
): NameEnvironment {
  return {
    searchPath: environment.searchPath,
    role: environment.role,
    catalog: environment.catalog,
    temporary: environment.temporary,
    uncommitted: environment.uncommitted,
    relationsAlike: !judgement.scope.relationSensitive,
    prepared,
  };
}

/** Analysis of a text: at once for short ones, in a worker thread for long ones. */
export function analyseText(
  judgement: Judgement,
  environment: Environment,
  text: string,
  prepared: NameEnvironment['prepared'],
): Analysis | Promise<Analysis> {
  const names = environmentForAnalysis(judgement, environment, prepared);
  const { masks } = judgement.scope;
  if (text.length > PARSE_INLINE_LIMIT) return analyseAsync(text, names, masks, environment.protection);
  return analyse(text, names, masks, environment.protection);
}

/** As `analyseText`, at once whatever the length: for what was analysed before and is needed to judge another text. */
export function analyseNow(
  judgement: Judgement,
  environment: Environment,
  text: string,
  prepared: NameEnvironment['prepared'],
): Analysis {
  const names = environmentForAnalysis(judgement, environment, prepared);
  return analyse(text, names, judgement.scope.masks, environment.protection);
}

/** Decides an analysed text and keeps the verdict where the decision may be used again. */
export function decideAnalysis(
  judgement: Judgement,
  environment: Environment,
  analysis: Analysis,
  context: DecideContext,
  shape: string | undefined,
): Verdict {
  const decision = judgement.scope.decide(analysis.command, context);
  const verdict = createVerdict(analysis, decision, environment, judgement.scope);
  // What executes a prepared statement means something else in another session.
  if (verdict.byName || analysis.command.text.length > PARSE_INLINE_LIMIT) return verdict;
  remember(environment.byText, analysis.command.text, verdict);
  if (shape !== undefined && decision.reuse === 'shape' && analysis.shapeStable)
    remember(environment.byShape, shape, verdict);
  return verdict;
}

/** Decides again what was analysed before, when the decision depends on time or session. */
export function redecide(judgement: Judgement, verdict: Verdict, context: DecideContext): Verdict {
  const decision = judgement.scope.decide(verdict.analysis.command, context);
  return createVerdict(verdict.analysis, decision, verdict.environment, judgement.scope);
}
