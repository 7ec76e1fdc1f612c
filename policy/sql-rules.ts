import type { SqlCommand, SqlTuple } from './command.ts';
import { isOpaque } from './kinds.ts';
import type { ProtocolRules } from './protocol-rules.ts';
import { covers, hits, kindOf } from './rule.ts';

/** Judging of SQL. A function whose sub-statement is not there counts as one of unknown kind. */
export const sqlRules: ProtocolRules<SqlTuple, SqlCommand> = {
  covers: (rule, tuple, command) => covers(rule, tuple, kindOf(tuple, command)),
  hits: (rule, tuple, command) => hits(rule, tuple, kindOf(tuple, command)),
  isOpaque(tuple, command) {
    const kind = kindOf(tuple, command);
    return kind === undefined || isOpaque(kind);
  },
  isHarmless(tuple, command) {
    if (tuple.type !== 'function') return isHarmless(tuple);
    // A built-in function is harmless where everything else that its sub-statement does is.
    if (tuple.judgement !== 'safe' && tuple.judgement !== 'volatile') return false;
    return harmlessStatements(command).has(tuple.statement);
  },
  isNeverHeld: () => false,
  reuse: () => 'shape',
};

function isHarmless(tuple: Exclude<SqlTuple, { readonly type: 'function' }>): boolean {
  return tuple.type === 'kind'
    ? tuple.harmless === true && !isOpaque(tuple.kind)
    : tuple.harmlessCatalog === true && tuple.kind === 'Select';
}

// A command is judged tuple by tuple, and often has a function for each column.
const known = new WeakMap<SqlCommand, ReadonlySet<number>>();

function harmlessStatements(command: SqlCommand): ReadonlySet<number> {
  const found = known.get(command);
  if (found !== undefined) return found;
  const harmless = new Set<number>();
  const others = new Set<number>();
  for (const tuple of command.tuples) {
    if (tuple.type !== 'function') (isHarmless(tuple) ? harmless : others).add(tuple.statement);
  }
  for (const statement of others) harmless.delete(statement);
  known.set(command, harmless);
  return harmless;
}
