import type { ApprovalRequest } from '../../api/resources.ts';
import type { Signers } from '../../approval/signers.ts';
import { stateOf } from '../../approval/state.ts';
import { type Tally, tallyVotes } from '../../approval/tally.ts';
import { shownDigest } from '../../approval/vote.ts';
import { neutralise } from '../../record/display.ts';
import type { ApprovalRefusal, HeldCommand } from '../ports.ts';
import type { ApprovalContext } from './context.ts';
import { ApprovalError, type ApprovalErrorCode, approvalText } from './errors.ts';
import { timeoutMs } from './request.ts';
import { refOf, type StoredRequest } from './request-store.ts';

/** What a request is at one moment. */
export type Examined =
  | { readonly state: 'Open'; readonly stored: StoredRequest; readonly tally: Tally; readonly signers: Signers }
  /** Not readable just now: nothing is decided on it. */
  | { readonly state: 'Unknown'; readonly error: ApprovalError; readonly refusal: ApprovalRefusal }
  | {
      readonly state: 'Over';
      readonly over: 'Denied' | 'Expired' | 'Withdrawn';
      /** As it was read, where it could be. */
      readonly stored: StoredRequest | undefined;
      readonly refusal: ApprovalRefusal;
    };

export interface ExamineFacts {
  readonly command: HeldCommand;
  readonly hash: string;
  /** As this process wrote it, or found that it is about the command. */
  readonly request: ApprovalRequest;
  /** Whether the time is over, by whichever clock. */
  readonly expired: () => boolean;
}

export function refusal(code: ApprovalErrorCode, fills: readonly (string | number)[] = []): ApprovalRefusal {
  return { state: 'Refused', ...approvalText(code, fills) };
}

/** Whether it is known to be used. Where that cannot be asked just now, noting the use is what decides: nothing runs without it. */
export async function isUsed({ used }: ApprovalContext, uid: string): Promise<boolean> {
  try {
    return await used.has(uid);
  } catch (error) {
    if (error instanceof ApprovalError && error.code === 'SPV014') return false;
    throw error;
  }
}

/**
 * Looks everything up anew: file, markers of use, clock, keys and rights. What stands in the file can end a request; only signatures
 * over exactly what this process knows of the command can approve it.
 * @throws the system's error when the store cannot be read
 */
export async function examine(context: ApprovalContext, facts: ExamineFacts): Promise<Examined> {
  const { request: own, command, hash } = facts;
  const ref = refOf(own);
  let stored: StoredRequest | undefined;
  const over = (state: 'Denied' | 'Expired' | 'Withdrawn', code: ApprovalErrorCode, ...fills: string[]): Examined => ({
    state: 'Over',
    over: state,
    stored,
    refusal: refusal(code, [ref.name, ...fills]),
  });
  try {
    stored = await context.requests.read(ref);
  } catch (error) {
    if (!(error instanceof ApprovalError)) throw error;
    return { state: 'Unknown', error, refusal: refusal('SPV012', [ref.name]) };
  }
  if (stored === undefined) return over('Withdrawn', 'SPV009', 'it was removed');
  const { request } = stored;
  const { uid = '' } = own.metadata;
  const same = request.metadata.uid === uid && request.metadata.creationTimestamp === own.metadata.creationTimestamp;
  if (!same || request.spec.request.hash !== hash || shownDigest(request) !== shownDigest(own)) {
    return over('Withdrawn', 'SPV012');
  }
  if (await isUsed(context, uid)) return over('Withdrawn', 'SPV010');
  const { decidedBy = 'an approver', outcome = 'the client left' } = request.status ?? {};
  const state = stateOf(request);
  switch (state) {
    case 'Denied':
      return over('Denied', 'SPV008', neutralise(decidedBy));
    case 'Expired':
      return over('Expired', 'SPV007');
    case 'Withdrawn':
      return over('Withdrawn', 'SPV009', neutralise(outcome));
    case 'Consumed':
    case 'Executed':
    case 'Failed':
      return over('Withdrawn', 'SPV010');
    case 'Pending':
    case 'Approved':
    case 'Orphaned':
      break;
    default: {
      const never: never = state;
      throw new Error(`request in unknown state ${String(never)}`);
    }
  }
  if (facts.expired()) return over('Expired', 'SPV007');
  const signers = await context.signers.current();
  const tally = await tallyVotes({
    request,
    requirements: command.requirements,
    connection: command.connection,
    requester: command.subject,
    signers,
    now: context.now(),
    expiresAt: Date.parse(own.spec.expiresAt),
    voteLifeMs: timeoutMs(command),
  });
  // Counting took time: nothing is released that expired meanwhile.
  return facts.expired() ? over('Expired', 'SPV007') : { state: 'Open', stored, tally, signers };
}
