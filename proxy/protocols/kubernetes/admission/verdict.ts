import type { KubernetesCommand, Tuple } from '../../../../policy/command.ts';
import type { Decision } from '../../../../policy/decision.ts';
import { ruleName } from '../../../../policy/rule.ts';
import { tupleWords } from '../../../../policy/words.ts';
import { decisionFragment } from '../../../../record/events.ts';
import { type KubernetesReport, kubernetesError, type StatusCause } from '../errors.ts';

/** What policy says of one request now. */
export interface Verdict {
  readonly command: KubernetesCommand;
  readonly decision: Decision;
  /** Undefined: it may run, once people agreed where they have to. */
  readonly denial: KubernetesReport | undefined;
  readonly needsApproval: boolean;
  /** All of it is what needs no rule of its own, such as discovery: never held, never counted. */
  readonly harmless: boolean;
  /** `,"verdict":…` members of the record. */
  readonly recordMembers: string;
}

export function createVerdict(command: KubernetesCommand, decision: Decision): Verdict {
  const denial = denialOf(decision);
  return {
    command,
    decision,
    denial,
    needsApproval: denial === undefined && decision.verdict === 'RequireApproval',
    harmless: decision.tuples.length > 0 && decision.tuples.every(({ because }) => because === 'harmless'),
    recordMembers: decisionFragment(decision),
  };
}

function denialOf({ verdict, rules, denied, message, hint }: Decision): KubernetesReport | undefined {
  if (verdict !== 'Deny') return undefined;
  const [rule] = rules;
  const because = rule === undefined ? 'no rule allows it' : `rule ${ruleName(rule)}`;
  const fill = [denied ?? 'not allowed', message].filter((part) => part).join('. ');
  const causes: StatusCause[] = [
    ...(denied === undefined ? [] : [{ reason: 'Denied', message: denied }]),
    ...rules.map((each) => ({ reason: 'Rule', message: ruleName(each) })),
    ...(hint === undefined ? [] : [{ reason: 'Allowed', message: hint }]),
  ];
  return kubernetesError('SPL001', fill, { detail: because, causes, ...(hint === undefined ? {} : { hint }) });
}

/** What is done, in words, each once: for whoever approves. @param hidden puts mask tokens in place of what is masked */
export function effectsOf({ decision }: Verdict, hidden: (text: string) => string): string[] {
  const words = (tuple: Tuple): string => {
    const text = tupleWords(tuple);
    return hidden(text.charAt(0).toUpperCase() + text.slice(1));
  };
  return [...new Set(decision.tuples.filter(({ because }) => because !== 'harmless').map(({ tuple }) => words(tuple)))];
}
