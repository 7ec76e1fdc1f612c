import type { CompiledConnection, PolicyScope } from '../../policy/bundle.ts';
import type { Decision } from '../../policy/decision.ts';
import { ruleName } from '../../policy/rule.ts';
import type { Catalog } from '../../proxy/protocols/postgres/catalog/types.ts';
import { maskingRulesOf } from '../../proxy/protocols/postgres/judge.ts';
import type { Analysis } from '../../proxy/protocols/postgres/sql/types.ts';
import type { CommandView } from '../../record/commands.ts';

export type Verdict = Decision['verdict'];

export type Change =
  | 'allow-to-deny'
  | 'allow-to-approval'
  | 'deny-to-allow'
  | 'deny-to-approval'
  | 'approval-to-allow'
  | 'approval-to-deny'
  | 'masks-added'
  | 'masks-removed';

export const CHANGES: readonly Change[] = [
  'allow-to-deny',
  'allow-to-approval',
  'deny-to-allow',
  'deny-to-approval',
  'approval-to-allow',
  'approval-to-deny',
  'masks-added',
  'masks-removed',
];

export interface JudgedChange {
  readonly change: Change;
  /** Rules that make it so, without generations: those that decide now; where none does, the reason in words. */
  readonly because: string;
  /** What was denied, and what the rule tells the agent. */
  readonly denied?: string;
  readonly message?: string;
}

/** What a decision was made on. */
export interface Ground {
  readonly connection: CompiledConnection;
  readonly scope: PolicyScope;
  /** Undefined when the database was not asked. */
  readonly catalog: Catalog | undefined;
}

/** Codes of the guard of masked columns: refusals that no rule made. */
const GUARD = /^SPG4\d\d$/;

/** What comes out differently: nothing, one change of the verdict, or changes of the masks. */
export function differences(
  state: Ground,
  command: CommandView,
  analysis: Analysis,
  decision: Decision,
): JudgedChange[] {
  const wasRefused = command.outcome === 'denied' && GUARD.test(command.code ?? '');
  // Whether the guard of masked columns still refuses, only the catalog can tell: what it refused stays refused.
  if (wasRefused && state.catalog === undefined) return [];
  const refused = state.catalog === undefined ? undefined : analysis.refusal;
  const before = wasRefused ? 'Deny' : recordedVerdict(state, command);
  const decided = decidedVerdict(state, decision);
  const after: Verdict = refused === undefined ? decided : 'Deny';
  if (before !== after) {
    const because = decided === after ? reasonOf(decision, after, command.rules) : `masking (${refused?.code ?? ''})`;
    const denied = after === 'Deny' ? (refused?.reason ?? decision.denied) : undefined;
    const { message } = decision;
    return [
      {
        change: changeOf(before, after),
        because,
        ...(denied === undefined ? {} : { denied }),
        ...(message === undefined ? {} : { message }),
      },
    ];
  }
  return after === 'Deny' ? [] : maskChanges(state, command, analysis);
}

/** What comes out differently of a command that masks say nothing of beforehand: nothing, or the verdict. */
export function verdictDifference(
  state: Pick<Ground, 'connection'>,
  command: CommandView,
  decision: Decision,
): JudgedChange[] {
  const before = recordedVerdict(state, command);
  const after = decidedVerdict(state, decision);
  if (before === after) return [];
  const { denied, message } = decision;
  return [
    {
      change: changeOf(before, after),
      because: reasonOf(decision, after, command.rules),
      ...(after === 'Deny' && denied !== undefined ? { denied } : {}),
      ...(message === undefined ? {} : { message }),
    },
  ];
}

function recordedVerdict({ connection }: Pick<Ground, 'connection'>, command: CommandView): Verdict {
  const recorded = isVerdict(command.verdict) ? command.verdict : 'Deny';
  return connection.mode === 'Observe' && isVerdict(command.observed) ? command.observed : recorded;
}

/** In Observe: what Enforce would give. */
function decidedVerdict({ connection }: Pick<Ground, 'connection'>, decision: Decision): Verdict {
  return (connection.mode === 'Observe' ? decision.observed : undefined) ?? decision.verdict;
}

function reasonOf(decision: Decision, after: Verdict, before: readonly string[] | undefined): string {
  if (decision.rules.length > 0) return decision.rules.map(ruleName).join(', ');
  if (after !== 'Deny') return 'needs no rule of its own';
  const earlier = (before ?? []).map((rule) => rule.replace(/@\d+$/, ''));
  return earlier.length === 0 ? 'no rule allows it' : `no rule allows it (was ${earlier.join(', ')})`;
}

/** `NAMESPACE/NAME` of a MaskingRule; detectors are counted under names without a slash. */
const MASKING_RULE = /^[^/]+\/[^/]+$/;

function maskChanges(state: Ground, command: CommandView, analysis: Analysis): JudgedChange[] {
  const before = new Set([
    ...(command.masks ?? []),
    ...Object.keys(command.masked ?? {}).filter((name) => MASKING_RULE.test(name)),
  ]);
  const changes: JudgedChange[] = [];
  const { scope, catalog } = state;
  if (catalog === undefined) {
    // Which columns a rule is about needs the catalog; that a rule is gone does not.
    const rows = scope.permissions().filter(({ effect }) => effect === 'Mask');
    const left = new Set(rows.map(({ rule }) => rule));
    const gone = [...before].filter((rule) => !left.has(rule)).sort();
    if (gone.length > 0) changes.push({ change: 'masks-removed', because: gone.join(', ') });
    return changes;
  }
  const after = new Set(maskingRulesOf(analysis));
  const { content, fields } = scope.masks;
  // What is found in values is not known before there are values.
  const byContent = new Set([...content, ...fields].map(({ rule }) => rule));
  const added = [...after].filter((rule) => !before.has(rule)).sort();
  const removed = [...before].filter((rule) => !after.has(rule) && !byContent.has(rule)).sort();
  if (added.length > 0) changes.push({ change: 'masks-added', because: added.join(', ') });
  if (removed.length > 0) changes.push({ change: 'masks-removed', because: removed.join(', ') });
  return changes;
}

export function isVerdict(word: string | undefined): word is Verdict {
  return word === 'Allow' || word === 'Deny' || word === 'RequireApproval';
}

function changeOf(before: Verdict, after: Verdict): Change {
  switch (before) {
    case 'Allow':
      return after === 'Deny' ? 'allow-to-deny' : 'allow-to-approval';
    case 'Deny':
      return after === 'Allow' ? 'deny-to-allow' : 'deny-to-approval';
    case 'RequireApproval':
      return after === 'Allow' ? 'approval-to-allow' : 'approval-to-deny';
    default:
      return before satisfies never;
  }
}
