/**
 * Errors on the way to a target: one table. `state` is the SQLSTATE that a PostgreSQL client sees. The target's own words are never
 * in them: they could name roles, hosts and rules that the agent has no business with. `{}` is filled, in order; the first is the
 * connection.
 */
export const UPSTREAM_ERRORS = {
  SPU001: {
    state: '08001',
    message: 'the host name of the target of {} cannot be resolved',
    hint: 'The platform team checks target.host.',
  },
  SPU002: {
    state: '08001',
    message: 'the target of {} refuses connections',
    hint: 'The platform team checks that it runs, and target.port.',
  },
  SPU003: {
    state: '08001',
    message: 'the target of {} did not answer in time, while {}',
    hint: 'Try again; if it stays so, the platform team checks the target and the network to it.',
  },
  SPU004: {
    state: '08006',
    message: 'the target of {} broke the connection off, while {}',
    hint: 'Try again; if it stays so, the platform team checks the log of the target.',
  },
  SPU005: {
    state: '08001',
    message: 'the target of {} does not speak TLS',
    hint: 'The platform team turns ssl on there, or sets target.tls.mode to Disable if the network is trusted.',
  },
  SPU006: {
    state: '08001',
    message: 'the certificate of the target of {} is not trusted: {}',
    hint: 'The platform team puts its authority into target.tls.caRef, or renews the certificate.',
  },
  SPU007: {
    state: '08001',
    message: 'the certificate of the target of {} is not for {}',
    hint: 'The platform team sets target.tls.serverName, or gets a certificate with that name.',
  },
  SPU008: {
    state: '08001',
    message: 'the TLS handshake with the target of {} failed: {}',
    hint: 'The platform team compares TLS versions, and checks whether the target wants a client certificate.',
  },
  SPU009: {
    state: '08001',
    message: 'the client certificate of {} cannot be used',
    hint: 'The platform team checks that tls.crt and tls.key are PEM and belong together.',
  },
  SPU010: {
    state: '08004',
    message: 'the target of {} does not accept the credential of Sallyport',
    hint: 'The platform team checks user name and password in the Secret, and pg_hba.conf of the target.',
  },
  SPU011: {
    state: '08004',
    message: 'the target of {} asks for authentication by {}, which Sallyport does not do',
    hint: 'The platform team sets scram-sha-256 or cert in pg_hba.conf of the target.',
  },
  SPU012: {
    state: '08004',
    message: 'the target of {} asks for the password in the clear, on a connection without TLS',
    hint: 'The platform team sets target.tls.mode to VerifyFull, or scram-sha-256 in pg_hba.conf of the target.',
  },
  SPU013: {
    state: '08004',
    message: 'the target of {} did not prove that it knows the password',
    hint: 'Something may stand between Sallyport and the target: the platform team finds out before it goes on.',
  },
  SPU014: {
    state: '08P01',
    message: 'the target of {} sent what PostgreSQL would not: {}',
    hint: 'The platform team checks that a PostgreSQL server answers at target.host and target.port.',
  },
  SPU015: {
    state: '53300',
    message: 'the target of {} has no connection left',
    hint: 'Try again later, or the platform team raises max_connections there.',
  },
  SPU016: {
    state: '3D000',
    message: 'the target of {} has no such database',
    hint: 'The platform team checks target.database.',
  },
  SPU017: {
    state: '57P03',
    message: 'the target of {} is starting up or shutting down',
    hint: 'Try again in a moment.',
  },
  SPU018: {
    state: '22023',
    message: 'the target of {} refuses a setting of this start-up',
    hint: 'Leave settings out of the connection string, PGOPTIONS included.',
  },
  SPU019: {
    state: '08004',
    message: 'the target of {} asks for a password, and its credential is a certificate',
    hint: 'The platform team sets cert in pg_hba.conf of the target, or puts username and password into the Secret.',
  },
  SPU020: {
    state: '08004',
    message: 'the target of {} asks for {} rounds of password hashing, more than the limit',
    hint: 'The platform team lowers scram_iterations there, and sets the password anew.',
  },
  SPU021: {
    state: '08004',
    message: 'the target of {} refuses the session (SQLSTATE {})',
    hint: 'The platform team looks it up in the log of the target.',
  },
  SPU022: {
    state: '08P01',
    message: 'the target of {} sent what an SSH server would not',
    hint: 'The platform team checks that an SSH server answers at target.host and target.port.',
  },
  SPU023: {
    state: '08001',
    message: 'the target of {} and Sallyport have no algorithm in common',
    hint: 'The platform team allows current key exchanges and ciphers in sshd_config of the target.',
  },
  SPU024: {
    state: '08001',
    message: 'the target of {} did not prove itself with one of target.hostKeys',
    hint: 'Something may stand between Sallyport and the target: the platform team compares its keys with the host before it goes on.',
  },
  SPU025: {
    state: '08004',
    message: 'the target of {} does not accept the credential of Sallyport for this user',
    hint: 'The platform team checks TrustedUserCAKeys and the principals, or authorized_keys of that user, and the log of the target.',
  },
} as const;

export type UpstreamErrorCode = keyof typeof UPSTREAM_ERRORS;

/** The target could not be reached, trusted or signed in to. */
export class UpstreamError extends Error {
  override readonly name = 'UpstreamError';
  readonly code: UpstreamErrorCode;
  /** SQLSTATE for a PostgreSQL client. */
  readonly state: string;
  readonly hint: string;

  /** @param fills the connection as NAMESPACE/NAME, then what the message asks for */
  constructor(code: UpstreamErrorCode, fills: readonly (string | number)[], cause?: unknown) {
    let next = 0;
    const row = UPSTREAM_ERRORS[code];
    const message = row.message.replaceAll('{}', () => String(fills[next++] ?? ''));
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.state = row.state;
    this.hint = row.hint;
  }
}
