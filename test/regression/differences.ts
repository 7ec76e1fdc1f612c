/**
 * The files of the suite in which Sallyport makes a difference, and why. What differs is in expected/FILE.diff; nothing else may.
 * docs/compatibility.md tells users of the same.
 */
export const DIFFERENT: ReadonlyMap<string, string> = new Map([
  ['strings', 'standard_conforming_strings stays on'],
  ['plpgsql', 'standard_conforming_strings stays on'],
]);

/** Left out unless the whole suite is asked for: they take most of its time, waiting for the catalog after each DDL statement. */
export const SLOW: ReadonlySet<string> = new Set(
  (
    'aggregates alter_generic alter_table brin brin_multi btree_index cluster collate collate.icu.utf8 compression ' +
    'constraints create_function_sql create_index create_index_spgist create_table create_table_like create_view domain ' +
    'drop_if_exists equivclass event_trigger fast_default foreign_data foreign_key generated hash_index identity ' +
    'index_including indexing inherit insert insert_conflict join join_hash jsonb matview memoize merge multirangetypes ' +
    'numeric partition_aggregate partition_info partition_join partition_prune plancache plpgsql polymorphism privileges ' +
    'publication rangefuncs rangetypes replica_identity rowsecurity rowtypes rules select_parallel sequence stats ' +
    'stats_ext tablespace triggers truncate tsearch updatable_views update vacuum window with'
  ).split(' '),
);

/** What a difference has of its own run: the session's id, and where in the file it stands. */
export function normalised(difference: string): string {
  return difference.replaceAll(/session [0-9a-z]+-[0-9a-f]{16}/g, 'session ID').replaceAll(/^@@ .* @@$/gm, '@@');
}
