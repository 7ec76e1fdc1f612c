/** What SET, RESET and set_config may change (manual, chapter 19). Names are compared without case, as the server does. */
import type { Catalog } from '../catalog/types.ts';
import type { ResolvedName } from './names.ts';
import type { GuardRefusal } from './types.ts';
import { reachesCatalog } from './written-catalog.ts';

/**
 * Parameters that a client may set with no rule of its own: they change how this session's own results look or how long it
 * waits. search_path is among them, since it gives no right: names are resolved anew under it, and so is every verdict.
 */
const HARMLESS: ReadonlySet<string> = new Set(
  (
    'application_name bytea_output check_function_bodies client_connection_check_interval client_min_messages ' +
    'compute_query_id constraint_exclusion cursor_tuple_fraction datestyle deadlock_timeout default_statistics_target ' +
    'default_table_access_method default_tablespace default_text_search_config default_toast_compression ' +
    'default_transaction_deferrable default_transaction_isolation default_transaction_read_only effective_cache_size ' +
    'enable_async_append enable_bitmapscan enable_gathermerge enable_hashagg enable_hashjoin enable_incremental_sort ' +
    'enable_indexonlyscan enable_indexscan enable_material enable_memoize enable_mergejoin enable_nestloop ' +
    'enable_parallel_append enable_parallel_hash enable_partition_pruning enable_partitionwise_aggregate ' +
    'enable_partitionwise_join enable_presorted_aggregate enable_seqscan enable_sort enable_tidscan ' +
    'escape_string_warning extra_float_digits force_parallel_mode from_collapse_limit geqo geqo_threshold ' +
    'gin_fuzzy_search_limit hash_mem_multiplier icu_validation_level idle_in_transaction_session_timeout ' +
    'idle_session_timeout intervalstyle jit jit_above_cost join_collapse_limit lc_messages lc_monetary lc_numeric ' +
    'lc_time lock_timeout max_parallel_workers_per_gather parallel_leader_participation parallel_setup_cost ' +
    'parallel_tuple_cost plan_cache_mode quote_all_identifiers random_page_cost recursive_worktable_factor restrict_nonsystem_relation_kind row_security ' +
    'search_path seq_page_cost statement_timeout synchronize_seqscans tcp_keepalives_count tcp_keepalives_idle ' +
    'tcp_keepalives_interval tcp_user_timeout timezone timezone_abbreviations transaction_deferrable ' +
    'transaction_isolation transaction_read_only transaction_timeout transform_null_equals work_mem xmlbinary xmloption'
  ).split(' '),
);

/** Parameters on which the reading of a text, or a value's bytes, depends: only these values may be set. */
const PINNED: Readonly<Record<string, readonly string[]>> = {
  client_encoding: ['utf8', 'utf-8', 'unicode'],
  standard_conforming_strings: ['on', 'true', 'yes', '1', 't', 'y', 'tru', 'tr', 'ye'],
  backslash_quote: ['safe_encoding', 'off', 'false', 'no', '0'],
  row_security: ['on', 'off', 'true', 'false', '1', '0', 'yes', 'no'],
  allow_system_table_mods: ['off', 'false', 'no', '0'],
  session_preload_libraries: [],
  local_preload_libraries: [],
  dynamic_library_path: [],
};

const PINNED_REASON: Readonly<Record<string, string>> = {
  client_encoding: 'statements are read, and values masked, as UTF8',
  standard_conforming_strings: 'the meaning of a backslash in a string would change',
  backslash_quote: 'the meaning of a backslash in a string would change',
};

/** The name as the server compares it, with the old aliases (guc.c, map_old_guc_names). */
export function settingName(name: string): string {
  const lower = name.toLowerCase();
  if (lower === 'time zone') return 'timezone';
  if (lower === 'sort_mem') return 'work_mem';
  return lower;
}

/** True when this SET needs no rule. `value` undefined: RESET or DEFAULT, which can only go back to the session's start. */
export function isHarmlessSetting(name: string, value: string | undefined): boolean {
  const key = settingName(name);
  if (key === 'role' || key === 'session_authorization') {
    // Back to the role that signed in: no right is gained.
    return value === undefined || (key === 'role' && value.toLowerCase() === 'none');
  }
  return value === undefined || HARMLESS.has(key) || (Object.hasOwn(PINNED, key) && isPinnedValue(key, value));
}

