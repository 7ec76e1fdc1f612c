/**
 * From a query string to access tuples, effects and layer A's verdict. Pure apart from the parser, and total: whatever cannot be
 * understood comes back as one `Unknown` tuple with `parseError`.
 */
import type { SqlCommand } from '../../../../policy/command.ts';
import type { MaskPlan } from '../../../../policy/masking.ts';
import { type AstNode, isNode, tagged } from './ast.ts';
import { Collector, type Scope } from './collector.ts';
import { indexColumns } from './columns.ts';
import { type GuardResult, guard } from './guard.ts';
import { mayMoveNames } from './hidden-code.ts';
import { nestedWalk } from './nested.ts';
import { type ParseOutcome, parse } from './parse.ts';
import { parseInWorker } from './parse-pool.ts';
import { reachesColumns } from './secret-columns.ts';
import { systemRelation } from './system-relations.ts';
import type { Analyse, AnalysedStatement, Analysis, NameEnvironment, Protection } from './types.ts';
import { type Outcome, walkUtility } from './utility.ts';
import { closeQuery, noteFacts, QUERY_KINDS, walkNode } from './walk.ts';

/** Texts above this many characters are parsed on a worker thread, by `analyseAsync`. */
export const PARSE_INLINE_LIMIT = 16 * 1024;

export const analyse: Analyse = (text, environment, masks, protection) =>
  fromOutcome(text, parse(text), environment, masks, protection);

/** As `analyse`, without holding the event loop while a large text is parsed. */
export async function analyseAsync(
  text: string,
  environment: NameEnvironment,
  masks: MaskPlan,
  protection: Protection | undefined,
  signal?: AbortSignal,
): Promise<Analysis> {
  const outcome = text.length > PARSE_INLINE_LIMIT ? await parseInWorker(text, signal) : parse(text);
  return fromOutcome(text, outcome, environment, masks, protection);
}

function fromOutcome(
  text: string,
  outcome: ParseOutcome,
  environment: NameEnvironment,
  masks: MaskPlan,
  protection: Protection | undefined,
): Analysis {
  if (!outcome.ok) return unparsable(text, outcome.message, outcome.position);
  try {
    return analyseStatements(text, outcome.statements, environment, masks, protection);
  } catch (error) {
    // The walk follows the tree: one that is deep enough to end the stack is as unreadable as one that does not parse.
    const why = error instanceof RangeError ? 'the statement is nested too deeply' : String(error);
    return unparsable(text, why, undefined);
  }
}

function unparsable(text: string, message: string, position: number | undefined): Analysis {
  const facts = {
    kind: 'Unknown',
    hasWhere: false,
    hasLimit: false,
    hasLiterals: false,
    relations: [],
    functions: [],
  } as const;
  return {
    command: {
      protocol: 'Postgres',
      text,
      statements: [facts],
      tuples: [{ type: 'kind', kind: 'Unknown', statement: 0 }],
    },
    statements: [
      {
        kind: 'Unknown',
        writes: true,
        modifiesRows: true,
        returnsRows: true,
        effects: [],
        touchesProtected: true,
        protectedParameters: [],
        protectedLiterals: [],
      },
    ],
    parseError: position === undefined ? { message } : { message, position },
    shapeStable: false,
    staleCatalog: false,
  };
}

