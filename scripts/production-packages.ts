/**
 * Copies the packages that the installed product needs from node_modules to another folder, as package-lock.json names them: what an
 * image gets, without a package manager or a network. Optional packages of other platforms are not there and not missed.
 *
 *     node scripts/production-packages.ts FOLDER
 */
import { cpSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface LockedPackage {
  readonly dev?: boolean;
  readonly devOptional?: boolean;
  readonly optional?: boolean;
}

/** Left behind: what no program reads at run time, the larger half of some packages. */
const NOT_SHIPPED = /\.(map|d\.[mc]?ts)$|\/(README|CHANGELOG|HISTORY)\.md$|\/(test|tests|docs|benchmarks?|examples)$/i;

const [target] = process.argv.slice(2);
if (target === undefined) throw new Error('usage: production-packages.ts FOLDER');
const lock = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {
  readonly packages: Readonly<Record<string, LockedPackage>>;
};
for (const [folder, entry] of Object.entries(lock.packages)) {
  if (folder === '' || entry.dev === true || entry.devOptional === true) continue;
  if (!existsSync(folder)) {
    if (entry.optional === true) continue;
    throw new Error(`${folder} is not installed: run make setup first`);
  }
  cpSync(folder, join(target, folder), {
    recursive: true,
    dereference: true,
    // A package inside another has an entry of its own.
    filter: (source) => !NOT_SHIPPED.test(source) && (source === folder || !source.endsWith('/node_modules')),
  });
}
