/** Statements other than queries: what each does to which relation. One function per family, chosen by node tag. */

import type { StatementKind } from '../../../../policy/command.ts';
import type { CopyFormat } from '../../../masking/copy.ts';
import {
  type AstNode,
  child,
  flag,
  isNode,
  isRangeVar,
  list,
  listNames,
  literal,
  strings,
  tagged,
  text,
  unwrapAll,
} from './ast.ts';
import type { Collector, Scope } from './collector.ts';
import { functionsNamed } from './definition-functions.ts';
import { walkDrop } from './drop.ts';
import { refuseLibraries, walkDiscard, walkSet, walkShow } from './setting-statements.ts';
import {
  CREATING,
  changesCatalog,
  objectKind,
  PLAIN_STATEMENTS,
  RELATION_OBJECTS,
  RELATION_PARTS,
} from './statements.ts';
import { walkTransaction } from './transaction.ts';
import type { AnalysedStatement } from './types.ts';
import { closeQuery, walkInto, walkNode, walkRead, walkSubStatement } from './walk.ts';

/** Of the options of DECLARE (parsenodes.h). */
const CURSOR_OPT_HOLD = 0x0020;

/** What the lane needs to know of a top-level statement besides its tuples. */
export interface Outcome {
  readonly kind: StatementKind;
  readonly returnsRows: boolean;
  /** Set when another, earlier analysed, statement is what runs: EXECUTE. */
  readonly ran?: AnalysedStatement;
}

const outcome = (kind: StatementKind, returnsRows = false): Outcome => ({ kind, returnsRows });

/** Their expressions run with them; PREPARE is analysed as what it prepares. All others keep theirs for later, or have none. */
const RUN_AT_ONCE: ReadonlySet<string> = new Set(['ExplainStmt', 'ExecuteStmt', 'CopyStmt', 'CallStmt']);

function runsAtOnce(tag: string, node: AstNode): boolean {
  return RUN_AT_ONCE.has(tag) || (tag === 'CreateTableAsStmt' && text(node, 'objtype') !== 'OBJECT_MATVIEW');
}

