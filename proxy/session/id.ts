import { randomPart } from './random.ts';

/** Session ids sort by time and cannot be guessed. @param now milliseconds since 1970 */
export function newSessionId(now: number): string {
  return `${now.toString(36)}-${randomPart(8).toString('hex')}`;
}
