import type { KeyObject } from 'node:crypto';
import { NAMES } from '../../api/cluster.ts';
import type { ApprovalRequest } from '../../api/resources.ts';
import { readRequest } from '../../approval/object.ts';
import type { HasRight } from '../../approval/right.ts';
import { readVote, signVote, verifyVote } from '../../approval/vote.ts';
import type { AdmissionHandler, AdmissionRequest, AdmissionResponse } from './admission.ts';
import { type ApprovalAdmissionCode, ApprovalRefused } from './approval-errors.ts';
import { type AddedVote, addedVote, judgeVote } from './approval-vote.ts';

/**
 * Admission of ApprovalRequests. Votes come with the API server's word for who casts them: one handler stamps and signs them, the
 * other looks at what came of it. Both judge the whole request, since whoever asks for a dry run sees what the first one made.
 */
export interface ApprovalAdmissionOptions {
  /** Ed25519, private: the one whose public half is among `voteAuthorities` of the bundles. Read for each vote. */
  readonly signingKey: () => KeyObject;
  /** Public keys whose votes count: another replica may sign with the next one already, and earlier votes with the former. */
  readonly trustedKeys: () => readonly KeyObject[];
  /** SubjectAccessReview. */
  readonly hasRight: HasRight;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Where the operator is installed: its service account may write the status of requests. */
  readonly operatorNamespace: string;
}

export interface ApprovalAdmission {
  /** For the MutatingWebhookConfiguration: CREATE and UPDATE of approvalrequests. */
  readonly stamp: AdmissionHandler;
  /** For the ValidatingWebhookConfiguration: CREATE and UPDATE of approvalrequests, UPDATE of approvalrequests/status. */
  readonly check: AdmissionHandler;
}

/** A vote that is not stored is not signed: whoever tries a dry run gets nothing that counts. */
const DRY_RUN = 'dry-run';
/** How far apart stamp and check may be. */
const STAMP_AGE_MS = 60_000;

const STATUS: Readonly<Partial<Record<ApprovalAdmissionCode, number>>> = {
  SPW041: 422,
  SPW042: 422,
  SPW043: 409,
  SPW046: 409,
  SPW049: 422,
  SPW050: 422,
  SPW051: 500,
};

const serviceAccount = (namespace: string, name: string): string => `system:serviceaccount:${namespace}:${name}`;

export function createApprovalAdmission(options: ApprovalAdmissionOptions): ApprovalAdmission {
  async function stampVote(request: AdmissionRequest, signal: AbortSignal): Promise<AdmissionResponse> {
    if (request.operation === 'CREATE') return checkMaker(request);
    if (request.operation !== 'UPDATE' || request.subResource !== undefined) return { allowed: true };
    const before = requestIn(request.oldObject);
    const added = addedVote(before, request.object);
    if (added === undefined) return { allowed: true };
    const groups = await judgeVote(options, request.userInfo, before, added, signal);
    const { username, uid } = request.userInfo;
    const vote = signVote(
      before,
      {
        verdict: added.verdict,
        reason: added.reason,
        voter: username,
        uid: uid === undefined || uid === '' || uid.length > 128 ? undefined : uid,
        groups,
        via: 'Kubernetes',
        now: options.now(),
      },
      options.signingKey(),
    );
    const value = request.dryRun ? { ...vote, attestation: DRY_RUN } : vote;
    return { allowed: true, patch: [{ op: 'replace', path: `/spec/decisions/${added.index}`, value }] };
  }

  async function check(request: AdmissionRequest, signal: AbortSignal): Promise<AdmissionResponse> {
    const { operation, namespace, userInfo, subResource } = request;
    const proxy = serviceAccount(namespace, NAMES.proxy);
    if (operation === 'CREATE') return checkMaker(request);
    if (operation !== 'UPDATE') return { allowed: true };
    if (subResource === 'status') {
      const operator = serviceAccount(options.operatorNamespace, NAMES.operator);
      if (userInfo.username === proxy || userInfo.username === operator) return { allowed: true };
      throw new ApprovalRefused('SPW048', [namespace, userInfo.username]);
    }
    const before = requestIn(request.oldObject);
    const added = addedVote(before, request.object);
    if (added === undefined) return { allowed: true };
    await judgeVote(options, userInfo, before, added, signal);
    if (!(request.dryRun && added.attestation === DRY_RUN)) checkStamp(before, added, userInfo.username);
    return { allowed: true };
  }

  function checkStamp(before: ApprovalRequest, added: AddedVote, username: string): void {
    const refuse = (why: string): ApprovalRefused => new ApprovalRefused('SPW050', [before.metadata.name, why]);
    const vote = readVote(added.decision);
    if (vote === undefined) throw refuse('it is not signed');
    if (vote.voter !== username) throw refuse('it names somebody else');
    if (!options.trustedKeys().some((key) => verifyVote(before, vote, key))) throw refuse('its signature is another');
    if (Math.abs(options.now() - Date.parse(vote.at)) > STAMP_AGE_MS) throw refuse('it is of another time');
  }

  return { stamp: refusing(stampVote), check: refusing(check) };
}

/** Only a proxy knows what is held; nobody else asks people to agree to something. Votes come after, each from who casts it. */
function checkMaker({ namespace, userInfo, object }: AdmissionRequest): AdmissionResponse {
  if (userInfo.username !== serviceAccount(namespace, NAMES.proxy))
    throw new ApprovalRefused('SPW040', [namespace, userInfo.username]);
  const votes = (object as { readonly spec?: { readonly decisions?: unknown } | null } | null | undefined)?.spec
    ?.decisions;
  if (votes !== undefined && votes !== null && !(Array.isArray(votes) && votes.length === 0))
    throw new ApprovalRefused('SPW049', ['it has votes before anybody was asked']);
  return { allowed: true };
}

function requestIn(document: unknown): ApprovalRequest {
  const request = readRequest(document);
  if (typeof request === 'string') throw new ApprovalRefused('SPW049', [request]);
  return request;
}

/** What a handler refuses becomes its answer. */
function refusing(handler: AdmissionHandler): AdmissionHandler {
  return async (request, signal) => {
    try {
      return await handler(request, signal);
    } catch (error) {
      if (!(error instanceof ApprovalRefused)) throw error;
      return { allowed: false, status: STATUS[error.code] ?? 403, code: error.code, message: error.message };
    }
  };
}
