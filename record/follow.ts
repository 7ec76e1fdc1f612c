import { type FSWatcher, promises as fs, watch } from 'node:fs';
import { join } from 'node:path';
import { parseEvent, type RecordedEvent } from './format.ts';
import { readLines } from './lines.ts';
import { isMissing, listSegments, type SegmentFilter, type SegmentPath } from './segment.ts';

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
    await tail.watchFolders();
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
  const watchers = new Map<string, FSWatcher>();
  /** Byte up to which a segment was read. */
  const offsets = new Map<string, number>();
  const dirty = new Set<string>();
  let foldersChanged = true;
  let failure: Error | undefined;
  let woken = Promise.withResolvers<void>();

  function wake(): void {
    woken.resolve();
  }

  function watchFolder(folder: string): void {
    if (watchers.has(folder)) return;
    const watcher = watch(folder, (kind, file) => {
      if (kind === 'rename' || file === null) foldersChanged = true;
      if (file !== null) dirty.add(join(folder, file));
      wake();
    });
    watcher.on('error', (error) => {
      // A folder that was removed is no longer followed; anything else ends the command with what happened.
      watchers.delete(folder);
      watcher.close();
      if (!isMissing(error)) failure = error;
      foldersChanged = true;
      wake();
    });
    watchers.set(folder, watcher);
  }

  /** A folder may be removed between its listing and this. */
  function watchFolderIfThere(folder: string): void {
    try {
      watchFolder(folder);
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }

  async function watchFolders(): Promise<void> {
    watchFolder(root);
    for (const namespace of await subfolders(root)) {
      watchFolderIfThere(namespace);
      for (const connection of await subfolders(namespace)) watchFolderIfThere(connection);
    }
  }

  return {
    wake,
    watchFolders,
    async changed(): Promise<void> {
      await woken.promise;
      woken = Promise.withResolvers<void>();
      if (failure !== undefined) throw failure;
    },
    async skipExisting(): Promise<void> {
      for (const segment of await listSegments(root, filter)) {
        offsets.set(segment.path, await wholeLength(segment.path));
      }
    },
    /** Segments that may hold events not read yet, in order. */
    async pending(): Promise<SegmentPath[]> {
      const paths = new Set(dirty);
      dirty.clear();
      const structural = foldersChanged;
      foldersChanged = false;
      if (structural) await watchFolders();
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
    close(): void {
      for (const watcher of watchers.values()) watcher.close();
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

async function subfolders(folder: string): Promise<string[]> {
  try {
    const entries = await fs.readdir(folder, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => join(folder, entry.name));
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
