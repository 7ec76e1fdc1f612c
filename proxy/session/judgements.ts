import type { Bundle, CompiledConnection, PolicyScope } from '../../policy/bundle.ts';
import type { Judged, Judgements } from '../lane.ts';

/** Subjects on connections that are remembered of one bundle. */
const MOST_REMEMBERED = 1024;

/** Judgements are shared by the sessions of one subject; a bundle that is replaced takes its judgements with it. */
export function createJudgements<J extends Judged>(
  make: (scope: PolicyScope, connection: CompiledConnection) => J,
): Judgements<J> {
  const perBundle = new WeakMap<Bundle, Map<string, J>>();
  return (bundle, connection, { subject }) => {
    let known = perBundle.get(bundle);
    if (known === undefined) {
      known = new Map();
      perBundle.set(bundle, known);
    }
    // Claims decide too, and two tokens of one subject may differ in them.
    const { pod: _pod, ...judged } = subject;
    const key = JSON.stringify([connection.namespace, connection.name, judged]);
    let judgement = known.get(key);
    if (judgement === undefined) {
      judgement = make(bundle.scope(subject, connection), connection);
      if (known.size >= MOST_REMEMBERED) known.clear();
      known.set(key, judgement);
    }
    // Whoever was revoked is told so, with the rule's message: as somebody unknown they would only be told to come back.
    const { mayConnect, revoked } = judgement.scope;
    return mayConnect || revoked !== undefined ? judgement : undefined;
  };
}
