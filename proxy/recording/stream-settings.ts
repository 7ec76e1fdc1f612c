import type { RecorderError } from '../../record/errors.ts';
import type { NoteSigner } from '../../record/note.ts';
import type { SegmentOwner } from '../../record/owner.ts';
import type { Checkpoint } from '../../record/port.ts';
import type { RecordClock } from '../../record/timestamp.ts';
import type { SegmentIo } from './segment-file.ts';

export interface StreamSettings {
  /** Folder of the connection. */
  readonly folder: string;
  readonly namespace: string;
  readonly name: string;
  readonly owner: SegmentOwner;
  readonly io: SegmentIo;
  readonly clock: RecordClock;
  readonly segmentBytes: number;
  readonly syncDelayMs: number;
  readonly heartbeatMs: number;
  readonly checkpointMs: number;
  readonly signer: NoteSigner | undefined;
  /** Called once a checkpoint is on disk. */
  readonly onCheckpoint: (checkpoint: Checkpoint) => void;
  /** Called when a write failed, and when one succeeded again (undefined). */
  readonly onHealth: (failure: RecorderError | undefined) => void;
}