/** Analyses parsed statements (RawStmt bodies) of one text. Also used for what PREPARE holds. */
function analyseStatements(
  text: string,
  statements: readonly AstNode[],
  environment: NameEnvironment,
  masks: MaskPlan,
  protection: Protection | undefined,
): Analysis {
  const into = new Collector(environment);
  const guarding = protection === undefined || protection.empty ? undefined : { masks, protection };
  const analysed: AnalysedStatement[] = [];
  let changed = false;
  for (const raw of statements) {
    const tuplesBefore = into.tuples.length;
    const uncertain =
      into.namesUncertain ?? (changed && guarding !== undefined ? 'the catalog changes in the same text' : undefined);
    analysed.push(analyseStatement(raw, into, guarding));
    if (uncertain !== undefined && environment.catalog !== undefined) refuseUncertain(uncertain, tuplesBefore, into);
    const effects = analysed.at(-1)?.effects ?? [];
    if (
      environment.relationsAlike !== true &&
      mayMoveNames(into.tuples.slice(tuplesBefore), effects, environment.catalog)
    )
      into.namesUncertain ??= 'functions of this database change search_path or the role';
    changed ||= analysed.at(-1)?.effects.some((effect) => effect.type === 'ddl') === true;
  }
  if (statements.length === 0) {
    // An empty query string: nothing runs, and the server answers EmptyQueryResponse.
    into.kind('Transaction', into.open('Transaction'), true);
  }
  if (environment.uncommitted === true && environment.relationsAlike !== true) refuseAmbiguous(into);
  const command: SqlCommand = { protocol: 'Postgres', text, statements: into.finishedFacts(), tuples: into.tuples };
  return {
    command,
    statements: analysed,
    ...(into.refusal === undefined ? {} : { refusal: into.refusal }),
    shapeStable: !into.literalsMatter,
    staleCatalog: into.staleCatalog,
  };

  function analyseStatement(
    raw: AstNode,
    into: Collector,
    guarding: { readonly masks: MaskPlan; readonly protection: Protection } | undefined,
  ): AnalysedStatement {
    into.begin();
    const node = tagged(raw['stmt'] as AstNode | undefined);
    const tag = node?.tag ?? '';
    const body = node?.body ?? {};
    const statement = into.open(QUERY_KINDS[tag] ?? 'Unknown');
    const scope: Scope = { statement, executed: true, ctes: undefined, path: into.path, copied: false };
    into.columns = indexColumns(body, into.environment, into.path);
    const first = into.tuples.length;
    const outcome = walkTop(tag, body, scope);
    settleSecrets(body, first, into);
    const result = layerA(tag, raw, outcome, into, guarding);
    if (result?.literalDependent === true) into.literalsMatter = true;
    if (result?.stale === true) into.staleCatalog = true;
    into.refuse(result?.refusal);
    const { ran } = outcome;
    const outputs = result?.outputs ?? ran?.outputs;
    return {
      kind: outcome.kind,
      writes: into.writes,
      modifiesRows: into.modifiesRows,
      returnsRows: outcome.returnsRows,
      effects: into.effects,
      touchesProtected: into.touchesProtected || result?.touchesProtected === true,
      ...(outputs === undefined ? {} : { outputs }),
      protectedParameters: result?.protectedParameters ?? ran?.protectedParameters ?? [],
      protectedLiterals: result?.protectedLiterals ?? [],
    };
  }

  function walkTop(tag: string, body: AstNode, scope: Scope): Outcome {
    const kind = QUERY_KINDS[tag];
    if (kind === undefined) {
      const nested = nestedWalk(into, (query) =>
        analyseStatements(text, [{ stmt: query }], into.environmentNow(), masks, protection),
      );
      return walkUtility(tag, body, scope, into, nested);
    }
    noteFacts(body, scope, into);
    walkNode(tag, body, scope, into);
    closeQuery(kind, scope, into);
    const returnsRows = tag === 'SelectStmt' ? body['intoClause'] === undefined : body['returningClause'] !== undefined;
    return { kind, returnsRows };
  }
}

/** Layer A judges every statement but PREPARE, which carries the verdict on what it holds. Of EXECUTE it judges the values. */
function layerA(
  tag: string,
  raw: AstNode,
  outcome: Outcome,
  into: Collector,
  guarding: { readonly masks: MaskPlan; readonly protection: Protection } | undefined,
): GuardResult | undefined {
  if (guarding === undefined || tag === 'PrepareStmt') return undefined;
  const statement = raw['stmt'];
  if (!isNode(statement)) return undefined;
  return guard(statement, outcome.kind, into.environmentNow(), guarding.masks, guarding.protection);
}

function refuseUncertain(why: string, from: number, into: Collector): void {
  const alike = into.environment.relationsAlike === true;
  const depends = into.tuples
    .slice(from)
    .some((tuple) => (tuple.type === 'relation' ? !alike : tuple.type === 'function' && tuple.judgement !== 'safe'));
  if (!depends) return;
  into.refuse({
    code: 'SPG020',
    reason: `${why}, so the names in a later statement cannot be judged`,
    hint: 'Send the statements one by one.',
  });
}

/** A relation that was dropped, renamed or moved in this transaction lets its name mean another of the search path. */
function refuseAmbiguous(into: Collector): void {
  const { catalog, searchPath } = into.environment;
  for (const tuple of into.tuples) {
    if (tuple.type !== 'relation') continue;
    const other = searchPath.find((schema) => schema !== tuple.schema && catalog?.relation(schema, tuple.name));
    if (other === undefined) continue;
    into.refuse({
      code: 'SPG020',
      reason: `this transaction changes definitions, so ${tuple.name} may mean ${other}.${tuple.name}`,
      hint: 'Commit first, or leave only one schema with that name in search_path.',
    });
    return;
  }
}

/** Catalog relations with secret columns are harmless where the whole statement cannot reach those. */
function settleSecrets(root: AstNode, from: number, into: Collector): void {
  for (let index = from; index < into.tuples.length; index++) {
    const tuple = into.tuples[index];
    if (tuple === undefined || tuple.type !== 'relation' || tuple.kind !== 'Select') continue;
    const access = systemRelation(tuple.schema, tuple.name);
    if (typeof access !== 'object' || reachesColumns(root, access.secretColumns)) continue;
    into.tuples[index] = { ...tuple, harmlessCatalog: true };
  }
}
