/** Where the API server posts its reviews; the webhook configurations of the installation name these. */
export const WEBHOOK_PATHS = {
  inject: '/inject',
  /** Votes are stamped: mutating. */
  approvals: '/approvals',
  /** What came of it is looked at: validating. */
  approvalsCheck: '/approvals/check',
} as const;

/** Name of the MutatingWebhookConfiguration and of the ValidatingWebhookConfiguration, whose `caBundle` the operator fills in. */
export const WEBHOOK_CONFIGURATION = 'sallyport';