/** Walks a statement that is not a query. `given.statement` is open already; its kind is set here. */
export function walkUtility(tag: string, node: AstNode, given: Scope, into: Collector, nested: NestedWalk): Outcome {
  into.literalsMatter = true;
  const settings = tag === 'VariableSetStmt' || tag === 'DiscardStmt';
  const scope = settings || runsAtOnce(tag, node) ? given : { ...given, later: true };
  for (const names of functionsNamed(tag, node)) into.call(names, scope);
  const settle = (kind: StatementKind, returnsRows = false): Outcome => {
    into.fact(scope).kind = kind;
    if (changesCatalog(kind)) into.effects.push({ type: 'ddl' });
    return outcome(kind, returnsRows);
  };
  switch (tag) {
    case 'TransactionStmt':
      walkTransaction(node, scope, into);
      return settle('Transaction');
    case 'VariableSetStmt':
      return settle(walkSet(node, scope, into));
    case 'VariableShowStmt':
      walkShow(node, scope, into);
      return settle('Show', true);
    case 'DiscardStmt':
      walkDiscard(node, scope, into);
      return settle('Set');
    case 'ConstraintsSetStmt':
      into.kind('Transaction', scope.statement, true);
      return settle('Transaction');
    case 'UnlistenStmt':
      into.kind('Listen', scope.statement, true);
      return settle('Listen');
    case 'DeallocateStmt': {
      const name = text(node, 'name');
      into.effects.push({ type: 'deallocate', name });
      if (name === undefined) into.namesUncertain = 'all prepared statements are deallocated in the same text';
      else into.preparedHere.set(name, null);
      into.kind('Transaction', scope.statement, true);
      return settle('Transaction');
    }
    case 'FetchStmt':
      // What a cursor shows was judged when it was declared; the lane judges it again when names or policy moved.
      into.effects.push({ type: 'fetch', cursor: text(node, 'portalname') ?? '' });
      into.kind('Select', scope.statement, true);
      return settle('Select', !flag(node, 'ismove'));
    case 'ClosePortalStmt':
      into.effects.push({ type: 'close', cursor: text(node, 'portalname') });
      into.kind('Transaction', scope.statement, true);
      return settle('Transaction');
    case 'DeclareCursorStmt': {
      const query = tagged(child(node, 'query'));
      const hold = (Number(node['options'] ?? 0) & CURSOR_OPT_HOLD) !== 0;
      into.effects.push({ type: 'declare', cursor: text(node, 'portalname') ?? '', ...(hold ? { hold } : {}) });
      if (query !== undefined) walkNode(query.tag, query.body, scope, into);
      closeQuery('Select', scope, into);
      return settle('Select');
    }
    case 'ExplainStmt':
      return nested.explain(node, scope);
    case 'PrepareStmt':
      return nested.prepare(node, scope);
    case 'ExecuteStmt':
      return nested.execute(node, scope);
    case 'CopyStmt':
      return settle(walkCopy(node, scope, into));
    case 'CreateTableAsStmt': {
      const kind = text(node, 'objtype') === 'OBJECT_MATVIEW' ? 'CreateView' : 'CreateTable';
      const target = child(node, 'into');
      if (target !== undefined) walkInto(target, scope, into, kind);
      nested.source(child(node, 'query'), scope);
      return settle(kind);
    }
    case 'ViewStmt': {
      const view = child(node, 'view');
      if (view !== undefined) into.created('CreateView', view, scope);
      walkRead({ ...node, view: undefined }, scope, into);
      into.writes = true;
      return settle('CreateView');
    }
    case 'CreateStmt':
      walkCreateTable(node, scope, into);
      return settle('CreateTable');
    case 'CreateForeignTableStmt':
      walkCreateTable(child(node, 'base') ?? {}, scope, into);
      walkRead({ ...node, base: undefined }, scope, into);
      return settle('CreateTable');
    case 'CreateSchemaStmt':
      into.kind('CreateSchema', scope.statement);
      into.writes = true;
      walkSchema(node, scope, nested);
      return settle('CreateSchema');
    case 'ImportForeignSchemaStmt':
      into.kind('CreateTable', scope.statement);
      into.kind('CreateOther', scope.statement);
      into.writes = true;
      return settle('CreateOther');
    case 'DefineStmt':
      into.writes = true;
      walkRead(node, scope, into);
      return settle(walkDefine(node, scope, into));
    case 'DropStmt':
      into.writes = true;
      return settle(walkDrop(node, scope, into));
    case 'TruncateStmt':
      into.writes = true;
      into.modifiesRows = true;
      for (const item of list(node, 'relations')) {
        const relation = child(item, 'RangeVar');
        if (relation !== undefined) into.rangeVar('Truncate', relation, scope);
      }
      // CASCADE empties tables that the text does not name: whoever may do anything may do that.
      if (text(node, 'behavior') === 'DROP_CASCADE') into.kind('Opaque', scope.statement);
      return settle('Truncate');
    case 'AlterTableStmt':
    case 'RenameStmt':
    case 'AlterObjectSchemaStmt':
    case 'AlterOwnerStmt':
    case 'AlterObjectDependsStmt':
      into.writes = true;
      return settle(walkAlter(tag, node, scope, into));
    case 'CommentStmt':
    case 'SecLabelStmt':
      into.writes = true;
      return settle(walkComment(tag, node, scope, into));
    case 'GrantStmt':
    case 'AlterDefaultPrivilegesStmt':
      into.writes = true;
      return settle(walkGrant(node, scope, into));
    case 'GrantRoleStmt': {
      const kind = flag(node, 'is_grant') ? 'Grant' : 'Revoke';
      into.kind(kind, scope.statement);
      into.writes = true;
      // Rights of another role, or none any more: the search path may skip other schemas now.
      into.effects.push({ type: 'ddl' });
      return settle(kind);
    }
    case 'VacuumStmt': {
      const kind = flag(node, 'is_vacuumcmd') ? 'Vacuum' : 'Analyze';
      into.writes = true;
      walkDirect(kind, node, scope, into);
      return settle(kind);
    }
    case 'CallStmt':
      into.writes = true;
      into.kind('Opaque', scope.statement);
      walkRead(node, scope, into);
      return settle('Opaque', true);
    case 'CreateTrigStmt':
    case 'CreateEventTrigStmt':
      into.call(strings(list(node, 'funcname')), scope);
      break;
    case 'AlterRoleSetStmt':
    case 'AlterDatabaseSetStmt':
    case 'AlterSystemStmt':
      // The setting is for other sessions: it is no effect on this one.
      into.writes = true;
      refuseLibraries(child(node, 'setstmt') ?? {}, into);
      into.kind(PLAIN_STATEMENTS[tag] ?? 'Unknown', scope.statement);
      return settle(PLAIN_STATEMENTS[tag] ?? 'Unknown');
    default:
      break;
  }
  const kind = Object.hasOwn(PLAIN_STATEMENTS, tag) ? (PLAIN_STATEMENTS[tag] ?? 'Unknown') : 'Unknown';
  if (kind !== 'Lock' && kind !== 'Listen') into.writes = true;
  if (tag === 'RuleStmt' || tag === 'CreateFunctionStmt') {
    nested.body(node, scope);
    // Bodies run later: no row changes now.
    into.modifiesRows = false;
    walkDirect(kind, { ...node, actions: undefined, sql_body: undefined }, scope, into);
  } else {
    walkDirect(kind, node, scope, into);
  }
  // Its text is read when it is called, in whatever language: like DO, nobody knows what it touches.
  if (tag === 'CreateFunctionStmt' && node['sql_body'] === undefined) into.kind('Opaque', scope.statement);
  // A node of an unknown grammar may do anything, whatever it names.
  if (kind === 'Unknown' || kind === 'Opaque') into.kind(kind, scope.statement);
  return settle(kind);
}

