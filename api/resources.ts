import type { AccessConnection } from './generated/accessconnections.ts';
import type { AccessPolicy } from './generated/accesspolicies.ts';
import type { ApprovalRequest } from './generated/approvalrequests.ts';
import type { MaskingRule } from './generated/maskingrules.ts';

/** What a policy bundle is compiled from: valid objects, defaults filled in, every one with its namespace. */
export interface Resources {
  readonly connections: readonly AccessConnection[];
  readonly policies: readonly AccessPolicy[];
  readonly maskingRules: readonly MaskingRule[];
}

/** Something to tell the author of an object. Errors keep the object out of force; warnings do not. */
export interface Problem {
  readonly severity: 'error' | 'warning';
  readonly object: { readonly kind: string; readonly namespace: string; readonly name: string };
  /** Where in the object, such as `['spec', 'rules', 0, 'when']`. */
  readonly path: readonly (string | number)[];
  /** Stable code of the area's error table. */
  readonly code: string;
  readonly message: string;
  /** What to write instead. */
  readonly fix?: string;
}

export type { AccessConnection, AccessPolicy, ApprovalRequest, MaskingRule };
