import { UpstreamError } from '../../../../upstream/errors.ts';
import { HttpRefused, type HttpReport, httpError, reportOf } from '../errors.ts';

/** What went wrong on the way to a target, in our words; the target's own are never in them. */
export function upstreamReport(label: string, error: unknown): HttpReport {
  if (error instanceof HttpRefused) return error.report;
  if (error instanceof UpstreamError) {
    const status = error.code === 'SPU003' ? 504 : 502;
    return { ...reportOf(error), status };
  }
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
  switch (code) {
    case 'UND_ERR_HEADERS_TIMEOUT':
      return httpError('SPE017', [label, 'no answer began']);
    case 'UND_ERR_BODY_TIMEOUT':
      return httpError('SPE017', [label, 'the answer stood still']);
    case 'UND_ERR_CONNECT_TIMEOUT':
      return httpError('SPE017', [label, 'no connection']);
    case 'UND_ERR_HEADERS_OVERFLOW':
      return httpError('SPE019', [label, 'its head is too large']);
    case 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH':
      return httpError('SPE018', [label, 'the answer is shorter or longer than it said']);
    case 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH':
      return httpError('SPE001', 'the body is shorter or longer than it said');
    case 'UND_ERR_DESTROYED':
    case 'UND_ERR_CLOSED':
      return httpError('SPE021');
    default:
      return code.startsWith('HPE_')
        ? httpError('SPE019', [label, code.slice(4).toLowerCase().replaceAll('_', ' ')])
        : httpError('SPE018', [label, 'before the answer was whole']);
  }
}

/** A connection that was kept alive and was closed by the target as the request was on its way. */
export function isStale(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'UND_ERR_SOCKET' || code === 'ECONNRESET' || code === 'EPIPE';
}
