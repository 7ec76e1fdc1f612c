import type {
  Command,
  HttpCommand,
  KubernetesCommand,
  KubernetesTuple,
  SqlCommand,
  SqlTuple,
  SshCommand,
  SshTuple,
  Tuple,
  WebTuple,
} from './command.ts';
import type { CompiledRule, Protocol } from './rule.ts';

export interface TupleOf {
  readonly Postgres: SqlTuple;
  readonly SSH: SshTuple;
  readonly Kubernetes: KubernetesTuple;
  readonly HTTP: WebTuple;
}

interface CommandOf {
  readonly Postgres: SqlCommand;
  readonly SSH: SshCommand;
  readonly Kubernetes: KubernetesCommand;
  readonly HTTP: HttpCommand;
}

/** What a protocol brings to the judging of its tuples. Rules are those of its own protocol. */
export interface ProtocolRules<T = Tuple, C = Command> {
  /** Whether the lists of an Allow rule cover the whole tuple; `when` is not looked at. */
  covers(rule: CompiledRule, tuple: T, command: C): boolean;
  /** Whether the lists of a Deny or RequireApproval rule hit the tuple, which is not opaque; `when` is not looked at. */
  hits(rule: CompiledRule, tuple: T, command: C): boolean;
  /** What could touch anything: every Deny and RequireApproval rule of the protocol hits it. */
  isOpaque(tuple: T, command: C, allow: readonly CompiledRule[]): boolean;
  /** What needs no rule of its own as soon as some Allow rule grants anything (docs/policy.md, semantics 8). */
  isHarmless(tuple: T, command: C, allow: readonly CompiledRule[]): boolean;
  /** What no RequireApproval rule ever holds, since a client would stand still before it asks for anything. */
  isNeverHeld(tuple: T): boolean;
  /** How long a decision holds on which no condition has shortened it: for commands of the same shape, the same text, or not at all. */
  reuse(command: C): 'shape' | 'text' | 'never';
}

const PROTOCOL_OF: Readonly<Record<Tuple['type'], Protocol>> = {
  relation: 'Postgres',
  kind: 'Postgres',
  function: 'Postgres',
  exec: 'SSH',
  file: 'SSH',
  forward: 'SSH',
  channel: 'SSH',
  subsystem: 'SSH',
  opaque: 'SSH',
  api: 'Kubernetes',
  path: 'Kubernetes',
  operation: 'Kubernetes',
  unknown: 'Kubernetes',
  http: 'HTTP',
  mcp: 'HTTP',
};

export function protocolOf(tuple: Tuple): Protocol {
  return PROTOCOL_OF[tuple.type];
}

export function isTupleOf<P extends Protocol>(protocol: P, tuple: Tuple): tuple is TupleOf[P] {
  return PROTOCOL_OF[tuple.type] === protocol;
}

function isCommandOf<P extends Protocol>(protocol: P, command: Command): command is CommandOf[P] {
  return command.protocol === protocol;
}

/** Makes the rules of one protocol answer for any tuple: one that is not of its command's protocol is opaque, and nothing covers it. */
export function forAnyTuple<P extends Protocol>(
  protocol: P,
  rules: ProtocolRules<TupleOf[P], CommandOf[P]>,
): ProtocolRules {
  return {
    covers: (rule, tuple, command) =>
      isTupleOf(protocol, tuple) && isCommandOf(protocol, command) && rules.covers(rule, tuple, command),
    hits: (rule, tuple, command) =>
      !isTupleOf(protocol, tuple) || !isCommandOf(protocol, command) || rules.hits(rule, tuple, command),
    isOpaque: (tuple, command, allow) =>
      !isTupleOf(protocol, tuple) || !isCommandOf(protocol, command) || rules.isOpaque(tuple, command, allow),
    isHarmless: (tuple, command, allow) =>
      isTupleOf(protocol, tuple) && isCommandOf(protocol, command) && rules.isHarmless(tuple, command, allow),
    isNeverHeld: (tuple) => isTupleOf(protocol, tuple) && rules.isNeverHeld(tuple),
    reuse: (command) => (isCommandOf(protocol, command) ? rules.reuse(command) : 'never'),
  };
}
