import { sessionRefused } from '../../record/events.ts';
import type { LaneContext } from '../lane.ts';
import type { VerifiedIdentity } from '../ports.ts';
import { createRates } from './rates.ts';

/** Refusals of clients without an identity that are recorded in a minute. */
const MOST_RECORDED = 600;

/** A client that gets no session. */
export interface RefusedClient {
  readonly session: string;
  /** `ADDRESS:PORT`. */
  readonly peer: string;
  readonly code: string;
  readonly message: string;
  readonly identity?: VerifiedIdentity | undefined;
  /** The user name as sent: free text that decides nothing. */
  readonly claimedUser?: string;
}

/** Writes refused clients into the record of the first connection behind the address that they dialled. */
export type RecordRefusal = (
  connections: readonly { readonly namespace: string; readonly name: string }[],
  refused: RefusedClient,
) => void;

/** Best effort: a refusal forwards nothing, so it need not wait for the record, but it is in it when the record can be written. */
export function createRefusals({ recorder, observer }: Pick<LaneContext, 'recorder' | 'observer'>): RecordRefusal {
  const rates = createRates();
  return (connections, { session, peer, code, message, identity, claimedUser }) => {
    const first = connections[0];
    if (first === undefined) return;
    // Whoever has no token must not be able to fill the disk: beyond this, refusals are counted and logged only.
    if (identity === undefined && rates.count('', Date.now()) > MOST_RECORDED) return;
    try {
      const subject = identity === undefined ? {} : { subject: identity.subject };
      const claimed = claimedUser === undefined ? {} : { claimedUser };
      recorder
        .stream(first.namespace, first.name)
        .append('session.refused', sessionRefused({ session, client: peer, code, message, ...subject, ...claimed }));
    } catch (failure) {
      observer.refused(peer, failure instanceof Error ? failure : new Error(String(failure)));
    }
  };
}
