/**
 * PostgreSQL's own regression suite, from Debian's source package of the server that is installed. Fetched once into .cache/, with
 * a package list of its own, so that nothing of the machine's package manager changes.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { findProgram } from '../support/server-binaries.ts';

const run = promisify(execFile);

const repositoryRoot = path.join(import.meta.dirname, '..', '..');
const SOURCE_PACKAGE = 'postgresql-15';
const KEYRING = 'debian-archive-keyring';

/** Where the suite is, or will be. */
export const suiteFolder = path.join(repositoryRoot, '.cache', 'regression', SOURCE_PACKAGE);

/** Whether the suite is here or can be fetched: a Debian with the programs that unpack a source package. */
export function regressionSuite(): string | undefined {
  if (existsSync(path.join(suiteFolder, 'parallel_schedule'))) return undefined;
  const lacking = ['apt-get', 'tar', 'bzip2'].filter((name) => findProgram(name) === undefined);
  return lacking.length === 0 ? undefined : `${lacking.join(', ')} to fetch PostgreSQL's regression suite`;
}

/** Debian's own archives among those that the machine uses, asked for sources instead of programs. */
async function sourceLists(): Promise<string> {
  const folder = '/etc/apt/sources.list.d';
  const names = existsSync(folder) ? (await readdir(folder)).map((name) => path.join(folder, name)) : [];
  const lists: string[] = [];
  for (const file of ['/etc/apt/sources.list', ...names]) {
    if (!existsSync(file)) continue;
    const text = await readFile(file, 'utf8');
    if (file.endsWith('.sources')) lists.push(...text.split(/\n\s*\n/).flatMap(deb822Line));
    else if (file.endsWith('.list')) lists.push(...text.split('\n').filter((line) => /^deb\s.*\bdebian/.test(line)));
  }
  // Mirrors of the security archive often leave the sources out; those of the release itself do as well.
  const released = lists.filter((line) => !line.includes('-security'));
  return `${released.map((line) => line.replace(/^deb\s/, 'deb-src ')).join('\n')}\n`;
}

/** The one-line form of a stanza, which takes no comments and no continuation lines. */
function deb822Line(stanza: string): string[] {
  const field = (name: string): string | undefined => new RegExp(`^${name}:\\s*(.+)$`, 'mi').exec(stanza)?.[1]?.trim();
  const [uris, suites, components, signedBy] = ['URIs', 'Suites', 'Components', 'Signed-By'].map(field);
  if (uris === undefined || suites === undefined || signedBy?.includes(KEYRING) !== true) return [];
  return uris
    .split(/\s+/)
    .flatMap((uri) =>
      suites.split(/\s+/).map((suite) => `deb [signed-by=${signedBy}] ${uri} ${suite} ${components ?? 'main'}`),
    );
}

/** Fetches the suite unless it is there. @throws with what apt-get said */
export async function fetchSuite(): Promise<string> {
  if (existsSync(path.join(suiteFolder, 'parallel_schedule'))) return suiteFolder;
  await mkdir(path.dirname(suiteFolder), { recursive: true });
  const work = await mkdtemp(path.join(path.dirname(suiteFolder), '.fetch-'));
  try {
    for (const folder of ['lists/partial', 'cache/archives/partial']) {
      await mkdir(path.join(work, folder), { recursive: true });
    }
    await writeFile(path.join(work, 'sources.list'), await sourceLists());
    const apt = [
      ...['-o', `Dir::Etc::sourcelist=${work}/sources.list`, '-o', 'Dir::Etc::sourceparts=-'],
      ...['-o', `Dir::State::lists=${work}/lists`, '-o', `Dir::Cache=${work}/cache`, '-o', 'APT::Sandbox::User=root'],
      ...['-o', 'Acquire::Retries=3'],
    ];
    await run('apt-get', [...apt, '-qq', 'update'], { cwd: work });
    await run('apt-get', [...apt, '-qq', 'source', '--download-only', SOURCE_PACKAGE], { cwd: work });
    const archive = (await readdir(work)).find((name) => name.includes('.orig.tar.'));
    if (archive === undefined) throw new Error(`apt-get source ${SOURCE_PACKAGE} brought no archive`);
    const inside = '*/src/test/regress/*';
    await run('tar', ['-xf', archive, '--wildcards', inside], { cwd: work, maxBuffer: 1 << 26 });
    const top = (await readdir(work)).find((name) => existsSync(path.join(work, name, 'src/test/regress')));
    if (top === undefined) throw new Error(`${archive} holds no regression suite`);
    // Two runs may fetch at once: the first to finish wins.
    if (!existsSync(suiteFolder)) await rename(path.join(work, top, 'src/test/regress'), suiteFolder);
    return suiteFolder;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
