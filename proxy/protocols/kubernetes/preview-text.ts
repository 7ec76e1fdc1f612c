import type { ObjectMasks } from './masking/port.ts';
import type { Understanding } from './meaning/port.ts';
import { objectDifference } from './meaning/preview.ts';

/** What would change, as an approver reads it, under the masks of whoever asks; empty: it is not known. */
export function differenceOf(
  { info, dryRun }: Understanding,
  masks: ObjectMasks,
  count: (name: string) => void,
): string {
  if (dryRun === undefined) return '';
  const shown = (object: unknown): unknown => {
    if (object === undefined || masks.empty) return object;
    return JSON.parse(masks.document(Buffer.from(JSON.stringify(object)), info, count).toString('utf8')) as unknown;
  };
  return objectDifference(shown(dryRun.before), shown(dryRun.after));
}
