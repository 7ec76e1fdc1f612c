import type { Command, SqlTuple, SshTuple, Tuple } from './command.ts';
import { isOpaque } from './kinds.ts';
import { type CompiledRule, covers, hits, kindOf } from './rule.ts';
import { coversSsh, hitsSsh } from './ssh/match.ts';

/** Matching of rules and tuples, whatever their protocol. */

export function isSshTuple(tuple: Tuple): tuple is SshTuple {
  switch (tuple.type) {
    case 'relation':
    case 'kind':
    case 'function':
      return false;
    case 'exec':
    case 'file':
    case 'forward':
    case 'channel':
    case 'subsystem':
    case 'opaque':
      return true;
    default: {
      const never: never = tuple;
      throw new Error(`tuple of unknown type ${JSON.stringify(never)}`);
    }
  }
}

function sqlKind(tuple: SqlTuple, command: Command): ReturnType<typeof kindOf> {
  return command.protocol === 'Postgres' ? kindOf(tuple, command) : undefined;
}

/** Whether the lists of an Allow rule cover the whole tuple; `when` is not looked at. */
export function coversTuple(rule: CompiledRule, tuple: Tuple, command: Command): boolean {
  if (!isSshTuple(tuple)) return covers(rule, tuple, sqlKind(tuple, command));
  return rule.ssh !== undefined && command.protocol === 'SSH' && coversSsh(rule.ssh, tuple, command.loginUser);
}

/**
 * What could touch anything: so every Deny and RequireApproval rule of the protocol hits it. A wrapper is, until an Allow rule names it.
 */
export function isOpaqueTuple(tuple: Tuple, command: Command, allow: readonly CompiledRule[]): boolean {
  if (!isSshTuple(tuple)) {
    const kind = sqlKind(tuple, command);
    return kind === undefined || isOpaque(kind);
  }
  if (tuple.type === 'opaque' || command.protocol !== 'SSH') return true;
  if (tuple.type !== 'exec' || !tuple.wrapper) return false;
  return !allow.some(({ ssh }) => ssh?.commands !== undefined && coversNamed(ssh, tuple, command.loginUser));
}

/** Covered by a pattern that names the program, not by the operation Opaque. */
function coversNamed(ssh: NonNullable<CompiledRule['ssh']>, tuple: SshTuple, loginUser: string): boolean {
  const named = new Set(ssh.operations);
  named.delete('Opaque');
  return coversSsh({ ...ssh, operations: named }, tuple, loginUser);
}

/** Whether the lists of a Deny or RequireApproval rule hit the tuple; `when` is not looked at. */
export function hitsTuple(rule: CompiledRule, tuple: Tuple, command: Command, opaque: boolean): boolean {
  if (rule.protocol === undefined) return true;
  if (!isSshTuple(tuple)) return hits(rule, tuple, sqlKind(tuple, command));
  if (rule.ssh === undefined) return false;
  return opaque || command.protocol !== 'SSH' || hitsSsh(rule.ssh, tuple, command.loginUser);
}
