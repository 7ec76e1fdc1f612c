import { RECORD_VERSION } from '../../record/format.ts';
import type { SegmentOwner } from '../../record/owner.ts';

export interface SegmentHead {
  readonly namespace: string;
  readonly name: string;
  readonly owner: SegmentOwner;
  /** 1, 2, …, within the stream. */
  readonly number: number;
  /** File name of the segment before it. */
  readonly previous: string | undefined;
  /** Sessions that run. */
  readonly sessions: readonly string[];
}

/** Members of `segment.start`. */
export function segmentHead({ namespace, name, owner, number, previous, sessions }: SegmentHead): string {
  return (
    `"format":${RECORD_VERSION},"connection":${JSON.stringify({ namespace, name })},"segment":${number},` +
    `"previous":${JSON.stringify(previous ?? null)},"owner":${JSON.stringify(owner)},` +
    `"sessions":${JSON.stringify(sessions)}`
  );
}
