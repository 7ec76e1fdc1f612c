/**
 * Walks queries (SELECT, VALUES, INSERT, UPDATE, DELETE, MERGE) and expressions. What is not known by name is walked into, so a
 * relation or call inside a node that this file never heard of still becomes a tuple.
 */
import type { StatementKind } from '../../../../policy/command.ts';
import {
  type AstNode,
  child,
  contains,
  flag,
  isNode,
  isRangeVar,
  list,
  literal,
  strings,
  tagged,
  text,
  unwrap,
  unwrapAll,
} from './ast.ts';
import type { Collector, CteScope, Scope } from './collector.ts';
import { functionalNotation, operatorCandidates, SYNTAX_FUNCTIONS, syntaxCandidates } from './functions.ts';
import { lockedRelations } from './locking.ts';
import { recordSetting } from './setting-statements.ts';
import { isHarmlessAtAnyValue, refuseSettingsView, settingName } from './settings.ts';

const COLUMN: ReadonlySet<string> = new Set(['ColumnRef']);

/** Fields that hold a bare node whose tag matters to the walk. */
const BARE: Readonly<Record<string, string>> = { larg: 'SelectStmt', rarg: 'SelectStmt', funccall: 'FuncCall' };

/** Walks any value of the tree as something that is read. */
export function walkRead(value: unknown, scope: Scope, into: Collector): void {
  if (Array.isArray(value)) {
    for (const item of value) walkRead(item, scope, into);
    return;
  }
  if (!isNode(value)) return;
  if (isRangeVar(value)) {
    readRelation(value, scope, into);
    return;
  }
  for (const key in value) {
    const field = value[key];
    if (typeof field !== 'object' || field === null) continue;
    const first = key.charCodeAt(0);
    const tag = first >= 65 && first <= 90 ? key : BARE[key];
    if (tag !== undefined && isNode(field)) walkNode(tag, field, scope, into);
    else walkRead(field, scope, into);
  }
}

/** A name in FROM: a CTE in sight, or a relation. A qualified name is never a CTE. */
function readRelation(node: AstNode, scope: Scope, into: Collector): void {
  const name = text(node, 'relname') ?? '';
  if (text(node, 'schemaname') === undefined) {
    for (let ctes: CteScope | undefined = scope.ctes; ctes !== undefined; ctes = ctes.outer) {
      if (ctes.names.has(name)) return;
    }
  }
  into.rangeVar('Select', node, scope);
  if (scope.copied) into.rangeVar('CopyTo', node, scope);
}

/** Visits one node of a known tag. */
export function walkNode(tag: string, node: AstNode, scope: Scope, into: Collector): void {
  switch (tag) {
    case 'RangeVar':
      readRelation(node, scope, into);
      return;
    case 'SelectStmt':
      walkSelect(node, scope, into);
      return;
    case 'InsertStmt':
    case 'UpdateStmt':
    case 'DeleteStmt':
    case 'MergeStmt':
      walkModifying(tag, node, scope, into);
      return;
    case 'FuncCall':
      walkCall(node, scope, into);
      return;
    case 'A_Const':
      if (!flag(node, 'isnull')) into.fact(scope).hasLiterals = true;
      return;
    case 'ColumnRef':
      walkColumn(node, scope, into);
      return;
    case 'A_Indirection':
      walkFields(list(node, 'indirection'), scope, into);
      break;
    case 'A_Expr':
      walkOperator(strings(list(node, 'name')).at(-1) ?? '', scope, into);
      break;
    case 'SubLink':
      walkOperator(strings(list(node, 'operName')).at(-1) ?? '=', scope, into);
      break;
    case 'SortBy':
      if (list(node, 'useOp').length > 0) walkOperator(strings(list(node, 'useOp')).at(-1) ?? '', scope, into);
      break;
    case 'CaseExpr':
      if (node['arg'] !== undefined) walkOperator('=', scope, into);
      break;
    case 'JoinExpr':
      if (flag(node, 'isNatural') || list(node, 'usingClause').length > 0) walkOperator('=', scope, into);
      break;
    default:
      if (Object.hasOwn(SYNTAX_FUNCTIONS, tag)) {
        into.functions(syntaxCandidates(tag, into.environment, scope.path), scope);
      }
  }
  walkRead(node, scope, into);
}

