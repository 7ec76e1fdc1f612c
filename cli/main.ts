#!/usr/bin/env node
import { createInterface } from 'node:readline/promises';
import type { CliIo } from './io.ts';
import { runProgram } from './program.ts';

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort(new Error(signal)));
// A reader that goes away, such as head, is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

/** One line from the terminal, typed after the question: nobody agrees ahead. Ctrl-C and Ctrl-D answer with nothing. */
async function ask(question: string): Promise<string> {
  const lines = createInterface({ input: process.stdin, output: process.stdout });
  const given = new AbortController();
  lines.on('SIGINT', () => given.abort());
  lines.once('close', () => given.abort());
  const { signal } = given;
  try {
    return await lines.question(question, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
    process.stdout.write('\n');
    return '';
  } finally {
    lines.close();
  }
}

const io: CliIo = {
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  cwd: process.cwd(),
  pid: process.pid,
  arguments: process.argv.slice(2),
  isTTY: process.stdout.isTTY === true,
  ...(process.stdin.isTTY === true && process.stdout.isTTY === true ? { ask } : {}),
  signal: stop.signal,
  onHangup: (listener) => void process.on('SIGHUP', listener),
  setExitCode: (code) => {
    process.exitCode = code;
  },
};

await runProgram(io);
