/** Real servers that only come as Go modules, built once into .cache/ in pinned versions. */
import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import type { Need } from './requires.ts';
import { repositoryRoot } from './sallyport.ts';
import { findProgram } from './server-binaries.ts';

const run = promisify(execFile);
const cache = path.join(repositoryRoot, '.cache', 'go-programs');
const MINOR = 26;

/** Go new enough for the programs of this file. */
export const recentGo: Need = () => {
  const advice = `Go 1.${MINOR} or newer`;
  const go = findProgram('go');
  if (go === undefined) return advice;
  const version = /go1\.(\d+)/.exec(execFileSync(go, ['env', 'GOVERSION'], { encoding: 'utf8' }))?.[1];
  return Number(version ?? 0) >= MINOR ? undefined : advice;
};

/** Builds into a file of its own and puts it in place whole: two test processes may do so at once. */
async function once(name: string, build: (folder: string) => Promise<string>): Promise<string> {
  const target = path.join(cache, name);
  if (existsSync(target)) return target;
  const folder = `${target}.${process.pid}`;
  await mkdir(folder, { recursive: true });
  try {
    await rename(await build(folder), target);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return target;
}

const environment = (extra: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv => ({
  ...process.env,
  CGO_ENABLED: '0',
  ...extra,
});
const FLAGS = ['-trimpath', '-ldflags=-s -w'];

/** versitygw: an S3 server over a folder, with Object Lock. */
export function versitygw(): Promise<string> {
  const version = 'v1.8.0';
  return once(`versitygw-${version}`, async (folder) => {
    const module = `github.com/versity/versitygw/cmd/versitygw@${version}`;
    await run('go', ['install', ...FLAGS, module], { env: environment({ GOBIN: folder }) });
    return path.join(folder, 'versitygw');
  });
}

/** The program in a folder with its go.mod and go.sum. */
export async function goProgram(source: string): Promise<string> {
  const hash = createHash('sha256');
  for (const file of (await readdir(source)).sort()) hash.update(file).update(await readFile(path.join(source, file)));
  const key = hash.digest('hex').slice(0, 16);
  return once(`${path.basename(source)}-${key}`, async (folder) => {
    const built = path.join(folder, 'program');
    await run('go', ['build', ...FLAGS, '-o', built, '.'], { cwd: source, env: environment() });
    return built;
  });
}
