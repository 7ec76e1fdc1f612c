/** Packages of PyPI, fetched once into .cache/ in pinned versions. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder } from './cache.ts';

const run = promisify(execFile);

/** Runs `make` into a folder of its own and puts it in place whole: two test processes may do so at once. */
export async function once(target: string, make: (prepared: string) => Promise<void>): Promise<string> {
  if (existsSync(target)) return target;
  await mkdir(path.dirname(target), { recursive: true });
  const prepared = `${target}.${process.pid}`;
  await rm(prepared, { recursive: true, force: true });
  await make(prepared);
  if (existsSync(target)) await rm(prepared, { recursive: true, force: true });
  else await rename(prepared, target);
  return target;
}

/** Path of a folder that PYTHONPATH names, with the packages and what they need. @param packages such as `paramiko==4.0.0` */
export function pythonFolder(packages: readonly string[]): Promise<string> {
  const key = packages.join('-').replaceAll(/[^a-z0-9.]+/g, '-');
  return once(path.join(cacheFolder, 'drivers', key), async (prepared) => {
    const environment = `${prepared}.venv`;
    // pip installs into a folder, because a virtual environment cannot be moved to its place afterwards.
    await run('python3', ['-m', 'venv', '--clear', environment]);
    try {
      await run(path.join(environment, 'bin', 'pip'), ['install', '--quiet', '--target', prepared, ...packages]);
    } finally {
      await rm(environment, { recursive: true, force: true });
    }
  });
}
