import { GROUP } from '../api/cluster.ts';
import type { AccessConnection, AccessPolicy, ApprovalRequest, MaskingRule } from '../api/resources.ts';
import { resourceType } from '../kube/types.ts';
import type { Stored } from './context.ts';

/** Our own kinds, as the API server serves them. Built-in ones are in kube/builtin.ts. */
export const ACCESS_CONNECTIONS = resourceType<Stored<AccessConnection>>(
  GROUP,
  'v1alpha1',
  'accessconnections',
  'AccessConnection',
);
export const ACCESS_POLICIES = resourceType<Stored<AccessPolicy>>(GROUP, 'v1alpha1', 'accesspolicies', 'AccessPolicy');
export const MASKING_RULES = resourceType<Stored<MaskingRule>>(GROUP, 'v1alpha1', 'maskingrules', 'MaskingRule');
export const APPROVAL_REQUESTS = resourceType<Stored<ApprovalRequest>>(
  GROUP,
  'v1alpha1',
  'approvalrequests',
  'ApprovalRequest',
);