/** The statements that hold statements: analyse.ts knows how to open those. */
export interface NestedWalk {
  explain(node: AstNode, scope: Scope): Outcome;
  prepare(node: AstNode, scope: Scope): Outcome;
  execute(node: AstNode, scope: Scope): Outcome;
  /** CREATE TABLE AS: a query, or EXECUTE. */
  source(node: AstNode | undefined, scope: Scope): void;
  /** CREATE RULE … DO, and functions with an SQL body: what runs later. */
  body(node: AstNode, scope: Scope): void;
  /** CREATE SCHEMA's elements. */
  statement(node: AstNode, scope: Scope): void;
}

/** Nodes whose relation is as much the statement's own as if it stood directly in it. */
const OWN_RELATION: ReadonlySet<string> = new Set([
  'VacuumRelation',
  'PublicationObjSpec',
  'PublicationTable',
  'PartitionCmd',
]);

/** Relations that stand directly in the node get the statement's kind; everything else is read. */
function walkDirect(kind: StatementKind, node: AstNode, scope: Scope, into: Collector): void {
  own(kind, node, scope, into);
  // What is read inside, in a default or a body, does not stand for the statement itself.
  if (!into.hasKind(kind, scope.statement)) into.kind(kind, scope.statement);
}

function own(kind: StatementKind, node: AstNode, scope: Scope, into: Collector): void {
  const direct = (value: unknown): boolean => {
    if (!isNode(value)) return false;
    const inner = isRangeVar(value) ? value : child(value, 'RangeVar');
    if (inner !== undefined) {
      if (CREATING.has(kind)) into.created(kind, inner, scope);
      else into.rangeVar(kind, inner, scope);
      return true;
    }
    const node = tagged(value);
    if (node === undefined || !OWN_RELATION.has(node.tag)) return false;
    own(kind, node.body, scope, into);
    return true;
  };
  for (const key in node) {
    const field = node[key];
    if (Array.isArray(field)) {
      for (const item of field) if (!direct(item)) walkRead(item, scope, into);
    } else if (key === 'pubtable' && isNode(field)) own(kind, field, scope, into);
    else if (!direct(field)) walkRead(field, scope, into);
  }
}

