/** The drivers of other languages, fetched once into .cache/ in pinned versions. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import type { Need } from '../../support/requires.ts';
import { repositoryRoot } from '../../support/sallyport.ts';
import { findProgram } from '../../support/server-binaries.ts';

const run = promisify(execFile);

const PYTHON_PACKAGES = ['psycopg[binary]==3.2.9', 'psycopg2-binary==2.9.10'];
const cache = path.join(repositoryRoot, '.cache', 'drivers');

/** A Python that can make virtual environments. */
export const python: Need = () =>
  findProgram('python3') === undefined ? 'python3: apt-get install python3-venv' : undefined;

/** Go 1.19 or newer. */
export const go: Need = () => (findProgram('go') === undefined ? 'go: apt-get install golang-go' : undefined);

/** Runs `make` into a folder of its own and puts it in place whole: two test processes may do so at once. */
async function once(target: string, make: (prepared: string) => Promise<void>): Promise<string> {
  if (existsSync(target)) return target;
  await mkdir(path.dirname(target), { recursive: true });
  const prepared = `${target}.${process.pid}`;
  await rm(prepared, { recursive: true, force: true });
  await make(prepared);
  if (existsSync(target)) await rm(prepared, { recursive: true, force: true });
  else await rename(prepared, target);
  return target;
}

/** Path of a folder that PYTHONPATH names: psycopg 3 and psycopg2 with their own libpq. */
export function pythonPackages(): Promise<string> {
  const key = PYTHON_PACKAGES.join('-').replaceAll(/[^a-z0-9.]+/g, '-');
  return once(path.join(cache, key), async (prepared) => {
    const environment = `${prepared}.venv`;
    // pip installs into a folder, because a virtual environment cannot be moved to its place afterwards.
    await run('python3', ['-m', 'venv', '--clear', environment]);
    try {
      await run(path.join(environment, 'bin', 'pip'), ['install', '--quiet', '--target', prepared, ...PYTHON_PACKAGES]);
    } finally {
      await rm(environment, { recursive: true, force: true });
    }
  });
}

/** The compiled checks of pgx. Go's own cache makes a second build quick. */
export async function pgxChecks(): Promise<string> {
  const source = path.join(import.meta.dirname, 'pgx');
  const { mtimeMs } = await stat(path.join(source, 'main.go'));
  return once(path.join(cache, `pgx-${Math.round(mtimeMs)}`), async (prepared) => {
    await run('go', ['build', '-o', prepared, '.'], { cwd: source, env: { ...process.env, CGO_ENABLED: '0' } });
  });
}
