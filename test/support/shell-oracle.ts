import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { program } from './requires.ts';
import { findProgram } from './server-binaries.ts';

/**
 * What real shells make of a command line. Every program that is found is a marker that writes down its own words, so nothing else runs
 * whatever the line says, but for the shell's built-ins.
 */
export interface ShellOracle extends AsyncDisposable {
  /** Where lines may redirect to; its files are looked at after each run. */
  readonly files: string;
  /** Where each line is run; what is found there was written to a relative path. */
  readonly home: string;
  /** Runs each line as sshd does, `SHELL -c LINE`; every marker exits with `status`. */
  run(shell: string, lines: readonly string[], status: 0 | 1): Promise<readonly Ran[]>;
}

export interface Ran {
  /** The words of each program that was run, in no order; the path of the program is left out. */
  readonly commands: readonly (readonly string[])[];
}

/** Programs that no shell has built in, and that are not there otherwise. */
export const MARKERS: readonly string[] = 'ls cat rm cp grep head tail systemctl journalctl df id date pwn scp'.split(
  ' ',
);
export const shells = [program('bash'), program('dash'), program('xargs', 'findutils'), program('env', 'coreutils')];

const MARKER = `#!/bin/sh
printf '%s\\0' "\${0##*/}" "$@" > "$OUT/$CASE.$$"
exit "$STATUS"
`;

function located(name: string): string {
  const path = findProgram(name);
  if (path === undefined) throw new Error(`there is no ${name}`);
  return path;
}

export async function createShellOracle(): Promise<ShellOracle> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-shell-'));
  const [bin, out, files, home] = ['bin', 'out', 'files', 'home'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
    string,
  ];
  await Promise.all([bin, out, files, home].map((path) => mkdir(path)));
  for (const name of MARKERS) {
    await writeFile(join(bin, name), MARKER);
    await chmod(join(bin, name), 0o755);
  }

  async function run(shell: string, lines: readonly string[], status: 0 | 1): Promise<readonly Ran[]> {
    // A pipe that every process inherits: it is closed when the last one that was left in the background has ended.
    const child = spawn(located('xargs'), ['-0', '-n', '4', '-P', '2', located('env')], {
      cwd: home,
      env: { PATH: bin, OUT: out, STATUS: String(status), HOME: home },
      stdio: ['pipe', 'ignore', 'ignore', 'pipe'],
    });
    const items = lines.flatMap((line, index) => [`CASE=${index}`, located(shell), '-c', line]);
    child.stdin?.end(items.map((item) => `${item}\0`).join(''));
    const held = child.stdio[3];
    if (held instanceof Readable) held.resume();
    await once(child, 'close');
    const ran: string[][][] = lines.map(() => []);
    for (const name of await readdir(out)) {
      const words = (await readFile(join(out, name), 'utf8')).split('\0').slice(0, -1);
      ran[Number(name.split('.')[0])]?.push(words);
    }
    await rm(out, { recursive: true });
    await mkdir(out);
    return ran.map((commands) => ({ commands }));
  }

  return { files, home, run, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
}
