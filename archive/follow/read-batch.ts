import { open } from 'node:fs/promises';

export interface ReadBatch {
  readonly bytes: Buffer;
  /** More whole lines may stand behind it. */
  readonly more: boolean;
}

/** No line of a record is longer: a statement has a bound, and so has a piece of a result. */
const MAX_LINE_BYTES = 256 * 1024 * 1024;

/**
 * Whole lines from `offset` on, up to `maxBytes` (one line is taken whatever its length), or exactly up to `end` where that is given.
 * Only what is on the disk: a power cut must not take back here what a receiver has. Undefined when there is none yet.
 * @throws the system's error
 */
export async function readBatch(
  path: string,
  offset: number,
  maxBytes: number,
  end?: number,
): Promise<ReadBatch | undefined> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    if (size <= offset) return undefined;
    await file.datasync();
    let wanted = end === undefined ? Math.min(maxBytes, size - offset) : end - offset;
    while (true) {
      const block = Buffer.allocUnsafeSlow(wanted);
      const { bytesRead } = await file.read(block, 0, wanted, offset);
      const whole = block.subarray(0, bytesRead).lastIndexOf(0x0a) + 1;
      // What was promised to be sent again is gone or torn: it was cut off at its source, so what is there now is sent.
      if (whole > 0) return { bytes: block.subarray(0, whole), more: offset + whole < size };
      if (offset + bytesRead >= size || wanted > MAX_LINE_BYTES) return undefined;
      wanted = Math.min(wanted * 4, size - offset);
    }
  } finally {
    await file.close();
  }
}
