import type { ApprovalStore } from '../ports.ts';
import { ClusterError } from './errors.ts';

/** Where used approvals cannot be noted: whatever needs an approval is refused, with a reason. */
export function refuseApprovals(): ApprovalStore {
  return {
    submit() {
      const { code, message, hint } = new ClusterError('SPX012');
      return Promise.resolve({ state: 'Refused', code, message, hint });
    },
  };
}
