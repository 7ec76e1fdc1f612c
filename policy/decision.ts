import type { Tuple } from './command.ts';

/** The rule that decided something, as it is shown in denials and written into the record. */
export interface RuleRef {
  readonly namespace: string;
  readonly policy: string;
  readonly rule: string;
  /** metadata.generation, or 1 standalone. */
  readonly generation: number;
}

/** Limits in force for one command: already combined over rules, tuples and the connection (policy.md, semantics 10). */
export interface EffectiveLimits {
  readonly commandsPerMinute?: number;
  readonly maxRowsReturned?: number;
  readonly maxBytesReturned?: number;
  readonly maxRowsAffected?: number;
  readonly maxDurationMs?: number;
}

/** One requirement of an approval; each must be met on its own. */
export interface ApprovalRequirement {
  readonly rule: RuleRef;
  readonly requiredApprovals: number;
  readonly approvers?: { readonly users?: readonly string[]; readonly groups?: readonly string[] };
  readonly timeoutMs: number;
  readonly hold: 'Wait' | 'Reject';
  readonly reuseForMs?: number;
  readonly message?: string;
}

/** Why one tuple came out as it did: what `sallyport explain` prints. */
export interface TupleVerdict {
  readonly tuple: Tuple;
  readonly verdict: 'Allow' | 'Deny' | 'RequireApproval';
  /** `rule`: an explicit rule; `default`: nothing allows it; `harmless`: needs no rule of its own. */
  readonly because: 'rule' | 'default' | 'harmless';
  readonly rules: readonly RuleRef[];
  readonly message?: string;
  /** CEL errors met on the way, as `POLICY/RULE: text`. */
  readonly errors?: readonly string[];
}

/** How long a decision may be reused for the same subject, connection and bundle. */
export type Reuse =
  /** for any text with the same shape (literals stripped): no rule looked at text, literals, session or time */
  | 'shape'
  /** for the identical text only */
  | 'text'
  /** never: a condition looked at `now` or `session` */
  | 'never';

export interface Decision {
  readonly verdict: 'Allow' | 'Deny' | 'RequireApproval';
  /** Verdict that Enforce would have given, when the connection is in Observe mode and let it pass. */
  readonly observed?: 'Deny' | 'RequireApproval';
  readonly tuples: readonly TupleVerdict[];
  /** Rules to name in the record and in a denial: those that authorised an Allow, or that denied. */
  readonly rules: readonly RuleRef[];
  /** For a denial: what was denied, in words, such as `Delete on public.orders`. */
  readonly denied?: string;
  /** `message` of the rule that denied or holds. */
  readonly message?: string;
  /** What the subject may do instead, in words; undefined when nothing. */
  readonly hint?: string;
  readonly requirements: readonly ApprovalRequirement[];
  readonly limits: EffectiveLimits;
  readonly reuse: Reuse;
}
