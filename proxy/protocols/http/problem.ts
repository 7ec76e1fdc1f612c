import { STATUS_CODES } from 'node:http';
import { neutralise } from '../../../record/display.ts';
import type { HttpReport } from './core/errors.ts';
import type { Answer } from './core/port.ts';
import type { LaneReport } from './errors.ts';

/** Media type of RFC 9457. */
export const PROBLEM_TYPE = 'application/problem+json';

/**
 * A refusal as a problem document (RFC 9457): `type` names the kind of problem and is no address to be fetched (section 3.1.1 allows a
 * URN), `detail` says what was refused, by what, and what to do, in words; every fact stands in a member of its own besides. `instance`
 * names this very occurrence, as the record knows it.
 */
export function problemAnswer(
  report: HttpReport | LaneReport,
  { session, seq }: { readonly session?: string; readonly seq?: number },
): Answer {
  const { status, code, message, detail, hint } = report;
  const members = 'members' in report ? report.members : undefined;
  const sentences = [message, detail, hint].filter((part) => part !== undefined && part !== '');
  const instance =
    session === undefined ? undefined : `urn:sallyport:session:${session}${seq === undefined ? '' : `:${seq}`}`;
  const body = {
    type: `urn:sallyport:problem:${code}`,
    title: STATUS_CODES[status] ?? 'Refused',
    status,
    detail: neutralise(sentences.map((part) => part?.replace(/\.$/, '')).join('. ')),
    instance,
    code,
    session,
    hint: hint === '' ? undefined : neutralise(hint),
    ...members,
  };
  const reported = report.headers ?? [];
  const challenged = status !== 401 || reported.some((name, index) => index % 2 === 0 && name === 'www-authenticate');
  return {
    status,
    headers: [
      'content-type',
      PROBLEM_TYPE,
      'cache-control',
      'no-store',
      ...(challenged ? [] : ['www-authenticate', 'Bearer realm="sallyport"']),
      ...reported,
    ],
    // Nobody reads the body of an answer to HEAD; core leaves it out.
    body: `${JSON.stringify(body)}\n`,
  };
}
