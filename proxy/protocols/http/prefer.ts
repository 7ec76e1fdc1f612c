import { fieldValues } from './core/headers.ts';
import type { HeaderFields } from './core/port.ts';

/** Longest wait for people that a client may ask for, in seconds: more than most clients and load balancers keep a request open. */
export const MOST_WAIT_S = 300;

/**
 * How long the client is willing to wait, by `Prefer: wait=N` (RFC 7240, section 4.3), in seconds and at most `MOST_WAIT_S`; undefined:
 * it does not say. Of several the first counts (section 2).
 */
export function preferredWait(headers: HeaderFields): number | undefined {
  for (const preference of preferences(headers)) {
    const seconds = WAIT.exec(preference)?.[1];
    if (seconds !== undefined) return Math.min(Number(seconds), MOST_WAIT_S);
  }
  return undefined;
}

/** What else the client prefers, in order: it may change what the target does. */
export const otherPreferences = (headers: HeaderFields): string =>
  preferences(headers)
    .filter((preference) => !/^wait\s*(=|;|$)/i.test(preference))
    .join(', ');

const WAIT = /^wait\s*=\s*"?(\d{1,9})"?\s*(?:;|$)/i;

/** Commas inside of quotes belong to a value. */
const preferences = (headers: HeaderFields): string[] =>
  fieldValues(headers, 'prefer').flatMap((value) =>
    [...value.matchAll(/(?:"(?:\\.|[^"\\])*"|[^",])+/g)].map(([text]) => text.trim()).filter((text) => text !== ''),
  );
