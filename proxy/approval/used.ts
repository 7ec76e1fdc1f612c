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

/** What was used up, apart from the requests themselves: noting it is the compare-and-set that lets a command run. */
export interface UsedRequests {
  has(uid: string): Promise<boolean>;
  /** As a gateway noted it, and nobody who can write to the requests. Undefined: not used, or what is there cannot be read. */
  find(uid: string): Promise<UsedRequest | undefined>;
  /** True for exactly one caller, once it is durable. @throws when it cannot be noted: then nothing may run */
  claim(used: UsedRequest): Promise<boolean>;
  /** Forgets what was used before `time`, in milliseconds since 1970. */
  removeBefore(time: number): Promise<void>;
}

/**
 * A folder with one file for each request that was used. The file system lets exactly one of all processes that share the folder
 * make it, and it is on the disk before the command goes on.
 */
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

/**
 * Two notes of everything: one that all who share the requests have in common, and this gateway's own, which whoever writes to the
 * requests cannot reach. A restored copy of the first brings nothing back.
 */
export function bothUsed(shared: UsedRequests, own: UsedRequests): UsedRequests {
  return {
    has: async (uid) => (await shared.has(uid)) || (await own.has(uid)),
    find: (uid) => own.find(uid),
    claim: async (used) => (await shared.claim(used)) && (await own.claim(used)),
    async removeBefore(time) {
      await shared.removeBefore(time);
      await own.removeBefore(time);
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
