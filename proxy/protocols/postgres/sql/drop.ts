/** DROP of any object. What else goes with a relation, as far as the catalog tells, gets tuples of its own. */
import type { StatementKind } from '../../../../policy/command.ts';
import type { CatalogRelation } from '../catalog/types.ts';
import { type AstNode, list, listNames, strings, text } from './ast.ts';
import type { Collector, Scope } from './collector.ts';
import { objectKind, RELATION_OBJECTS, RELATION_PARTS } from './statements.ts';

export function walkDrop(node: AstNode, scope: Scope, into: Collector): StatementKind {
  const type = text(node, 'removeType');
  const kind = objectKind('Drop', type);
  const cascade = text(node, 'behavior') === 'DROP_CASCADE';
  const { catalog } = into.environment;
  for (const object of list(node, 'objects')) {
    const names = listNames(object);
    if (type !== undefined && RELATION_OBJECTS.has(type)) {
      for (const { schema, name } of into.existing(kind, names.at(-2), names.at(-1) ?? '', scope)) {
        const relation = catalog?.relation(schema, name);
        if (relation !== undefined) dropDependents(relation, cascade, scope, into);
      }
    } else if (type !== undefined && RELATION_PARTS.has(type)) {
      const relation = names.slice(0, -1);
      into.existing(kind, relation.at(-2), relation.at(-1) ?? '', scope);
    } else if (type === 'OBJECT_SCHEMA' && cascade) {
      const schema = strings([object])[0];
      for (const relation of catalog?.relations() ?? []) {
        if (relation.schema === schema) dropRelation(relation, scope, into);
      }
    }
  }
  const onRelation = type !== undefined && (RELATION_OBJECTS.has(type) || RELATION_PARTS.has(type));
  if (!onRelation) into.kind(kind, scope.statement);
  return kind;
}

function dropRelation(relation: CatalogRelation, scope: Scope, into: Collector): void {
  const kind = DROP_BY_RELKIND[relation.kind];
  if (kind !== undefined) into.relation(kind, relation, scope);
}

const DROP_BY_RELKIND: Readonly<Record<string, StatementKind>> = {
  r: 'DropTable',
  p: 'DropTable',
  f: 'DropTable',
  v: 'DropView',
  m: 'DropView',
  S: 'DropSequence',
};

/** Partitions go with their table; with CASCADE children and dependent views do too. */
function dropDependents(root: CatalogRelation, cascade: boolean, scope: Scope, into: Collector): void {
  const { catalog } = into.environment;
  if (catalog === undefined) return;
  const gone = new Set([root.oid]);
  for (let grew = true; grew; ) {
    grew = false;
    for (const relation of catalog.relations()) {
      if (gone.has(relation.oid)) continue;
      const child = relation.parents.some((oid) => gone.has(oid));
      const view = cascade && (relation.dependsOn ?? []).some((oid) => gone.has(oid));
      if (!child && !view) continue;
      gone.add(relation.oid);
      grew = true;
      dropRelation(relation, scope, into);
    }
  }
}
