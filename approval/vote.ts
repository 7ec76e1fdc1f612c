import { createHash, createPublicKey, type KeyObject, randomUUID, sign, verify } from 'node:crypto';
import type { ApprovalRequest } from '../api/resources.ts';
import { canonicalJson, sha256 } from '../policy/canonical.ts';

export type Decision = NonNullable<ApprovalRequest['spec']['decisions']>[number];
export type Verdict = Decision['verdict'];

/** A vote with everything that its signature covers. */
export interface Vote {
  readonly verdict: Verdict;
  readonly id: string;
  readonly voter: string;
  /** Of the voter in the API server, where an authority stamped it. */
  readonly uid: string | undefined;
  /** As the signer saw them; only an authority's word counts for them. */
  readonly groups: readonly string[];
  readonly at: string;
  readonly via: string;
  readonly reason: string | undefined;
  readonly signer: string;
  readonly signature: Buffer;
}

const SCHEME = 'ed25519';
const SIGNATURE_BYTES = 64;

/**
 * Digest of what a voter was shown: all of `spec` but the votes. Whoever changes what is displayed, the requirements or the
 * expiry makes another digest, and no signature over the old one counts for it.
 */
export function shownDigest({ spec }: ApprovalRequest): string {
  const { decisions: _votes, ...shown } = spec;
  return sha256(canonicalJson(shown));
}

/** Bytes that are signed (RFC 8032, pure Ed25519): JSON in one fixed order, so that there is one encoding only. */
function payload(request: ApprovalRequest, vote: Omit<Vote, 'signer' | 'signature'>): Buffer {
  const { uid, namespace, name } = request.metadata;
  return Buffer.from(
    JSON.stringify([
      'sallyport.dev/approval/vote/v1',
      uid,
      namespace,
      name,
      request.spec.request.hash,
      shownDigest(request),
      vote.verdict,
      vote.id,
      vote.voter,
      [...vote.groups].sort(),
      vote.at,
      vote.via,
      vote.reason ?? null,
      ...(vote.uid === undefined ? [] : [vote.uid]),
    ]),
    'utf8',
  );
}

/** Names a key pair, by either half: the first 128 bits of the SHA-256 of its SubjectPublicKeyInfo, in hexadecimal digits. */
export function keyId(key: KeyObject): string {
  const half = key.type === 'private' ? createPublicKey(key) : key;
  const spki = half.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(spki).digest('hex').slice(0, 32);
}

export interface Ballot {
  readonly verdict: Verdict;
  readonly voter: string;
  readonly uid?: string | undefined;
  readonly groups?: readonly string[];
  readonly reason?: string | undefined;
  readonly via: string;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** Makes the signed entry for `spec.decisions`. `key` is a private Ed25519 key: the voter's own, or that of an authority. */
export function signVote(request: ApprovalRequest, ballot: Ballot, key: KeyObject): Decision {
  const vote = {
    verdict: ballot.verdict,
    id: randomUUID(),
    voter: ballot.voter,
    uid: ballot.uid,
    groups: ballot.groups ?? [],
    at: new Date(ballot.now).toISOString(),
    via: ballot.via,
    reason: ballot.reason,
  };
  const id = keyId(key);
  const signature = sign(null, payload(request, vote), key).toString('base64');
  return {
    verdict: vote.verdict,
    id: vote.id,
    ...(vote.reason === undefined ? {} : { reason: vote.reason }),
    by: {
      username: vote.voter,
      ...(vote.uid === undefined ? {} : { uid: vote.uid }),
      ...(vote.groups.length === 0 ? {} : { groups: [...vote.groups] }),
    },
    at: vote.at,
    via: vote.via,
    attestation: `${SCHEME}:${id}:${signature}`,
  };
}

/** The vote of an entry, or undefined when it is not one that somebody signed. Nothing is verified yet. */
export function readVote(decision: Decision): Vote | undefined {
  const { verdict, id, by, at, via, reason, attestation } = decision;
  if (id === undefined || by?.username === undefined || at === undefined || via === undefined) return undefined;
  const [scheme, signer, text, ...rest] = attestation?.split(':') ?? [];
  if (scheme !== SCHEME || signer === undefined || text === undefined || rest.length > 0) return undefined;
  const signature = Buffer.from(text, 'base64');
  if (signature.length !== SIGNATURE_BYTES || signature.toString('base64') !== text) return undefined;
  const { username: voter, uid, groups = [] } = by;
  return { verdict, id, voter, uid, groups, at, via, reason, signer, signature };
}

/** Whether `key` signed this vote for this very request. */
export function verifyVote(request: ApprovalRequest, vote: Vote, key: KeyObject): boolean {
  return verify(null, payload(request, vote), key, vote.signature);
}
