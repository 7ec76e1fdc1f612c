import type { ApprovalStore } from '../ports.ts';

/** Where no approvals are set up: every command that wants one is refused, and the client learns which rule wants it. */
export function createRefusingApprovals(): ApprovalStore {
  return {
    submit: ({ requirements }) => {
      const rules = requirements.map(({ rule }) => `${rule.namespace}/${rule.policy}/${rule.rule}`);
      return Promise.resolve({
        state: 'Refused',
        code: 'SPO001',
        message: `approvals are not set up here (rule ${rules.join(', ')})`,
        hint: 'Ask the platform team to set approvals up, or to change the rule.',
      });
    },
  };
}
