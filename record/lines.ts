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

/** Whole lines in one piece. */
export interface LineBlock {
  /** Ends with a line feed, or with the end of the file when not `whole`. Not changed later. */
  readonly bytes: Buffer;
  /** Where it begins in the file, in bytes. */
  readonly offset: number;
  /** False for what stands behind the last line feed. */
  readonly whole: boolean;
}

/**
 * A file in pieces that end where lines end. @param maxLineBytes a longer line ends the reading, as if the file ended there
 * @throws the system's error
 */
export async function* readBlocks(
  path: string,
  options: Pick<LineOptions, 'start' | 'signal'> & { readonly maxLineBytes?: number } = {},
): AsyncGenerator<LineBlock> {
  const file = await fs.open(path, 'r');
  try {
    let offset = options.start ?? 0;
    let position = offset;
    let rest: Buffer[] = [];
    let restBytes = 0;
    while (restBytes <= (options.maxLineBytes ?? Number.POSITIVE_INFINITY)) {
      options.signal?.throwIfAborted();
      const block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
      const { bytesRead } = await file.read(block, 0, BLOCK_BYTES, position);
      if (bytesRead === 0) break;
      position += bytesRead;
      const fresh = block.subarray(0, bytesRead);
      const end = fresh.lastIndexOf(0x0a) + 1;
      if (end > 0) {
        const bytes = restBytes === 0 ? fresh.subarray(0, end) : Buffer.concat([...rest, fresh.subarray(0, end)]);
        yield { bytes, offset, whole: true };
        offset += bytes.length;
        rest = [];
        restBytes = 0;
      }
      if (end < bytesRead) rest.push(fresh.subarray(end));
      restBytes += bytesRead - end;
    }
    if (restBytes > 0) yield { bytes: Buffer.concat(rest), offset, whole: false };
  } finally {
    await file.close();
  }
}

/** The lines of a file, read block by block, however large it is. @throws the system's error */
export async function* readLines(path: string, options: LineOptions = {}): AsyncGenerator<RecordLine> {
  const { containing } = options;
  for await (const { bytes, offset, whole } of readBlocks(path, options)) {
    if (!whole) yield { bytes, offset, whole };
    else if (containing === undefined || bytes.includes(containing)) yield* split(bytes, offset, containing);
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
