/** Why a change to an ApprovalRequest is refused: the part of the admission table (SPW) that is about approvals. `{}` is filled, in order. */
export const APPROVAL_ADMISSION_ERRORS = {
  SPW040: {
    message: 'only the proxy of namespace {} makes approval requests, and this is {}',
    hint: 'Send the command through Sallyport: it makes the request.',
  },
  SPW041: {
    message: 'request {} cannot be changed: a vote may be added, and nothing else ({})',
    hint: 'Add one to the end: kubectl patch areq NAME --type=json -p \'[{"op":"add","path":"/spec/decisions/-","value":{"verdict":"Approve"}}]\'',
  },
  SPW042: { message: '{} votes were added to request {} at once', hint: 'Add one at a time.' },
  SPW043: {
    message: 'request {} can no longer be decided: {}',
    hint: 'If the command is still wanted, it asks again.',
  },
  SPW044: {
    message: '{} may not approve on connection {}',
    hint: 'It needs the verb approve on this accessconnection, in a Role: see examples/approvers-rbac.yaml.',
  },
  SPW045: {
    message: 'nobody approves for themselves, and {} asks for request {}',
    hint: 'Somebody else has to approve.',
  },
  SPW046: { message: '{} has voted on request {} already', hint: 'A second person has to vote.' },
  SPW047: { message: 'no rule of request {} counts {} as an approver', hint: 'spec.requirements names who it counts.' },
  SPW048: {
    message: 'only the proxies of namespace {} and the operator write the status of approval requests, and this is {}',
    hint: 'Vote instead: the status follows.',
  },
  SPW049: { message: 'what was sent is no approval request that can be judged: {}', hint: 'Correct the object.' },
  SPW050: {
    message: 'the vote on request {} is not the one that was stamped: {}',
    hint: 'Another admission webhook changed it, or the one that stamps votes was not asked: compare the webhook configurations with those of the installation.',
  },
  SPW051: {
    message: 'whether {} may approve on connection {} cannot be found out just now',
    hint: 'Try again in a moment; the log of the operator says more.',
  },
} as const satisfies Record<`SPW${number}`, { readonly message: string; readonly hint: string }>;

export type ApprovalAdmissionCode = keyof typeof APPROVAL_ADMISSION_ERRORS;

/** A refusal, for the person who reads it where they voted. */
export class ApprovalRefused extends Error {
  override readonly name = 'ApprovalRefused';
  readonly code: ApprovalAdmissionCode;

  constructor(code: ApprovalAdmissionCode, fills: readonly (string | number)[], cause?: unknown) {
    let next = 0;
    const { message, hint } = APPROVAL_ADMISSION_ERRORS[code];
    const text = message.replaceAll('{}', () => String(fills[next++] ?? ''));
    super(`${text}. ${hint}`, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}
