import type { ApprovalRequest } from '../../api/resources.ts';
import { tallyVotes } from '../../approval/tally.ts';
import { durationMs } from '../../policy/duration.ts';
import type { ApprovalGrant, ApprovalRefusal, HeldCommand } from '../ports.ts';
import { votedBy } from './case.ts';
import type { ApprovalContext } from './context.ts';
import { ApprovalError, causeOf } from './errors.ts';
import { refusal } from './examine.ts';
import { reuseMs } from './request.ts';
import type { RequestRef } from './request-store.ts';

/** An approval of the same statement with other values that still covers this command. */
export interface Reusable {
  readonly ref: RequestRef;
  readonly request: ApprovalRequest;
  readonly expiresAt: number;
  consume(): Promise<ApprovalGrant | ApprovalRefusal>;
}

interface Covered {
  readonly request: ApprovalRequest;
  readonly until: number;
  readonly votes: ApprovalGrant['votes'];
}

/**
 * Whether the request's approval covers the command. That its statement is this one is believed only from this gateway's own note of
 * what it ran under it: whoever writes to the store could have shown the approver another statement with this fingerprint.
 */
async function covers(
  context: ApprovalContext,
  ref: RequestRef,
  command: HeldCommand,
  fingerprint: string,
): Promise<Covered | undefined> {
  const reuse = reuseMs(command);
  const stored = reuse === undefined ? undefined : await context.requests.read(ref);
  if (reuse === undefined || stored === undefined) return undefined;
  const { request } = stored;
  const { uid = '' } = request.metadata;
  const note = await context.used.find(uid);
  const same = note?.fingerprint === fingerprint && request.spec.request.fingerprint === fingerprint;
  const granted = request.spec.reuseFor === undefined ? undefined : durationMs(request.spec.reuseFor);
  if (note === undefined || !same || granted === undefined || note.hash !== request.spec.request.hash) return undefined;
  const now = context.now();
  const tally = await tallyVotes({
    request,
    requirements: command.requirements,
    connection: command.connection,
    requester: command.subject,
    signers: await context.signers.current(),
    now,
    expiresAt: Date.parse(request.spec.expiresAt),
  });
  if (tally.state !== 'Approved') return undefined;
  // From the first vote on, so that nobody makes it longer by voting late.
  const since = Math.min(...tally.approvals.map(({ at }) => Date.parse(at)));
  const until = since + Math.min(reuse, granted);
  return now < until ? { request, until, votes: tally.approvals.map(votedBy) } : undefined;
}

/** The first of the requests that covers the command now. */
export async function findReusable(
  context: ApprovalContext,
  candidates: readonly RequestRef[],
  command: HeldCommand,
  fingerprint: string,
): Promise<Reusable | undefined> {
  const check = async (ref: RequestRef): Promise<Covered | undefined> => {
    try {
      return await covers(context, ref, command, fingerprint);
    } catch (error) {
      if (!(error instanceof ApprovalError)) throw error;
      context.log.warn({ code: error.code, hint: error.hint }, error.message);
      return undefined;
    }
  };
  for (const ref of candidates) {
    const found = await check(ref);
    if (found === undefined) continue;
    return {
      ref,
      request: found.request,
      expiresAt: found.until,
      async consume() {
        try {
          const now = await check(ref);
          if (now === undefined) return refusal('SPV011', [ref.name]);
          context.changed(now.request, 'Reused');
          return { state: 'Consumed', votes: now.votes, settle: () => Promise.resolve() };
        } catch (error) {
          return refusal('SPV004', [causeOf(error)]);
        }
      },
    };
  }
  return undefined;
}
