import { randomUUID } from 'node:crypto';
import { link, mkdir, open, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode } from './errors.ts';

/** What was used up with one request: kept where a restored copy of the request does not bring it back. */
export interface UsedRequest {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly hash: string;
  readonly fingerprint?: string;
  /** Ids of the votes that released it. */
  readonly votes: readonly string[];
  readonly at: string;
}

/**
 * A folder with one file for each request that was used. Making the file is the compare-and-set: the file system lets exactly one
 * of all processes that share the folder make it, and it is on the disk before the command goes on.
 */
export interface UsedRequests {
  has(uid: string): Promise<boolean>;
  /** Undefined: not used here, or what is there cannot be read. */
  find(uid: string): Promise<UsedRequest | undefined>;
  /** True for exactly one caller. @throws when the folder cannot be written: then nothing may run */
  claim(used: UsedRequest): Promise<boolean>;
  /** Forgets what was used before `time`, in milliseconds since 1970. */
  removeBefore(time: number): Promise<void>;
}

export function createUsedRequests(folder: string): UsedRequests {
  const path = (uid: string): string => join(folder, uid);
  return {
    async has(uid) {
      try {
        await stat(path(uid));
        return true;
      } catch (error) {
        if (hasCode(error, 'ENOENT')) return false;
        throw error;
      }
    },
    async find(uid) {
      try {
        return JSON.parse(await readFile(path(uid), 'utf8')) as UsedRequest;
      } catch (error) {
        if (hasCode(error, 'ENOENT') || error instanceof SyntaxError) return undefined;
        throw error;
      }
    },
    async claim(used) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const draft = join(folder, `.${used.uid}.${randomUUID()}`);
      try {
        const handle = await open(draft, 'wx', 0o600);
        try {
          await handle.writeFile(`${JSON.stringify(used)}\n`);
          await handle.datasync();
        } finally {
          await handle.close();
        }
        await link(draft, path(used.uid));
      } catch (error) {
        if (hasCode(error, 'EEXIST')) return false;
        throw error;
      } finally {
        await rm(draft, { force: true });
      }
      await syncFolder(folder);
      return true;
    },
    async removeBefore(time) {
      const names = await readdir(folder).catch((error: unknown) => {
        if (hasCode(error, 'ENOENT')) return [];
        throw error;
      });
      for (const name of names) {
        const found = await stat(join(folder, name)).catch((error: unknown) => {
          if (hasCode(error, 'ENOENT')) return undefined;
          throw error;
        });
        if (found !== undefined && found.mtimeMs < time) await rm(join(folder, name), { force: true });
      }
    },
  };
}

/** The new name itself is on the disk only once its folder is. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
