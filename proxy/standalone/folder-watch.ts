import { type FSWatcher, statSync, watch } from 'node:fs';
import { dirname } from 'node:path';

export interface FolderWatch {
  close(): void;
}

/** Editors write in several steps; one look after they are quiet is enough. */
const QUIET_MS = 100;

/**
 * Calls back once after each burst of changes under the paths. A file is watched through its folder, since editors and Kubernetes
 * put another one in its place. A path that is not there, or that the system cannot watch (some network file systems), is found by
 * the regular look alone.
 * @param pollMs time between regular looks, which also see a mounted ConfigMap being swapped
 */
export function watchFolders(paths: readonly string[], pollMs: number, onChange: () => void): FolderWatch {
  let quiet: NodeJS.Timeout | undefined;
  const soon = (): void => {
    clearTimeout(quiet);
    quiet = setTimeout(onChange, QUIET_MS);
    quiet.unref();
  };
  const watchers = new Map<string, FSWatcher>();

  function attach(): void {
    for (const path of paths) {
      if (watchers.has(path)) continue;
      try {
        const folder = statSync(path).isDirectory();
        const watcher = watch(folder ? path : dirname(path), { recursive: folder, persistent: false }, soon);
        watcher.on('error', () => {
          watchers.delete(path);
          watcher.close();
          soon();
        });
        watchers.set(path, watcher);
      } catch {
        // Nothing to watch yet: the regular look tries again, and reports what is wrong with the path.
        soon();
      }
    }
  }

  attach();
  const poll = setInterval(() => {
    attach();
    onChange();
  }, pollMs);
  poll.unref();
  return {
    close() {
      clearTimeout(quiet);
      clearInterval(poll);
      for (const watcher of watchers.values()) watcher.close();
    },
  };
}
