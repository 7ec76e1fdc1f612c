import type { ObjectMasks } from './masking/port.ts';
import type { Understanding } from './meaning/port.ts';

/** What would change, as an approver reads it; empty: it is not known. */
export function differenceOf(_understanding: Understanding, _masks: ObjectMasks): string {
  return '';
}
