import { link, lstat, mkdir, readFile, rename, unlink, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { dirname } from 'node:path';

/** Files in the state folder that hold a key: readable by their owner alone, and refused when they are not. */

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

/** @throws Error that says what is wrong with the permissions, owner or type of `path` */
async function checkOwn(path: string, type: 'file' | 'folder'): Promise<void> {
  const stats = await lstat(path);
  if (type === 'file' ? !stats.isFile() : !stats.isDirectory()) throw new Error(`it is not a plain ${type}`);
  const mode = stats.mode & 0o777;
  if ((mode & 0o077) !== 0) throw new Error(`others may open the ${type} (mode 0${mode.toString(8)})`);
  if (stats.uid !== userInfo().uid) throw new Error(`the ${type} belongs to another user`);
}

/** Makes the folder, and those above it, with mode 0700; checks one that is there. */
export async function privateFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  await checkOwn(path, 'folder');
}

/** Content of a private file, or undefined when there is none. @throws Error when others could have read or written it */
export async function readPrivate(path: string): Promise<string | undefined> {
  try {
    await checkOwn(dirname(path), 'folder');
    await checkOwn(path, 'file');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  return readFile(path, 'utf8');
}

/** Writes a private file whole, in place of what was there. */
export async function replacePrivate(path: string, content: string, unique: string): Promise<void> {
  const draft = `${path}.${unique}`;
  await writeFile(draft, content, { mode: 0o600, flag: 'wx' });
  await rename(draft, path);
}

/** Writes a private file that is not there yet. Returns false, with nothing changed, when somebody else was quicker. */
export async function createPrivate(path: string, content: string, unique: string): Promise<boolean> {
  const draft = `${path}.${unique}`;
  await writeFile(draft, content, { mode: 0o600, flag: 'wx' });
  try {
    // Unlike rename, link does not replace: of two processes that make the file at once, one wins and both read the same.
    await link(draft, path);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  } finally {
    await unlink(draft);
  }
}
