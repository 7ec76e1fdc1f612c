/**
 * Errors of credentials that are made when they are needed: one table. `state` is the SQLSTATE that a PostgreSQL client sees; what
 * the target itself said goes to the log only. `{}` is filled, in order; the first is the connection.
 */
export const CREDENTIAL_ERRORS = {
  SPK001: {
    state: '08004',
    message: 'the role in adminSecretRef of {} may not create roles',
    hint: 'The platform team gives it CREATEROLE: docs/credentials.md has the statements.',
  },
  SPK002: {
    state: '08004',
    message: 'the target of {} makes no login for this session (SQLSTATE {})',
    hint: 'Try again; if it stays so, the platform team looks it up in the log of Sallyport.',
  },
  SPK003: {
    state: '08004',
    message: 'credential.postgresRole.memberOf of {} names a role that cannot be given: {}',
    hint: 'The platform team creates it, and since PostgreSQL 16 grants it to the admin role WITH ADMIN OPTION.',
  },
  SPK004: {
    state: '08004',
    message: 'credential.postgresRole.memberOf of {} names a role through which more roles could be made: {}',
    hint: 'The platform team names one that is, and is a member of, no superuser and nothing with CREATEROLE.',
  },
  SPK005: {
    state: '08004',
    message: 'the rights that policy gives on {} cannot be put into its target (SQLSTATE {})',
    hint: 'The platform team looks it up in the log of Sallyport.',
  },
  SPK006: {
    state: '57P01',
    message: '{} signs in to its target in another way now',
    hint: 'Connect again.',
  },
  SPK007: {
    state: '08004',
    message: 'the authority in caSecretRef of {} cannot sign: {}',
    hint: 'The platform team makes one with sallyport ca postgres, or puts a P-256 certificate authority there.',
  },
  SPK008: {
    state: '55000',
    message: 'what this session has set cannot be carried over to the next command on {} (SQLSTATE {})',
    hint: 'Connect again.',
  },
} as const;

export type CredentialErrorCode = keyof typeof CREDENTIAL_ERRORS;

/** No credential could be made, or the one there was is no longer good. */
export class CredentialError extends Error {
  override readonly name = 'CredentialError';
  readonly code: CredentialErrorCode;
  readonly sqlstate: string;
  readonly hint: string;

  /** @param fills the connection as NAMESPACE/NAME, then what the message asks for */
  constructor(code: CredentialErrorCode, fills: readonly string[], cause?: unknown) {
    let next = 0;
    const row = CREDENTIAL_ERRORS[code];
    super(
      row.message.replaceAll('{}', () => fills[next++] ?? ''),
      cause === undefined ? undefined : { cause },
    );
    this.code = code;
    this.sqlstate = row.state;
    this.hint = row.hint;
  }
}
