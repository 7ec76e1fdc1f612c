/** Errors of the tunnel, as a connector reads them: one table. `{}` is filled, in order. `status` is that of HTTP. */
export const TUNNEL_ERRORS = {
  SPT001: {
    status: 404,
    message: 'no connection of this namespace has the target {}',
    hint: 'Write host and port as in spec.target of the AccessConnection.',
  },
  SPT002: { status: 503, message: 'this replica is stopping', hint: 'Use another replica.' },
  SPT003: { status: 503, message: 'this replica is not ready: {}', hint: 'Use another replica, or try again.' },
  SPT004: {
    status: 401,
    message: 'the request has no bearer token',
    hint: 'Send Authorization: Bearer with the projected token of the pod.',
  },
  SPT005: { status: 400, message: 'what should be connected to is no HOST:PORT', hint: 'Send CONNECT HOST:PORT.' },
  SPT006: { status: 400, message: 'the body is not what it has to be: {}', hint: 'See docs/cluster-proxy.md.' },
  SPT007: { status: 413, message: 'the body has more than {} bytes', hint: 'See docs/cluster-proxy.md.' },
  SPT008: {
    status: 404,
    message: 'there is CONNECT, PUT /v1/identity and PUT /v1/probe',
    hint: 'See docs/cluster-proxy.md.',
  },
  SPT009: { status: 401, message: 'the identity is not accepted: {}', hint: '' },
  SPT010: { status: 403, message: 'only pods of this cluster have sessions to renew and targets to probe', hint: '' },
  SPT011: {
    status: 503,
    message: 'there are too many connections, or too many of {}',
    hint: 'A connector opens one connection for each of its clients; look at what that pod does.',
  },
} as const;

export type TunnelErrorCode = keyof typeof TUNNEL_ERRORS;

export class TunnelError extends Error {
  override readonly name = 'TunnelError';
  readonly code: TunnelErrorCode;
  readonly status: number;
  readonly hint: string;

  constructor(code: TunnelErrorCode, fill: string | number = '', more: { hint?: string; cause?: unknown } = {}) {
    const row = TUNNEL_ERRORS[code];
    const message = row.message.replace('{}', () => String(fill));
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.code = code;
    this.status = row.status;
    this.hint = more.hint ?? row.hint;
  }
}
