import { randomUUID } from 'node:crypto';
import { link, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { makeFolder, syncFolder } from '../../delivery/durable-file.ts';
import { isMissing } from '../../record/segment.ts';

/** Which proxy a stream belongs to: the one that wrote its first line here, for good. */
export interface Owners {
  ownerOf(stream: string): Promise<string | undefined>;
  /** Gives a stream without an owner to the proxy. Returns its owner: of several that try, one wins. */
  claim(stream: string, proxy: string): Promise<string>;
}

/** A file for each stream below `folder`. @param stream NAMESPACE/NAME/PROCESS */
export function createOwners(folder: string): Owners {
  const known = new Map<string, string>();

  async function ownerOf(stream: string): Promise<string | undefined> {
    const owner = known.get(stream);
    if (owner !== undefined) return owner;
    try {
      const read = (await readFile(join(folder, stream), 'utf8')).trim();
      known.set(stream, read);
      return read;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  return {
    ownerOf,
    async claim(stream, proxy) {
      const path = join(folder, stream);
      const draft = `${path}.${randomUUID().slice(0, 8)}`;
      await makeFolder(dirname(path));
      try {
        await writeFile(draft, `${proxy}\n`, { mode: 0o600, flag: 'wx', flush: true });
        await link(draft, path);
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
      } finally {
        await rm(draft, { force: true });
      }
      await syncFolder(dirname(path));
      return (await ownerOf(stream)) ?? proxy;
    },
  };
}
