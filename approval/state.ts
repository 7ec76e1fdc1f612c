import type { ApprovalRequest } from '../api/resources.ts';

/** What a request says of itself, for people: it can end a request, and it never approves one. */

export type State = NonNullable<NonNullable<ApprovalRequest['status']>['state']>;

export const stateOf = ({ status }: ApprovalRequest): State => status?.state ?? 'Pending';

/** Annotation, set by whoever wants an exact count; its value is when it was asked for. */
export const COUNT_WANTED = 'sallyport.dev/count-wanted';

/** As many votes as the resource kind takes. */
export const MAX_VOTES = 20;

/** States in which a request may still be decided, or used. */
export function isOpen(state: State): boolean {
  return state === 'Pending' || state === 'Approved' || state === 'Orphaned';
}

/**
 * Why nobody can vote on the request any more; undefined while somebody can.
 * @param now milliseconds since 1970
 */
export function whyClosed(request: ApprovalRequest, now: number): string | undefined {
  const { decidedBy, outcome } = request.status ?? {};
  const state = stateOf(request);
  switch (state) {
    case 'Pending':
    case 'Orphaned':
    case 'Approved':
      return Date.parse(request.spec.expiresAt) > now ? undefined : `it expired at ${request.spec.expiresAt}`;
    case 'Denied':
      return `it was denied${decidedBy === undefined ? '' : ` by ${decidedBy}`}`;
    case 'Expired':
      return `it expired at ${request.spec.expiresAt}`;
    case 'Withdrawn':
      return `it was withdrawn${outcome === undefined ? '' : `: ${outcome}`}`;
    case 'Consumed':
    case 'Executed':
    case 'Failed':
      return 'its command was run already';
    default: {
      const never: never = state;
      throw new Error(`request in unknown state ${String(never)}`);
    }
  }
}
