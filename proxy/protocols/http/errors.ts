import type { RuleRef } from '../../../policy/decision.ts';
import { ruleName } from '../../../policy/rule.ts';
import type { HttpReport } from './core/errors.ts';

/**
 * Errors of the HTTP lane: one table (SPE100 to SPE199; what the lanes over HTTP share has SPE001 to SPE099). A client reads them as
 * `application/problem+json` (problem.ts). `{}` is filled by the place that raises it.
 */
export const HTTP_LANE_ERRORS = {
  SPE100: { status: 403, message: 'denied: {}', hint: '' },
  SPE101: {
    status: 403,
    message: 'this needs approval: {}',
    hint: 'Once it is approved, send exactly the same request again: it passes once.',
  },
  SPE102: { status: 403, message: 'the approval was not given: {}', hint: '' },
  SPE103: { status: 403, message: 'this needs approval, which cannot be asked for: {}', hint: '' },
  SPE104: {
    status: 429,
    message: 'more than {} requests in a minute',
    hint: 'Wait a minute, and send fewer requests.',
  },
  SPE105: {
    status: 400,
    message: 'the body of the request cannot be judged: {}',
    hint: 'A rule looks at bodies here: send JSON in UTF-8 (application/json) whose objects name nothing twice.',
  },
  SPE106: {
    status: 502,
    message: 'the credential of this connection cannot be used',
    hint: 'The platform team checks the Secret that the AccessConnection names.',
  },
  SPE107: {
    status: 502,
    message: 'the authorization server of this connection gave no access token: {}',
    hint: 'Try again; if it stays so, the platform team checks credential.oauthClientCredentials.',
  },
  SPE108: {
    status: 502,
    message:
      'the target compressed its answer, though it was asked not to, so that nobody could look for secrets in it',
    hint: 'The platform team turns compression off at the target for Sallyport.',
  },
  SPE109: {
    status: 413,
    message: 'the body has more than {} bytes, and more than that cannot be shown to an approver',
    hint: 'Nobody approves unseen: send less at a time.',
  },
  SPE110: {
    status: 502,
    message: 'the answer has more than {} bytes, the limit of this request',
    hint: 'Ask for less at a time.',
  },
  SPE111: {
    status: 504,
    message: 'it took longer than {} s, the limit of this request',
    hint: 'Ask for less, or at another time.',
  },
  SPE112: {
    status: 502,
    message: 'the connection of this upgrade was ended: the target sent the credential of Sallyport',
    hint: 'Ask the platform team.',
  },
  SPE113: { status: 403, message: 'denied: {}', hint: 'Ask the platform team for an exception from the masking rule.' },
} as const;

export type HttpLaneErrorCode = keyof typeof HTTP_LANE_ERRORS;

/** What the lane says besides: members of the problem document. */
export interface LaneReport extends HttpReport {
  /** Extension members of RFC 9457, such as `request` and `allowed`. */
  readonly members?: Readonly<Record<string, unknown>>;
}

/** Fills a row of the table. `hint` of the caller stands in place of the table's. */
export function laneError(
  code: HttpLaneErrorCode,
  fill: string | number = '',
  more: {
    readonly detail?: string;
    readonly hint?: string | undefined;
    readonly headers?: readonly string[];
    readonly members?: Readonly<Record<string, unknown>>;
  } = {},
): LaneReport {
  const { status, message, hint } = HTTP_LANE_ERRORS[code];
  const { detail, headers, members } = more;
  return {
    code,
    status,
    message: message.replace('{}', () => String(fill)),
    hint: more.hint ?? hint,
    ...(detail === undefined ? {} : { detail }),
    ...(headers === undefined ? {} : { headers }),
    ...(members === undefined ? {} : { members }),
  };
}

/** Rules as a client reads them. */
export const ruleNames = (rules: readonly RuleRef[]): string[] => [...new Set(rules.map(ruleName))];
