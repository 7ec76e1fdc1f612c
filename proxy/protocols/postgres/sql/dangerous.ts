/**
 * Functions that a `*` in an Allow rule never covers (docs/policy.md, semantics 7): they read or write files, run a text as SQL,
 * reach other hosts, tell other people's statements, change the server or other sessions, or write past the statement's kind.
 * The list is generous: whoever needs one names it.
 */

/** Dangerous wherever they live: pg_catalog, or the schema of the contrib extension that brings them. */
const ANYWHERE = new RegExp(
  `^(?:${[
    // Files of the server, and what tells about them.
    'pg_read_.*',
    'pg_ls_.*',
    'pg_stat_file',
    'pg_file_.*',
    'pg_logdir_ls',
    'pg_current_logfile',
    'pg_hba_file_rules',
    'pg_ident_file_mappings',
    'pg_show_all_file_settings',
    // Large objects are data without a relation.
    'lo_.*',
    'loread',
    'lowrite',
    'pg_largeobject.*',
    // Run a text as SQL, or read a relation that is named in an argument.
    'dblink.*',
    'query_to_.*',
    'cursor_to_xml.*',
    '(?:table|schema|database)_to_xml.*',
    'ts_stat',
    'ts_rewrite',
    'xpath_table',
    'crosstab.*',
    'connectby',
    'pgp_.*key.*',
    'cron_.*',
    'schedule(?:_in_database)?',
    'http(?:_.*)?',
    'postgres_fdw_.*',
    'pg_background_.*',
    'table_import_from_s3|query_export_to_s3|aws_.*',
    // Raw pages and tuples, whatever the rights on the table; pg_get_wal_* of pg_walinspect below.
    'get_raw_page.*|heap_page_.*|bt_page_.*|tuple_data_split|page_header|fsm_page_contents|brin_(?:page|revmap|meta).*|gin_(?:leaf|page|meta).*|hash_(?:page|bitmap|meta).*|gist_page.*',
    'pg_truncate_visibility_map|heap_force_.*|pg_surgery.*|verify_heapam|bt_index_.*check',
    // Other sessions, their statements, and the server as a whole.
    'set_config',
    'setval',
    'pg_notify',
    'pg_terminate_.*|pg_cancel_.*',
    'pg_reload_.*|pg_rotate_.*',
    'pg_log_.*',
    'pg_promote|pg_switch_.*|pg_wal_.*|pg_backup_.*|pg_start_backup|pg_stop_.*|pg_is_in_backup',
    'pg_create_.*|pg_drop_.*|pg_copy_.*|pg_sync_.*|pg_logical_.*|pg_replication_.*|pg_show_replication_.*',
    '(?:pg_)?(?:try_)?advisory_(?:xact_)?lock.*|pg_(?:try_)?advisory_(?:xact_)?lock.*',
    'pg_stat_get_(?:activity|backend_activity|wal_senders|wal_receiver|subscription)',
    'pg_stat_get_backend_(?:activity.*|client.*|start|wait.*)',
    'pg_stat_reset.*',
    'pg_stat_statements.*',
    'pg_stat_monitor.*',
    'pg_clear_.*|pg_restore_.*',
    'pg_import_system_collations',
    'pg_extension_config_dump',
    'pg_nextoid',
    'pg_event_trigger.*',
    'pg_control_.*',
    'pg_config',
    'pg_get_(?:shmem.*|backend_memory.*|aios|wal_.*)',
    'binary_upgrade_.*',
    'brin_(?:de)?summarize.*|gin_clean_pending_list',
    'pg_prewarm|autoprewarm.*|pg_buffercache_evict.*',
    'plpgsql_.*handler|plpgsql_validator|dsnowball_.*|.*_inline_handler',
    'lo_manage',
  ].join('|')})$`,
);

/**
 * Volatile functions of pg_catalog that are harmless to other people. A volatile one that is not listed counts as dangerous, so
 * that a function of a newer server is never covered by accident.
 */
const HARMLESS_VOLATILE: ReadonlySet<string> = new Set(
  (
    'array_sample array_shuffle bernoulli clock_timestamp current_query currtid2 currval gen_random_uuid lastval nextval ' +
    'pg_advisory_unlock pg_advisory_unlock_all pg_advisory_unlock_shared pg_blocking_pids pg_collation_actual_version ' +
    'pg_current_wal_flush_lsn pg_current_wal_insert_lsn pg_current_wal_lsn pg_database_collation_actual_version ' +
    'pg_database_size pg_export_snapshot pg_get_multixact_members pg_get_sequence_data pg_get_wait_events pg_indexes_size ' +
    'pg_is_in_recovery pg_is_wal_replay_paused pg_isolation_test_session_is_blocked pg_jit_available ' +
    'pg_last_committed_xact pg_last_wal_receive_lsn pg_last_wal_replay_lsn pg_last_xact_replay_timestamp pg_lock_status ' +
    'pg_notification_queue_usage pg_partition_ancestors pg_partition_tree pg_prepared_xact pg_relation_size ' +
    'pg_safe_snapshot_blocking_pids pg_sequence_last_value pg_sleep pg_sleep_for pg_sleep_until pg_stat_clear_snapshot ' +
    'pg_stat_force_next_flush pg_stat_get_io pg_stat_get_xact_blocks_fetched pg_stat_get_xact_blocks_hit ' +
    'pg_stat_get_xact_function_calls pg_stat_get_xact_function_self_time pg_stat_get_xact_function_total_time ' +
    'pg_stat_get_xact_numscans pg_stat_get_xact_tuples_deleted pg_stat_get_xact_tuples_fetched ' +
    'pg_stat_get_xact_tuples_hot_updated pg_stat_get_xact_tuples_inserted pg_stat_get_xact_tuples_newpage_updated ' +
    'pg_stat_get_xact_tuples_returned pg_stat_get_xact_tuples_updated pg_stat_have_stats pg_table_size ' +
    'pg_tablespace_size pg_total_relation_size pg_xact_commit_timestamp pg_xact_commit_timestamp_origin pg_xact_status ' +
    'random random_normal setseed suppress_redundant_updates_trigger system timeofday tsvector_update_trigger ' +
    'tsvector_update_trigger_column txid_status unique_key_recheck uuidv4 uuidv7'
  ).split(' '),
);

/** Of the volatile ones, those that change something that outlives the statement. */
const CHANGES_STATE: ReadonlySet<string> = new Set(['nextval', 'setseed']);

export const isDangerousName = (name: string): boolean => ANYWHERE.test(name);

export type BuiltinJudgement = 'safe' | 'volatile' | 'dangerous';

/** How a function of pg_catalog is judged, by name and volatility. */
export function judgeBuiltin(name: string, volatility: 'i' | 's' | 'v'): BuiltinJudgement {
  if (isDangerousName(name)) return 'dangerous';
  if (volatility !== 'v') return 'safe';
  return HARMLESS_VOLATILE.has(name) ? 'volatile' : 'dangerous';
}

/** False for a built-in that leaves nothing behind; what is not known is taken to change state. */
export function changesState(name: string, judgement: 'safe' | 'volatile' | 'dangerous' | 'user' | 'unknown'): boolean {
  switch (judgement) {
    case 'safe':
      return false;
    case 'volatile':
      return CHANGES_STATE.has(name);
    case 'dangerous':
    case 'user':
    case 'unknown':
      return true;
  }
}