/** How COPY writes rows, for whoever has to find values in them (manual, COPY). */
function copyFormat(options: readonly AstNode[]): CopyFormat {
  const value = (name: string): string | undefined => {
    const option = options.find((each) => text(each, 'defname') === name);
    const argument = option === undefined ? undefined : child(option, 'arg');
    const word = argument === undefined ? undefined : child(argument, 'String');
    return word === undefined ? literal(argument).value : text(word, 'sval');
  };
  const named = value('format')?.toLowerCase();
  const given = {
    delimiter: value('delimiter'),
    quote: value('quote'),
    escape: value('escape'),
    nullText: value('null'),
  };
  const format = named === 'csv' || named === 'binary' ? named : 'text';
  return { format, ...(Object.fromEntries(Object.entries(given).filter(([, each]) => each !== undefined)) as object) };
}

/** COPY: the table's right is CopyTo or CopyFrom, never Read; a program or a file of the server is CopyProgram besides. */
function walkCopy(node: AstNode, scope: Scope, into: Collector): StatementKind {
  const from = flag(node, 'is_from');
  const direction = from ? 'CopyFrom' : 'CopyTo';
  const via = flag(node, 'is_program') ? 'program' : node['filename'] === undefined ? 'stdio' : 'file';
  const kind: StatementKind = via === 'stdio' ? direction : 'CopyProgram';
  const options = unwrapAll(list(node, 'options'), 'DefElem');
  into.effects.push({ type: 'copy', direction: from ? 'from' : 'to', via, format: copyFormat(options) });
  if (from || via !== 'stdio') into.writes = true;
  if (from) into.modifiesRows = true;
  const relation = child(node, 'relation');
  if (relation !== undefined) {
    into.rangeVar(direction, relation, scope);
    if (kind !== direction) into.rangeVar(kind, relation, scope);
  } else if (kind !== direction) {
    into.kind(kind, scope.statement);
  }
  const query = tagged(child(node, 'query'));
  if (query !== undefined) {
    const copied = { ...scope, copied: true };
    if (query.tag === 'SelectStmt') walkNode(query.tag, query.body, copied, into);
    else walkSubStatement(query.tag, query.body, copied, into);
  }
  // Each relation that is read is a CopyTo tuple of its own; without any the kind stands alone.
  if (!into.hasKind(kind, scope.statement)) into.kind(kind, scope.statement);
  walkRead(node['whereClause'], scope, into);
  return kind;
}

function walkCreateTable(node: AstNode, scope: Scope, into: Collector): void {
  into.writes = true;
  const relation = child(node, 'relation');
  if (relation !== undefined) into.created('CreateTable', relation, scope);
  // INHERITS and PARTITION OF change the parent.
  for (const item of list(node, 'inhRelations')) {
    const parent = child(item, 'RangeVar');
    if (parent !== undefined) into.rangeVar('AlterTable', parent, scope);
  }
  walkRead({ ...node, relation: undefined, inhRelations: undefined }, scope, into);
}

function walkSchema(node: AstNode, scope: Scope, nested: NestedWalk): void {
  const role = child(node, 'authrole');
  const schema = text(node, 'schemaname') ?? (role === undefined ? undefined : text(role, 'rolename'));
  // Unqualified names of the elements mean the new schema first.
  const path = schema === undefined ? scope.path : [schema, ...scope.path];
  for (const element of list(node, 'schemaElts')) nested.statement(element, { ...scope, path });
}

function walkDefine(node: AstNode, scope: Scope, into: Collector): StatementKind {
  const type = text(node, 'kind');
  const kind = type === 'OBJECT_TYPE' || type === 'OBJECT_AGGREGATE' ? objectKind('Create', type) : 'CreateOther';
  into.kind(kind, scope.statement);
  return kind;
}

