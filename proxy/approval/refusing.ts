import type { ApprovalStore } from '../ports.ts';

/** Where no approvals are set up: every command that wants one is refused, and the client learns which rule wants it. */
export function createRefusingApprovals(): ApprovalStore {
  return {
    request: () => Promise.resolve({ state: 'Unavailable', message: 'Approvals are not set up here' }),
  };
}
