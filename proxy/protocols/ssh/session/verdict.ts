import type { SshCommand, Tuple } from '../../../../policy/command.ts';
import type { Decision } from '../../../../policy/decision.ts';
import { ruleName } from '../../../../policy/rule.ts';
import { tupleWords } from '../../../../policy/words.ts';
import { decisionFragment } from '../../../../record/events.ts';
import { type SshReport, sshError } from '../errors.ts';

/** What policy says of one command now. */
export interface Verdict {
  readonly command: SshCommand;
  readonly decision: Decision;
  /** Undefined: it may run, once people agreed where they have to. */
  readonly denial: SshReport | undefined;
  readonly needsApproval: boolean;
  /** `,"verdict":…` members of the record. */
  readonly recordMembers: string;
}

export function createVerdict(command: SshCommand, decision: Decision): Verdict {
  const denial = denialOf(decision);
  return {
    command,
    decision,
    denial,
    needsApproval: denial === undefined && decision.verdict === 'RequireApproval',
    recordMembers: decisionFragment(decision),
  };
}

function denialOf({ verdict, rules, denied, message, hint }: Decision): SshReport | undefined {
  if (verdict !== 'Deny') return undefined;
  const [rule] = rules;
  const because = rule === undefined ? 'no rule allows it' : `rule ${ruleName(rule)}`;
  const fill = [denied ?? 'not allowed', message].filter((part) => part).join('. ');
  return sshError('SPS001', fill, { detail: because, ...(hint === undefined ? {} : { hint }) });
}

/** Access in words, each once. @param hidden puts mask tokens in place of what is masked */
export function effectsOf({ decision }: Verdict, hidden: (text: string) => string): string[] {
  const effects = decision.tuples
    .filter(({ because }) => because !== 'harmless')
    .map(({ tuple }) => {
      const text = wordsWithout(tuple, hidden);
      return text.charAt(0).toUpperCase() + text.slice(1);
    });
  return [...new Set(effects)];
}

/** The words of a command are cut and quoted, so that a value which is masked might not be known in them any more: then none is shown. */
function wordsWithout(tuple: Tuple, hidden: (text: string) => string): string {
  if (tuple.type === 'exec') {
    const [program = ''] = tuple.argv;
    const whole = tuple.argv.join(' ');
    const masked = hidden(whole) !== whole || tuple.argv.some((word) => hidden(word) !== word);
    if (masked) return hidden(`Exec of ${program} with values that are masked`);
  }
  return hidden(tupleWords(tuple));
}
