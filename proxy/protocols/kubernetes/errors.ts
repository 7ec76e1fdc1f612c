import type { GateRefusal } from '../../ports.ts';

/**
 * Errors of the Kubernetes lane: one table. A client reads them as a `Status` of the API (status.ts), whose message begins with these
 * words. `reason` is one of those that Kubernetes' clients know (k8s.io/apimachinery, meta/v1 StatusReason): their typed errors are made
 * of it. `{}` is filled by the place that raises it.
 */
export const KUBERNETES_ERRORS = {
  SPL001: { status: 403, reason: 'Forbidden', message: 'denied: {}', hint: '' },
  SPL002: { status: 403, reason: 'Forbidden', message: 'this needs approval: {}', hint: '' },
  SPL003: { status: 403, reason: 'Forbidden', message: 'the approval was not given: {}', hint: '' },
  SPL004: {
    status: 403,
    reason: 'Forbidden',
    message: 'this needs approval, which cannot be asked for: {}',
    hint: '',
  },
  SPL005: {
    status: 429,
    reason: 'TooManyRequests',
    message: 'this waits for approval: {}',
    hint: 'Send exactly the same again; clients of Kubernetes do so by themselves.',
  },
  SPL006: {
    status: 429,
    reason: 'TooManyRequests',
    message: 'more than {} requests in a minute',
    hint: 'Wait a minute, and send fewer requests.',
  },
  SPL007: {
    status: 503,
    reason: 'ServiceUnavailable',
    message: 'the record cannot be written, so no request is forwarded',
    hint: 'The platform team finds the cause in the log of Sallyport and on its state folder.',
  },
  SPL008: {
    status: 403,
    reason: 'Forbidden',
    message: 'the request cannot be understood: {}',
    hint: 'Send what kubectl and the client libraries send.',
  },
  SPL010: {
    status: 403,
    reason: 'Forbidden',
    message: 'the request has {} bytes as an approver would read it, more than can be shown',
    hint: 'Nobody approves unseen: send less than 64 KiB.',
  },
  SPL011: { status: 403, reason: 'Forbidden', message: 'the client withdrew', hint: '' },
  SPL012: {
    status: 401,
    reason: 'Unauthorized',
    message: 'the session ends: {}',
    hint: 'Come again with a fresh token.',
  },
  SPL013: {
    status: 403,
    reason: 'Forbidden',
    message: 'denied: {}',
    hint: 'Ask the platform team for an exception from the masking rule.',
  },
  SPL014: {
    status: 503,
    reason: 'ServiceUnavailable',
    message: 'the credential of this connection cannot be used: {}',
    hint: 'Ask the platform team; the log of Sallyport says more.',
  },
  SPL015: {
    status: 500,
    reason: 'InternalError',
    message: 'the request could not be carried out',
    hint: 'Try again; the platform team finds the cause in the log of Sallyport.',
  },
  SPL016: {
    status: 504,
    reason: 'Timeout',
    message: 'it took longer than {} s, the limit of this request',
    hint: 'Ask for less, or at another time.',
  },
  SPL017: {
    status: 403,
    reason: 'Forbidden',
    message: 'it returned more than {} bytes, the limit of this request',
    hint: 'Ask for less at a time: with a limit, a selector, or one namespace.',
  },
  SPL021: {
    status: 403,
    reason: 'Forbidden',
    message: 'the answer cannot be masked: {}',
    hint: 'Ask for JSON, YAML or a table, or ask the platform team for an exception from the masking rule.',
  },
  SPL022: {
    status: 403,
    reason: 'Forbidden',
    message: 'the watch ends: {}',
    hint: '',
  },
} as const satisfies Readonly<Record<string, Row>>;

interface Row {
  /** Of the answer. */
  readonly status: number;
  readonly reason: StatusReason;
  readonly message: string;
  readonly hint: string;
}

/** Those of k8s.io/apimachinery/pkg/apis/meta/v1 that the lane answers with. */
export type StatusReason =
  | 'Unauthorized'
  | 'Forbidden'
  | 'BadRequest'
  | 'TooManyRequests'
  | 'RequestEntityTooLarge'
  | 'ServiceUnavailable'
  | 'InternalError'
  | 'Timeout';

export type KubernetesErrorCode = keyof typeof KUBERNETES_ERRORS;

/** What a client is told, whoever says it: a code, words, and what to do. */
export interface KubernetesReport {
  readonly code: string;
  readonly status: number;
  readonly reason: StatusReason;
  readonly message: string;
  /** Such as the rule that decided. */
  readonly detail?: string;
  readonly hint: string;
  /** Of an answer that asks to come again. */
  readonly retryAfterSeconds?: number;
  /** For programs: what stands in `details.causes`, besides code and session. */
  readonly causes?: readonly StatusCause[];
}

/** `reason` is a name of ours, such as `Rule` or `ApprovalRequest`. */
export interface StatusCause {
  readonly reason: string;
  readonly message: string;
}

export interface ReportParts {
  readonly detail?: string;
  readonly hint?: string;
  readonly retryAfterSeconds?: number;
  readonly causes?: readonly StatusCause[];
}

/** Fills a row of the table. What the caller gives stands in place of the table's. */
export function kubernetesError(
  code: KubernetesErrorCode,
  fill: string | number = '',
  { hint, ...more }: ReportParts = {},
): KubernetesReport {
  const row = KUBERNETES_ERRORS[code];
  const message = row.message.replace('{}', () => String(fill));
  return { code, status: row.status, reason: row.reason, message, hint: hint || row.hint, ...more };
}

/** What the gate says, with the code of whoever denied. */
export function gateReport({ code, message, hint }: GateRefusal): KubernetesReport {
  return { code, status: 403, reason: 'Forbidden', message, hint };
}

/** A request that gets no answer of the target, and why. */
export class Refused extends Error {
  override readonly name = 'Refused';
  readonly code: string;
  readonly report: KubernetesReport;
  constructor(report: KubernetesReport, cause?: unknown) {
    super(report.message, cause === undefined ? undefined : { cause });
    this.code = report.code;
    this.report = report;
  }
}

/** Ours are told as they are; of anything else only that it happened: its text may name what agents must not know. */
export function reportOf(error: unknown): KubernetesReport {
  if (error instanceof Refused) return error.report;
  const known = error as { readonly code?: unknown; readonly message?: unknown; readonly hint?: unknown };
  if (typeof known.code !== 'string' || !/^SP[A-Z]\d{3}$/.test(known.code)) return kubernetesError('SPL015');
  if (known.code.startsWith('SPR')) return { ...kubernetesError('SPL007'), code: known.code };
  // A file that cannot be read is named in the log; its path is none of the agent's business.
  if (known.code === 'SPA001') return { ...kubernetesError('SPL015'), code: known.code };
  return {
    code: known.code,
    status: 503,
    reason: 'ServiceUnavailable',
    message: String(known.message),
    hint: typeof known.hint === 'string' ? known.hint : '',
  };
}