/** True when any value is harmless: it changes neither what names mean nor what the transaction may do. */
export function isHarmlessAtAnyValue(name: string): boolean {
  const key = settingName(name);
  return HARMLESS.has(key) && !Object.hasOwn(PINNED, key) && key !== 'search_path' && !key.includes('transaction_');
}

function isPinnedValue(key: string, value: string): boolean {
  return (PINNED[key] ?? []).includes(value.trim().toLowerCase());
}

/** Refused whatever the rules say. `known` is false when the value is an expression, as set_config may have. */
export function refuseSetting(name: string, value: string | undefined, known: boolean): GuardRefusal | undefined {
  const key = settingName(name);
  if (key === 'search_path') return refuseSearchPath(value, known);
  if (!Object.hasOwn(PINNED, key)) return undefined;
  if (known && (value === undefined || isPinnedValue(key, value))) return undefined;
  const why = PINNED_REASON[key] ?? 'what the session runs or reads would change';
  return {
    code: 'SPG019',
    reason: `"${key}" may not be set to another value in a session through Sallyport: ${why}`,
    hint: `Leave ${key} as it is.`,
  };
}

/** What names mean would change whenever the definition is used, or the cursor moved: nothing in that text would show it. */
export function refuseLater(key: string): GuardRefusal | undefined {
  if (key !== 'search_path' && key !== 'role' && key !== 'session_authorization') return undefined;
  return {
    code: 'SPG019',
    reason: `"${key}" would be set by a definition or a cursor, so it is not known when`,
    hint: `Use SET ${key}, in a statement of its own.`,
  };
}

function refuseSearchPath(value: string | undefined, known: boolean): GuardRefusal | undefined {
  if (!known || value === undefined || splitSearchPath(value) !== undefined) return undefined;
  return {
    code: 'SPG019',
    reason: 'this value of "search_path" can be read in several ways, so names under it cannot be judged',
    hint: 'Put each schema with unusual letters or spaces in double quotes; names have at most 63 bytes.',
  };
}

/** NAMEDATALEN - 1: the server cuts longer names. */
const MAX_NAME_BYTES = 63;

/** White space of scan.l. A vertical tab is one since PostgreSQL 16 only, so a value that has one outside quotes is not read. */
const SEARCH_PATH_ELEMENT = /[ \t\n\r\f]*(?:"((?:[^"]|"")*)"|([!#-+\--~][!-+\--~]*))[ \t\n\r\f]*(,|$)/y;

/**
 * Splits a search_path value exactly as the server does (varlena.c, SplitIdentifierString); undefined when that is not certain.
 * Which letters outside ASCII it folds depends on its encoding and locale, so they have to stand in quotes, as SET writes them.
 */
export function splitSearchPath(value: string): readonly string[] | undefined {
  const path: string[] = [];
  if (/^[ \t\n\r\f]*$/.test(value)) return path;
  SEARCH_PATH_ELEMENT.lastIndex = 0;
  for (;;) {
    const match = SEARCH_PATH_ELEMENT.exec(value);
    if (match === null) return undefined;
    const name = match[1] === undefined ? (match[2] ?? '').toLowerCase() : match[1].replaceAll('""', '"');
    if (Buffer.byteLength(name) > MAX_NAME_BYTES) return undefined;
    path.push(name);
    if (match[3] === '') return path;
  }
}

/** An UPDATE of pg_settings is a call of set_config for each row (system_views.sql), also through views of users upon it. */
export function refuseSettingsView(
  names: readonly ResolvedName[],
  catalog: Catalog | undefined,
): GuardRefusal | undefined {
  if (!names.some((name) => reachesCatalog(name, catalog, (below) => below === 'pg_settings'))) return undefined;
  return {
    code: 'SPG019',
    reason: 'an UPDATE of pg_settings sets parameters by a condition, so what it sets cannot be judged',
    hint: 'Use SET.',
  };
}
