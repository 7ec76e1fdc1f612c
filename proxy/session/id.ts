import { randomBytes } from 'node:crypto';

/** Session ids sort by time and cannot be guessed. @param now milliseconds since 1970 */
export function newSessionId(now: number): string {
  return `${now.toString(36)}-${randomBytes(8).toString('hex')}`;
}
