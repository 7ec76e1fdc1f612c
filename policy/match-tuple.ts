import type { Command, Tuple } from './command.ts';
import { httpRules } from './http/rules.ts';
import { kubernetesRules } from './kubernetes/rules.ts';
import { forAnyTuple, type ProtocolRules, protocolOf } from './protocol-rules.ts';
import type { CompiledRule, Protocol } from './rule.ts';
import { sqlRules } from './sql-rules.ts';
import { sshRules } from './ssh/rules.ts';

/** Matching of rules and tuples, whatever their protocol. */

const RULES: Readonly<Record<Protocol, ProtocolRules>> = {
  Postgres: forAnyTuple('Postgres', sqlRules),
  SSH: forAnyTuple('SSH', sshRules),
  Kubernetes: forAnyTuple('Kubernetes', kubernetesRules),
  HTTP: forAnyTuple('HTTP', httpRules),
};

const rulesOf = (tuple: Tuple): ProtocolRules => RULES[protocolOf(tuple)];

/** Whether the lists of an Allow rule cover the whole tuple; `when` is not looked at. */
export function coversTuple(rule: CompiledRule, tuple: Tuple, command: Command): boolean {
  return rule.protocol === protocolOf(tuple) && rulesOf(tuple).covers(rule, tuple, command);
}

/**
 * What could touch anything: so every Deny and RequireApproval rule of the protocol hits it. A wrapper is, until an Allow rule names it.
 */
export function isOpaqueTuple(tuple: Tuple, command: Command, allow: readonly CompiledRule[]): boolean {
  return rulesOf(tuple).isOpaque(tuple, command, allow);
}

/** What needs no rule of its own as soon as some Allow rule grants anything. */
export function isHarmlessTuple(tuple: Tuple, command: Command, allow: readonly CompiledRule[]): boolean {
  return allow.length > 0 && rulesOf(tuple).isHarmless(tuple, command, allow);
}

/** Whether the lists of a Deny or RequireApproval rule hit the tuple; `when` is not looked at. */
export function hitsTuple(rule: CompiledRule, tuple: Tuple, command: Command, opaque: boolean): boolean {
  if (rule.effect === 'RequireApproval' && rulesOf(tuple).isNeverHeld(tuple)) return false;
  if (rule.protocol === undefined) return true;
  return rule.protocol === protocolOf(tuple) && (opaque || rulesOf(tuple).hits(rule, tuple, command));
}

/** How long a decision on the command may be reused where no condition shortens it. */
export function reuseOfCommand(command: Command): 'shape' | 'text' | 'never' {
  return RULES[command.protocol].reuse(command);
}
