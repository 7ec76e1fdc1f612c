import { type FSWatcher, promises as fs, watch } from 'node:fs';
import { join } from 'node:path';
import { isMissing } from './segment.ts';

/** What changed in a record since it was asked for last. */
export interface RecordChanges {
  /** Files that were written to. */
  readonly paths: ReadonlySet<string>;
  /** Files or folders came or went: a new listing is due. */
  readonly structural: boolean;
}

/** Watches the folders of a record, also those made later. */
export interface RecordWatch {
  /** Watches folders that are there now and were not before. @throws the system's error */
  refresh(): Promise<void>;
  /** Resolves once there is something to take, or after `wake`. @throws the error that ended the watching */
  changed(): Promise<void>;
  take(): RecordChanges;
  wake(): void;
  close(): void;
}

export function watchRecord(root: string): RecordWatch {
  const watchers = new Map<string, FSWatcher>();
  let paths = new Set<string>();
  let structural = true;
  let failure: Error | undefined;
  let woken = Promise.withResolvers<void>();

  function wake(): void {
    woken.resolve();
  }

  function watchFolder(folder: string): void {
    if (watchers.has(folder)) return;
    const watcher = watch(folder, (kind, file) => {
      if (kind === 'rename' || file === null) structural = true;
      if (file !== null) paths.add(join(folder, file));
      wake();
    });
    watcher.on('error', (error) => {
      // A folder that was removed is no longer followed; anything else ends the watching with what happened.
      watchers.delete(folder);
      watcher.close();
      if (!isMissing(error)) failure = error;
      structural = true;
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

  return {
    wake,
    async refresh() {
      watchFolder(root);
      for (const namespace of await subfolders(root)) {
        watchFolderIfThere(namespace);
        for (const connection of await subfolders(namespace)) watchFolderIfThere(connection);
      }
    },
    async changed() {
      await woken.promise;
      woken = Promise.withResolvers<void>();
      if (failure !== undefined) throw failure;
    },
    take() {
      const changes = { paths, structural };
      paths = new Set();
      structural = false;
      return changes;
    },
    close() {
      for (const watcher of watchers.values()) watcher.close();
    },
  };
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
