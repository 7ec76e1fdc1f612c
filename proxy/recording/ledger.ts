import { LEDGER } from '../../record/ledger.ts';
import type { Checkpoint } from '../../record/port.ts';
import { type RemovedSegment, segmentRemoved } from '../../record/verify/removals.ts';
import { createRecorder, type RecorderOptions } from './writer.ts';

/**
 * Records which segments are about to be removed: a stream of its own, ended and on disk when this resolves. @throws RecorderError
 */
export async function recordRemovals(
  options: RecorderOptions,
  removed: readonly RemovedSegment[],
  onCheckpoint: (checkpoint: Checkpoint) => void,
): Promise<void> {
  const recorder = createRecorder(options);
  recorder.onCheckpoint(onCheckpoint);
  try {
    const stream = recorder.stream(LEDGER.namespace, LEDGER.name);
    for (const segment of removed) stream.append('segment.removed', segmentRemoved(segment));
    await stream.sync();
  } finally {
    await recorder.close();
  }
}
