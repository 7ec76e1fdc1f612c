import type { CompiledConnection, PermissionRow } from '../../../policy/bundle.ts';
import type { Decision } from '../../../policy/decision.ts';
import { tupleWords } from '../../../policy/words.ts';
import { decisionFragment } from '../../../record/events.ts';
import { type LaneReport, laneError, ruleNames } from './errors.ts';

/** What policy says of one request now. */
export interface Verdict {
  readonly decision: Decision;
  /** Undefined: it may go on, once people agreed where they have to. */
  readonly denial: LaneReport | undefined;
  readonly needsApproval: boolean;
  /** `,"verdict":…` members of the record. */
  readonly recordMembers: string;
}

/** @param permitted what the subject may do here at all, for whoever is denied */
export function createVerdict(
  decision: Decision,
  connection: CompiledConnection,
  permitted: () => readonly PermissionRow[],
): Verdict {
  const denial = decision.verdict === 'Deny' ? denialOf(decision, connection, permitted) : undefined;
  return {
    decision,
    denial,
    needsApproval: denial === undefined && decision.verdict === 'RequireApproval',
    recordMembers: decisionFragment(decision),
  };
}

/** Rows of what is allowed that a denial shows: an agent that reads them needs no second attempt to find out. */
const MOST_ALLOWED = 16;

function denialOf(
  { rules, denied, message, hint }: Decision,
  connection: CompiledConnection,
  permitted: () => readonly PermissionRow[],
): LaneReport {
  const names = ruleNames(rules);
  const because = names.length === 0 ? 'no rule allows it' : `rule ${names.join(', ')}`;
  const fill = [denied ?? 'not allowed', message].filter((part) => part).join('. ');
  const allowed = permitted()
    .filter(({ effect }) => effect === 'Allow')
    .slice(0, MOST_ALLOWED)
    .map(({ statements, relations, functions, condition, rule }) => ({
      methods: listOf(statements),
      paths: listOf(relations),
      ...(functions === '' ? {} : { tools: listOf(functions) }),
      ...(condition === '' ? {} : { when: condition }),
      rule,
    }));
  const ask = `Ask the platform team for an AccessPolicy that allows it on ${connection.namespace}/${connection.name}.`;
  return laneError('SPE100', fill, {
    detail: because,
    hint: hint ?? ask,
    members: {
      ...(names.length === 0 ? {} : { rules: names }),
      ...(message === undefined ? {} : { reason: message }),
      allowed,
      howToAsk: ask,
    },
  });
}

const listOf = (text: string): string[] => (text === '' ? [] : text.split(', '));

/** Access in words, each once, for an approver. */
export function effectsOf({ decision }: Verdict): string[] {
  const effects = decision.tuples
    .filter(({ because }) => because !== 'harmless')
    .map(({ tuple }) => {
      const text = tupleWords(tuple);
      return text.charAt(0).toUpperCase() + text.slice(1);
    });
  return [...new Set(effects)];
}
