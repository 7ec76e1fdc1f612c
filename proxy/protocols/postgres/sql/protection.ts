/**
 * The closure of masking rules over a catalog: which columns of which relations hold protected values. From the columns that
 * rules name, down to children and partitions, up to parents, to generated columns, and through views and materialised views, whose definitions are
 * followed column by column.
 */
import { type ColumnMask, type MaskPlan, TRANSFORM_STRICTNESS, type Transform } from '../../../../policy/masking.ts';
import type { Catalog, CatalogRelation } from '../catalog/types.ts';
import { child } from './ast.ts';
import { GuardError } from './guard-errors.ts';
import { Inspection } from './guard-inspection.ts';
import { createWalk } from './guard-select.ts';
import { inspectStatement } from './guard-statements.ts';
import { parse } from './parse.ts';
import type { Origin } from './scope.ts';
import { isHidden, relationTitle } from './scope-relations.ts';
import type { NameEnvironment, ProtectedColumn, Protection } from './types.ts';

type Columns = Map<number, ProtectedColumn>;

/** What a value shows that was computed from a protected one, unless its own rule says something stricter. */
const REDACTED: Transform = { type: 'redact', with: '***' };

function stricter(left: Transform, right: Transform): Transform {
  return TRANSFORM_STRICTNESS[right.type] > TRANSFORM_STRICTNESS[left.type] ? right : left;
}

function combine(left: ColumnMask, right: ColumnMask): ColumnMask {
  if (left === right) return left;
  return {
    transform: stricter(left.transform, right.transform),
    allowEquality: left.allowEquality && right.allowEquality,
    rules: [...new Set([...left.rules, ...right.rules])],
  };
}

function derived(mask: ColumnMask): ColumnMask {
  return { transform: stricter(mask.transform, REDACTED), allowEquality: false, rules: mask.rules };
}

/** Adds a mask to a column of a relation. @returns whether anything changed */
function add(
  into: Map<number, Columns>,
  relation: CatalogRelation,
  attnum: number,
  column: string,
  mask: ColumnMask,
): boolean {
  const columns: Columns = into.get(relation.oid) ?? new Map();
  into.set(relation.oid, columns);
  const before = columns.get(attnum);
  const after = before === undefined ? mask : combine(before.mask, mask);
  if (before !== undefined && sameMask(before.mask, after)) return false;
  columns.set(attnum, { relation: relationTitle(relation), column, mask: after });
  return true;
}

function sameMask(left: ColumnMask, right: ColumnMask): boolean {
  return (
    left.transform.type === right.transform.type &&
    left.allowEquality === right.allowEquality &&
    left.rules.length === right.rules.length
  );
}

const SYSTEM_SCHEMAS: ReadonlySet<string> = new Set(['pg_catalog', 'information_schema', 'pg_toast']);

/** A name that no schema has: what it matches, a rule says with `*` for the schema. */
const NO_SCHEMA = '\u0000';

/**
 * Names with `*` for the schema mean the users' data; drivers could not work were `*.*.name` to mask the system catalog. A rule
 * that names pg_catalog itself is meant as it says.
 */
function named(masks: MaskPlan, relation: CatalogRelation, column: string): ColumnMask | undefined {
  const mask = masks.column(relation.schema, relation.name, column);
  if (mask === undefined || !SYSTEM_SCHEMAS.has(relation.schema)) return mask;
  return masks.column(NO_SCHEMA, relation.name, column) === undefined ? mask : undefined;
}

/** Kinds with rows: tables, partitioned and foreign tables, views, materialised views. */
const WITH_ROWS: ReadonlySet<string> = new Set(['r', 'p', 'f', 'v', 'm']);

/** Makes the closure. */
export function protect(catalog: Catalog, masks: MaskPlan): Protection {
  const covered = new Map<number, Columns>();
  if (masks.hasColumns) {
    for (const relation of catalog.relations()) {
      if (!WITH_ROWS.has(relation.kind)) continue;
      for (const { name, attnum } of relation.columns) {
        const mask = named(masks, relation, name);
        if (mask !== undefined) add(covered, relation, attnum, name, mask);
      }
    }
    if (covered.size > 0) {
      inherit(catalog, covered);
      followGenerated(catalog, covered);
      followViews(catalog, covered);
    }
  }
  return { columns: (oid) => covered.get(oid), empty: covered.size === 0 };
}

/** Children hold rows of what the parent's rules mean; then parents show the rows of all their children. */
function inherit(catalog: Catalog, covered: Map<number, Columns>): void {
  const children = new Map<number, CatalogRelation[]>();
  for (const relation of catalog.relations()) {
    for (const parent of relation.parents) {
      const list = children.get(parent);
      if (list === undefined) children.set(parent, [relation]);
      else list.push(relation);
    }
  }
  spread(catalog, covered, (relation) => children.get(relation.oid) ?? []);
  spread(catalog, covered, (relation) => relation.parents.flatMap((oid) => catalog.relationByOid(oid) ?? []));
}

