/** What a relation name means in an environment, and which of its columns hold protected values. */
import type { CatalogRelation } from '../catalog/types.ts';
import { type AstNode, text } from './ast.ts';
import type { NameEnvironment, ProtectedColumn } from './types.ts';

export type FoundRelation =
  | { readonly type: 'relation'; readonly relation: CatalogRelation }
  /** A temporary relation of this session; `shadows` is the relation that the name means once it is dropped, or already does. */
  | { readonly type: 'temporary'; readonly shadows: CatalogRelation | undefined }
  | { readonly type: 'unknown' };

function permanent(environment: NameEnvironment, name: string): CatalogRelation | undefined {
  const { catalog, searchPath } = environment;
  if (catalog === undefined) return undefined;
  // pg_catalog comes first unless the path names it (manual, 5.9.5).
  const path = searchPath.includes('pg_catalog') ? searchPath : ['pg_catalog', ...searchPath];
  for (const schema of path) {
    const relation = catalog.relation(schema, name);
    if (relation !== undefined) return relation;
  }
  return undefined;
}

/** @param range a RangeVar body: schemaname, relname; a database name in front must be the current one, which the server checks */
export function findRelation(environment: NameEnvironment, range: AstNode): FoundRelation {
  const schema = text(range, 'schemaname');
  const name = text(range, 'relname') ?? '';
  if (schema !== undefined && schema !== 'pg_temp') {
    const relation = environment.catalog?.relation(schema, name);
    return relation === undefined ? { type: 'unknown' } : { type: 'relation', relation };
  }
  const temporary = environment.temporary.has(name);
  if (schema === 'pg_temp') return temporary ? { type: 'temporary', shadows: undefined } : { type: 'unknown' };
  const relation = permanent(environment, name);
  if (temporary) return { type: 'temporary', shadows: relation };
  return relation === undefined ? { type: 'unknown' } : { type: 'relation', relation };
}

/**
 * What an unqualified name would mean were the relation gone that it means now, which another session may see to at any moment.
 */
export function laterMeanings(environment: NameEnvironment, range: AstNode): readonly CatalogRelation[] {
  const { catalog, searchPath } = environment;
  if (catalog === undefined || text(range, 'schemaname') !== undefined) return [];
  const name = text(range, 'relname') ?? '';
  const found = searchPath.flatMap((schema) => catalog.relation(schema, name) ?? []);
  return found.length < 2 ? [] : found.slice(1);
}

/** The permanent relation that an unqualified name means, temporary ones aside. */
export const visibleRelation = permanent;

export const relationTitle = (relation: CatalogRelation): string => `${relation.schema}.${relation.name}`;

const WITHHELD: ProtectedColumn['mask'] = {
  transform: { type: 'redact', with: '***' },
  allowEquality: false,
  rules: [],
};

/** Values of everybody's columns, sampled by ANALYZE, and blobs: all columns of these. */
const SAMPLES = new Set([
  'pg_statistic',
  'pg_statistic_ext_data',
  'pg_stats',
  'pg_stats_ext',
  'pg_stats_ext_exprs',
  'pg_largeobject',
]);

/** Columns with other people's statements, or credentials: of roles (the gateway's own is one) and of other servers. */
const SECRETS: ReadonlySet<string> = new Set([
  'pg_stat_activity.query',
  'pg_authid.rolpassword',
  'pg_shadow.passwd',
  'pg_user_mapping.umoptions',
  'pg_user_mappings.umoptions',
  'pg_stat_wal_receiver.conninfo',
]);

/** True for what nobody may compute with or see while columns are masked: statistics, statements of others, credentials. */
export function isHidden(relation: CatalogRelation, column: string): boolean {
  // An extension's view, in whatever schema it was installed.
  if (relation.name.startsWith('pg_stat_statements') || relation.name.startsWith('pg_stat_monitor')) return true;
  if (relation.schema !== 'pg_catalog') return false;
  return SAMPLES.has(relation.name) || SECRETS.has(`${relation.name}.${column}`);
}

export function hiddenColumn(relation: CatalogRelation, column: string): ProtectedColumn {
  return { relation: relationTitle(relation), column, mask: WITHHELD };
}

/**
 * Functions that run a text as SQL, or read rows, pages, samples or other people's statements by another way than a table's name.
 * Policy wants most of them named exactly; while anything is masked even that is not enough.
 */
const BYPASSES: ReadonlySet<string> = new Set([
  ...['query_to_xml', 'query_to_xmlschema', 'query_to_xml_and_xmlschema', 'cursor_to_xml', 'cursor_to_xmlschema'],
  ...[
    'table_to_xml',
    'table_to_xmlschema',
    'table_to_xml_and_xmlschema',
    'schema_to_xml',
    'schema_to_xml_and_xmlschema',
  ],
  ...['schema_to_xmlschema', 'database_to_xml', 'database_to_xmlschema', 'database_to_xml_and_xmlschema'],
  ...['ts_stat', 'pg_read_file', 'pg_read_binary_file', 'lo_get', 'loread', 'lo_export', 'lo_import', 'lo_from_bytea'],
  ...['pg_stat_get_activity', 'pg_stat_get_backend_activity', 'pg_mcv_list_items', 'pg_stat_statements'],
  ...['pg_logical_slot_get_changes', 'pg_logical_slot_peek_changes', 'pg_logical_slot_get_binary_changes'],
  ...['pg_logical_slot_peek_binary_changes', 'pg_get_wal_records_info', 'pg_get_wal_block_info'],
  ...[
    'dblink',
    'dblink_exec',
    'dblink_open',
    'dblink_fetch',
    'dblink_send_query',
    'dblink_get_result',
    'dblink_connect',
  ],
  ...['crosstab', 'crosstab2', 'crosstab3', 'crosstab4', 'crosstabn', 'connectby', 'xpath_table', 'get_raw_page'],
  ...['heap_page_items', 'heap_page_item_attrs', 'bt_page_items', 'gin_leafpage_items', 'brin_page_items'],
]);

export function isBypass(name: string, argumentCount: number): boolean {
  // ts_rewrite(query, text) runs its text; with three arguments it does not.
  return BYPASSES.has(name) || (name === 'ts_rewrite' && argumentCount < 3);
}
