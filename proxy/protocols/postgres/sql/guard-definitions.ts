/** Definitions over protected relations: each could copy, test or uncover values, or make the name of a relation lose its mask. */
import type { CatalogRelation } from '../catalog/types.ts';
import { type AstNode, child, isNode, isRangeVar, list, listNames, strings, tagged, text } from './ast.ts';
import { tableItem } from './guard-from.ts';
import { columnTitle, type Inspection, isProtectedRelation, type QueryScope } from './guard-inspection.ts';
import type { Walk } from './guard-select.ts';
import { findRelation, laterMeanings, relationTitle } from './scope-relations.ts';
import type { ProtectedColumn } from './types.ts';

/** The protected relation that a RangeVar names, if it is one; the statement then counts as touching it. */
export function protectedRelation(inspection: Inspection, range: AstNode | undefined): CatalogRelation | undefined {
  if (range === undefined) return undefined;
  const named = findRelation(inspection.environment, range);
  const relation = named.type === 'relation' ? named.relation : named.type === 'temporary' ? named.shadows : undefined;
  const meanings = relation === undefined ? [] : [relation, ...laterMeanings(inspection.environment, range)];
  const found = meanings.find((meaning) => isProtectedRelation(inspection, meaning));
  if (found !== undefined) inspection.touchesProtected = true;
  return found;
}

/** All protected relations that a tree names, at any depth; WITH names are not looked at: a false hit refuses, never lets pass. */
export function protectedRelations(inspection: Inspection, node: unknown): CatalogRelation[] {
  if (Array.isArray(node)) return node.flatMap((item) => protectedRelations(inspection, item));
  if (!isNode(node)) return [];
  return inspection.deeper(() => {
    const own = isRangeVar(node) ? protectedRelation(inspection, node) : undefined;
    const below = Object.values(node).flatMap((value) => protectedRelations(inspection, value));
    return own === undefined ? below : [own, ...below];
  });
}

export function protectedColumn(
  inspection: Inspection,
  relation: CatalogRelation,
  name: string,
): ProtectedColumn | undefined {
  const attnum = relation.columns.find((column) => column.name === name)?.attnum;
  return attnum === undefined ? undefined : inspection.protectedColumns(relation.oid)?.get(attnum);
}

/** Refuses when any of the named columns is protected. */
export function refuseColumns(
  inspection: Inspection,
  relation: CatalogRelation,
  names: readonly string[],
  place: string,
): void {
  for (const name of names) {
    const column = protectedColumn(inspection, relation, name);
    if (column !== undefined) inspection.violation('SPG401', columnTitle(column), place);
  }
}

/** A scope in which only the relation is seen: for expressions of indexes, constraints, policies and statistics. */
export function relationScope(walk: Walk, range: AstNode): QueryScope {
  return { parent: undefined, items: [tableItem(walk, range)], ctes: undefined };
}

export function createIndex(walk: Walk, body: AstNode): void {
  const range = child(body, 'relation') ?? {};
  const relation = protectedRelation(walk.inspection, range);
  if (relation === undefined) return;
  const elements = [...list(body, 'indexParams'), ...list(body, 'indexIncludingParams')].map(
    (node) => child(node, 'IndexElem') ?? {},
  );
  refuseColumns(
    walk.inspection,
    relation,
    elements.map((element) => text(element, 'name') ?? ''),
    'an index',
  );
  const scope = relationScope(walk, range);
  walk.expressions.walk([elements.map((element) => element.expr), body.whereClause], scope, 'an index');
}

export function createStatistics(walk: Walk, body: AstNode): void {
  for (const node of list(body, 'relations')) {
    const range = child(node, 'RangeVar') ?? {};
    const relation = protectedRelation(walk.inspection, range);
    if (relation === undefined) continue;
    const elements = list(body, 'exprs').map((item) => child(item, 'StatsElem') ?? {});
    refuseColumns(
      walk.inspection,
      relation,
      elements.map((element) => text(element, 'name') ?? ''),
      'statistics',
    );
    walk.expressions.walk(
      elements.map((element) => element.expr),
      relationScope(walk, range),
      'statistics',
    );
  }
}