function spread(
  catalog: Catalog,
  covered: Map<number, Columns>,
  next: (relation: CatalogRelation) => readonly CatalogRelation[],
): void {
  const queue = [...covered.keys()];
  for (let oid = queue.pop(); oid !== undefined; oid = queue.pop()) {
    const relation = catalog.relationByOid(oid);
    if (relation === undefined) continue;
    for (const other of next(relation)) {
      let changed = false;
      for (const { column, mask } of covered.get(oid)?.values() ?? []) {
        // Inheritance pairs columns by name.
        const attnum = other.columns.find((candidate) => candidate.name === column)?.attnum;
        if (attnum !== undefined && add(covered, other, attnum, column, mask)) changed = true;
      }
      if (changed) queue.push(other.oid);
    }
  }
}

/** A generated column holds what its expression makes of others. It cannot be made of another generated one. */
function followGenerated(catalog: Catalog, covered: Map<number, Columns>): void {
  for (const oid of [...covered.keys()]) {
    const relation = catalog.relationByOid(oid);
    for (const { name, attnum, generatedFrom } of relation?.columns ?? []) {
      for (const source of generatedFrom ?? []) {
        const column = covered.get(oid)?.get(source);
        if (relation !== undefined && column !== undefined) add(covered, relation, attnum, name, derived(column.mask));
      }
    }
  }
}

/** Each view after what it depends on. */
function followViews(catalog: Catalog, covered: Map<number, Columns>): void {
  const done = new Set<number>();
  const rowFunctions = protectedRowFunctions(catalog, covered);
  const visit = (relation: CatalogRelation): void => {
    if (done.has(relation.oid)) return;
    // Marked before its dependencies: a cycle, which the server does not allow, ends here.
    done.add(relation.oid);
    if (relation.kind !== 'v' && relation.kind !== 'm') return;
    for (const oid of relation.dependsOn ?? []) {
      const other = catalog.relationByOid(oid);
      if (other !== undefined) visit(other);
    }
    if (concerns(catalog, covered, rowFunctions, relation)) followView(catalog, covered, relation);
  };
  for (const relation of catalog.relations()) visit(relation);
}

/** Names of functions whose rows are those of a protected relation. */
function protectedRowFunctions(catalog: Catalog, covered: Map<number, Columns>): readonly string[] {
  const names = new Set<string>();
  for (const { name, rowsOf } of catalog.allFunctions()) {
    if (rowsOf?.some((relation) => covered.has(relation)) === true) names.add(name);
  }
  return [...names];
}

/** System views that hide something are known by name; initdb records no dependencies for those that user views read. */
function concerns(
  catalog: Catalog,
  covered: Map<number, Columns>,
  rowFunctions: readonly string[],
  view: CatalogRelation,
): boolean {
  if (view.dependsOn?.some((oid) => covered.has(oid)) === true) return true;
  if (SYSTEM_SCHEMAS.has(view.schema)) return false;
  const { definition } = view;
  if (view.dependsOn === undefined || definition === undefined) return true;
  const hidden = (oid: number): boolean => {
    const relation = catalog.relationByOid(oid);
    return relation?.columns.some((column) => isHidden(relation, column.name)) === true;
  };
  if (view.dependsOn.some(hidden) || /pg_stat|pg_largeobject|pg_authid|pg_shadow|pg_user_mapping/.test(definition))
    return true;
  // Quotes are doubled inside a quoted name.
  return rowFunctions.some((name) => definition.includes(name.replaceAll('"', '""')));
}

function followView(catalog: Catalog, covered: Map<number, Columns>, view: CatalogRelation): void {
  const origins = trace(catalog, covered, view);
  view.columns.forEach(({ name, attnum }, index) => {
    const origin = origins === undefined ? undefined : origins[index];
    if (origins === undefined)
      add(covered, view, attnum, name, { transform: REDACTED, allowEquality: false, rules: [] });
    else if (origin !== undefined)
      add(covered, view, attnum, name, origin.bare ? origin.column.mask : derived(origin.column.mask));
  });
}

/** Origins of a view's columns, by position; undefined when its definition cannot be followed with certainty. */
function trace(
  catalog: Catalog,
  covered: Map<number, Columns>,
  view: CatalogRelation,
): readonly (Origin | undefined)[] | undefined {
  if (view.definition === undefined) return undefined;
  const parsed = parse(view.definition);
  const [statement] = parsed.ok ? parsed.statements : [];
  if (statement === undefined) return undefined;
  // Definitions are read with an empty search_path: every name outside pg_catalog is written with its schema.
  const environment: NameEnvironment = {
    searchPath: [],
    role: catalog.role,
    catalog,
    temporary: new Set(),
    prepared: () => undefined,
  };
  const inspection = new Inspection(environment, 'trace', (oid) => covered.get(oid));
  try {
    const result = inspectStatement(createWalk(inspection), child(statement, 'stmt') ?? {});
    const certain = inspection.unresolved.length === 0 && inspection.unknownRelations.length === 0;
    // Dropped columns keep their place in neither list; a view's columns cannot be dropped.
    if (
      !certain ||
      result === undefined ||
      result.open !== undefined ||
      result.columns.length !== view.columns.length
    ) {
      return inspection.touchesProtected || !certain ? undefined : [];
    }
    return result.columns.map((column) => column.origin);
  } catch (error) {
    if (error instanceof GuardError || error instanceof RangeError) return undefined;
    throw error;
  }
}
