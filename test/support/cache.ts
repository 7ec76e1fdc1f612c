/** Things that take long to make, made once into `.cache/` whichever process asks first. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { repositoryRoot } from './sallyport.ts';
import { findProgram } from './server-binaries.ts';

const run = promisify(execFile);

export const cacheFolder = path.join(repositoryRoot, '.cache');

export interface Making {
  readonly cwd?: string | undefined;
  readonly environment?: Readonly<Record<string, string>>;
  /** File that the command leaves in `$OUT`; default `program`. */
  readonly product?: string;
}

/** Makes it in a folder of its own and puts it in place whole, so that one that is killed leaves nothing that looks finished. */
const SCRIPT = `
set -eu
target=$1 product=$2; shift 2
[ ! -e "$target" ] || exit 0
OUT=$(mktemp -d "$target.XXXXXX")
trap 'rm -rf "$OUT"' EXIT
trap 'exit 1' INT TERM HUP
"$@"
mv "$OUT/$product" "$target"
`;

/** A word of the shell in which only `$OUT`, where it begins one, means something. */
const quotedForShell = (word: string): string =>
  word.startsWith('$OUT') ? `"$OUT"${quotedForShell(word.slice(4))}` : `'${word.replaceAll("'", `'\\''`)}'`;

/**
 * The file, made by the command when it is not there. Processes that ask at once wait for the one that makes it: the lock is the
 * kernel's (flock), so it ends with its holder however that ends.
 * @param target absolute path below the cache
 * @param command program and arguments; `$OUT` at the start of an argument or of a variable is an empty folder
 * @throws with all that the command printed
 */
export async function cached(target: string, command: readonly string[], making: Making = {}): Promise<string> {
  if (existsSync(target)) return target;
  await mkdir(path.dirname(target), { recursive: true });
  const quoted = command.map(quotedForShell).join(' ');
  const exported = Object.entries(making.environment ?? {}).map(
    ([name, value]) => `export ${name}=${quotedForShell(value)}`,
  );
  const script = SCRIPT.replace('"$@"', [...exported, quoted].join('\n'));
  const shell = ['sh', '-c', script, 'cached', target, making.product ?? 'program'] as const;
  const flock = findProgram('flock');
  const [program, ...parameters] = flock === undefined ? shell : [flock, `${target}.lock`, ...shell];
  try {
    await run(program as string, parameters, { cwd: making.cwd, maxBuffer: 64 * 1024 * 1024 });
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(`${command.join(' ')} failed:\n${stdout}${stderr}`, { cause: error });
  }
  return target;
}