export function policy(walk: Walk, body: AstNode): void {
  // Also on other relations: a sub-select in it asks about any.
  const scope = relationScope(walk, child(body, 'table') ?? {});
  walk.expressions.walk([body.qual, body.with_check], scope, 'a row security policy');
}

/** A constraint tells by its failure whether values fulfil it; a foreign key, whether a value exists. */
function constraint(
  walk: Walk,
  body: AstNode,
  owner: CatalogRelation | undefined,
  scope: QueryScope,
  ownColumn: string,
): void {
  const { inspection } = walk;
  const target = protectedRelation(inspection, child(body, 'pktable'));
  if (target !== undefined) {
    const names = strings(list(body, 'pk_attrs'));
    // Without a list it is the primary key, which the snapshot does not know.
    if (names.length === 0) inspection.violation('SPG407', 'A foreign key without column names', relationTitle(target));
    refuseColumns(inspection, target, names, 'a foreign key');
  }
  if (owner === undefined) return;
  const names = [
    ...strings(list(body, 'keys')),
    ...strings(list(body, 'fk_attrs')),
    ...strings(list(body, 'including')),
    ownColumn,
  ];
  const elements = list(body, 'exclusions').flatMap((node) => list(child(node, 'List') ?? {}, 'items'));
  const excluded = elements.map((node) => text(child(node, 'IndexElem') ?? {}, 'name') ?? '');
  refuseColumns(inspection, owner, [...names, ...excluded], 'a constraint');
  walk.expressions.walk([body.raw_expr, body.where_clause, body.exclusions], scope, 'a constraint');
}

function columnDefinition(walk: Walk, body: AstNode, owner: CatalogRelation | undefined, scope: QueryScope): void {
  walk.expressions.walk(body.raw_default, scope, 'a default');
  for (const node of list(body, 'constraints')) {
    const inner = child(node, 'Constraint');
    if (inner !== undefined) constraint(walk, inner, owner, scope, '');
  }
}

export function createTable(walk: Walk, body: AstNode): void {
  const { inspection } = walk;
  for (const node of list(body, 'inhRelations')) {
    const parent = protectedRelation(inspection, child(node, 'RangeVar'));
    if (parent !== undefined) inspection.violation('SPG407', 'Making a child or partition', relationTitle(parent));
  }
  const none: QueryScope = { parent: undefined, items: [], ctes: undefined };
  for (const node of [...list(body, 'tableElts'), ...list(body, 'constraints')]) {
    const inner = tagged(node);
    if (inner?.tag === 'Constraint') foreignKeyOnly(walk, inner.body, none);
    if (inner?.tag === 'ColumnDef') {
      for (const item of list(inner.body, 'constraints')) foreignKeyOnly(walk, child(item, 'Constraint') ?? {}, none);
    }
    if (inner?.tag === 'TableLikeClause') protectedRelation(inspection, child(inner.body, 'relation'));
  }
}

/** Of a new table, whose own columns hold nothing yet. */
function foreignKeyOnly(walk: Walk, body: AstNode, scope: QueryScope): void {
  constraint(walk, body, undefined, scope, '');
}

/** Subcommands that neither read values nor change what a name means. */
const HARMLESS_CHANGES: ReadonlySet<string> = new Set([
  ...['AT_DropNotNull', 'AT_SetStatistics', 'AT_SetOptions', 'AT_ResetOptions', 'AT_SetStorage', 'AT_SetCompression'],
  ...['AT_DropColumn', 'AT_DropConstraint', 'AT_ChangeOwner', 'AT_SetLogged', 'AT_SetUnLogged', 'AT_SetTableSpace'],
  ...[
    'AT_SetRelOptions',
    'AT_ResetRelOptions',
    'AT_EnableTrig',
    'AT_EnableAlwaysTrig',
    'AT_EnableTrigAll',
    'AT_EnableTrigUser',
  ],
  ...['AT_EnableRowSecurity', 'AT_ForceRowSecurity', 'AT_ReplicaIdentity', 'AT_DropCluster', 'AT_SetAccessMethod'],
]);

