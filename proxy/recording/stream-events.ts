import type { RecorderError } from '../../record/errors.ts';
import { RECORD_VERSION } from '../../record/format.ts';
import { encodeVerifier, type NoteSigner } from '../../record/note.ts';
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

/** Members of `recorder.start`. */
export function recorderStart(owner: SegmentOwner, signer: NoteSigner | undefined): string {
  const key = signer === undefined ? '' : `,"key":${JSON.stringify(encodeVerifier(signer))}`;
  return `"owner":${JSON.stringify(owner)}${key}`;
}

export interface Resumed {
  readonly failure: RecorderError;
  /** RFC 3339. */
  readonly since: string;
  readonly dropped: number;
  readonly kept: number;
}

/** Members of `recorder.resumed`. */
export function recorderResumed({ failure, since, dropped, kept }: Resumed): string {
  return `"reason":${JSON.stringify(failure.code)},"since":"${since}","dropped":${dropped},"kept":${kept}`;
}
