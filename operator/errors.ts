/** Errors of the operator: one table. `{}` is filled, in order. None carries what a Secret holds. */
export const OPERATOR_ERRORS = {
  SPO001: {
    message: 'the Secret {} cannot be used: {}',
    hint: 'Restore it from a backup, or delete it: a new one is made, and every proxy, connector and approval key changes with it.',
  },
  SPO002: {
    message: 'the namespace of the operator is not known',
    hint: 'Give --namespace, or set POD_NAMESPACE by the downward API.',
  },
  SPO003: {
    message: 'the policies of namespace {} have {} bytes after compression, more than the limit of {}',
    hint: 'Merge rules, or move connections into other namespaces. The last bundle that fitted stays in force.',
  },
  SPO004: {
    message: '{} could not be applied: {}',
    hint: 'It is tried again by itself; mend what the API server says.',
  },
  SPO006: {
    message: 'the option {} cannot be used: {}',
    hint: 'Correct it; sallyport operator --help lists them all.',
  },
} as const;

export type OperatorErrorCode = keyof typeof OPERATOR_ERRORS;

export class OperatorError extends Error {
  override readonly name = 'OperatorError';
  readonly code: OperatorErrorCode;
  readonly hint: string;

  constructor(code: OperatorErrorCode, fills: readonly (string | number)[], cause?: unknown) {
    let next = 0;
    const message = OPERATOR_ERRORS[code].message.replaceAll('{}', () => String(fills[next++] ?? ''));
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.hint = OPERATOR_ERRORS[code].hint;
  }
}
