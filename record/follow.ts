import { promises as fs } from 'node:fs';
import { parseEvent, type RecordedEvent } from './format.ts';
import { readLines } from './lines.ts';
import { isMissing, listSegments, type SegmentFilter, type SegmentPath } from './segment.ts';
import { watchRecord } from './watch.ts';

/** An event with the connection in whose stream it stands. */
export interface FollowedEvent {
  /** `NAMESPACE/NAME`. */
  readonly connection: string;
  readonly event: RecordedEvent;
}

/**
 * Every event that is written from now on, of all processes, also in segments and folders that do not exist yet. Ends when
 * `signal` is aborted. Order holds within a stream. @throws the system's error
 */
export async function* followEvents(
  root: string,
  filter: SegmentFilter,
  signal: AbortSignal,
): AsyncGenerator<FollowedEvent> {
  await fs.access(root);
  const tail = createTail(root, filter);
  const stop = () => tail.wake();
  signal.addEventListener('abort', stop);
  try {
    // Watching begins before the first listing, so that nothing can slip in between.
    await tail.refresh();
    await tail.skipExisting();
    while (!signal.aborted) {
      await tail.changed();
      for (const segment of await tail.pending()) {
        if (signal.aborted) return;
        yield* tail.read(segment);
      }
    }
  } finally {
    signal.removeEventListener('abort', stop);
    tail.close();
  }
}

function createTail(root: string, filter: SegmentFilter) {
  const watching = watchRecord(root);
  /** Byte up to which a segment was read. */
  const offsets = new Map<string, number>();

  return {
    ...watching,
    async skipExisting(): Promise<void> {
      for (const segment of await listSegments(root, filter)) {
        offsets.set(segment.path, await wholeLength(segment.path));
      }
    },
    /** Segments that may hold events not read yet, in order. */
    async pending(): Promise<SegmentPath[]> {
      const { paths, structural } = watching.take();
      if (structural) await watching.refresh();
      const segments = await listSegments(root, filter);
      // A new folder may have got segments before it was watched: whatever is not known yet is read too.
      return segments.filter((segment) => paths.has(segment.path) || !offsets.has(segment.path));
    },
    async *read(segment: SegmentPath): AsyncGenerator<FollowedEvent> {
      const connection = `${segment.namespace}/${segment.name}`;
      try {
        for await (const line of readLines(segment.path, { start: offsets.get(segment.path) ?? 0 })) {
          if (!line.whole) break;
          offsets.set(segment.path, line.offset + line.bytes.length + 1);
          const event = parseEvent(line.bytes.toString('utf8'));
          if (event !== undefined) yield { connection, event };
        }
        offsets.set(segment.path, offsets.get(segment.path) ?? 0);
      } catch (error) {
        if (!isMissing(error)) throw error;
      }
    },
  };
}

/** Length up to the last line feed: where the next event begins. */
async function wholeLength(path: string): Promise<number> {
  const file = await fs.open(path, 'r');
  try {
    const { size } = await file.stat();
    const block = Buffer.alloc(Math.min(size, 64 * 1024));
    for (let end = size; end > 0; end -= block.length) {
      const start = Math.max(0, end - block.length);
      const { bytesRead } = await file.read(block, 0, end - start, start);
      const last = block.subarray(0, bytesRead).lastIndexOf(0x0a);
      if (last !== -1) return start + last + 1;
    }
    return 0;
  } finally {
    await file.close();
  }
}