function withoutForeignKeys(definition: AstNode | undefined): AstNode | undefined {
  if (definition === undefined) return undefined;
  const others = list(definition, 'constraints').filter(
    (node) => child(child(node, 'Constraint') ?? {}, 'pktable') === undefined,
  );
  return { ...definition, constraints: others };
}

export function alterTable(walk: Walk, body: AstNode): void {
  const { inspection } = walk;
  const range = child(body, 'relation') ?? {};
  const owner = protectedRelation(inspection, range);
  const scope: QueryScope =
    owner === undefined ? { parent: undefined, items: [], ctes: undefined } : relationScope(walk, range);
  for (const node of list(body, 'cmds')) {
    const command = child(node, 'AlterTableCmd') ?? {};
    const subtype = text(command, 'subtype') ?? '';
    const definition = tagged(child(command, 'def'));
    // A parent shows the rows of a child: neither side of INHERIT and ATTACH may be protected. Foreign keys are judged by their columns.
    const column = subtype === 'AT_AddColumn' ? definition?.body : undefined;
    const named = definition?.tag === 'Constraint' ? undefined : withoutForeignKeys(definition?.body);
    for (const other of protectedRelations(inspection, named)) {
      inspection.violation('SPG407', 'ALTER TABLE', relationTitle(other));
    }
    if (definition?.tag === 'Constraint') constraint(walk, definition.body, owner, scope, '');
    else if (column !== undefined) columnDefinition(walk, column, owner, scope);
    else if (owner !== undefined) alterProtected(walk, owner, scope, command, subtype, definition?.body ?? {});
  }
}

function alterProtected(
  walk: Walk,
  owner: CatalogRelation,
  scope: QueryScope,
  command: AstNode,
  subtype: string,
  definition: AstNode,
): void {
  if (HARMLESS_CHANGES.has(subtype)) return;
  const name = text(command, 'name') ?? '';
  switch (subtype) {
    case 'AT_ColumnDefault':
      walk.expressions.walk(command.def, scope, 'a default');
      return;
    case 'AT_SetNotNull':
      refuseColumns(walk.inspection, owner, [name], 'SET NOT NULL');
      return;
    case 'AT_AlterColumnType':
      refuseColumns(walk.inspection, owner, [name], 'ALTER COLUMN TYPE');
      walk.expressions.walk(definition.raw_default, scope, 'ALTER COLUMN TYPE');
      return;
    default:
      walk.inspection.violation('SPG407', `ALTER TABLE (${subtype.replace(/^AT_/, '')})`, relationTitle(owner));
  }
}

/** Names decide what is masked: renaming or moving a protected relation, its column or its schema would lift the mask. */
export function rename(inspection: Inspection, body: AstNode): void {
  const type = text(body, 'renameType') ?? text(body, 'objectType') ?? '';
  if (type === 'OBJECT_SCHEMA') {
    const schema = text(body, 'subname');
    for (const relation of inspection.environment.catalog?.relations() ?? []) {
      if (relation.schema === schema && isProtectedRelation(inspection, relation)) {
        inspection.violation('SPG407', 'ALTER SCHEMA', relationTitle(relation));
      }
    }
    return;
  }
  for (const relation of protectedRelations(inspection, body)) {
    inspection.violation('SPG407', 'Renaming or moving', relationTitle(relation));
  }
}

/** Names of relations that a DROP, COMMENT or the like gives as lists of strings. */
export function touchNamed(inspection: Inspection, node: unknown): void {
  if (Array.isArray(node)) {
    for (const item of node) touchNamed(inspection, item);
    return;
  }
  if (!isNode(node)) return;
  const names = listNames(node);
  const [name, schema] = [names.at(-1), names.at(-2)];
  if (name === undefined) return;
  protectedRelation(inspection, { relname: name, ...(schema === undefined ? {} : { schemaname: schema }) });
}
