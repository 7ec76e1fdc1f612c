import type { GateRefusal } from '../../../ports.ts';

/**
 * Errors of what the lanes over HTTP share: one table (SPE001 to SPE099; the HTTP lane has SPE100 and up). `status` is what the client
 * gets unless the answer has begun. `{}` is filled by the place that raises it.
 */
export const HTTP_ERRORS = {
  SPE001: {
    status: 400,
    message: 'the request is not valid HTTP: {}',
    hint: 'Send requests with a common HTTP client.',
  },
  SPE002: {
    status: 400,
    message: 'the request can be read in more than one way: {}',
    hint: 'Such a request is never forwarded. Send it with a common HTTP client.',
  },
  SPE003: {
    status: 400,
    message: 'the path of the request is not normal: {}',
    hint: 'Send it without dot segments, empty segments and encoded slashes.',
  },
  SPE004: {
    status: 431,
    message: 'the head of the request is too large: {}',
    hint: 'Send fewer or shorter header fields.',
  },
  SPE005: { status: 408, message: 'the request did not arrive within {} s', hint: 'Send requests without a pause.' },
  SPE006: { status: 405, message: 'the method {} does not pass through Sallyport', hint: 'Use another method.' },
  SPE007: {
    status: 401,
    message: 'the request names nobody: it has no token',
    hint: 'Send the token with every request: Authorization: Bearer TOKEN.',
  },
  SPE008: {
    status: 403,
    message: '{} may not use this connection',
    hint: 'Ask the platform team for an AccessPolicy that names you.',
  },
  SPE009: {
    status: 429,
    message: 'there are {} sessions already, the limit here',
    hint: 'Close connections, or try again later.',
  },
  SPE010: {
    status: 421,
    message: 'nothing is served under this host name or path',
    hint: 'Ask the platform team for the address of the connection.',
  },
  SPE011: {
    status: 426,
    message: 'this address is served over TLS',
    hint: 'Use https, with the certificate authority that the platform team gave you.',
  },
  SPE012: { status: 413, message: 'the body has more than {} bytes, the limit here', hint: 'Send less at a time.' },
  SPE013: { status: 401, message: 'the session ends: {}', hint: 'Send requests with a fresh token.' },
  SPE014: {
    status: 503,
    message: 'the record cannot be written, so no request is forwarded',
    hint: 'The platform team finds the cause in the log of Sallyport and on its state folder.',
  },
  SPE015: {
    status: 500,
    message: 'the request cannot be served',
    hint: 'Try again; the platform team finds the cause in the log of Sallyport.',
  },
  SPE017: {
    status: 504,
    message: 'the target of {} did not answer in time: {}',
    hint: 'Whether the request took effect is not known. The platform team checks the target.',
  },
  SPE018: {
    status: 502,
    message: 'the target of {} broke off: {}',
    hint: 'Whether the request took effect is not known. The platform team checks the log of the target.',
  },
  SPE019: {
    status: 502,
    message: 'the answer of the target of {} is not valid HTTP: {}',
    hint: 'The platform team checks the target.',
  },
  SPE020: { status: 499, message: 'the client went away', hint: '' },
  SPE021: { status: 503, message: 'Sallyport is stopping', hint: 'Connect again.' },
  SPE022: {
    status: 426,
    message: 'the request has to ask for the upgrade {}',
    hint: 'Use HTTP/1.1 and an Upgrade field.',
  },
  SPE023: { status: 502, message: 'the answer could not be passed on: {}', hint: 'Ask the platform team.' },
  SPE024: {
    status: 429,
    message: 'the limit of this connection of yours is reached: {}',
    hint: 'Use another connection, or wait.',
  },
  SPE025: { status: 417, message: 'the expectation {} cannot be met', hint: 'Only 100-continue is known.' },
  SPE026: {
    status: 503,
    message: 'too many bodies of requests wait here for a decision',
    hint: 'Try again after some seconds. Requests that wait for people count until somebody decides.',
  },
} as const;

export type HttpErrorCode = keyof typeof HTTP_ERRORS;

/** What a client is told, whoever says it: a status, a code of ours, words, and what to do. */
export interface HttpReport {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  /** Such as the rule that decided. */
  readonly detail?: string;
  readonly hint: string;
  /** Further fields of the answer, such as `retry-after`. */
  readonly headers?: readonly string[];
}

/** Fills a row of the table, in order. */
export function httpError(
  code: HttpErrorCode,
  fill: string | number | readonly (string | number)[] = [],
  more: {
    readonly detail?: string;
    readonly hint?: string;
    readonly status?: number;
    readonly headers?: readonly string[];
  } = {},
): HttpReport {
  const { status, message, hint } = HTTP_ERRORS[code];
  const values = Array.isArray(fill) ? [...fill] : [fill];
  return {
    code,
    status: more.status ?? status,
    message: message.replace(/\{\}/g, () => String(values.shift() ?? '')),
    hint: more.hint ?? hint,
    ...(more.detail === undefined ? {} : { detail: more.detail }),
    ...(more.headers === undefined ? {} : { headers: more.headers }),
  };
}

/** What the gate says, with the code of whoever denied. */
export function gateReport({ code, message, hint }: GateRefusal): HttpReport {
  return { status: 403, code, message, hint };
}

/** Why an identity ended before its time, as its sessions are told. */
export function withdrawnReport({ reason }: AbortSignal): HttpReport {
  const { code, message, hint } = reason as Partial<GateRefusal>;
  if (typeof code !== 'string' || typeof message !== 'string')
    return httpError('SPE013', 'your identity was withdrawn');
  return { status: 401, code, message: `the session ends: ${message}`, hint: hint ?? '' };
}

/** Ours are told as they are; of anything else only that it happened: its text may name what agents must not know. */
export function reportOf(error: unknown): HttpReport {
  if (error instanceof HttpRefused) return error.report;
  if (!(error instanceof Error)) return httpError('SPE015');
  const known = error as Error & { code?: unknown; hint?: unknown };
  if (typeof known.code !== 'string' || !/^SP[A-Z]\d{3}$/.test(known.code)) return httpError('SPE015');
  if (known.code.startsWith('SPR')) return { ...httpError('SPE014'), code: known.code };
  // A file that cannot be read is named in the log; its path is none of the agent's business.
  if (known.code === 'SPA001') return { ...httpError('SPE015'), code: known.code };
  const status = known.code.startsWith('SPI') ? 401 : known.code.startsWith('SPU') ? 502 : 500;
  return { status, code: known.code, message: error.message, hint: typeof known.hint === 'string' ? known.hint : '' };
}

/** A request that goes no further, and why. */
export class HttpRefused extends Error {
  override readonly name = 'HttpRefused';
  readonly code: string;
  readonly report: HttpReport;
  constructor(report: HttpReport, cause?: unknown) {
    super(report.message, cause === undefined ? undefined : { cause });
    this.code = report.code;
    this.report = report;
  }
}
