import type { KeyObject } from 'node:crypto';
import type { ApprovalRequest } from '../../api/resources.ts';
import { type HasRight, mayBeSamePerson, rightToApprove } from '../../approval/right.ts';
import { MAX_VOTES, whyClosed } from '../../approval/state.ts';
import { asksForThemselves, isApprover } from '../../approval/tally.ts';
import { type Decision, readVote, type Verdict, verifyVote } from '../../approval/vote.ts';
import { canonicalJson } from '../../policy/canonical.ts';
import type { AdmissionRequest } from './admission.ts';
import { ApprovalRefused } from './approval-errors.ts';

/** An entry that an update would add to `spec.decisions`. Nothing in it but verdict and reason is the client's to say. */
export interface AddedVote {
  readonly index: number;
  readonly verdict: Verdict;
  readonly reason: string | undefined;
  readonly attestation: unknown;
  readonly decision: Decision;
}

export interface VoteRules {
  /** Public keys whose votes count: another replica may sign with the next one already, and earlier votes are by the former. */
  readonly trustedKeys: () => readonly KeyObject[];
  readonly hasRight: HasRight;
  readonly now: () => number;
}

const MAX_REASON = 2048;
/** As many groups as the resource kind takes in one vote, and as long as it takes them. */
const MAX_GROUPS = 32;
const MAX_GROUP = 256;
const MAX_NAME = 512;

type Json = Readonly<Record<string, unknown>>;
const isRecord = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * The one vote that an update adds; undefined when it leaves `spec` as it is.
 * @throws ApprovalRefused SPW041, SPW042, SPW049
 */
export function addedVote(before: ApprovalRequest, document: unknown): AddedVote | undefined {
  const { name } = before.metadata;
  const spec = isRecord(document) ? document['spec'] : undefined;
  if (!isRecord(spec)) throw new ApprovalRefused('SPW049', ['it has no spec']);
  const { decisions: after = [], ...shown } = spec;
  const { decisions: votes = [], ...wasShown } = before.spec;
  if (!Array.isArray(after)) throw new ApprovalRefused('SPW049', ['spec.decisions is no list']);
  if (canonicalJson(shown) !== canonicalJson(wasShown))
    throw new ApprovalRefused('SPW041', [name, 'something else in spec is another']);
  const kept = votes.every((vote, index) => canonicalJson(vote) === canonicalJson(after[index] ?? null));
  if (!kept) throw new ApprovalRefused('SPW041', [name, 'a vote was changed or removed']);
  const count = after.length - votes.length;
  if (count === 0) return undefined;
  if (count > 1) throw new ApprovalRefused('SPW042', [count, name]);
  const decision: unknown = after[votes.length];
  const { verdict, reason, attestation } = isRecord(decision) ? decision : {};
  if (verdict !== 'Approve' && verdict !== 'Deny') throw new ApprovalRefused('SPW049', ['a vote is Approve or Deny']);
  if (reason !== undefined && (typeof reason !== 'string' || reason === '' || reason.length > MAX_REASON))
    throw new ApprovalRefused('SPW049', [`a reason is text of 1 to ${MAX_REASON} characters`]);
  return { index: votes.length, verdict, reason, attestation, decision: decision as Decision };
}

/**
 * Whether this person's vote counts on this request, by the rules that the proxy counts with.
 * @returns the groups to vouch for
 * @throws ApprovalRefused SPW043 to SPW047, SPW049, SPW051
 */
export async function judgeVote(
  rules: VoteRules,
  user: AdmissionRequest['userInfo'],
  request: ApprovalRequest,
  { verdict }: Pick<AddedVote, 'verdict'>,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const { name, namespace } = request.metadata;
  const { username } = user;
  if (username === '' || username.length > MAX_NAME || !username.isWellFormed())
    throw new ApprovalRefused('SPW049', [`a voter has a name of 1 to ${MAX_NAME} characters`]);
  const closed = whyClosed(request, rules.now());
  if (closed !== undefined) throw new ApprovalRefused('SPW043', [name, closed]);
  const voter = {
    name: username,
    groups: [...new Set(user.groups)].filter(
      (group) => group.length > 0 && group.length <= MAX_GROUP && group.isWellFormed(),
    ),
    subjects: [],
    mayBe: (person: string) => mayBeSamePerson(username, person),
  };
  const { requester, requirements, connectionRef } = request.spec;
  if (verdict === 'Approve' && asksForThemselves(voter, requester))
    throw new ApprovalRefused('SPW045', [username, name]);
  const connection = { namespace, name: connectionRef.name };
  const words = `${namespace}/${connectionRef.name}`;
  const may = async (groups: readonly string[]): Promise<boolean> => {
    try {
      return await rules.hasRight(rightToApprove(username, groups, connection), signal);
    } catch (error) {
      throw new ApprovalRefused('SPW051', [username, words], error);
    }
  };
  if (!(await may(voter.groups))) throw new ApprovalRefused('SPW044', [username, words]);
  if (!requirements.some((requirement) => isApprover(requirement, voter)))
    throw new ApprovalRefused('SPW047', [name, username]);
  checkFirst(rules, request, username, verdict);
  const named = new Set(requirements.flatMap(({ approvers }) => approvers?.groups ?? []));
  return vouchedGroups(voter.groups, (group) => named.has(group), may);
}

/** Who approved may still deny; nobody takes a denial back. Only what is signed counts: others may write what they like there. */
function checkFirst({ trustedKeys }: VoteRules, request: ApprovalRequest, username: string, verdict: Verdict): void {
  const { name } = request.metadata;
  const { decisions = [] } = request.spec;
  const keys = trustedKeys();
  const earlier = decisions.flatMap((decision) => {
    const vote = readVote(decision);
    return vote?.voter === username && keys.some((key) => verifyVote(request, vote, key)) ? [vote] : [];
  });
  if (earlier.some((vote) => vote.verdict === verdict || vote.verdict === 'Deny'))
    throw new ApprovalRefused('SPW046', [username, name]);
  if (decisions.length >= MAX_VOTES) throw new ApprovalRefused('SPW043', [name, `it holds ${MAX_VOTES} votes already`]);
}

/**
 * Groups that go into a vote: all, or where they are too many those that rules name and one that gives the right. The proxy asks with
 * these whether the voter still has it. Rights only add up, so halving the list finds one.
 */
async function vouchedGroups(
  groups: readonly string[],
  isNamed: (group: string) => boolean,
  may: (groups: readonly string[]) => Promise<boolean>,
): Promise<readonly string[]> {
  if (groups.length <= MAX_GROUPS) return groups;
  const named = groups.filter(isNamed).slice(0, MAX_GROUPS - 1);
  if (await may(named)) return named;
  let candidates = groups.filter((group) => !named.includes(group));
  while (candidates.length > 1) {
    const half = candidates.slice(0, candidates.length >> 1);
    candidates = (await may(half)) ? half : candidates.slice(half.length);
  }
  return [...named, ...candidates];
}
