import type { Analysis } from '../sql/types.ts';

/** Locks that belong to the session until it gives them back (manual, section "Advisory Lock Functions"). */
const SESSION_LOCKS: ReadonlySet<string> = new Set([
  'pg_advisory_lock',
  'pg_advisory_lock_shared',
  'pg_try_advisory_lock',
  'pg_try_advisory_lock_shared',
]);

/**
 * What a statement leaves in its session that no later connection can be given, in words: it would be lost without a sign. Parameters
 * and prepared statements of the protocol are carried over instead, and what a transaction keeps for itself ends with it.
 */
export function lastingState({ command, statements }: Analysis): string | undefined {
  for (const tuple of command.tuples) {
    if (tuple.type === 'function' && SESSION_LOCKS.has(tuple.name)) return `a lock of ${tuple.name}`;
    // UNLISTEN is of that kind too, and harmless.
    if (tuple.type === 'kind' && tuple.kind === 'Listen' && tuple.harmless !== true) return 'LISTEN';
  }
  for (const { effects } of statements) {
    for (const effect of effects) {
      switch (effect.type) {
        case 'createTemporary':
          return `the temporary object ${effect.name}`;
        case 'declare':
          if (effect.hold === true) return `the cursor ${effect.cursor} WITH HOLD`;
          break;
        case 'prepare':
          return `PREPARE ${effect.name}`;
        case 'set':
          // The server lists no parameters but its own, so nobody could tell that this one is set.
          if (!effect.local && effect.value !== undefined && effect.name.includes('.'))
            return `the parameter ${effect.name}`;
          break;
        case 'transaction':
        case 'show':
        case 'discard':
        case 'execute':
        case 'deallocate':
        case 'fetch':
        case 'close':
        case 'copy':
        case 'ddl':
          break;
        default:
          return effect satisfies never;
      }
    }
  }
  return undefined;
}
