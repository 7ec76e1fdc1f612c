import { promises as fs } from 'node:fs';

/** One line of a segment, without its line feed. */
export interface RecordLine {
  /** Valid until the next line is asked for. */
  readonly bytes: Buffer;
  /** Where it begins in the file, in bytes. */
  readonly offset: number;
  /** False for what stands behind the last line feed: an event that is being written, or was torn. */
  readonly whole: boolean;
}

export interface LineOptions {
  /** Byte to start at: the beginning of a line. */
  readonly start?: number;
  /** Only lines that may contain this are given; blocks without it are passed over unsplit. */
  readonly containing?: Buffer;
  readonly signal?: AbortSignal;
}

const BLOCK_BYTES = 256 * 1024;

/** The lines of a file, read block by block, however large it is. @throws the system's error */
export async function* readLines(path: string, options: LineOptions = {}): AsyncGenerator<RecordLine> {
  const file = await fs.open(path, 'r');
  try {
    let offset = options.start ?? 0;
    let position = offset;
    let rest: Buffer = Buffer.alloc(0);
    while (true) {
      options.signal?.throwIfAborted();
      const block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
      const { bytesRead } = await file.read(block, 0, BLOCK_BYTES, position);
      if (bytesRead === 0) break;
      position += bytesRead;
      const fresh = block.subarray(0, bytesRead);
      const last = fresh.lastIndexOf(0x0a);
      if (last === -1) {
        rest = Buffer.concat([rest, fresh]);
        continue;
      }
      const whole =
        rest.length === 0 ? fresh.subarray(0, last + 1) : Buffer.concat([rest, fresh.subarray(0, last + 1)]);
      rest = fresh.subarray(last + 1);
      if (options.containing === undefined || whole.includes(options.containing)) {
        yield* split(whole, offset, options.containing);
      }
      offset += whole.length;
    }
    if (rest.length > 0) yield { bytes: rest, offset, whole: false };
  } finally {
    await file.close();
  }
}

function* split(block: Buffer, offset: number, containing: Buffer | undefined): Generator<RecordLine> {
  let start = 0;
  for (let end = block.indexOf(0x0a); end !== -1; end = block.indexOf(0x0a, start)) {
    const bytes = block.subarray(start, end);
    if (containing === undefined || bytes.includes(containing)) yield { bytes, offset: offset + start, whole: true };
    start = end + 1;
  }
}

/** The last whole line of a file and whether anything stands behind it. Reads the tail alone. */
export async function readLastLine(path: string): Promise<{ readonly line: string; readonly clean: boolean }> {
  const file = await fs.open(path, 'r');
  try {
    const { size } = await file.stat();
    for (let span = 4096; ; span *= 8) {
      const start = Math.max(0, size - span);
      const tail = Buffer.alloc(size - start);
      const { bytesRead } = await file.read(tail, 0, tail.length, start);
      const end = tail.lastIndexOf(0x0a, bytesRead - 1);
      const begin = end <= 0 ? -1 : tail.lastIndexOf(0x0a, end - 1);
      if (begin !== -1 || start === 0) {
        return { line: tail.toString('utf8', begin + 1, Math.max(end, 0)), clean: end === bytesRead - 1 };
      }
    }
  } finally {
    await file.close();
  }
}
