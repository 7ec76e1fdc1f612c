/**
 * Errors of SSH clients that prove who they are with a key or certificate: one table, of the area of identity. No fill ever holds more
 * than a fingerprint, or text that a certificate chose, shortened and quoted. `{}` is filled, in order.
 */
export const SSH_IDENTITY_ERRORS = {
  SPI041: {
    message: 'key {} signs in as nobody on {}',
    hint: 'Use a token, or the platform team adds the key to spec.ssh.authorizedKeys of the AccessConnection.',
  },
  SPI042: { message: 'key {} on {} has ended at {}', hint: 'The platform team sets a later expiresAt, or a new key.' },
  SPI043: {
    message: 'the certificate {} {}',
    hint: 'Get a fresh certificate, for a principal that spec.ssh.trustedUserCAs of the AccessConnection names.',
  },
  SPI044: {
    message: 'the certificate {} has no principal that stands for anybody on {}',
    hint: 'The platform team adds the principal to spec.ssh.trustedUserCAs of the AccessConnection.',
  },
  SPI045: {
    message: 'the key that was offered cannot be used: {}',
    hint: 'Use an Ed25519, ECDSA or RSA key; RSA with SHA-2.',
  },
  SPI046: { message: 'key {} was taken out of {}', hint: 'Ask the platform team.' },
  SPI047: {
    message: 'the token has {} bytes and more: the client has cut it off',
    hint: 'OpenSSH sends at most 1023 bytes of a password. Use keyboard-interactive, which asks for the rest: ssh -o PreferredAuthentications=keyboard-interactive.',
  },
  SPI048: { message: 'there is no connection at this address any more', hint: 'Ask the platform team.' },
  SPI049: { message: 'nothing was offered that proves who it is', hint: 'Send a token as the password.' },
} as const;

export type SshIdentityErrorCode = keyof typeof SSH_IDENTITY_ERRORS;

/** What keeps a key, certificate or cut-off token from being an identity. */
export class SshIdentityError extends Error {
  override readonly name = 'SshIdentityError';
  readonly code: SshIdentityErrorCode;
  readonly hint: string;

  constructor(code: SshIdentityErrorCode, fills: readonly string[] = []) {
    let next = 0;
    super(SSH_IDENTITY_ERRORS[code].message.replaceAll('{}', () => fills[next++] ?? ''));
    this.code = code;
    this.hint = SSH_IDENTITY_ERRORS[code].hint;
  }
}

/** Text that whoever offered it has chosen: at most 100 characters, with no control characters. */
export function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 100)).replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?');
}
