import { UpstreamError } from '../../../../upstream/errors.ts';
import { HttpRefused, type HttpReport, httpError, reportOf } from '../errors.ts';

/**
 * What can go wrong between a request and the end of its answer.
 * `closed`: the connection ended before it was whole. `silent`: no answer began in time. `stalled`: it stood still. `malformed`: it is
 * not HTTP, `words` say in what. `request-length`: the request's body is not as long as it said.
 */
export type FailureKind = 'closed' | 'silent' | 'stalled' | 'malformed' | 'request-length';

/** Told to whoever sent the request; never holds a byte of the target's. */
export class TargetFailure extends Error {
  override readonly name = 'TargetFailure';
  readonly kind: FailureKind;
  readonly words: string;
  constructor(kind: FailureKind, words = '', cause?: unknown) {
    super(words === '' ? kind : `${kind}: ${words}`, cause === undefined ? undefined : { cause });
    this.kind = kind;
    this.words = words;
  }
}

/** What went wrong on the way to a target, in our words; the target's own are never in them. */
export function upstreamReport(label: string, error: unknown): HttpReport {
  if (error instanceof HttpRefused) return error.report;
  if (error instanceof UpstreamError) {
    const status = error.code === 'SPU003' ? 504 : 502;
    return { ...reportOf(error), status };
  }
  if (!(error instanceof TargetFailure)) return httpError('SPE018', [label, 'before the answer was whole']);
  switch (error.kind) {
    case 'silent':
      return httpError('SPE017', [label, 'no answer began']);
    case 'stalled':
      return httpError('SPE017', [label, 'the answer stood still']);
    case 'malformed':
      return httpError('SPE019', [label, error.words]);
    case 'closed':
      return httpError('SPE018', [label, error.words === '' ? 'before the answer was whole' : error.words]);
    case 'request-length':
      return httpError('SPE001', 'the body is shorter or longer than it said');
    default:
      return error.kind satisfies never;
  }
}
