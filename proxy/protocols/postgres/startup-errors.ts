/**
 * Errors between a client's first byte and its first ReadyForQuery: one table, beside that of the running session. `state` is the
 * SQLSTATE that the client sees (manual, appendix A); the code stands in DETAIL. All of them end the connection.
 */
export const STARTUP_ERRORS = {
  SPG101: {
    state: '08P01',
    message: 'invalid length of startup packet: {}',
    hint: 'Use a PostgreSQL client that speaks protocol 3.',
  },
  SPG102: {
    state: '0A000',
    message: 'unsupported frontend protocol {}: this server supports 3.0 to 3.2',
    hint: 'Use a PostgreSQL client that speaks protocol 3.',
  },
  SPG103: {
    state: '08P01',
    message: 'received unencrypted data after the request for encryption',
    hint: 'Either the client software is at fault, or somebody tries to put bytes into the connection.',
  },
  SPG104: {
    state: '08P01',
    message: 'invalid startup packet: {}',
    hint: 'Use a PostgreSQL client that speaks protocol 3.',
  },
  SPG105: {
    state: '42501',
    message: 'startup parameter "{}" may not be set through Sallyport',
    hint: 'Leave it out of the connection string, PGOPTIONS included.',
  },
  SPG106: {
    state: '42501',
    message: 'replication connections do not pass through Sallyport',
    hint: 'Replicate from the target directly.',
  },
  SPG108: {
    state: '28000',
    message: 'the connection is not encrypted',
    hint: 'Connect with sslmode=verify-full and sslrootcert=STATE/tls/ca.crt.',
  },
  SPG109: {
    state: '57014',
    message: 'the client did not authenticate within {} s',
    hint: 'Send the token with the connection request.',
  },
  SPG110: {
    state: '08P01',
    message: 'expected an answer to the authentication request, got {}',
    hint: 'Use a PostgreSQL client that speaks protocol 3.',
  },
  SPG111: {
    state: '08P01',
    message: 'malformed OAUTHBEARER message: {}',
    hint: 'Use libpq 18 or newer, or send the token as the password.',
  },
  SPG112: { state: '28P01', message: 'password authentication failed for user "{}"', hint: '' },
  SPG113: {
    state: '28000',
    message: 'the TLS handshake failed: {}',
    hint: 'Direct TLS needs ALPN "postgresql" (libpq 17 or newer).',
  },
  SPG114: {
    state: '28000',
    message: 'the token could not be verified just now',
    hint: 'Try again; the platform team finds the cause in the log of Sallyport.',
  },
  SPG115: { state: '22023', message: 'sallyport.auth cannot be "{}"', hint: 'Write password or oauthbearer.' },
  SPG116: { state: '08006', message: 'the client closed the connection before it had authenticated', hint: '' },
  SPG117: { state: '08006', message: 'the client closed the connection without having said anything', hint: '' },
} as const;

export type StartupErrorCode = keyof typeof STARTUP_ERRORS;

/** Ends a connection that is not a session yet. */
export class StartupError extends Error {
  override readonly name = 'StartupError';
  readonly code: StartupErrorCode;
  /** SQLSTATE. */
  readonly state: string;
  readonly hint: string;
  /** Begins with a code: our own, or that of what went wrong below, such as `SPI008: the token expired at …`. */
  readonly detail: string;

  constructor(
    code: StartupErrorCode,
    fill: string | number = '',
    more: { hint?: string; detail?: string; cause?: unknown } = {},
  ) {
    const row = STARTUP_ERRORS[code];
    super(
      row.message.replace('{}', () => String(fill)),
      more.cause === undefined ? undefined : { cause: more.cause },
    );
    this.code = code;
    this.state = row.state;
    this.hint = more.hint ?? row.hint;
    this.detail = more.detail ?? code;
  }
}

/** Text that the client chose, fit for a message: printable, at most 64 characters. */
export function shown(text: string): string {
  const printable = text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '?');
  return printable.length > 64 ? `${printable.slice(0, 64)}…` : printable;
}
