import type { KeyObject } from 'node:crypto';
import type { ApprovalRequest } from '../../api/resources.ts';
import type { Signers } from '../../approval/signers.ts';
import { COUNT_WANTED, MAX_VOTES, whyClosed } from '../../approval/state.ts';
import { asksForThemselves, isApprover } from '../../approval/tally.ts';
import { type Ballot, keyId, shownDigest, signVote } from '../../approval/vote.ts';
import { ApprovalError } from './errors.ts';
import { isRequestRef, type RequestStore, refOf, type StoredRequest } from './request-store.ts';

/** What a voter does to a store: find a request, vote on it, ask for a count. Nothing here grants anything. */

/** @throws ApprovalError SPV022, SPV023, SPV020 */
export async function findRequest(
  requests: RequestStore,
  name: string,
  namespace: string | undefined,
): Promise<StoredRequest> {
  const [before, after] = name.split('/', 2);
  const wanted = after === undefined ? { namespace, name } : { namespace: before, name: after };
  const candidates = wanted.namespace === undefined ? await requests.namespaces() : [wanted.namespace];
  const found: StoredRequest[] = [];
  for (const each of candidates) {
    const ref = { namespace: each, name: wanted.name };
    const stored = isRequestRef(ref) ? await requests.read(ref) : undefined;
    if (stored !== undefined) found.push(stored);
  }
  const [first, second] = found;
  if (first === undefined) throw new ApprovalError('SPV022', [JSON.stringify(name), requests.place]);
  if (second !== undefined) {
    const places = found.map(({ request }) => request.metadata.namespace).join(', ');
    throw new ApprovalError('SPV023', [name, places]);
  }
  return first;
}

/** Why the gateway would not count the vote, as far as its configuration tells; undefined when it would. */
export async function whyNotCounted(
  request: ApprovalRequest,
  ballot: Pick<Ballot, 'voter' | 'verdict'>,
  key: KeyObject,
  signers: Signers,
): Promise<string | undefined> {
  const signer = signers.signer(keyId(key));
  if (signer?.kind !== 'voter' || signer.name !== ballot.voter) return 'the configuration lists another key, or none';
  const { namespace } = request.metadata;
  const voter = await signers.voter(ballot.voter, [], { namespace, name: request.spec.connectionRef.name });
  if (voter === undefined) return 'they have no right on this connection';
  if (ballot.verdict === 'Approve' && asksForThemselves(voter, request.spec.requester))
    return 'nobody approves for themselves';
  if (!request.spec.requirements.some((requirement) => isApprover(requirement, voter))) return 'no rule names them';
  return undefined;
}

/**
 * Signs a vote over the request as it was shown and adds it.
 * @param shown the request that the voter looked at
 * @throws ApprovalError SPV024 when it is over, SPV025 when they voted, SPV027 when it is no longer what was shown
 */
export async function castVote(
  requests: RequestStore,
  shown: ApprovalRequest,
  ballot: Ballot,
  key: KeyObject,
): Promise<ApprovalRequest> {
  const { name } = shown.metadata;
  const stored = await requests.update(refOf(shown), (request) => {
    if (request.metadata.uid !== shown.metadata.uid || shownDigest(request) !== shownDigest(shown))
      throw new ApprovalError('SPV027', [name]);
    const closed = whyClosed(request, ballot.now);
    if (closed !== undefined) throw new ApprovalError('SPV024', [name, closed]);
    const { decisions = [] } = request.spec;
    if (decisions.length >= MAX_VOTES) throw new ApprovalError('SPV024', [name, `it holds ${MAX_VOTES} votes already`]);
    const before = decisions.filter(({ by }) => by?.username === ballot.voter);
    // Who approved may still deny; nobody takes a denial back.
    if (before.some(({ verdict }) => verdict === ballot.verdict || verdict === 'Deny'))
      throw new ApprovalError('SPV025', [ballot.voter, name]);
    return { ...request, spec: { ...request.spec, decisions: [...decisions, signVote(request, ballot, key)] } };
  });
  if (stored === undefined) throw new ApprovalError('SPV022', [name, requests.place]);
  return stored.request;
}

/** Asks the session that waits to count exactly what the command would touch. @throws ApprovalError SPV024 */
export async function wantCount(requests: RequestStore, shown: ApprovalRequest, now: number): Promise<string> {
  const wanted = new Date(now).toISOString();
  await requests.update(refOf(shown), (request) => {
    const closed = whyClosed(request, now);
    if (closed !== undefined) throw new ApprovalError('SPV024', [request.metadata.name, closed]);
    const annotations = { ...request.metadata.annotations, [COUNT_WANTED]: wanted };
    return { ...request, metadata: { ...request.metadata, annotations } };
  });
  return wanted;
}
