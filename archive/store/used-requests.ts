import { randomUUID } from 'node:crypto';
import { link, open, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { makeFolder, syncFolder } from '../../delivery/durable-file.ts';
import { describeCause } from '../../record/errors.ts';
import { isMissing } from '../../record/segment.ts';
import { ArchiveError } from '../errors.ts';

/**
 * Approvals that were used up, a file for each: NAMESPACE/UID. A proxy makes one before it lets the command go, and whoever comes
 * second is told so. It is kept here because the archive is restored with the record, and never with the API server's store.
 */
export interface UsedLedger {
  /**
   * Notes it, durably, unless it is there. `taken`: by somebody else. `again`: by this very request, whose answer was lost.
   * @throws ArchiveError SPH009, SPH012, SPH018
   */
  claim(namespace: string, uid: string, body: Buffer): Promise<'made' | 'again' | 'taken'>;
  /** What was noted; undefined: nothing. @throws ArchiveError SPH009, SPH018 */
  find(namespace: string, uid: string): Promise<Buffer | undefined>;
  /** Forgets what was noted before a time, in milliseconds since 1970, by the archive's clock. */
  removeBefore(time: number): Promise<void>;
}

/** A note holds ids of at most 20 votes. */
export const MAX_NOTE_BYTES = 8192;
/** A request waits for 7 days at most, and its approval may be reused for one more; the rest is for clocks and for calm. */
/** Of one namespace: more than people approve in that time, and no more than the disk's reserve has room for. */
export const MAX_NOTES = 20_000;
export const KEEP_USED_MS = 31 * 86_400_000;

const NAMESPACE = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const UID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** @param maxNotes how many one namespace may have: a proxy in the wrong hands makes them up */
export function createUsedLedger(root: string, maxNotes = MAX_NOTES): UsedLedger {
  /** By namespace, counted when it is first asked for; claims of one namespace that come at once are counted before they are made. */
  const counts = new Map<string, Promise<{ notes: number }>>();

  function countOf(namespace: string): Promise<{ notes: number }> {
    const known = counts.get(namespace);
    if (known !== undefined) return known;
    const counting = namesIn(join(root, namespace)).then((names) => ({
      notes: names.filter((name) => UID.test(name)).length,
    }));
    counts.set(namespace, counting);
    // What could not be counted is counted the next time.
    counting.catch(() => counts.delete(namespace));
    return counting;
  }

  /** Makes the note, as long as there is room for one more. */
  async function makeCounted(namespace: string, path: string, body: Buffer): Promise<boolean> {
    const count = await countOf(namespace);
    if (count.notes >= maxNotes) {
      // One that is there already is answered as ever.
      if ((await read(path)) !== undefined) return false;
      throw new ArchiveError('SPH012', [namespace, maxNotes]);
    }
    count.notes += 1;
    let made = false;
    try {
      made = await make(join(root, namespace), path, body);
      return made;
    } finally {
      if (!made) count.notes -= 1;
    }
  }

  function pathOf(namespace: string, uid: string): string {
    if (!NAMESPACE.test(namespace) || !UID.test(uid))
      throw new ArchiveError('SPH018', [JSON.stringify(`${namespace}/${uid}`.slice(0, 200))]);
    return join(root, namespace, uid);
  }

  async function read(path: string): Promise<Buffer | undefined> {
    try {
      return await readFile(path);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  async function make(folder: string, path: string, body: Buffer): Promise<boolean> {
    await makeFolder(folder);
    const draft = join(folder, `.${randomUUID()}`);
    try {
      const file = await open(draft, 'wx', 0o600);
      try {
        await file.writeFile(body);
        await file.datasync();
      } finally {
        await file.close();
      }
      // Unlike rename, link does not replace: of two that come at once, one makes it.
      await link(draft, path);
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
      throw error;
    } finally {
      await rm(draft, { force: true });
    }
    await syncFolder(folder);
    return true;
  }

  async function guarded<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof ArchiveError) throw error;
      throw new ArchiveError('SPH009', [describeCause(error)], error);
    }
  }

  return {
    claim: (namespace, uid, body) =>
      guarded(async () => {
        const path = pathOf(namespace, uid);
        if (await makeCounted(namespace, path, body)) return 'made';
        const there = await read(path);
        // It was linked, and the archive died before its folder was on the disk.
        await syncFolder(join(root, namespace));
        return there?.equals(body) === true ? 'again' : 'taken';
      }),
    find: (namespace, uid) => guarded(() => read(pathOf(namespace, uid))),
    async removeBefore(time) {
      for (const namespace of await namesIn(root)) {
        for (const name of await namesIn(join(root, namespace))) {
          const path = join(root, namespace, name);
          if ((await stat(path)).mtimeMs < time) await rm(path, { force: true });
        }
        counts.delete(namespace);
      }
    },
  };
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
