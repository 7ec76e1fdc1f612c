import type { CompiledConnection, PolicyScope, SessionFacts } from '../../../policy/bundle.ts';
import type { AskedRequest } from './port.ts';
import { createVerdict, type Verdict } from './verdict.ts';

/** What is decided on requests, remembered by their text where nothing else counts. */
export interface Verdicts {
  of(asked: AskedRequest, scope: PolicyScope, connection: CompiledConnection, session: SessionFacts): Verdict;
}

/** Verdicts that are remembered in all: clients choose the texts. */
const MOST_REMEMBERED = 8192;
/** Longest text of one of them, in UTF-16 units. */
const LONGEST_TEXT = 1024;

/**
 * A decision is reused for the same text under the same scope, unless a rule looked at what is not in it: fields, body, time, session
 * (`Decision.reuse`). What a dialect says stands in a body, so that it is decided each time.
 * @param now for `decide`
 */
export function createVerdicts(most = MOST_REMEMBERED, now: () => Date = () => new Date()): Verdicts {
  let known = new WeakMap<PolicyScope, Map<string, Verdict>>();
  let count = 0;

  function remember(scope: PolicyScope, text: string, verdict: Verdict): void {
    if (count >= most) {
      known = new WeakMap();
      count = 0;
    }
    count++;
    const ofScope = known.get(scope);
    if (ofScope === undefined) known.set(scope, new Map([[text, verdict]]));
    else ofScope.set(text, verdict);
  }

  return {
    of(asked, scope, connection, session) {
      const { text } = asked;
      const plain = asked.dialect === undefined;
      const remembered = plain ? known.get(scope)?.get(text) : undefined;
      if (remembered !== undefined) return remembered;
      const decision = scope.decide(asked.command, { now: now(), session });
      const verdict = createVerdict(decision, connection, () => scope.permissions());
      if (plain && decision.reuse !== 'never' && text.length <= LONGEST_TEXT) remember(scope, text, verdict);
      return verdict;
    },
  };
}
