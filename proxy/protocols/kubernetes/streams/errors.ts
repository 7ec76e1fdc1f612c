import type { KubernetesReport, ReportParts, StatusReason } from '../errors.ts';

/** Errors of streams: SPL100 and up, told as those of the lane are (errors.ts there). */
export const STREAM_ERRORS = {
  SPL100: {
    status: 400,
    reason: 'BadRequest',
    message: 'this is no stream that Sallyport carries: {}',
    hint: 'Use kubectl or a client library: WebSocket with v5.channel.k8s.io or v4.channel.k8s.io, or SPDY/3.1.',
  },
  SPL101: {
    status: 504,
    reason: 'Timeout',
    message: 'it ran longer than {} s, the limit of this command',
    hint: 'Ask for less, or at another time.',
  },
  SPL102: {
    status: 403,
    reason: 'Forbidden',
    message: 'it returned more than {} bytes, the limit of this command',
    hint: 'Ask for less at a time.',
  },
  SPL103: {
    status: 403,
    reason: 'Forbidden',
    message: 'the terminal showed {} bytes, the most that is recorded of one',
    hint: 'Come again, and run what prints much as a command without a terminal.',
  },
  SPL104: {
    status: 503,
    reason: 'ServiceUnavailable',
    message: 'the API server cannot be reached for this stream',
    hint: 'Try again; the platform team finds the cause in the log of Sallyport.',
  },
  SPL105: {
    status: 500,
    reason: 'InternalError',
    message: 'the stream from the API server broke off',
    hint: 'What the command did is not known.',
  },
  SPL106: { status: 400, reason: 'BadRequest', message: 'the client broke off: {}', hint: '' },
  SPL107: { status: 403, reason: 'Forbidden', message: 'policy has changed, so it ends: {}', hint: '' },
} as const satisfies Readonly<
  Record<
    string,
    { readonly status: number; readonly reason: StatusReason; readonly message: string; readonly hint: string }
  >
>;

export type StreamErrorCode = keyof typeof STREAM_ERRORS;

/** Fills a row of the table. */
export function streamError(
  code: StreamErrorCode,
  fill: string | number = '',
  { hint, ...more }: ReportParts = {},
): KubernetesReport {
  const row = STREAM_ERRORS[code];
  const message = row.message.replace('{}', () => String(fill));
  return { code, status: row.status, reason: row.reason, message, hint: hint || row.hint, ...more };
}

/** What the core aborts an exchange with whose client has gone: nothing is wrong then. */
export const CLIENT_LEFT = 'SPE020';
