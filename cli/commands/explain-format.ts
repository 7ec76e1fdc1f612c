import type { EffectiveLimits, RuleRef, TupleVerdict } from '../../policy/decision.ts';
import { ruleName } from '../../policy/rule.ts';
import type { Subject } from '../../policy/subject.ts';
import { tupleWords } from '../../policy/words.ts';
import { neutralise } from '../../record/display.ts';
import type { OfflineDecision } from './offline-decision.ts';

/** Colours on a terminal, nothing elsewhere (https://no-color.org). */
export interface Paint {
  good(text: string): string;
  bad(text: string): string;
  held(text: string): string;
}

export function painter(colours: boolean): Paint {
  const sgr = (code: number) => (text: string) => (colours ? `\u001b[${code}m${text}\u001b[0m` : text);
  return { good: sgr(32), bad: sgr(31), held: sgr(33) };
}

export function paintVerdict(verdict: 'Allow' | 'Deny' | 'RequireApproval', paint: Paint): string {
  switch (verdict) {
    case 'Allow':
      return paint.good(verdict);
    case 'Deny':
      return paint.bad(verdict);
    case 'RequireApproval':
      return paint.held(verdict);
    default:
      return verdict satisfies never;
  }
}

const rules = (refs: readonly RuleRef[]): string => refs.map(ruleName).join(', ');

function reason({ because, rules: refs, verdict, message }: TupleVerdict): string {
  switch (because) {
    case 'harmless':
      return 'needs no rule of its own';
    case 'default':
      return message ?? 'no Allow rule covers it';
    case 'rule':
      return `rule ${rules(refs)}${verdict !== 'Allow' && message !== undefined ? `: ${message}` : ''}`;
    default:
      return because satisfies never;
  }
}

const LIMITS: Readonly<Record<keyof EffectiveLimits, (value: number) => string>> = {
  commandsPerMinute: (value) => `${value} commands a minute`,
  maxRowsReturned: (value) => `${value} rows returned`,
  maxBytesReturned: (value) => `${value} bytes returned`,
  maxRowsAffected: (value) => `${value} rows changed`,
  maxDurationMs: (value) => `${value / 1000} s for one command`,
};

function limitWords(limits: EffectiveLimits): string {
  return (Object.keys(LIMITS) as (keyof EffectiveLimits)[])
    .flatMap((member) => {
      const value = limits[member];
      return value === undefined ? [] : [LIMITS[member](value)];
    })
    .join(', ');
}

/** What becomes of the session meanwhile. */
function holdWords(hold: 'Wait' | 'Reject', timeoutMs: number): string {
  const limit = `${timeoutMs / 1000} s`;
  return hold === 'Wait' ? `, waited for up to ${limit}` : `, refused until then; open for ${limit}`;
}

/** The decision as a person reads it: the verdict, each tuple with its reason, and what follows from it. */
export function explanation(subject: Subject, offline: OfflineDecision, paint: Paint): string {
  const { parseError, worst, connection, decision, scope } = offline;
  const lines: string[] = [];
  const line = (text: string): void => void lines.push(text);
  const observed =
    decision.observed === undefined ? '' : ` (Observe; in Enforce: ${paintVerdict(decision.observed, paint)})`;
  line(
    `${paintVerdict(decision.verdict, paint)}${observed}  ${neutralise(subject.username)} on ${connection.namespace}/${connection.name}`,
  );
  if (parseError !== undefined) line(`  does not parse: ${neutralise(parseError.message)}`);
  if (worst === true) line('  what is there already is not known here: the worst is assumed');
  if (scope.revoked !== undefined) line(`  revoked by rule ${scope.revoked.rule}: no session is let in`);
  else if (!scope.mayConnect) line('  no rule gives this subject anything here: no session is let in');
  const words = decision.tuples.map(({ tuple }) => neutralise(tupleWords(tuple)));
  const width = Math.max(0, ...words.map((text) => text.length));
  for (const [index, tuple] of decision.tuples.entries()) {
    const verdict = tuple.verdict.padEnd('RequireApproval'.length);
    line(
      `  ${(words[index] ?? '').padEnd(width)}  ${paintVerdict(tuple.verdict, paint)}${verdict.slice(tuple.verdict.length)}  ${neutralise(reason(tuple))}`,
    );
    for (const error of tuple.errors ?? []) line(`  ${' '.repeat(width)}  condition failed: ${neutralise(error)}`);
  }
  for (const { rule, requiredApprovals, approvers, hold, timeoutMs } of decision.requirements) {
    const who = [...(approvers?.users ?? []), ...(approvers?.groups ?? []).map((group) => `group ${group}`)].join(', ');
    line(
      `  needs ${requiredApprovals} approval(s)${who === '' ? '' : ` of ${neutralise(who)}`} (rule ${ruleName(rule)})${holdWords(hold, timeoutMs)}`,
    );
  }
  if (decision.verdict !== 'Deny') {
    const limits = limitWords(decision.limits);
    if (limits !== '') line(`  limits: ${limits}`);
  } else if (decision.hint !== undefined) line(`  ${neutralise(decision.hint)}`);
  if (!scope.masks.empty) {
    const masks = scope.permissions().filter(({ effect }) => effect === 'Mask');
    line(
      `  masked: ${[...new Set(masks.map(({ rule }) => rule))].join(', ')}${connection.protocol === 'Postgres' ? '; what a statement may do with masked columns is decided at the database' : ''}`,
    );
  }
  return `${lines.join('\n')}\n`;
}

/** The same as one JSON object. */
export function explanationJson(
  subject: Subject,
  { parseError, worst, connection, decision, scope }: OfflineDecision,
): object {
  return {
    subject: subject.username,
    connection: `${connection.namespace}/${connection.name}`,
    mayConnect: scope.mayConnect,
    ...(scope.revoked === undefined ? {} : { revoked: scope.revoked }),
    ...(parseError === undefined ? {} : { parseError }),
    ...(worst === true ? { worst } : {}),
    ...decision,
    tuples: decision.tuples.map((tuple) => ({ what: tupleWords(tuple.tuple), ...tuple })),
    masked: !scope.masks.empty,
  };
}
