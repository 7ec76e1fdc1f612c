import { randomUUID } from 'node:crypto';
import { link, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ApiError } from '../../api/errors.ts';

const ID = /^[0-9a-f-]{36}$/;

/**
 * Random name of the installation that a state folder is, made at first use: what it leaves in a target it knows again by it.
 * Workers that start together agree on one. @throws ApiError SPA011
 */
export async function installationId(state: string): Promise<string> {
  const path = join(state, 'installation');
  const own = `${path}.${randomUUID()}`;
  try {
    await writeFile(own, `${randomUUID()}\n`, { mode: 0o600, flag: 'wx' });
    await link(own, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
    const id = (await readFile(path, 'utf8')).trim();
    if (!ID.test(id)) throw new Error(`${path} holds something else than the id of an installation`);
    return id;
  } catch (error) {
    throw new ApiError('SPA011', [state, error instanceof Error ? error.message : String(error)], error);
  } finally {
    await rm(own, { force: true });
  }
}
