/**
 * npm, adding a package to an installed tree, may drop the other platforms' optional packages from package-lock.json, and `npm ci` then
 * fails on every fresh machine. This finds it where it happens: every dependency of every package must have an entry.
 */
import { readFileSync } from 'node:fs';

interface LockedPackage {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  /** Only here because somebody has it as a peer: `omit=peer` keeps it from being installed. */
  readonly peer?: boolean;
}

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {
  packages: Readonly<Record<string, LockedPackage>>;
};

/** As Node resolves: the package's own node_modules, then those of the folders above it. */
function locked(from: string, name: string): boolean {
  for (let folder = from; ; ) {
    if (lock.packages[`${folder === '' ? '' : `${folder}/`}node_modules/${name}`] !== undefined) return true;
    if (folder === '') return false;
    const above = folder.lastIndexOf('/node_modules/');
    folder = above < 0 ? '' : folder.slice(0, above);
  }
}

const installed = Object.entries(lock.packages).filter(([, { peer }]) => peer !== true);
const missing = installed.flatMap(([folder, entry]) =>
  Object.keys({ ...entry.dependencies, ...entry.devDependencies, ...entry.optionalDependencies })
    .filter((name) => !locked(folder, name))
    .map((name) => `package-lock.json: ${folder || 'the package itself'} needs ${name}, which has no entry`),
);
for (const line of missing) console.error(line);
if (missing.length > 0) {
  console.error(
    'package-lock.json is incomplete: copy package.json to an empty folder, run `npm install --package-lock-only` there, copy the lock file back',
  );
  process.exitCode = 1;
}
