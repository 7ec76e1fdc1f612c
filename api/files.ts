import { createHash } from 'node:crypto';
import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** No resource file is anywhere near this long; a log put into the folder by mistake is not read. */
export const MAX_FILE_BYTES = 16 * 1024 * 1024;

const isYaml = (name: string): boolean => /\.(ya?ml|json)$/.test(name) && !/\.test\.ya?ml$/.test(name);

/**
 * Digest of the files that `loadResources` would read, by name and content: equal exactly when nothing there has changed. What
 * cannot be read counts by its error.
 */
export async function fingerprintOf(paths: readonly string[]): Promise<string> {
  const hash = createHash('sha256');
  const add = (name: string, content: string | Buffer): void => {
    hash.update(`${JSON.stringify(name)} ${content.length}\n`).update(content);
  };
  for (const path of paths) {
    try {
      for (const file of await filesOf(path)) {
        const { size } = await stat(file);
        add(file, size > MAX_FILE_BYTES ? `${size} bytes` : await readFile(file));
      }
    } catch (error) {
      add(path, error instanceof Error ? error.message : String(error));
    }
  }
  return hash.digest('base64');
}

/**
 * Files in a folder, at any depth, that hold resources. Hidden ones are left out, as are tests of policies.
 * @param above real paths of the folders that this one was found in
 * @throws when something cannot be read, links lead in a circle, or a pipe or device has a name like a resource's
 */
export async function filesOf(path: string, above: readonly string[] = []): Promise<string[]> {
  if (!(await stat(path)).isDirectory()) return [path];
  const real = await realpath(path);
  if (above.includes(real)) throw new Error(`${path} links to a folder that it lies in`);
  const inside: string[] = [];
  for (const entry of await readdir(path, { withFileTypes: true })) {
    // Kubernetes keeps the files of a mounted ConfigMap in a hidden folder, with links to them beside it.
    if (entry.name.startsWith('.') || entry.name === 'node_modules') continue;
    const full = join(path, entry.name);
    const found = entry.isSymbolicLink() ? await stat(full) : entry;
    if (found.isDirectory()) inside.push(...(await filesOf(full, [...above, real])));
    else if (isYaml(entry.name)) {
      // Reading a pipe would wait for whoever writes into it, for ever.
      if (!found.isFile()) throw new Error(`${full} is not a file`);
      inside.push(full);
    }
  }
  return inside.sort();
}
