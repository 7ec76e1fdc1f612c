/** Gathers the access tuples and facts of one text while its tree is walked (walk.ts, utility.ts). */
import type {
  FunctionTuple,
  RelationTuple,
  SqlStatementFacts,
  SqlTuple,
  StatementKind,
} from '../../../../policy/command.ts';
import { type AstNode, text } from './ast.ts';
import type { ColumnIndex } from './columns.ts';
import { changesState } from './dangerous.ts';
import { type FunctionCandidate, functionCandidates } from './functions.ts';
import { creationTarget, type ResolvedName, resolveRelation } from './names.ts';
import { systemRelation } from './system-relations.ts';
import type { Analysis, GuardRefusal, NameEnvironment, StatementEffect } from './types.ts';
import { reachesCatalog } from './written-catalog.ts';

/** Names of CTEs that are in sight, innermost first. */
export interface CteScope {
  readonly names: ReadonlySet<string>;
  readonly outer: CteScope | undefined;
}

export interface Scope {
  /** Index of the sub-statement in the command. */
  readonly statement: number;
  /** False inside EXPLAIN without ANALYZE: what would be written is only read (planned). */
  readonly executed: boolean;
  readonly ctes: CteScope | undefined;
  /** Schemas for unqualified names, in order. */
  readonly path: readonly string[];
  /** Inside COPY (query) TO: relations that are read are copied out as well. */
  readonly copied: boolean;
  /** In a definition or a cursor: its functions run later, maybe in another session, when nobody looks at this text. */
  readonly later?: boolean;
  /** The parameter that `name` is in this SELECT FROM pg_settings WHERE name = '…': pg_dump sets one in that way. */
  readonly settingRow?: string | undefined;
}

const WRITES_ROWS: ReadonlySet<StatementKind> = new Set([
  'Insert',
  'Update',
  'Delete',
  'Merge',
  'Truncate',
  'CopyFrom',
]);

interface MutableFacts {
  kind: StatementKind;
  hasWhere: boolean;
  hasLimit: boolean;
  hasLiterals: boolean;
  readonly relations: Set<string>;
  readonly functions: Set<string>;
}

export class Collector {
  readonly environment: NameEnvironment;
  readonly tuples: SqlTuple[] = [];
  readonly facts: MutableFacts[] = [];
  /** Of the current top-level statement. */
  effects: StatementEffect[] = [];
  writes = false;
  modifiesRows = false;
  touchesProtected = false;
  /** Some literal changed the result: the analysis holds for the exact text only. */
  literalsMatter = false;
  staleCatalog = false;
  refusal: GuardRefusal | undefined;
  /** Prepared statements of this text itself, as in `PREPARE p AS …; EXECUTE p`; null: deallocated. */
  readonly preparedHere = new Map<string, Analysis | null>();
  /** The search path where the walk is: a SET search_path earlier in the same text counts. */
  path: readonly string[];
  pathChanged = false;
  /** Why names in later statements of this text cannot be judged now; undefined when they can. */
  namesUncertain: string | undefined;
  /** Tells columns from calls in functional notation, for the current top-level statement. */
  columns: ColumnIndex | undefined;
  readonly #seen = new Set<string>();
  readonly #outer: NameEnvironment;

  /** What this text itself makes counts for its later statements. */
  readonly #temporary: Set<string>;

  constructor(environment: NameEnvironment) {
    this.#temporary = new Set(environment.temporary);
    this.environment = { ...environment, temporary: this.#temporary, prepared: (name) => this.prepared(name) };
    this.#outer = environment;
    this.path = environment.searchPath;
  }

  /** Starts the next top-level statement of the text. */
  begin(): void {
    this.effects = [];
    this.writes = false;
    this.modifiesRows = false;
    this.touchesProtected = false;
  }

  /** The environment with the search path as it is here. */
  environmentNow(): NameEnvironment {
    return { ...this.environment, searchPath: this.path };
  }

  prepared(name: string): Analysis | undefined {
    const here = this.preparedHere.get(name);
    if (here !== undefined) return here ?? undefined; // null: deallocated in this text
    return this.#outer.prepared(name);
  }

  /** Takes over tuples, facts and verdict of a statement that was analysed by itself; its first statement becomes this one. */
  adopt(analysis: Analysis, scope: Scope): void {
    const places = analysis.command.statements.map((facts, index) => {
      const place = index === 0 ? scope.statement : this.open(facts.kind);
      const target = this.facts[place]!;
      if (index > 0 || target.kind === 'Unknown') target.kind = facts.kind;
      target.hasWhere = facts.hasWhere;
      target.hasLimit = facts.hasLimit;
      target.hasLiterals ||= facts.hasLiterals;
      for (const relation of facts.relations) target.relations.add(relation);
      for (const name of facts.functions) target.functions.add(name);
      return place;
    });
    for (const tuple of analysis.command.tuples) {
      this.tuples.push({ ...tuple, statement: places[tuple.statement] ?? scope.statement });
    }
    this.touchesProtected ||= analysis.statements.some((statement) => statement.touchesProtected);
    this.staleCatalog ||= analysis.staleCatalog;
    this.refuse(analysis.refusal);
  }

  /** Opens a sub-statement and returns its index. */
  open(kind: StatementKind): number {
    this.facts.push({
      kind,
      hasWhere: false,
      hasLimit: false,
      hasLiterals: false,
      relations: new Set(),
      functions: new Set(),
    });
    return this.facts.length - 1;
  }

  fact(scope: Scope): MutableFacts {
    return this.facts[scope.statement]!;
  }

  #add(key: string, tuple: SqlTuple): void {
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    this.tuples.push(tuple);
  }

