/** Real servers that only come as Go modules, built once into .cache/ in pinned versions. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, glob, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { type Need, program } from './requires.ts';
import { repositoryRoot } from './sallyport.ts';
import { findProgram } from './server-binaries.ts';

const run = promisify(execFile);
const cache = path.join(repositoryRoot, '.cache', 'go-programs');
/** What the programs need, and the toolchain that is taken where the machine's is older. */
const MINOR = 26;
const TOOLCHAIN = 'v0.0.1-go1.26.8';

/** Any Go: one that is too old for the programs of this file fetches one that is not. */
export const anyGo: Need = program('go', 'golang-go');

async function minorVersion(go: string): Promise<number> {
  const { stdout } = await run(go, ['env', 'GOVERSION']);
  return Number(/go1\.(\d+)/.exec(stdout)?.[1] ?? 0);
}

/** The toolchain is a module like any other (Go's documentation, "Go Toolchains"), but older versions of Go do not run it by themselves. */
async function fetchedToolchain(go: string): Promise<string> {
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
  const module = `golang.org/toolchain@${TOOLCHAIN}.${process.platform}-${architecture}`;
  const { stdout } = await run(go, ['mod', 'download', '-json', module], {
    env: { ...process.env, GOFLAGS: '-modcacherw', GOMODCACHE: path.join(cache, 'toolchain') },
  });
  const { Dir: folder } = JSON.parse(stdout) as { readonly Dir: string };
  // Files of modules are not executable.
  for await (const file of glob([path.join(folder, 'bin', '*'), path.join(folder, 'pkg', 'tool', '*', '*')]))
    await chmod(file, 0o755);
  return path.join(folder, 'bin', 'go');
}

let command: Promise<string> | undefined;

/** A Go that is new enough. */
function goCommand(): Promise<string> {
  command ??= (async () => {
    const go = findProgram('go') ?? 'go';
    return (await minorVersion(go)) >= MINOR ? go : fetchedToolchain(go);
  })();
  return command;
}

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
  GOTOOLCHAIN: 'local',
  ...extra,
});
const FLAGS = ['-trimpath', '-ldflags=-s -w'];

/** versitygw: an S3 server over a folder, with Object Lock. */
export function versitygw(): Promise<string> {
  const version = 'v1.8.0';
  return once(`versitygw-${version}`, async (folder) => {
    const module = `github.com/versity/versitygw/cmd/versitygw@${version}`;
    await run(await goCommand(), ['install', ...FLAGS, module], { env: environment({ GOBIN: folder }) });
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
    await run(await goCommand(), ['build', ...FLAGS, '-o', built, '.'], { cwd: source, env: environment() });
    return built;
  });
}
