import { type LaneReport, laneError } from './errors.ts';
import * as encode from './wire/encode.ts';

/** A client that was identified but gets no session, and why. */
export class Refused extends Error {
  override readonly name = 'Refused';
  readonly report: LaneReport;
  constructor(report: LaneReport) {
    super(`${report.code}: ${report.message}`);
    this.report = report;
  }
}

/** The last message of a connection that never became a session. */
export function refusalBytes(report: LaneReport, session: string): Buffer {
  const detail = [report.detail, `Sallyport ${report.code}, session ${session}.`].filter((part) => part).join(' ');
  return encode.errorResponse({
    severity: 'FATAL',
    code: report.state,
    message: report.message,
    detail,
    hint: report.hint,
  });
}

/** Ours are told as they are; of anything else only that it happened: its text may name what agents must not know. */
export function reportOf(error: Error): LaneReport {
  if (error instanceof Refused) return error.report;
  const known = error as Error & { code?: unknown; sqlstate?: unknown; hint?: unknown };
  if (typeof known.code === 'string' && /^SP[A-Z]\d{3}$/.test(known.code)) {
    const state =
      typeof known.sqlstate === 'string' ? known.sqlstate : known.code.startsWith('SPR') ? '58030' : '08006';
    // A file that cannot be read is named in the log; its path is none of the agent's business.
    if (known.code === 'SPA001')
      return { ...laneError('SPG024'), state, message: "the target's credential cannot be read" };
    const hint = typeof known.hint === 'string' ? known.hint : '';
    return { code: known.code as LaneReport['code'], state, message: error.message, hint };
  }
  return laneError('SPG024');
}
