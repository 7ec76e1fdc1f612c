/** `kubectl sallyport`, as people call it: kubectl finds the plugin in PATH. */
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { type Program, startProgram } from '../support/program.ts';
import { repositoryRoot } from '../support/sallyport.ts';
import { kubectl } from './programs.ts';

export interface PluginAnswer {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Plugin extends AsyncDisposable {
  /** Runs `kubectl sallyport …` with this kubeconfig to its end. */
  run(kubeconfig: string, ...words: string[]): Promise<PluginAnswer>;
  /** Runs one that does not end by itself. */
  start(kubeconfig: string, ...words: string[]): Program;
  /** JSON lines of its output; throws when it did not succeed. */
  json<T>(kubeconfig: string, ...words: string[]): Promise<T[]>;
}

/** From the sources, so that no build is needed and none is stale. */
export async function createPlugin(): Promise<Plugin> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'kubectl-plugin-'));
  const program = path.join(folder, 'kubectl-sallyport');
  const main = path.join(repositoryRoot, 'cli', 'plugin', 'main.ts');
  await writeFile(program, `#!/bin/sh\nexec ${process.execPath} ${main} "$@"\n`);
  await chmod(program, 0o755);
  const kubectlFile = await kubectl();

  const run = (kubeconfig: string, ...words: string[]): Promise<PluginAnswer> =>
    new Promise((resolve, reject) => {
      const env = {
        ...process.env,
        KUBECONFIG: kubeconfig,
        PATH: `${folder}:${path.dirname(kubectlFile)}:${process.env.PATH}`,
      };
      execFile(
        kubectlFile,
        ['sallyport', ...words],
        { env, cwd: folder, maxBuffer: 64 * 1024 * 1024 },
        (error, stdout, stderr) => {
          if (error === null) resolve({ status: 0, stdout, stderr });
          else if (typeof error.code === 'number') resolve({ status: error.code, stdout, stderr });
          else reject(error);
        },
      );
    });
  return {
    run,
    // Without kubectl in between, which would not pass on a signal.
    start: (kubeconfig, ...words) => startProgram(process.execPath, [main, ...words], { KUBECONFIG: kubeconfig }),
    async json<T>(kubeconfig: string, ...words: string[]) {
      const { status, stdout, stderr } = await run(kubeconfig, ...words, '-o', 'json');
      if (status !== 0)
        throw new Error(`kubectl sallyport ${words.join(' ')} ended with ${status}: ${stderr}${stdout}`);
      return stdout
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as T);
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}
