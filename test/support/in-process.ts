/** The command line inside the test's own process: for tests of many short commands, which would otherwise be spent on starting them. */
import type { CliIo } from '../../cli/io.ts';
import { runProgram } from '../../cli/program.ts';
import { type CliResult, repositoryRoot } from './sallyport.ts';

export async function sallyportHere(parameters: readonly string[], more: Partial<CliIo> = {}): Promise<CliResult> {
  const result = { status: 0, stdout: '', stderr: '' };
  const into = (stream: 'stdout' | 'stderr') => ({
    write(text: string) {
      result[stream] += text;
    },
  });
  await runProgram({
    stdout: into('stdout'),
    stderr: into('stderr'),
    env: {},
    cwd: repositoryRoot,
    pid: process.pid,
    arguments: parameters,
    isTTY: false,
    signal: new AbortController().signal,
    onHangup: () => undefined,
    setExitCode: (code) => {
      result.status = code;
    },
    ...more,
  });
  return result;
}