  kind(kind: StatementKind, statement: number, harmless = false): void {
    this.#add(
      `k ${statement} ${kind} ${harmless}`,
      harmless ? { type: 'kind', kind, statement, harmless } : { type: 'kind', kind, statement },
    );
  }

  relation(kind: StatementKind, resolved: ResolvedName, scope: Scope): void {
    const { schema, name } = resolved;
    const base: RelationTuple = { type: 'relation', kind, schema, name, statement: scope.statement };
    const access = kind === 'Select' ? systemRelation(schema, name) : 'ordinary';
    // Columns with secrets: analyse.ts settles it when the whole statement is known.
    const tuple = access === 'harmless' ? { ...base, harmlessCatalog: true } : base;
    this.#add(`r ${scope.statement} ${kind} ${JSON.stringify([schema, name])}`, tuple);
    // Rows of the system catalog are definitions: a name or a function written there passes by every rule about renaming and making it.
    if (WRITES_ROWS.has(kind) && reachesCatalog(resolved, this.environment.catalog, (below) => below.startsWith('pg_')))
      this.kind('Opaque', scope.statement);
    this.fact(scope).relations.add(`${schema}.${name}`);
  }

  /** A relation that exists: every meaning of its name becomes a tuple. */
  existing(kind: StatementKind, schema: string | undefined, name: string, scope: Scope): readonly ResolvedName[] {
    const { found, stale } = resolveRelation(schema, name, this.environment, scope.path);
    if (stale) this.staleCatalog = true;
    for (const resolved of found) this.relation(kind, resolved, scope);
    return found;
  }

  /** A RangeVar body that names an existing relation, not a CTE. */
  rangeVar(kind: StatementKind, node: AstNode, scope: Scope): readonly ResolvedName[] {
    return this.existing(kind, text(node, 'schemaname'), text(node, 'relname') ?? '', scope);
  }

  /** A RangeVar body of a relation that the statement creates. */
  created(kind: StatementKind, node: AstNode, scope: Scope): void {
    const schema = text(node, 'schemaname');
    const name = text(node, 'relname') ?? '';
    const temporary = text(node, 'relpersistence') === 't' || schema === 'pg_temp';
    this.relation(kind, creationTarget({ schema, name, temporary }, this.environment, scope.path), scope);
    if (!temporary) return;
    this.effects.push({ type: 'createTemporary', name });
    this.#temporary.add(name);
  }

  functions(candidates: readonly FunctionCandidate[], scope: Scope): void {
    for (const { schema, name, judgement } of candidates) {
      const tuple: FunctionTuple = { type: 'function', schema, name, statement: scope.statement, judgement };
      this.#add(`f ${scope.statement} ${JSON.stringify([schema, name])} ${judgement}`, tuple);
      this.fact(scope).functions.add(`${schema}.${name}`);
      if (changesState(name, judgement)) this.writes = true;
    }
  }

  /** A call by name, qualified or not. */
  call(names: readonly string[], scope: Scope): void {
    const { candidates, stale } = functionCandidates(names, this.environment, scope.path);
    if (stale) this.staleCatalog = true;
    this.functions(candidates, scope);
  }

  refuse(refusal: GuardRefusal | undefined): void {
    this.refusal ??= refusal;
  }

  /** True when a tuple of the sub-statement names a relation. */
  hasRelation(statement: number): boolean {
    return this.tuples.some((tuple) => tuple.type === 'relation' && tuple.statement === statement);
  }

  /** True when a tuple of the sub-statement, other than a function's, has the kind: then the kind is judged already. */
  hasKind(kind: StatementKind, statement: number): boolean {
    return this.tuples.some(
      (tuple) => tuple.type !== 'function' && tuple.kind === kind && tuple.statement === statement,
    );
  }

  finishedFacts(): readonly SqlStatementFacts[] {
    return this.facts.map((facts) => ({
      kind: facts.kind,
      hasWhere: facts.hasWhere,
      hasLimit: facts.hasLimit,
      hasLiterals: facts.hasLiterals,
      relations: [...facts.relations],
      functions: [...facts.functions],
    }));
  }
}
