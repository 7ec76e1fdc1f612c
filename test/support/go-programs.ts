/** Real servers that only come as Go modules, built once into .cache/ in pinned versions. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, glob, readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { cached, cacheFolder, type Making } from './cache.ts';
import { type Need, program } from './requires.ts';
import { findProgram } from './server-binaries.ts';

const run = promisify(execFile);
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
    env: { ...process.env, GOFLAGS: '-modcacherw', GOMODCACHE: path.join(cacheFolder, 'go-programs', 'toolchain') },
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

/** Such as `go build`, with the flags that make the same program of the same sources wherever they lie. */
async function built(name: string, parameters: readonly string[], making: Making = {}): Promise<string> {
  const file = path.join(cacheFolder, 'go-programs', name);
  if (existsSync(file)) return file;
  const environment = { CGO_ENABLED: '0', GOTOOLCHAIN: 'local', ...making.environment };
  return cached(file, [await goCommand(), ...parameters], { ...making, environment });
}

/** versitygw: an S3 server over a folder, with Object Lock. */
export function versitygw(): Promise<string> {
  const version = 'v1.8.0';
  const module = `github.com/versity/versitygw/cmd/versitygw@${version}`;
  return built(`versitygw-${version}`, ['install', '-trimpath', '-ldflags=-s -w', module], {
    environment: { GOBIN: '$OUT' },
    product: 'versitygw',
  });
}

/**
 * The program in a folder with its go.mod and go.sum.
 * @param linkerFlags further ones, such as `-X importpath.name=value`
 */
export async function goProgram(source: string, linkerFlags = ''): Promise<string> {
  const hash = createHash('sha256').update(linkerFlags);
  for (const file of (await readdir(source)).sort()) hash.update(file).update(await readFile(path.join(source, file)));
  const key = hash.digest('hex').slice(0, 16);
  const flags = ['-trimpath', `-ldflags=-s -w ${linkerFlags}`.trim()];
  return built(`${path.basename(source)}-${key}`, ['build', ...flags, '-o', '$OUT/program', '.'], { cwd: source });
}
