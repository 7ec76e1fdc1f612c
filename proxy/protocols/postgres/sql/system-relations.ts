/**
 * The parts of the system catalog that need no rule of their own (docs/policy.md, semantics 8): what drivers, psql's \d family,
 * pg_dump and the usual tools read. An allow list: a relation of a newer server is an ordinary relation until it is listed here.
 *
 * Never listed: what tells other people's data or secrets. pg_authid, pg_shadow, pg_user_mapping(s): passwords. pg_statistic,
 * pg_statistic_ext_data, pg_stats*: values of columns. pg_largeobject: data. pg_hba_file_rules, pg_ident_file_mappings,
 * pg_file_settings, pg_config: files of the server. pg_stat_statements, pg_stat_replication, pg_stat_wal_receiver,
 * pg_stat_subscription: other people's statements and hosts.
 */
const HARMLESS: ReadonlySet<string> = new Set(
  (
    'pg_aggregate pg_am pg_amop pg_amproc pg_attrdef pg_attribute pg_auth_members pg_available_extension_versions ' +
    'pg_available_extensions pg_cast pg_class pg_collation pg_constraint pg_conversion pg_cursors pg_database ' +
    'pg_db_role_setting pg_default_acl pg_depend pg_description pg_enum pg_event_trigger pg_extension ' +
    'pg_foreign_data_wrapper pg_foreign_server pg_foreign_table pg_group pg_index pg_indexes pg_inherits pg_init_privs ' +
    'pg_language pg_largeobject_metadata pg_locks pg_matviews pg_namespace pg_opclass pg_operator pg_opfamily ' +
    'pg_parameter_acl pg_partitioned_table pg_policies pg_policy pg_prepared_statements pg_proc pg_publication ' +
    'pg_publication_namespace pg_publication_rel pg_publication_tables pg_range pg_replication_origin pg_rewrite pg_roles ' +
    'pg_rules pg_seclabel pg_seclabels pg_sequence pg_sequences pg_settings pg_shdepend pg_shdescription pg_shseclabel ' +
    'pg_stat_all_indexes pg_stat_all_tables pg_stat_archiver pg_stat_bgwriter pg_stat_checkpointer pg_stat_database ' +
    'pg_stat_database_conflicts pg_stat_io pg_stat_progress_analyze pg_stat_progress_basebackup pg_stat_progress_cluster ' +
    'pg_stat_progress_copy pg_stat_progress_create_index pg_stat_progress_vacuum pg_stat_slru pg_stat_sys_indexes ' +
    'pg_stat_sys_tables pg_stat_user_functions pg_stat_user_indexes pg_stat_user_tables pg_stat_wal pg_stat_xact_all_tables ' +
    'pg_stat_xact_sys_tables pg_stat_xact_user_functions pg_stat_xact_user_tables pg_statio_all_indexes ' +
    'pg_statio_all_sequences pg_statio_all_tables pg_statio_sys_indexes pg_statio_sys_sequences pg_statio_sys_tables ' +
    'pg_statio_user_indexes pg_statio_user_sequences pg_statio_user_tables pg_statistic_ext pg_subscription_rel pg_tables pg_tablespace ' +
    'pg_timezone_abbrevs pg_timezone_names pg_transform pg_trigger pg_ts_config pg_ts_config_map pg_ts_dict pg_ts_parser ' +
    'pg_ts_template pg_type pg_user pg_views'
  ).split(' '),
);

/** Harmless apart from these columns: only where no part of the statement can reach them. */
const PARTLY: Readonly<Record<string, ReadonlySet<string>>> = {
  pg_stat_activity: new Set(['query', 'application_name', 'client_addr', 'client_hostname', 'client_port']),
  pg_stat_gssapi: new Set(['principal']),
  pg_stat_ssl: new Set(['client_dn', 'client_serial', 'issuer_dn']),
  pg_subscription: new Set(['subconninfo']),
};

const INFORMATION_SCHEMA_SECRETS: ReadonlySet<string> = new Set([
  'user_mapping_options',
  '_pg_user_mappings',
  'user_mappings',
]);

export type CatalogAccess = 'harmless' | 'ordinary' | { readonly secretColumns: ReadonlySet<string> };

export function systemRelation(schema: string, name: string): CatalogAccess {
  if (schema === 'information_schema') return INFORMATION_SCHEMA_SECRETS.has(name) ? 'ordinary' : 'harmless';
  if (schema !== 'pg_catalog') return 'ordinary';
  if (HARMLESS.has(name)) return 'harmless';
  const secretColumns = Object.hasOwn(PARTLY, name) ? PARTLY[name] : undefined;
  return secretColumns === undefined ? 'ordinary' : { secretColumns };
}
