import type { ApprovalRequest } from '../api/resources.ts';
import type { ApprovalRequirement } from '../policy/decision.ts';
import type { ConnectionName, Signers, Voter } from './signers.ts';
import { readVote, type Vote, verifyVote } from './vote.ts';

/** A vote that counts: the signature is valid, the voter has the right now, and it was cast in time. */
export interface CountedVote {
  readonly id: string;
  readonly verdict: Vote['verdict'];
  readonly voter: Voter;
  readonly at: string;
  readonly reason: string | undefined;
}

export interface Tally {
  readonly state: 'Pending' | 'Approved' | 'Denied';
  /** Approvals that count for some requirement. */
  readonly approvals: readonly CountedVote[];
  readonly denials: readonly CountedVote[];
  /** `1/2`: of the requirement that lacks most. */
  readonly votes: string;
  /** Why entries of `spec.decisions` do not count, in words for a log. */
  readonly rejected: readonly string[];
}

export interface TallyFacts {
  /** As read from the store: only its signatures are believed. */
  readonly request: ApprovalRequest;
  /** From the policy in force, never from the file. */
  readonly requirements: readonly Pick<ApprovalRequirement, 'approvers' | 'requiredApprovals'>[];
  readonly connection: ConnectionName;
  /** The agent and the person behind it: neither approves. */
  readonly requester: { readonly username: string; readonly onBehalfOf?: string };
  readonly signers: Signers;
  /** Milliseconds since 1970, by the clock of the gateway. */
  readonly now: number;
  /** After this a vote counts no more. */
  readonly expiresAt: number;
  /** How long the rules let a request wait, in milliseconds: a vote is not good for longer, whatever expiry was shown. */
  readonly voteLifeMs?: number;
}

/** How far the clock of a voter may be off. */
export const CLOCK_SKEW_MS = 60_000;

const namesOf = ({ name, subjects }: Voter): readonly string[] => [name, ...subjects];
export const samePerson = (a: Voter, b: Voter): boolean => namesOf(a).some((name) => namesOf(b).includes(name));

export function asksForThemselves(voter: Voter, requester: TallyFacts['requester']): boolean {
  const asking = [requester.username, ...(requester.onBehalfOf === undefined ? [] : [requester.onBehalfOf])];
  return asking.some((name) => namesOf(voter).includes(name) || voter.mayBe?.(name) === true);
}

/** Whether the rule counts this voter; a rule that names nobody counts everybody with the right on the connection. */
export function isApprover({ approvers }: Pick<ApprovalRequirement, 'approvers'>, voter: Voter): boolean {
  if (approvers === undefined) return true;
  return (
    approvers.users?.includes(voter.name) === true ||
    approvers.groups?.some((group) => voter.groups.includes(group)) === true
  );
}

/**
 * Counts the votes of a request. Each requirement is met on its own, by different people; one person counts in several only as one
 * of the approvers of each. One valid denial by somebody who could have approved ends the request.
 */
export async function tallyVotes(facts: TallyFacts): Promise<Tally> {
  const rejected: string[] = [];
  const counted: CountedVote[] = [];
  for (const [index, decision] of (facts.request.spec.decisions ?? []).entries()) {
    const vote = readVote(decision);
    const outcome = vote === undefined ? 'it is not signed' : await count(vote, facts, counted);
    if (typeof outcome === 'string') rejected.push(`vote ${index + 1}: ${outcome}`);
    else counted.push(outcome);
  }
  const approvals = counted.filter(({ verdict }) => verdict === 'Approve');
  const denials = counted.filter(({ verdict }) => verdict === 'Deny');
  const missing = facts.requirements.map((requirement) => {
    const has = approvals.filter(({ voter }) => isApprover(requirement, voter)).length;
    return { has, needs: requirement.requiredApprovals };
  });
  const worst = missing.reduce((a, b) => (b.needs - b.has > a.needs - a.has ? b : a), { has: 0, needs: 0 });
  const met = facts.requirements.length > 0 && missing.every(({ has, needs }) => has >= needs);
  const shown = met ? (missing[0] ?? worst) : worst;
  const state = denials.length > 0 ? 'Denied' : met ? 'Approved' : 'Pending';
  return { state, approvals, denials, votes: `${shown.has}/${shown.needs}`, rejected };
}

/** The vote as it counts, or why it does not. */
async function count(vote: Vote, facts: TallyFacts, counted: readonly CountedVote[]): Promise<CountedVote | string> {
  const { request, requirements, connection, requester, signers, now, expiresAt, voteLifeMs = Infinity } = facts;
  const signer = signers.signer(vote.signer);
  if (signer === undefined) return 'its signer is not known, or not any more';
  if (signer.kind === 'voter' && signer.name !== vote.voter) return 'it is signed by somebody else';
  if (!verifyVote(request, vote, signer.key)) return 'its signature is not over this request';
  const at = Date.parse(vote.at);
  const created = Date.parse(request.metadata.creationTimestamp ?? '');
  if (!(at <= now + CLOCK_SKEW_MS)) return 'it is from the future';
  if (!(at >= created - CLOCK_SKEW_MS)) return 'it is older than the request';
  if (!(at < expiresAt)) return 'it came after the request expired';
  if (!(now < at + voteLifeMs)) return 'it is too old';
  const voter = await signers.voter(vote.voter, signer.kind === 'authority' ? vote.groups : [], connection);
  if (voter === undefined) return 'the voter may not approve on this connection';
  const { id, verdict, reason } = vote;
  if (!requirements.some((requirement) => isApprover(requirement, voter))) return 'no rule names the voter';
  if (verdict === 'Approve' && asksForThemselves(voter, requester)) return 'nobody approves for themselves';
  // Somebody who approved may still deny: of two votes of one person the stricter one counts.
  if (counted.some((other) => other.verdict === verdict && samePerson(other.voter, voter)))
    return 'the voter has voted already';
  return { id, verdict, voter, at: vote.at, reason };
}
