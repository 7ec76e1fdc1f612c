/**
 * Errors of what signs in to an SSH target: one table. Texts are shown to the client; what a file or Secret holds is never in them.
 * `{}` is filled, in order; the first is the connection.
 */
export const SSH_CREDENTIAL_ERRORS = {
  SPK021: {
    message: 'nobody signs in to {} as {}: its certificates are for {}',
    hint: 'Sign in as one of these, or the platform team adds the user to credential.sshCertificate.principals.',
  },
  SPK022: {
    message: 'the authority in caSecretRef of {} cannot sign: {}',
    hint: 'The platform team makes one with sallyport ca ssh, or puts an Ed25519 key there as ssh-privatekey.',
  },
  SPK023: {
    message: 'the credential of {} is for the user {}, not for {}',
    hint: 'Sign in as that user, or the platform team takes username out of the Secret.',
  },
  SPK024: { message: '{} signs in to its target in another way now', hint: 'Connect again.' },
  SPK025: {
    message: 'target.hostKeys of {} has an entry that cannot be used: {}',
    hint: 'The platform team writes lines as ssh-keyscan prints them, without the host, and compares them with the host.',
  },
  SPK026: {
    message: 'it is not known from where the target of {} sees Sallyport',
    hint: 'The platform team sets credential.sshCertificate.sourceAddresses.',
  },
} as const;

export type SshCredentialErrorCode = keyof typeof SSH_CREDENTIAL_ERRORS;

/** Nothing can sign in, or the target cannot be checked, or what signed in is no longer good. */
export class SshCredentialError extends Error {
  override readonly name = 'SshCredentialError';
  readonly code: SshCredentialErrorCode;
  readonly hint: string;

  /** @param fills the connection as NAMESPACE/NAME, then what the message asks for */
  constructor(code: SshCredentialErrorCode, fills: readonly string[], cause?: unknown) {
    let next = 0;
    const row = SSH_CREDENTIAL_ERRORS[code];
    super(
      row.message.replaceAll('{}', () => fills[next++] ?? ''),
      cause === undefined ? undefined : { cause },
    );
    this.code = code;
    this.hint = row.hint;
  }
}