function walkOperator(name: string, scope: Scope, into: Collector): void {
  const between = name.includes('BETWEEN');
  for (const operator of between ? ['>=', '<=', '<', '>'] : [name]) {
    into.functions(operatorCandidates(operator, into.environment), scope);
  }
}

/** `a.b` is the call b(a) where `a` has no column b (manual, section 8.16.5): user functions of that name count unless it has. */
function walkColumn(node: AstNode, scope: Scope, into: Collector): void {
  const fields = list(node, 'fields');
  if (fields.length < 2) return;
  const names = strings(fields);
  if (names.length === 2 && into.columns?.isColumn(names[0] ?? '', names[1] ?? '') === true) return;
  walkFields(fields.slice(1), scope, into);
}

function walkFields(fields: readonly AstNode[], scope: Scope, into: Collector): void {
  for (const field of fields) {
    const name = child(field, 'String');
    if (name === undefined) continue;
    const column = text(name, 'sval') ?? '';
    const candidates = functionalNotation(column, into.environment, scope.path);
    if (candidates.length > 0) into.functions(candidates, scope);
  }
}

function walkCall(node: AstNode, scope: Scope, into: Collector): void {
  const names = strings(list(node, 'funcname'));
  const name = names.at(-1) ?? '';
  if (name === 'set_config' && (names.length === 1 || names.at(-2) === 'pg_catalog')) {
    const values = list(node, 'args').map((argument, index) =>
      index === 0 && scope.settingRow !== undefined && isName(argument)
        ? { known: true, value: scope.settingRow }
        : literal(argument),
    );
    if (values.length === 3 && values.every(({ known }) => known)) {
      into.literalsMatter = true;
      const setting = values[0]?.value;
      const local = values[2]?.value;
      if (setting !== undefined && local !== undefined) {
        const isLocal = /^\s*(?:t|tr|tru|true|y|ye|yes|on|1)\s*$/i.test(local);
        recordSetting(setting, values[1]?.value, { known: true, local: isLocal }, scope, into);
        walkRead(node['args'], scope, into);
        return;
      }
    }
    into.literalsMatter = true;
    // Drivers put a setting back by a parameter, as asyncpg does with jit.
    const [setting, , local] = values;
    if (
      values.length === 3 &&
      setting?.known === true &&
      local?.known === true &&
      isHarmlessAtAnyValue(setting.value ?? '')
    ) {
      into.kind('Set', scope.statement, true);
      into.effects.push({ type: 'set', name: settingName(setting.value ?? ''), value: '', local: false });
      walkRead(node['args'], scope, into);
      return;
    }
    into.refuse({
      code: 'SPG019',
      reason: 'set_config is called with arguments that are not literals, so what it sets cannot be judged',
      hint: 'Use SET, or set_config with three literals.',
    });
  }
  into.call(names, scope);
  walkRead({ ...node, funcname: undefined }, scope, into);
}

/** The scope behind a WITH clause: its queries are walked, its names are in sight. PostgreSQL manual, section 7.8. */
function walkWith(node: AstNode, scope: Scope, into: Collector): Scope {
  const clause = child(node, 'withClause');
  if (clause === undefined) return scope;
  const ctes = unwrapAll(list(clause, 'ctes'), 'CommonTableExpr');
  let current = scope;
  if (flag(clause, 'recursive')) {
    // Every name is in sight of every query, before and behind it.
    const names = new Set(ctes.map((cte) => text(cte, 'ctename') ?? ''));
    current = { ...scope, ctes: { names, outer: scope.ctes } };
  }
  for (const cte of ctes) {
    const query = tagged(child(cte, 'ctequery'));
    if (query !== undefined) {
      if (query.tag === 'SelectStmt') walkSelect(query.body, current, into);
      else walkSubStatement(query.tag, query.body, current, into);
    }
    walkRead({ ...cte, ctequery: undefined }, current, into);
    // Without RECURSIVE a name is in sight of what comes after it only: the query itself means the table.
    if (!flag(clause, 'recursive')) {
      current = { ...current, ctes: { names: new Set([text(cte, 'ctename') ?? '']), outer: current.ctes } };
    }
  }
  return current;
}

