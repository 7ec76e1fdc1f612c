/**
 * Errors of approvals: one table. An agent reads message and hint of those up to SPV019, so neither names a path; the others are
 * for logs and for the command line. `{}` is filled, in order, where the error is raised.
 */
export const APPROVAL_ERRORS = {
  SPV001: {
    message: '{} requires approval, and nobody is set up here who could give it',
    hint: 'The platform team lists approvers in the configuration of the gateway.',
  },
  SPV002: {
    message: '{} requires approval by {}, and nobody else is set up who could give it',
    hint: 'The platform team lists more approvers for this connection, or changes the rule.',
  },
  SPV003: {
    message: 'the command cannot be shown whole to whoever would approve it: {}',
    hint: 'Send a shorter command, such as one with fewer values: nobody approves what they cannot see.',
  },
  SPV004: {
    message: 'the request for approval cannot be kept ({}), so the command is not run',
    hint: 'Try again later. Whoever runs the gateway sees that requests for approval can be stored: in the folder of approvals, or by the API server.',
  },
  SPV005: {
    message: '{} commands of yours wait for approval already',
    hint: 'Wait until they are decided, or withdraw some by cancelling them.',
  },
  SPV006: {
    message: '{} commands on this connection wait for approval already',
    hint: 'Try again once some of them are decided.',
  },
  SPV007: { message: 'request {} expired', hint: 'Send the command again: a new request is made.' },
  SPV008: { message: 'request {} was denied by {}', hint: 'Ask the person who denied it before you try again.' },
  SPV009: { message: 'request {} was withdrawn: {}', hint: 'Send the command again: a new request is made.' },
  SPV010: {
    message: 'request {} was used already: an approval is good for one run',
    hint: 'Send the command again: a new request is made.',
  },
  SPV011: {
    message: 'request {} is not approved, or an approval counts no more',
    hint: 'Send the command again and wait for a decision.',
  },
  SPV012: {
    message: 'request {} was changed after it was made, so votes on it do not count',
    hint: 'Send the command again: a new request is made. The operator of the gateway finds out who changed it.',
  },
  SPV013: { message: 'the text of the command is not Unicode', hint: 'Send it in valid UTF-8.' },
  SPV014: {
    message: 'that an approval is used up cannot be noted in the archive ({}), so the command is not run',
    hint: 'Send the command again later: the approval stays good until it expires. The operator of the gateway sees to the archive.',
  },

  SPV020: {
    message: 'the request in {} cannot be used, and approves nothing: {}',
    hint: 'Nobody but Sallyport writes there. Undo the edit, or remove the file: the command asks again.',
  },
  SPV021: {
    message: 'another process keeps {} locked',
    hint: 'Try again. If it stays so, remove the lock once no Sallyport runs on that folder.',
  },
  SPV022: {
    message: 'no request {} in {}',
    hint: '`sallyport requests list --all` shows those that are. Give the gateway’s --state, or its configuration with -c.',
  },
  SPV023: { message: 'request {} is in several namespaces: {}', hint: 'Say which, with -n NAMESPACE.' },
  SPV024: {
    message: 'request {} can no longer be decided: {}',
    hint: 'If the command is still wanted, it asks again.',
  },
  SPV025: { message: '{} has voted on request {} already', hint: 'A second person has to vote.' },
  SPV026: { message: '{} may not vote on request {}: {}', hint: 'Somebody else has to vote.' },
  SPV027: {
    message: 'request {} changed while it was looked at',
    hint: 'Look at it again: sallyport requests show shows what it is now.',
  },
  SPV028: {
    message: 'the key of approver {} cannot be used: {}',
    hint: 'Make the file 0600 and its folder 0700, both yours; or make a key with sallyport approver create NAME.',
  },
  SPV029: {
    message: 'there is no key of an approver in {}',
    hint: 'Make one with sallyport approver create NAME, and put what it prints into the configuration of the gateway.',
  },
  SPV030: { message: 'there are keys of several approvers here: {}', hint: 'Say which, with --as NAME.' },
  SPV031: { message: 'the key of approver {} exists already', hint: 'Give another name, or move the old key away.' },
  SPV032: {
    message: 'nothing was counted for request {} within {} s',
    hint: 'A session has to wait for the request, and its connection must let the gateway count. See docs/approvals.md.',
  },
  SPV033: {
    message: '{} is no name for an approver',
    hint: 'Use letters, digits and - . _ @, such as ada or ada@example.com.',
  },
} as const satisfies Record<`SPV${number}`, { readonly message: string; readonly hint: string }>;

export type ApprovalErrorCode = keyof typeof APPROVAL_ERRORS;

/** Message and hint of a row of the table. */
export function approvalText(
  code: ApprovalErrorCode,
  fills: readonly (string | number)[] = [],
): { readonly code: ApprovalErrorCode; readonly message: string; readonly hint: string } {
  let next = 0;
  const { message, hint } = APPROVAL_ERRORS[code];
  return { code, message: message.replaceAll('{}', () => String(fills[next++] ?? '')), hint };
}

export class ApprovalError extends Error {
  override readonly name = 'ApprovalError';
  readonly code: ApprovalErrorCode;
  readonly hint: string;

  constructor(code: ApprovalErrorCode, fills: readonly (string | number)[] = [], cause?: unknown) {
    const { message, hint } = approvalText(code, fills);
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.hint = hint;
  }
}

/** The system's code where there is one, such as `EROFS`: its message would name paths. */
export function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown cause';
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message;
}

export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
