import { createPrivateKey } from 'node:crypto';
import { parsePublicKey } from '../../approval/keys.ts';
import { isAllowed } from '../../kube/subject-access.ts';
import type { OperatorContext } from '../context.ts';
import type { AdmissionHandler } from './admission.ts';
import { createApprovalAdmission } from './approvals.ts';
import { WEBHOOK_PATHS } from './paths.ts';

/** The handlers of ApprovalRequests, by path, with the keys and the API server of the installation. */
export function approvalHandlers({
  client,
  keys,
  namespace,
  now,
}: Pick<OperatorContext, 'client' | 'keys' | 'namespace' | 'now'>): Readonly<Record<string, AdmissionHandler>> {
  const { stamp, check } = createApprovalAdmission({
    // Parsed for each vote: votes are rare, and keys change.
    signingKey: () => createPrivateKey(keys.signingKey()),
    trustedKeys: () => keys.publicKeys().flatMap((key) => parsePublicKey(key) ?? []),
    hasRight: ({ user, groups, resourceAttributes }, signal) =>
      isAllowed(client, { user, groups, resourceAttributes }, signal),
    now,
    operatorNamespace: namespace,
  });
  return { [WEBHOOK_PATHS.approvals]: stamp, [WEBHOOK_PATHS.approvalsCheck]: check };
}
