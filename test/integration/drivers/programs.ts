/** The drivers of other languages, fetched once into .cache/ in pinned versions. */
import { execFile } from 'node:child_process';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { once, pythonFolder } from '../../support/python-packages.ts';
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

/** Path of a folder that PYTHONPATH names: psycopg 3 and psycopg2 with their own libpq. */
export const pythonPackages = (): Promise<string> => pythonFolder(PYTHON_PACKAGES);

/** The compiled checks of pgx. Go's own cache makes a second build quick. */
export async function pgxChecks(): Promise<string> {
  const source = path.join(import.meta.dirname, 'pgx');
  const { mtimeMs } = await stat(path.join(source, 'main.go'));
  return once(path.join(cache, `pgx-${Math.round(mtimeMs)}`), async (prepared) => {
    await run('go', ['build', '-o', prepared, '.'], { cwd: source, env: { ...process.env, CGO_ENABLED: '0' } });
  });
}