/** Walks a statement inside another one as a sub-statement of its own. */
export function walkSubStatement(tag: string, body: AstNode, scope: Scope, into: Collector): Scope {
  const statement = into.open(QUERY_KINDS[tag] ?? 'Unknown');
  const inner = { ...scope, statement };
  walkNode(tag, body, inner, into);
  closeQuery(QUERY_KINDS[tag] ?? 'Unknown', inner, into);
  return inner;
}

export const QUERY_KINDS: Readonly<Record<string, StatementKind>> = {
  SelectStmt: 'Select',
  InsertStmt: 'Insert',
  UpdateStmt: 'Update',
  DeleteStmt: 'Delete',
  MergeStmt: 'Merge',
};

/** A query that touches no relation is judged by its kind. */
export function closeQuery(kind: StatementKind, scope: Scope, into: Collector): void {
  if (!into.hasRelation(scope.statement)) into.kind(kind, scope.statement);
}

const SELECT_OWN: ReadonlySet<string> = new Set(['withClause', 'intoClause', 'lockingClause']);

/** Facts of a SELECT come from the outermost one of its sub-statement: `walkTopSelect`. */
export function walkSelect(node: AstNode, scope: Scope, into: Collector): void {
  const inner = { ...walkWith(node, scope, into), settingRow: scope.ctes === undefined ? settingRow(node) : undefined };
  const created = child(node, 'intoClause');
  if (created !== undefined) walkInto(created, inner, into);
  if (list(node, 'lockingClause').length > 0) {
    for (const relation of lockedRelations(node)) {
      if (isCte(relation, inner)) continue;
      into.rangeVar(inner.executed ? 'Lock' : 'Select', relation, inner);
    }
  }
  // A constant in these lists is the number of an output column, so its value changes the meaning.
  for (const field of ['sortClause', 'groupClause', 'distinctClause']) {
    if (list(node, field).length > 0 && hasOrdinal(node[field])) into.literalsMatter = true;
  }
  const rest: Record<string, unknown> = {};
  for (const key in node) if (!SELECT_OWN.has(key)) rest[key] = node[key];
  walkRead(rest, inner, into);
}

const isName = (node: AstNode): boolean => {
  const column = child(node, 'ColumnRef');
  return column !== undefined && strings(list(column, 'fields')).join('.') === 'name';
};

/** The name in `… FROM pg_settings WHERE name = 'NAME'`, exactly; undefined for any other SELECT. */
function settingRow(node: AstNode): string | undefined {
  const from = list(node, 'fromClause');
  const relation = from.length === 1 ? child(from[0]!, 'RangeVar') : undefined;
  if (relation === undefined || text(relation, 'relname') !== 'pg_settings' || relation['alias'] !== undefined)
    return undefined;
  if ((text(relation, 'schemaname') ?? 'pg_catalog') !== 'pg_catalog' || node['withClause'] !== undefined)
    return undefined;
  const where = unwrap(child(node, 'whereClause'), 'A_Expr');
  if (where === undefined || text(where, 'kind') !== 'AEXPR_OP' || strings(list(where, 'name')).join('.') !== '=')
    return undefined;
  if (!isName(child(where, 'lexpr') ?? {})) return undefined;
  const constant = unwrap(child(where, 'rexpr'), 'A_Const');
  return constant === undefined ? undefined : text(child(constant, 'sval') ?? {}, 'sval');
}

function isCte(node: AstNode, scope: Scope): boolean {
  if (text(node, 'schemaname') !== undefined) return false;
  const name = text(node, 'relname') ?? '';
  for (let ctes = scope.ctes; ctes !== undefined; ctes = ctes.outer) if (ctes.names.has(name)) return true;
  return false;
}

