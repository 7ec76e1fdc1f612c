import { type FSWatcher, watch } from 'node:fs';
import type { RequestWatch } from './request-store.ts';

/**
 * Tells at once which requests of a folder changed, where the system can watch it, and that everything may have changed at each
 * regular look: events get lost, and some network file systems have none.
 * @param onChange the name of the request, or undefined for all
 */
export function watchRequests(
  folder: string,
  pollMs: number,
  onChange: (name: string | undefined) => void,
): RequestWatch {
  let watcher: FSWatcher | undefined;

  function attach(): void {
    if (watcher !== undefined) return;
    try {
      const made = watch(folder, { persistent: false }, (_event, file) => {
        if (file === null) onChange(undefined);
        else if (file.endsWith('.yaml')) onChange(file.slice(0, -'.yaml'.length));
      });
      made.on('error', () => {
        made.close();
        watcher = undefined;
      });
      watcher = made;
    } catch {
      // Not there yet, or not to be watched: the regular look sees what changes, and tries again.
      watcher = undefined;
    }
  }

  attach();
  const poll = setInterval(() => {
    attach();
    onChange(undefined);
  }, pollMs);
  poll.unref();
  return {
    close() {
      clearInterval(poll);
      watcher?.close();
    },
  };
}
