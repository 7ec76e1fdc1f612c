import { createInterface } from 'node:readline/promises';
import type { CliIo } from './io.ts';

/** The process as commands may touch it. @param running of the main file, which alone may name it */
export function createProcessIo(running: NodeJS.Process): CliIo {
  const { stdin, stdout, stderr, env, pid } = running;
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) running.once(signal, () => stop.abort(new Error(signal)));
  // A reader that goes away, such as head, is no error.
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') running.exit(0);
    throw error;
  });

  /** One line from the terminal, typed after the question: nobody agrees ahead. Ctrl-C and Ctrl-D answer with nothing. */
  async function ask(question: string): Promise<string> {
    const lines = createInterface({ input: stdin, output: stdout });
    const given = new AbortController();
    lines.on('SIGINT', () => given.abort());
    lines.once('close', () => given.abort());
    const { signal } = given;
    try {
      return await lines.question(question, { signal });
    } catch (error) {
      if (!signal.aborted) throw error;
      stdout.write('\n');
      return '';
    } finally {
      lines.close();
    }
  }

  return {
    stdout,
    stderr,
    env,
    cwd: running.cwd(),
    pid,
    arguments: running.argv.slice(2),
    isTTY: stdout.isTTY === true,
    ...(stdin.isTTY === true && stdout.isTTY === true ? { ask } : {}),
    columns: stdout.columns,
    signal: stop.signal,
    onHangup: (listener) => void running.on('SIGHUP', listener),
    setExitCode: (code) => {
      running.exitCode = code;
    },
  };
}