function hasOrdinal(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(hasOrdinal);
  if (!isNode(value)) return false;
  const node = tagged(value);
  if (node === undefined) return false;
  if (node.tag === 'A_Const') return true;
  if (node.tag === 'SortBy') return hasOrdinal(node.body['node']);
  return node.tag === 'GroupingSet' && hasOrdinal(node.body['content']);
}

/** SELECT INTO and CREATE TABLE AS: the relation that is made. */
export function walkInto(node: AstNode, scope: Scope, into: Collector, kind: StatementKind = 'CreateTable'): void {
  const relation = child(node, 'rel');
  if (relation !== undefined && scope.executed) {
    into.created(kind, relation, scope);
    into.writes = true;
    into.effects.push({ type: 'ddl' });
  }
  walkRead({ ...node, rel: undefined }, scope, into);
}

/** Fills hasWhere and hasLimit from the statement that a sub-statement is. */
export function noteFacts(node: AstNode, scope: Scope, into: Collector): void {
  const facts = into.fact(scope);
  facts.hasWhere = node['whereClause'] !== undefined;
  const limit = child(node, 'limitCount');
  const constant = limit === undefined ? undefined : child(limit, 'A_Const');
  // LIMIT ALL and LIMIT NULL limit nothing.
  facts.hasLimit = limit !== undefined && !(constant !== undefined && flag(constant, 'isnull'));
}

const MODIFYING_OWN: ReadonlySet<string> = new Set(['withClause', 'relation']);

/** INSERT, UPDATE, DELETE and MERGE: the target keeps the kind, and is read too when one of its columns may be. */
function walkModifying(tag: string, node: AstNode, scope: Scope, into: Collector): void {
  const inner = walkWith(node, scope, into);
  noteFacts(node, inner, into);
  const target = child(node, 'relation');
  // The target of a modifying statement is never a CTE, whatever its name.
  if (target !== undefined) {
    if (inner.executed) {
      for (const kind of writtenKinds(tag, node)) {
        const names = into.rangeVar(kind, target, inner);
        if (kind === 'Update') into.refuse(refuseSettingsView(names, into.environment.catalog));
      }
      into.writes = true;
      into.modifiesRows = true;
    }
    if (!inner.executed || readsTarget(tag, node)) into.rangeVar('Select', target, inner);
    if (inner.copied && node['returningClause'] !== undefined) into.rangeVar('CopyTo', target, inner);
  }
  const rest: Record<string, unknown> = {};
  for (const key in node) if (!MODIFYING_OWN.has(key)) rest[key] = node[key];
  walkRead(rest, inner, into);
}

/** All kinds that a modifying statement needs on its target, as PostgreSQL's own privileges do. */
function writtenKinds(tag: string, node: AstNode): readonly StatementKind[] {
  switch (tag) {
    case 'InsertStmt':
      return text(child(node, 'onConflictClause') ?? {}, 'action') === 'ONCONFLICT_UPDATE'
        ? ['Insert', 'Update']
        : ['Insert'];
    case 'UpdateStmt':
      return ['Update'];
    case 'DeleteStmt':
      return ['Delete'];
    default: {
      const kinds: StatementKind[] = ['Merge'];
      for (const item of list(node, 'mergeWhenClauses')) {
        switch (text(child(item, 'MergeWhenClause') ?? {}, 'commandType')) {
          case 'CMD_INSERT':
            kinds.push('Insert');
            break;
          case 'CMD_UPDATE':
            kinds.push('Update');
            break;
          case 'CMD_DELETE':
            kinds.push('Delete');
            break;
          default:
            break;
        }
      }
      return kinds;
    }
  }
}

function readsTarget(tag: string, node: AstNode): boolean {
  const returning = contains(node['returningClause'], COLUMN);
  switch (tag) {
    case 'InsertStmt': {
      const conflict = child(node, 'onConflictClause');
      return returning || (conflict !== undefined && (conflict['infer'] !== undefined || contains(conflict, COLUMN)));
    }
    case 'MergeStmt':
      return true;
    default:
      return returning || contains(node['whereClause'], COLUMN) || contains(node['targetList'], COLUMN);
  }
}
