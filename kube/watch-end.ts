import { isExpired, isForbidden, isNotFound, KubeError } from './errors.ts';

/**
 * What comes after a list or a watch, from how it ended:
 *
 * | what happened | next |
 * |---|---|
 * | the watch ended as it should (`timeoutSeconds`, a server that stops) | watch on from the last version |
 * | a silence, which the watchdog ends | the same: bookmarks come about once a minute, but not for types in which nothing ever changes |
 * | three such ends in a row without one event or bookmark | list |
 * | 410, as a status or as an event: history is gone | list |
 * | an event that cannot be understood, a part of one, or one older than the one before it | list: it may have been the one that mattered |
 * | network, 5xx, 429 | wait, then watch on; "not yet there" (504) and the third in a row list |
 * | 401 | the client has read the token again already; wait, then watch on |
 * | 403, 404 | wait, then list; said once. The store keeps what it has: rights that are gone for a moment delete nothing |
 */
/** How a step ended, with what is done next. */
export interface Step {
  readonly next: 'list' | 'watch';
  /** For the metric. */
  readonly end: 'listed' | 'closed' | 'empty' | 'expired' | 'silent' | 'garbled' | 'refused' | 'broken' | 'stopped';
  readonly problem?: Error;
}

/** What the end of a step by an error means for the next. */
export function judge(error: unknown, step: 'list' | 'watch', signal: AbortSignal): Step {
  if (signal.aborted) return { next: step, end: 'stopped' };
  const problem = error instanceof Error ? error : new Error(String(error));
  if (isExpired(error)) return { next: 'list', end: 'expired', problem };
  if (isForbidden(error) || isNotFound(error)) return { next: 'list', end: 'refused', problem };
  if (!(error instanceof KubeError)) return { next: 'list', end: 'garbled', problem };
  switch (error.code) {
    case 'SPB012':
    case 'SPB013':
    case 'SPB007':
    case 'SPB011':
      return { next: 'list', end: 'garbled', problem };
    case 'SPB019':
      // No trouble by itself: of a type without a change since the API server started there are no bookmarks either.
      return { next: step, end: 'silent' };
    case 'SPB010':
      // A version that this server has not seen yet: of another server that was ahead, or of a history that is no more.
      return { next: error.reason === 'Timeout' ? 'list' : step, end: 'broken', problem };
    default:
      return { next: step, end: 'broken', problem };
  }
}

/** Milliseconds. */
export const askedMs = (problem: Error): number => (problem instanceof KubeError ? (problem.retryAfterMs ?? 0) : 0);

/**
 * Versions of one type count upwards (KEP-5504; so they did before it was promised). Where they are no numbers, nothing is said.
 * @returns whether `a` is from before `b`
 */
export function isOlder(a: string, b: string): boolean {
  if (!/^\d{1,20}$/.test(a) || !/^\d{1,20}$/.test(b)) return false;
  return BigInt(a) < BigInt(b);
}