function walkAlter(tag: string, node: AstNode, scope: Scope, into: Collector): StatementKind {
  const type = tag === 'RenameStmt' ? text(node, 'renameType') : (text(node, 'objectType') ?? text(node, 'objtype'));
  const relation = child(node, 'relation');
  // Triggers, policies and rules are renamed on their relation; columns and constraints are the relation's own.
  const onRelation = relation !== undefined;
  const kind = objectKind('Alter', type);
  const target = text(node, 'newschema') ?? undefined;
  if (onRelation) {
    for (const { schema, name } of into.rangeVar(kind, relation, scope)) {
      // The name that it gets must be allowed as well.
      const whole = type !== undefined && RELATION_OBJECTS.has(type);
      const newName = tag === 'RenameStmt' && whole ? (text(node, 'newname') ?? name) : name;
      if (newName !== name || target !== undefined)
        into.relation(kind, { schema: target ?? schema, name: newName }, scope);
    }
  } else {
    into.kind(kind, scope.statement);
    if (tag === 'RenameStmt' && type === 'OBJECT_SCHEMA') renamedWithSchema(kind, node, scope, into);
  }
  for (const item of list(node, 'cmds')) {
    const command = child(item, 'AlterTableCmd') ?? {};
    const definition = tagged(child(command, 'def'));
    if (definition?.tag === 'PartitionCmd') own(kind, definition.body, scope, into);
    else if (definition?.tag === 'RangeVar') into.rangeVar(kind, definition.body, scope);
    else walkRead(command, scope, into);
  }
  return kind;
}

/** Rules are about names: what leaves a schema by its new name must be allowed under both. */
function renamedWithSchema(kind: StatementKind, node: AstNode, scope: Scope, into: Collector): void {
  const schema = text(node, 'subname');
  const newSchema = text(node, 'newname');
  for (const relation of into.environment.catalog?.relations() ?? []) {
    if (relation.schema !== schema || !WITH_ROWS.has(relation.kind)) continue;
    into.relation(kind, relation, scope);
    if (newSchema !== undefined) into.relation(kind, { schema: newSchema, name: relation.name }, scope);
  }
}

/** pg_class.relkind of tables, partitioned and foreign ones, views and materialised views. */
const WITH_ROWS: ReadonlySet<string> = new Set(['r', 'p', 'f', 'v', 'm']);

function walkComment(tag: string, node: AstNode, scope: Scope, into: Collector): StatementKind {
  const kind: StatementKind = tag === 'CommentStmt' ? 'Comment' : 'AlterOther';
  const type = text(node, 'objtype') ?? '';
  const names = listNames(child(node, 'object'));
  const relation = RELATION_OBJECTS.has(type) ? names : RELATION_PARTS.has(type) ? names.slice(0, -1) : [];
  if (relation.length === 0) into.kind(kind, scope.statement);
  else into.existing(kind, relation.at(-2), relation.at(-1) ?? '', scope);
  return kind;
}

function walkGrant(outer: AstNode, scope: Scope, into: Collector): StatementKind {
  // ALTER DEFAULT PRIVILEGES holds a GRANT for what will be made.
  const node = child(outer, 'action') ?? outer;
  const kind: StatementKind = flag(node, 'is_grant') ? 'Grant' : 'Revoke';
  const type = text(node, 'objtype') ?? '';
  const { catalog } = into.environment;
  // Names are not looked up in a schema without USAGE.
  if (type === 'OBJECT_SCHEMA') into.effects.push({ type: 'ddl' });
  switch (text(node, 'targtype')) {
    case 'ACL_TARGET_OBJECT':
    case undefined:
      for (const item of list(node, 'objects')) {
        const relation = child(item, 'RangeVar');
        if (relation !== undefined) into.rangeVar(kind, relation, scope);
      }
      break;
    case 'ACL_TARGET_ALL_IN_SCHEMA': {
      const schemas = new Set(strings(list(node, 'objects')));
      const sequences = type === 'OBJECT_SEQUENCE';
      for (const relation of catalog?.relations() ?? []) {
        if (schemas.has(relation.schema) && (relation.kind === 'S') === sequences && 'rpvmfS'.includes(relation.kind)) {
          into.relation(kind, relation, scope);
        }
      }
      into.kind(kind, scope.statement);
      break;
    }
    default:
      break;
  }
  if (!into.hasKind(kind, scope.statement)) into.kind(kind, scope.statement);
  return kind;
}
