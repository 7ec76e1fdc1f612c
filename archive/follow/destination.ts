import { createHash } from 'node:crypto';
import type { SegmentPath } from '../../record/segment.ts';

/** Name of the archive among destinations; sinks have those of the configuration. */
export const ARCHIVE_DESTINATION = 'archive';

/** Whole lines of one segment, as they lie on the disk. */
export interface Batch {
  readonly segment: SegmentPath;
  /** Where they begin in the segment, in bytes. */
  readonly offset: number;
  readonly bytes: Buffer;
  /** The same for the same bytes, over restarts: what a receiver goes by to take them once. */
  readonly id: string;
}

/**
 * Where the record goes besides the disk. Whatever `deliver` throws, the batch is delivered again, so every event arrives at least
 * once; `Rewound` and `StreamRefused` say what else to do.
 */
export interface Destination {
  readonly name: string;
  readonly maxBatchBytes: number;
  /** Milliseconds that a batch may wait to become larger. */
  readonly lingerMs: number;
  /** Resolves once the receiver has the batch for good. */
  deliver(batch: Batch, signal: AbortSignal): Promise<void>;
  close(): void;
}

/** The receiver has the segment up to another byte than we thought, and wants to go on from there. */
export class Rewound extends Error {
  override readonly name = 'Rewound';
  readonly offset: number;
  constructor(offset: number) {
    super(`the receiver goes on from byte ${offset}`);
    this.offset = offset;
  }
}

/** The receiver does not want this one stream; others go on. */
export class StreamRefused extends Error {
  override readonly name = 'StreamRefused';
}

export function batchId(segment: SegmentPath, offset: number, end: number): string {
  const digest = createHash('sha256').update(`${segment.namespace}/${segment.name}/${segment.file}/${offset}-${end}`);
  return `rec_${digest.digest('base64url').slice(0, 32)}`;
}
